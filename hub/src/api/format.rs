//! Answers over HTTP: JSON, NDJSON, CSV.
//!
//! Owns: which format a request wants and how rows look in it. JSON keeps what JavaScript keeps exactly:
//! integers beyond 2^53 and numerics are strings, dates and timestamps (with `Z`) are ISO 8601, bytea is `\x` hex,
//! doubles that are not numbers are the strings `NaN`, `Infinity`, `-Infinity`.

use super::text;
use axum::http::{HeaderMap, Uri, header};
use headwater::expr::{iso_date, iso_timestamp};
use headwater::schema::Field;
use headwater::value::{DataType, Value};
use serde::{Serialize, Serializer};
use serde_json::{Value as Json, json};

/// The largest integer below which all are exact in a double.
const SAFE_INTEGER: u64 = 1 << 53;

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One object: columns, rows, tag.
    Json,
    /// One object per row and line.
    NdJson,
    /// RFC 4180 with a header line; NULL is empty, empty text is `""`. A command has its tag as a line.
    Csv,
    /// An Arrow IPC stream.
    Arrow,
}

impl Format {
    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::NdJson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }

    /// From `?format=`, else from `Accept`; JSON when neither says. `None`: asked for one we do not have.
    pub fn wanted(uri: &Uri, headers: &HeaderMap) -> Option<Self> {
        let query = uri.query().unwrap_or_default();
        if let Some(name) = query.split('&').find_map(|pair| pair.strip_prefix("format=")) {
            return Self::named(name);
        }
        let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("*/*");
        Self::accepted(accept)
    }

    /// The one of the highest `q`, of several the first; none that has `q=0`.
    fn accepted(accept: &str) -> Option<Self> {
        let ranges: Vec<(&[Self], f32)> = accept
            .split(',')
            .map(range)
            .map(|(media_type, q)| (Self::of_media_type(media_type), q))
            .collect();
        let is_refused =
            |format: &Self| ranges.iter().any(|(formats, q)| *q <= 0.0 && *formats == [*format].as_slice());
        let mut best: Option<(Self, f32)> = None;
        for (formats, q) in ranges.iter().filter(|(_, q)| *q > 0.0) {
            if best.is_none_or(|(_, most)| *q > most)
                && let Some(format) = formats.iter().find(|format| !is_refused(format))
            {
                best = Some((*format, *q));
            }
        }
        best.map(|(format, _)| format)
    }

    fn named(name: &str) -> Option<Self> {
        match name {
            "json" => Some(Self::Json),
            "ndjson" => Some(Self::NdJson),
            "csv" => Some(Self::Csv),
            "arrow" => Some(Self::Arrow),
            _ => None,
        }
    }

    /// What a media type or a range of them stands for, the likeliest first.
    fn of_media_type(media_type: &str) -> &'static [Self] {
        // RFC 9110, section 8.3.1: in any case of letters.
        match media_type.to_ascii_lowercase().as_str() {
            "application/json" => &[Self::Json],
            "application/*" => &[Self::Json, Self::NdJson, Self::Arrow],
            "*/*" => &[Self::Json, Self::NdJson, Self::Csv, Self::Arrow],
            "application/x-ndjson" | "application/jsonl" => &[Self::NdJson],
            "text/csv" | "text/*" => &[Self::Csv],
            "application/vnd.apache.arrow.stream" => &[Self::Arrow],
            _ => &[],
        }
    }
}

/// A part of `Accept`: its media type, and `q`, which is 1 where it says none.
fn range(part: &str) -> (&str, f32) {
    let mut parts = part.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    let q = parts.find_map(|parameter| parameter.strip_prefix(['q', 'Q'])?.strip_prefix('='));
    let q = q.and_then(|q| q.trim().parse().ok());
    (media_type, q.unwrap_or(1.0))
}

/// `[{"name":...,"type":...}]`
pub fn columns(fields: &[Field]) -> String {
    let column = |f: &Field| json!({ "name": f.name, "type": headwater_sql::type_name(&f.data_type) });
    Json::Array(fields.iter().map(column).collect()).to_string()
}

