//! The session machine without sockets.

use super::*;
use headwater::aggregate::{AggregateSpec, Finisher};
use headwater::ids::{CatalogVersion, Pid, PlanVersion, Seq, StreamId, ViewId};
use headwater::plan::{Plan, StatePlan};
use headwater::schema::StreamSchema;
use headwater::value::DataType;
use headwater::wire::{Body, Token, encode_frame};
use headwater_sql::definition::{Output, SelectItem, StreamDef, ViewDef};

const NOW: Micros = Micros(1_000_000);

fn policy(tokens: &[&str]) -> Arc<Policy> {
    let limits = SessionLimits {
        frame_bytes_max: 4096,
        batch_groups_max: 10,
        key_bytes_max: 64,
        pid_lifetime_ms: 1000,
    };
    let tokens = tokens.iter().map(|t| String::from(*t)).collect();
    Arc::new(Policy { tokens, limits, streams_max: 3, boot: BootId(9), cluster: ClusterId([4; 16]) })
}

fn stream(id: u32, name: &str) -> Arc<StreamDef> {
    Arc::new(StreamDef { schema: StreamSchema { id: StreamId(id), name: name.into(), fields: Vec::new() } })
}

fn view(id: u32, stream: u32) -> Arc<ViewDef> {
    let states =
        vec![StatePlan { spec: AggregateSpec::Count { argument: false }, args: Vec::new(), filter: None }];
    let plan = Plan {
        view: ViewId(id),
        version: PlanVersion(1),
        stream: StreamId(stream),
        nodes: Vec::new(),
        filter: None,
        keys: Vec::new(),
        states,
        groups_max: 10,
    };
    let output =
        Output { name: "$0".into(), state: 0, finisher: Finisher::Value, data_type: DataType::Int64 };
    Arc::new(ViewDef {
        id: ViewId(id),
        name: format!("v{id}"),
        query: String::new(),
        options: Vec::new(),
        plan,
        keys: Vec::new(),
        outputs: vec![output],
        select: vec![SelectItem { name: "count".into(), expr: "$0".into() }],
        attributes: Vec::new(),
    })
}

fn catalog(version: u64, streams: &[Arc<StreamDef>], views: &[Arc<ViewDef>]) -> CatalogSnapshot {
    CatalogSnapshot {
        version: CatalogVersion(version),
        streams: streams.to_vec(),
        views: views.to_vec(),
        ..CatalogSnapshot::default()
    }
}

fn hello(streams: &[&str]) -> Hello {
    Hello {
        versions: vec![7, 1],
        streams: streams.iter().map(|s| String::from(*s)).collect(),
        ..Hello::default()
    }
}

fn control<T: Body>(session: &mut Session, body: &T, catalog: &CatalogSnapshot) -> Result<Control, Close> {
    let bytes = encode_frame(body);
    session.handle_control(&Frame::read_only(&bytes, 4096).expect("frame"), NOW, catalog)
}

fn request<T: Body>(policy: &Policy, body: &T, welcomed: bool) -> Result<Request, Close> {
    let bytes = encode_frame(body);
    policy.handle_request(&Frame::read_only(&bytes, 4096).expect("frame"), welcomed)
}

fn batch() -> BatchFrame {
    BatchFrame {
        pid: Pid::new(1, [1; 10]),
        seq: Seq(1),
        low_water: Seq(1),
        route: RouteVersion(0),
        level: AckLevel::Durable,
        backfill: false,
        payload: vec![1, 2, 3],
    }
}

#[test]
fn a_hello_is_welcomed_with_the_plans_of_its_streams() {
    let catalog = catalog(3, &[stream(1, "a"), stream(2, "b")], &[view(1, 1), view(2, 2), view(3, 1)]);
    let mut session = Session::new(policy(&[]));
    let Ok(Control::Welcome(welcome)) = control(&mut session, &hello(&["a", "nowhere", "a"]), &catalog)
    else {
        panic!("not welcomed");
    };
    assert_eq!(
        (welcome.version, welcome.time, welcome.boot, welcome.catalog),
        (1, NOW, BootId(9), CatalogVersion(3))
    );
    assert_eq!(welcome.streams.len(), 1);
    let views: Vec<ViewId> = welcome.streams[0].plans.iter().map(|plan| plan.view).collect();
    assert_eq!(views, [ViewId(1), ViewId(3)]);
    assert_eq!(welcome.unknown_streams, ["nowhere"]);
    assert!(session.is_open());
}

