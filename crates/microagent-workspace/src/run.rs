//! `run`: one command in a fresh workspace.
//!
//! ```text
//! choose backend -> kernel, guest init -> image -> prepare -> start (idle) -> one session -> kill -> delete
//! ```
//!
//! The VM is bound to this process from the start on: when it dies, however it dies, the monitor ends
//! the VM. What fails before the VM ran leaves nothing; a boot that failed leaves the workspace,
//! because its log is the evidence.

use crate::context::Context;
use crate::copy::{self, CopyReport, HostTarget};
use crate::disks::DiskSettings;
use crate::error::WorkspaceError;
use crate::exec::{MonitorLoss, OneSession, in_session};
use crate::file_session::Door;
use crate::files::{FileSettings, FoundFiles};
use crate::first_boot::{Bound, FirstBoot};
use crate::generated_name::generated_name;
use crate::guest_session::SessionSink;
use crate::image_ready::{self, PullSettings, ReadyImage, Wanted};
use crate::interrupt::Interrupt;
use crate::leftovers;
use crate::maintenance::Files;
use crate::making::{Lasting, Making, check_interrupt, request};
use crate::monitor_client::monitor_socket;
use crate::outcome::CommandOutcome;
use crate::predecessor::{self, NameTaken, Predecessor};
use crate::progress::{Phase, PhaseScope, Progress, ProgressEvent};
use crate::request::NetworkSettings;
use crate::supervisor_client::{Supervisor as _, SupervisorProgram, accept};
use crate::supervisors;
use crate::workload::{self, SizeSettings, Workload, WorkloadSettings};
use microagent_os::clock;
use microagent_rootfs::ImageHold;
use microagent_state::paths::{StateDirectory, WorkspacePaths};
use microagent_types::{
    AbsPath, BackendName, Digest, GuestPath, ImageSource, LabelName, WorkspaceName,
};
use microagent_wire::fault::Fault;
use microagent_wire::guest::service::{ExecRequest, KILL_GRACE_MS_DEFAULT, Service, Tty};
use microagent_wire::supervisor::request::{Command, Expect, Request};
use microagent_wire::supervisor::response::Response;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Until a VM is killed or a workspace deleted.
const END_LIMIT: Duration = Duration::from_mins(1);
/// Until a guest has shut down when the workspace is kept.
const HALT_LIMIT: Duration = Duration::from_secs(15);

/// What becomes of the workspace after its command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// It is deleted.
    #[default]
    Nothing,
    /// It stays, halted.
    Halted,
}

/// What to run and where.
#[derive(Debug, Clone)]
pub struct RunSettings {
    /// The image.
    pub image: ImageSource,
    /// Whether and how its registry is asked.
    pub pull: PullSettings,
    /// The workspace's name; made up when none.
    pub name: Option<WorkspaceName>,
    /// What it means when that is taken.
    pub name_taken: NameTaken,
    /// What runs.
    pub workload: WorkloadSettings,
    /// How large it is.
    pub size: SizeSettings,
    /// What it may reach.
    pub network: NetworkSettings,
    /// The guest's host name; the workspace's when none.
    pub hostname: Option<WorkspaceName>,
    /// Labels of the workspace.
    pub labels: BTreeMap<LabelName, String>,
    /// Data disks, at most eight, in the order of their devices.
    pub disks: Vec<DiskSettings>,
    /// Files of this host that the guest starts with, 256 MiB in all.
    pub files: Vec<FileSettings>,
    /// What is copied out of the guest when the command has ended, whatever its code.
    pub copy_out: Vec<CopyOut>,
    /// A kernel in place of the default one.
    pub kernel: Option<AbsPath>,
    /// The limit for the command alone.
    pub timeout: Option<Duration>,
    /// The limit for the boot.
    pub ready_timeout: Option<Duration>,
    /// What becomes of the workspace.
    pub keep: Keep,
    /// A terminal for the command in place of three pipes.
    pub tty: Option<Tty>,
    /// Most bytes of each stream that the guest sends; the rest is counted and dropped there.
    pub output_limit_bytes: Option<u64>,
}