/// A row as an array.
pub fn json_row(row: &[Value], fields: &[Field]) -> String {
    written(&Row(row, fields))
}

/// A row as an object, its members in the order of the columns.
pub fn json_object(row: &[Value], fields: &[Field]) -> String {
    written(&Object(row, || fields.iter().map(|f| (f.name.as_str(), &f.data_type))))
}

/// Nothing here can fail to be JSON: keys are text, doubles are finite.
fn written(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

struct Row<'a>(&'a [Value], &'a [Field]);

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.iter().zip(self.1).map(|(value, field)| Cell(value, &field.data_type)))
    }
}

/// Values with what gives their names and types.
struct Object<'a, N>(&'a [Value], N);

impl<'a, N, I> Serialize for Object<'a, N>
where
    N: Fn() -> I,
    I: Iterator<Item = (&'a str, &'a DataType)>,
{
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().zip((self.1)()).map(|(value, (name, of))| (name, Cell(value, of))))
    }
}

/// A value and its type.
struct Cell<'a>(&'a Value, &'a DataType);

impl Serialize for Cell<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match (self.0, self.1) {
            (Value::Null, _) => to.serialize_unit(),
            (Value::Bool(b), _) => to.serialize_bool(*b),
            (Value::Int(days), DataType::Date) => to.serialize_str(&iso_date(*days)),
            (Value::Int(micros), DataType::Timestamp) => to.serialize_str(&iso_timestamp(*micros)),
            (Value::Int(n), DataType::Int16 | DataType::Int32 | DataType::Int64)
                if n.unsigned_abs() <= SAFE_INTEGER =>
            {
                to.serialize_i64(*n)
            }
            (Value::Float(x), DataType::Float32) if x.is_finite() => {
                // Through the shortest text: 0.1, not 0.10000000149011612.
                to.serialize_f64((*x as f32).to_string().parse().unwrap_or(*x))
            }
            (Value::Float(x), _) if x.is_finite() => to.serialize_f64(*x),
            (Value::List(items), DataType::List(item)) => {
                to.collect_seq(items.iter().map(|value| Cell(value, item)))
            }
            (Value::Struct(values), DataType::Struct(types)) => {
                Object(values, || types.iter().map(|(name, of)| (name.as_str(), of))).serialize(to)
            }
            (value, of) => match text::text(value, of) {
                Some(text) => to.serialize_str(&text),
                None => to.serialize_unit(),
            },
        }
    }
}

/// The header line.
pub fn csv_header(fields: &[Field], out: &mut String) {
    csv_line(fields.iter().map(|f| Some(f.name.clone())), out);
}

/// A row as a line.
pub fn csv_row(row: &[Value], fields: &[Field], out: &mut String) {
    csv_line(row.iter().zip(fields).map(|(value, field)| text::text(value, &field.data_type)), out);
}