/// Such a name ended the session, and with it the events of all other streams of its client.
#[test]
fn a_name_that_no_stream_can_have_is_unknown() {
    let catalog = catalog(3, &[stream(1, "a")], &[]);
    let long = "s".repeat(NAME_BYTES_MAX + 1);
    let mut session = Session::new(policy(&[]));
    let Ok(Control::Welcome(welcome)) = control(&mut session, &hello(&["a", &long]), &catalog) else {
        panic!("not welcomed");
    };
    assert_eq!((welcome.streams.len(), welcome.unknown_streams.as_slice()), (1, &[long][..]));
}

#[test]
fn plans_are_pushed_when_those_of_the_session_changed() {
    let streams = [stream(1, "a"), stream(2, "b")];
    let mut session = Session::new(policy(&[]));
    assert_eq!(session.handle_catalog(&catalog(1, &streams, &[])), Ok(None), "nothing before the Hello");
    control(&mut session, &hello(&["a", "later"]), &catalog(1, &streams, &[])).expect("welcome");
    assert_eq!(
        session.handle_catalog(&catalog(2, &streams, &[view(1, 2)])),
        Ok(None),
        "a view of another stream"
    );
    let pushed = session
        .handle_catalog(&catalog(3, &streams, &[view(1, 2), view(2, 1)]))
        .expect("fits")
        .expect("a new view");
    assert_eq!((pushed.catalog, pushed.streams[0].plans.len()), (CatalogVersion(3), 1));
    let pushed =
        session.handle_catalog(&catalog(4, &streams, &[view(1, 2)])).expect("fits").expect("it was dropped");
    assert!(pushed.streams[0].plans.is_empty());
    let more = [streams[0].clone(), streams[1].clone(), stream(3, "later")];
    let pushed =
        session.handle_catalog(&catalog(5, &more, &[])).expect("fits").expect("the unknown stream was made");
    assert_eq!((pushed.streams.len(), pushed.unknown_streams.len()), (2, 0));
}

#[test]
fn a_second_hello_replaces_the_streams() {
    let catalog = catalog(1, &[stream(1, "a"), stream(2, "b")], &[]);
    let mut session = Session::new(policy(&[]));
    control(&mut session, &hello(&["a"]), &catalog).expect("welcome");
    let Ok(Control::Welcome(welcome)) = control(&mut session, &hello(&["b"]), &catalog) else {
        panic!("not welcomed");
    };
    assert_eq!(welcome.streams[0].schema.id, StreamId(2));
}

#[test]
fn the_clock_is_echoed_and_resume_is_passed_on() {
    let catalog = catalog(1, &[], &[]);
    let mut session = Session::new(policy(&[]));
    let clock = ClockRequest { sent: Micros(5) };
    assert_eq!(control(&mut session, &clock, &catalog).expect_err("no hello").code, CloseCode::Protocol);
    control(&mut session, &hello(&[]), &catalog).expect("welcome");
    let reply = ClockReply { sent: Micros(5), time: NOW };
    assert_eq!(control(&mut session, &clock, &catalog), Ok(Control::Clock(reply)));
    let resume = Resume { pid: Pid::new(1, [2; 10]), low_water: Seq(4) };
    assert_eq!(control(&mut session, &resume, &catalog), Ok(Control::Resume(resume)));
}

#[test]
fn tokens_are_checked_where_they_are_carried() {
    let policy = policy(&["right", "also"]);
    let empty = catalog(1, &[], &[]);
    for (token, admitted) in
        [(Some("right"), true), (Some("also"), true), (Some("righ"), false), (None, false)]
    {
        let token = token.map(Token::from);
        let hello = Hello { token: token.clone(), ..hello(&[]) };
        let mut session = Session::new(Arc::clone(&policy));
        assert_eq!(control(&mut session, &hello, &empty).is_ok(), admitted);
        let query = Query { sql: "SELECT 1".into(), token, ..Query::default() };
        let answer = request(&policy, &query, false);
        assert_eq!(answer.is_ok(), admitted);
        assert!(answer.is_ok() || answer.is_err_and(|close| close.code == CloseCode::Unauthorized));
    }
    assert!(!policy.admits(Some("rightalso")) && !policy.admits(Some("")));
}

