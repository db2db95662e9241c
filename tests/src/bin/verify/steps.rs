//! The steps of `cargo verify`, in order: cheap and telling ones first.

use crate::clients;
use crate::fuzz;
use crate::report::Tally;
use crate::run::{cargo, exists, program, run};
use crate::setup::{self, WASM};
use headwater_tests::root;

/// One step.
pub struct Step {
    /// What `--only` calls it.
    pub name: &'static str,
    /// One line for people.
    pub what: &'static str,
    /// Does it.
    pub run: fn() -> Result<Tally, String>,
}

/// All steps.
pub const STEPS: &[Step] = &[
    Step { name: "wasm-target", what: "the wasm32 target of the toolchain", run: setup::wasm_target },
    Step { name: "npm", what: "npm packages of js/, as locked", run: setup::npm_packages },
    Step { name: "chromium", what: "a Chromium for the browser tests", run: setup::chromium },
    Step { name: "fmt", what: "rustfmt", run: fmt },
    Step { name: "tidy", what: "sizes, forbidden calls, layout, tables of codes", run: tidy },
    Step { name: "core-wasm", what: "the SDK core alone, no_std, for wasm32", run: core_wasm },
    Step { name: "clippy", what: "clippy, warnings are errors", run: clippy },
    Step {
        name: "js-build",
        what: "the WASM module and the npm package, with its size budget",
        run: js_build,
    },
    Step { name: "test", what: "all Rust tests, doc tests and README quickstarts", run: test },
    Step { name: "clients", what: "PostgreSQL drivers of Python against a hub", run: clients::step },
    Step { name: "fuzz", what: "hostile bytes for every decoder, 20 s each when new", run: fuzz::step },
    Step { name: "doc", what: "rustdoc, warnings are errors", run: doc },
    Step { name: "js-node", what: "the npm package in Node", run: js_node },
    Step { name: "js-browser", what: "the npm package in headless Chromium", run: js_browser },
];

fn fmt() -> Result<Tally, String> {
    if !exists("rustfmt") {
        return Ok(Tally::skip("rustfmt is not installed"));
    }
    run(cargo("fmt --all --check"))
}

fn tidy() -> Result<Tally, String> {
    run(cargo("test --package headwater-tests --no-default-features --test tidy --test format"))
}

fn core_wasm() -> Result<Tally, String> {
    let check = format!("check --package headwater --no-default-features --target {WASM}");
    let bare = run(cargo(&check))?;
    Ok(bare.and(run(cargo(&format!("{check} --features sketches")))?))
}

fn clippy() -> Result<Tally, String> {
    if !exists("clippy-driver") {
        return Ok(Tally::skip("clippy is not installed"));
    }
    run(cargo("clippy --workspace --all-targets -- -D warnings"))
}

fn test() -> Result<Tally, String> {
    let mut test = cargo("test --workspace --no-fail-fast");
    if root().join("js/dist/node.js").is_file() {
        // The README's TypeScript must run then; without the package its test says that it is skipped.
        test.env("HEADWATER_JS_BUILT", "1");
    }
    run(test)
}

fn doc() -> Result<Tally, String> {
    let mut doc = cargo("doc --workspace --no-deps --keep-going");
    doc.env("RUSTDOCFLAGS", "-D warnings");
    run(doc)
}

fn js_build() -> Result<Tally, String> {
    match js_missing() {
        Some(skip) => Ok(skip),
        None => run(cargo(
            "run --package headwater-tests --no-default-features --features js-build --bin build_js -- --budget",
        )),
    }
}

fn js_node() -> Result<Tally, String> {
    js_script("test")
}

fn js_browser() -> Result<Tally, String> {
    match setup::find_chromium() {
        None => Ok(Tally::skip("no Chromium")),
        Some(path) => {
            // The tests' own launcher reads it.
            js_script_with("test:browser", &[("CHROMIUM", path.as_os_str())])
        }
    }
}

fn js_missing() -> Option<Tally> {
    (!root().join("js/package.json").is_file()).then(|| Tally::skip("js/package.json is not there"))
}

fn js_script(script: &str) -> Result<Tally, String> {
    js_script_with(script, &[])
}

fn js_script_with(script: &str, env: &[(&str, &std::ffi::OsStr)]) -> Result<Tally, String> {
    if let Some(skip) = js_missing() {
        return Ok(skip);
    }
    let mut npm = program("npm", &format!("run --silent {script}"));
    npm.current_dir(root().join("js")).envs(env.iter().copied());
    run(npm)
}
