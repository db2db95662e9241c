//! Foreign bytes as states: refused, changing nothing, or the one encoding of a state that works.

use headwater::aggregate::{AggregateSpec, Finisher, REGISTRY, States, create};
use headwater::codec::{DecodeError, Reader};

/// The first byte picks one of the specs that the registry has for `name`.
pub fn run(name: &str, data: &[u8]) {
    let Some((&pick, foreign)) = data.split_first() else { return };
    let specs = specs(name);
    let spec = &specs[usize::from(pick) % specs.len()];
    check(spec, foreign, &mut empty(spec, 1));
}

/// The registry's specs of an aggregate.
pub fn specs(name: &str) -> Vec<AggregateSpec> {
    let entry = REGISTRY.iter().find(|entry| entry.name == name);
    entry.map(|entry| (entry.specs)()).unwrap_or_else(|| panic!("no aggregate {name}"))
}

/// A column of empty states.
pub fn empty(spec: &AggregateSpec, groups: usize) -> Box<dyn States> {
    let mut states = create(spec).unwrap_or_else(|| panic!("{spec:?} is not in this build"));
    states.resize(groups);
    states
}

/// The canonical bytes of the first state.
pub fn bytes(state: &dyn States) -> Vec<u8> {
    let mut out = Vec::new();
    state.encode(0, &mut out);
    out
}

/// Reads one state.
pub fn decode(spec: &AggregateSpec, reader: &mut Reader<'_>) -> Result<Box<dyn States>, DecodeError> {
    let mut state = empty(spec, 1);
    state.merge(0, reader)?;
    Ok(state)
}

/// Checks `foreign` against `held`, which must be left as it was when the bytes are refused.
pub fn check(spec: &AggregateSpec, foreign: &[u8], held: &mut Box<dyn States>) {
    let mut reader = Reader::new(foreign);
    let before = bytes(held.as_ref());
    match decode(spec, &mut reader) {
        Ok(state) => {
            let used = foreign.len() - reader.remaining();
            assert_eq!(bytes(state.as_ref()), foreign[..used], "{spec:?} has two encodings");
            finishers().iter().for_each(|finisher| drop(state.finish(0, finisher)));
            held.merge_group(0, state.as_ref(), 0);
            held.merge_group(0, state.as_ref(), 0);
            let merged = bytes(held.as_ref());
            assert!(decode(spec, &mut Reader::new(&merged)).is_ok(), "{spec:?} refuses what it wrote");
        }
        Err(_) => {
            assert!(held.merge(0, &mut Reader::new(foreign)).is_err());
            assert_eq!(bytes(held.as_ref()), before, "{spec:?} changed by bytes it refused");
        }
    }
}

/// Every finisher, valid or not.
pub fn finishers() -> Vec<Finisher> {
    vec![
        Finisher::Value,
        Finisher::Avg,
        Finisher::Count,
        Finisher::VarPop,
        Finisher::VarSamp,
        Finisher::StddevPop,
        Finisher::StddevSamp,
        Finisher::Quantile(0.5),
        Finisher::Quantile(2.0),
        Finisher::Quantiles(vec![0.0, 0.9, 1.0]),
        Finisher::Cardinality,
        Finisher::Bytes,
        Finisher::Delta,
        Finisher::Rate,
        Finisher::Resets,
        Finisher::SkewnessPop,
        Finisher::SkewnessSamp,
        Finisher::KurtosisPop,
        Finisher::KurtosisSamp,
        Finisher::CovarPop,
        Finisher::CovarSamp,
        Finisher::Corr,
        Finisher::RegrAvgX,
        Finisher::RegrAvgY,
        Finisher::RegrSxx,
        Finisher::RegrSyy,
        Finisher::RegrSxy,
        Finisher::RegrSlope,
        Finisher::RegrIntercept,
        Finisher::RegrR2,
        Finisher::Column(0),
        Finisher::Column(1),
        Finisher::Join { column: 1, delimiter: ", ".into() },
        Finisher::JsonArray(0),
        Finisher::JsonObject { key: 0, value: 1 },
    ]
}
