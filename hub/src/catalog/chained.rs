//! What depends on what: views over views' outputs, and transforms.

use super::state::READERS_MAX;
use super::testing::{drop_stream, drop_view};
use super::{Catalog, CatalogOptions, DRAWS_MAX};
use crate::store::MemoryStore;
use crate::store::marker::Marker;
use headwater::ids::PlanVersion;
use headwater_sql::SqlError;
use headwater_sql::definition::{Ddl, ViewDef};
use headwater_sql::transform::VERSIONS_MAX;

const MARKER: Marker = Marker { cluster: [1; 16], hub: 2, shard_groups: 1 };

fn open(store: &MemoryStore) -> Catalog {
    Catalog::with_store(Box::new(store.clone()), MARKER).expect("open")
}

async fn define(catalog: &Catalog, sql: &str) -> Result<bool, SqlError> {
    let statement = &headwater_sql::parse(sql)?[0];
    let ddl = headwater_sql::compile(statement, &catalog.snapshot())?.expect("a definition");
    catalog.apply(ddl).await
}

async fn defined(catalog: &Catalog, statements: &[&str]) {
    for sql in statements {
        assert_eq!(define(catalog, sql).await, Ok(true), "{sql}");
    }
}

fn names(catalog: &Catalog) -> Vec<String> {
    let snapshot = catalog.snapshot();
    snapshot.views.iter().chain(&snapshot.transforms).map(|view| view.name.clone()).collect()
}

#[tokio::test]
async fn a_view_whose_output_is_read_goes_with_its_readers_or_stays() {
    let store = MemoryStore::new();
    let catalog = open(&store);
    let chain = [
        "CREATE STREAM s (k text, n bigint)",
        "CREATE CONTINUOUS VIEW a AS SELECT k, sum(n) AS n FROM s GROUP BY k",
        "CREATE CONTINUOUS VIEW b AS SELECT sum((delta).n) AS n FROM output_of('a')",
        "CREATE CONTINUOUS VIEW c AS SELECT combine((delta).n) AS n FROM output_of('b')",
        "CREATE CONTINUOUS VIEW d AS SELECT count(*) FROM s",
    ];
    defined(&catalog, &chain).await;
    // Changes that were compiled before somebody else's are checked again.
    let error = catalog.apply(drop_view("a")).await.expect_err("needed");
    assert_eq!((error.code, error.message.ends_with("b, c")), ("2BP01", true), "{error}");
    let error = catalog.apply(drop_stream("s", false)).await.expect_err("needed");
    assert_eq!((error.code, error.message.ends_with("a, b, c, d")), ("2BP01", true), "{error}");
    let (a, b) =
        (catalog.snapshot().view("a").expect("a").id, catalog.snapshot().view("b").expect("b").clone());
    defined(&catalog, &["TRUNCATE a", "ALTER VIEW a RENAME TO first"]).await;
    let now = catalog.snapshot().view("first").expect("a").id;
    assert_ne!(now, a);
    let chained = catalog.snapshot().view("b").expect("b").chained().expect("chained").clone();
    assert_eq!((chained.source, &chained.combined), (now, &b.chained().expect("chained").combined));
    let stale = Box::new(ViewDef { name: "stale".into(), ..(*b).clone() });
    let error = catalog.apply(Ddl::CreateView { def: stale, if_not_exists: false }).await.expect_err("gone");
    assert_eq!(error.code, "42P01", "compiled before the view was emptied");
    assert_eq!(open(&store).snapshot().views, catalog.snapshot().views, "a replay gives the same");
    defined(&catalog, &["DROP CONTINUOUS VIEW b CASCADE"]).await;
    assert_eq!(names(&catalog), ["first", "d"]);
    defined(&catalog, &["DROP STREAM s CASCADE"]).await;
    assert_eq!(names(&catalog), [""; 0]);
}

#[tokio::test]
async fn definitions_and_readers_are_bounded() {
    let store = MemoryStore::new();
    let options = CatalogOptions { bytes_max: 20_000, ..CatalogOptions::default() };
    let catalog = Catalog::with_options(std::sync::Arc::new(store), MARKER, &options).expect("open");
    defined(&catalog, &["CREATE STREAM s (n bigint)", "CREATE CONTINUOUS VIEW a AS SELECT count(*) FROM s"])
        .await;
    let reader = |n| format!("CREATE CONTINUOUS VIEW r{n} AS SELECT count(*) FROM output_of('a')");
    for n in 0..READERS_MAX {
        assert_eq!(define(&catalog, &reader(n)).await, Ok(true));
    }
    let error = define(&catalog, &reader(READERS_MAX)).await.expect_err("one too many");
    assert_eq!(error.code, "54000", "{error}");
    // A text that is kept beside the plan is in no other limit.
    let long = format!("CREATE CONTINUOUS VIEW long AS SELECT count(*) /* {} */ FROM s", "x".repeat(20_000));
    let error = define(&catalog, &long).await.expect_err("too long");
    assert_eq!((error.code, error.message.contains("more than 20000")), ("54000", true), "{error}");
    defined(&catalog, &["DROP CONTINUOUS VIEW a CASCADE"]).await;
}

