//! What a `run` that was killed has left: found by the next `run` and removed.
//!
//! The VM is gone by then, since it ends with its client; what stays is a workspace that nobody wants.
//! A kept workspace, one whose boot failed (its log is evidence) and one that another `run` is working
//! on are never touched.

use crate::act::Act;
use crate::context::Context;
use crate::interrupt::Interrupt;
use crate::list::{Known, Summary, list};
use crate::progress::{Progress, ProgressEvent};
use microagent_os::clock;
use microagent_types::{Timestamp, WorkspaceName};
use microagent_wire::supervisor::request::{Command, Options};
use std::time::Duration;

/// A `run` starts what it has prepared within seconds; what is prepared for so long is nobody's.
const PREPARED_MS_MAX: u64 = 600_000;
/// Removing the disk of a workspace takes its time on some file systems.
const DELETE_LIMIT: Duration = Duration::from_mins(1);

/// Removes what killed runs have left, and says so.
pub(crate) fn sweep(context: &Context, progress: &mut dyn Progress, interrupt: &Interrupt) {
    // A state directory that can't be read is reported by what needs it.
    let Ok(summaries) = list(context) else { return };
    let act = Act {
        command: Command::Delete,
        options: Options::default(),
        note: Some("left by a run that was killed".to_owned()),
        limit: DELETE_LIMIT,
    };
    for name in leftovers(&summaries, clock::now()) {
        let note = match crate::act::on_one(context, name, &act, interrupt) {
            Ok(_) => format!("`{name}` was left by a run that was killed, and is removed"),
            Err(error) => format!("`{name}` was left by a run that was killed: {error}"),
        };
        progress.report(ProgressEvent::Note(note));
    }
}

fn leftovers(summaries: &[Summary], now: Timestamp) -> impl Iterator<Item = &WorkspaceName> {
    summaries.iter().filter_map(move |summary| {
        let known = summary.known.as_ref().ok()?;
        is_leftover(known, now).then_some(&summary.name)
    })
}

fn is_leftover(known: &Known, now: Timestamp) -> bool {
    let orphaned = match (known.state.as_str(), known.reason.as_str()) {
        ("stopped", "client_gone" | "interrupted")
        | ("failed", "monitor_died" | "host_rebooted") => true,
        ("prepared", _) => now.ms_since(known.state_since) > PREPARED_MS_MAX,
        _ => false,
    };
    known.ephemeral && !known.alive && !known.stale && !known.quarantined && orphaned
}

#[cfg(test)]
mod tests {
    use super::is_leftover;
    use crate::list::Known;
    use microagent_types::{ByteSize, Timestamp, VcpuCount, WorkspaceId};
    use std::collections::BTreeMap;

    const NOW: u64 = 10_000_000;

    fn known(state: &str, reason: &str) -> Known {
        let moment = Timestamp::from_unix_ms(NOW - 1000);
        Known {
            id: WorkspaceId::from_parts(1, [0; 10]),
            state: state.into(),
            reason: reason.into(),
            state_since: moment,
            stale: false,
            alive: false,
            backend: microagent_types::BackendName::Qemu,
            accelerator: None,
            image: None,
            profile: None,
            memory: ByteSize::from_mib(512),
            cpus: VcpuCount::new(1).unwrap(),
            disk: ByteSize::from_mib(1024),
            network_mode: "nat".into(),
            publish: Vec::new(),
            open_connections: 0,
            traffic: None,
            labels: BTreeMap::new(),
            quarantined: false,
            exit_code: None,
            created_at: moment,
            ephemeral: true,
        }
    }

    #[test]
    fn only_what_a_killed_run_left_is_removed() {
        let now = Timestamp::from_unix_ms(NOW);
        for (state, reason, leftover) in [
            ("stopped", "client_gone", true),
            ("stopped", "interrupted", true),
            ("failed", "monitor_died", true),
            ("failed", "host_rebooted", true),
            ("failed", "boot_failed", false),
            ("failed", "vm_died", false),
            ("stopped", "killed", false),
            ("running", "ready", false),
            ("starting", "start_requested", false),
            ("prepared", "created", false),
            ("quarantined", "vm_gone", false),
        ] {
            assert_eq!(
                is_leftover(&known(state, reason), now),
                leftover,
                "{state} {reason}"
            );
        }
    }

    #[test]
    fn a_kept_one_a_living_one_and_a_quarantined_one_are_never_removed() {
        let now = Timestamp::from_unix_ms(NOW);
        let changes: [fn(&mut Known); 4] = [
            |known| known.ephemeral = false,
            |known| known.alive = true,
            |known| known.stale = true,
            |known| known.quarantined = true,
        ];
        for change in changes {
            let mut known = known("stopped", "client_gone");
            change(&mut known);
            assert!(!is_leftover(&known, now));
        }
    }

    #[test]
    fn a_prepared_one_is_left_to_its_run_for_ten_minutes() {
        let mut known = known("prepared", "created");
        known.state_since = Timestamp::from_unix_ms(0);
        assert!(!is_leftover(&known, Timestamp::from_unix_ms(600_000)));
        assert!(is_leftover(&known, Timestamp::from_unix_ms(600_001)));
    }
}
