//! Records, lease and process identity become facts. A separate, dumb job: nothing is judged here.
//!
//! On every doubt the answer is *unknown*, which makes the judge leave things as they are: a pid
//! that counts in another namespace, a start time that can't be read, a compute system that nobody
//! can ask about.

use std::io;

use microagent_machine::facts::{Facts, HostBoot, Lease, Monitor, RecordFact, VmFact};
use microagent_os::lock::LockError;
use microagent_os::process::{self, Found, HostBootId, PidNamespace, ProcessHandle};
use microagent_types::{BootId, WorkspaceId};

use crate::event_log::{EventLog, EventLogError, ReadFrom};
use crate::event_record::{Event, EventType};
use crate::lease;
use crate::paths::WorkspacePaths;
use crate::record_store::{self, RecordError, Stored};
use crate::runtime_record::{MonitorRecord, RuntimeRecord, VmRecord};

/// What only the caller can ask.
pub trait Observer {
    /// Whether the monitor answers within its second. Only asked while the lease is held.
    fn monitor(&self) -> Monitor;

    /// Whether a compute system lives. Hosts without them don't know.
    fn compute_system(&self, _system_id: &str) -> VmFact {
        VmFact::Unknown
    }
}

/// Why there are no facts.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// The record was written by a newer program, or its file can't be reached.
    #[error(transparent)]
    Record(RecordError),
    /// The lease can't be tried.
    #[error(transparent)]
    Lease(#[from] LockError),
    /// The history can't be read.
    #[error(transparent)]
    History(#[from] EventLogError),
    /// The host does not say in which boot it is.
    #[error("cannot read the host's boot id")]
    HostBoot(#[source] io::Error),
    /// This process can't tell its pid namespace.
    #[error("cannot read the pid namespace")]
    Namespace(#[source] io::Error),
}

/// Facts, with the record that they were read from.
#[derive(Debug)]
pub struct Observation {
    /// The facts.
    pub facts: Facts,
    /// The record, when it could be read.
    pub record: Option<Stored<RuntimeRecord>>,
    /// Why it could not.
    pub unreadable: Option<String>,
}

/// Observes a workspace.
pub fn observe(
    paths: &WorkspacePaths,
    id: WorkspaceId,
    observer: &dyn Observer,
) -> Result<Observation, FactsError> {
    let lease = lease::observe(paths)?;
    let monitor = match lease {
        Lease::Held => observer.monitor(),
        Lease::Free => Monitor::Silent,
    };
    // After the monitor: while it lives it writes, and its last write comes before its lease goes.
    let (record, unreadable) = match record_store::read::<RuntimeRecord>(&paths.runtime_record()) {
        Ok(Some(record)) => (Some(record), None),
        Ok(None) => (None, Some("the record is missing".to_owned())),
        Err(error) if error.is_corrupt() => (None, Some(text_of(&error))),
        Err(error) => return Err(FactsError::Record(error)),
    };
    let Some(stored) = record else {
        let facts = Facts {
            record: RecordFact::Unreadable,
            host_boot: HostBoot::Same,
            lease,
            monitor,
            vm: VmFact::Unknown,
        };
        return Ok(Observation {
            facts,
            record: None,
            unreadable,
        });
    };
    let record = &stored.value;
    let host_boot = host_boot_of(record).map_err(FactsError::HostBoot)?;
    let namespace = process::pid_namespace().map_err(FactsError::Namespace)?;
    let vm = vm_of(record, host_boot, namespace, observer);
    let vm_started = was_started(paths, id, record)?;
    let facts = |record| Facts {
        record,
        host_boot,
        lease,
        monitor,
        vm,
    };
    Ok(match record.recorded(vm_started) {
        Ok(recorded) => Observation {
            facts: facts(RecordFact::Readable(recorded)),
            record: Some(stored),
            unreadable: None,
        },
        Err(error) => Observation {
            facts: facts(RecordFact::Unreadable),
            record: None,
            unreadable: Some(text_of(&error)),
        },
    })
}

fn text_of(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn host_boot_of(record: &RuntimeRecord) -> io::Result<HostBoot> {
    let Some(boot) = &record.boot else {
        return Ok(HostBoot::Same);
    };
    let now = process::host_boot_id()?;
    Ok(match HostBootId::from_recorded(&boot.host_boot_id) {
        Ok(recorded) if recorded == now => HostBoot::Same,
        _ => HostBoot::Changed,
    })
}

fn vm_of(
    record: &RuntimeRecord,
    host_boot: HostBoot,
    namespace: PidNamespace,
    observer: &dyn Observer,
) -> VmFact {
    let Some(vm) = &record.vm else {
        return VmFact::Gone;
    };
    if host_boot == HostBoot::Changed {
        return VmFact::Gone;
    }
    if let Some(system_id) = &vm.system_id {
        return observer.compute_system(system_id);
    }
    let foreign = record.monitor.as_ref().and_then(MonitorRecord::namespace);
    if foreign.is_some_and(|recorded| recorded != namespace) {
        return VmFact::Unknown;
    }
    vm_process(vm)
}

fn vm_process(vm: &VmRecord) -> VmFact {
    match vm.identity() {
        Ok(Some(identity)) => match ProcessHandle::open(&identity) {
            Found::Alive(_) => VmFact::Alive,
            Found::Gone => VmFact::Gone,
            Found::Unknown(_) => VmFact::Unknown,
        },
        Ok(None) => VmFact::Gone,
        // An identity that no process can have is nobody's.
        Err(_) => VmFact::Gone,
    }
}

/// Whether the history has `vm_started` for the boot of a record that is `starting`. In every
/// other state nobody asks.
fn was_started(
    paths: &WorkspacePaths,
    id: WorkspaceId,
    record: &RuntimeRecord,
) -> Result<bool, FactsError> {
    use microagent_machine::state::State;
    let (Ok(State::Starting { .. }), Some(boot_id)) = (record.state(), record.boot_id()) else {
        return Ok(false);
    };
    history_has(&EventLog::new(paths, id), EventType::VmStarted, boot_id)
}

/// Whether a history has an event of this type for this boot.
fn history_has(log: &EventLog, kind: EventType, boot_id: BootId) -> Result<bool, FactsError> {
    for line in log.lines(ReadFrom::Start)? {
        if let Ok(event) = Event::from_line(&line?)
            && event.kind == kind.as_str()
            && event.boot_id == Some(boot_id)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests;
