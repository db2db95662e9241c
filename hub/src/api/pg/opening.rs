//! The beginning of a connection: TLS, who it is, with which settings.
//!
//! Owns: everything before the first statement. Must not know: statements.
//! Invariant: all of it ends by one deadline, and until then messages are short.

use super::cancel::{Cancellable, Sessions};
use super::message::{self, Message, Opening};
use super::reply::{Severity, Status};
use super::scram::{self, MECHANISM, Verifiers, random};
use super::settings::Settings;
use super::wire::{End, Wire};
use headwater_sql::SqlError;
use std::sync::Arc;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

/// Requests for encryption before the start: one for GSSAPI, one for TLS.
const REQUESTS_MAX: usize = 3;

/// What connections of a door share before they are sessions.
pub(super) struct Entrance {
    pub tls: TlsAcceptor,
    pub verifiers: Arc<Verifiers>,
    pub sessions: Arc<Sessions>,
}

/// Who comes in.
pub(super) struct Visitor {
    pub settings: Settings,
    pub cancellable: Cancellable,
}

impl Entrance {
    /// Up to the client's start-up message: its parameters, or `None` when it had come for something else.
    pub async fn open(
        &self,
        mut wire: Wire,
        deadline: Instant,
        remake: impl Fn(Box<dyn super::wire::Stream>) -> Wire,
    ) -> Result<Option<(Wire, Start)>, End> {
        let mut encrypted = false;
        for _ in 0..REQUESTS_MAX {
            match wire.opening(deadline).await {
                Ok(Opening::Tls) if !encrypted => {
                    wire.out.0.extend_from_slice(b"S");
                    wire.flush().await?;
                    let stream = wire.into_stream().ok_or(End::Gone)?;
                    let accepted = tokio::time::timeout_at(deadline, self.tls.accept(stream)).await;
                    let Ok(Ok(stream)) = accepted else { return Err(End::Gone) };
                    (wire, encrypted) = (remake(Box::new(stream)), true);
                }
                Ok(Opening::Tls | Opening::Gss) => {
                    wire.out.0.extend_from_slice(b"N");
                    wire.flush().await?;
                }
                Ok(Opening::Cancel { process, secret }) => {
                    self.sessions.cancel(process, secret);
                    wire.farewell(None).await;
                    return Ok(None);
                }
                Ok(Opening::Startup { minor, parameters }) => {
                    return Ok(Some((wire, Start { minor, parameters })));
                }
                Err(End::Malformed(error)) => {
                    let error = SqlError::new(error.code(), error.to_string());
                    wire.farewell(Some(&error)).await;
                    return Err(End::Malformed(message::MessageError::Malformed("the start")));
                }
                Err(end) => return Err(end),
            }
        }
        Ok(None)
    }

    /// Checks who it is, then whether there is a place, and tells what clients are told at the start.
    pub async fn enter<P>(
        &self,
        wire: &mut Wire,
        start: Start,
        deadline: Instant,
        admit: impl FnOnce() -> Result<P, End>,
    ) -> Result<(Visitor, P), End> {
        let (settings, mut notices) = start.settings()?;
        if start.minor > 0 {
            let options: Vec<&str> = start.named("_pq_.").collect();
            wire.out.negotiate(&options);
        }
        if !self.verifiers.is_empty() {
            self.prove(wire, deadline).await?;
        }
        let place = admit()?;
        wire.out.authenticated();
        settings.reported().for_each(|(name, value)| wire.out.parameter(name, &value));
        let cancellable = self.sessions.enter().map_err(|_| no_random())?;
        wire.out.key(cancellable.process, cancellable.secret);
        notices.drain(..).for_each(|notice| wire.out.error(Severity::Warning, &notice));
        wire.out.ready(Status::Idle);
        wire.flush().await?;
        Ok((Visitor { settings, cancellable }, place))
    }

    async fn prove(&self, wire: &mut Wire, deadline: Instant) -> Result<(), End> {
        wire.out.sasl(&[MECHANISM]);
        wire.flush().await?;
        let Message::Password(body) = wire.stranger(deadline).await? else { return Err(refused()) };
        let (mechanism, first) = message::sasl_initial(body)?;
        let nonce = random().map_err(|_| no_random())?;
        let begun = self.verifiers.begin(&first, nonce).filter(|_| mechanism == MECHANISM);
        let (exchange, reply) = begun.ok_or_else(refused)?;
        wire.out.sasl_step(&reply, false);
        wire.flush().await?;
        let Message::Password(last) = wire.stranger(deadline).await? else { return Err(refused()) };
        let reply = self.verifiers.finish(&exchange, &last).ok_or_else(refused)?;
        wire.out.sasl_step(&reply, true);
        Ok(())
    }
}

