//! Who asked for something, and why: in every intent and event of an act.

use microagent_machine::verb::PendingVerb;
use microagent_os::clock;
use microagent_state::event_record::{EventType, NewEvent};
use microagent_state::runtime_record::{InitiatorRecord, PendingRecord};
use microagent_types::{RequestId, Timestamp};
use microagent_wire::supervisor::request::{Channel, Initiator};

/// Who asked, and why.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// The request.
    pub(crate) request_id: RequestId,
    /// Who asked.
    pub(crate) initiator: Option<Initiator>,
    /// Why.
    pub(crate) note: Option<String>,
}

impl Origin {
    /// An event that this asked for.
    pub(crate) fn event(&self, kind: EventType) -> NewEvent {
        let mut event = NewEvent::new(kind).request(&self.request_id);
        event.initiator = self.initiator_record();
        event.note.clone_from(&self.note);
        event
    }

    /// The intent that this is.
    pub(crate) fn pending(&self, verb: PendingVerb, deadline: Option<Timestamp>) -> PendingRecord {
        PendingRecord {
            verb: verb.as_str().to_owned(),
            request_id: self.request_id.clone(),
            initiator: self.initiator_record(),
            note: self.note.clone(),
            at: clock::now(),
            deadline,
            acknowledged: false,
        }
    }

    /// The initiator as records have it.
    pub(crate) fn initiator_record(&self) -> Option<InitiatorRecord> {
        self.initiator.as_ref().map(|initiator| InitiatorRecord {
            channel: match initiator.channel {
                Channel::Cli => "cli",
                Channel::Library => "library",
                Channel::Other => "other",
            }
            .to_owned(),
            subject: initiator.subject.clone(),
        })
    }
}
