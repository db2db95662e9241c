use super::batch::{
    DropCounts, DropReason, EncodedBatches, LedgerDelta, Partials, Payload, SectionInput, encode_payloads,
    payload_hash,
};
use super::*;
use crate::aggregate::AggregateSpec;
use crate::codec::DecodeError;
use crate::ids::{PlanVersion, StreamId, ViewId};
use crate::limits::{BatchLimits, REPORT_MAX};
use crate::plan::{BinaryOp, ExprId, Function, Node, Op, StatePlan};
use crate::value::{DataType, Value};
use alloc::collections::BTreeMap;
use proptest::prelude::*;

/// Groups whose states are opaque bytes of one fixed length: `merge` is "take them".
#[derive(Clone, Debug, Default, PartialEq)]
struct Opaque(Vec<(Vec<u8>, Vec<u8>)>);

impl Partials for Opaque {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    fn sorted(&self) -> Vec<u32> {
        (0..self.0.len() as u32).collect()
    }
    fn key(&self, group: u32) -> &[u8] {
        &self.0[group as usize].0
    }
    fn encode_states(&self, group: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0[group as usize].1);
    }
}

const STATE_BYTES: usize = 3;

fn opaque(keys: &[&[u8]]) -> Opaque {
    let groups: BTreeMap<Vec<u8>, Vec<u8>> =
        keys.iter().enumerate().map(|(i, key)| (key.to_vec(), vec![i as u8, 7, 9])).collect();
    Opaque(groups.into_iter().collect())
}

fn input(view: u32, partials: &Opaque) -> SectionInput<'_, Opaque> {
    let events = 10 * partials.0.len() as u64;
    SectionInput {
        view: ViewId(view),
        version: PlanVersion(1),
        events,
        rejected: DropCounts::default(),
        partials,
    }
}

fn ledger(events: u64) -> LedgerDelta {
    LedgerDelta { events, ..LedgerDelta::default() }
}

/// Reads payloads back into (view -> key -> states), checking everything on the way.
fn collect(batches: &EncodedBatches, limits: &BatchLimits) -> BTreeMap<u32, BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut all: BTreeMap<u32, BTreeMap<Vec<u8>, Vec<u8>>> = BTreeMap::new();
    for encoded in &batches.payloads {
        let payload = Payload::parse(&encoded.bytes, limits).unwrap();
        assert_eq!((payload.ledger.events, payload.groups()), (encoded.events, encoded.groups));
        for section in payload.sections() {
            let mut groups = section.groups();
            while let Some((key, states)) = groups.next_group().unwrap() {
                let bytes = states.bytes(STATE_BYTES).unwrap().to_vec();
                assert!(all.entry(section.view.0).or_default().insert(key.to_vec(), bytes).is_none());
            }
            groups.finish().unwrap();
        }
    }
    all
}

#[test]
fn what_is_encoded_is_read_back() {
    let (a, b) = (opaque(&[b"", b"ab", b"abc", b"abd", b"b", crate::group::OTHER_KEY]), opaque(&[b"x"]));
    let mut report = ledger(70);
    report.dropped.add(DropReason::OutboxFull, 300);
    report.dropped.add(DropReason::Invalid, 1);
    report.in_doubt_batches = 2;
    report.in_doubt_events = 40;
    let mut section = input(9, &a);
    section.rejected.add(DropReason::Overflow, 5);
    let batches = encode_payloads(&report, &[section, input(3, &b)], &BatchLimits::NATIVE);
    assert_eq!(batches.payloads.len(), 1);
    let payload = Payload::parse(&batches.payloads[0].bytes, &BatchLimits::NATIVE).unwrap();
    assert_eq!(payload.ledger, report);
    assert_eq!(LedgerDelta::peek(&batches.payloads[0].bytes), Ok(report));
    assert_eq!(payload.sections()[0].view, ViewId(3));
    assert_eq!(payload.sections()[1].rejected.get(DropReason::Overflow), 5);
    let read = collect(&batches, &BatchLimits::NATIVE);
    assert_eq!(read[&9], a.0.into_iter().collect());
    assert_eq!(read[&3], b.0.into_iter().collect());
}

