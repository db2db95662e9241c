//! The states that decode are closed under merge, whoever made them: a hub that has merged forged states must
//! still be able to read what it wrote, and every answer is a value or an error.

mod forge;
mod vectors;

use crate::each_spec;
use crate::fuzz::random::Random;
use crate::fuzz::states::{decode, finishers};
use crate::support::{State, bytes, empty, merged};
use headwater::aggregate::{AggregateSpec, Law, REGISTRY};
use headwater::codec::{DecodeError, Reader};
use headwater::group::GroupTable;
use headwater::limits::BATCH_EVENTS_MAX;

fn law(spec: &AggregateSpec) -> Law {
    REGISTRY[usize::from(spec.tag())].law
}

/// Its bytes decode to the same bytes, and finishing it does not panic.
fn assert_whole(spec: &AggregateSpec, state: &State) {
    let encoded = bytes(state);
    let mut reader = Reader::new(&encoded);
    let again = decode(spec, &mut reader)
        .unwrap_or_else(|e| panic!("{spec:?} refuses what it wrote: {e}, {} bytes", encoded.len()));
    assert!(reader.is_empty(), "{spec:?} left bytes");
    assert!(bytes(&again) == encoded, "{spec:?} has two encodings");
    finishers().iter().for_each(|finisher| drop(state.finish(0, finisher)));
}

/// Merges in a random tree; each merge reads bytes or takes the state as it is.
fn merge_all(spec: &AggregateSpec, states: &[Vec<u8>], random: &mut Random, check: bool) -> State {
    let mut states: Vec<State> =
        states.iter().map(|b| decode(spec, &mut Reader::new(b)).expect("decodes")).collect();
    while states.len() > 1 {
        let part = states.swap_remove(random.below(states.len()));
        let into = random.below(states.len());
        if random.bits().is_multiple_of(2) {
            states[into].merge_group(0, part.as_ref(), 0);
        } else {
            states[into].merge(0, &mut Reader::new(&bytes(&part))).expect("what it wrote");
        }
        if check {
            assert_whole(spec, &states[into]);
        }
    }
    states.remove(0)
}

#[test]
fn every_aggregate_has_forged_states_and_all_of_them_decode() {
    each_spec(None, |spec| {
        let forged = forge::states(spec, &mut Random::new(1));
        assert!(forged.len() >= 3, "{spec:?} has too few forged states");
        for state in &forged {
            let mut reader = Reader::new(state);
            let decoded = decode(spec, &mut reader);
            let decoded =
                decoded.unwrap_or_else(|e| panic!("{spec:?} {:02x?}: {e}", &state[..state.len().min(64)]));
            assert!(reader.is_empty() && bytes(&decoded) == *state, "{spec:?} is forged wrongly");
        }
        let admitted = forged.iter().filter(|s| empty(spec, 1).admit(0, &mut Reader::new(s)).is_ok()).count();
        assert!(admitted > 0, "{spec:?}: no forged state is even admitted");
    });
}

#[test]
fn what_decodes_is_closed_under_merge() {
    for seed in 1..6 {
        each_spec(None, |spec| {
            let mut random = Random::new(seed);
            let mut forged = forge::states(spec, &mut random);
            forged.extend(forge::states(spec, &mut random));
            let one = merge_all(spec, &forged, &mut random, true);
            let other = merge_all(spec, &forged, &mut random, false);
            if law(spec) != Law::Bounded {
                assert!(bytes(&one) == bytes(&other), "{spec:?} depends on the order");
            }
        });
    }
}

#[test]
fn any_two_states_merge_alike_both_ways() {
    each_spec(None, |spec| {
        let forged = forge::states(spec, &mut Random::new(9));
        let states: Vec<State> =
            forged.iter().map(|b| decode(spec, &mut Reader::new(b)).expect("decodes")).collect();
        for (i, a) in states.iter().enumerate() {
            for b in &states[i..] {
                let ab = merged(spec, &[a, b]);
                assert_whole(spec, &ab);
                assert!(bytes(&ab) == bytes(&merged(spec, &[b, a])), "{spec:?} depends on the order");
            }
        }
    });
}

/// 2^70 copies of a state: past everything that counts.
#[test]
fn doubling_for_ever_stays_in_the_format() {
    each_spec(None, |spec| {
        for state in forge::states(spec, &mut Random::new(3)) {
            let mut state = decode(spec, &mut Reader::new(&state)).expect("decodes");
            for _ in 0..70 {
                let copy = bytes(&state);
                state.merge(0, &mut Reader::new(&copy)).expect("what it wrote");
            }
            assert_whole(spec, &state);
        }
    });
}

/// What one batch may claim is bounded over all its groups, for each aggregate by itself.
#[test]
fn a_batch_cannot_claim_more_events_than_it_may() {
    let mut claims = 0;
    each_spec(None, |spec| {
        for state in forge::states(spec, &mut Random::new(5)) {
            let Ok(events) = empty(spec, 1).admit(0, &mut Reader::new(&state)) else { continue };
            let mut table = GroupTable::new(&[AggregateSpec::Count { argument: false }, spec.clone()]);
            let mut admit =
                |key: &[u8]| table.admit_encoded(key, &mut Reader::new(&[&[1], &state[..]].concat()));
            let first = admit(b"a");
            if events > BATCH_EVENTS_MAX {
                assert_eq!(first, Err(DecodeError::TooLarge("count of events")), "{spec:?}");
            } else {
                assert!(first.is_ok(), "{spec:?}");
                let second = admit(b"b");
                assert_eq!(second.is_ok(), events <= BATCH_EVENTS_MAX / 2, "{spec:?} with {events}");
            }
            claims += u32::from(events == BATCH_EVENTS_MAX);
        }
    });
    assert!(claims >= 8, "the bound itself is tried: {claims}");
}