#[tokio::test]
async fn a_transform_gives_views_a_plan_more() {
    let store = MemoryStore::new();
    let catalog = open(&store);
    let chain = [
        "CREATE STREAM s (k text, n bigint)",
        "CREATE STREAM t (n bigint)",
        "CREATE CONTINUOUS VIEW v AS SELECT sum(n) FROM t WHERE n > 1",
        "CREATE CONTINUOUS TRANSFORM x AS SELECT n + 1 FROM s WHERE k = 'a' THEN EXECUTE FUNCTION insert_into_stream('t')",
        "CREATE CONTINUOUS VIEW w AS SELECT count(*) FROM output_of('x')",
    ];
    defined(&catalog, &chain).await;
    let snapshot = catalog.snapshot();
    let (s, t) = (snapshot.stream("s").expect("s"), snapshot.stream("t").expect("t"));
    let (v, w) = (snapshot.view("v").expect("v"), snapshot.view("w").expect("w"));
    let plans = snapshot.plans_of(s.schema.id);
    assert_eq!(plans.iter().map(|p| p.view).collect::<Vec<_>>(), [w.id, v.id]);
    assert!(plans.iter().all(|plan| plan.validate(&s.schema).is_ok()), "{plans:?}");
    assert_eq!(snapshot.plans_of(t.schema.id).len(), 1);
    assert_eq!(v.versions(), [v.plan.version, plans[1].version]);
    assert_eq!(open(&store).snapshot().views, snapshot.views, "a replay gives the same");
    // Two ways back are refused, also of a change that was compiled before the other.
    let back =
        "CREATE CONTINUOUS TRANSFORM y AS SELECT 'a', n FROM t THEN EXECUTE FUNCTION insert_into_stream('s')";
    assert_eq!(define(&catalog, back).await.expect_err("a circle").code, "42P17");
    assert_eq!(define(&catalog, "DROP CONTINUOUS TRANSFORM x").await.expect_err("needed").code, "2BP01");
    defined(&catalog, &["SELECT deactivate('x')"]).await;
    assert_eq!(catalog.snapshot().plans_of(s.schema.id), []);
    defined(&catalog, &["SELECT activate('x')", "DROP CONTINUOUS TRANSFORM x CASCADE"]).await;
    assert_eq!(names(&catalog), ["v"]);
    let versions = catalog.snapshot().view("v").expect("v").versions();
    assert_eq!(versions, v.versions(), "what was made through it counts");
    defined(&catalog, &[chain[3]]).await;
    assert_eq!(
        catalog.snapshot().view("v").expect("v").versions().len(),
        3,
        "another of its name is another"
    );
    defined(&catalog, &["DROP STREAM t CASCADE"]).await;
    assert_eq!(names(&catalog), [""; 0]);
}

/// A view forgot the versions of plans that were live, and lost what was acknowledged.
#[tokio::test]
async fn every_plan_that_there_is_is_remembered() {
    let catalog = open(&MemoryStore::new());
    let begin = [
        "CREATE STREAM t (n bigint)",
        "CREATE CONTINUOUS VIEW v AS SELECT count(*) FROM t",
        "CREATE STREAM s (n bigint)",
        "CREATE CONTINUOUS TRANSFORM first AS SELECT n FROM s THEN EXECUTE FUNCTION insert_into_stream('t')",
    ];
    defined(&catalog, &begin).await;
    let made = |catalog: &Catalog| {
        let snapshot = catalog.snapshot();
        snapshot.plans_of(snapshot.stream("s").expect("s").schema.id)[0].version
    };
    let first = made(&catalog);
    let again =
        "CREATE CONTINUOUS TRANSFORM again AS SELECT n FROM s THEN EXECUTE FUNCTION insert_into_stream('t')";
    for _ in 0..300 {
        defined(&catalog, &[again, "DROP CONTINUOUS TRANSFORM again"]).await;
    }
    assert!(catalog.snapshot().view("v").expect("v").versions().contains(&first));
    let mut refused = None;
    for n in 0..300 {
        let sql = again.replace("again", &format!("x{n}"));
        if let Err(error) = define(&catalog, &sql).await {
            refused = Some((n, error.code));
            break;
        }
    }
    // The own plan is one of them, and so is the first transform's.
    assert_eq!(refused, Some((VERSIONS_MAX - 2, "54000")));
    let snapshot = catalog.snapshot();
    let versions = snapshot.view("v").expect("v").versions();
    let plans = snapshot.plans_of(snapshot.stream("s").expect("s").schema.id);
    assert_eq!(plans.len(), VERSIONS_MAX - 1);
    assert!(plans.iter().all(|plan| versions.contains(&plan.version)));
}