#[test]
fn a_report_beyond_belief_is_refused_and_never_encoded() {
    let some = opaque(&[b"a"]);
    let encode = |report: &LedgerDelta, section: SectionInput<'_, Opaque>| {
        encode_payloads(report, &[section], &BatchLimits::NATIVE).payloads.remove(0).bytes
    };
    let mut report = ledger(u64::MAX);
    report.dropped.add(DropReason::Invalid, u64::MAX);
    (report.in_doubt_batches, report.in_doubt_events) = (u64::MAX, u64::MAX);
    let mut section = input(9, &some);
    section.events = u64::MAX;
    section.rejected.add(DropReason::Overflow, u64::MAX);
    let bytes = encode(&report, section);
    let payload = Payload::parse(&bytes, &BatchLimits::NATIVE).unwrap();
    let read = &payload.ledger;
    let section = &payload.sections()[0];
    let counts = [read.events, read.dropped.total(), read.in_doubt_batches, read.in_doubt_events];
    assert_eq!(counts, [REPORT_MAX; 4]);
    assert_eq!((section.events, section.rejected.total()), (REPORT_MAX, REPORT_MAX));
    // Each of the six, forged: 2^48 is `80 80 80 80 80 80 40`.
    let largest = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40];
    let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(&largest)).collect();
    assert_eq!(places.len(), 6);
    for at in places {
        let mut forged = bytes.clone();
        forged[at] = 0x81;
        let refused = Payload::parse(&forged, &BatchLimits::NATIVE).map(drop);
        assert_eq!(refused, Err(DecodeError::Invalid("report")));
    }
}

#[test]
fn nothing_to_say_is_no_batch_and_news_without_groups_is_one() {
    let empty = Opaque::default();
    let none = encode_payloads(&ledger(0), &[input(1, &empty)], &BatchLimits::NATIVE);
    assert!(none.payloads.is_empty());
    let some = encode_payloads(&ledger(5), &[input(1, &empty)], &BatchLimits::NATIVE);
    assert_eq!(some.payloads.len(), 1);
    assert_eq!(Payload::parse(&some.payloads[0].bytes, &BatchLimits::NATIVE).unwrap().sections().len(), 0);
}

#[test]
fn a_flush_is_split_at_every_limit_and_its_totals_stay() {
    let keys: Vec<Vec<u8>> = (0..500u32).map(|i| [b"prefix".as_slice(), &i.to_be_bytes()].concat()).collect();
    let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    let (a, b) = (opaque(&keys), opaque(&keys[..77]));
    let whole = BatchLimits { payload_bytes_max: 2_000, ..BatchLimits::NATIVE };
    let few = BatchLimits { groups_max: 33, ..BatchLimits::NATIVE };
    let expanded = BatchLimits { keys_bytes_max: 1_000, ..BatchLimits::NATIVE };
    let single = BatchLimits { sections_max: 1, ..BatchLimits::NATIVE };
    for limits in [whole, few, expanded, single] {
        let mut report = ledger(1_001);
        report.dropped.add(DropReason::Refused, 7);
        let mut first = input(1, &a);
        first.rejected.add(DropReason::Domain, 3);
        let batches = encode_payloads(&report, &[first, input(2, &b)], &limits);
        assert!(batches.payloads.len() > 1);
        assert_eq!(collect(&batches, &limits).values().map(BTreeMap::len).sum::<usize>(), 577);
        let mut total = LedgerDelta::default();
        let (mut events, mut rejected) = ([0; 3], 0);
        for encoded in &batches.payloads {
            let payload = Payload::parse(&encoded.bytes, &limits).unwrap();
            total.merge(&payload.ledger);
            for section in payload.sections() {
                events[section.view.0 as usize] += section.events;
                rejected += section.rejected.total();
            }
        }
        assert_eq!(total, report);
        assert_eq!((events, rejected), ([0, 5_000, 770], 3));
    }
}