impl RunSettings {
    /// One command of an image as `microagent run IMAGE -- COMMAND…` runs it: the image's environment, user
    /// and folder, the default size, outbound network, no limit of time, nothing kept. An empty command is
    /// the image's own.
    pub fn of_command<W: Into<String>>(
        image: ImageSource,
        command: impl IntoIterator<Item = W>,
    ) -> Self {
        Self {
            image,
            pull: PullSettings::default(),
            name: None,
            name_taken: NameTaken::default(),
            workload: WorkloadSettings {
                command: command.into_iter().map(Into::into).collect(),
                ..WorkloadSettings::default()
            },
            size: SizeSettings::default(),
            network: NetworkSettings::default(),
            hostname: None,
            labels: BTreeMap::new(),
            disks: Vec::new(),
            files: Vec::new(),
            copy_out: Vec::new(),
            kernel: None,
            timeout: None,
            ready_timeout: None,
            keep: Keep::Nothing,
            tty: None,
            output_limit_bytes: None,
        }
    }
}

/// What is copied out of the guest of a run, by the rules of [`copy_out`](crate::copy::copy_out).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyOut {
    /// A file or folder of the guest.
    pub source: GuestPath,
    /// Where it goes on this host.
    pub target: PathBuf,
}

/// What came of it.
#[derive(Debug)]
pub struct CopiedOut {
    /// What was wanted.
    pub copy: CopyOut,
    /// How much it was, or why it failed.
    pub result: Result<CopyReport, WorkspaceError>,
}

/// Where a command's input comes from and its output goes.
pub struct RunStreams<'a> {
    /// Its stdin; end of file when none. Read from a thread of its own.
    pub stdin: Option<Box<dyn Read + Send>>,
    /// Its outputs.
    pub sink: &'a mut dyn SessionSink,
}

impl std::fmt::Debug for RunStreams<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RunStreams")
            .field("stdin", &self.stdin.is_some())
            .finish_non_exhaustive()
    }
}

/// How long each part took, in milliseconds; a part that did not happen is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RunTimings {
    /// Finding the image.
    pub resolve_ms: Option<u64>,
    /// Fetching layers.
    pub download_ms: Option<u64>,
    /// Building the disk.
    pub build_ms: Option<u64>,
    /// Cloning it and making the records.
    pub clone_ms: Option<u64>,
    /// From the start to ready.
    pub boot_ms: Option<u64>,
    /// All of it.
    pub total_ms: u64,
}

/// What came of a run.
#[derive(Debug)]
pub struct RunReport {
    /// The workspace.
    pub workspace: WorkspaceName,
    /// Whether it is still there.
    pub kept: bool,
    /// The image, as it was asked for.
    pub image_reference: String,
    /// The image's manifest.
    pub image_digest: Digest,
    /// The backend.
    pub backend: BackendName,
    /// The accelerator, as the supervisor names it.
    pub accelerator: Option<String>,
    /// What was run.
    pub argv: Vec<String>,
    /// How it ended.
    pub outcome: CommandOutcome,
    /// What was copied out then, in the order of the settings.
    pub copied_out: Vec<CopiedOut>,
    /// How long it took.
    pub timings: RunTimings,
}

/// Runs one command in a fresh workspace and returns when the workspace is gone again, or kept.
///
/// # Errors
/// When there is no result of the command. After an error nothing is left, but for a workspace whose
/// boot failed: the error names it.
pub fn run(
    context: &Context,
    settings: &RunSettings,
    streams: RunStreams<'_>,
    progress: &mut dyn Progress,
    interrupt: &Interrupt,
) -> Result<RunReport, WorkspaceError> {
    let began = clock::monotonic();
    let supervisor = supervisors::choose(context, interrupt)?;
    let state = StateDirectory::at(&context.state_dir);
    state.create()?;
    leftovers::sweep(context, progress, interrupt);
    let predecessor = match &settings.name {
        Some(name) => predecessor::check(context, name, settings.name_taken, interrupt)?,
        None => None,
    };
    let files = FoundFiles::find(&settings.files)?;
    for copy in &settings.copy_out {
        // Where it should go is known to be possible before anything is done for it.
        HostTarget::find(&copy.target)?;
    }
    check_interrupt(interrupt)?;
    let disk_size = settings.size.disk_size();
    let wanted = Wanted {
        source: &settings.image,
        pull: &settings.pull,
        disk_size,
    };
    let (image, hold) = image_ready::ensure(&state, &wanted, progress, interrupt)
        .map_err(|error| error.of(&settings.image, interrupt))?;
    let workload = workload::merge(&image.config, &settings.workload)?;
    if workload.argv.is_empty() {
        return Err(WorkspaceError::NoCommand);
    }
    let name = settings.name.clone().unwrap_or_else(generated_name);
    let run = Run {
        context,
        settings,
        supervisor,
        state: &state,
        name,
        image: &image,
        files,
        predecessor,
    };
    run.perform(&workload, hold, streams, progress, interrupt, began)
}