/// Chance gave two plans one version, and whoever defined a transform was told to try again.
#[tokio::test]
async fn versions_are_drawn_until_they_differ() {
    let catalog = open(&MemoryStore::new());
    let begin = [
        "CREATE STREAM t (n bigint)",
        "CREATE CONTINUOUS VIEW v AS SELECT count(*) FROM t",
        "CREATE STREAM s (n bigint)",
    ];
    defined(&catalog, &begin).await;
    let draws = |mut versions: Vec<u32>| Box::new(move || Ok(PlanVersion(versions.remove(0))));
    catalog.inner.writer().draw = draws(vec![5, 5, 5, 6]);
    let transform = |name: &str| {
        format!(
            "CREATE CONTINUOUS TRANSFORM {name} AS SELECT n FROM s THEN EXECUTE FUNCTION insert_into_stream('t')"
        )
    };
    defined(&catalog, &[&transform("x"), &transform("y")]).await;
    let versions: Vec<u32> = catalog.snapshot().transforms.iter().map(|def| def.plan.version.0).collect();
    assert_eq!(versions, [5, 6]);
    catalog.inner.writer().draw = draws(vec![6; DRAWS_MAX]);
    let refused = define(&catalog, &transform("z")).await.expect_err("chance");
    assert_eq!(refused.code, "40001");
    assert_eq!(catalog.snapshot().transforms.len(), 2);
}

/// The version that ADD COLUMN replaced was the first to be forgotten: acknowledged records of it counted no more.
#[tokio::test]
async fn what_a_column_replaces_is_remembered_last() {
    let catalog = open(&MemoryStore::new());
    let begin = [
        "CREATE STREAM t (n bigint)",
        "CREATE CONTINUOUS VIEW v AS SELECT count(*) FROM t",
        "CREATE STREAM s (n bigint)",
        "CREATE CONTINUOUS TRANSFORM x AS SELECT n FROM s THEN EXECUTE FUNCTION insert_into_stream('t')",
    ];
    defined(&catalog, &begin).await;
    let view = || catalog.snapshot().view("v").expect("v").clone();
    for n in 0..20 {
        let before = view();
        defined(&catalog, &[&format!("ALTER CONTINUOUS VIEW v ADD COLUMN sum(n) AS s{n}")]).await;
        let after = view();
        let newest = after.versions().into_iter().rev().take(2).collect::<Vec<_>>();
        assert!(newest.contains(&before.plan.version), "{n}: {newest:?}");
        for version in before.versions() {
            assert!(after.versions().contains(&version), "{version:?} of {n}");
            assert_eq!(after.states_of(version), before.states_of(version));
        }
    }
}

/// Two ways from each stream to the next: each more level doubled what every statement took.
#[tokio::test]
async fn ways_that_multiply_are_refused_and_cost_nothing() {
    let catalog = open(&MemoryStore::new());
    defined(&catalog, &["CREATE STREAM s0 (n bigint)"]).await;
    for level in 1..=40 {
        let stream = format!("CREATE STREAM s{level} (n bigint)");
        let way = |name: &str| {
            let below = level - 1;
            format!(
                "CREATE CONTINUOUS TRANSFORM {name}{level} AS SELECT n FROM s{below} THEN EXECUTE FUNCTION insert_into_stream('s{level}')"
            )
        };
        defined(&catalog, &[stream.as_str(), way("a").as_str(), way("b").as_str()]).await;
    }
    let error = define(&catalog, "CREATE CONTINUOUS VIEW v AS SELECT count(*) FROM s40").await;
    assert_eq!(error.expect_err("too many").code, "54000");
    defined(&catalog, &["CREATE CONTINUOUS VIEW v AS SELECT count(*) FROM s7"]).await;
    let snapshot = catalog.snapshot();
    for stream in &snapshot.streams {
        let plans = snapshot.plans_of(stream.schema.id);
        assert!(plans.iter().all(|plan| plan.validate(&stream.schema).is_ok()), "{plans:?}");
    }
}
