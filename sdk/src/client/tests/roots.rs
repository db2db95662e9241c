//! The platform's roots, with an authority of this test among them or not. What the platform trusts comes from its
//! environment, so the client runs in a process of its own.

use super::hub::{Authority, Hub, authority};
use super::*;
use std::io::Write;
use std::process::Command;

/// Tells the child where the hub is.
const ADDRESS: &str = "HEADWATER_TEST_ADDRESS";

/// What becomes of a client whose platform trusts `trusted` alone: its answer, or its error's code.
async fn outcome(address: String, trusted: &Authority) -> String {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("roots.pem");
    std::fs::write(&file, trusted.pem()).expect("written");
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    child.args(["--ignored", "--exact", "--nocapture", "client::tests::roots::child"]);
    child.env("SSL_CERT_FILE", file).env_remove("SSL_CERT_DIR").env(ADDRESS, address);
    let output = tokio::task::spawn_blocking(move || child.output()).await.expect("joins").expect("runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let found = text.lines().find_map(|line| line.split_once("outcome: "));
    found.map(|(_, outcome)| outcome.to_owned()).unwrap_or_else(|| panic!("no outcome: {text}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the client's half of `the_platforms_roots_decide`"]
async fn child() {
    let address = std::env::var(ADDRESS).expect("an address");
    let options = ConnectOptions { connect_timeout: Duration::from_secs(5), ..ConnectOptions::new(address) };
    assert_eq!(options.trust, Trust::PlatformRoots);
    let outcome = match Client::connect(options).await {
        Ok(client) => {
            client.stream("views").emit(&HOME).expect("emits");
            client.flush(AckLevel::Durable).await.expect("flushes");
            format!("{} acked", client.stats().acked)
        }
        Err(error) => error.code().to_owned(),
    };
    // The parent reads it.
    writeln!(std::io::stdout(), "outcome: {outcome}").expect("printed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_platforms_roots_decide() {
    let (own, foreign) = (authority(), authority());
    let hub = Hub::start_signed_by(&own).await;
    let port = hub.address.port();
    assert_eq!(outcome(format!("localhost:{port}"), &own).await, "1 acked");
    assert_eq!(hub.count(), 1);
    assert_eq!(outcome(format!("localhost:{port}"), &foreign).await, "untrusted", "another authority");
    assert_eq!(outcome(format!("127.0.0.1:{port}"), &own).await, "untrusted", "another name");
    assert_eq!(hub.count(), 1);
}
