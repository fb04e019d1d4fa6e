//! The part that `create` and `run` share: kernel, guest init, Config, and the supervisor's `prepare`.

use crate::begun::Begun;
use crate::context::Context;
use crate::disks::{self, DiskSettings};
use crate::error::WorkspaceError;
use crate::files::FoundFiles;
use crate::image_ready::ReadyImage;
use crate::interrupt::Interrupt;
use crate::kernels;
use crate::predecessor::Predecessor;
use crate::progress::{Phase, PhaseScope, Progress};
use crate::request::{NetworkSettings, NewWorkspace};
use crate::supervisor_client::{Supervisor as _, SupervisorProgram, accept};
use crate::workload::SizeSettings;
use microagent_boot::kernel_store::InstalledKernel;
use microagent_boot::{initramfs, kernel_catalog, kernel_store};
use microagent_state::paths::{StateDirectory, WorkspacePaths};
use microagent_types::{AbsPath, Arch, Environment, LabelName, WorkspaceName};
use microagent_wire::supervisor::request::{Command, Expect, Request, usage_fault};
use microagent_wire::supervisor::response::Response;
use microagent_wire::supervisor::spec::{Config, WorkloadConfig};
use std::collections::BTreeMap;
use std::time::Duration;

/// Until a supervisor has prepared a workspace: a copy of a large disk takes its time.
const PREPARE_LIMIT: Duration = Duration::from_mins(10);

/// Whether a workspace goes with its one command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lasting {
    /// It stays until it is deleted.
    Persistent,
    /// It goes when its run ends.
    Ephemeral,
}

/// A workspace to be made, everything about it decided.
pub(crate) struct Making<'a> {
    pub(crate) context: &'a Context,
    pub(crate) supervisor: &'a SupervisorProgram,
    pub(crate) state: &'a StateDirectory,
    pub(crate) name: &'a WorkspaceName,
    pub(crate) image: &'a ReadyImage,
    pub(crate) size: SizeSettings,
    pub(crate) disks: &'a [DiskSettings],
    pub(crate) files: &'a FoundFiles,
    pub(crate) network: &'a NetworkSettings,
    pub(crate) hostname: Option<&'a WorkspaceName>,
    pub(crate) labels: &'a BTreeMap<LabelName, String>,
    pub(crate) kernel: Option<&'a AbsPath>,
    pub(crate) workload: Option<WorkloadConfig>,
    pub(crate) env: Environment,
    pub(crate) lasting: Lasting,
    pub(crate) predecessor: Option<&'a Predecessor>,
}

impl Making<'_> {
    /// Makes disks and records: the workspace is `prepared` afterwards, or not there.
    pub(crate) fn prepare(
        &self,
        progress: &mut dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<Response, WorkspaceError> {
        let paths = self.state.workspace(self.name);
        let config = self.config(&paths, progress, interrupt)?;
        // What the supervisor would refuse is refused before anything is made for it.
        if let Some(fault) = usage_fault(config.problems()) {
            return Err(fault.into());
        }
        let mut request = request(self.context, self.name, Command::Prepare);
        request.config = Some(Box::new(config));
        check_interrupt(interrupt)?;
        if let Some(predecessor) = self.predecessor {
            predecessor.give_way(self.context, self.name, interrupt)?;
        }
        let owns_files = self.disks.iter().any(DiskSettings::is_owned) || !self.files.is_empty();
        let begun = owns_files.then(|| Begun::begin(&paths)).transpose()?;
        if let Some(begun) = &begun {
            self.files.pack(&paths, progress)?;
            disks::make_owned(self.disks, &paths, progress, interrupt)?;
            request.request_id = Some(begun.request_id());
            request.expect = Some(Expect {
                id: Some(begun.id()),
                boot_id: None,
            });
        }
        check_interrupt(interrupt)?;
        let _phase = PhaseScope::begin(progress, Phase::Clone);
        Ok(self
            .supervisor
            .ask(&request, PREPARE_LIMIT, interrupt)
            .and_then(accept)?)
    }

    fn config(
        &self,
        paths: &WorkspacePaths,
        progress: &mut dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<Config, WorkspaceError> {
        let arch = Arch::current().ok_or(WorkspaceError::NoSupervisor {
            program: self.supervisor.backend().supervisor_program(),
        })?;
        let kernel = self.kernel(arch, progress, interrupt)?;
        let initramfs = initramfs::find(&self.context.search_path, arch)?;
        let config = NewWorkspace {
            arch,
            kernel: &kernel,
            custom_kernel: self.kernel.is_some(),
            initramfs: &initramfs,
            image: self.image,
            size: self.size,
            disks: self
                .disks
                .iter()
                .map(|disk| disk.config(paths))
                .collect::<Result<_, _>>()?,
            files: self.files.configs(paths)?,
            hostname: self.hostname.cloned(),
            workload: self.workload.clone(),
            env: self.env.clone(),
            network: self.network,
            labels: self.labels,
            ephemeral: self.lasting == Lasting::Ephemeral,
        }
        .config()?;
        if self.image.disk_size > config.root_disk.size_bytes {
            return Err(WorkspaceError::DiskTooSmall {
                needed: self.image.disk_size,
                given: config.root_disk.size_bytes,
            });
        }
        Ok(config)
    }

    fn kernel(
        &self,
        arch: Arch,
        progress: &mut dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<InstalledKernel, WorkspaceError> {
        let Some(path) = self.kernel else {
            let backend = self.supervisor.backend();
            let folder = self.state.kernel_folder(backend, arch);
            return kernels::ensure_default(
                self.context,
                &folder,
                backend,
                arch,
                progress,
                interrupt,
            );
        };
        Ok(InstalledKernel {
            path: path.as_path().to_owned(),
            sha256: kernel_store::hash_custom(path.as_path())?,
            version: None,
            source: kernel_catalog::SOURCE_FILE.to_owned(),
            installed_at: None,
        })
    }
}

/// A request about one workspace, with nothing else said.
pub(crate) fn request(context: &Context, name: &WorkspaceName, command: Command) -> Request {
    let mut request = Request::new(command);
    request.state_dir = Some(context.state_dir.clone());
    request.workspace = Some(name.clone());
    request.initiator = Some(context.initiator.clone());
    request
}

/// Ends the work when a signal has asked for it.
pub(crate) fn check_interrupt(interrupt: &Interrupt) -> Result<(), WorkspaceError> {
    interrupt
        .requested()
        .map_or(Ok(()), |signal| Err(WorkspaceError::Interrupted { signal }))
}
