//! `cp`: files into a workspace and out of it, live or through a maintenance boot.
//!
//! ```text
//! in    host tree  -> tar -> guest       the guest unpacks below the target
//! out   guest tree -> tar -> host        the host unpacks below the target, and trusts nothing
//! ```
//!
//! Where things land is decided here, by the rules that people know from other tools: a target that is
//! a folder takes the source under its own name, `SOURCE/.` is what the source holds.

mod host_target;
mod host_tree;

pub(crate) use host_target::HostTarget;
pub(crate) use host_tree::HostTree;

use crate::context::Context;
use crate::error::WorkspaceError;
use crate::exec::with_state;
use crate::file_session::{Binding, FileSession, HostData};
use crate::guest_session::SessionError;
use crate::interrupt::Interrupt;
pub use crate::maintenance::Via;
use crate::maintenance::{self, Access, Files};
use crate::progress::{Phase, PhaseScope, Progress, ProgressEvent};
use microagent_os::clock;
use microagent_tar::{ByteSource as _, TarReader};
use microagent_tree::pack::{Links, Mounts, PackOptions, PackOwner, Packer, entry_errno};
use microagent_tree::unpack::{
    AttributeChoice, Powers, UnpackError, UnpackOptions, UnpackOwner, Unpacked, unpack,
};
use microagent_tree::{Counts, Notes};
use microagent_types::{GuestPath, WorkspaceName};
use microagent_wire::fault::{Fault, FaultKind};
use microagent_wire::guest::service::{FileType, Owner, Service, SessionDone, Skipped};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Read at once from a stream of the caller.
const READ_BYTES: usize = 64 << 10;
/// Most bytes copied out when nothing is said.
pub const BYTES_MAX_DEFAULT: u64 = 16 << 30;

/// Where files for a guest come from.
pub enum CopySource {
    /// A file or folder of this host. A path that ends in `/.` is what the folder holds.
    Path(PathBuf),
    /// A tar.
    Tar(Box<dyn Read>),
}

/// Who owns what is copied in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyOwner {
    /// The same numbers as here.
    Kept,
    /// This user and group of the guest.
    Set {
        /// User.
        uid: u32,
        /// Group.
        gid: u32,
    },
}

/// How files are copied in.
#[derive(Debug, Clone, Copy)]
pub struct CopyInSettings {
    /// Whose they become.
    pub owner: CopyOwner,
    /// What links of this host lead to is copied in their place.
    pub follow_links: bool,
    /// The limit for a maintenance boot.
    pub ready_timeout: Option<Duration>,
}

/// How files are copied out.
#[derive(Debug, Clone, Copy)]
pub struct CopyOutSettings {
    /// Owners are kept, by number; only root can.
    pub keep_owner: bool,
    /// Most bytes of content.
    pub bytes_max: Option<u64>,
    /// The limit for a maintenance boot.
    pub ready_timeout: Option<Duration>,
}

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyReport {
    /// How the files were reached.
    pub via: Via,
    /// Regular files.
    pub files: u64,
    /// Folders.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Bytes of content.
    pub bytes: u64,
    /// What was left out, and why; the first of them.
    pub skipped: Vec<Skipped>,
    /// All that was left out.
    pub skipped_total: u64,
    /// What must not be made: names that lead out of the target.
    pub refused: Vec<Skipped>,
    /// How long it took, a maintenance boot included.
    pub duration: Duration,
}

/// A copy under way: everything but the path.
struct Copying<'a> {
    context: &'a Context,
    name: &'a WorkspaceName,
    interrupt: &'a Interrupt,
    progress: &'a mut dyn Progress,
    began: std::time::Instant,
}

/// Copies into a workspace.
///
/// # Errors
/// When the source can't be read, the workspace's state refuses, the guest refuses, or either disk is
/// full.
pub fn copy_in(
    context: &Context,
    name: &WorkspaceName,
    source: CopySource,
    target: &GuestPath,
    settings: &CopyInSettings,
    interrupt: &Interrupt,
    progress: &mut dyn Progress,
) -> Result<CopyReport, WorkspaceError> {
    let source = match source {
        CopySource::Path(path) => Source::Tree(HostTree::find(&path, settings.follow_links)?),
        CopySource::Tar(tar) => Source::Tar(tar),
    };
    let mut copying = Copying::begin(context, name, interrupt, progress);
    let files = copying.reach(target, Access::Write, settings.ready_timeout)?;
    let copied = copying.send_to_guest(&files, source, target, settings);
    copying.close(files, copied)
}