/// The same for every reason.
fn refused() -> End {
    End::Fatal(
        SqlError::new("28P01", "password authentication failed")
            .with_hint("the password is one of the hub's tokens; any user name will do"),
    )
}

fn no_random() -> End {
    End::Fatal(SqlError::new("XX000", "the system has no random numbers"))
}

/// A start-up message.
#[derive(Debug)]
pub(super) struct Start {
    minor: u16,
    parameters: Vec<(String, String)>,
}

impl Start {
    fn named<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.parameters.iter().map(|(name, _)| name.as_str()).filter(move |name| name.starts_with(prefix))
    }

    /// The settings it asks for, and what could not be had: clients of another time zone must get in.
    fn settings(&self) -> Result<(Settings, Vec<SqlError>), End> {
        let mut settings = Settings::default();
        let mut notices = Vec::new();
        if !self.parameters.iter().any(|(name, _)| name == "user") {
            let message = "no PostgreSQL user name specified in startup packet";
            return Err(End::Fatal(SqlError::new("28000", message)));
        }
        for (name, value) in &self.parameters {
            let asked = match name.as_str() {
                "user" | "database" => continue,
                _ if name.starts_with("_pq_.") => continue,
                "replication" if ["", "false", "off", "0", "no"].contains(&value.as_str()) => continue,
                "replication" => return Err(End::Fatal(SqlError::unsupported("replication"))),
                "options" => options(value)?,
                _ => vec![(name.clone(), value.clone())],
            };
            for (name, value) in asked {
                match settings.set(&name, Some(&value)) {
                    Ok(_) => {}
                    Err(error) if error.code == "0A000" => notices.push(error),
                    Err(error) => return Err(End::Fatal(error)),
                }
            }
        }
        Ok((settings, notices))
    }
}

/// `-c name=value --name=value`; a backslash keeps a blank.
fn options(text: &str) -> Result<Vec<(String, String)>, End> {
    let wrong = || {
        End::Fatal(SqlError::new(
            "42601",
            "invalid command-line argument for server process: -c name=value is taken",
        ))
    };
    let mut words = split(text).into_iter();
    let mut settings = Vec::new();
    while let Some(word) = words.next() {
        let setting = match (word.strip_prefix("--"), word.strip_prefix("-c")) {
            (Some(setting), _) => setting.to_owned(),
            (None, Some("")) => words.next().ok_or_else(wrong)?,
            (None, Some(setting)) => setting.to_owned(),
            (None, None) => return Err(wrong()),
        };
        let (name, value) = setting.split_once('=').ok_or_else(wrong)?;
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}

fn split(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let Some(word) = words.last_mut() else { break };
        match c {
            '\\' => word.extend(chars.next()),
            c if c.is_whitespace() => words.push(String::new()),
            c => word.push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Random salt for the verifiers.
pub(super) fn verifiers(tokens: &[String]) -> Result<Verifiers, getrandom::Error> {
    Ok(Verifiers::new(tokens, scram::random()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(parameters: &[(&str, &str)]) -> Result<(Settings, usize), String> {
        let own = |(name, value): &(&str, &str)| (String::from(*name), String::from(*value));
        let start = Start { minor: 0, parameters: parameters.iter().map(own).collect() };
        match start.settings() {
            Ok((settings, notices)) => Ok((settings, notices.len())),
            Err(End::Fatal(error)) => Err(error.code.into()),
            Err(end) => Err(format!("{end:?}")),
        }
    }

    #[test]
    fn settings_of_the_start() {
        let (settings, notices) = start(&[
            ("user", "me"),
            ("TimeZone", "Europe/Berlin"),
            ("application_name", "psql"),
            ("options", "-c statement_timeout=5s --search-path=a\\ b -cextra_float_digits=3"),
        ])
        .expect("it starts");
        assert_eq!(notices, 1, "the time zone");
        assert_eq!(settings.read_options().timeout.map(|t| t.as_secs()), Some(5));
        assert_eq!(settings.show("search_path").map(|s| s.1), Ok("a b".into()));
        assert_eq!(start(&[]).err().as_deref(), Some("28000"));
        assert_eq!(start(&[("user", "me"), ("no_such", "1")]).err().as_deref(), Some("42704"));
        assert_eq!(start(&[("user", "me"), ("options", "-x")]).err().as_deref(), Some("42601"));
        assert_eq!(start(&[("user", "me"), ("replication", "database")]).err().as_deref(), Some("0A000"));
    }
}
