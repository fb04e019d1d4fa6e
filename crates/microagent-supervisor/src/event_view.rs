//! An event of the history as callers see it.

use microagent_state::event_record::Event as StoredEvent;
use microagent_wire::supervisor::request::{Channel, Initiator};
use microagent_wire::supervisor::response::{Event, LastEvent};

/// The whole event.
pub(crate) fn event_view(event: &StoredEvent) -> Event {
    Event {
        seq: event.seq,
        time: event.time,
        event_type: event.kind.clone(),
        state: event.state.clone(),
        reason: event.reason.clone(),
        request_id: event.request_id.clone(),
        initiator: event.initiator.as_ref().map(|initiator| Initiator {
            channel: match initiator.channel.as_str() {
                "cli" => Channel::Cli,
                "library" => Channel::Library,
                _ => Channel::Other,
            },
            subject: initiator.subject.clone(),
        }),
        note: event.note.clone(),
        boot_id: event.boot_id,
        data: event.data.clone(),
        prev: event.prev,
    }
}

/// The event in short.
pub(crate) fn last_event_view(event: &StoredEvent) -> LastEvent {
    LastEvent {
        seq: event.seq,
        time: event.time,
        event_type: event.kind.clone(),
        state: event.state.clone(),
        reason: event.reason.clone(),
    }
}
