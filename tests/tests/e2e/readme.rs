//! The README's quickstart is the program that is compiled and run here.

use crate::harness::{Hub, headwater};
use headwater_tests::root;
use std::process::Command;

/// The first code block of a language.
fn block(language: &str) -> String {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("a README");
    let (_, rest) = readme.split_once(&format!("```{language}\n")).expect("a block of that language");
    rest.split_once("```").expect("an end").0.to_owned()
}

#[test]
fn the_rust_quickstart_is_the_example_and_runs() {
    let example = std::fs::read_to_string(root().join("sdk/examples/quickstart.rs")).expect("the example");
    let (_, program) = example.split_once("\n\n").expect("a head and a program");
    assert_eq!(block("rust"), program, "README.md and sdk/examples/quickstart.rs differ");

    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(dir.path(), &[]);
    let output = Command::new(env!("CARGO_BIN_EXE_quickstart"))
        .env("HEADWATER_HUB", hub.quic.to_string())
        .env("HEADWATER_FINGERPRINT", &hub.fingerprint)
        .output()
        .expect("the quickstart starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("/: 33334 views by "), "{text}");
    assert!(lines[1].starts_with("/pricing: 66666 views by "), "{text}");

    // The view of this example did not exist.
    let mut ask = headwater();
    ask.args(["sql", "--hub", &hub.quic.to_string(), "--fingerprint", &hub.fingerprint, "-c", &block("sql")]);
    let output = ask.output().expect("the command line starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("hour") && text.contains("(0 rows)"), "a new view starts empty: {text}");
}

#[test]
fn the_typescript_quickstart_runs_in_node() {
    let dist = root().join("js/dist");
    if !dist.join("node.js").is_file() {
        assert!(std::env::var_os("HEADWATER_JS_BUILT").is_none(), "js/dist/node.js is not there");
        eprintln!("skipped: the npm package is not built (cargo verify builds it)");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(dir.path(), &[]);
    // Within the package, its own name resolves by its own exports, as for users. The block is plain JavaScript too.
    let program = dist.join("readme-quickstart.mjs");
    std::fs::write(&program, block("ts")).unwrap();
    let node =
        Command::new("node").arg(&program).env("HEADWATER_URL", format!("http://{}", hub.http)).output();
    let output = node.expect("node starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for part in ["buy", "750", "help", "250"] {
        assert!(text.contains(part), "{text}");
    }
}
