//! One line of a workspace's history.
//!
//! The order of keys is part of the format, since a line is hashed as it stands. Strings that come
//! from guests are cut, and a line that would be too long loses data and says so; it is never left
//! out.

use microagent_machine::state::State;
use microagent_types::{BootId, RequestId, Sha256Hex, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::runtime_record::InitiatorRecord;

/// The longest line, without its LF.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// The longest string within the data of a line that had to be cut.
const STRING_BYTES_MAX: usize = 1024;

/// An event as it stands in the history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// From 1, no gap.
    pub seq: u64,
    /// When.
    pub time: Timestamp,
    /// What; a word of [`EventType`], or one of a newer program.
    #[serde(rename = "type")]
    pub kind: String,
    /// The state that was entered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Its reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// By which request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initiator: Option<InitiatorRecord>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// In which boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<BootId>,
    /// By type.
    pub data: Map<String, Value>,
    /// The hash of the line before.
    pub prev: Sha256Hex,
}

/// An event to be.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// What.
    pub kind: EventType,
    /// The state that was entered, with its reason.
    pub state: Option<State>,
    /// By which request.
    pub request_id: Option<RequestId>,
    /// By whom.
    pub initiator: Option<InitiatorRecord>,
    /// Why.
    pub note: Option<String>,
    /// In which boot.
    pub boot_id: Option<BootId>,
    /// By type.
    pub data: Map<String, Value>,
}

impl NewEvent {
    /// An event of which nothing is known but its type.
    pub fn new(kind: EventType) -> Self {
        Self {
            kind,
            state: None,
            request_id: None,
            initiator: None,
            note: None,
            boot_id: None,
            data: Map::new(),
        }
    }

    /// What happened.
    pub fn kind(&self) -> EventType {
        self.kind
    }

    /// With the state that was entered.
    #[must_use]
    pub fn state(mut self, state: State) -> Self {
        self.state = Some(state);
        self
    }

    /// With the boot.
    #[must_use]
    pub fn boot(mut self, boot_id: BootId) -> Self {
        self.boot_id = Some(boot_id);
        self
    }

    /// With the request.
    #[must_use]
    pub fn request(mut self, request_id: &RequestId) -> Self {
        self.request_id = Some(request_id.clone());
        self
    }

    /// With one fact more. Numbers and strings become what they are in JSON.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.data.insert(key.to_owned(), value.into());
        self
    }

    /// At its place in a history.
    pub fn at(self, seq: u64, time: Timestamp, prev: Sha256Hex) -> Event {
        Event {
            seq,
            time,
            kind: self.kind.as_str().to_owned(),
            state: self.state.map(|state| state.name().to_string()),
            reason: self.state.map(|state| state.reason().to_owned()),
            request_id: self.request_id,
            initiator: self.initiator,
            note: self.note,
            boot_id: self.boot_id,
            data: self.data,
            prev,
        }
    }
}

impl Event {
    /// The line without its LF. Data that makes it too long is cut, strings first, then whole
    /// entries, the largest first.
    pub fn to_line(&self) -> Vec<u8> {
        let line = self.serialized();
        if line.len() <= LINE_BYTES_MAX {
            return line;
        }
        let mut cut = self.clone();
        cut.note = cut.note.map(|note| shortened(&note));
        cut.data.values_mut().for_each(shorten_strings);
        cut.data.insert("cut".to_owned(), Value::Bool(true));
        loop {
            let line = cut.serialized();
            if line.len() <= LINE_BYTES_MAX {
                return line;
            }
            let largest = cut
                .data
                .iter()
                .filter(|(key, _)| *key != "cut")
                .max_by_key(|(_, value)| value.to_string().len())
                .map(|(key, _)| key.clone());
            match largest {
                Some(key) => cut.data.remove(&key),
                // What is left is bounded by its types; a note is what a caller can make long.
                None => {
                    cut.note = None;
                    cut.initiator = None;
                    return cut.serialized();
                }
            };
        }
    }

    /// From a line without its LF.
    pub fn from_line(line: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(line)
    }

    fn serialized(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an event has string keys and finite numbers")
    }
}

