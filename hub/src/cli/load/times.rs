//! What the times of a file's rows mean: history or news, and whether they can be meant.
//!
//! Times are microseconds since 1970. Decides only; who asks and who tells is elsewhere.

use super::block::Odd;
use super::counted;
use headwater::expr::iso_timestamp;
use headwater::schema::ARRIVAL_TIMESTAMP;

/// Rows without a time of their own are news for so long after the load began: the least that is worth a `late_max_ms`.
const NEWS_MICROS: i64 = 60_000_000;
/// 1980-01-01 and 2100-01-01.
const PLAUSIBLE: std::ops::Range<i64> = 315_532_800_000_000..4_102_444_800_000_000;

/// Where the times of a load's rows come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Times {
    /// From the file: history.
    Own,
    /// All rows count when the load began.
    Start,
    /// They are as those of any other producer.
    Live,
}

impl Times {
    /// True when rows sent now, so long after the load began, would be late for a hub that expects news.
    pub fn is_backfill(self, age_micros: i64) -> bool {
        match self {
            Self::Own => true,
            Self::Start => age_micros > NEWS_MICROS,
            Self::Live => false,
        }
    }
}

/// Why the times of a file cannot be what was meant; `None` when they can.
pub(super) fn doubt(odd: &Odd) -> Option<String> {
    let unless = "--any-time loads them as they are";
    if odd.future > 0 {
        let rows = counted(odd.future, "row lies", "rows lie");
        let first = odd.first_future.map_or_else(String::new, |(place, time)| {
            format!("\n  {place}, column {ARRIVAL_TIMESTAMP}: {}", iso_timestamp(time))
        });
        return Some(format!(
            "{rows} in the future: views that group by time would leave them out for good (a number is microseconds since \
             1970); {unless}{first}"
        ));
    }
    let latest = odd.latest.filter(|latest| *latest < PLAUSIBLE.start)?;
    let looks = unit(latest).map_or_else(String::new, |unit| format!(", and these look like {unit}"));
    Some(format!(
        "all rows lie before 1980, the latest at {}: a number as arrival_timestamp is microseconds since 1970{looks}; {unless}",
        iso_timestamp(latest)
    ))
}

/// The unit in which the number would be a time that somebody may mean.
fn unit(latest: i64) -> Option<&'static str> {
    let fits = |factor| latest.checked_mul(factor).is_some_and(|micros| PLAUSIBLE.contains(&micros));
    [("seconds", 1_000_000), ("milliseconds", 1_000)]
        .into_iter()
        .find(|(_, f)| fits(*f))
        .map(|(unit, _)| unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A load that was slow, or continued late, lost the rest of its rows as late.
    #[test]
    fn rows_of_a_load_that_began_long_ago_are_history() {
        let minutes = |n: i64| n * 60_000_000;
        assert!(!Times::Start.is_backfill(minutes(1)) && Times::Start.is_backfill(minutes(2)));
        assert!(Times::Own.is_backfill(0) && !Times::Live.is_backfill(minutes(9)));
    }

    #[test]
    fn numbers_in_another_unit_are_doubted() {
        let latest = |latest| doubt(&Odd { latest: Some(latest), ..Odd::default() });
        let told = latest(1_700_000_000).expect("seconds");
        assert!(
            told.contains("latest at 1970-01-01T00:28:20") && told.contains("look like seconds"),
            "{told}"
        );
        assert!(latest(1_700_000_000_000).expect("ms").contains("look like milliseconds"));
        let told = latest(0).expect("1970");
        assert!(!told.contains("look like") && told.contains("--any-time"), "{told}");
        assert_eq!((latest(315_532_800_000_000), doubt(&Odd::default())), (None, None));
        assert!(
            doubt(&Odd { future: 2, ..Odd::default() }).is_some_and(|told| told.starts_with("2 rows lie"))
        );
        let first_future = Some((super::super::faults::Place::Line(7), 4_102_444_800_000_000));
        let told = doubt(&Odd { future: 1, first_future, ..Odd::default() }).expect("future");
        assert!(told.starts_with("1 row lies in the future"), "{told}");
        assert!(told.ends_with("\n  line 7, column arrival_timestamp: 2100-01-01T00:00:00Z"), "{told}");
    }
}