#[test]
fn a_group_that_fits_nowhere_is_counted() {
    let partials = Opaque(vec![(b"a".to_vec(), vec![0; 5_000]), (b"b".to_vec(), vec![1, 2, 3])]);
    let limits = BatchLimits { payload_bytes_max: 2_000, ..BatchLimits::NATIVE };
    let batches = encode_payloads(&ledger(2), &[input(1, &partials)], &limits);
    assert_eq!((batches.payloads.len(), batches.oversized_groups), (1, 1));
    assert_eq!(collect(&batches, &limits)[&1].len(), 1);
}

#[test]
fn one_event_is_smaller_than_its_line() {
    use crate::value::column::{Column, ColumnData};
    let mut table = crate::group::GroupTable::new(&[
        AggregateSpec::Count { argument: false },
        // What sum and avg share.
        AggregateSpec::Sum(DataType::Float64),
    ]);
    let key = crate::value::key::encode_key(&[Value::Text("click".into())], &[DataType::Text]).unwrap();
    let group = table.group(&key);
    let latency = Column::valid(ColumnData::Float(vec![42.25]));
    table.states_mut()[0].update(&[0], &[group], &[]);
    table.states_mut()[1].update(&[0], &[group], &[&latency]);
    let rejected = DropCounts::default();
    let section =
        SectionInput { view: ViewId(1), version: PlanVersion(1), events: 1, rejected, partials: &table };
    let batches = encode_payloads(&ledger(1), &[section], &BatchLimits::NATIVE);
    let frame = encode_frame(&batch(batches.payloads[0].bytes.clone()));
    let line = r#"{"name":"click","latency_ms":42.25,"at":"2024-01-01T00:00:00Z"}"#;
    assert!(frame.len() <= 55 && frame.len() < line.len(), "{} bytes", frame.len());
}

fn batch(payload: Vec<u8>) -> BatchFrame {
    BatchFrame {
        pid: Pid::new(1_700_000_000_123, [7; 10]),
        seq: Seq(100),
        low_water: Seq(99),
        route: RouteVersion(1),
        level: AckLevel::Durable,
        backfill: false,
        payload,
    }
}

#[test]
fn a_backfill_is_one_bit_of_a_batch() {
    let plain = encode_frame(&batch(vec![1]));
    let backfill = BatchFrame { backfill: true, ..batch(vec![1]) };
    let bytes = encode_frame(&backfill);
    let flipped: Vec<u8> = plain.iter().zip(&bytes).map(|(a, b)| a ^ b).filter(|x| *x != 0).collect();
    assert_eq!(flipped, [0x80]);
    let frame = Frame::read_only(&bytes, 1 << 20).expect("frame");
    assert_eq!(frame.decode::<BatchFrame>(), Ok(backfill));
}