/// One run whose image is ready and whose command is known.
struct Run<'a> {
    context: &'a Context,
    settings: &'a RunSettings,
    supervisor: SupervisorProgram,
    state: &'a StateDirectory,
    name: WorkspaceName,
    image: &'a ReadyImage,
    files: FoundFiles,
    predecessor: Option<Predecessor>,
}

impl Run<'_> {
    fn perform(
        &self,
        workload: &Workload,
        hold: ImageHold,
        streams: RunStreams<'_>,
        progress: &mut dyn Progress,
        interrupt: &Interrupt,
        began: Instant,
    ) -> Result<RunReport, WorkspaceError> {
        let prepare_began = clock::monotonic();
        let expect = self.prepare(workload, progress, interrupt)?;
        let clone_ms = ms_since(prepare_began);
        let boot_began = clock::monotonic();
        let started = {
            let _phase = PhaseScope::begin(progress, Phase::Boot);
            self.start(expect, interrupt)?
        };
        // The VM may read from the image's own disk, and has it open by now.
        drop(hold);
        let boot_ms = ms_since(boot_began);
        let mut copied_out = Vec::new();
        let result = self.command(workload, streams, interrupt, || {
            copied_out = self.copy_out(progress, interrupt);
        });
        let kept = self.end(expect, progress);
        Ok(RunReport {
            workspace: self.name.clone(),
            kept,
            image_reference: self.image.reference.clone(),
            image_digest: self.image.digest,
            backend: self.supervisor.backend(),
            accelerator: started
                .workspace
                .and_then(|workspace| workspace.accelerator),
            argv: workload.argv.clone(),
            outcome: result?,
            copied_out,
            timings: RunTimings {
                resolve_ms: self.image.timings.resolve_ms,
                download_ms: self.image.timings.download_ms,
                build_ms: self.image.timings.build_ms,
                clone_ms: Some(clone_ms),
                boot_ms: Some(boot_ms),
                total_ms: ms_since(began),
            },
        })
    }

    fn prepare(
        &self,
        workload: &Workload,
        progress: &mut dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<Expect, WorkspaceError> {
        let settings = self.settings;
        let making = Making {
            context: self.context,
            supervisor: &self.supervisor,
            state: self.state,
            name: &self.name,
            image: self.image,
            size: settings.size,
            disks: &settings.disks,
            files: &self.files,
            network: &settings.network,
            hostname: settings.hostname.as_ref(),
            labels: &settings.labels,
            kernel: settings.kernel.as_ref(),
            // The command is one session in an idle guest; so its streams are this process's.
            workload: None,
            env: workload.env.clone(),
            lasting: match settings.keep {
                Keep::Nothing => Lasting::Ephemeral,
                Keep::Halted => Lasting::Persistent,
            },
            predecessor: self.predecessor.as_ref(),
        };
        let prepared = making.prepare(progress, interrupt)?;
        Ok(Expect {
            id: prepared.workspace.map(|workspace| workspace.id),
            boot_id: None,
        })
    }

    /// Boots without a workload.
    fn start(&self, expect: Expect, interrupt: &Interrupt) -> Result<Response, WorkspaceError> {
        let boot = FirstBoot {
            context: self.context,
            supervisor: &self.supervisor,
            name: &self.name,
            expect,
            bound: Bound::ToThisProcess,
            ready_timeout: self.settings.ready_timeout,
        };
        boot.perform(interrupt)
    }

    fn command(
        &self,
        workload: &Workload,
        streams: RunStreams<'_>,
        interrupt: &Interrupt,
        after: impl FnOnce(),
    ) -> Result<CommandOutcome, WorkspaceError> {
        let settings = self.settings;
        let exec = ExecRequest {
            argv: workload.argv.clone(),
            env: workload.env.clone(),
            user: workload.user.clone(),
            cwd: workload.workdir.clone().or_else(|| Some(GuestPath::root())),
            tty: settings.tty.clone(),
            stdin: streams.stdin.is_some(),
            timeout_ms: settings.timeout.map_or(0, as_ms),
            kill_grace_ms: KILL_GRACE_MS_DEFAULT,
            output_limit_bytes: settings.output_limit_bytes,
            make_cwd: true,
        };
        let session = OneSession {
            service: Service::Exec(exec),
            terminal: settings.tty.is_some(),
            loss: match settings.keep {
                Keep::Nothing if !self.writes_to_foreign_disks() => MonitorLoss::EndsVm,
                Keep::Nothing | Keep::Halted => MonitorLoss::EndsVmUntilExit,
            },
        };
        let paths = self.paths();
        in_session(self.context, &paths, session, streams, interrupt, after)
    }

    /// Each by itself: one that fails keeps no other from being copied.
    fn copy_out(&self, progress: &mut dyn Progress, interrupt: &Interrupt) -> Vec<CopiedOut> {
        let mut copied = Vec::new();
        for copy in &self.settings.copy_out {
            let result = self.copy_one_out(copy, progress, interrupt);
            copied.push(CopiedOut {
                copy: copy.clone(),
                result,
            });
        }
        copied
    }

    fn copy_one_out(
        &self,
        copy: &CopyOut,
        progress: &mut dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<CopyReport, WorkspaceError> {
        check_interrupt(interrupt)?;
        let files = Files::of_running(Door {
            socket: monitor_socket(&self.paths())?,
            boot: None,
            initiator: self.context.initiator.clone(),
        });
        let (name, source, target) = (&self.name, &copy.source, &copy.target);
        let context = self.context;
        copy::copy_out_of_running(context, name, files, source, target, interrupt, progress)
    }

    /// Ends the VM and, unless the workspace is kept, removes it. Whether it is still there.
    fn end(&self, expect: Expect, progress: &mut dyn Progress) -> bool {
        // The signal that ended the work must not end its tidying away.
        let interrupt = &Interrupt::new();
        let ended = match self.settings.keep {
            Keep::Halted => {
                let mut request = self.request(Command::Halt);
                request.expect = Some(expect);
                self.ask(&request, HALT_LIMIT, interrupt)
                    .map(|_| true)
                    .map_err(Into::into)
            }
            Keep::Nothing => {
                if self.writes_to_foreign_disks() {
                    self.let_guest_unmount(expect, progress, interrupt);
                }
                self.kill_and_delete(expect, interrupt).map(|()| false)
            }
        };
        match ended {
            Ok(kept) => kept,
            Err(error) => {
                let message = format!("`{}` could not be tidied away: {error}", self.name);
                progress.report(ProgressEvent::Note(message));
                true
            }
        }
    }

    /// Whether something of the guest's outlives it, so that it must be shut down and not only killed.
    fn writes_to_foreign_disks(&self) -> bool {
        let mut disks = self.settings.disks.iter();
        disks.any(|disk| !disk.is_owned() && !disk.read_only)
    }

    fn let_guest_unmount(
        &self,
        expect: Expect,
        progress: &mut dyn Progress,
        interrupt: &Interrupt,
    ) {
        let mut request = self.request(Command::Halt);
        request.expect = Some(expect);
        if let Err(error) = self.ask(&request, HALT_LIMIT, interrupt) {
            let message = format!(
                "`{}` did not shut down, and what it wrote last to its disks may be lost: {error}",
                self.name
            );
            progress.report(ProgressEvent::Note(message));
        }
    }

    fn kill_and_delete(&self, expect: Expect, interrupt: &Interrupt) -> Result<(), WorkspaceError> {
        let mut delete = self.request(Command::Delete);
        delete.expect = Some(expect);
        delete.options.kill = Some(true);
        self.ask(&delete, END_LIMIT, interrupt)?;
        Ok(())
    }

    fn request(&self, command: Command) -> Request {
        request(self.context, &self.name, command)
    }

    fn ask(
        &self,
        request: &Request,
        limit: Duration,
        interrupt: &Interrupt,
    ) -> Result<Response, Fault> {
        self.supervisor
            .ask(request, limit, interrupt)
            .and_then(accept)
    }

    fn paths(&self) -> WorkspacePaths {
        self.state.workspace(&self.name)
    }
}

pub(crate) fn as_ms(duration: Duration) -> u64 {
    clock::whole_ms(duration)
}

pub(crate) fn ms_since(began: Instant) -> u64 {
    as_ms(clock::monotonic().duration_since(began))
}
