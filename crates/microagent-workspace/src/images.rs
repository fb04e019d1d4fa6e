//! Images: pulled, imported, listed, named and removed.
//!
//! What an image is, and how it becomes a disk, is known below; here it is joined with the
//! workspaces that came from it.

use crate::context::Context;
use crate::error::WorkspaceError;
use crate::image_error::ImageError;
use crate::image_ready::{ImageTimings, PullSettings, Relay, build_options};
use crate::interrupt::Interrupt;
use crate::making::check_interrupt;
use crate::progress::Progress;
use microagent_rootfs::image_record::ImageRecord;
use microagent_rootfs::{
    BuiltImage, Deleted, DiskShape, ImageStore, PruneOptions, Registries, StoredImage,
};
use microagent_state::paths::StateDirectory;
use microagent_state::{WorkspaceRecord, record_store};
use microagent_types::{Arch, ByteSize, Digest, ImageRef, ImageSource, Timestamp, WorkspaceName};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// An image and who came from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// What it is and what it costs.
    pub stored: StoredImage,
    /// The workspaces that were made from it; each has a disk of its own.
    pub workspaces: Vec<WorkspaceName>,
}

impl Image {
    /// The name that stands for it: its first, else what it was made from.
    pub fn reference(&self) -> String {
        match self.stored.names.first() {
            Some(name) => name.to_string(),
            None => self.record().reference.clone(),
        }
    }

    /// The record of its build.
    pub fn record(&self) -> &ImageRecord {
        &self.stored.record
    }

    /// What it takes on the host: its disk, and the layers that are kept.
    pub fn allocated(&self) -> ByteSize {
        self.stored.allocated
    }

    /// When a disk was cloned from it last.
    pub fn last_used(&self) -> Option<Timestamp> {
        self.stored.last_used
    }
}

/// What came of a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PulledImage {
    /// The image.
    pub image: Image,
    /// Whether the name is new here, or stands for another image than before.
    pub changed: bool,
    /// Bytes of layers that came.
    pub downloaded: ByteSize,
    /// Layers that were there already.
    pub reused_layers: u64,
    /// What could not be kept.
    pub warnings: Vec<String>,
    /// How long it took.
    pub timings: ImageTimings,
}

/// What came of an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedImage {
    /// The image.
    pub image: Image,
    /// What could not be kept.
    pub warnings: Vec<String>,
    /// How long it took.
    pub timings: ImageTimings,
}

/// What a prune removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PruneSettings {
    /// Images with names too, unless a workspace came from them.
    pub all: bool,
    /// Only what was not used for so long.
    pub older_than: Option<Duration>,
    /// Only say what would go.
    pub dry_run: bool,
}

/// What a prune has removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrunedImages {
    /// The images.
    pub images: Vec<Image>,
    /// What the host got back.
    pub freed: ByteSize,
}

/// Fetches and builds images, one after the other. One that fails does not stop the others; a signal
/// does.
pub fn pull(
    context: &Context,
    references: &[ImageRef],
    arch: Arch,
    settings: &PullSettings,
    progress: &mut dyn Progress,
    interrupt: &Interrupt,
) -> Vec<Result<PulledImage, WorkspaceError>> {
    let registries = settings.registries();
    let one = |reference| {
        check_interrupt(interrupt)?;
        let state = StateDirectory::at(&context.state_dir);
        state.create()?;
        let source = ImageSource::Registry(ImageRef::clone(reference));
        pull_one(
            &state,
            &source,
            reference,
            arch,
            settings,
            &registries,
            progress,
            interrupt,
        )
        .map_err(|error| error.of(&source, interrupt))
    };
    references.iter().map(one).collect()
}

#[expect(
    clippy::too_many_arguments,
    reason = "the caller's own list, for one of several references"
)]
fn pull_one(
    state: &StateDirectory,
    source: &ImageSource,
    reference: &ImageRef,
    arch: Arch,
    settings: &PullSettings,
    registries: &Registries,
    progress: &mut dyn Progress,
    interrupt: &Interrupt,
) -> Result<PulledImage, ImageError> {
    let store = ImageStore::open(&state.images())?;
    let options = build_options(arch, interrupt);
    let mut relay = Relay::new(progress);
    let built = store.pull(reference, settings.policy, registries, &options, &mut relay);
    relay.leave();
    let built = built?;
    let pulled = built.pulled.as_ref();
    Ok(PulledImage {
        changed: pulled.is_some_and(|pulled| pulled.changed),
        downloaded: ByteSize::from_bytes(pulled.map_or(0, |pulled| pulled.downloaded_bytes)),
        reused_layers: pulled.map_or(0, |pulled| pulled.reused_layers),
        timings: ImageTimings::of(&built),
        image: describe(state, store.find(source, arch)?),
        warnings: built.warnings,
    })
}

/// Builds an image from a folder or an archive, and names it: as told, else as the source does.
pub fn import(
    context: &Context,
    source: &ImageSource,
    name: Option<&ImageRef>,
    arch: Arch,
    progress: &mut dyn Progress,
    interrupt: &Interrupt,
) -> Result<ImportedImage, WorkspaceError> {
    let state = StateDirectory::at(&context.state_dir);
    state.create()?;
    import_one(&state, source, name, arch, progress, interrupt)
        .map_err(|error| error.of(source, interrupt))
}

