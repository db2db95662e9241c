//! `sdk/FORMAT.md`, read by a program: its tables, and the enumerations inside its cells.

use crate::source::text;

/// The rows of the table whose head is this line, without the head. A row that begins with an empty cell goes on
/// with the row before.
pub fn table(head: &str) -> Vec<Vec<String>> {
    let page = text("sdk/FORMAT.md");
    let mut lines = page.lines().skip_while(|line| *line != head);
    assert!(lines.next().is_some() && lines.next().is_some(), "no table {head}");
    let mut rows: Vec<Vec<String>> = Vec::new();
    for line in lines.take_while(|line| line.starts_with('|')) {
        let cells: Vec<String> = line.trim_matches('|').split(" | ").map(|c| c.trim().to_owned()).collect();
        match rows.last_mut() {
            Some(last) if cells[0].is_empty() => {
                last.iter_mut().zip(&cells).skip(1).for_each(|(cell, more)| *cell += &format!(" {more}"));
            }
            _ => rows.push(cells),
        }
    }
    rows
}

/// The paragraph that begins with this text, without it, on one line.
pub fn paragraph(head: &str) -> String {
    let page = text("sdk/FORMAT.md");
    let from = page.find(&format!("\n{head}")).unwrap_or_else(|| panic!("no paragraph {head}"));
    let rest = &page[from + 1 + head.len()..];
    rest.split("\n\n").next().unwrap_or_default().replace('\n', " ")
}

/// `0 this, 1 that {of, these}, 2 other` as numbers and names.
pub fn numbered(list: &str) -> Vec<(u64, String)> {
    let mut found: Vec<(u64, String)> = Vec::new();
    for item in list.trim_end_matches('.').split(", ") {
        match item.trim().split_once(' ').map(|(n, name)| (n.parse(), name)) {
            Some((Ok(number), name)) => found.push((number, name.to_owned())),
            _ => {
                if let Some((_, name)) = found.last_mut() {
                    *name += &format!(", {item}");
                }
            }
        }
    }
    for (_, name) in &mut found {
        *name = name.split(" {").next().unwrap_or_default().replace('`', "");
    }
    found
}

/// The codes among the comma-separated parts of a cell; parts that are sentences are none.
pub fn code_list(cell: &str) -> Vec<String> {
    let is_code = |part: &&str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || "_0123456789".contains(c))
    };
    cell.trim_end_matches('.').split([',', ';']).map(str::trim).filter(is_code).map(str::to_owned).collect()
}
