//! The fuzz targets without libFuzzer: replays every corpus file (crashers included) and mutates them from a
//! fixed seed. `HEADWATER_FUZZ_ROUNDS` (default 5,000 per state) makes it run longer.

#[path = "../../tests/fuzz/src/lib.rs"]
mod fuzz;

use fuzz::random::Random;
use headwater::aggregate::REGISTRY;
use headwater::value::DataType;
use headwater::value::column::Column;
use std::path::{Path, PathBuf};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus")
}

/// (target, input) of every file.
fn corpus_files() -> Vec<(String, Vec<u8>)> {
    let list = |path: &Path| -> Vec<PathBuf> {
        let mut paths: Vec<_> =
            std::fs::read_dir(path).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        paths
    };
    let mut files = Vec::new();
    for folder in list(&corpus()) {
        let target = folder.file_name().expect("a name").to_string_lossy().into_owned();
        files.extend(list(&folder).iter().map(|path| (target.clone(), std::fs::read(path).expect("a file"))));
    }
    files
}

#[test]
fn every_corpus_file_keeps_the_laws() {
    let files = corpus_files();
    for entry in &REGISTRY {
        let target = format!("state_{}", entry.name);
        assert!(files.iter().any(|(t, _)| *t == target), "{target} has no corpus");
        let source = corpus().join(format!("../fuzz_targets/{target}.rs"));
        assert!(source.exists(), "{target} has no fuzz target");
    }
    files.iter().for_each(|(target, input)| fuzz::run(target, input));
}

#[test]
fn mutations_keep_the_laws() {
    let rounds = std::env::var("HEADWATER_FUZZ_ROUNDS").ok().and_then(|r| r.parse().ok()).unwrap_or(5_000);
    let files = corpus_files();
    let mut random = Random::new(0x5eed);
    for entry in &REGISTRY {
        let target = format!("state_{}", entry.name);
        let mut inputs: Vec<Vec<u8>> =
            files.iter().filter(|(t, _)| *t == target).map(|(_, input)| input.clone()).collect();
        inputs.extend((0..20).map(|_| example(entry.name, &mut random)));
        for _ in 0..rounds {
            let at = random.below(inputs.len());
            fuzz::run(&target, &random.mutate(&inputs[at]));
        }
    }
}

/// A valid input: a spec of the aggregate and a state of some example rows.
fn example(name: &str, random: &mut Random) -> Vec<u8> {
    let specs = fuzz::states::specs(name);
    let pick = random.below(specs.len());
    let spec = &specs[pick];
    let entry = &REGISTRY[usize::from(spec.tag())];
    let mut columns: Vec<Column> =
        spec.arg_types().iter().map(|t| Column::new(t.as_ref().unwrap_or(&DataType::Int64))).collect();
    let rows: Vec<u32> = (0..random.below(40) as u32).collect();
    for _ in &rows {
        let row = (entry.row)(spec, &mut || random.bits());
        columns.iter_mut().zip(&row).for_each(|(column, value)| assert!(column.push(value)));
    }
    let mut state = fuzz::states::empty(spec, 1);
    state.update(&rows, &vec![0; rows.len()], &columns.iter().collect::<Vec<_>>());
    [vec![pick as u8], fuzz::states::bytes(state.as_ref())].concat()
}
