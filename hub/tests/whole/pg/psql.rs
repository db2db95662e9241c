//! psql: its commands about the catalog, scripts, TLS. Without `psql` on the path these tests say that they are skipped.

use super::{address, end, with_rows};
use crate::House;
use headwater_hub::server::Hub;
use std::net::SocketAddr;
use std::process::{Command, Output};

fn is_missing() -> bool {
    let missing = Command::new("psql").arg("--version").output().is_err();
    if missing {
        eprintln!("SKIPPED: psql is not on the path: 1 test of the PostgreSQL protocol did not run");
    }
    missing
}

fn psql(to: SocketAddr, more: &str, commands: &[&str]) -> Output {
    let mut psql = Command::new("psql");
    psql.arg(format!("host=127.0.0.1 port={} user=me dbname=headwater {more}", to.port()));
    psql.args(["--no-psqlrc", "-v", "ON_ERROR_STOP=1", "-P", "pager=off"]).env("PGPASSWORD", "");
    for command in commands {
        psql.args(["-c", command]);
    }
    psql.output().expect("psql runs")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

async fn run(to: SocketAddr, more: &'static str, commands: &'static [&'static str]) -> String {
    let output = tokio::task::spawn_blocking(move || psql(to, more, commands)).await.expect("psql");
    let said = said(&output);
    assert!(output.status.success(), "{commands:?}: {said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_about_the_catalog() {
    if is_missing() {
        return;
    }
    let (_house, hub, native) = with_rows().await;
    let to = address(&hub);
    for (command, expected) in [
        (&["\\d"][..], &["by_url", "view", "pageviews", "foreign table"][..]),
        (&["\\dv"], &["by_url"]),
        (&["\\dE"], &["pageviews"]),
        (&["\\d by_url"], &["View \"public.by_url\"", "visitors", "bigint", "double precision"]),
        (&["\\d+ by_url"], &["View definition:", "count(DISTINCT user_id)"]),
        (
            &["\\d pageviews"],
            &[
                "Foreign table \"public.pageviews\"",
                "Server: pipelinedb",
                "arrival_timestamp",
                "timestamp with time zone",
            ],
        ),
        (&["\\d+ pageviews"], &["latency_ms"]),
        (&["\\d nothing"], &["Did not find any relation named \"nothing\""]),
        (&["\\dt"], &["Did not find any relations."]),
        (&["\\l"], &["headwater", "UTF8"]),
        (&["\\dn"], &["public", "headwater"]),
        (
            &["\\df"],
            &["combine", "agg", "dist_quantile", "double precision", "to_datasketches", "time_bucket"],
        ),
        (&["\\du"], &["headwater"]),
        (&["\\conninfo"], &["You are connected to database \"headwater\" as user \"me\""]),
        (&["\\timing on", "SELECT 1"], &["Time: "]),
        (
            &["\\copy (SELECT url, count FROM by_url ORDER BY url) TO STDOUT CSV HEADER"],
            &["url,count\n/,2\n/a,1\n"],
        ),
        (&["COPY by_url (url, count) TO STDOUT"], &["/\t2\n"]),
        (&["SELECT url, count FROM by_url ORDER BY url", "SHOW server_version"], &["(2 rows)", "15.0"]),
    ] {
        let output = tokio::task::spawn_blocking(move || said(&psql(to, "", command))).await.expect("psql");
        for text in expected {
            assert!(output.contains(text), "{command:?} does not say {text:?}:\n{output}");
        }
        assert!(!output.contains("ERROR"), "{command:?}:\n{output}");
    }
    end(hub, native).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_point_at_their_place() {
    if is_missing() {
        return;
    }
    let (_house, hub, native) = with_rows().await;
    let to = address(&hub);
    let output = tokio::task::spawn_blocking(move || psql(to, "", &["SELECT url,\n urll FROM by_url"])).await;
    let output = said(&output.expect("psql"));
    assert!(output.contains("LINE 2:  urll FROM by_url") && output.contains("HINT:"), "{output}");
    end(hub, native).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_and_passwords() {
    if is_missing() {
        return;
    }
    let house = House::new();
    let mut options = house.options();
    options.auth.tokens.0 = vec!["sesame".into()];
    let hub = Hub::start(&options).await.expect("hub");
    let to = address(&hub);
    let conninfo = run(to, "password=sesame sslmode=require", &["\\conninfo"]).await;
    assert!(conninfo.contains("SSL connection (protocol: TLSv1.3"), "{conninfo}");
    let plain = run(to, "password=sesame sslmode=disable", &["\\conninfo"]).await;
    assert!(!plain.contains("SSL"), "{plain}");
    let wrong =
        tokio::task::spawn_blocking(move || psql(to, "password=wrong", &["SELECT 1"])).await.expect("psql");
    assert!(
        !wrong.status.success() && said(&wrong).contains("password authentication failed"),
        "{}",
        said(&wrong)
    );
    hub.shutdown().await.expect("shutdown");
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_fills_a_table_from_a_file() {
    if is_missing() {
        return;
    }
    let house = House::new();
    let hub = house.start().await;
    let file = house.path().join("prices.csv");
    std::fs::write(&file, "id,name\n1,one\n2,\"t,wo\"\n").expect("a file");
    let copy = format!("\\copy prices FROM '{}' CSV HEADER", file.display());
    let create = "CREATE TABLE prices (id int PRIMARY KEY, name text NOT NULL)";
    let show = "SELECT name FROM prices ORDER BY id DESC";
    let commands = [create, copy.leak(), show].to_vec().leak();
    let said = run(address(&hub), "", commands).await;
    assert!(said.contains("COPY 2") && said.contains("t,wo"), "{said}");
    hub.shutdown().await.expect("shutdown");
}

/// PipelineDB's own spellings, as its users' scripts have them.
#[tokio::test(flavor = "multi_thread")]
async fn a_script_of_pipelinedb_runs() {
    if is_missing() {
        return;
    }
    let house = House::new();
    let hub = house.start().await;
    let said = run(
        address(&hub),
        "",
        &[
            "CREATE FOREIGN TABLE clicks (url text, n int) SERVER pipelinedb",
            "CREATE VIEW by_page WITH (action = materialize) AS SELECT url, count(*), sum(n) FROM clicks GROUP BY url",
            "SELECT name FROM pipelinedb.views",
            "SELECT pipelinedb.combine(sum) FROM by_page",
            "DROP VIEW by_page",
            "DROP FOREIGN TABLE clicks",
        ],
    )
    .await;
    assert!(said.contains("by_page") && said.contains("DROP"), "{said}");
    hub.shutdown().await.expect("shutdown");
}
