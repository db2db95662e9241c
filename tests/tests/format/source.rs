//! Enums, structs and code tables as the sources spell them: enough of Rust for rustfmt's layout.

use headwater_tests::root;

/// One variant of an enum.
pub struct Variant {
    /// Its number: explicit, or its position, which is what postcard writes.
    pub number: u64,
    /// Its name.
    pub name: String,
    /// Its doc comment.
    pub docs: String,
}

/// The text of a file, by its path from the root.
pub fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The lines between `head` and the closing brace in the column where `head` stands.
fn block<'a>(text: &'a str, head: &str) -> impl Iterator<Item = &'a str> {
    let mut lines = text.lines().skip_while(move |line| !line.trim_start().starts_with(head));
    let first = lines.next().unwrap_or_else(|| panic!("no {head}"));
    let end = format!("{}}}", &first[..first.len() - first.trim_start().len()]);
    lines.take_while(move |line| *line != end)
}

/// The variants of a public enum, in the order of the source.
pub fn variants(path: &str, name: &str) -> Vec<Variant> {
    let source = text(path);
    let mut found: Vec<Variant> = Vec::new();
    let mut docs = String::new();
    let own = |line: &&str| line.starts_with("    ") && !line[4..].starts_with([' ', '#', '}']);
    for line in block(&source, &format!("pub enum {name} {{")).filter(own) {
        let line = line.trim();
        if let Some(more) = line.strip_prefix("///") {
            docs.push_str(more);
            continue;
        }
        let end = line.find(|c: char| !c.is_alphanumeric()).unwrap_or(line.len());
        let next = found.last().map_or(0, |v| v.number + 1);
        let number =
            line.split_once(" = ").map_or(next, |(_, n)| n.trim_end_matches(',').parse().expect(line));
        found.push(Variant { number, name: line[..end].to_owned(), docs: std::mem::take(&mut docs) });
    }
    found
}

/// The names of a public struct's fields, in the order of the source.
pub fn fields(path: &str, name: &str) -> Vec<String> {
    let source = text(path);
    let field = |line: &str| Some(line.trim().strip_prefix("pub ")?.split_once(':')?.0.to_owned());
    block(&source, &format!("pub struct {name} {{")).filter_map(field).collect()
}

/// The texts that `code()` of a type gives, by variant.
pub fn codes(path: &str, name: &str) -> Vec<(String, String)> {
    let source = text(path);
    let from = source.find(&format!("impl {name} {{")).unwrap_or_else(|| panic!("no impl {name}"));
    let arm = |line: &str| {
        let (pattern, rest) = line.trim().split_once(" => \"")?;
        let variant = pattern.strip_prefix("Self::")?;
        let end = variant.find(|c: char| !c.is_alphanumeric()).unwrap_or(variant.len());
        Some((variant[..end].to_owned(), rest.split('"').next()?.to_owned()))
    };
    block(&source[from..], "pub fn code(").filter_map(arm).collect()
}

/// `(pattern, what follows the arrow)` of every one-line arm in the function that `head` begins.
pub fn arms(path: &str, head: &str) -> Vec<(String, String)> {
    let source = text(path);
    let arm = |line: &str| {
        let (pattern, value) = line.trim().split_once(" => ")?;
        Some((pattern.to_owned(), value.trim_end_matches(',').to_owned()))
    };
    block(&source, head).filter_map(arm).collect()
}
