//! An image made ready to clone: found in the store, or built from its source.

use crate::error::WorkspaceError;
use crate::interrupt::Interrupt;
use crate::progress::{Phase, Progress, ProgressEvent};
use crate::run::as_ms;
use microagent_rootfs::{
    BuildOptions, CancelToken, DiskShape, ImageConfig, ImageStore, Limits, OciError, ProgressStep,
    RootfsError,
};
use microagent_state::paths::StateDirectory;
use microagent_types::{Arch, ByteSize, Digest, ImageSource};
use microagent_wire::fault::FaultKind;
use std::path::PathBuf;

/// An image whose disk can be cloned.
#[derive(Debug)]
pub(crate) struct ReadyImage {
    /// As it was asked for.
    pub(crate) reference: String,
    /// Of its manifest.
    pub(crate) digest: Digest,
    /// The kind of its source.
    pub(crate) source_kind: &'static str,
    /// What made the disk.
    pub(crate) builder: String,
    /// The disk.
    pub(crate) disk: PathBuf,
    /// Its size.
    pub(crate) disk_size: ByteSize,
    /// What the image says about its workload.
    pub(crate) config: ImageConfig,
    /// How long it took.
    pub(crate) timings: ImageTimings,
}

/// How long it took to make an image ready, in milliseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ImageTimings {
    pub(crate) resolve_ms: Option<u64>,
    pub(crate) build_ms: Option<u64>,
}

/// Why an image is not ready.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// It could not be read or built.
    #[error(transparent)]
    Build(#[from] RootfsError),
    /// Registries are not spoken to by this release.
    #[error("this release does not pull from registries")]
    RegistryUnsupported,
    /// No image is made for this processor.
    #[error("this processor runs no guests")]
    NoArch,
}

impl ImageError {
    pub(crate) fn kind(&self) -> FaultKind {
        match self {
            Self::RegistryUnsupported | Self::NoArch => FaultKind::Unsupported,
            Self::Build(error) => kind_of_build_error(error),
        }
    }

    pub(crate) fn hint(&self, image: &str) -> Option<String> {
        match self {
            Self::RegistryUnsupported => Some(format!(
                "fetch it with another tool and name the result: skopeo copy docker://{image} oci:./image, then oci:./image"
            )),
            Self::Build(RootfsError::Source(OciError::TagNeeded { available })) => Some(format!(
                "add one of them after a colon: {}",
                available.join(", ")
            )),
            Self::Build(RootfsError::Source(
                OciError::TagMissing { available, .. } | OciError::NoPlatform { available, .. },
            )) => Some(format!("there is: {}", available.join(", "))),
            Self::Build(error) if error.is_out_of_space() => {
                Some("free some space, or use another place: --state-dir DIR".to_owned())
            }
            Self::Build(error) if error.is_integrity() => {
                Some("fetch or export the image again; nothing of it was kept".to_owned())
            }
            Self::Build(_) | Self::NoArch => None,
        }
    }

    /// Whether a signal ended the work.
    pub(crate) fn is_cancelled(&self) -> bool {
        matches!(self, Self::Build(error) if error.is_cancelled())
    }

    /// The error of a use case that needed the image.
    pub(crate) fn of(self, image: &ImageSource, interrupt: &Interrupt) -> WorkspaceError {
        match interrupt.requested() {
            Some(signal) if self.is_cancelled() => WorkspaceError::Interrupted { signal },
            _ => WorkspaceError::Image {
                image: image.to_string(),
                source: self,
            },
        }
    }
}

