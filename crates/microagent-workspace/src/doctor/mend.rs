//! `doctor --fix`: what can be put right without privileges and without a choice of somebody's.
//!
//! Nothing is deleted, nothing of another user is touched, no program is installed.

use super::DoctorReport;
use crate::context::Context;
use crate::interrupt::Interrupt;
use crate::kernels::{self, KernelSource};
use crate::progress::Progress;
use microagent_os::dirs::{self, PrivateFolderError};
use microagent_os::fs;
use microagent_types::Arch;
use microagent_wire::fault::Fault;

/// Something that was put right, or could not be.
#[derive(Debug)]
pub struct Mended {
    /// The check that it belongs to.
    pub id: &'static str,
    /// What was done.
    pub result: Result<String, Fault>,
}

/// Puts right what `report` found. What is fine is left alone, so a second call does nothing.
pub fn mend(
    context: &Context,
    report: &DoctorReport,
    progress: &mut dyn Progress,
    interrupt: &Interrupt,
) -> Vec<Mended> {
    let mut mended = Vec::new();
    mended.extend(state_directory(context));
    mended.extend(kernel(context, report, progress, interrupt));
    mended
}

/// Only the mode: a folder of somebody else is no business of this command.
fn state_directory(context: &Context) -> Option<Mended> {
    let dir = context.state_dir.as_path();
    let open = fs::is_present(dir)
        && matches!(
            dirs::check_private(dir),
            Err(PrivateFolderError::OpenToOthers { .. })
        );
    if !open {
        return None;
    }
    let closed = dirs::close_to_others(dir).map_err(|error| {
        let kind = crate::error::kind_of_file_error(&error);
        Fault::from_error(kind, &error)
    });
    Some(Mended {
        id: "state",
        result: closed.map(|()| format!("`{}` is for its owner alone", dir.display())),
    })
}

/// The default kernel, which a first start would install too.
fn kernel(
    context: &Context,
    report: &DoctorReport,
    progress: &mut dyn Progress,
    interrupt: &Interrupt,
) -> Option<Mended> {
    let (backend, arch) = (report.backend?, Arch::current()?);
    let context = Context {
        backend: Some(backend),
        ..context.clone()
    };
    match kernels::list(&context, arch) {
        Ok(kernels) if kernels.is_empty() => {}
        _ => return None,
    }
    let source = KernelSource::Release;
    let installed = kernels::install(&context, backend, arch, &source, progress, interrupt);
    Some(Mended {
        id: "kernel",
        result: installed
            .map(|(kernel, _)| format!("`{}` is installed", kernel.installed.path.display()))
            .map_err(|error| error.fault()),
    })
}
