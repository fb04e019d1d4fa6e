//! The mediation channel: what the guest dials on its port of the host leads to one declared target, and
//! to nothing else.
//!
//! Bytes are carried unchanged and never interpreted. A target that does not accept costs the guest its
//! connection at once: nothing falls back to anything, and it heals when the target does. What a guest
//! makes too much of is refused and counted, so that neither descriptors nor the history run full.

use super::bridge::{Side, Tally};
use super::event::{Event, EventSender};
use super::joint::{Extras, join};
use super::rate::RateLimit;
use super::target::{self, TargetStream};
use super::turned_away::TurnedAway;
use crate::backend::{GuestListener, GuestStream};
use microagent_machine::spec::{Mediation, Requirement};
use microagent_os::clock;
use microagent_wire::supervisor::response::MediationView;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::{MissedTickBehavior, interval};

/// Connections at once.
const CONNECTIONS_MAX: u64 = 256;
/// New connections a second over time, and at once.
const NEW_A_SECOND_MAX: u32 = 100;
const NEW_BURST_MAX: u32 = 200;
/// Refusals a second that get a record each; more are counted.
const REFUSALS_A_SECOND_MAX: u32 = 100;
/// Between two looks at a target that no connection is open to.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
/// Between two records of refusals that were only counted.
const COUNT_INTERVAL: Duration = Duration::from_secs(1);
/// After a failed accept: out of descriptors is no reason to give up, nor to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Refusals by their reason.
pub(crate) type Refusals = BTreeMap<&'static str, u64>;

/// A channel that is served. Dropping it stops listening; connections see `severed`.
#[derive(Debug)]
pub(super) struct ServedChannel {
    facts: Rc<Facts>,
    accept: AbortHandle,
    others: [AbortHandle; 2],
}

/// What is known of a channel now.
#[derive(Debug)]
struct Facts {
    channel: Mediation,
    error: RefCell<Option<String>>,
    total: Cell<u64>,
    refused: Cell<u64>,
    refusal_records: RefCell<RateLimit>,
    refusals_counted: RefCell<Refusals>,
    /// Of connections that have ended.
    bytes_in: Cell<u64>,
    bytes_out: Cell<u64>,
    open: RefCell<BTreeMap<u64, Rc<Tally>>>,
    extras: Extras,
    turned_away: TurnedAway,
}

/// Something happened on a channel.
#[derive(Debug)]
pub(crate) enum MediationEvent {
    /// The target accepts again.
    Ready,
    /// It does not.
    Unready(String),
    /// A connection is carried.
    Opened {
        /// Its number.
        number: u64,
    },
    /// It has ended.
    Closed {
        /// Its number.
        number: u64,
        /// Guest to host.
        bytes_in: u64,
        /// Host to guest.
        bytes_out: u64,
        /// How long it was open.
        duration: Duration,
        /// Who closed: `guest`, `target` or `severed`.
        closed_by: &'static str,
    },
    /// A connection was refused.
    Refused(&'static str),
    /// Connections were refused, more than get records of their own.
    Counted(Refusals),
}

impl Drop for ServedChannel {
    fn drop(&mut self) {
        self.accept.abort();
        for task in &self.others {
            task.abort();
        }
    }
}

impl ServedChannel {
    /// Begins to serve. `error` is what the target answered at the start.
    pub(super) fn serve(
        channel: Mediation,
        listener: Box<dyn GuestListener>,
        error: Option<String>,
        severed: watch::Receiver<bool>,
        events: EventSender,
    ) -> Self {
        let now = clock::monotonic();
        let facts = Rc::new(Facts {
            channel,
            error: RefCell::new(error),
            total: Cell::new(0),
            refused: Cell::new(0),
            refusal_records: RefCell::new(RateLimit::new(
                REFUSALS_A_SECOND_MAX,
                REFUSALS_A_SECOND_MAX,
                now,
            )),
            refusals_counted: RefCell::default(),
            bytes_in: Cell::new(0),
            bytes_out: Cell::new(0),
            open: RefCell::default(),
            extras: Extras::default(),
            turned_away: TurnedAway::default(),
        });
        let accept = spawn_local(accept(listener, facts.clone(), severed, events.clone()));
        let probe = spawn_local(watch_target(facts.clone(), events.clone()));
        let count = spawn_local(tell_counts(facts.clone(), events));
        Self {
            facts,
            accept: accept.abort_handle(),
            others: [probe.abort_handle(), count.abort_handle()],
        }
    }

    /// Connections that are open.
    pub(super) fn open(&self) -> u64 {
        self.facts.open_count()
    }

    /// Why the target is not ready; none when it is.
    pub(super) fn error(&self) -> Option<String> {
        self.facts.error.borrow().clone()
    }

    /// Looks at the target now, for somebody who asks.
    pub(super) fn probe(&self, events: &EventSender) -> impl Future<Output = ()> + use<> {
        let (facts, events) = (self.facts.clone(), events.clone());
        async move { look(&facts, &events).await }
    }

    /// Refusals that no record tells of yet.
    pub(super) fn take_counted(&self) -> Refusals {
        self.facts.refusals_counted.take()
    }

