//! The tables of codes in `sdk/FORMAT.md` against the enums that they describe, in both directions: what a table
//! lists is in the code under that number, and what the code has is in the table.
//!
//! It reads sources, so that one test covers the crates and the TypeScript without building them.

mod page;
mod source;

use page::{code_list, numbered, paragraph, table};
use source::{Variant, arms, codes, fields, text, variants};
use std::collections::{BTreeMap, BTreeSet};

const WIRE: &str = "sdk/src/wire/mod.rs";
const PLAN: &str = "sdk/src/plan/mod.rs";
const BATCH: &str = "sdk/src/wire/batch.rs";
const ENDS: &str = "sdk/src/wire/close.rs";

/// Without case, spaces and underscores: `born_in_future`, `Born in future` and `BornInFuture` are one name.
fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, ' ' | '_')).flat_map(char::to_lowercase).collect()
}

/// What the page may call a variant: its name, the first code in its docs up to a parenthesis, or its docs.
fn names(variant: &Variant) -> [String; 3] {
    let code = variant.docs.split('`').nth(1).and_then(|c| c.split('(').next()).unwrap_or_default();
    [plain(&variant.name), plain(code), plain(variant.docs.trim().trim_end_matches('.'))]
}

fn assert_lists(path: &str, name: &str, listed: &[(u64, String)]) {
    let variants = variants(path, name);
    let have: Vec<u64> = variants.iter().map(|v| v.number).collect();
    assert_eq!(listed.iter().map(|l| l.0).collect::<Vec<_>>(), have, "numbers of {name}");
    for (variant, (number, text)) in variants.iter().zip(listed) {
        assert!(names(variant).contains(&plain(text)), "{name} {number}: {text:?} is {:?}", variant.name);
    }
}

/// Rows of `| number | name | ...`.
fn rows_numbered(rows: &[Vec<String>]) -> Vec<(u64, String)> {
    rows.iter().map(|r| (r[0].parse().expect("a number"), r[1].clone())).collect()
}

#[test]
fn frame_kinds() {
    let rows = table("| kind | name | sent by | body |");
    assert_lists(WIRE, "FrameKind", &rows_numbered(&rows));
    for (row, kind) in rows.iter().zip(variants(WIRE, "FrameKind")) {
        assert_eq!(
            kind.docs.trim().split(':').next().map(plain).as_deref(),
            Some(row[2].as_str()),
            "{}",
            row[1]
        );
        assert_eq!(row[3], if row[1] == "Batch" { "batch body" } else { "control" }, "{}", row[1]);
    }
}

#[test]
fn fields_of_control_bodies_and_plans() {
    let bodies = table("| body | fields |");
    let kinds: BTreeSet<String> = variants(WIRE, "FrameKind").into_iter().map(|v| v.name).collect();
    let listed: BTreeSet<String> = bodies.iter().map(|r| r[0].clone()).chain(["Batch".into()]).collect();
    assert_eq!(listed, kinds, "every kind of frame has a body");
    let parts = table("| part | fields |")
        .into_iter()
        .chain(table("| struct | fields, encoded as in \"Control bodies\" |"));
    for row in bodies.into_iter().chain(parts) {
        let name = row[0].trim_matches('*').to_owned();
        let path = match name.as_str() {
            "time" | "id" => continue, // numbers with a meaning, no structs
            "Plan" | "Node" | "StatePlan" => PLAN,
            "StreamSchema" | "Field" => "sdk/src/schema.rs",
            _ => WIRE,
        };
        let field =
            |part: &str| part.split_whitespace().next().unwrap_or_default().replace("type", "data_type");
        let cell = row[1].split(", without").next().unwrap_or_default();
        assert_eq!(cell.split(';').map(field).collect::<Vec<_>>(), fields(path, &name), "{name}");
    }
}

