//! `doctor`: what works on this host, what does not, and how to get it.
//!
//! Facts come from the supervisors' host reports and from looks at the installation; the judgement
//! (`judge`) looks at nothing else. Each check says what was found; one that is not fine says what to do.

mod judge;
mod mend;
#[cfg(test)]
mod tests;

use crate::backend_choice::candidates_of;
use crate::context::Context;
use crate::interrupt::Interrupt;
use crate::supervisors::{self, Detail, Surveyed};
use microagent_os::{clone_file, fs, namespace_switch};
use microagent_types::backend::HostOs;
use microagent_types::{BackendName, ByteSize};
use std::path::Path;

pub use mend::{Mended, mend};

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckStatus {
    /// It is fine.
    Ok,
    /// It works, with less than could be had.
    Warn,
    /// It does not work.
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its word.
    pub id: &'static str,
    /// How it came out.
    pub status: CheckStatus,
    /// Whether a VM can start without it.
    pub required: bool,
    /// What was found.
    pub message: String,
    /// What to do.
    pub fix: Option<String>,
}

impl Check {
    /// What it means for workspaces when this is not fine.
    pub fn meaning(&self) -> &'static str {
        judge::meaning(self.id)
    }
}

impl Check {
    fn ok(id: &'static str, message: impl Into<String>) -> Self {
        Self {
            id,
            status: CheckStatus::Ok,
            required: false,
            message: message.into(),
            fix: None,
        }
    }

    fn warn(id: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            status: CheckStatus::Warn,
            fix: Some(fix.into()),
            ..Self::ok(id, message)
        }
    }

    fn fail(id: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            status: CheckStatus::Fail,
            ..Self::warn(id, message, fix)
        }
    }

    fn required(mut self) -> Self {
        self.required = true;
        self
    }
}

/// Everything that `doctor` found.
#[derive(Debug)]
pub struct DoctorReport {
    /// The backend that a new workspace would get.
    pub backend: Option<BackendName>,
    /// The accelerator that it would use.
    pub accelerator: Option<String>,
    /// Every check, in the order in which a person should read them.
    pub checks: Vec<Check>,
    /// What the supervisors of this host said.
    pub surveyed: Vec<Surveyed>,
    /// Free space at the state directory.
    pub free_bytes: Option<ByteSize>,
    /// Whether disks can share blocks there; none where nothing can be tried.
    pub reflink: Option<bool>,
}

impl DoctorReport {
    /// Whether every required check is fine.
    pub fn is_fine(&self) -> bool {
        !self
            .checks
            .iter()
            .any(|check| check.required && check.status == CheckStatus::Fail)
    }
}

/// Looks at everything. Changes nothing.
pub fn doctor(context: &Context, interrupt: &Interrupt) -> DoctorReport {
    let surveyed: Vec<Surveyed> = match context.backend {
        Some(backend) => vec![supervisors::ask_host(
            context,
            backend,
            Detail::Versions,
            interrupt,
        )],
        None => candidates_of(HostOs::current())
            .into_iter()
            .map(|backend| supervisors::ask_host(context, backend, Detail::Versions, interrupt))
            .collect(),
    };
    let chosen = surveyed.iter().find(|asked| asked.refusal().is_none());
    let report = chosen
        .or_else(|| surveyed.iter().find(|asked| asked.report.is_ok()))
        .and_then(|asked| asked.report.as_ref().ok());
    let backend = chosen.map(|asked| asked.backend);
    let accelerator = report.and_then(|report| report.accelerator.clone());
    let place = nearest_folder(context);
    let free_bytes = place.and_then(free_space);
    let reflink = place.and_then(clone_file::can_share);

    let mut checks = vec![judge::backend(&surveyed, report.map(AsRef::as_ref))];
    checks.insert(0, judge::host(report.map(AsRef::as_ref)));
    checks.extend(report.map(|report| judge::accelerator(report)));
    checks.push(judge::supervisor(&surveyed));
    checks.push(judge::guest_init(context));
    checks.extend(
        report
            .map(|report| judge::programs(report))
            .into_iter()
            .flatten(),
    );
    checks.push(judge::kernel(context, backend));
    checks.extend(report.map(|report| {
        judge::confinement(report, namespace_switch::found().map(|switch| switch.fix))
    }));
    checks.extend(report.map(|report| judge::network(report)));
    checks.push(judge::state(context, free_bytes, reflink));
    DoctorReport {
        backend,
        accelerator,
        checks,
        surveyed,
        free_bytes,
        reflink,
    }
}

/// The state directory, or the folder in which it would be made.
fn nearest_folder(context: &Context) -> Option<&Path> {
    let mut folder = context.state_dir.as_path();
    while !fs::is_folder(folder) {
        folder = folder.parent()?;
    }
    Some(folder)
}

fn free_space(folder: &Path) -> Option<ByteSize> {
    let space = fs::space(folder).ok()?;
    Some(ByteSize::from_bytes(space.available_bytes))
}