    /// The channel as callers see it.
    pub(super) fn view(&self) -> MediationView {
        let facts = &self.facts;
        let error = self.error();
        let open = facts.open.borrow();
        let live = |of: fn(&Tally) -> u64| open.values().map(|tally| of(tally)).sum::<u64>();
        MediationView {
            port: facts.channel.port,
            target: facts.channel.target.clone(),
            required: facts.channel.requirement == Requirement::Required,
            ready: error.is_none(),
            error,
            open_connections: facts.open_count(),
            total_connections: facts.total.get(),
            refused_connections: facts.refused.get(),
            bytes_in: facts.bytes_in.get() + live(|tally| tally.from_first.get()),
            bytes_out: facts.bytes_out.get() + live(|tally| tally.from_second.get()),
        }
    }
}

impl Facts {
    fn open_count(&self) -> u64 {
        self.open.borrow().len() as u64
    }

    /// Counts a refusal, and says so unless there are too many of them.
    async fn refuse(&self, why: &'static str, events: &EventSender) {
        self.refused.set(self.refused.get() + 1);
        let is_recorded = self.refusal_records.borrow_mut().take(clock::monotonic());
        if is_recorded {
            let refused = MediationEvent::Refused(why);
            events.send(Event::Mediated(refused)).await;
        } else {
            *self.refusals_counted.borrow_mut().entry(why).or_default() += 1;
        }
    }
}

async fn accept(
    mut listener: Box<dyn GuestListener>,
    facts: Rc<Facts>,
    severed: watch::Receiver<bool>,
    events: EventSender,
) {
    let mut limit = RateLimit::new(NEW_A_SECOND_MAX, NEW_BURST_MAX, clock::monotonic());
    loop {
        let guest = match listener.accept().await {
            Ok(guest) => guest,
            Err(error) => {
                tracing::warn!(%error, "the mediation port accepted nothing");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let is_severed = *severed.borrow();
        if is_severed {
            facts.turned_away.end(guest);
            facts.refuse("quarantined", &events).await;
            continue;
        }
        if facts.open_count() >= CONNECTIONS_MAX || !limit.take(clock::monotonic()) {
            facts.turned_away.end(guest);
            facts.refuse("limit", &events).await;
            continue;
        }
        let number = facts.total.get() + 1;
        facts.total.set(number);
        let tally = Rc::new(Tally::default());
        facts.open.borrow_mut().insert(number, tally.clone());
        let (facts, severed, events) = (facts.clone(), severed.clone(), events.clone());
        spawn_local(async move {
            carry(guest, &facts, (number, &tally), severed, &events).await;
        });
    }
}

async fn carry(
    mut guest: GuestStream,
    facts: &Facts,
    (number, tally): (u64, &Tally),
    mut severed: watch::Receiver<bool>,
    events: &EventSender,
) {
    let dialled = tokio::select! {
        biased;
        _ = severed.wait_for(|severed| *severed) => None,
        dialled = target::dial(&facts.channel.target) => Some(dialled),
    };
    let mut target = match dialled {
        Some(Ok(target)) => target,
        refused => {
            facts.turned_away.end(guest);
            facts.open.borrow_mut().remove(&number);
            let why = match refused {
                Some(Err(error)) => {
                    note(facts, Some(error.to_string()), events).await;
                    if error.kind() == io::ErrorKind::TimedOut {
                        "target_timeout"
                    } else {
                        "target_refused"
                    }
                }
                _ => "quarantined",
            };
            return facts.refuse(why, events).await;
        }
    };
    note(facts, None, events).await;
    let begun = clock::monotonic();
    events
        .send(Event::Mediated(MediationEvent::Opened { number }))
        .await;
    let closed_by = tokio::select! {
        biased;
        _ = severed.wait_for(|severed| *severed) => None,
        side = join(&mut guest, &mut target, tally, &facts.extras) => Some(side),
    };
    let closed_by = close(target, closed_by);
    drop(guest);
    facts.open.borrow_mut().remove(&number);
    let (bytes_in, bytes_out) = (tally.from_first.get(), tally.from_second.get());
    facts.bytes_in.set(facts.bytes_in.get() + bytes_in);
    facts.bytes_out.set(facts.bytes_out.get() + bytes_out);
    let closed = MediationEvent::Closed {
        number,
        bytes_in,
        bytes_out,
        duration: clock::monotonic().duration_since(begun),
        closed_by,
    };
    events.send(Event::Mediated(closed)).await;
}

/// Closes the target's side as it is due, and says who closed.
fn close(target: TargetStream, closed_by: Option<Side>) -> &'static str {
    match closed_by {
        Some(Side::First) => "guest",
        Some(Side::Second) => "target",
        None => {
            target.reset();
            "severed"
        }
    }
}

/// Keeps whether the target accepts, and tells when that changes.
async fn note(facts: &Facts, error: Option<String>, events: &EventSender) {
    let before = facts.error.replace(error.clone());
    let change = match (before, error) {
        (Some(_), None) => MediationEvent::Ready,
        (None, Some(error)) => MediationEvent::Unready(error),
        _ => return,
    };
    events.send(Event::Mediated(change)).await;
}

async fn look(facts: &Facts, events: &EventSender) {
    let error = target::probe(&facts.channel.target).await.err();
    note(facts, error.map(|error| error.to_string()), events).await;
}

/// Tries the target while no connection is open to it.
async fn watch_target(facts: Rc<Facts>, events: EventSender) {
    let mut interval = interval(PROBE_INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval.tick().await;
    loop {
        interval.tick().await;
        if facts.open_count() == 0 {
            look(&facts, &events).await;
        }
    }
}

/// Tells of what was only counted, once a second at most.
async fn tell_counts(facts: Rc<Facts>, events: EventSender) {
    let mut interval = interval(COUNT_INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let counted = facts.refusals_counted.take();
        if !counted.is_empty() {
            let counted = MediationEvent::Counted(counted);
            events.send(Event::Mediated(counted)).await;
        }
    }
}
