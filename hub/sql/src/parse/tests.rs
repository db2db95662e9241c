use super::*;
use headwater::value::DataType;

fn one(sql: &str) -> Statement {
    let mut statements = parse(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    assert_eq!(statements.len(), 1, "{sql}");
    statements.remove(0)
}

fn refused(sql: &str) -> (&'static str, String, Option<u32>) {
    let error = parse(sql).expect_err(sql);
    (error.code, error.message, error.position)
}

#[test]
fn streams_with_all_types() {
    let statement = one(
        "create stream IF NOT EXISTS S (a int, \"B\" varchar(10), c numeric(10,2), d double precision, \
                         e timestamptz, f timestamp without time zone, g bytea, h uuid, i interval, j date, k boolean, \
                         l smallint, m int8, n real, o text null, p numeric)",
    );
    let StatementKind::CreateStream(stream) = statement.kind else { panic!("not a stream") };
    assert_eq!((stream.name.name.as_str(), stream.if_not_exists), ("s", true));
    let types: Vec<DataType> = stream.columns.iter().map(|c| c.data_type.clone()).collect();
    use DataType::*;
    let wide = Decimal { precision: 38, scale: 10 };
    let money = Decimal { precision: 10, scale: 2 };
    let want = [
        Int32, Text, money, Float64, Timestamp, Timestamp, Bytea, Uuid, Interval, Date, Bool, Int16, Int64,
        Float32, Text, wide,
    ];
    assert_eq!(types, want);
    assert_eq!(stream.columns[1].name, "B");
}

#[test]
fn pipelinedb_spellings() {
    let foreign = one("CREATE FOREIGN TABLE s (a int) SERVER pipelinedb");
    assert!(matches!(foreign.kind, StatementKind::CreateStream(_)));
    let view = one("CREATE VIEW v WITH (action = materialize, num_shards = 8) AS SELECT count(*) FROM s;");
    let StatementKind::CreateView(view) = view.kind else { panic!("not a view") };
    assert_eq!(view.query_sql, "SELECT count(*) FROM s");
    assert_eq!(
        view.options.iter().map(|o| (o.name.name.as_str(), o.value.as_str())).collect::<Vec<_>>(),
        [("num_shards", "8")]
    );
    assert!(matches!(
        one("drop foreign table s cascade").kind,
        StatementKind::DropStream(Drop { cascade: true, .. })
    ));
    assert!(matches!(
        one("drop view if exists v").kind,
        StatementKind::DropView(Drop { if_exists: true, .. })
    ));
}

#[test]
fn statements_keep_their_text() {
    let statements = parse(";; select 1 ; /* x */ values (2);").expect("parses");
    assert_eq!(statements.iter().map(Statement::sql).collect::<Vec<_>>(), ["select 1", "values (2)"]);
    assert!(parse("  -- nothing\n").expect("parses").is_empty());
}

#[test]
fn show_describe_explain() {
    assert_eq!(one("show streams").kind, StatementKind::Show(Show::Streams));
    assert_eq!(one("SHOW CONTINUOUS VIEWS").kind, StatementKind::Show(Show::Views));
    assert!(
        matches!(one("describe public.V").kind, StatementKind::Describe(Name { name, .. }) if name == "v")
    );
    let explain = Explain { analyze: true, verbose: false };
    assert!(
        matches!(one("explain analyze select 1").kind, StatementKind::Query { explain: Some(e), .. } if e == explain)
    );
}

#[test]
fn others_are_refused_by_name_and_place() {
    assert_eq!(refused("merge into s values (1)"), ("0A000", "MERGE is not supported".into(), Some(1)));
    assert_eq!(refused("select 1;\n  merge into s values (1)").2, Some(13));
    assert_eq!(
        refused("create index i on t (a)"),
        ("0A000", "CREATE INDEX is not supported".into(), Some(8))
    );
    assert_eq!(refused("create stream s (a json)"), ("0A000", "type json is not supported".into(), Some(20)));
    assert_eq!(refused("create stream s (a foo)").0, "42704");
    assert_eq!(
        refused("create stream s (a int not null)"),
        ("0A000", "NOT NULL on a stream's column is not supported".into(), Some(24))
    );
    assert_eq!(refused("create stream s (a int, A text)").2, Some(25));
    assert_eq!(refused("create stream s (arrival_timestamp timestamptz)").0, "42701");
    assert_eq!(refused("create stream s (a numeric(99,2))").0, "22023");
    assert_eq!(refused("select * into t from v"), ("0A000", "SELECT INTO is not supported".into(), Some(1)));
    assert_eq!(refused("select a from v for update").0, "0A000");
    assert_eq!(refused("create view v as select 1").0, "0A000");
    assert_eq!(refused("drop index i").1, "DROP INDEX is not supported");
}

#[test]
fn views_are_altered() {
    let action = |sql: &str| match one(sql).kind {
        StatementKind::AlterView(alter) => (alter.name.name, alter.if_exists, alter.action),
        other => panic!("{sql}: {other:?}"),
    };
    assert!(matches!(
        action("alter continuous view if exists v rename to \"W\""),
        (v, true, AlterAction::Rename(Name { name, .. })) if v == "v" && name == "W"
    ));
    assert!(
        matches!(action("alter view v set (ttl = '1 day', group_cap = 5)").2, AlterAction::Set(o) if o.len() == 2)
    );
    assert!(
        matches!(action("alter view v reset (ttl, ttl_column)").2, AlterAction::Reset(o) if o.len() == 2)
    );
    assert!(matches!(action("truncate continuous view v").2, AlterAction::Truncate));
    assert!(matches!(action("truncate table if exists v"), (_, true, AlterAction::Truncate)));
    assert!(matches!(
        action("alter view v add column count(*) as c").2,
        AlterAction::Add { position: Some(25), .. }
    ));
    assert_eq!(refused("alter view v drop column c").2, Some(14));
    assert_eq!(refused("alter stream s rename to t").0, "0A000");
    assert_eq!(refused("truncate v, w").0, "0A000");
    assert!(matches!(
        one("create or replace view v with (action = materialize) as select 1").kind,
        StatementKind::CreateView(CreateView { or_replace: true, .. })
    ));
    assert!(matches!(one("explain continuous view v").kind, StatementKind::ExplainView(_)));
}

#[test]
fn functions_that_change_a_view_are_commands() {
    let call = |sql: &str| match one(sql).kind {
        StatementKind::Call(call) => call,
        other => panic!("{sql}: {other:?}"),
    };
    let set = call("select pipelinedb.set_ttl('public.V', interval '2' day, null)");
    assert_eq!((set.function, set.view.name.as_str()), (CallName::SetTtl, "v"));
    let values: Vec<_> = set.arguments.iter().map(|a| a.value.as_deref()).collect();
    assert_eq!(values, [Some("2 DAY"), None]);
    assert_eq!(call("select activate('\"V\"') as done").view.name, "V");
    assert!(!one("select activate('v')").is_read());
    assert!(matches!(one("select activate('v') from w").kind, StatementKind::Query { .. }));
    assert_eq!(refused("select activate(v)").2, Some(17));
    assert_eq!(refused("select combine_table('v', 't')").0, "0A000");
}

#[test]
fn syntax_errors_say_where() {
    assert_eq!(
        refused("select 1 from (a"),
        ("42601", "syntax error: expected joined table, found end of input".into(), Some(17))
    );
    assert_eq!(refused("selec 1").2, Some(1));
    assert_eq!(refused("select 'abc").0, "42601");
    assert_eq!(
        refused("create stream s"),
        ("42601", "syntax error: expected \"(\", found end of input".into(), Some(16))
    );
    assert_eq!(refused("select 1 +").2, Some(11));
    assert_eq!(refused("select 1 1").2, Some(10));
    assert_eq!(parse("selec 1").expect_err("no").hint.as_deref(), Some("did you mean SELECT?"));
}

#[test]
fn hostile_texts_end_early() {
    let chain = format!("select {}1", "1+".repeat(100_000));
    assert_eq!(refused(&chain).0, "54001");
    let nested = format!("select {}1{}", "(".repeat(10_000), ")".repeat(10_000));
    assert_eq!(refused(&nested).0, "54001");
    assert_eq!(refused(&" ".repeat(SQL_BYTES_MAX + 1)).0, "54000");
}
