//! An image made ready to clone: found in the store, or built from its source.

use crate::image_error::ImageError;
use crate::interrupt::Interrupt;
use crate::progress::{Phase, Progress, ProgressEvent};
use crate::run::as_ms;
use microagent_rootfs::{
    BuildOptions, BuiltImage, CancelToken, DiskShape, ImageConfig, ImageHold, ImageStore, Limits,
    ProgressStep, PullPolicy, Registries, RegistryOptions, RootfsError,
};
use microagent_state::paths::StateDirectory;
use microagent_types::{Arch, ByteSize, Digest, ImageSource, RegistryHost};
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImageTimings {
    /// Until it was known which image is meant.
    pub resolve_ms: Option<u64>,
    /// From the first byte of a layer to the last; unpacking goes on meanwhile.
    pub download_ms: Option<u64>,
    /// Building, what overlaps the download included.
    pub build_ms: Option<u64>,
}

impl ImageTimings {
    pub(crate) fn of(built: &BuiltImage) -> Self {
        let pulled = built.pulled.as_ref();
        Self {
            resolve_ms: Some(as_ms(built.resolve_time)),
            download_ms: pulled.and_then(|pulled| pulled.download_time).map(as_ms),
            build_ms: built.build_time.map(as_ms),
        }
    }
}

/// Whether and how registries are asked.
#[derive(Debug, Clone, Default)]
pub struct PullSettings {
    /// When.
    pub policy: PullPolicy,
    /// Those that may be asked over plain HTTP, or with a certificate that nobody vouches for.
    pub insecure: Vec<RegistryHost>,
}

impl PullSettings {
    pub(crate) fn registries(&self) -> Registries {
        Registries::new(RegistryOptions {
            insecure: self.insecure.clone(),
            ..RegistryOptions::from_environment()
        })
    }
}

/// How often an image is made again that somebody removes before it could be used.
const TRIES_MAX: u32 = 3;

/// What a workspace needs.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    /// The image.
    pub(crate) source: &'a ImageSource,
    /// Whether and how its registry is asked.
    pub(crate) pull: &'a PullSettings,
    /// The size of the root disk.
    pub(crate) disk_size: ByteSize,
}

/// Finds the image in the store, fetches or builds it, and holds on to it: until its disk is cloned,
/// nobody removes it.
///
/// # Errors
/// When its source can't be read, is not what it claims, or does not fit; nothing of it is kept then.
pub(crate) fn ensure(
    state: &StateDirectory,
    wanted: &Wanted<'_>,
    progress: &mut dyn Progress,
    interrupt: &Interrupt,
) -> Result<(ReadyImage, ImageHold), ImageError> {
    let arch = Arch::current().ok_or(ImageError::NoArch)?;
    let source = wanted.source;
    let shape = DiskShape::for_disk_of(wanted.disk_size.bytes());
    let store = ImageStore::open(&state.images())?.with_shape(shape);
    let options = build_options(arch, interrupt);
    let registries = wanted.pull.registries();
    for _ in 0..TRIES_MAX {
        let mut relay = Relay::new(progress);
        let built = match source {
            ImageSource::Registry(reference) => store.pull(
                reference,
                wanted.pull.policy,
                &registries,
                &options,
                &mut relay,
            ),
            _ => store.ensure(source, &options, &mut relay),
        };
        relay.leave();
        let built = built.map_err(|error| in_words_of(state, error))?;
        if let Some(hold) = store.hold(&built)? {
            return Ok((ready(source, built), hold));
        }
    }
    Err(ImageError::Vanished)
}

/// Room is missing in the state directory, not in a folder of it.
fn in_words_of(state: &StateDirectory, error: RootfsError) -> RootfsError {
    match error {
        RootfsError::NoRoom {
            available, needed, ..
        } => RootfsError::NoRoom {
            path: state.root().to_owned(),
            available,
            needed,
        },
        error => error,
    }
}

/// How disks are built for this processor, until a signal comes.
pub(crate) fn build_options_here(interrupt: &Interrupt) -> Result<BuildOptions, ImageError> {
    Ok(build_options(
        Arch::current().ok_or(ImageError::NoArch)?,
        interrupt,
    ))
}

/// Work on a disk, its steps told as phases.
pub(crate) fn relayed<T>(
    progress: &mut dyn Progress,
    work: impl FnOnce(&mut dyn microagent_rootfs::Progress) -> T,
) -> T {
    let mut relay = Relay::new(progress);
    let result = work(&mut relay);
    relay.leave();
    result
}

/// How images are built.
pub(crate) fn build_options(arch: Arch, interrupt: &Interrupt) -> BuildOptions {
    BuildOptions {
        arch,
        limits: Limits::ORDINARY,
        cancel: CancelToken::from_flag(interrupt.flag()),
    }
}

fn ready(source: &ImageSource, built: BuiltImage) -> ReadyImage {
    let timings = ImageTimings::of(&built);
    ReadyImage {
        reference: source.to_string(),
        digest: built.digest,
        source_kind: built.source,
        builder: built.builder,
        disk: built.disk,
        disk_size: built.size,
        config: built.config,
        timings,
    }
}

/// Turns the store's steps into phases.
pub(crate) struct Relay<'a> {
    progress: &'a mut dyn Progress,
    current: Option<Phase>,
}

impl<'a> Relay<'a> {
    pub(crate) fn new(progress: &'a mut dyn Progress) -> Self {
        Self {
            progress,
            current: None,
        }
    }

    fn enter(&mut self, phase: Phase) {
        if self.current == Some(phase) {
            return;
        }
        self.leave();
        self.progress.report(ProgressEvent::Begin(phase));
        self.current = Some(phase);
    }

    pub(crate) fn leave(&mut self) {
        if let Some(phase) = self.current.take() {
            self.progress.report(ProgressEvent::End(phase));
        }
    }
}

impl microagent_rootfs::Progress for Relay<'_> {
    fn at(&mut self, step: ProgressStep) {
        match step {
            ProgressStep::Resolve => self.enter(Phase::Resolve),
            ProgressStep::Download {
                done_bytes,
                total_bytes,
                ..
            } => {
                self.enter(Phase::Download);
                self.progress.report(ProgressEvent::Advance {
                    phase: Phase::Download,
                    done_bytes,
                    total_bytes: Some(total_bytes),
                });
            }
            ProgressStep::Layer {
                digest,
                done_bytes,
                total_bytes,
            } => self.progress.report(ProgressEvent::Layer {
                digest,
                done_bytes,
                total_bytes,
            }),
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