/// Copies out of a workspace into a file or folder of this host.
///
/// # Errors
/// When there is no such path, the target can't be written, the workspace's state refuses, or the
/// limit is reached: what is complete stays then.
pub fn copy_out(
    context: &Context,
    name: &WorkspaceName,
    source: &GuestPath,
    target: &Path,
    settings: &CopyOutSettings,
    interrupt: &Interrupt,
    progress: &mut dyn Progress,
) -> Result<CopyReport, WorkspaceError> {
    let target = HostTarget::find(target)?;
    let mut copying = Copying::begin(context, name, interrupt, progress);
    let files = copying.reach(source, Access::Read, settings.ready_timeout)?;
    let copied = copying.fetch_from_guest(&files, source, &target, settings);
    copying.close(files, copied)
}

/// The same of a guest that is known to run.
pub(crate) fn copy_out_of_running(
    context: &Context,
    name: &WorkspaceName,
    files: Files,
    source: &GuestPath,
    target: &Path,
    interrupt: &Interrupt,
    progress: &mut dyn Progress,
) -> Result<CopyReport, WorkspaceError> {
    let target = HostTarget::find(target)?;
    let settings = CopyOutSettings {
        keep_owner: false,
        bytes_max: Some(BYTES_MAX_DEFAULT),
        ready_timeout: None,
    };
    let mut copying = Copying {
        context,
        name,
        interrupt,
        progress,
        began: clock::monotonic(),
    };
    let copied = copying.fetch_from_guest(&files, source, &target, &settings);
    copying.close(files, copied)
}

/// Writes a tar of a guest's path to `sink`: a folder's entries relative to it, a file by its name. The
/// bytes are the guest's: whoever unpacks them must not trust them.
///
/// # Errors
/// As [`copy_out`], and when the sink takes no more.
pub fn copy_out_tar(
    context: &Context,
    name: &WorkspaceName,
    source: &GuestPath,
    sink: &mut dyn Write,
    settings: &CopyOutSettings,
    interrupt: &Interrupt,
    progress: &mut dyn Progress,
) -> Result<CopyReport, WorkspaceError> {
    let mut copying = Copying::begin(context, name, interrupt, progress);
    let files = copying.reach(source, Access::Read, settings.ready_timeout)?;
    let copied = copying.tar_of_guest(&files, source, sink, settings);
    copying.close(files, copied)
}

/// What a copy came to, before how it was reached is added.
struct Copied {
    counts: Counts,
    skipped: Vec<Skipped>,
    skipped_total: u64,
    refused: Vec<Skipped>,
}

impl<'a> Copying<'a> {
    fn begin(
        context: &'a Context,
        name: &'a WorkspaceName,
        interrupt: &'a Interrupt,
        progress: &'a mut dyn Progress,
    ) -> Self {
        Self {
            context,
            name,
            interrupt,
            progress,
            began: clock::monotonic(),
        }
    }

    /// The way to the files of the guest, by a maintenance boot where none runs.
    fn reach(
        &mut self,
        path: &GuestPath,
        access: Access,
        ready_timeout: Option<Duration>,
    ) -> Result<Files, WorkspaceError> {
        maintenance::open(
            self.context,
            self.name,
            path,
            access,
            ready_timeout,
            self.interrupt,
            self.progress,
        )
    }

    fn close(
        &self,
        files: Files,
        copied: Result<Copied, WorkspaceError>,
    ) -> Result<CopyReport, WorkspaceError> {
        let via = files.via;
        match &copied {
            Ok(_) => files.close(),
            Err(_) => drop(files),
        }
        let copied = match (copied, self.interrupt.requested()) {
            (Err(WorkspaceError::Session(_)), Some(signal)) => {
                return Err(WorkspaceError::Interrupted { signal });
            }
            (Err(error), _) => {
                return Err(with_state(self.context, self.name, self.interrupt, error));
            }
            (Ok(copied), _) => copied,
        };
        Ok(CopyReport {
            via,
            files: copied.counts.files,
            directories: copied.counts.directories,
            symlinks: copied.counts.symlinks,
            bytes: copied.counts.bytes,
            skipped: copied.skipped,
            skipped_total: copied.skipped_total,
            refused: copied.refused,
            duration: clock::monotonic().duration_since(self.began),
        })
    }