/// Every way in which a payload can be almost right.
#[test]
fn payloads_that_are_not_canonical_are_refused() {
    let ok: &[u8] = &[1, 2, 0, 0, 1, 5, 1, 2, 0, 2, 8, 1, b'a', 0, 1, b'b', 7, 7, 7];
    assert!(Payload::parse(ok, &BatchLimits::NATIVE).is_ok());
    let edit = |at: usize, byte: u8| {
        let mut bytes = ok.to_vec();
        bytes[at] = byte;
        Payload::parse(&bytes, &BatchLimits::NATIVE).map(|_| ()).unwrap_err()
    };
    assert_eq!(edit(0, 0), DecodeError::Invalid("payload version"));
    assert_eq!(edit(0, 2), DecodeError::TooNew);
    assert_eq!(edit(2, 100), DecodeError::TooLarge("count"));
    assert_eq!(edit(9, 0), DecodeError::Trailing);
    assert_eq!(edit(10, 9), DecodeError::Truncated);
    assert_eq!(edit(10, 7), DecodeError::Trailing);
    assert_eq!(edit(15, b'a'), DecodeError::Invalid("key order"));
    assert_eq!(edit(15, b'A'), DecodeError::Invalid("key order"));
    assert_eq!(edit(13, 2), DecodeError::TooLarge("count"));
    // `abc` after `abd` coded with a shorter prefix than they share.
    let short = [1, 2, 0, 0, 1, 5, 1, 2, 0, 2, 9, 2, b'a', b'c', 0, 2, b'a', b'd', 7, 7];
    assert_eq!(
        Payload::parse(&short, &BatchLimits::NATIVE).map(|_| ()).unwrap_err(),
        DecodeError::Invalid("key order")
    );
    // The same section twice.
    let twice = [1, 2, 0, 0, 2, 5, 1, 2, 0, 0, 0, 5, 1, 2, 0, 0, 0];
    assert_eq!(
        Payload::parse(&twice, &BatchLimits::NATIVE).map(|_| ()).unwrap_err(),
        DecodeError::Invalid("section order")
    );
}