#[test]
fn enums_of_control_bodies() {
    let rows = table("| enum | variants |");
    let cells: BTreeMap<&str, &str> = rows.iter().map(|r| (r[0].trim_matches('*'), r[1].as_str())).collect();
    assert_eq!(
        cells.keys().copied().collect::<Vec<_>>(),
        ["AckLevel", "DataType", "ReadLevel", "RefusedCode", "Value"]
    );
    assert_lists(WIRE, "AckLevel", &numbered(cells["AckLevel"]));
    assert_lists(WIRE, "ReadLevel", &numbered(cells["ReadLevel"]));
    assert_lists("sdk/src/value/mod.rs", "DataType", &numbered(cells["DataType"]));
    let first = |(number, name): (u64, String)| {
        (number, name.split([',', ' ']).next().unwrap_or_default().to_owned())
    };
    let mut values: Vec<_> = numbered(cells["Value"]).into_iter().map(first).collect();
    assert_eq!(values[2].1, "integers");
    values[2].1 = "int".into();
    assert_lists("sdk/src/value/mod.rs", "Value", &values);
}

#[test]
fn operations_and_functions_of_plans() {
    let join = |rows: Vec<Vec<String>>| rows.iter().map(|r| r[0].clone()).collect::<Vec<_>>().join(", ");
    assert_lists(PLAN, "Op", &numbered(&join(table("| *Op* | fields |"))));
    assert_lists(
        PLAN,
        "BinaryOp",
        &numbered(&paragraph("*BinaryOp*: ").replace("`|`", "|").replace("`||`", "||")),
    );
    assert_lists(PLAN, "Function", &numbered(&paragraph("*Function*: ")));
    let mut specs = numbered(&join(table("| *Spec* | fields |")));
    specs.sort_unstable();
    assert_lists("sdk/src/aggregate/mod.rs", "AggregateSpec", &specs);
}

#[test]
fn tags_of_states() {
    let mut listed = BTreeSet::new();
    for row in table("| tag | spec | state |") {
        let names = row[1].split(", ").map(|name| name.split(' ').next().unwrap_or_default().to_owned());
        let tags = row[0].split(", ").map(|tag| tag.parse().expect("a tag"));
        listed.extend(tags.zip(names));
    }
    assert_lists("sdk/src/aggregate/mod.rs", "AggregateSpec", &listed.into_iter().collect::<Vec<_>>());
}

/// Numbers, names and the texts of `code()`.
fn assert_codes(path: &str, name: &str, rows: &[Vec<String>]) {
    let listed = rows_numbered(rows);
    assert_lists(path, name, &listed);
    let texts: Vec<String> = codes(path, name).into_iter().map(|c| c.1).collect();
    assert_eq!(texts, listed.into_iter().map(|l| l.1).collect::<Vec<_>>(), "code() of {name}");
}

#[test]
fn refusals_and_drop_reasons() {
    assert_codes(WIRE, "RefusedCode", &table("| number | code | when | what an SDK does |"));
    assert_codes(BATCH, "DropReason", &table("| number | code | why |"));
}

/// `StatusCode::NOT_FOUND` as a number.
fn status(name: &str) -> &'static str {
    match name.trim_start_matches("StatusCode::") {
        "BAD_REQUEST" => "400",
        "UNAUTHORIZED" => "401",
        "NOT_FOUND" => "404",
        "REQUEST_TIMEOUT" => "408",
        "CONFLICT" => "409",
        "PAYLOAD_TOO_LARGE" => "413",
        "INTERNAL_SERVER_ERROR" => "500",
        "NOT_IMPLEMENTED" => "501",
        "SERVICE_UNAVAILABLE" => "503",
        other => panic!("{other} has no number here"),
    }
}

#[test]
fn ends_and_their_status() {
    let rows = table("| number | code | HTTP | when |");
    assert_codes(ENDS, "CloseCode", &rows);
    let mut statuses = BTreeMap::new();
    for (pattern, value) in arms("hub/src/ingress/http/routes.rs", "impl IntoResponse for Close {") {
        statuses.extend(
            pattern.split(" | ").map(|code| (plain(code.trim_start_matches("CloseCode::")), status(&value))),
        );
    }
    let listed = rows.iter().map(|r| (plain(&r[1]), r[2].as_str())).collect::<BTreeMap<_, _>>();
    assert_eq!(listed, statuses);
}