    fn send_to_guest(
        &mut self,
        files: &Files,
        source: Source,
        target: &GuestPath,
        settings: &CopyInSettings,
    ) -> Result<Copied, WorkspaceError> {
        let place = match &source {
            Source::Tar(_) => GuestPlace {
                folder: target.clone(),
                name: Vec::new(),
            },
            Source::Tree(tree) => place_in_guest(files, tree, target)?,
        };
        let (owner, keep_owner) = match settings.owner {
            CopyOwner::Kept => (None, true),
            CopyOwner::Set { uid, gid } => (Some(Owner { uid, gid }), false),
        };
        let service = Service::Write {
            path: place.folder,
            archive: true,
            mode: None,
            owner,
            keep_owner,
            parents: false,
        };
        let session = FileSession::open(&files.door, service, files.binding())?;
        self.interrupt.session_runs(session.control());
        let scope = PhaseScope::begin(self.progress, Phase::Copy);
        let sink = session.into_sink()?;
        let copied = match source {
            Source::Tar(tar) => send_tar(sink, tar),
            Source::Tree(tree) => send_tree(sink, &tree, &place.name, settings),
        };
        drop(scope);
        self.interrupt.work_goes_on();
        copied
    }

    fn read(
        &self,
        files: &Files,
        source: &GuestPath,
    ) -> Result<(FileSession, FileType), WorkspaceError> {
        let service = Service::Read {
            path: source.clone(),
            archive: true,
            // As everywhere: a name that ends so means the folder and not the link to it.
            follow_links: is_contents(source.as_str()) || source.as_str().ends_with('/'),
            limit_bytes: None,
        };
        let mut session = FileSession::open(&files.door, service, files.binding())?;
        self.interrupt.session_runs(session.control());
        let meta = session.meta()?;
        Ok((session, meta.file_type))
    }

    fn fetch_from_guest(
        &mut self,
        files: &Files,
        source: &GuestPath,
        target: &HostTarget,
        settings: &CopyOutSettings,
    ) -> Result<Copied, WorkspaceError> {
        let (mut session, kind) = self.read(files, source)?;
        let landing = target.landing(source, kind)?;
        let options = UnpackOptions {
            owner: if settings.keep_owner {
                UnpackOwner::Kept
            } else {
                UnpackOwner::Caller
            },
            powers: Powers::Dropped,
            attributes: AttributeChoice::User,
            bytes_max: settings.bytes_max.unwrap_or(u64::MAX),
            single: landing.single.as_deref(),
            root_attributes: landing.is_new,
        };
        self.progress.report(ProgressEvent::Begin(Phase::Copy));
        let mut done = Unpacked::default();
        let mut tar = TarReader::new(session.data());
        let (interrupt, progress) = (self.interrupt, &mut *self.progress);
        let unpacked = unpack(
            &mut tar,
            &landing.folder,
            options,
            &mut done,
            &mut |counts| {
                progress.report(ProgressEvent::Advance {
                    phase: Phase::Copy,
                    done_bytes: counts.bytes,
                    total_bytes: None,
                });
                interrupt.requested().is_none()
            },
        );
        self.progress.report(ProgressEvent::End(Phase::Copy));
        let told = match unpacked {
            Ok(()) => tar.into_source().finish().and_then(|()| session.done()),
            Err(error) => {
                session.control().close();
                self.interrupt.work_goes_on();
                return Err(failed_out(error, &done.counts));
            }
        };
        self.interrupt.work_goes_on();
        let mut copied = Copied::of(done.counts, &done.skipped, &done.refused);
        copied.add_guests(told?);
        let nothing = copied.counts.entries() + copied.skipped_total == 0;
        if landing.single.is_some() && nothing && copied.refused.is_empty() {
            let message = format!("the guest announced `{source}` and sent nothing");
            return Err(Fault::new(FaultKind::Guest, message).into());
        }
        Ok(copied)
    }