fn shorten_strings(value: &mut Value) {
    match value {
        Value::String(text) => *text = shortened(text),
        Value::Array(items) => items.iter_mut().for_each(shorten_strings),
        Value::Object(map) => map.values_mut().for_each(shorten_strings),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn shortened(text: &str) -> String {
    text[..text.floor_char_boundary(STRING_BYTES_MAX.min(text.len()))].to_owned()
}

/// Makes the enum of event types with their words.
macro_rules! event_types {
    ($($variant:ident => $word:literal,)+) => {
        /// What can happen to a workspace.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "the words say it, and the protocol page has the table")]
        pub enum EventType {
            $($variant,)+
        }

        impl EventType {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word in the history.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }
    };
}

event_types! {
    Created => "created",
    StartRequested => "start_requested",
    StartRefused => "start_refused",
    VmStarted => "vm_started",
    GuestHello => "guest_hello",
    Ready => "ready",
    StartFailed => "start_failed",
    HaltRequested => "halt_requested",
    HaltTimedOut => "halt_timed_out",
    Halted => "halted",
    StopRequested => "stop_requested",
    StopEscalated => "stop_escalated",
    Stopped => "stopped",
    KillRequested => "kill_requested",
    Killed => "killed",
    Paused => "paused",
    Resumed => "resumed",
    WorkloadStarted => "workload_started",
    WorkloadExited => "workload_exited",
    VmEnded => "vm_ended",
    QuarantineRequested => "quarantine_requested",
    Severed => "severed",
    Quarantined => "quarantined",
    Released => "released",
    Refused => "refused",
    Reconciled => "reconciled",
    FilesDelivered => "files_delivered",
    DiskGrown => "disk_grown",
    MaintenanceStarted => "maintenance_started",
    MaintenanceEnded => "maintenance_ended",
    ClockSet => "clock_set",
    MediationReady => "mediation_ready",
    MediationUnready => "mediation_unready",
    MediationOpened => "mediation_opened",
    MediationClosed => "mediation_closed",
    MediationRefused => "mediation_refused",
    MediationCounted => "mediation_counted",
    PublishedOpened => "published_opened",
    PublishedClosed => "published_closed",
    PublishedCounted => "published_counted",
    SessionOpened => "session_opened",
    SessionClosed => "session_closed",
    GuestSilent => "guest_silent",
    GuestBack => "guest_back",
    GuestMisbehaved => "guest_misbehaved",
    HelperDied => "helper_died",
    LogRepaired => "log_repaired",
    HistoryDamaged => "history_damaged",
    HistoryPruned => "history_pruned",
    RecordRepaired => "record_repaired",
    SerialCut => "serial_cut",
}

impl EventType {
    /// Whether an event of this type may wait for the next sync, 200 ms at most. All others are
    /// synced before the act goes on.
    pub const fn may_wait_for_sync(self) -> bool {
        matches!(
            self,
            Self::SessionOpened
                | Self::SessionClosed
                | Self::PublishedOpened
                | Self::PublishedClosed
                | Self::PublishedCounted
                | Self::MediationOpened
                | Self::MediationClosed
                | Self::MediationRefused
                | Self::MediationCounted
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(data: Map<String, Value>) -> Event {
        let mut new = NewEvent::new(EventType::Ready).state(State::PREPARED);
        new.data = data;
        new.at(
            7,
            "2026-03-04T09:00:00.000Z".parse().unwrap(),
            Sha256Hex::from_bytes([0; 32]),
        )
    }

    #[test]
    fn a_line_has_its_keys_in_the_published_order() {
        let mut event = event(Map::new());
        event.note = Some("n".to_owned());
        event.request_id = Some("r-1".parse().unwrap());
        event.boot_id = Some("01956f12-0be1-7c40-9f3a-2f61d0a4c7b8".parse().unwrap());
        event.initiator = Some(InitiatorRecord {
            channel: "cli".to_owned(),
            subject: Some("uid:0".to_owned()),
        });
        let line = String::from_utf8(event.to_line()).unwrap();
        let places: Vec<usize> = [
            "seq",
            "time",
            "type",
            "state",
            "reason",
            "requestId",
            "initiator",
            "note",
            "bootId",
            "data",
            "prev",
        ]
        .iter()
        .map(|key| line.find(&format!("\"{key}\":")).unwrap())
        .collect();
        assert!(places.is_sorted(), "{line}");
        assert!(
            !line.contains(": ") && !line.contains(", "),
            "no spaces outside strings: {line}"
        );
        assert_eq!(Event::from_line(line.as_bytes()).unwrap(), event);
    }

    #[test]
    fn a_line_of_the_limit_is_whole_and_a_longer_one_is_cut_and_says_so() {
        let with_length = |length: usize| {
            event(Map::from_iter([(
                "text".to_owned(),
                Value::String("x".repeat(length)),
            )]))
        };
        let room = LINE_BYTES_MAX - with_length(0).to_line().len();
        let whole = with_length(room).to_line();
        assert_eq!(whole.len(), LINE_BYTES_MAX);
        assert!(!Event::from_line(&whole).unwrap().data.contains_key("cut"));
        let cut = Event::from_line(&with_length(room + 1).to_line()).unwrap();
        assert_eq!(cut.data["cut"], true);
        assert_eq!(cut.data["text"].as_str().unwrap().len(), STRING_BYTES_MAX);
    }

    #[test]
    fn no_data_makes_a_line_too_long() {
        let many: Map<String, Value> = (0..200)
            .map(|number| (format!("k{number}"), Value::String("\u{1}é".repeat(2000))))
            .collect();
        let line = event(many).to_line();
        assert!(line.len() <= LINE_BYTES_MAX);
        assert_eq!(Event::from_line(&line).unwrap().data["cut"], true);
        let list = Value::Array(vec![Value::from(1); 100_000]);
        let line = event(Map::from_iter([("list".to_owned(), list)])).to_line();
        assert!(line.len() <= LINE_BYTES_MAX);
    }

    #[test]
    fn control_characters_never_break_a_line() {
        let text = "a\nb\r\u{0}\u{1b}[2J\"\\";
        let event = event(Map::from_iter([("text".to_owned(), Value::from(text))]));
        let line = event.to_line();
        assert!(line.iter().all(|byte| *byte >= 0x20), "{line:?}");
        assert_eq!(Event::from_line(&line).unwrap().data["text"], text);
    }

    #[test]
    fn only_connections_may_wait_for_their_sync() {
        for kind in EventType::ALL {
            let word = kind.as_str();
            let connection = ["session_", "published_", "mediation_"]
                .iter()
                .any(|prefix| word.starts_with(prefix));
            let transition = matches!(
                kind,
                EventType::MediationReady | EventType::MediationUnready
            );
            assert_eq!(
                kind.may_wait_for_sync(),
                connection && !transition,
                "{word}"
            );
        }
    }
}
