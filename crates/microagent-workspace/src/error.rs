//! Why a use case failed, and the one place where that becomes a fault.

use crate::guest_session::SessionError;
use crate::profile::Profile;
use crate::workload::ImageValueError;
use microagent_boot::initramfs::InitramfsError;
use microagent_boot::kernel_download::DownloadError;
use microagent_boot::kernel_store::KernelError;
use microagent_os::FsError;
use microagent_os::local_socket::AliasError;
use microagent_state::RecordError;
use microagent_state::event_log::EventLogError;
use microagent_state::paths::StateDirectoryError;
use microagent_state::workspace_folder::BeginError;
use microagent_types::{Arch, BackendName, ByteSize, SignalName};
use microagent_wire::fault::{Fault, FaultKind};

/// Why a use case failed.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// A supervisor, a monitor or the guest refused or failed.
    #[error(transparent)]
    Fault(#[from] Box<Fault>),
    /// A session has no result.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The image could not be made ready.
    #[error("cannot prepare the image `{image}`")]
    Image {
        /// As it was asked for.
        image: String,
        /// Why.
        #[source]
        source: crate::image_error::ImageError,
    },
    /// A data disk could not be made.
    #[error("cannot make the disk `{name}`")]
    Disk {
        /// Its name.
        name: microagent_types::DiskName,
        /// Why.
        #[source]
        source: Box<crate::image_error::ImageError>,
    },
    /// The workspace's folder could not be begun.
    #[error(transparent)]
    Begin(Box<BeginError>),
    /// The image cache can't be used.
    #[error("cannot use the stored images")]
    Images(#[source] crate::image_error::ImageError),
    /// A value of the image's configuration can't be used.
    #[error(transparent)]
    ImageValue(#[from] ImageValueError),
    /// There is no kernel.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// There is no kernel, and the one of this release does not come from its address.
    #[error("there is no kernel for `{backend}/{arch}`, and the default one cannot be downloaded")]
    NoKernel {
        /// For which backend.
        backend: BackendName,
        /// For which architecture.
        arch: Arch,
        /// Why it does not come.
        source: KernelError,
    },
    /// There is no guest init.
    #[error(transparent)]
    Initramfs(#[from] InitramfsError),
    /// The state directory can't be used.
    #[error(transparent)]
    StateDir(#[from] StateDirectoryError),
    /// The short alias of a workspace's socket folder can't be had.
    #[error("the sockets of the workspace cannot be reached")]
    Alias(#[from] AliasError),
    /// The record of a workspace can't be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The history of a workspace can't be read.
    #[error(transparent)]
    History(#[from] EventLogError),
    /// A file of the workspace, or of the caller, can't be used.
    #[error(transparent)]
    Files(FsError),
    /// A path that is needed is none that a record could hold.
    #[error(transparent)]
    Path(#[from] microagent_types::InvalidText),
    /// The supervisor executable of a backend is not installed.
    #[error("the supervisor `{program}` is not installed")]
    NoSupervisor {
        /// Its file name.
        program: &'static str,
    },
    /// The root disk would be smaller than the image.
    #[error("the image needs {needed} and the root disk has {given}")]
    DiskTooSmall {
        /// What the image takes.
        needed: ByteSize,
        /// What was asked for.
        given: ByteSize,
    },
    /// Neither the image nor the caller names a command.
    #[error("the image names no command")]
    NoCommand,
    /// A signal ended the work; everything begun is undone.
    #[error("interrupted by {signal}")]
    Interrupted {
        /// Which.
        signal: SignalName,
    },
}

impl From<Fault> for WorkspaceError {
    fn from(fault: Fault) -> Self {
        Self::Fault(Box::new(fault))
    }
}

impl From<BeginError> for WorkspaceError {
    fn from(error: BeginError) -> Self {
        Self::Begin(Box::new(error))
    }
}

impl WorkspaceError {
    /// The shape that crosses borders and that people see.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Fault(fault) | Self::Session(SessionError::Refused(fault)) => (**fault).clone(),
            _ => {
                let mut fault = Fault::from_error(self.kind(), self);
                if let Self::Image { image, source } = self {
                    source.word(image, &mut fault);
                }
                match self.hint() {
                    Some(hint) => fault.with_hint(hint),
                    None => fault,
                }
            }
        }
    }

    fn kind(&self) -> FaultKind {
        match self {
            Self::Fault(fault) => fault.kind,
            Self::Session(error) => match error {
                SessionError::Refused(fault) => fault.kind,
                SessionError::NoMonitor(_) => FaultKind::Backend,
                SessionError::Broken(_) => FaultKind::Guest,
                SessionError::OutputClosed(_) | SessionError::Closed => FaultKind::Interrupted,
            },
            Self::Image { source, .. } | Self::Images(source) => source.kind(),
            Self::Disk { source, .. } => source.kind(),
            Self::Begin(error) => match &**error {
                BeginError::Exists { .. } => FaultKind::Conflict,
                BeginError::BeingCreated { .. } | BeginError::Lock(_) => FaultKind::Busy,
                BeginError::Record(RecordError::Fs(error)) | BeginError::Fs(error) => {
                    kind_of_file_error(error)
                }
                BeginError::Record(_) => FaultKind::Integrity,
                BeginError::Identity(_) => FaultKind::Internal,
            },
            Self::ImageValue(_) => FaultKind::Usage,
            Self::Kernel(error) | Self::NoKernel { source: error, .. } => {
                kind_of_kernel_error(error)
            }
            Self::Initramfs(error) => match error {
                InitramfsError::Missing { .. } => FaultKind::NotFound,
                InitramfsError::Read(error) => kind_of_file_error(error),
                InitramfsError::TooLarge { .. } => FaultKind::Integrity,
            },
            Self::StateDir(error) => match error {
                StateDirectoryError::Absent { .. } => FaultKind::NotFound,
                StateDirectoryError::NotPrivate(_) => FaultKind::Denied,
                StateDirectoryError::Fs(error) => kind_of_file_error(error),
                StateDirectoryError::Schema { .. } => FaultKind::Integrity,
            },
            Self::Alias(_) => FaultKind::Denied,
            Self::Files(error) => kind_of_file_error(error),
            Self::History(error) if error.is_out_of_space() => FaultKind::Resource,
            Self::History(_) => FaultKind::Integrity,
            Self::Record(error) => match error {
                RecordError::Fs(error) => kind_of_file_error(error),
                RecordError::Malformed { .. } | RecordError::NewerSchema { .. } => {
                    FaultKind::Integrity
                }
            },
            Self::Path(_) | Self::NoCommand => FaultKind::Usage,
            Self::NoSupervisor { .. } => FaultKind::Unsupported,
            Self::DiskTooSmall { .. } => FaultKind::Resource,
            Self::Interrupted { .. } => FaultKind::Interrupted,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Image { source, image } => source.hint(image),
            Self::Disk { source, name } => source.hint(name.as_str()),
            Self::Begin(error) => match **error {
                BeginError::Exists { .. } => {
                    Some("choose another name, or delete it first".to_owned())
                }
                BeginError::BeingCreated { .. } | BeginError::Lock(_) => {
                    Some("try again when it is done".to_owned())
                }
                _ => None,
            },
            Self::Kernel(KernelError::Missing { backend, .. }) => Some(format!(
                "build one in a checkout and install it: microagent kernel install --backend {backend} \
                 --from \"$(cargo xtask kernel {backend})\""
            )),
            Self::NoKernel { .. } => Some(
                "check the connection, or: microagent kernel install --from FILE"
                    .to_owned(),
            ),
            Self::Kernel(KernelError::Download { source, .. }) => source.hint().map(str::to_owned),
            Self::Kernel(KernelError::Sum { .. }) => Some(
                "nothing is replaced; get the file again, or give the sum that it has".to_owned(),
            ),
            Self::Kernel(KernelError::Format { backend, .. }) => Some(format!(
                "nothing is replaced; build one with: cargo xtask kernel {backend}"
            )),
            Self::Kernel(KernelError::Record { path, .. }) => Some(format!(
                "remove `{}`; the next use installs it again",
                path.display()
            )),
            Self::Initramfs(InitramfsError::Missing { .. }) | Self::NoSupervisor { .. } => Some(
                "the command alone is a part of microagent; in its checkout: cargo xtask install --prefix ~/.local; \
                 then: ~/.local/bin/microagent doctor"
                    .to_owned(),
            ),
            Self::DiskTooSmall { needed, .. } => Some(larger_disk(*needed)),
            Self::NoCommand => {
                Some("give a command after the image: microagent run IMAGE COMMAND".to_owned())
            }
            Self::StateDir(StateDirectoryError::Fs(error)) if error.is_out_of_space() => {
                Some("microagent image prune --all, or another place: --state-dir DIR".to_owned())
            }
            _ => None,
        }
    }
}

/// A root disk that holds so much: its size, and the first profile that has it.
fn larger_disk(needed: ByteSize) -> String {
    let mib = needed.mib_ceil();
    let size = if mib < 1024 {
        format!("{mib}M")
    } else {
        format!("{}G", mib.div_ceil(1024))
    };
    let fits = |profile: &Profile| profile.disk_size() >= needed;
    match Profile::ALL.into_iter().find(fits) {
        Some(profile) => format!("--disk-size {size}, or --profile {profile}"),
        None => format!("--disk-size {size}"),
    }
}

fn kind_of_kernel_error(error: &KernelError) -> FaultKind {
    match error {
        KernelError::Missing { .. } => FaultKind::Unavailable,
        KernelError::Record { .. } | KernelError::Differs { .. } | KernelError::Sum { .. } => {
            FaultKind::Integrity
        }
        KernelError::Format { .. } => FaultKind::Usage,
        KernelError::Manifest(_) => FaultKind::Integrity,
        KernelError::Download { source, .. } => match source {
            DownloadError::Sum { .. } | DownloadError::TooLarge { .. } => FaultKind::Integrity,
            DownloadError::Status {
                status: 404 | 410, ..
            } => FaultKind::NotFound,
            DownloadError::Status {
                status: 401 | 403, ..
            } => FaultKind::Denied,
            DownloadError::Busy => FaultKind::Busy,
            DownloadError::Cancelled => FaultKind::Interrupted,
            DownloadError::File(error) => kind_of_file_error(error),
            DownloadError::Client(_) | DownloadError::Thread(_) => FaultKind::Internal,
            DownloadError::Broken { .. }
            | DownloadError::Short { .. }
            | DownloadError::Status { .. }
            | DownloadError::TooSlow => FaultKind::Unavailable,
        },
        KernelError::File(error) => kind_of_file_error(error),
    }
}

/// The kind of a failed file operation.
pub(crate) fn kind_of_file_error(error: &FsError) -> FaultKind {
    if error.is_not_found() {
        FaultKind::NotFound
    } else if error.is_out_of_space() {
        FaultKind::Resource
    } else if error.is_denied() {
        FaultKind::Denied
    } else {
        FaultKind::Internal
    }
}