    fn tar_of_guest(
        &mut self,
        files: &Files,
        source: &GuestPath,
        sink: &mut dyn Write,
        settings: &CopyOutSettings,
    ) -> Result<Copied, WorkspaceError> {
        let (mut session, _) = self.read(files, source)?;
        let passed = pass_on(&mut session, sink, settings.bytes_max);
        let told = passed.and_then(|()| Ok(session.done()?));
        session.control().close();
        self.interrupt.work_goes_on();
        let told = told?;
        let mut copied = Copied {
            counts: counts_of(&told),
            skipped: Vec::new(),
            skipped_total: 0,
            refused: Vec::new(),
        };
        copied.add_guests(told);
        Ok(copied)
    }
}

impl Copied {
    fn of(counts: Counts, skipped: &Notes, refused: &Notes) -> Self {
        Self {
            counts,
            skipped: named(skipped),
            skipped_total: skipped.total,
            refused: named(refused),
        }
    }

    /// What the guest's side left out.
    fn add_guests(&mut self, done: SessionDone) {
        let listed = done.skipped.len() as u64;
        self.skipped_total += done.skipped_total.unwrap_or(listed).max(listed);
        self.skipped.extend(done.skipped);
        self.refused.extend(done.refused);
    }
}

fn named(notes: &Notes) -> Vec<Skipped> {
    let named = |note: &microagent_tree::Noted| Skipped {
        path: note.path.clone(),
        reason: note.reason.clone(),
    };
    notes.entries.iter().map(named).collect()
}

fn counts_of(done: &SessionDone) -> Counts {
    Counts {
        files: done.files.unwrap_or(0),
        directories: done.directories.unwrap_or(0),
        symlinks: done.symlinks.unwrap_or(0),
        others: 0,
        bytes: done.bytes.unwrap_or(0),
    }
}

enum Source {
    Tree(HostTree),
    Tar(Box<dyn Read>),
}

/// Where a tree lands in the guest: packed under `name`, or without a name of its own.
struct GuestPlace {
    folder: GuestPath,
    name: Vec<u8>,
}

fn place_in_guest(
    files: &Files,
    tree: &HostTree,
    target: &GuestPath,
) -> Result<GuestPlace, WorkspaceError> {
    let kind = stat(files, target)?;
    if kind == Some(FileType::Directory) {
        let name = tree.own_name.clone().unwrap_or_default();
        return Ok(GuestPlace {
            folder: target.clone(),
            name,
        });
    }
    let text = target.as_str();
    if kind.is_none() && text.ends_with('/') {
        let message = format!("there is no folder `{target}` in the guest");
        let hint = "leave out the last slash to make it, or make it first";
        return Err(Fault::new(FaultKind::NotFound, message)
            .with_hint(hint)
            .into());
    }
    if kind.is_some() && tree.is_folder {
        let message = format!("`{target}` is no folder, and `{}` is one", tree.shown);
        return Err(Fault::new(FaultKind::Usage, message).into());
    }
    let (parent, name) = text.rsplit_once('/').unwrap_or(("", text));
    if matches!(name, "" | "." | "..") {
        let message = format!("`{target}` names nothing that could be made");
        return Err(Fault::new(FaultKind::Usage, message).into());
    }
    let parent = if parent.is_empty() { "/" } else { parent };
    Ok(GuestPlace {
        folder: parent.parse()?,
        name: name.as_bytes().to_vec(),
    })
}

