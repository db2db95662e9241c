//! Tidiness as a test: sizes, forbidden calls, who may name what, the layout of the house.
//!
//! The rules are `CONTRIBUTING.md`, "How code is written here", and `ARCHITECTURE.md`, "Codemap" and "Invariants", in
//! code; none has an allowlist of old offenders.

mod files;
mod lexer;

use files::File;
use headwater_tests::root;
use std::collections::BTreeSet;

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;

/// Folders whose code ships as a library: it logs by `tracing` and never prints.
const LIBRARIES: [&str; 3] = ["sdk/src", "hub/src", "bindings/src"];
/// The parts of `hub/src` that talk to a terminal.
const TERMINALS: [&str; 2] = ["hub/src/cli", "hub/src/main.rs"];

fn check(offences: Vec<String>) {
    assert!(offences.is_empty(), "\n{}\n", offences.join("\n"));
}

fn rust_files() -> Vec<File> {
    files::all().into_iter().filter(|f| f.extension() == "rs").collect()
}

fn is_source(file: &File) -> bool {
    matches!(file.extension(), "rs" | "ts" | "mts" | "js" | "mjs" | "cjs" | "toml" | "sh" | "html")
}

#[test]
fn files_are_short() {
    let long = |f: &File| f.text.lines().count() > FILE_LINES_MAX;
    let files = files::all().into_iter().filter(|f| is_source(f) && long(f));
    check(files.map(|f| format!("{}: {} lines", f.path, f.text.lines().count())).collect());
}

#[test]
fn functions_are_short() {
    let mut offences = Vec::new();
    for file in rust_files() {
        for (name, line, lines) in lexer::functions(&lexer::code(&file.text)) {
            if lines > FUNCTION_LINES_MAX {
                offences.push(format!("{}:{line}: fn {name} has {lines} lines", file.path));
            }
        }
    }
    check(offences);
}

#[test]
fn sources_are_ascii() {
    let mut offences = Vec::new();
    for file in files::all().iter().filter(|f| is_source(f)) {
        for (i, line) in file.text.lines().enumerate().filter(|(_, l)| !l.is_ascii()) {
            offences.push(format!("{}:{}: {}", file.path, i + 1, line.trim()));
        }
    }
    check(offences);
}

#[test]
fn every_module_says_what_it_is() {
    // A module's unit tests are introduced by the module.
    let speaks =
        |f: &File| f.text.starts_with("//!") || (f.path.contains("/src/") && f.path.ends_with("/tests.rs"));
    let silent = rust_files().into_iter().filter(|f| !speaks(f));
    check(silent.map(|f| format!("{}: does not open with //!", f.path)).collect());
}

/// Lines of code in which `word` stands alone, up to the file's `#[cfg(test)]`.
fn uses(file: &File, word: &str) -> Vec<String> {
    let code = lexer::code(&file.text);
    let end = code.find("#[cfg(test)]\nmod ").unwrap_or(code.len());
    let code = &code[..end];
    let hits = lexer::words(code).filter(|(_, w)| *w == word);
    hits.map(|(at, w)| format!("{}:{}: {w}", file.path, lexer::line_of(code, at))).collect()
}

fn uses_macro(file: &File, name: &str) -> Vec<String> {
    let code = lexer::code(&file.text);
    if !code.contains(&format!("{name}!")) {
        return Vec::new();
    }
    let calls = lexer::words(&code).filter(|(at, w)| *w == name && code[at + w.len()..].starts_with('!'));
    calls.map(|(at, w)| format!("{}:{}: {w}!", file.path, lexer::line_of(&code, at))).collect()
}

#[test]
fn nothing_is_left_to_do() {
    let macros = ["todo", "unimplemented", "dbg"];
    let files = rust_files();
    check(files.iter().flat_map(|f| macros.iter().flat_map(|m| uses_macro(f, m))).collect());
}

#[test]
fn libraries_do_not_print() {
    let macros = ["println", "eprintln", "print", "eprint"];
    let files = rust_files();
    let library = |f: &&File| {
        (f.is_in(&LIBRARIES) || f.is_in(&["hub/sql/src"])) && !TERMINALS.iter().any(|t| f.path.starts_with(t))
    };
    let offences = files.iter().filter(library).flat_map(|f| macros.iter().flat_map(|m| uses_macro(f, m)));
    check(offences.collect());
}

/// What is absent on purpose (`ARCHITECTURE.md`, "Invariants"): the words a room may not say.
const ABSENCES: [(&str, &[&str], &[&str]); 5] = [
    ("sdk/src", &["sdk/src/client"], &["tokio", "quinn", "Instant", "SystemTime", "redb", "getrandom"]),
    ("hub/sql/src", &[], &["redb", "quinn", "axum", "TcpStream", "UdpSocket"]),
    ("hub/src", &[], &["datafusion"]),
    ("sdk/src", &[], &["datafusion"]),
    ("bindings/src", &[], &["tokio", "redb", "datafusion", "Sum", "Hll", "DdSketch"]),
];

#[test]
fn rooms_keep_to_themselves() {
    let mut offences = Vec::new();
    for (room, except, words) in ABSENCES {
        for file in rust_files().iter().filter(|f| f.is_in(&[room]) && !f.is_in(except)) {
            offences.extend(words.iter().flat_map(|w| uses(file, w)));
        }
    }
    check(offences);
}

