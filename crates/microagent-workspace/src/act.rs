//! Acts on workspaces that are there: one supervisor request each, several workspaces at once.
//!
//! ```text
//! names -> one thread each -> find -> supervisor -> report     in the order of the names
//! ```
//!
//! One failure does not stop the others. Meaning and limits of the verbs are the supervisor's; the
//! files named after them (`start`, `halt`, `stop`, …) say what may be set.

use crate::context::Context;
use crate::error::WorkspaceError;
use crate::existing;
use crate::interrupt::Interrupt;
use crate::making::request;
use crate::supervisor_client::{Supervisor as _, accept};
use microagent_os::clock;
use microagent_types::WorkspaceName;
use microagent_wire::supervisor::request::{Command, Options};
use microagent_wire::supervisor::response::{Ending, Response, Severed, Workspace};
use std::time::{Duration, Instant};

/// Most workspaces that are acted on at the same time.
pub(crate) const AT_ONCE_MAX: usize = 16;

/// An act on one workspace: what to ask, and how long the answer may take.
#[derive(Debug, Clone)]
pub(crate) struct Act {
    pub(crate) command: Command,
    pub(crate) options: Options,
    pub(crate) note: Option<String>,
    pub(crate) limit: Duration,
}

/// What came of an act on one workspace.
#[derive(Debug)]
pub struct ActReport {
    /// Which workspace.
    pub name: WorkspaceName,
    /// What came of it.
    pub result: Result<Acted, WorkspaceError>,
    /// How long it took.
    pub duration: Duration,
}

/// A successful act.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Acted {
    /// Whether anything was changed; false when it was so already.
    pub changed: bool,
    /// The workspace after it; none after a delete.
    pub workspace: Option<Box<Workspace>>,
    /// With `halt`, `stop` and `kill`.
    pub ending: Option<Ending>,
    /// With `quarantine`.
    pub severed: Option<Severed>,
    /// With `delete`: whether there was anything.
    pub deleted: bool,
    /// With `delete`.
    pub freed_bytes: u64,
    /// With `start`: from the launch to ready, in milliseconds.
    pub ready_ms: Option<u64>,
    /// Facts that did not stop the act.
    pub warnings: Vec<String>,
}

/// Performs one act on each workspace and reports in the order of the names. A repeated name counts
/// once.
pub(crate) fn on_each(
    context: &Context,
    names: &[WorkspaceName],
    act: &Act,
    interrupt: &Interrupt,
) -> Vec<ActReport> {
    in_parallel(names, |name| on_one(context, name, act, interrupt))
}

/// Calls `work` for every name, at most [`AT_ONCE_MAX`] at a time.
pub(crate) fn in_parallel(
    names: &[WorkspaceName],
    work: impl Fn(&WorkspaceName) -> Result<Acted, WorkspaceError> + Sync,
) -> Vec<ActReport> {
    let mut unique: Vec<&WorkspaceName> = Vec::new();
    for name in names {
        if !unique.contains(&name) {
            unique.push(name);
        }
    }
    let timed = |name: &WorkspaceName| {
        let began: Instant = clock::monotonic();
        let result = work(name);
        let duration = clock::monotonic().duration_since(began);
        ActReport {
            name: name.clone(),
            result,
            duration,
        }
    };
    let timed = &timed;
    let mut reports = Vec::with_capacity(unique.len());
    for some in unique.chunks(AT_ONCE_MAX) {
        if let [only] = some {
            reports.push(timed(only));
            continue;
        }
        std::thread::scope(|scope| {
            let started: Vec<_> = some
                .iter()
                .map(|name| scope.spawn(move || timed(name)))
                .collect();
            for thread in started {
                reports.push(thread.join().expect("an act does not panic"));
            }
        });
    }
    reports
}

/// Performs one act on one workspace that must be there.
pub(crate) fn on_one(
    context: &Context,
    name: &WorkspaceName,
    act: &Act,
    interrupt: &Interrupt,
) -> Result<Acted, WorkspaceError> {
    existing::check_backend(context)?;
    let existing = existing::find(context, name)?;
    let mut request = request(context, name, act.command);
    request.options = act.options.clone();
    request.note.clone_from(&act.note);
    let response = existing
        .supervisor
        .ask(&request, act.limit, interrupt)
        .and_then(accept)?;
    Ok(Acted::of(response))
}

impl Acted {
    /// What a response that says `ok` tells.
    pub(crate) fn of(response: Response) -> Self {
        Self {
            changed: response.changed.unwrap_or(false),
            ready_ms: response.timings.map(|timings| timings.ready_ms),
            workspace: response.workspace,
            ending: response.ending,
            severed: response.severed,
            deleted: response.deleted.unwrap_or(false),
            freed_bytes: response.freed_bytes.unwrap_or(0),
            warnings: response.warnings,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Acted, in_parallel};
    use microagent_types::WorkspaceName;

    #[test]
    fn every_name_is_acted_on_once_and_reported_in_order() {
        let names: Vec<WorkspaceName> = (0..40)
            .map(|number| {
                format!("w{}", number % 20)
                    .parse::<WorkspaceName>()
                    .unwrap()
            })
            .collect();
        let reports = in_parallel(&names, |_| Ok(Acted::default()));
        let reported: Vec<&WorkspaceName> = reports.iter().map(|report| &report.name).collect();
        assert_eq!(reported, names[..20].iter().collect::<Vec<_>>());
    }
}
