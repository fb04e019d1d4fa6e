//! What is recorded of connections over published ports and the mediation channel.
//!
//! Every connection that the mediation channel carried has two records of its own. Published ports are
//! anybody's to knock at, so beyond a rate they are only counted; so are refusals.

use super::event::Event;
use super::mediation::{MediationEvent, Refusals, ServedChannel};
use super::owner::Owner;
use super::publish::{Connection, FORWARD_LIMIT, Shared};
use microagent_os::clock;
use microagent_state::event_record::{EventType, NewEvent};
use serde_json::{Map, Value};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Until connections that were told to close have closed: they only have to hear it.
const CLOSE_LIMIT: Duration = Duration::from_millis(300);

impl Owner<'_> {
    /// The guest is ready: whoever waits at a published port is served.
    pub(super) fn serve_published(&mut self) {
        let Some(vm) = &self.machine else { return };
        let shared = Shared::new(self.guest_limit(FORWARD_LIMIT));
        for port in &mut self.held.published {
            let (shared, severed) = (shared.clone(), self.severed.subscribe());
            port.serve(vm.clone(), shared, severed, self.events.clone());
        }
    }

    /// A connection over a published port has begun or ended.
    pub(super) async fn published(&mut self, connection: Connection) {
        let Connection {
            host_port,
            number,
            end,
        } = connection;
        let kind = match end {
            None => EventType::PublishedOpened,
            Some(_) => EventType::PublishedClosed,
        };
        if end.is_none() && !self.publish_records.take(clock::monotonic()) {
            self.unrecorded.insert((host_port, number));
        }
        if self.unrecorded.contains(&(host_port, number)) {
            if end.is_some() {
                self.unrecorded.remove(&(host_port, number));
                self.published_counted += 1;
                self.sync_soon();
            }
            return;
        }
        let mut event = self
            .book
            .event(kind)
            .with("hostPort", host_port.get())
            .with("number", number);
        if let Some(end) = end {
            event = event
                .with("bytesIn", end.bytes_in)
                .with("bytesOut", end.bytes_out)
                .with("durationMs", clock::whole_ms(end.duration))
                .with("closedBy", end.closed_by.as_str());
        }
        self.book.append_later(vec![event]).await;
        self.sync_soon();
    }

    /// Something happened on the mediation channel.
    pub(super) async fn mediated(&mut self, happened: MediationEvent) {
        let event = match happened {
            MediationEvent::Ready => self.book.event(EventType::MediationReady),
            MediationEvent::Unready(error) => {
                let event = self.book.event(EventType::MediationUnready);
                event.with("error", error)
            }
            MediationEvent::Opened { number } => {
                let event = self.book.event(EventType::MediationOpened);
                event.with("number", number)
            }
            MediationEvent::Closed {
                number,
                bytes_in,
                bytes_out,
                duration,
                closed_by,
            } => self
                .book
                .event(EventType::MediationClosed)
                .with("number", number)
                .with("bytesIn", bytes_in)
                .with("bytesOut", bytes_out)
                .with("durationMs", clock::whole_ms(duration))
                .with("closedBy", closed_by),
            MediationEvent::Refused(why) => {
                let event = self.book.event(EventType::MediationRefused);
                event.with("why", why)
            }
            MediationEvent::Counted(refusals) => self.refusals_counted(&refusals),
        };
        self.book.append_later(vec![event]).await;
        self.sync_soon();
    }

    /// Waits until everything that was told to close has closed and is recorded; what else happens
    /// meanwhile is taken afterwards.
    pub(super) async fn connections_gone(&mut self) {
        let until = Instant::now() + CLOSE_LIMIT;
        while self.has_connections() {
            match timeout_at(until, self.queue.recv()).await {
                Ok(Some(event)) => self.take_end(event).await,
                Ok(None) => return,
                Err(_) => {
                    tracing::warn!("some connections were not seen to close");
                    return;
                }
            }
        }
        // Who has closed says so next; a full queue lets one more in for each that is taken.
        while let Ok(event) = self.queue.try_recv() {
            self.take_end(event).await;
            tokio::task::yield_now().await;
        }
    }

    async fn take_end(&mut self, event: Event) {
        match event {
            Event::SessionEnded(end) => Box::pin(self.session_ended(end)).await,
            Event::Mediated(happened) => self.mediated(happened).await,
            Event::Published(connection) => self.published(connection).await,
            other => self.deferred.push_back(other),
        }
    }

    fn has_connections(&self) -> bool {
        let mut published = self.held.published.iter();
        !self.sessions.is_empty()
            || published.any(|port| port.count.open.get() > 0)
            || self
                .held
                .mediation
                .as_ref()
                .is_some_and(|channel| channel.open() > 0)
    }

    /// Connections that were only counted, one event for each kind.
    pub(super) fn counted(&mut self) -> Vec<NewEvent> {
        let mut events = Vec::new();
        let published = std::mem::take(&mut self.published_counted);
        let ports = self.held.published.iter();
        let turned_away: u64 = ports.map(|port| port.count.turned_away.take()).sum();
        if published + turned_away > 0 {
            let counted = self
                .book
                .event(EventType::PublishedCounted)
                .with("connections", published)
                .with("turnedAway", turned_away);
            events.push(counted);
        }
        let channel = self.held.mediation.as_ref();
        let refusals = channel.map(ServedChannel::take_counted);
        if let Some(refusals) = refusals.filter(|refusals| !refusals.is_empty()) {
            events.push(self.refusals_counted(&refusals));
        }
        events
    }

    fn refusals_counted(&self, refusals: &Refusals) -> NewEvent {
        let reasons: Map<String, Value> = refusals
            .iter()
            .map(|(why, count)| ((*why).to_owned(), Value::from(*count)))
            .collect();
        self.book
            .event(EventType::MediationCounted)
            .with("refused", refusals.values().sum::<u64>())
            .with("reasons", Value::Object(reasons))
    }
}
