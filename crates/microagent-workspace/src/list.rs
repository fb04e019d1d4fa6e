//! `list`: every workspace in a line, and none of them can delay another.
//!
//! ```text
//! names -> threads -> record + lease -> held: ask the monitor, 250 ms -> summary
//!                                    -> free: what the record says, judged as a reconciliation would
//! ```
//!
//! No process is started, no lock is taken and nothing is written: what a crash left is shown as what
//! it will be recorded as, by whoever acts next.

use crate::act::AT_ONCE_MAX;
use crate::context::Context;
use crate::error::WorkspaceError;
use crate::monitor_client::{ask_once, monitor_socket};
use microagent_machine::facts::Monitor;
use microagent_machine::reconcile::{Freshness, Verdict, reconcile};
use microagent_state::facts_reader::{self, Observation, Observer};
use microagent_state::paths::{StateDirectory, StateDirectoryError, WorkspacePaths};
use microagent_state::{RuntimeRecord, WorkspaceRecord, record_store};
use microagent_types::{
    BackendName, ByteSize, LabelName, PublishSpec, Timestamp, VcpuCount, WorkspaceId, WorkspaceName,
};
use microagent_wire::fault::{Fault, FaultKind};
use microagent_wire::monitor::request::{MonitorOp, MonitorRequest};
use microagent_wire::supervisor::response::{Traffic, Workspace};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long one monitor may take.
const MONITOR_LIMIT: Duration = Duration::from_millis(250);

/// One workspace in short.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Its name.
    pub name: WorkspaceName,
    /// The rest of it, or why its record can't be read.
    pub known: Result<Box<Known>, Fault>,
}

/// What is known of a workspace whose record can be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// Its identity.
    pub id: WorkspaceId,
    /// Its state, a word of the lifecycle.
    pub state: String,
    /// The reason of the state.
    pub reason: String,
    /// Since when.
    pub state_since: Timestamp,
    /// The record could not be checked in time.
    pub stale: bool,
    /// Whether its VM lives.
    pub alive: bool,
    /// Its backend.
    pub backend: BackendName,
    /// The accelerator of its current or last boot.
    pub accelerator: Option<String>,
    /// The image it came from.
    pub image: Option<String>,
    /// Its profile.
    pub profile: Option<String>,
    /// Its memory.
    pub memory: ByteSize,
    /// Its CPUs.
    pub cpus: VcpuCount,
    /// The size of its root disk.
    pub disk: ByteSize,
    /// Its network mode.
    pub network_mode: String,
    /// Its published ports, the real ones while it runs.
    pub publish: Vec<PublishSpec>,
    /// Connections that are open to published ports and through the mediation channel.
    pub open_connections: u64,
    /// What has crossed between its guest and everything else in this boot, while it runs.
    pub traffic: Option<Traffic>,
    /// Its labels.
    pub labels: BTreeMap<LabelName, String>,
    /// Whether it was ever quarantined.
    pub quarantined: bool,
    /// The code of its workload's last end.
    pub exit_code: Option<i32>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether it goes when its one run ends.
    pub ephemeral: bool,
}

/// The names of all workspaces, by name; none of them is looked at.
///
/// # Errors
/// When the state directory can't be read.
pub fn names(context: &Context) -> Result<Vec<WorkspaceName>, WorkspaceError> {
    let state = StateDirectory::at(&context.state_dir);
    if !microagent_os::fs::is_present(state.root()) {
        return Ok(Vec::new());
    }
    state.check()?;
    Ok(state.list_names().map_err(StateDirectoryError::from)?)
}

/// Tells every workspace, by name.
///
/// ```no_run
/// # use microagent_workspace::{Context, Interrupt};
/// # let context = Context::new("/home/me/.microagent".parse()?)?;
/// # let interrupt = Interrupt::new();
/// use microagent_workspace::list;
///
/// for summary in list(&context)? {
///     match summary.known {
///         Ok(known) => println!("{} {}", summary.name, known.state),
///         Err(fault) => eprintln!("{}: {}", summary.name, fault.message),
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// When the state directory itself can't be read. A record that can't be read is a summary that says so.
pub fn list(context: &Context) -> Result<Vec<Summary>, WorkspaceError> {
    let state = StateDirectory::at(&context.state_dir);
    if !microagent_os::fs::is_present(state.root()) {
        return Ok(Vec::new());
    }
    state.check()?;
    let names = state.list_names().map_err(StateDirectoryError::from)?;
    let mut summaries = Vec::with_capacity(names.len());
    // Each thread takes the next name when it is free, so one that waits for a monitor delays nobody.
    let next = AtomicUsize::new(0);
    let some = || {
        let mut some = Vec::new();
        while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
            some.extend(summarise(&state.workspace(name)));
        }
        some
    };
    std::thread::scope(|scope| {
        let threads = AT_ONCE_MAX.min(names.len());
        let started: Vec<_> = (0..threads).map(|_| scope.spawn(some)).collect();
        for thread in started {
            summaries.extend(thread.join().expect("a summary does not panic"));
        }
    });
    summaries.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(summaries)
}

