//! `workspace.json`: what a workspace is. Its presence makes a folder a workspace.
//!
//! Written only under the workspace lock. Identity never changes after the first write; the
//! quarantine mark is never removed.

use microagent_types::{BackendName, RequestId, Timestamp, WorkspaceId, WorkspaceName};
use serde::{Deserialize, Serialize};

use crate::config_record::ConfigRecord;

/// The workspace record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceRecord {
    /// What it is for as long as it exists.
    pub id: WorkspaceId,
    /// Its name.
    pub name: WorkspaceName,
    /// Its backend.
    pub backend: BackendName,
    /// When it was made.
    pub created_at: Timestamp,
    /// The version that made it.
    pub created_by: String,
    /// What every start uses.
    pub config: ConfigRecord,
    /// When the guest confirmed the files of its first boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files_delivered: Option<Timestamp>,
    /// The lasting mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<QuarantineMark>,
    /// A delete that was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleting: Option<Deleting>,
}

/// That a workspace was quarantined. It stays for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QuarantineMark {
    /// The first time.
    pub first_at: Timestamp,
    /// The last time.
    pub last_at: Timestamp,
    /// How often.
    pub count: u64,
    /// Why, the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Whether it is in force.
    pub active: bool,
}

/// A delete that was begun and must be finished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deleting {
    /// When.
    pub at: Timestamp,
    /// By which request.
    pub request_id: RequestId,
}

impl WorkspaceRecord {
    /// Marks it quarantined.
    pub fn mark_quarantined(&mut self, at: Timestamp, note: Option<String>) {
        let before = self.quarantine.take();
        self.quarantine = Some(QuarantineMark {
            first_at: before.as_ref().map_or(at, |mark| mark.first_at),
            last_at: at,
            count: before
                .as_ref()
                .map_or(0, |mark| mark.count)
                .saturating_add(1),
            note: note.or_else(|| before.and_then(|mark| mark.note)),
            active: true,
        });
    }

    /// Takes the mark out of force; it stays.
    pub fn release_quarantine(&mut self) {
        if let Some(mark) = &mut self.quarantine {
            mark.active = false;
        }
    }

    /// Whether a quarantine is in force.
    pub fn is_quarantined(&self) -> bool {
        self.quarantine.as_ref().is_some_and(|mark| mark.active)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::config_record::tests::full_spec;

    pub(crate) fn workspace_record() -> WorkspaceRecord {
        WorkspaceRecord {
            id: "01956f10-7a3c-7b11-8c2e-5d0f3a9b6e21".parse().unwrap(),
            name: "scout".parse().unwrap(),
            backend: BackendName::Qemu,
            created_at: "2026-03-04T09:00:00.000Z".parse().unwrap(),
            created_by: "0.1.0".to_owned(),
            config: ConfigRecord::from(&full_spec()),
            files_delivered: None,
            quarantine: None,
            deleting: None,
        }
    }

    #[test]
    fn a_mark_is_counted_and_stays_when_it_is_released() {
        let mut record = workspace_record();
        let first: Timestamp = "2026-03-04T09:00:00.000Z".parse().unwrap();
        let second: Timestamp = "2026-03-05T09:00:00.000Z".parse().unwrap();
        record.mark_quarantined(first, Some("odd traffic".to_owned()));
        assert!(record.is_quarantined());
        record.release_quarantine();
        assert!(!record.is_quarantined());
        record.mark_quarantined(second, None);
        assert_eq!(
            record.quarantine,
            Some(QuarantineMark {
                first_at: first,
                last_at: second,
                count: 2,
                note: Some("odd traffic".to_owned()),
                active: true,
            })
        );
    }
}