#[test]
fn batches_need_a_session_and_other_frames_are_out_of_place() {
    let policy = policy(&[]);
    assert_eq!(request(&policy, &batch(), true), Ok(Request::Batch(batch())));
    assert_eq!(request(&policy, &batch(), false).expect_err("no session").code, CloseCode::Protocol);
    assert_eq!(request(&policy, &hello(&[]), true).expect_err("hello").code, CloseCode::Protocol);
    let mut session = Session::new(policy);
    let empty = catalog(1, &[], &[]);
    control(&mut session, &hello(&[]), &empty).expect("welcome");
    assert_eq!(control(&mut session, &batch(), &empty).expect_err("batch").code, CloseCode::Protocol);
}

#[test]
fn versions_limits_and_broken_bodies_are_refused_with_codes() {
    let empty = catalog(1, &[], &[]);
    let mut session = Session::new(policy(&[]));
    let old = Hello { versions: vec![0, 2], ..hello(&[]) };
    assert_eq!(control(&mut session, &old, &empty).expect_err("version").code, CloseCode::Version);
    let greedy = hello(&["a", "b", "c", "d"]);
    assert_eq!(control(&mut session, &greedy, &empty).expect_err("greedy").code, CloseCode::TooLarge);
    let long = "x".repeat(STREAM_NAMES_BYTES_MAX + 1);
    assert_eq!(
        session.handle_hello(hello(&[&long]), NOW, &empty).expect_err("long").code,
        CloseCode::TooLarge
    );
    let broken = Frame { kind: FrameKind::Hello, body: &[0xff; 20] };
    let close = session.handle_control(&broken, NOW, &empty).expect_err("broken");
    assert_eq!((close.code, close.failure().code.as_str()), (CloseCode::Malformed, "malformed"));
    assert!(!session.is_open());
}

#[test]
fn close_codes_are_numbered_for_ever() {
    for (number, code) in CloseCode::ALL.into_iter().enumerate() {
        assert_eq!(code as u32 as usize, number);
    }
}

/// A frame above the peer's limit would break its connection, again and again, without a reason.
#[test]
fn plans_that_do_not_fit_a_frame_are_refused_with_a_reason() {
    let streams = [stream(1, "a"), stream(2, "b")];
    let many: Vec<_> = (1..1000).map(|id| view(id, 1)).collect();
    let mut session = Session::new(policy(&[]));
    let close = control(&mut session, &hello(&["a"]), &catalog(1, &streams, &many)).expect_err("too large");
    assert_eq!(close.code, CloseCode::TooLarge);
    assert!(close.message.contains("feed fewer streams"), "{}", close.message);
    let mut session = Session::new(policy(&[]));
    control(&mut session, &hello(&["b"]), &catalog(1, &streams, &many))
        .expect("another stream's do not matter");
    let mut session = Session::new(policy(&[]));
    control(&mut session, &hello(&["a"]), &catalog(1, &streams, &[])).expect("few fit");
    let close = session.handle_catalog(&catalog(2, &streams, &many)).expect_err("too large");
    assert_eq!(close.code, CloseCode::TooLarge);
}

#[test]
fn plans_of_inactive_views_are_not_sent() {
    let streams = [stream(1, "s")];
    let mut idle = ViewDef::clone(&view(2, 1));
    assert!(idle.set_active(false));
    let (active, idle) = (view(1, 1), Arc::new(idle));
    let mut session = Session::new(policy(&[]));
    session
        .handle_hello(hello(&["s"]), Micros(0), &catalog(1, &streams, std::slice::from_ref(&active)))
        .expect("welcome");
    let with_idle = catalog(2, &streams, &[active.clone(), idle]);
    assert_eq!(session.handle_catalog(&with_idle), Ok(None), "it is no news");
    let plans = session.handle_catalog(&catalog(3, &streams, &[active, view(2, 1)])).expect("fits");
    assert_eq!(plans.expect("news").streams[0].plans.len(), 2);
}