/// None for a folder that is no workspace, or none any more.
fn summarise(paths: &WorkspacePaths) -> Option<Summary> {
    let name = paths.name().clone();
    let record = match record_store::read::<WorkspaceRecord>(&paths.workspace_record()) {
        Ok(stored) => stored?.value,
        Err(error) => {
            let fault = Fault::from_error(FaultKind::Integrity, &error);
            return Some(Summary {
                name,
                known: Err(fault),
            });
        }
    };
    if record.deleting.is_some() {
        return None;
    }
    let asked = AskedMonitor {
        paths,
        told: RefCell::new(None),
    };
    let known = match facts_reader::observe(paths, record.id, &asked) {
        Ok(observation) => judge(&record, &observation, asked.told.into_inner().as_deref()),
        Err(error) => Err(Fault::from_error(FaultKind::Integrity, &error)),
    };
    Some(Summary { name, known })
}

/// Asks the monitor once and keeps what it told.
struct AskedMonitor<'a> {
    paths: &'a WorkspacePaths,
    told: RefCell<Option<Box<Workspace>>>,
}

impl Observer for AskedMonitor<'_> {
    fn monitor(&self) -> Monitor {
        let request = MonitorRequest::new(MonitorOp::Status { probe: false });
        let answer = monitor_socket(self.paths)
            .ok()
            .and_then(|socket| ask_once(&socket, &request, MONITOR_LIMIT).ok());
        match answer.and_then(|answer| answer.workspace) {
            Some(workspace) => {
                self.told.replace(Some(workspace));
                Monitor::Answers
            }
            None => Monitor::Silent,
        }
    }
}

fn judge(
    record: &WorkspaceRecord,
    observation: &Observation,
    told: Option<&Workspace>,
) -> Result<Box<Known>, Fault> {
    if let Some(told) = told {
        return Ok(Box::new(from_monitor(record, told)));
    }
    let runtime = observation
        .record
        .as_ref()
        .map(|stored| &stored.value)
        .ok_or_else(|| {
            let fault = Fault::new(FaultKind::Integrity, "its runtime record cannot be read");
            match &observation.unreadable {
                Some(why) => fault.with_cause(why.as_str()),
                None => fault,
            }
        })?;
    let (state, stale) = match reconcile(observation.facts) {
        Verdict::Becomes(outcome) | Verdict::EndUnownedVm(outcome) => (Some(outcome.state), false),
        Verdict::Unchanged(Freshness::Stale)
        | Verdict::MonitorFinishing
        | Verdict::TrustMonitor
        | Verdict::MonitorRestoresRecord => (None, true),
        Verdict::Unchanged(Freshness::Current)
        | Verdict::RecordLost
        | Verdict::ClearMaintenance
        | Verdict::Contradiction => (None, false),
    };
    let mut known = from_records(record, runtime, stale);
    if let Some(state) = state {
        state.name().as_str().clone_into(&mut known.state);
        state.reason().clone_into(&mut known.reason);
        known.alive = false;
    }
    Ok(Box::new(known))
}

fn from_monitor(record: &WorkspaceRecord, told: &Workspace) -> Known {
    let publish = told.network.publish.iter().map(|publish| PublishSpec {
        host: publish.host,
        host_port: publish.host_port,
        guest_port: publish.guest_port,
    });
    Known {
        state: told.state.clone(),
        reason: told.reason.clone(),
        state_since: told.state_since,
        stale: told.stale,
        alive: told.vm.as_ref().is_some_and(|vm| vm.alive),
        accelerator: told.accelerator.clone(),
        memory: told.resources.memory_bytes,
        cpus: told.resources.cpus,
        publish: publish.collect(),
        open_connections: open_connections(told),
        traffic: told.network.traffic,
        quarantined: told.quarantine.is_some(),
        exit_code: told.exit.as_ref().and_then(|exit| exit.code),
        ..from_config(record)
    }
}

fn open_connections(told: &Workspace) -> u64 {
    let published = told
        .network
        .publish
        .iter()
        .map(|port| port.open_connections);
    let mediated = told
        .mediation
        .iter()
        .map(|channel| channel.open_connections);
    published.chain(mediated).sum()
}

fn from_records(record: &WorkspaceRecord, runtime: &RuntimeRecord, stale: bool) -> Known {
    let state = runtime.state().ok();
    Known {
        state: state.map_or("?", |state| state.name().as_str()).to_owned(),
        reason: state.map_or("?", |state| state.reason()).to_owned(),
        state_since: runtime.state_since(),
        stale,
        alive: state.is_some_and(microagent_machine::State::is_live),
        accelerator: runtime
            .accelerator()
            .map(|accelerator| accelerator.as_str().to_owned()),
        exit_code: runtime.exit.as_ref().and_then(|exit| exit.code),
        ..from_config(record)
    }
}

fn from_config(record: &WorkspaceRecord) -> Known {
    let config = &record.config;
    let publish = config.network.publish.iter().map(|publish| PublishSpec {
        host: publish.host,
        host_port: publish.host_port,
        guest_port: publish.guest_port,
    });
    Known {
        id: record.id,
        state: String::new(),
        reason: String::new(),
        state_since: record.created_at,
        stale: false,
        alive: false,
        backend: record.backend,
        accelerator: None,
        image: config
            .image
            .as_ref()
            .and_then(|image| image.reference.clone()),
        profile: config.profile.clone(),
        memory: config.memory_bytes,
        cpus: config.cpus,
        disk: config.root_disk.size_bytes,
        network_mode: config.network.mode.clone(),
        publish: publish.collect(),
        open_connections: 0,
        traffic: None,
        labels: config.labels.clone(),
        quarantined: record.quarantine.is_some(),
        exit_code: None,
        created_at: record.created_at,
        ephemeral: config.ephemeral,
    }
}
