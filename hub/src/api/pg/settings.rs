//! A session's settings: what SET takes and SHOW shows.
//!
//! Owns: names, values, and which of them mean something here. Must not know: where they come from.
//!
//! Three kinds: those that have an effect (`statement_timeout`, `headwater.read_level`, `application_name` in the
//! client's eyes), those that have one value only and refuse others (`TimeZone` is UTC), and those that PostgreSQL's
//! clients set and that have no meaning here: they are kept and shown.

use headwater::wire::ReadLevel;
use headwater_sql::{InsertLevel, ReadOptions, SqlError, WriteOptions};
use std::collections::BTreeMap;
use std::time::Duration;

/// The version of PostgreSQL whose dialect and catalogs clients may expect.
pub const SERVER_VERSION: &str = "15.0";

/// What may be set, under the name that SHOW ALL shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Any value.
    Free,
    /// What it is cannot be changed at all.
    Fixed,
    /// These values, compared without case, `-` and `_`; all mean the default.
    Only(&'static [&'static str]),
    /// A number of milliseconds, or a span with its unit.
    Milliseconds,
    /// `replicated` or `durable`.
    ReadLevel,
    /// `async`, `sync_receive` or `sync_commit`.
    InsertLevel,
    /// Names of views.
    Targets,
}

struct Setting {
    name: &'static str,
    default: &'static str,
    kind: Kind,
    /// True when clients are told of it, at the start and when it changes.
    is_reported: bool,
}

const fn setting(name: &'static str, default: &'static str, kind: Kind) -> Setting {
    Setting { name, default, kind, is_reported: false }
}

const fn reported(name: &'static str, default: &'static str, kind: Kind) -> Setting {
    Setting { name, default, kind, is_reported: true }
}

const UTC: &[&str] =
    &["utc", "gmt", "etc/utc", "etc/gmt", "z", "zulu", "universal", "0", "+00", "+00:00", "00:00"];
const ON: &[&str] = &["on", "true", "yes", "1"];
const OFF: &[&str] = &["off", "false", "no", "0"];
const ISOLATION: &[&str] = &["read committed", "read uncommitted", "repeatable read", "serializable"];

static SETTINGS: &[Setting] = &[
    reported("application_name", "", Kind::Free),
    setting("bytea_output", "hex", Kind::Only(&["hex"])),
    setting("check_function_bodies", "on", Kind::Free),
    reported("client_encoding", "UTF8", Kind::Only(&["utf8", "unicode", "auto"])),
    setting("client_min_messages", "notice", Kind::Free),
    reported(
        "DateStyle",
        "ISO, MDY",
        Kind::Only(&["iso", "iso, mdy", "iso,mdy", "iso, dmy", "iso, ymd", "iso,ymd", "iso,dmy"]),
    ),
    setting("default_table_access_method", "heap", Kind::Free),
    setting("default_tablespace", "", Kind::Free),
    setting("default_transaction_deferrable", "off", Kind::Free),
    setting("default_transaction_isolation", "read committed", Kind::Only(ISOLATION)),
    reported("default_transaction_read_only", "off", Kind::Free),
    setting("enable_seqscan", "on", Kind::Free),
    setting("extra_float_digits", "1", Kind::Free),
    setting("headwater.read_level", "replicated", Kind::ReadLevel),
    setting("idle_in_transaction_session_timeout", "0", Kind::Free),
    reported("in_hot_standby", "off", Kind::Fixed),
    reported("integer_datetimes", "on", Kind::Fixed),
    reported("IntervalStyle", "postgres", Kind::Only(&["postgres"])),
    reported("is_superuser", "off", Kind::Fixed),
    setting("jit", "off", Kind::Free),
    setting("lc_collate", "C", Kind::Fixed),
    setting("lc_ctype", "C", Kind::Fixed),
    setting("lc_messages", "C", Kind::Free),
    setting("lc_monetary", "C", Kind::Free),
    setting("lc_numeric", "C", Kind::Free),
    setting("lc_time", "C", Kind::Free),
    setting("lock_timeout", "0", Kind::Free),
    setting("max_identifier_length", "63", Kind::Fixed),
    setting("max_index_keys", "32", Kind::Fixed),
    setting("quote_all_identifiers", "off", Kind::Free),
    setting("row_security", "on", Kind::Free),
    setting("search_path", "public", Kind::Free),
    reported("server_encoding", "UTF8", Kind::Fixed),
    reported("server_version", SERVER_VERSION, Kind::Fixed),
    setting("server_version_num", "150000", Kind::Fixed),
    reported("session_authorization", "headwater", Kind::Fixed),
    setting("ssl", "on", Kind::Fixed),
    reported("standard_conforming_strings", "on", Kind::Only(ON)),
    setting("statement_timeout", "0", Kind::Milliseconds),
    setting("stream_insert_level", "sync_commit", Kind::InsertLevel),
    setting("stream_targets", "", Kind::Targets),
    setting("synchronize_seqscans", "on", Kind::Free),
    setting("synchronous_commit", "on", Kind::Free),
    setting("tcp_keepalives_idle", "0", Kind::Free),
    reported("TimeZone", "UTC", Kind::Only(UTC)),
    setting("transaction_deferrable", "off", Kind::Free),
    setting("transaction_isolation", "read committed", Kind::Only(ISOLATION)),
    setting("transaction_read_only", "off", Kind::Only(&["on", "off", "true", "false", "0", "1"])),
    setting("work_mem", "4MB", Kind::Free),
    setting("xmlbinary", "base64", Kind::Free),
    setting("xmloption", "content", Kind::Free),
    setting("zero_damaged_pages", "off", Kind::Only(OFF)),
];