fn csv_line(cells: impl Iterator<Item = Option<String>>, out: &mut String) {
    for (at, cell) in cells.enumerate() {
        if at > 0 {
            out.push(',');
        }
        match cell {
            None => {}
            Some(text) if text.is_empty() || text.contains([',', '"', '\n', '\r']) => {
                out.push('"');
                out.push_str(&text.replace('"', "\"\""));
                out.push('"');
            }
            Some(text) => out.push_str(&text),
        }
    }
    out.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, data_type: DataType) -> Field {
        Field { name: name.into(), data_type }
    }

    #[test]
    fn json_keeps_what_javascript_keeps() {
        let numeric = DataType::Decimal { precision: 38, scale: 1 };
        for (value, data_type, expected) in [
            (Value::Int(1 << 53), DataType::Int64, json!(9_007_199_254_740_992_i64)),
            (Value::Int((1 << 53) + 1), DataType::Int64, json!("9007199254740993")),
            (Value::Int(i64::MIN), DataType::Int64, json!("-9223372036854775808")),
            (Value::Decimal(15), numeric, json!("1.5")),
            (Value::Float(f64::INFINITY), DataType::Float64, json!("Infinity")),
            (Value::Float(f64::from(0.1f32)), DataType::Float32, json!(0.1)),
            (Value::Int(0), DataType::Timestamp, json!("1970-01-01T00:00:00Z")),
            (Value::Int(1), DataType::Date, json!("1970-01-02")),
            (Value::Bytes(vec![255]), DataType::Bytea, json!("\\xff")),
            (Value::Null, DataType::Text, Json::Null),
            (
                Value::List(vec![Value::Struct(vec![Value::Int(1)])]),
                DataType::List(Box::new(DataType::Struct(vec![("n".into(), DataType::Int64)]))),
                json!([{"n": 1}]),
            ),
            (Value::Int(-800_017), DataType::Date, json!("-000221-08-18")),
            (Value::Int(3_700_000), DataType::Date, json!("+012100-04-04")),
            (Value::Int(317_351_476_805_000_000), DataType::Timestamp, json!("+012026-06-20T12:00:05Z")),
        ] {
            let row = json_row(&[value], &[field("x", data_type)]);
            assert_eq!(serde_json::from_str::<Json>(&row).expect("json"), json!([expected]), "{row}");
        }
    }

    /// They came in the order of the alphabet.
    #[test]
    fn members_are_in_the_order_of_the_columns() {
        let pair =
            DataType::Struct(vec![("value".into(), DataType::Text), ("count".into(), DataType::Int64)]);
        let fields = [field("z", DataType::Int64), field("a", pair)];
        let row = [Value::Int(1), Value::Struct(vec![Value::Text("\"x".into()), Value::Int(2)])];
        assert_eq!(json_object(&row, &fields), r#"{"z":1,"a":{"value":"\"x","count":2}}"#);
        assert_eq!(json_row(&row, &fields), r#"[1,{"value":"\"x","count":2}]"#);
    }

    #[test]
    fn csv_tells_null_from_empty_text_and_quotes() {
        let fields = [field("a", DataType::Text), field("b,c", DataType::Text)];
        let mut out = String::new();
        csv_header(&fields, &mut out);
        csv_row(&[Value::Null, Value::Text(String::new())], &fields, &mut out);
        csv_row(&[Value::Text("say \"hi\"".into()), Value::Text("x".into())], &fields, &mut out);
        assert_eq!(out, "a,\"b,c\"\r\n,\"\"\r\n\"say \"\"hi\"\"\",x\r\n");
    }

    #[test]
    fn the_best_accepted_format_is_taken() {
        for (accept, expected) in [
            ("text/csv;q=0.5, application/json", Some(Format::Json)),
            ("application/json;q=0.1, text/csv; q=0.9", Some(Format::Csv)),
            ("text/csv, application/json", Some(Format::Csv)),
            ("application/json;q=0, text/csv;q=0.1", Some(Format::Csv)),
            ("application/json;q=0, */*", Some(Format::NdJson)),
            ("application/json;q=0.0", None),
            ("text/html, image/png", None),
            ("text/csv;q=much", Some(Format::Csv)),
            ("Application/JSON;Q=0.1, TEXT/CSV", Some(Format::Csv)),
        ] {
            assert_eq!(Format::accepted(accept), expected, "{accept}");
        }
    }

    #[test]
    fn the_query_goes_before_the_header() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, "text/html, text/csv;q=0.9".parse().expect("value"));
        let wanted = |uri: &str| Format::wanted(&uri.parse().expect("uri"), &headers);
        assert_eq!(wanted("/v1/sql"), Some(Format::Csv));
        assert_eq!(wanted("/v1/sql?format=arrow"), Some(Format::Arrow));
        assert_eq!(wanted("/v1/sql?format=xml"), None);
        assert_eq!(Format::wanted(&"/v1/sql".parse().expect("uri"), &HeaderMap::new()), Some(Format::Json));
    }
}
