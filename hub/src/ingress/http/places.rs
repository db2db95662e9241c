//! Who may stay when places are short.
//!
//! A connection holds a place. When all are taken, a new one gets the place of the connection that has been
//! idle longest: no request in flight, whether it never sent one or has had its answer. When none is idle,
//! a new one still gets a spare place, on which the hub tells its health and nothing else; spare places are
//! handed on to the next, oldest first.
//!
//! Invariants: at most `max` + [`SPARE`] connections; a request in flight on a place is never cut for
//! another's sake; whoever connects is heard.

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Request, Response};
use hyper::body::{Frame, SizeHint};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Connections above the limit that are told the hub's health. Each holds a few KiB.
pub(super) const SPARE: usize = 32;

/// All places of the door.
#[derive(Debug)]
pub(super) struct Places {
    max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    held: BTreeMap<u64, Arc<Activity>>,
    spare: BTreeMap<u64, Arc<Activity>>,
}

/// A place, for as long as this lives.
#[derive(Debug)]
pub(super) struct Place {
    id: u64,
    pub activity: Arc<Activity>,
    /// Above the limit: health only.
    pub is_spare: bool,
    places: Arc<Places>,
}

impl Places {
    pub fn new(max: u32) -> Arc<Self> {
        Arc::new(Self { max: max as usize, state: Mutex::default() })
    }

    /// A place for a new connection, and whether another lost its own for it.
    pub fn take(self: &Arc<Self>) -> (Place, bool) {
        let activity = Arc::new(Activity::new());
        let mut state = self.lock();
        state.next += 1;
        let id = state.next;
        let was_cut = state.held.len() >= self.max && cut_idlest(&mut state.held);
        let is_spare = state.held.len() >= self.max;
        let of = if is_spare { &mut state.spare } else { &mut state.held };
        let was_handed_on = is_spare && of.len() >= SPARE && cut_oldest(of);
        of.insert(id, Arc::clone(&activity));
        drop(state);
        (Place { id, activity, is_spare, places: Arc::clone(self) }, was_cut || was_handed_on)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Its place is free at once; its task ends a moment later.
fn cut_idlest(held: &mut BTreeMap<u64, Arc<Activity>>) -> bool {
    let idle = held.iter().filter_map(|(id, activity)| Some((activity.idle_since()?, *id))).min();
    let Some(activity) = idle.and_then(|(_, id)| held.remove(&id)) else { return false };
    activity.cut.cancel();
    true
}

fn cut_oldest(spare: &mut BTreeMap<u64, Arc<Activity>>) -> bool {
    let Some((_, activity)) = spare.pop_first() else { return false };
    activity.cut.cancel();
    true
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.places.lock();
        state.held.remove(&self.id);
        state.spare.remove(&self.id);
    }
}

/// What a connection does.
#[derive(Debug)]
pub(super) struct Activity {
    now: Mutex<Doing>,
    /// Cancelled when the place goes to another.
    pub cut: CancellationToken,
}

#[derive(Clone, Copy, Debug)]
struct Doing {
    /// Requests whose answer is not out.
    in_flight: u32,
    /// Those whose answer has not begun.
    working: u32,
    /// Requests so far.
    requests: u64,
    /// The last time anything was asked or answered.
    moved: Instant,
}

/// How long a connection may do nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Before its first request.
    pub first: Duration,
    /// Between requests.
    pub idle: Duration,
    /// While an answer is under way.
    pub answer: Duration,
}

