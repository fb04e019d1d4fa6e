//! What is said about a segment before it is removed: enough to prove where the kept history
//! begins, and what the workspace went through.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use serde_json::{Value, json};

use super::EventLogError;
use super::read::LinesOfFile;
use crate::event_chain::line_hash;
use crate::event_record::{Event, EventType, NewEvent};

/// State changes that are kept of a segment: the last ones.
const STATE_CHANGES_MAX: usize = 256;

pub(super) fn summary(segment: &Path) -> Result<NewEvent, EventLogError> {
    let mut first = None;
    let mut last = 0;
    let mut last_hash = None;
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let mut states: VecDeque<Value> = VecDeque::new();
    for line in LinesOfFile::open(segment)? {
        let line = line?;
        last_hash = Some(line_hash(&line));
        let Ok(event) = Event::from_line(&line) else {
            last += 1;
            *counts.entry("unreadable".to_owned()).or_default() += 1;
            continue;
        };
        first.get_or_insert(event.seq);
        last = event.seq;
        // A word that no program of ours writes must not make this line long.
        let known = EventType::ALL
            .iter()
            .any(|kind| kind.as_str() == event.kind);
        let kind = if known {
            event.kind
        } else {
            "other".to_owned()
        };
        *counts.entry(kind).or_default() += 1;
        if let (Some(state), Some(reason)) = (event.state, event.reason) {
            if states.len() == STATE_CHANGES_MAX {
                states.pop_front();
            }
            let time = event.time.to_string();
            states.push_back(json!([event.seq, time, state, reason]));
        }
    }
    let mut pruned = NewEvent::new(EventType::HistoryPruned)
        .with("firstSeq", first.unwrap_or(last))
        .with("lastSeq", last)
        .with("counts", json!(counts))
        .with("states", Value::Array(states.into()));
    if let Some(hash) = last_hash {
        pruned = pruned.with("lastHash", hash.to_string());
    }
    Ok(pruned)
}