/// Values that are not defaults a session may keep, of settings with a dot; and bytes of one value.
const CUSTOM_MAX: usize = 64;
const VALUE_BYTES_MAX: usize = 1_024;

/// The settings of one session.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// What is not the default, by folded name.
    values: BTreeMap<String, String>,
    timeout: Option<Duration>,
    read_level: ReadLevel,
    write: WriteOptions,
}

/// PipelineDB's settings have its name before their own, or not.
const SCHEMA: &str = "pipelinedb.";

fn find(name: &str) -> Option<&'static Setting> {
    let known = |name: &str| SETTINGS.iter().find(|setting| setting.name.eq_ignore_ascii_case(name));
    let is_pipelinedbs = |setting: &&Setting| setting.name.starts_with("stream_");
    known(name).or_else(|| known(name.strip_prefix(SCHEMA)?).filter(is_pipelinedbs))
}

fn unknown(name: &str) -> SqlError {
    SqlError::new("42704", format!("unrecognized configuration parameter \"{name}\""))
}

impl Settings {
    /// Sets `name`; `None` is the default. The name and value that clients are to be told, if any.
    ///
    /// # Errors
    /// `42704` for names that there are not, `55P02` for what cannot be changed, `22023` and `0A000` for values that
    /// cannot be.
    pub fn set(
        &mut self,
        name: &str,
        value: Option<&str>,
    ) -> Result<Option<(&'static str, String)>, SqlError> {
        let lower = name.to_lowercase();
        let Some(setting) = find(&lower) else {
            return self.set_custom(&lower, value).map(|()| None);
        };
        let folded = setting.name.to_lowercase();
        let value = value.map(|value| checked(setting, value)).transpose()?;
        match setting.kind {
            Kind::Milliseconds => {
                self.timeout = value.as_deref().and_then(span).filter(|span| !span.is_zero())
            }
            Kind::ReadLevel => {
                let durable = value.as_deref() == Some("durable");
                self.read_level = if durable { ReadLevel::Durable } else { ReadLevel::Replicated };
            }
            Kind::InsertLevel => {
                self.write.level = value.as_deref().and_then(insert_level).unwrap_or_default();
            }
            Kind::Targets => self.write.targets = value.as_deref().map(targets).unwrap_or_default(),
            _ => {}
        }
        match value {
            Some(value) => drop(self.values.insert(folded, value)),
            None => drop(self.values.remove(&folded)),
        }
        Ok(setting.is_reported.then(|| (setting.name, self.value(setting))))
    }

