//! Options from the command line and the environment.

use super::*;
use clap::{CommandFactory, Parser};

#[derive(Debug, Parser)]
struct Flags {
    #[command(flatten)]
    layer: Layer,
}

fn parse(args: &[&str]) -> Layer {
    Flags::try_parse_from(std::iter::once("headwater").chain(args.iter().copied())).expect("flags").layer
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("file");
    std::fs::write(file.path(), text).expect("write");
    file
}

#[test]
fn the_file_goes_before_defaults_and_flags_before_the_file() {
    let file = file("[storage]\ncommit_delay_ms = 7\nfold_interval_ms = 9\n[auth]\ntokens = [\"a\"]");
    let options = Options::resolve(parse(&["--commit-delay-ms", "11"]), Some(file.path())).expect("options");
    assert_eq!(options.storage.commit_delay_ms, 11);
    assert_eq!(options.storage.fold_interval_ms, 9);
    assert_eq!(options.storage.shard_groups, 1);
    assert_eq!(options.auth.tokens, Secrets(vec!["a".into()]));
    for forgotten in ["", " , ", "a,,b", "a,"] {
        let mut layer = Layer::default();
        layer.auth.tokens = Some(forgotten.parse().expect("a list"));
        let error = Options::resolve(layer, None).expect_err("a variable that nobody filled");
        assert!(matches!(error, OptionsError::EmptyToken), "{error}");
    }
    assert_eq!(format!("{:?}", options.auth), "AuthOptions { tokens: <1 hidden> }");
}

#[test]
fn unknown_keys_and_wrong_types_are_refused_with_their_place() {
    for (text, expected) in [
        ("[storage]\ncommit_delay = 7", "unknown field `commit_delay`"),
        ("[disk]\nx = 7", "unknown field `disk`"),
        ("[storage]\ncommit_delay_ms = \"soon\"", "invalid type"),
        ("[sql]\ntimeout_ms = \"5s\"", "expected a number of milliseconds"),
        ("[sql]\nrows_max = \"5\"", "expected a number"),
        ("[listen]\npg_listen = \"off\"", "did you mean pg_address of [listen]?"),
    ] {
        let file = file(text);
        let error = Options::resolve(Layer::default(), Some(file.path())).expect_err("refused").to_string();
        assert!(error.contains(expected) && error.contains("line"), "{error}");
    }
}

/// They were ignored in silence.
#[test]
fn misspelt_names_are_told_with_what_was_meant() {
    let file = file("[storage]\ncomit_delay_ms = 7");
    let error = Options::resolve(Layer::default(), Some(file.path())).expect_err("refused").to_string();
    assert!(error.ends_with("did you mean commit_delay_ms?"), "{error}");
    let check = |names: &[&str]| check_variables(names.iter().map(|name| String::from(*name)));
    let error = check(&["PATH", "HEADWATER_TOKNES"]).expect_err("refused").to_string();
    assert_eq!(error, "there is no variable HEADWATER_TOKNES: did you mean HEADWATER_TOKENS?");
    let fine = ["HEADWATER_TOKENS", "HEADWATER_TOKEN", "HEADWATER_HUB", "HEADWATER_SERVICE_HOST"];
    assert_eq!(check(&fine).expect("no misspelling"), ["HEADWATER_SERVICE_HOST"], "an orchestrator's own");
    let of_client = |name: &str| check_client_variables(std::iter::once(name.into()));
    assert!(
        matches!(of_client("HEADWATER_TOKN"), Err(OptionsError::Variable { meant, .. }) if meant == "HEADWATER_TOKEN")
    );
    assert!(of_client("HEADWATER_LISTN").is_ok(), "a hub's");
}

#[test]
fn a_level_of_logs_is_one() {
    for level in ["info", "WARN", "off", "headwater_hub=debug,quinn=warn", "warn, a=info", "[s{a=1,b}]=trace"]
    {
        assert!(is_log_level(level), "{level}");
    }
    for level in ["loud", "", "headwater_hub", "info,loud", "a=loud", "=info"] {
        assert!(!is_log_level(level), "{level:?}");
    }
    assert!(Options::resolve(parse(&["--log-level", "loud"]), None).is_err());
}

#[test]
fn every_number_has_a_range_that_its_default_is_in() {
    let numbers = Options::default().numbers();
    for option in OPTIONS {
        let number: Option<u64> = option.default.parse().ok();
        assert_eq!(number.is_some(), option.range.is_some(), "{}", option.flag);
        assert_eq!(numbers.iter().find(|(flag, _)| *flag == option.flag).map(|(_, n)| *n), number);
        let Some((least, most)) = option.range else { continue };
        assert!(number.is_some_and(|number| (least..=most).contains(&number)), "{}", option.flag);
        let flag = format!("--{}", option.flag);
        for beyond in least.checked_sub(1).into_iter().chain([most + 1]) {
            // What does not fit the type is refused where it is read.
            let text = beyond.to_string();
            let Ok(flags) = Flags::try_parse_from(["headwater", &flag, &text]) else { continue };
            let error = Options::resolve(flags.layer, None).expect_err("out of range").to_string();
            assert!(error.contains(&format!("must be {least} to {most}, not {beyond}")), "{error}");
        }
    }
}

