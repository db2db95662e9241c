//! What stands in the way of a connection: the error names the hub, says what is wrong and what to do.

use super::*;

pub(super) async fn fails(options: ConnectOptions) -> ConnectError {
    Client::connect(options).await.expect_err("does not connect")
}

fn quick(options: ConnectOptions) -> ConnectOptions {
    ConnectOptions { connect_timeout: Duration::from_millis(700), ..options }
}

/// Asserts on what a person reads: in `Display`, and in the `Debug` that a `main` prints.
fn assert_says(error: &ConnectError, code: &str, parts: &[&str]) {
    assert_eq!(error.code(), code, "{error}");
    assert_eq!(format!("{error:?}"), format!("{code}: {error}"));
    parts.iter().for_each(|part| assert!(error.to_string().contains(part), "no {part:?} in {error}"));
}

/// A first client of a development hub was told `UnknownIssuer`; one with another hub's fingerprint, `alert 49`.
#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_told_with_what_to_do() {
    let hub = Hub::start().await;
    let address = hub.address.to_string();
    let error = fails(quick(ConnectOptions::new(&address))).await;
    assert_says(&error, "untrusted", &[&address, "no authority", "HEADWATER_FINGERPRINT", "HEADWATER_CA"]);
    let pin = Fingerprint([7; 32]);
    let error = fails(quick(ConnectOptions::development(&address, pin))).await;
    let says = ["fingerprint is not the one pinned", &pin.to_string(), "printed when it started"];
    assert_says(&error, "untrusted", &says);
    assert!(error.to_string().contains(&address) && !error.to_string().contains("alert"), "{error}");
    let mut pinned = ConnectOptions::new(format!("localhost:{}", hub.address.port()));
    pinned.trust = Trust::Certificate(hub.certificate.clone());
    let client = Client::connect(pinned.clone()).await.expect("trusts the certificate");
    assert!(client.stats().is_connected && client.stats().connect_error.is_none());
    pinned.addresses = vec![format!("[::ffff:127.0.0.1]:{}", hub.address.port())];
    assert_says(&fails(quick(pinned)).await, "untrusted", &["name", "localhost"]);
}

/// It was told `TimedOut`, and not where.
#[tokio::test]
async fn silence_is_told_with_the_address() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("binds");
    let address = silent.local_addr().expect("address").to_string();
    let options =
        ConnectOptions { connect_timeout: Duration::from_millis(200), ..ConnectOptions::new(&address) };
    assert_says(&fails(options.clone()).await, "timed_out", &[&address, "host and port", "UDP"]);
    let client = Client::connect(ConnectOptions { lazy: true, ..options }).await.expect("is lazy");
    assert_says(&client.schema("views").await.expect_err("silence"), "timed_out", &[&address]);
    until("stats say it", || client.stats().connect_error.is_some_and(|error| error.code() == "timed_out"))
        .await;
    let unknown = fails(quick(ConnectOptions::new("no-such-host.invalid:7171"))).await;
    assert_says(&unknown, "resolve", &["no-such-host.invalid", "check its name"]);
    assert_says(&fails(ConnectOptions::new("nonsense")).await, "options", &["nonsense", "host:port"]);
    let url = fails(ConnectOptions::new("http://hub.example:7171/")).await;
    assert_says(&url, "options", &["without http://", "as hub.example:7171"]);
}

/// Another program's QUIC server.
#[tokio::test]
async fn what_is_no_hub_is_told() {
    let other = Hub::start_speaking(b"h3").await;
    let address = other.address.to_string();
    let error = fails(quick(ConnectOptions::development(&address, other.fingerprint()))).await;
    assert_says(&error, "unreachable", &[&address, "not a hub"]);
}

#[tokio::test]
async fn a_wrong_token_is_told_and_so_is_a_hub_that_is_gone() {
    let mut hub = Hub::start().await;
    let address = hub.address.to_string();
    let token = ConnectOptions { token: Some("wrong".into()), ..options(&hub) };
    hub.state().token = Some("right".into());
    let error = fails(token.clone()).await;
    assert_says(&error, "unauthorized", &[&address, "the token is not accepted", "HEADWATER_TOKEN"]);
    let right = ConnectOptions { token: Some("right".into()), ..token };
    let client = Client::connect(right).await.expect("connects");
    hub.stop();
    until("stats say it", || client.stats().connect_error.is_some()).await;
    let error = client.stats().connect_error.expect("an error");
    assert_says(&error, "unreachable", &[&address]);
    let error = fails(quick(options(&hub))).await;
    assert!(["timed_out", "unreachable", "busy"].contains(&error.code()), "{error}");
}

/// Many clients behind one address (NAT) share its connections.
#[tokio::test]
async fn a_hub_without_a_place_is_tried_again_and_nothing_is_lost() {
    let hub = Hub::start().await;
    hub.state().is_full = true;
    let address = hub.address.to_string();
    let error = fails(quick(options(&hub))).await;
    assert_says(&error, "busy", &[&address, "no place", "address_connections_max"]);
    let client = Client::connect(ConnectOptions { lazy: true, ..options(&hub) }).await.expect("is lazy");
    client.stream("views").emit(&HOME).expect("emits");
    until("it is refused", || client.stats().connect_error.is_some_and(|error| error.code() == "busy")).await;
    hub.state().is_full = false;
    client.flush(AckLevel::Durable).await.expect("flushes once there is a place");
    assert_eq!(hub.count(), 1);
    balance(&client.stats());
}
