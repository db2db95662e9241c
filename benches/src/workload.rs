//! Deterministic rows for benches: the same for every engine and every run.

use headwater_tests::random::Rng;
use serde::Serialize;

/// The seed of every workload. Figures in README.md were taken with it.
pub const SEED: u64 = 0x4865_6164_7761_7465;

/// One event as an application emits it.
#[derive(Serialize)]
pub struct Request<'a> {
    /// The text part of the key.
    pub path: &'a str,
    /// The integer part of the key.
    pub status: i64,
    /// Who.
    pub user_id: i64,
    /// How long, in milliseconds.
    pub latency_ms: f64,
}

/// Events with a (text, int) group key, as columns: row `i` of every vector is one event.
#[derive(Clone, Debug, Default)]
pub struct Events {
    /// The text part of the key: an index into [`Events::paths`].
    pub path: Vec<u32>,
    /// The integer part of the key.
    pub status: Vec<i64>,
    /// Who: for distinct counts and heavy hitters.
    pub user: Vec<i64>,
    /// A skewed positive number: for sums and quantiles.
    pub latency_ms: Vec<f64>,
    /// The texts behind `path`.
    pub paths: Vec<String>,
}

impl Events {
    /// `rows` events over `groups` distinct (path, status) pairs, chosen uniformly, so that no engine profits
    /// from a hot group that stays in the first-level cache.
    pub fn uniform(rows: usize, groups: usize) -> Self {
        const STATUSES: [i64; 5] = [200, 204, 301, 404, 500];
        let mut rng = Rng::new(SEED);
        let paths = groups.div_ceil(STATUSES.len());
        let mut events = Self { paths: (0..paths).map(path_name).collect(), ..Self::default() };
        for _ in 0..rows {
            let group = rng.below(groups as u64) as usize;
            events.path.push((group / STATUSES.len()) as u32);
            events.status.push(STATUSES[group % STATUSES.len()]);
            events.user.push(rng.below(100_000) as i64);
            // Exponential with mean 20 ms: most are fast, some are slow, none is zero.
            events.latency_ms.push(0.1 - 20.0 * (1.0 - rng.unit()).ln());
        }
        events
    }

    /// The number of events.
    pub fn len(&self) -> usize {
        self.status.len()
    }

    /// True without events.
    pub fn is_empty(&self) -> bool {
        self.status.is_empty()
    }

    /// Event `row`.
    #[inline]
    pub fn request(&self, row: usize) -> Request<'_> {
        Request {
            path: self.path_text(row),
            status: self.status[row],
            user_id: self.user[row],
            latency_ms: self.latency_ms[row],
        }
    }

    /// The text of event `row`'s path.
    #[inline]
    pub fn path_text(&self, row: usize) -> &str {
        &self.paths[self.path[row] as usize]
    }
}

fn path_name(index: usize) -> String {
    format!("/shop/item/{index:06}")
}

#[cfg(test)]
mod tests {
    use super::Events;
    use std::collections::HashSet;

    #[test]
    fn a_workload_is_the_same_every_time_and_has_its_groups() {
        let (a, b) = (Events::uniform(20_000, 1_000), Events::uniform(20_000, 1_000));
        assert_eq!(a.latency_ms, b.latency_ms);
        let groups: HashSet<_> = a.path.iter().zip(&a.status).collect();
        assert_eq!(groups.len(), 1_000);
    }
}
