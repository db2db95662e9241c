//! Bytes of strangers: a connection ends, the hub lives.

use super::address;
use super::raw::{Raw, code, kinds};
use crate::House;
use headwater_hub::options::Options;
use headwater_hub::server::Hub;
use std::net::SocketAddr;

async fn with_hub(check: impl FnOnce(SocketAddr) + Send + 'static) {
    let strict = |options: &mut Options| {
        options.limits.frame_ms = 500;
        options.limits.pg_message_bytes_max = 1 << 20;
        options.limits.pg_connections_max = 8;
        options.limits.pg_session_bytes_max = 64 << 10;
    };
    with_options(strict, check).await;
}

async fn with_options(change: impl FnOnce(&mut Options), check: impl FnOnce(SocketAddr) + Send + 'static) {
    let house = House::new();
    let mut options = house.options();
    change(&mut options);
    let hub = Hub::start(&options).await.expect("hub");
    let to = address(&hub);
    tokio::task::spawn_blocking(move || {
        check(to);
        let mut raw = Raw::session(to);
        assert_eq!(code(&raw.query("SELECT 1")), "", "the hub lives");
    })
    .await
    .expect("as told");
    hub.shutdown().await.expect("shutdown");
}

#[tokio::test(flavor = "multi_thread")]
async fn beginnings_that_are_none() {
    with_hub(|to| {
        for bytes in [
            &b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..],
            &[0; 64],
            &[0xff; 64],
            &[0, 0, 0, 3, 0, 3, 0, 0],
            &[0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 0],
            &[0, 0, 0, 8, 0, 2, 0, 0],
            &[0, 0, 0, 9, 0, 3, 0, 0, 0],
            &[0, 0, 0, 12, 4, 210, 22, 46, 0, 0, 0, 1],
            // Twice TLS, and something behind the first request (CVE-2021-23222).
            &[0, 0, 0, 8, 4, 210, 22, 47, 0, 0, 0, 8, 4, 210, 22, 47],
        ] {
            let mut raw = Raw::connect(to);
            raw.send(bytes);
            assert!(raw.is_closed(), "{bytes:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_none() {
    with_hub(|to| {
        for bytes in [
            // An unknown kind, lengths of 2^31 and 0, a message that does not hold what it says.
            &[b'~', 0, 0, 0, 4][..],
            &[b'Q', 0x7f, 0xff, 0xff, 0xff, b'x'],
            &[b'Q', 0x80, 0, 0, 0],
            &[b'Q', 0, 0, 0, 0],
            &[b'Q', 0, 0, 0, 6, b'a', b'b'],
            &[b'P', 0, 0, 0, 8, 0, 0, 0xff, 0xff],
            &[b'B', 0, 0, 0, 12, 0, 0, 0, 0, 0xff, 0xff, 0, 0],
            &[b'Q', 0, 0, 0, 6, 0xff, 0],
            &[b'F', 0, 0, 0, 4],
        ] {
            let mut raw = Raw::session(to);
            raw.send(bytes);
            let last = raw.until(b'E');
            assert!(["08P01", "54000", "22021"].contains(&code(&last).as_str()), "{bytes:?}: {last:?}");
            assert!(raw.is_closed(), "{bytes:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_open_starts_take_no_places_and_end() {
    with_hub(|to| {
        // More than there are places, and nobody is kept out.
        let silent: Vec<Raw> = (0..20).map(|_| Raw::connect(to)).collect();
        let mut sessions: Vec<Raw> = (0..6).map(|_| Raw::session(to)).collect();
        // One address never has all places.
        let mut late = Raw::connect(to);
        late.start(b"user\0me\0");
        assert_eq!(code(&late.until(b'E')), "53300");
        for mut raw in silent {
            assert!(raw.is_closed(), "after frame_ms");
        }
        let mut slow = sessions.remove(0);
        slow.send(&[b'Q', 0, 0, 0, 100, b'S']);
        assert!(slow.is_closed(), "a message that does not come");
        drop(sessions);
    })
    .await;
}

/// Starts of one address crowd out each other only: the oldest has to go.
#[tokio::test(flavor = "multi_thread")]
async fn more_starts_than_the_lobby_holds_make_room() {
    with_options(
        |_| {},
        |to| {
            let mut silent: Vec<Raw> = (0..65).map(|_| Raw::connect(to)).collect();
            assert!(silent.remove(0).is_closed(), "long before its time was over");
        },
    )
    .await;
}

/// Rows that wait for the client cost what they hold.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_wait_are_bounded() {
    with_hub(|to| {
        let mut raw = Raw::session(to);
        raw.message(b'P', b"s\0SELECT value FROM generate_series(1, 20000)\0\0\0");
        raw.message(b'B', b"p\0s\0\0\0\0\0\0\0");
        raw.message(b'E', b"p\0\0\0\0\x0a");
        raw.message(b'S', b"");
        assert_eq!(code(&raw.until(b'Z')), "53200");
        raw.message(b'P', format!("few\0VALUES (1){}\0\0\0", ", (2)".repeat(19)).as_bytes());
        raw.message(b'B', b"q\0few\0\0\0\0\0\0\0");
        for _ in 0..3 {
            raw.message(b'E', b"q\0\0\0\0\x08");
        }
        raw.message(b'S', b"");
        let messages = raw.until(b'Z');
        assert_eq!(code(&messages), "");
        assert_eq!(kinds(&messages).replace('D', ""), "12ssCZ");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_statements_are_bounded() {
    with_hub(|to| {
        let mut raw = Raw::session(to);
        for n in 0..200 {
            raw.message(b'P', format!("s{n}\0SELECT 1\0\0\0").as_bytes());
        }
        raw.message(b'S', b"");
        let messages = raw.until(b'Z');
        assert_eq!(code(&messages), "53200");
        let parsed = messages.iter().filter(|message| message.0 == b'1').count();
        assert!((10..100).contains(&parsed), "{parsed}");
        assert_eq!(code(&raw.query("DEALLOCATE ALL")), "");
        raw.message(b'P', b"again\0SELECT 1\0\0\0");
        raw.message(b'S', b"");
        assert_eq!(code(&raw.until(b'Z')), "");
    })
    .await;
}

/// NULLs took nothing of what a connection may hold.
#[tokio::test(flavor = "multi_thread")]
async fn parameters_that_are_null_are_bounded_too() {
    with_hub(|to| {
        let mut raw = Raw::session(to);
        raw.message(b'P', b"s\0SELECT 1 WHERE $9000 IS NULL\0\0\0");
        let nulls = [&b"p\0s\0\0\0"[..], &9_000u16.to_be_bytes(), &[0xff; 4 * 9_000], b"\0\0"].concat();
        raw.message(b'B', &nulls);
        raw.message(b'S', b"");
        assert_eq!(code(&raw.until(b'Z')), "53200");
    })
    .await;
}

/// Replies piled up until Sync came, and nobody else had a turn.
#[tokio::test(flavor = "multi_thread")]
async fn replies_to_a_flood_of_small_messages_are_sent_as_they_come() {
    with_hub(|to| {
        let mut raw = Raw::session(to);
        let columns: Vec<String> = (0..20).map(|n| format!("1 AS {n:a>60}")).collect();
        raw.message(b'P', format!("w\0SELECT {}\0\0\0", columns.join(", ")).as_bytes());
        raw.message(b'S', b"");
        assert_eq!(code(&raw.until(b'Z')), "");
        for _ in 0..2_000 {
            raw.message(b'D', b"Sw\0");
        }
        // Megabytes are owed, and neither Sync nor Flush was sent: they come all the same.
        let described = |raw: &mut Raw, count: usize| {
            let mut found = 0;
            while found < count {
                found += usize::from(raw.next().expect("a reply").0 == b'T');
            }
        };
        described(&mut raw, 1_000);
        assert_eq!(code(&Raw::session(to).query("SELECT 1")), "");
        raw.message(b'H', b"");
        described(&mut raw, 1_000);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_error_everything_is_skipped_to_sync() {
    with_hub(|to| {
        let mut raw = Raw::session(to);
        raw.message(b'P', b"\0SELECT 1 / 0\0\0\0");
        raw.message(b'B', b"\0\0\0\0\0\0\0\0");
        raw.message(b'E', b"\0\0\0\0\0");
        raw.message(b'P', b"x\0SELECT 1\0\0\0");
        raw.message(b'S', b"");
        let messages = raw.until(b'Z');
        let kinds: Vec<u8> = messages.iter().map(|message| message.0).collect();
        assert_eq!((kinds.as_slice(), code(&messages).as_str()), (&b"12EZ"[..], "22012"));
        raw.message(b'D', b"Sx\0");
        raw.message(b'S', b"");
        assert_eq!(code(&raw.until(b'Z')), "26000", "it was skipped");
        raw.message(b'B', b"\0\0\0\0\0\x01\0\0\0\x01x\0\0");
        raw.message(b'S', b"");
        assert_eq!(code(&raw.until(b'Z')), "08P01", "a value too many");
    })
    .await;
}

/// Wrong passwords cost the hub one connection each, and no more.
#[tokio::test(flavor = "multi_thread")]
async fn floods_of_passwords_are_refused() {
    let house = House::new();
    let mut options = house.options();
    options.auth.tokens.0 = vec!["secret".into()];
    let hub = Hub::start(&options).await.expect("hub");
    let to = address(&hub);
    tokio::task::spawn_blocking(move || {
        for attempt in 0..50 {
            let mut raw = Raw::connect(to);
            raw.start(b"user\0me\0");
            assert_eq!(raw.next().map(|message| message.0), Some(b'R'));
            let first = b"n,,n=,r=abc";
            let body = [&b"SCRAM-SHA-256\0"[..], &(first.len() as u32).to_be_bytes(), first].concat();
            match attempt % 3 {
                0 => raw.message(b'p', b"secret\0"),
                1 => raw.message(b'Q', b"SELECT 1\0"),
                _ => {
                    raw.message(b'p', &body);
                    assert_eq!(raw.next().map(|message| message.0), Some(b'R'));
                    raw.message(b'p', b"c=biws,r=abc,p=AAAA");
                }
            }
            let last = raw.until(b'E');
            assert!(["28P01", "08P01"].contains(&code(&last).as_str()), "{attempt}: {last:?}");
            assert!(raw.is_closed());
        }
    })
    .await
    .expect("as told");
    hub.shutdown().await.expect("shutdown");
}

/// A parameter that is named often is copied as often: 2,000 times 100 kB once took the hub's memory.
#[tokio::test(flavor = "multi_thread")]
async fn uses_of_a_parameter_are_charged() {
    with_hub(|to| {
        let mut raw = Raw::session(to);
        raw.query("CREATE TABLE wide (k text)");
        let uses = "$1,".repeat(1_999);
        let rows = "($1),".repeat(1_999);
        for sql in [format!("SELECT 'a' IN ({uses}$1)"), format!("INSERT INTO wide VALUES {rows}($1)")] {
            raw.message(b'P', format!("\0{sql}\0\0\x01\0\0\0\x19").as_bytes());
            let value = vec![b'x'; 100_000];
            let mut bind = b"\0\0\0\0\0\x01".to_vec();
            bind.extend(100_000_u32.to_be_bytes());
            bind.extend(&value);
            bind.extend(b"\0\0");
            raw.message(b'B', &bind);
            raw.message(b'E', b"\0\0\0\0\0");
            raw.message(b'S', b"");
            assert_eq!(code(&raw.until(b'Z')), "53200", "{}", &sql[..20]);
        }
    })
    .await;
}

/// Who only asks for columns has changed nothing.
#[tokio::test(flavor = "multi_thread")]
async fn describing_a_portal_runs_no_function_that_changes() {
    with_hub(|to| {
        let mut raw = Raw::session(to);
        raw.query("CREATE STREAM s (k text)");
        raw.query("CREATE CONTINUOUS VIEW v AS SELECT count(*) FROM s");
        raw.message(b'P', b"\0SELECT deactivate('v')\0\0\0");
        raw.message(b'B', b"\0\0\0\0\0\0\0\0");
        raw.message(b'D', b"P\0");
        raw.message(b'S', b"");
        assert_eq!(kinds(&raw.until(b'Z')), "12TZ");
        let active = raw.query("SELECT active FROM headwater.views");
        let row = active.iter().find(|(kind, _)| *kind == b'D').expect("a row");
        assert_eq!(row.1.last(), Some(&b't'), "it is active still");
    })
    .await;
}