fn stat(files: &Files, path: &GuestPath) -> Result<Option<FileType>, WorkspaceError> {
    let service = Service::Stat {
        path: path.clone(),
        follow_links: true,
    };
    match FileSession::open(&files.door, service, Binding::Free) {
        Ok(session) => {
            let kind = session.entry.as_ref().map(|entry| entry.file_type);
            session.control().close();
            Ok(kind)
        }
        Err(SessionError::Refused(fault)) if fault.kind == FaultKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn send_tree(
    sink: HostData,
    tree: &HostTree,
    name: &[u8],
    settings: &CopyInSettings,
) -> Result<Copied, WorkspaceError> {
    let options = PackOptions {
        owner: match settings.owner {
            CopyOwner::Kept => PackOwner::Kept,
            CopyOwner::Set { uid, gid } => PackOwner::Set(uid, gid),
        },
        links: if settings.follow_links {
            Links::Followed
        } else {
            Links::Kept
        },
        mounts: Mounts::All,
    };
    let mut packer = Packer::new(sink, options);
    let packed = packer.tree(&tree.folder, &tree.name, name);
    let packed = packed.and_then(|()| packer.end());
    let (sink, skipped) = packer.into_parts();
    match packed {
        Ok(()) => {}
        Err(error) if entry_errno(&error).is_some() => {
            let told = host_fault(&tree.shown, &error);
            drop(sink.failure(error));
            return Err(told);
        }
        Err(error) => return Err(sink.failure(error).into()),
    }
    let done = sink.finish()?;
    let mut copied = Copied::of(counts_of(&done), &skipped, &Notes::default());
    copied.add_guests(done);
    Ok(copied)
}

fn send_tar(mut sink: HostData, mut tar: Box<dyn Read>) -> Result<Copied, WorkspaceError> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let count = match tar.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(host_fault("-", &error)),
        };
        if let Err(error) = sink.write_all(&buffer[..count]) {
            return Err(sink.failure(error).into());
        }
    }
    let done = sink.finish()?;
    let mut copied = Copied::of(counts_of(&done), &Notes::default(), &Notes::default());
    copied.add_guests(done);
    Ok(copied)
}

fn pass_on(
    session: &mut FileSession,
    sink: &mut dyn Write,
    bytes_max: Option<u64>,
) -> Result<(), WorkspaceError> {
    let limit = bytes_max.unwrap_or(u64::MAX);
    let mut left = limit;
    let mut data = session.data();
    loop {
        let chunk = data.chunk()?;
        if chunk.is_empty() {
            break;
        }
        let count = chunk.len();
        left = left
            .checked_sub(count as u64)
            .ok_or_else(|| too_much(limit, &Counts::default()))?;
        sink.write_all(chunk).map_err(SessionError::OutputClosed)?;
        data.consume(count);
    }
    sink.flush().map_err(SessionError::OutputClosed)?;
    Ok(())
}

fn too_much(limit: u64, counts: &Counts) -> WorkspaceError {
    let message = format!(
        "more than {limit} bytes would be copied; {} files with {} bytes are complete",
        counts.files, counts.bytes
    );
    Fault::new(FaultKind::Resource, message)
        .with_hint("allow more with --limit SIZE, or 0 for no limit")
        .with_details(|details| details.limit = Some(limit))
        .into()
}

fn failed_out(error: UnpackError, counts: &Counts) -> WorkspaceError {
    match error {
        UnpackError::TooMuch { limit } => too_much(limit, counts),
        UnpackError::Cancelled => SessionError::Closed.into(),
        UnpackError::Files { path, source } => host_fault(&path, &source),
        UnpackError::Archive(error) => match session_error(error) {
            Ok(session) => session.into(),
            Err(error) => Fault::from_error(FaultKind::Guest, &error).into(),
        },
    }
}

/// The session's own error inside an archive that could not be read on.
fn session_error(
    error: microagent_tar::TarError,
) -> Result<SessionError, microagent_tar::TarError> {
    match error {
        microagent_tar::TarError::Source(source) => match source.downcast::<SessionError>() {
            Ok(session) => Ok(*session),
            Err(source) => Err(microagent_tar::TarError::Source(source)),
        },
        other => Err(other),
    }
}

/// Whether a path means what a folder holds.
fn is_contents(path: &str) -> bool {
    path == "." || path.ends_with("/.")
}

pub(crate) fn host_fault(path: &str, error: &io::Error) -> WorkspaceError {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => FaultKind::NotFound,
        io::ErrorKind::PermissionDenied => FaultKind::Denied,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FaultKind::Resource,
        _ => FaultKind::Usage,
    };
    let message = match kind {
        FaultKind::NotFound => format!("there is no `{path}` on this host"),
        _ => format!("`{path}` on this host can't be used"),
    };
    Fault::new(kind, message)
        .with_cause(error.to_string())
        .into()
}