impl Activity {
    fn new() -> Self {
        let now = Doing { in_flight: 0, working: 0, requests: 0, moved: Instant::now() };
        Self { now: Mutex::new(now), cut: CancellationToken::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Doing> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle_since(&self) -> Option<Instant> {
        let now = self.lock();
        (now.in_flight == 0).then_some(now.moved)
    }

    /// A request came in; it is in flight until the answer's body is sent or dropped.
    pub fn begin(self: &Arc<Self>) -> InFlight {
        let mut now = self.lock();
        now.in_flight += 1;
        now.requests += 1;
        now.moved = Instant::now();
        drop(now);
        InFlight(Arc::clone(self))
    }

    fn moves(&self) {
        self.lock().moved = Instant::now();
    }

    /// Returns when the connection did nothing for too long.
    pub async fn overdue(&self, patience: Patience) {
        loop {
            let now = *self.lock();
            let allowed = match now {
                Doing { in_flight: 1.., .. } => patience.answer,
                Doing { requests: 0, .. } => patience.first,
                _ => patience.idle,
            };
            let since = if now.working > 0 { Instant::now() } else { now.moved };
            if since.elapsed() >= allowed {
                return;
            }
            tokio::time::sleep_until(since + allowed).await;
        }
    }
}

/// A request in flight.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Activity>);

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut now = self.0.lock();
        now.in_flight = now.in_flight.saturating_sub(1);
        now.moved = Instant::now();
    }
}

/// A request whose answer has not begun.
#[derive(Debug)]
pub(super) struct Working(Arc<Activity>);

impl Drop for Working {
    fn drop(&mut self) {
        let mut now = self.0.lock();
        now.working = now.working.saturating_sub(1);
        now.moved = Instant::now();
    }
}

impl InFlight {
    /// Its answer is being made, for as long as the result lives.
    pub fn working(&self) -> Working {
        self.0.lock().working += 1;
        Working(Arc::clone(&self.0))
    }

    /// The request is in flight until this answer's body has been sent.
    pub fn until_sent(self, response: Response<Body>) -> Response<Body> {
        response.map(|body| Body::new(Sending { body, in_flight: self }))
    }
}

/// An answer's body that says when it moves.
struct Sending {
    body: Body,
    in_flight: InFlight,
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if polled.is_ready() {
            self.in_flight.0.moves();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// True for what the hub answers on a spare place.
pub(super) fn is_health<B>(request: &Request<B>) -> bool {
    matches!(request.uri().path(), "/healthz" | "/readyz" | "/metrics" | "/v1/status")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_idlest_goes_first_and_requests_in_flight_stay() {
        let places = Places::new(3);
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(places.take().0);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let _busy = held[0].activity.begin();
        drop(held[1].activity.begin());
        let (new, was_cut) = places.take();
        assert!(was_cut && !new.is_spare);
        let cut: Vec<bool> = held.iter().map(|place| place.activity.cut.is_cancelled()).collect();
        assert_eq!(cut, [false, false, true], "the third has been idle longest");
        let _all_busy = (held[1].activity.begin(), new.activity.begin());
        let mut spare: Vec<Place> = (0..=SPARE).map(|_| places.take().0).collect();
        assert!(spare.iter().all(|place| place.is_spare));
        assert!(spare[0].activity.cut.is_cancelled() && !spare[1].activity.cut.is_cancelled());
        spare.clear();
        drop(new);
        assert!(!places.take().0.is_spare, "the place came back");
    }

    #[tokio::test(start_paused = true)]
    async fn doing_nothing_is_allowed_for_a_while() {
        let seconds = Duration::from_secs;
        let patience = Patience { first: seconds(1), idle: seconds(5), answer: seconds(9) };
        let activity = Arc::new(Activity::new());
        let begun = Instant::now();
        activity.overdue(patience).await;
        assert_eq!(begun.elapsed(), seconds(1));
        let request = activity.begin();
        activity.overdue(patience).await;
        assert_eq!(begun.elapsed(), seconds(10));
        drop(request);
        activity.overdue(patience).await;
        assert_eq!(begun.elapsed(), seconds(15));
    }

    /// An INSERT that took longer than the idle rule allowed was counted, and its connection closed without an answer.
    #[tokio::test(start_paused = true)]
    async fn a_connection_whose_request_is_worked_on_is_not_idle() {
        let seconds = Duration::from_secs;
        let patience = Patience { first: seconds(1), idle: seconds(5), answer: seconds(9) };
        let activity = Arc::new(Activity::new());
        let request = activity.begin();
        let working = request.working();
        let overdue = tokio::time::timeout(seconds(1_000), activity.overdue(patience)).await;
        assert!(overdue.is_err(), "the answer is being made");
        drop(working);
        let begun = Instant::now();
        activity.overdue(patience).await;
        assert_eq!(begun.elapsed(), seconds(9), "the answer is not taken");
    }
}