#[test]
fn status_of_sqlstates() {
    let mut have = BTreeMap::new();
    for (pattern, value) in arms("hub/src/api/sql.rs", "fn status(code: &str)") {
        let mut codes: Vec<&str> = pattern.split('"').skip(1).step_by(2).collect();
        codes.extend((pattern == "_").then_some("others"));
        have.extend(codes.into_iter().map(|code| (code.to_owned(), status(&value))));
    }
    let mut listed = BTreeMap::new();
    for row in table("| SQLSTATE | status |") {
        let codes = row[0].split(", ").map(|code| code.trim_end_matches("...").to_owned());
        listed.extend(codes.map(|code| (code, row[1][..3].to_owned())));
    }
    assert_eq!(listed, have.into_iter().map(|(code, status)| (code, status.to_owned())).collect());
}

#[test]
fn error_codes() {
    let sources = [
        ("`DecodeError`", "sdk/src/codec.rs", "DecodeError"),
        ("`SessionError`", "sdk/src/session/event.rs", "SessionError"),
        ("`SpoolError`", "sdk/src/outbox/spool.rs", "SpoolError"),
        ("`ConnectError`", "sdk/src/client/error.rs", "ConnectError"),
        ("`FlushError`", "sdk/src/client/error.rs", "FlushError"),
        ("`QueryError`", "sdk/src/client/error.rs", "QueryError"),
        ("`EmitError`", "sdk/src/client/producer.rs", "EmitError"),
        ("`emit::EmitError`", "sdk/src/emit/mod.rs", "EmitError"),
        ("`BatchError`", "sdk/src/schema.rs", "BatchError"),
        ("`PlanError`", PLAN, "PlanError"),
        ("`Slot`", "sdk/src/value/column.rs", "Slot"),
    ];
    let mut listed: BTreeMap<String, BTreeSet<String>> = table("| type | codes |")
        .into_iter()
        .map(|r| (r[0].clone(), code_list(&r[1]).into_iter().collect()))
        .collect();
    for (cell, path, name) in sources {
        let have: BTreeSet<String> = codes(path, name).into_iter().map(|c| c.1).collect();
        assert_eq!(listed.remove(cell), Some(have), "{cell}");
    }
    let js = listed.remove("JavaScript").expect("a row");
    assert!(listed.is_empty(), "no type for {:?}", listed.keys());
    let declared = text("js/src/errors.ts");
    let types =
        declared.lines().filter(|l| l.starts_with("export type") || l.trim_start().starts_with("| '"));
    let have: BTreeSet<String> =
        types.flat_map(|l| l.split('\'').skip(1).step_by(2)).map(str::to_owned).collect();
    assert_eq!(js, have, "JavaScript");
    for word in ["bindings/src/lib.rs", "bindings/src/events.rs"].into_iter().flat_map(words) {
        assert!(js.contains(&word) || MODULE_WORDS.contains(&word.as_str()), "the module says {word}");
    }
}

/// What the WASM module says besides codes: the names of its events, a message, its feature.
const MODULE_WORDS: [&str; 9] =
    ["connect", "open", "offline", "unknown", "plans", "needs_full", "error", "truncated", "full"];

/// The lower-case words of a source's texts; NUL joins them.
fn words(path: &str) -> Vec<String> {
    let source = text(path).lines().filter(|line| !line.trim_start().starts_with("//")).collect::<String>();
    let texts = source.split('"').skip(1).step_by(2).flat_map(|text| text.split("\\0"));
    let is_word = |text: &&str| text.chars().all(|c| c.is_ascii_lowercase() || c == '_') && !text.is_empty();
    texts.filter(is_word).map(str::to_owned).collect()
}

#[test]
fn codes_of_the_store() {
    let list = paragraph("*Error codes of the hub's store*, in its logs and exit messages: ");
    let have: BTreeSet<String> =
        codes("hub/src/store/error.rs", "StoreError").into_iter().map(|c| c.1).collect();
    assert_eq!(code_list(&list).into_iter().collect::<BTreeSet<_>>(), have);
}