    /// Names with a dot are anybody's.
    fn set_custom(&mut self, name: &str, value: Option<&str>) -> Result<(), SqlError> {
        if !name.contains('.') {
            return Err(unknown(name));
        }
        let Some(value) = value else {
            self.values.remove(name);
            return Ok(());
        };
        let is_full = self.values.len() >= CUSTOM_MAX && !self.values.contains_key(name);
        if is_full || value.len() > VALUE_BYTES_MAX || name.len() > VALUE_BYTES_MAX {
            return Err(SqlError::new("54000", "too many settings, or one that is too long"));
        }
        self.values.insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    /// Everything as it was at the `start` of the session; what clients are to be told.
    pub fn reset(&mut self, start: &Self) -> Vec<(&'static str, String)> {
        let was = std::mem::replace(self, start.clone());
        was.reported().zip(self.reported()).filter(|(was, is)| was != is).map(|(_, is)| is).collect()
    }

    /// The same for one.
    ///
    /// # Errors
    /// As [`Settings::set`].
    pub fn reset_one(
        &mut self,
        name: &str,
        start: &Self,
    ) -> Result<Option<(&'static str, String)>, SqlError> {
        let lower = name.to_lowercase();
        let folded = find(&lower).map_or(lower, |setting| setting.name.to_lowercase());
        let value = start.values.get(&folded).cloned();
        self.set(name, value.as_deref())
    }

    fn value(&self, setting: &Setting) -> String {
        let value = self.values.get(&setting.name.to_lowercase());
        value.map_or(setting.default, String::as_str).to_owned()
    }

    /// The name as SHOW spells it, and the value.
    ///
    /// # Errors
    /// `42704` for names that there are not.
    pub fn show(&self, name: &str) -> Result<(String, String), SqlError> {
        match find(name) {
            Some(setting) => Ok((setting.name.to_owned(), self.value(setting))),
            None => match self.values.get(&name.to_lowercase()) {
                Some(value) => Ok((name.to_lowercase(), value.clone())),
                None => Err(unknown(name)),
            },
        }
    }

    /// All names and values.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, String)> + '_ {
        SETTINGS.iter().map(|setting| (setting.name, self.value(setting)))
    }

    /// What clients are told at the start.
    pub fn reported(&self) -> impl Iterator<Item = (&'static str, String)> + '_ {
        let reported = SETTINGS.iter().filter(|setting| setting.is_reported);
        reported.map(|setting| (setting.name, self.value(setting)))
    }

    /// How this session's events are written.
    pub fn write_options(&self) -> &WriteOptions {
        &self.write
    }

    /// What statements of this session are run with.
    pub fn read_options(&self) -> ReadOptions {
        ReadOptions { read_level: self.read_level, timeout: self.timeout }
    }
}

fn checked(setting: &Setting, value: &str) -> Result<String, SqlError> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(SqlError::new("54000", format!("a value of {} is too long", setting.name)));
    }
    let lower = value.to_lowercase();
    let wrong =
        || SqlError::new("22023", format!("invalid value for parameter \"{}\": \"{value}\"", setting.name));
    match setting.kind {
        Kind::Free => Ok(value.to_owned()),
        Kind::Fixed => {
            let message = format!("parameter \"{}\" cannot be changed", setting.name);
            Err(SqlError::new("55P02", message))
        }
        Kind::Milliseconds => span(value).map(|span| format!("{}ms", span.as_millis())).ok_or_else(wrong),
        Kind::ReadLevel if ["replicated", "durable"].contains(&lower.as_str()) => Ok(lower),
        Kind::ReadLevel => Err(wrong().with_hint("replicated or durable")),
        Kind::InsertLevel if insert_level(&lower).is_some() => Ok(lower),
        Kind::InsertLevel => Err(wrong().with_hint("async, sync_receive or sync_commit")),
        Kind::Targets => Ok(value.to_owned()),
        Kind::Only(values) => {
            let plain = |text: &str| text.replace(['-', '_', '\''], "");
            let is_known = values.iter().any(|known| plain(known) == plain(lower.trim()));
            let is_written =
                matches!(setting.name, "transaction_isolation" | "default_transaction_isolation");
            match is_known {
                true if is_written => Ok(lower),
                true => Ok(setting.default.to_owned()),
                false => Err(SqlError::unsupported(format!("{} {value}", setting.name))
                    .with_hint(format!("{} is {} here", setting.name, setting.default))),
            }
        }
    }
}

fn insert_level(value: &str) -> Option<InsertLevel> {
    match value {
        "async" => Some(InsertLevel::Async),
        "sync_receive" => Some(InsertLevel::Received),
        "sync_commit" => Some(InsertLevel::Durable),
        _ => None,
    }
}

/// Names of views, folded unless they are quoted.
fn targets(value: &str) -> Vec<String> {
    let name = |part: &str| match part.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => part.strip_prefix("public.").unwrap_or(part).to_lowercase(),
    };
    value.split(',').map(str::trim).filter(|part| !part.is_empty()).map(name).collect()
}

