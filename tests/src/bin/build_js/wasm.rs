//! The Rust side of the build: cargo, then wasm-bindgen as a library.

use crate::{Places, is_fresh, run_command};
use std::path::{Path, PathBuf};
use std::process::Command;
use wasm_bindgen_cli_support::Bindgen;

const TRIPLE: &str = "wasm32-unknown-unknown";

/// 256 KiB of stack: evaluation does not recurse, so a module need not start with a megabyte.
const RUSTFLAGS: &str = "-C link-arg=-zstack-size=262144";

/// A little more inlining than opt-level "z" does (its threshold is 5), loops that keep their own counters, and no copies
/// of expressions to spare one way through a branch their computation: the module is smaller, compressed or not.
const CORE_RUSTFLAGS: &str = "-C link-arg=-zstack-size=262144 -C llvm-args=-inline-threshold=25 \
     -C llvm-args=-disable-lsr -C llvm-args=-enable-pre=false";

/// The two modules of the package.
#[derive(Clone, Copy)]
pub enum Flavor {
    /// Counting, HLL, DDSketch.
    Core,
    /// Every aggregate.
    Full,
}

impl Flavor {
    fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Full => "full",
        }
    }

    fn rustflags(self) -> &'static str {
        match self {
            Self::Core => CORE_RUSTFLAGS,
            Self::Full => RUSTFLAGS,
        }
    }

    /// Cargo's profile: small for what every page downloads, fast for what servers run.
    fn profile(self) -> &'static str {
        match self {
            Self::Core => "wasm-core",
            Self::Full => "wasm",
        }
    }
}

/// `rustup target add`, unless the toolchain has the target.
pub fn ensure_target() -> Result<(), String> {
    let output = Command::new("rustc").args(["--print", "target-libdir", "--target", TRIPLE]).output();
    let libdir = output.map_err(|e| format!("cannot start rustc: {e}"))?.stdout;
    if Path::new(String::from_utf8_lossy(&libdir).trim()).is_dir() {
        return Ok(());
    }
    run_command(Command::new("rustup").args(["target", "add", TRIPLE]))
}

/// Compiles one module and writes it with its glue into `js/src/generated`. It keeps the names of its functions,
/// which `js/scripts` read and then strip.
pub fn build(places: &Places, flavor: Flavor) -> Result<(), String> {
    let input = compile(places, flavor)?;
    let out_dir = places.js.join("src/generated");
    let out_name = format!("headwater_{}", flavor.name());
    let stamp = out_dir.join(format!(".{out_name}.names"));
    if is_fresh(&stamp, &input) {
        return Ok(());
    }
    std::fs::create_dir_all(&out_dir).map_err(|e| e.to_string())?;
    bind(&input, &out_dir, &out_name)?;
    std::fs::write(&stamp, "").map_err(|e| e.to_string())
}

/// Each flavor has a target directory of its own: one file name, two feature sets, no rebuilding in turns.
fn compile(places: &Places, flavor: Flavor) -> Result<PathBuf, String> {
    let target = places.target.join(format!("js-{}", flavor.name()));
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(&places.root)
        .env("RUSTFLAGS", flavor.rustflags())
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    cargo.args([
        "build",
        "--locked",
        "--quiet",
        "-p",
        "headwater-wasm",
        "--lib",
        "--profile",
        flavor.profile(),
    ]);
    cargo.args(["--target", TRIPLE, "--target-dir"]).arg(&target);
    if matches!(flavor, Flavor::Full) {
        cargo.args(["--features", "full"]);
    }
    run_command(&mut cargo)?;
    Ok(target.join(TRIPLE).join(flavor.profile()).join("headwater_wasm.wasm"))
}

fn bind(input: &Path, out_dir: &Path, out_name: &str) -> Result<(), String> {
    let mut bindgen = Bindgen::new();
    bindgen.input_path(input).out_name(out_name).typescript(true).omit_default_module_path(true);
    bindgen.remove_producers_section(true);
    bindgen.web(true).and_then(|b| b.generate(out_dir)).map_err(|e| format!("wasm-bindgen: {e:#}"))
}