#[test]
fn help_has_no_stray_blanks() {
    let help = Flags::command().render_long_help().to_string();
    assert!(!help.contains("[default: ]") && help.contains("[1 to 1024; default: 1]"));
    assert!(OPTIONS.iter().all(|option| help.contains(&format!("\n          {}", super::help(option.flag)))));
}

#[test]
fn options_that_do_not_fit_are_refused() {
    let error = Options::resolve(parse(&["--tls-cert", "x.pem"]), None).expect_err("refused");
    assert!(error.to_string().contains("(--tls-cert and --tls-key,"), "{error}");
    for strange in ["foo", "https://", "https://app.example/", "https://*.example", "app.example"] {
        let error = Options::resolve(parse(&["--cors-origins", strange]), None).expect_err("no origin");
        assert!(matches!(&error, OptionsError::Origin(text) if text == strange), "{error}");
    }
    for origins in ["*", "null", "https://app.example,http://localhost:3000", "tauri://localhost"] {
        assert!(Options::resolve(parse(&["--cors-origins", origins]), None).is_ok(), "{origins}");
    }
    assert!(Options::resolve(parse(&["--shard-groups", "0"]), None).is_err());
}

#[test]
fn localhost_is_an_address_and_no_other_name_is() {
    let options = Options::resolve(parse(&["--listen", "localhost:0", "--pg-listen", "localhost:1"]), None);
    let listen = options.expect("localhost").listen;
    assert_eq!(listen.address.0.to_string(), "127.0.0.1:0");
    assert_eq!(listen.pg_address, PgListen::At("127.0.0.1:1".parse().expect("an address")));
    let error = Flags::try_parse_from(["headwater", "--listen", "hub.example:7171"]).expect_err("a name");
    assert!(error.to_string().contains("is no IP address with a port, such as 127.0.0.1:7171"), "{error}");
}

#[test]
fn the_template_is_the_defaults() {
    let file = file(&template());
    assert_eq!(Options::resolve(Layer::default(), Some(file.path())).expect("options"), Options::default());
    for option in OPTIONS {
        assert!(template().contains(&format!("{} =", option.key)), "{}", option.key);
    }
}

#[test]
fn defaults_are_those_of_the_sdk() {
    use headwater::limits::{BatchLimits, FrameLimits, TimeLimits, TransportLimits};
    let limits = LimitOptions::default();
    let transport = TransportLimits::NATIVE;
    let sizes = [
        (limits.frame_bytes_max as usize, FrameLimits::NATIVE.body_bytes_max),
        (limits.http_frame_bytes_max as usize, FrameLimits::BROWSER.body_bytes_max),
        (limits.batch_groups_max as usize, BatchLimits::NATIVE.groups_max),
        (limits.http_batch_groups_max as usize, BatchLimits::BROWSER.groups_max),
        (limits.key_bytes_max as usize, BatchLimits::NATIVE.key_bytes_max),
        (limits.http_key_bytes_max as usize, BatchLimits::BROWSER.key_bytes_max),
        (limits.streams_max as usize, transport.streams_bidi_max as usize),
        (limits.stream_window_bytes as usize, transport.stream_window_bytes as usize),
        (limits.connection_window_bytes as usize, transport.connection_window_bytes as usize),
    ];
    let times = [
        (limits.idle_ms, transport.idle_timeout),
        (limits.keep_alive_ms, transport.keep_alive),
        (limits.pid_lifetime_ms, TimeLimits::PERSISTENT.pid_lifetime),
        (limits.late_max_ms, TimeLimits::PERSISTENT.late_max),
        (limits.future_skew_ms, TimeLimits::PERSISTENT.future_skew_max),
    ];
    assert!(sizes.iter().all(|(mine, sdk)| mine == sdk), "{sizes:?}");
    assert!(times.iter().all(|(mine, sdk)| u128::from(*mine) == sdk.as_millis()), "{times:?}");
}

#[test]
fn every_option_has_its_flag_variable_and_help() {
    let mut command = Flags::command();
    let help = command.render_long_help().to_string();
    for option in OPTIONS {
        let env = format!("HEADWATER_{}", option.flag.to_uppercase().replace('-', "_"));
        assert_eq!(option.env, env);
        assert!(help.contains(&format!("--{}", option.flag)), "{}", option.flag);
        assert!(help.contains(&format!("[env: {}", option.env)), "{}", option.env);
        assert!(help.contains(option.doc.trim()), "{}", option.doc);
    }
}