#[test]
fn only_the_sql_crate_and_its_peers_depend_on_datafusion() {
    let may = ["Cargo.toml", "hub/sql/Cargo.toml", "benches/Cargo.toml"];
    let manifests = files::all().into_iter().filter(|f| f.path.ends_with("Cargo.toml"));
    let offenders = manifests.filter(|f| f.text.contains("datafusion") && !may.contains(&f.path.as_str()));
    check(offenders.map(|f| format!("{}: names datafusion", f.path)).collect());
}

#[test]
fn the_top_level_is_the_house_as_drawn() {
    const FOLDERS: [&str; 6] = ["sdk", "hub", "bindings", "js", "tests", "benches"];
    const FILES: [&str; 15] = [
        "Cargo.toml",
        "Cargo.lock",
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "LICENSE",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "justfile",
        "rust-toolchain.toml",
        "rustfmt.toml",
        "clippy.toml",
        "deny.toml",
        ".gitignore",
        ".gitattributes",
    ];
    let tops: BTreeSet<String> = files::all()
        .iter()
        .map(|f| f.path.split_once('/').map_or(f.path.clone(), |(top, _)| format!("{top}/")))
        .collect();
    let drawn = |top: &String| match top.strip_suffix('/') {
        Some(folder) => FOLDERS.contains(&folder) || folder.starts_with('.'),
        None => FILES.contains(&top.as_str()),
    };
    check(
        tops.iter()
            .filter(|top| !drawn(top))
            .map(|top| format!("{top}: not in the codemap of ARCHITECTURE.md"))
            .collect(),
    );
}

#[test]
fn locks_name_the_public_registries_only() {
    let mut offences = Vec::new();
    for file in files::all() {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        let foreign: fn(&str) -> bool = match name {
            "Cargo.lock" => {
                |l| l.starts_with("source =") && !l.contains("github.com/rust-lang/crates.io-index")
            }
            "package-lock.json" => {
                |l| l.contains("\"resolved\":") && !l.contains("\"https://registry.npmjs.org/")
            }
            ".npmrc" => |l| l.starts_with("registry") || l.contains("://"),
            _ => continue,
        };
        let lines = file.text.lines().filter(|l| foreign(l.trim()));
        offences.extend(lines.map(|l| format!("{}: {}", file.path, l.trim())));
    }
    check(offences);
}

/// `npm pack` takes the licence from the package's own folder only.
#[test]
fn the_npm_package_ships_the_licence() {
    let read = |path: &str| std::fs::read(root().join(path)).expect("a licence");
    assert!(read("LICENSE") == read("js/LICENSE"), "js/LICENSE is not a copy of LICENSE");
}

/// The files that a crate root reaches by `mod`.
fn reach(path: &str, files: &[File], seen: &mut BTreeSet<String>) {
    let Some(file) = files.iter().find(|f| f.path == path) else { return };
    if !seen.insert(path.to_owned()) {
        return;
    }
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let stem = name.trim_end_matches(".rs");
    let is_root = matches!(stem, "mod" | "lib" | "main") || is_crate_root(path);
    let folder = if is_root { folder.to_owned() } else { format!("{folder}/{stem}") };
    for module in declared_modules(&file.text) {
        reach(&format!("{folder}/{module}.rs"), files, seen);
        reach(&format!("{folder}/{module}/mod.rs"), files, seen);
    }
}

fn declared_modules(text: &str) -> Vec<String> {
    let code = lexer::code(text);
    let mut all = lexer::words(&code).peekable();
    let mut names = Vec::new();
    while let Some((_, word)) = all.next() {
        let Some(&(at, name)) = all.peek() else { break };
        if word == "mod" && code[at + name.len()..].trim_start().starts_with(';') {
            names.push(name.to_owned());
        }
    }
    names
}

/// A file that cargo, not another file, makes a crate of.
fn is_crate_root(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        [.., "src", "lib.rs" | "main.rs"] | [.., "build.rs"] => true,
        [.., "bin" | "tests" | "benches" | "examples" | "fuzz_targets", folder, "main.rs"] => {
            *folder != "src"
        }
        [.., "bin" | "tests" | "benches" | "examples" | "fuzz_targets", _] => !parts.contains(&"mod.rs"),
        _ => false,
    }
}

#[test]
fn no_source_is_dead() {
    let files = rust_files();
    let mut seen = BTreeSet::new();
    for file in files.iter().filter(|f| is_crate_root(&f.path)) {
        reach(&file.path, &files, &mut seen);
    }
    let dead = files.iter().filter(|f| !seen.contains(&f.path));
    check(dead.map(|f| format!("{}: no module names it", f.path)).collect());
}

#[test]
fn no_vector_is_dead() {
    let all = files::all();
    let readers: Vec<&File> =
        all.iter().filter(|f| matches!(f.extension(), "rs" | "ts" | "mts" | "mjs" | "js")).collect();
    let vectors = all.iter().filter(|f| f.is_in(&["tests/vectors"]) && f.extension() == "txt");
    let unread = vectors.filter(|v| {
        let name = v.path.rsplit('/').next().unwrap_or_default();
        readers.iter().all(|r| !r.text.contains(name))
    });
    check(unread.map(|v| format!("{}: no test reads it", v.path)).collect());
}

#[test]
fn the_map_is_short() {
    let Ok(text) = std::fs::read_to_string(root().join("ARCHITECTURE.md")) else { return };
    assert!(text.lines().count() < 200, "ARCHITECTURE.md has {} lines", text.lines().count());
}