#[test]
fn front_coding_cannot_blow_up_memory() {
    let key = [b'k'; 1_000];
    let keys: Vec<Vec<u8>> = (0..200u8).map(|i| [key.as_slice(), &[i]].concat()).collect();
    let partials = opaque(&keys.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let batches = encode_payloads(&ledger(1), &[input(1, &partials)], &BatchLimits::NATIVE);
    assert!(batches.payloads[0].bytes.len() < 3_000);
    let tight = BatchLimits { keys_bytes_max: 100_000, ..BatchLimits::NATIVE };
    assert_eq!(
        Payload::parse(&batches.payloads[0].bytes, &tight).map(|_| ()).unwrap_err(),
        DecodeError::TooLarge("keys")
    );
}

fn plan() -> Plan {
    let node = |op, data_type| Node { op, data_type };
    Plan {
        view: ViewId(5),
        version: PlanVersion(2),
        stream: StreamId(1),
        nodes: vec![
            node(Op::Column(0), DataType::Text),
            node(Op::Column(1), DataType::Float64),
            node(Op::Literal(Value::Float(60_000.0)), DataType::Float64),
            node(Op::Binary(BinaryOp::Lt, ExprId(1), ExprId(2)), DataType::Bool),
            node(Op::Call(Function::Lower, vec![ExprId(0)]), DataType::Text),
        ],
        filter: Some(ExprId(3)),
        keys: vec![ExprId(4)],
        states: vec![
            StatePlan { spec: AggregateSpec::Count { argument: false }, args: vec![], filter: None },
            StatePlan { spec: AggregateSpec::Sum(DataType::Float64), args: vec![ExprId(1)], filter: None },
        ],
        groups_max: 65_536,
    }
}

type Sample = (&'static str, FrameKind, Vec<u8>);

fn sample<T: Body>(name: &'static str, body: &T) -> Sample {
    let bytes = encode_frame(body);
    let frame = Frame::read_only(&bytes, 1 << 20).unwrap();
    assert_eq!(encode_frame(&frame.decode::<T>().unwrap()), bytes, "{name}");
    (name, T::KIND, bytes)
}

/// One frame of every kind, with the name it has in the golden vectors.
fn samples() -> Vec<Sample> {
    [session_samples(), batch_samples(), query_samples()].concat()
}

fn session_samples() -> Vec<Sample> {
    let streams = vec![StreamPlans {
        schema: StreamSchema {
            id: StreamId(1),
            name: "pageviews".into(),
            fields: vec![
                Field { name: "url".into(), data_type: DataType::Text },
                Field { name: "latency_ms".into(), data_type: DataType::Float64 },
            ],
        },
        plans: vec![plan()],
    }];
    let limits = SessionLimits {
        frame_bytes_max: 4 << 20,
        batch_groups_max: 65_536,
        key_bytes_max: 1_024,
        pid_lifetime_ms: 604_800_000,
    };
    vec![
        sample(
            "hello",
            &Hello {
                versions: vec![1],
                token: Some("secret".into()),
                streams: vec!["pageviews".into()],
                sdk: "headwater-rust/0.1.0".into(),
                capabilities: 1,
            },
        ),
        sample(
            "welcome",
            &Welcome {
                version: 1,
                time: Micros(1_700_000_000_123_456),
                boot: BootId(3),
                catalog: CatalogVersion(12),
                route: RouteVersion(1),
                ack_level_max: AckLevel::Durable,
                limits,
                streams: streams.clone(),
                unknown_streams: vec!["clicks".into()],
                cluster: ClusterId([9; 16]),
            },
        ),
        sample("plans", &Plans { catalog: CatalogVersion(13), streams, unknown_streams: vec![] }),
    ]
}

fn batch_samples() -> Vec<Sample> {
    let pid = Pid::new(1_700_000_000_123, [7; 10]);
    vec![
        sample("resume", &Resume { pid, low_water: Seq(300) }),
        sample(
            "resumed",
            &Resumed { pid, floor: Seq(301), bitmap: 0b101, level: AckLevel::Durable, expired: false },
        ),
        sample("batch", &batch(vec![1, 2, 0, 0, 1, 5, 1, 2, 0, 2, 8, 1, b'a', 0, 1, b'b', 7, 7, 7])),
        sample("ack", &Ack { pid, seq: Seq(300), level: AckLevel::Replicated, epoch: Epoch(4) }),
        sample(
            "refused",
            &Refused {
                pid,
                seq: Seq(300),
                code: RefusedCode::Throttled,
                message: "over quota".into(),
                retry_after_ms: 1_500,
            },
        ),
        sample("clock_request", &ClockRequest { sent: Micros(-5) }),
        sample("clock_reply", &ClockReply { sent: Micros(-5), time: Micros(1_700_000_000_123_456) }),
    ]
}

fn query_samples() -> Vec<Sample> {
    vec![
        sample("query", &Query { sql: "SELECT 1".into(), read_level: ReadLevel::Durable, token: None }),
        sample(
            "rows_header",
            &RowsHeader { columns: vec![Field { name: "n".into(), data_type: DataType::Int64 }] },
        ),
        sample("rows", &Rows { rows: vec![vec![Value::Int(-1)], vec![Value::Null]] }),
        sample("rows_end", &RowsEnd { tag: "SELECT 2".into(), rows: 2 }),
        sample(
            "failure",
            &Failure { code: "42P01".into(), message: "no such view".into(), position: Some(15), hint: None },
        ),
        sample("goodbye", &Goodbye { reason: "shutting down".into() }),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Committed vectors are never regenerated: a sample that is missing is reported as the line to add.
fn check_vectors(file: &str, samples: &[(&str, Vec<u8>)]) {
    let lines: BTreeMap<&str, &str> = file
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            let mut columns = line.split('\t');
            (columns.next().unwrap(), columns.next().unwrap())
        })
        .collect();
    let missing: Vec<String> = samples
        .iter()
        .filter(|(name, _)| !lines.contains_key(name))
        .map(|(name, bytes)| format!("{name}\t{}", hex(bytes)))
        .collect();
    assert!(missing.is_empty(), "add to the vectors:\n{}", missing.join("\n"));
    for (name, bytes) in samples {
        assert_eq!(lines[name], hex(bytes), "{name} changed its bytes");
    }
}

#[test]
fn frames_have_their_golden_bytes() {
    let samples = samples();
    assert_eq!(samples.iter().map(|s| s.1).collect::<Vec<_>>(), FrameKind::ALL);
    let samples: Vec<_> = samples.into_iter().map(|(name, _, bytes)| (name, bytes)).collect();
    check_vectors(include_str!("../../../tests/vectors/frames.txt"), &samples);
}

#[test]
fn batches_have_their_golden_bytes() {
    let (one, many) = (opaque(&[b"click"]), opaque(&[b"", b"ab", b"abc", b"abd", b"b", &[0xfe]]));
    let mut report = ledger(61);
    report.dropped.add(DropReason::Invalid, 1);
    report.dropped.add(DropReason::OutboxFull, 300);
    report.in_doubt_batches = 2;
    report.in_doubt_events = 40;
    let mut section = input(9, &many);
    section.rejected.add(DropReason::BadCast, 5);
    let encode = |report: &LedgerDelta, sections: &[SectionInput<'_, Opaque>]| {
        encode_payloads(report, sections, &BatchLimits::NATIVE).payloads.remove(0).bytes
    };
    let full = encode(&report, &[section, input(300, &one)]);
    let hash = payload_hash(&full).to_le_bytes().to_vec();
    let samples = [
        ("one_group", encode(&ledger(1), &[input(1, &one)])),
        ("no_group", encode(&ledger(1), &[])),
        ("full", full),
        ("hash_of_full_le", hash),
    ];
    check_vectors(include_str!("../../../tests/vectors/batches.txt"), &samples);
}

/// A batch's own losses could have the reasons that only views have.
#[test]
fn reasons_of_views_are_for_views_alone() {
    let batch = |reason| [1, 61, 1, reason, 5, 0, 0];
    for reason in DropReason::ALL {
        let bytes = batch(reason as u8);
        let parsed = Payload::parse(&bytes, &BatchLimits::NATIVE).map(|payload| payload.ledger);
        assert_eq!(LedgerDelta::peek(&bytes), parsed);
        match reason.is_of_view() {
            true => assert_eq!(parsed, Err(DecodeError::Invalid("drop reason")), "{reason:?}"),
            false => assert_eq!(parsed.map(|ledger| ledger.dropped.get(reason)), Ok(5), "{reason:?}"),
        }
    }
    assert!(
        !DropReason::StreamGone.is_of_view() && DropReason::from_tag(16).is_some_and(DropReason::is_of_view)
    );
}

#[test]
fn frames_are_refused_before_they_are_buffered() {
    let frame = encode_frame(&Goodbye { reason: "x".repeat(100) });
    assert_eq!(Frame::read(&frame[..5], 50), Err(DecodeError::TooLarge("frame")));
    assert_eq!(Frame::read(&frame[..5], 200), Ok(None));
    assert_eq!(Frame::read(&[0x47], 50), Err(DecodeError::Invalid("frame magic")));
    assert_eq!(Frame::read(&[0x48, 0], 50), Err(DecodeError::Invalid("frame kind")));
    assert_eq!(Frame::read(&[0x48, 17], 50), Err(DecodeError::Invalid("frame kind")));
    assert_eq!(Frame::read(&[0x48, 1, 2], 50), Err(DecodeError::TooNew));
    assert_eq!(Frame::read(&[0x48, 1, 0], 50), Err(DecodeError::Invalid("frame version")));
    let lie = [0x48, 1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    assert_eq!(Frame::read(&lie, usize::MAX - 1), Err(DecodeError::TooLarge("frame")));
    assert_eq!(Frame::read_only(&[frame.as_slice(), &[0]].concat(), 200), Err(DecodeError::Trailing));
    assert_eq!(Frame::read_only(&frame[..20], 200), Err(DecodeError::Truncated));
}

#[test]
fn control_bodies_have_one_encoding() {
    let long = Frame { kind: FrameKind::Goodbye, body: &[0x81, 0x00, b'x'] };
    assert_eq!(long.decode::<Goodbye>(), Err(DecodeError::Overlong));
    let trailing = Frame { kind: FrameKind::Goodbye, body: &[1, b'x', 0] };
    assert_eq!(trailing.decode::<Goodbye>(), Err(DecodeError::Trailing));
    let lying = Frame { kind: FrameKind::Hello, body: &[0xff, 0xff, 0xff, 0xff, 0x0f] };
    assert_eq!(lying.decode::<Hello>(), Err(DecodeError::Truncated));
    assert_eq!(long.decode::<Hello>(), Err(DecodeError::Invalid("frame kind")));
}

#[test]
fn batch_headers_keep_the_window() {
    let mut body = Vec::new();
    batch(vec![1]).encode_body(&mut body);
    assert_eq!(BatchFrame::decode_body(&body), Ok(batch(vec![1])));
    for (at, byte) in [(16, 0), (17, 64), (17, 100), (19, 3)] {
        let mut bad = body.clone();
        bad[at] = byte;
        assert!(BatchFrame::decode_body(&bad).is_err(), "{at}");
    }
}

proptest! {
    #[test]
    fn frames_survive_any_cut(cuts in proptest::collection::vec(1usize..64, 1..200)) {
        let samples = samples();
        let stream: Vec<u8> = samples.iter().flat_map(|s| s.2.clone()).collect();
        let mut decoder = FrameDecoder::new(1 << 20);
        let (mut at, mut seen, mut cut) = (0, Vec::new(), cuts.iter().cycle());
        while at < stream.len() {
            let end = (at + cut.next().unwrap()).min(stream.len());
            decoder.push(&stream[at..end]);
            at = end;
            while let Some(frame) = decoder.next_frame().unwrap() {
                seen.push(frame.kind);
            }
        }
        decoder.finish().unwrap();
        prop_assert_eq!(seen, FrameKind::ALL);
    }

    #[test]
    fn mutated_frames_never_panic(which in 0usize..16, at in 0usize..400, byte: u8, cut in 0usize..400) {
        let (_, kind, mut bytes) = samples().remove(which);
        let at = at % bytes.len();
        bytes[at] ^= byte;
        bytes.truncate(bytes.len() - cut % bytes.len());
        if let Ok(Some((frame, _))) = Frame::read(&bytes, 1 << 20) && frame.kind == kind {
            let _ = (frame.decode::<Welcome>(), frame.decode::<Plans>(), frame.decode::<BatchFrame>());
            let _ = (frame.decode::<Hello>(), frame.decode::<Rows>(), frame.decode::<Refused>());
        }
    }

    #[test]
    fn payloads_round_trip(
        keys in proptest::collection::btree_set(proptest::collection::vec(0u8..4, 0..12), 0..60),
        events in 0u64..1_000_000,
        payload_bytes_max in 600usize..4_000,
    ) {
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let partials = opaque(&keys);
        let limits = BatchLimits { payload_bytes_max, ..BatchLimits::BROWSER };
        let batches = encode_payloads(&ledger(events), &[input(4, &partials)], &limits);
        prop_assert_eq!(batches.payloads.iter().map(|p| p.events).sum::<u64>(), events);
        let read: Vec<_> = collect(&batches, &limits).remove(&4).unwrap_or_default().into_iter().collect();
        prop_assert_eq!(read, partials.0);
    }

    #[test]
    fn mutated_payloads_never_panic(
        edits in proptest::collection::vec((0usize..200, any::<u8>()), 1..4),
        cut in 0usize..200,
    ) {
        let partials = opaque(&[b"", b"ab", b"abc", b"abd", b"b", &[0xfe]]);
        let batches = encode_payloads(&ledger(7), &[input(4, &partials), input(5, &partials)], &BatchLimits::NATIVE);
        let mut bytes = batches.payloads[0].bytes.clone();
        bytes.truncate(bytes.len() - if cut < bytes.len() { cut / 8 } else { 0 });
        for (at, byte) in edits {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        if let Ok(payload) = Payload::parse(&bytes, &BatchLimits::NATIVE) {
            for section in payload.sections() {
                let mut groups = section.groups();
                while let Ok(Some((_, states))) = groups.next_group() {
                    let _ = states.bytes(STATE_BYTES);
                }
            }
        }
    }
}