fn kind_of_build_error(error: &RootfsError) -> FaultKind {
    match error {
        _ if error.is_cancelled() => FaultKind::Interrupted,
        _ if error.is_out_of_space() => FaultKind::Resource,
        _ if error.is_integrity() => FaultKind::Integrity,
        RootfsError::Source(source) => match source {
            OciError::SourceMissing { .. }
            | OciError::BlobMissing { .. }
            | OciError::TagMissing { .. }
            | OciError::NoPlatform { .. }
            | OciError::Empty => FaultKind::NotFound,
            OciError::TagNeeded { .. } | OciError::SourceKind { .. } => FaultKind::Usage,
            OciError::MediaType { .. } => FaultKind::Unsupported,
            OciError::File(error) => crate::error::kind_of_file_error(error),
            _ => FaultKind::Integrity,
        },
        RootfsError::NotStored { .. } => FaultKind::NotFound,
        RootfsError::Ambiguous { .. } => FaultKind::Usage,
        RootfsError::TooSmall { .. } | RootfsError::NoSpace { .. } => FaultKind::Resource,
        RootfsError::Cache(error) => crate::error::kind_of_file_error(error),
        RootfsError::CacheFolder(_) => FaultKind::Denied,
        RootfsError::Locked(_) => FaultKind::Busy,
        _ => FaultKind::Internal,
    }
}

/// Finds the image in the store or builds it, for a workspace with a root disk of that size.
///
/// # Errors
/// When its source can't be read, is not what it claims, or does not fit; nothing of it is kept then.
pub(crate) fn ensure(
    state: &StateDirectory,
    source: &ImageSource,
    disk_size: ByteSize,
    progress: &mut dyn Progress,
    interrupt: &Interrupt,
) -> Result<ReadyImage, ImageError> {
    if matches!(source, ImageSource::Registry(_)) {
        return Err(ImageError::RegistryUnsupported);
    }
    let options = build_options(interrupt)?;
    let shape = DiskShape::for_disk_of(disk_size.bytes());
    let store = ImageStore::open(&state.images())?.with_shape(shape);
    let built = relayed(progress, |relay| store.ensure(source, &options, relay))?;
    Ok(ReadyImage {
        reference: source.to_string(),
        digest: built.digest,
        source_kind: built.source,
        builder: built.builder,
        disk: built.disk,
        disk_size: built.size,
        config: built.config,
        timings: ImageTimings {
            resolve_ms: Some(as_ms(built.resolve_time)),
            build_ms: built.build_time.map(as_ms),
        },
    })
}

/// How disks are built: for this processor, until a signal comes.
pub(crate) fn build_options(interrupt: &Interrupt) -> Result<BuildOptions, ImageError> {
    Ok(BuildOptions {
        arch: Arch::current().ok_or(ImageError::NoArch)?,
        limits: Limits::ORDINARY,
        cancel: CancelToken::from_flag(interrupt.flag()),
    })
}

/// Work on a disk, its steps told as phases.
pub(crate) fn relayed<T>(
    progress: &mut dyn Progress,
    work: impl FnOnce(&mut dyn microagent_rootfs::Progress) -> T,
) -> T {
    let mut relay = Relay {
        progress,
        current: None,
    };
    let result = work(&mut relay);
    relay.leave();
    result
}

/// Turns the store's steps into phases.
struct Relay<'a> {
    progress: &'a mut dyn Progress,
    current: Option<Phase>,
}

impl Relay<'_> {
    fn enter(&mut self, phase: Phase) {
        if self.current == Some(phase) {
            return;
        }
        self.leave();
        self.progress.report(ProgressEvent::Begin(phase));
        self.current = Some(phase);
    }

    fn leave(&mut self) {
        if let Some(phase) = self.current.take() {
            self.progress.report(ProgressEvent::End(phase));
        }
    }
}

impl microagent_rootfs::Progress for Relay<'_> {
    fn at(&mut self, step: ProgressStep) {
        match step {
            ProgressStep::Resolve => self.enter(Phase::Resolve),
            ProgressStep::Build {
                done_bytes,
                total_bytes,
            } => {
                self.enter(Phase::Build);
                self.progress.report(ProgressEvent::Advance {
                    phase: Phase::Build,
                    done_bytes,
                    total_bytes: Some(total_bytes),
                });
            }
            _ => self.enter(Phase::Build),
        }
    }
}