/// `100`, `100ms`, `5s`, `1 min`: milliseconds without a unit.
fn span(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let millis = match unit.trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis).filter(|millis| *millis <= u64::from(u32::MAX)).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_with_an_effect() {
        let mut settings = Settings::default();
        for (text, millis) in [("100", Some(100)), ("2s", Some(2_000)), ("1 min", Some(60_000)), ("0", None)]
        {
            settings.set("Statement_Timeout", Some(text)).expect(text);
            assert_eq!(settings.read_options().timeout, millis.map(Duration::from_millis), "{text}");
        }
        settings.set("headwater.read_level", Some("DURABLE")).expect("a level");
        assert_eq!(settings.read_options().read_level, ReadLevel::Durable);
        assert_eq!(settings.set("statement_timeout", Some("soon")).map_err(|e| e.code), Err("22023"));
        assert_eq!(settings.set("headwater.read_level", Some("mine")).map_err(|e| e.code), Err("22023"));
        settings.reset(&Settings::default());
        assert_eq!(settings.read_options().read_level, ReadLevel::Replicated);
    }

    #[test]
    fn settings_of_events() {
        let mut settings = Settings::default();
        settings.set("pipelinedb.stream_insert_level", Some("ASYNC")).expect("PipelineDB's name");
        assert_eq!(settings.write_options().level, InsertLevel::Async);
        assert_eq!(settings.show("stream_insert_level"), Ok(("stream_insert_level".into(), "async".into())));
        settings.reset_one("pipelinedb.stream_insert_level", &Settings::default()).expect("reset");
        assert_eq!(settings.write_options().level, InsertLevel::Durable);
        settings.set("stream_targets", Some("public.A, \"B\"")).expect("names");
        assert_eq!(settings.write_options().targets, ["a", "B"]);
        settings.reset(&Settings::default());
        assert_eq!(*settings.write_options(), WriteOptions::default());
        assert_eq!(settings.set("stream_insert_level", Some("never")).map_err(|e| e.code), Err("22023"));
    }

    #[test]
    fn settings_with_one_value() {
        let mut settings = Settings::default();
        let utc = settings.set("timezone", Some("Etc/UTC")).expect("UTC");
        assert_eq!(utc, Some(("TimeZone", "UTC".into())));
        assert_eq!(settings.set("timezone", Some("Europe/Berlin")).map_err(|e| e.code), Err("0A000"));
        assert_eq!(settings.set("client_encoding", Some("'LATIN1'")).map_err(|e| e.code), Err("0A000"));
        assert!(settings.set("client_encoding", Some("utf-8")).is_ok());
        assert_eq!(settings.set("server_version", Some("16")).map_err(|e| e.code), Err("55P02"));
        assert_eq!(settings.set("datestyle", Some("ISO")), Ok(Some(("DateStyle", "ISO, MDY".into()))));
        assert_eq!(settings.set("datestyle", Some("German")).map_err(|e| e.code), Err("0A000"));
    }

    #[test]
    fn settings_without_meaning_are_kept_and_others_refused() {
        let mut settings = Settings::default();
        settings.set("application_name", Some("psql")).expect("any");
        assert_eq!(settings.show("APPLICATION_NAME"), Ok(("application_name".into(), "psql".into())));
        assert_eq!(settings.set("no_such", Some("1")).map_err(|e| e.code), Err("42704"));
        settings.set("my.own", Some("1")).expect("anybody's");
        assert_eq!(settings.show("my.own"), Ok(("my.own".into(), "1".into())));
        assert_eq!(settings.reset(&Settings::default()), [("application_name", String::new())]);
        assert!(settings.show("my.own").is_err());
        let mut start = Settings::default();
        start.set("application_name", Some("psql")).expect("any");
        let mut settings = start.clone();
        settings.set("application_name", Some("other")).expect("any");
        assert_eq!(
            settings.reset_one("application_name", &start),
            Ok(Some(("application_name", "psql".into())))
        );
        let mut settings = Settings::default();
        let many = (0..=CUSTOM_MAX).map(|n| settings.set(&format!("my.n{n}"), Some("1")));
        assert_eq!(many.filter(Result::is_err).count(), 1, "bounded");
    }

    #[test]
    fn defaults_are_sorted_as_show_all_shows_them() {
        let names: Vec<String> = SETTINGS.iter().map(|s| s.name.to_lowercase()).collect();
        assert!(names.is_sorted());
    }
}