fn import_one(
    state: &StateDirectory,
    source: &ImageSource,
    name: Option<&ImageRef>,
    arch: Arch,
    progress: &mut dyn Progress,
    interrupt: &Interrupt,
) -> Result<ImportedImage, ImageError> {
    // A fitted disk grows into any workspace; another one can't be made without the archive.
    let store = ImageStore::open(&state.images())?.with_shape(DiskShape::Fitted);
    let mut relay = Relay::new(progress);
    let built = store.ensure(source, &build_options(arch, interrupt), &mut relay);
    relay.leave();
    let built = built?;
    let by_digest = stored_source(&built);
    let own = || built.name.as_deref().and_then(own_name);
    let stored = match name.cloned().or_else(own) {
        Some(name) => store.tag(&by_digest, &name, arch)?.0,
        None => store.find(&by_digest, arch)?,
    };
    Ok(ImportedImage {
        timings: ImageTimings::of(&built),
        image: describe(state, stored),
        warnings: built.warnings,
    })
}

/// The name that an archive gives its image: a bare tag is none.
fn own_name(name: &str) -> Option<ImageRef> {
    name.contains([':', '/'])
        .then(|| name.parse().ok())
        .flatten()
}

fn stored_source(built: &BuiltImage) -> ImageSource {
    ImageSource::Stored {
        prefix: built.digest.hash().to_string(),
    }
}

/// Every image here.
///
/// # Errors
/// When the cache can't be read.
pub fn list(context: &Context) -> Result<Vec<Image>, WorkspaceError> {
    let state = StateDirectory::at(&context.state_dir);
    let Some(store) = existing(&state)? else {
        return Ok(Vec::new());
    };
    let stored = store.list().map_err(of_cache)?;
    let mut users = users(&state);
    let with_users = |stored: StoredImage| Image {
        workspaces: users.remove(&stored.record.digest).unwrap_or_default(),
        stored,
    };
    Ok(stored.into_iter().map(with_users).collect())
}

/// One image, by name or by the first digits of its digest.
///
/// # Errors
/// When it is not here.
pub fn inspect(
    context: &Context,
    source: &ImageSource,
    arch: Arch,
) -> Result<Image, WorkspaceError> {
    let state = StateDirectory::at(&context.state_dir);
    state.create()?;
    ImageStore::open(&state.images())
        .and_then(|store| store.find(source, arch))
        .map(|stored| describe(&state, stored))
        .map_err(|error| of_image(error, source))
}

/// Gives a stored image another name; the image that had it before, when it moves.
///
/// # Errors
/// When the image is not here.
pub fn tag(
    context: &Context,
    source: &ImageSource,
    name: &ImageRef,
    arch: Arch,
) -> Result<(Image, Option<Digest>), WorkspaceError> {
    let state = StateDirectory::at(&context.state_dir);
    state.create()?;
    ImageStore::open(&state.images())
        .and_then(|store| store.tag(source, name, arch))
        .map(|(stored, before)| (describe(&state, stored), before))
        .map_err(|error| of_image(error, source))
}

/// Drops a name, and the image when it was the last one; by its digest, the image with all its names.
///
/// # Errors
/// When somebody builds it or clones its disk right now.
pub fn delete(
    context: &Context,
    source: &ImageSource,
    arch: Arch,
) -> Result<Deleted, WorkspaceError> {
    let state = StateDirectory::at(&context.state_dir);
    let deleted = match existing(&state)? {
        Some(store) => store.delete(source, arch),
        None => Ok(Deleted {
            deleted: false,
            freed: ByteSize::from_bytes(0),
        }),
    };
    deleted.map_err(|error| of_image(error, source))
}

/// Removes what nobody needs. An image that a workspace came from stays.
///
/// # Errors
/// When the cache can't be read or changed.
pub fn prune(context: &Context, settings: PruneSettings) -> Result<PrunedImages, WorkspaceError> {
    let state = StateDirectory::at(&context.state_dir);
    let Some(store) = existing(&state)? else {
        return Ok(PrunedImages {
            images: Vec::new(),
            freed: ByteSize::from_bytes(0),
        });
    };
    let needed: BTreeSet<Digest> = users(&state).into_keys().collect();
    let options = PruneOptions {
        all: settings.all,
        older_than: settings.older_than,
        needed,
        dry_run: settings.dry_run,
    };
    let pruned = store.prune(&options).map_err(of_cache)?;
    let images = pruned.images.into_iter();
    Ok(PrunedImages {
        images: images.map(|stored| describe(&state, stored)).collect(),
        freed: pruned.freed,
    })
}

/// The cache, when there is one.
fn existing(state: &StateDirectory) -> Result<Option<ImageStore>, WorkspaceError> {
    if !microagent_os::fs::is_folder(&state.images()) {
        return Ok(None);
    }
    ImageStore::open(&state.images())
        .map(Some)
        .map_err(of_cache)
}

fn describe(state: &StateDirectory, stored: StoredImage) -> Image {
    Image {
        workspaces: users(state)
            .remove(&stored.record.digest)
            .unwrap_or_default(),
        stored,
    }
}

/// The workspaces by the image that they came from. One whose record can't be read is not counted:
/// `list` is where that shows.
fn users(state: &StateDirectory) -> BTreeMap<Digest, Vec<WorkspaceName>> {
    let mut users: BTreeMap<Digest, Vec<WorkspaceName>> = BTreeMap::new();
    for name in state.list_names().unwrap_or_default() {
        let path = state.workspace(&name).workspace_record();
        if let Ok(Some(stored)) = record_store::read::<WorkspaceRecord>(&path)
            && let Some(digest) = image_of(&stored.value)
        {
            users.entry(digest).or_default().push(name);
        }
    }
    users
}

fn image_of(record: &WorkspaceRecord) -> Option<Digest> {
    record.config.image.as_ref()?.digest
}

fn of_cache(error: microagent_rootfs::RootfsError) -> WorkspaceError {
    WorkspaceError::Images(ImageError::from(error))
}

fn of_image(error: microagent_rootfs::RootfsError, source: &ImageSource) -> WorkspaceError {
    WorkspaceError::Image {
        image: source.to_string(),
        source: ImageError::from(error),
    }
}
