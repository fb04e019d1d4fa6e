//! The image cache: a folder a built image, found by digest and builder, published by one rename.
//!
//! ```text
//! images/
//!   lock                          held while a folder is published or removed
//!   sha256-<hex>-<builder>/       one for each shape: image.json, disk.ext4; complete or not there; use
//!   building-<random>/            lock (held by its builder), disk.ext4, image.json
//!   turn-<hex>-<builder>          held by who builds that image
//!   names/                        which image a name stands for (`names`)
//!   blobs/                        what was fetched (`blob_store`)
//! ```
//!
//! A builder that dies leaves its folder behind and, with its end, the lock in it free; the next
//! build removes such folders. A builder that fails or is interrupted removes its own.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use microagent_ext4::{Ext4Writer, ImageError, ImageSize};
use microagent_oci::{CancelToken, ImageConfig, Limits, ResolvedImage};
use microagent_os::{
    clock, dirs, fs,
    lock::{self, LockFile, LockMode},
};
use microagent_types::{Arch, ByteSize, Digest, ImageRef, ImageSource};

use crate::{
    assemble::{Assembled, assemble},
    attempt::{self, Attempt, BUILDING, LOCK, Turn},
    blob_store::BlobFolder,
    cache_key::{CacheKey, DiskShape},
    disk_sink::DiskSink,
    error::RootfsError,
    flatten::Whiteouts,
    identity,
    image_record::{ConfigRecord, ImageRecord, LayerRecord, SCHEMA},
    image_use::ImageHold,
    names::Names,
    progress::{Progress, ProgressStep},
};

/// The file with the disk.
pub(crate) const DISK: &str = "disk.ext4";
/// The file with the record.
const RECORD: &str = "image.json";
/// What a folder of an image is called first.
pub(crate) const IMAGE: &str = "sha256-";
/// The largest record that is read.
const RECORD_BYTES_MAX: u64 = 16 << 20;
/// How long another process may take for one rename or removal.
pub(crate) const LOCK_PATIENCE: Duration = Duration::from_secs(30);

/// How to build.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// For which processor.
    pub arch: Arch,
    /// Bounds on what layers may hold.
    pub limits: Limits,
    /// Ends the work early.
    pub cancel: CancelToken,
}

/// An image whose disk is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltImage {
    /// Identifies the content.
    pub digest: Digest,
    /// For which processor.
    pub arch: Arch,
    /// Which builder made the disk.
    pub builder: String,
    /// The source as it was given now.
    pub reference: String,
    /// The kind of that source.
    pub source: &'static str,
    /// The name that the source had for it.
    pub name: Option<String>,
    /// The disk. It must not be written: clone it.
    pub disk: PathBuf,
    /// Length of the disk.
    pub size: ByteSize,
    /// In use in it.
    pub used: ByteSize,
    /// Files in it, of every kind.
    pub files: u64,
    /// What it wants to run.
    pub config: ImageConfig,
    /// What could not be kept.
    pub warnings: Vec<String>,
    /// Whether it was there already.
    pub reused: bool,
    /// How long finding the image in its source took.
    pub resolve_time: Duration,
    /// How long building took, when it was built now.
    pub build_time: Option<Duration>,
    /// What was fetched for it now, when its registry was asked.
    pub pulled: Option<Pulled>,
}

/// What asking a registry has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulled {
    /// Whether the name stands for another image than before, or is new.
    pub changed: bool,
    /// Bytes of layers that came now.
    pub downloaded_bytes: u64,
    /// Layers that were there already.
    pub reused_layers: u64,
    /// How long fetching took; unpacking goes on meanwhile.
    pub download_time: Option<Duration>,
}

/// A folder of built images.
#[derive(Debug, Clone)]
pub struct ImageStore {
    pub(crate) folder: PathBuf,
    pub(crate) shape: DiskShape,
}

impl ImageStore {
    /// Opens the folder, and makes it, for its owner only, when it is not there.
    pub fn open(folder: &Path) -> Result<Self, RootfsError> {
        dirs::ensure_private_all(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            shape: DiskShape::default(),
        })
    }

    /// The same folder, for disks of another shape.
    #[must_use]
    pub fn with_shape(self, shape: DiskShape) -> Self {
        Self { shape, ..self }
    }

    pub(crate) fn key(&self, digest: Digest) -> CacheKey {
        CacheKey::new(digest, self.shape)
    }

    /// The built image of `source`, from the cache or built now.
    ///
    /// After an error, an interruption included, nothing of the attempt is left.
    pub fn ensure(
        &self,
        source: &ImageSource,
        options: &BuildOptions,
        progress: &mut dyn Progress,
    ) -> Result<BuiltImage, RootfsError> {
        match source {
            ImageSource::Stored { prefix } => {
                return self.stored(source, prefix, options, progress);
            }
            ImageSource::Registry(reference) => {
                let stored = self.named(reference, options, progress)?;
                return stored.ok_or_else(|| RootfsError::NotStored {
                    prefix: reference.to_string(),
                });
            }
            _ => {}
        }
        progress.at(ProgressStep::Resolve);
        let begun = clock::monotonic();
        let image = microagent_oci::open(source, options.arch, &options.cancel)?;
        let resolve_time = begun.elapsed();
        let mut built = self.ensure_resolved(&image, options, progress)?;
        built.resolve_time = resolve_time;
        Ok(built)
    }

    /// The same for an image that has been resolved elsewhere.
    pub fn ensure_resolved(
        &self,
        image: &ResolvedImage,
        options: &BuildOptions,
        progress: &mut dyn Progress,
    ) -> Result<BuiltImage, RootfsError> {
        if let Some(record) = self.read(&self.key(image.digest))? {
            return Ok(self.built(&image.source, record, Duration::ZERO, None));
        }
        let key = self.key(image.digest);
        let _turn = Turn::wait(&self.folder, &key, &options.cancel, progress)?;
        if let Some(record) = self.read(&key)? {
            return Ok(self.built(&image.source, record, Duration::ZERO, None));
        }
        let documents = self.documents_of(image.digest);
        self.build_now(image, &documents, options, progress, || Ok(()))
    }

    /// Builds and publishes, with the turn taken. `proved` has the last word before that.
    pub(crate) fn build_now(
        &self,
        image: &ResolvedImage,
        documents: &[Digest],
        options: &BuildOptions,
        progress: &mut dyn Progress,
        proved: impl FnOnce() -> Result<(), RootfsError>,
    ) -> Result<BuiltImage, RootfsError> {
        let begun = clock::monotonic();
        self.sweep();
        self.check_room(image)?;
        let attempt = Attempt::begin(&self.folder)?;
        let built = build(&attempt, image, self.shape, documents, options, progress);
        let record = match built.and_then(|record| proved().map(|()| record)) {
            Ok(record) => record,
            Err(error) => {
                drop(attempt);
                return Err(self.explained(error));
            }
        };
        let record = self.publish(attempt, record)?;
        Ok(self.built(&image.source, record, Duration::ZERO, Some(begun.elapsed())))
    }

    /// What another disk of the image says of its documents.
    fn documents_of(&self, digest: Digest) -> Vec<Digest> {
        let other = self.clone().with_shape(self.shape.other());
        let record = other.read(&other.key(digest)).ok().flatten();
        record.map(|record| record.documents).unwrap_or_default()
    }

    /// Holds on to an image while its disk is needed, or nothing when it is gone meanwhile.
    pub fn hold(&self, image: &BuiltImage) -> Result<Option<ImageHold>, RootfsError> {
        ImageHold::take(image.disk.parent().unwrap_or(&self.folder))
    }

    pub(crate) fn names(&self) -> Names {
        Names::at(&self.folder)
    }

    pub(crate) fn blobs(&self) -> BlobFolder {
        BlobFolder::at(&self.folder)
    }

    /// The built image that has a name: its disk is there, or what it is made of.
    pub(crate) fn named(
        &self,
        reference: &ImageRef,
        options: &BuildOptions,
        progress: &mut dyn Progress,
    ) -> Result<Option<BuiltImage>, RootfsError> {
        let Some(name) = self.names().get(reference, options.arch)? else {
            return Ok(None);
        };
        let source = ImageSource::Registry(reference.clone());
        self.known(name.digest, &source, options, progress)
    }

    /// The built image whose digest begins with `prefix`.
    fn stored(
        &self,
        source: &ImageSource,
        prefix: &str,
        options: &BuildOptions,
        progress: &mut dyn Progress,
    ) -> Result<BuiltImage, RootfsError> {
        let mut found: Option<Digest> = None;
        let wanted = format!("{IMAGE}{prefix}");
        for entry in fs::list(&self.folder)? {
            let name = entry.name.to_string_lossy().into_owned();
            let Some(digest) = digest_of_folder(&name).filter(|_| name.starts_with(&wanted)) else {
                continue;
            };
            if found.is_some_and(|found| found != digest) {
                return Err(RootfsError::Ambiguous {
                    prefix: prefix.to_owned(),
                });
            }
            found = Some(digest);
        }
        let known = match found {
            Some(digest) => self.known(digest, source, options, progress)?,
            None => None,
        };
        known.ok_or_else(|| RootfsError::NotStored {
            prefix: prefix.to_owned(),
        })
    }

    /// An image that is here: in this shape, in one that can grow to it, or made from what was kept;
    /// a disk of another shape is better than none.
    fn known(
        &self,
        digest: Digest,
        source: &ImageSource,
        options: &BuildOptions,
        progress: &mut dyn Progress,
    ) -> Result<Option<BuiltImage>, RootfsError> {
        let there = |store: &Self| -> Result<Option<BuiltImage>, RootfsError> {
            let record = store.read(&store.key(digest))?;
            Ok(record.map(|record| store.built(source, record, Duration::ZERO, None)))
        };
        if let Some(built) = there(self)? {
            return Ok(Some(built));
        }
        let other = self.clone().with_shape(self.shape.other());
        let of_other_shape = there(&other)?;
        if self.shape == DiskShape::Standard && of_other_shape.is_some() {
            return Ok(of_other_shape);
        }
        let blobs = self.blobs();
        let kept =
            microagent_oci::open_kept(digest, source, options.arch, &|blob| blobs.path(blob));
        match kept {
            Ok(image) => self.ensure_resolved(&image, options, progress).map(Some),
            Err(_) => Ok(of_other_shape),
        }
    }

    /// The record of an image that is complete; a folder that is not counts as absent.
    pub(crate) fn read(&self, key: &CacheKey) -> Result<Option<ImageRecord>, RootfsError> {
        read_folder(&self.folder.join(key.to_string()))
    }

    /// Every image here that is complete, of this builder and of others, with its folder.
    pub(crate) fn records(&self) -> Result<Vec<(PathBuf, ImageRecord)>, RootfsError> {
        let mut records = Vec::new();
        for entry in fs::list(&self.folder)? {
            let folder = self.folder.join(&entry.name);
            if entry.name.to_string_lossy().starts_with(IMAGE)
                && let Some(record) = read_folder(&folder)?
            {
                records.push((folder, record));
            }
        }
        records.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(records)
    }

    /// Makes a finished attempt visible. Whoever comes second takes what is there.
    fn publish(&self, attempt: Attempt, record: ImageRecord) -> Result<ImageRecord, RootfsError> {
        let key = self.key(record.digest);
        let place = self.folder.join(key.to_string());
        let lock = LockFile::acquire(&self.folder.join(LOCK), LockMode::Exclusive, LOCK_PATIENCE)?;
        if let Some(there) = self.read(&key)? {
            return Ok(there);
        }
        // A folder without a whole record is no image: a damaged disk, or an older form.
        fs::remove_tree(&place)?;
        attempt.publish(&place)?;
        fs::sync_folder(&self.folder)?;
        drop(lock);
        Ok(record)
    }

    /// Removes what builders left that are gone, and says how much that was. Best effort: another
    /// sweep may be at it.
    pub(crate) fn sweep(&self) -> u64 {
        // Where another process begins or sweeps, the next one will do.
        let Ok(Some(_sweeps)) = attempt::folders(&self.folder, LockMode::Exclusive, Duration::ZERO)
        else {
            return 0;
        };
        let Ok(entries) = fs::list(&self.folder) else {
            return 0;
        };
        let mut freed = 0;
        for entry in entries {
            if !entry.name.to_string_lossy().starts_with(BUILDING) {
                continue;
            }
            let folder = self.folder.join(&entry.name);
            if !matches!(lock::is_held(&folder.join(LOCK)), Ok(true)) {
                let bytes = fs::allocated_bytes(&folder.join(DISK)).unwrap_or(0);
                // What stays now goes with the next sweep.
                if fs::remove_tree(&folder).is_ok() {
                    freed += bytes;
                }
            }
        }
        freed + self.blobs().sweep()
    }

    /// Refuses an image whose layers alone are more than there is room for, before anything is
    /// written. They take at least so much while they are unpacked.
    pub(crate) fn check_room(&self, image: &ResolvedImage) -> Result<(), RootfsError> {
        let needed = image
            .layers
            .iter()
            .map(microagent_oci::Layer::stored_bytes)
            .fold(0_u64, u64::saturating_add);
        // Where nobody tells, the build will.
        match fs::space(&self.folder) {
            Ok(space) if space.available_bytes < needed => Err(RootfsError::NoRoom {
                path: self.folder.clone(),
                available: ByteSize::from_bytes(space.available_bytes),
                needed: ByteSize::from_bytes(needed),
            }),
            _ => Ok(()),
        }
    }

    /// A full disk is said as what it is, with what is free now that the attempt is gone.
    fn explained(&self, error: RootfsError) -> RootfsError {
        if !error.is_out_of_space() {
            return error;
        }
        match fs::space(&self.folder) {
            Ok(space) => RootfsError::NoSpace {
                path: self.folder.clone(),
                available: ByteSize::from_bytes(space.available_bytes),
            },
            Err(_) => error,
        }
    }

    pub(crate) fn built(
        &self,
        source: &ImageSource,
        record: ImageRecord,
        resolve_time: Duration,
        build_time: Option<Duration>,
    ) -> BuiltImage {
        let disk = self.folder.join(folder_of(&record)).join(DISK);
        BuiltImage {
            digest: record.digest,
            arch: record.arch,
            builder: record.builder.clone(),
            reference: source.to_string(),
            source: source.kind(),
            name: record.name,
            disk,
            size: ByteSize::from_bytes(record.size_bytes),
            used: ByteSize::from_bytes(record.used_bytes),
            files: record.files,
            config: record.config.into(),
            warnings: record.warnings,
            reused: build_time.is_none(),
            resolve_time,
            build_time,
            pulled: None,
        }
    }
}

fn folder_of(record: &ImageRecord) -> String {
    format!("{IMAGE}{}-{}", record.digest.hash(), record.builder)
}

fn read_folder(folder: &Path) -> Result<Option<ImageRecord>, RootfsError> {
    let Some(bytes) = fs::read_bounded_if_present(&folder.join(RECORD), RECORD_BYTES_MAX)? else {
        return Ok(None);
    };
    let Ok(record) = serde_json::from_slice::<ImageRecord>(&bytes) else {
        return Ok(None);
    };
    let disk = folder.join(DISK);
    let whole = fs::is_file(&disk) && fs::metadata(&disk)?.len() == record.size_bytes;
    Ok((record.schema == SCHEMA && whole).then_some(record))
}

/// The digest in the name of a folder that this builder made.
fn digest_of_folder(name: &str) -> Option<Digest> {
    let (hex, builder) = name.strip_prefix(IMAGE)?.split_once('-')?;
    let ours = [DiskShape::Standard, DiskShape::Fitted].map(DiskShape::builder);
    let digest = format!("sha256:{hex}").parse().ok()?;
    ours.contains(&builder).then_some(digest)
}

/// Builds disk and record into the folder of an attempt.
fn build(
    attempt: &Attempt,
    image: &ResolvedImage,
    shape: DiskShape,
    documents: &[Digest],
    options: &BuildOptions,
    progress: &mut dyn Progress,
) -> Result<ImageRecord, RootfsError> {
    let disk = attempt.folder.join(DISK);
    let assembled = build_disk(&disk, image, shape.size(), options, progress)?;
    let record = ImageRecord {
        schema: SCHEMA,
        digest: image.digest,
        arch: image.arch,
        builder: shape.builder().to_owned(),
        reference: image.source.to_string(),
        source: image.source.kind().to_owned(),
        name: image.name.clone(),
        created_at: image.created.clone(),
        built_at: clock::now().to_string(),
        size_bytes: assembled.disk.size_bytes,
        used_bytes: assembled.disk.used_bytes,
        files: assembled.disk.nodes,
        warnings: assembled.warnings,
        layers: image
            .layers
            .iter()
            .map(|layer| LayerRecord {
                digest: layer.digest(),
                size_bytes: layer.stored_bytes(),
            })
            .collect(),
        documents: documents.to_vec(),
        config: ConfigRecord::from(&image.config),
    };
    let bytes = serde_json::to_vec_pretty(&record)?;
    let path = attempt.folder.join(RECORD);
    let file = fs::create_new(&path)?;
    fs::write_all_at(&file, &bytes, 0).map_err(disk_error)?;
    fs::sync_file(&file, &path)?;
    fs::sync_folder(&attempt.folder)?;
    Ok(record)
}

/// Builds the disk of an image into the new file `path` and makes it durable.
///
/// Outside of the cache: for a disk of a given size. After an error the file may be there.
pub fn build_disk(
    path: &Path,
    image: &ResolvedImage,
    size: ImageSize,
    options: &BuildOptions,
    progress: &mut dyn Progress,
) -> Result<Assembled, RootfsError> {
    let mut sink = DiskSink::create(path)?;
    let writer = Ext4Writer::new(&mut sink, size, identity::of_image(image.digest))?;
    let whiteouts = match image.source {
        ImageSource::RootfsTar { .. } => Whiteouts::Plain,
        _ => Whiteouts::Honoured,
    };
    let assembled = assemble(
        &image.layers,
        whiteouts,
        writer,
        options.limits,
        &options.cancel,
        progress,
    )?;
    progress.at(ProgressStep::Sync);
    sink.sync()?;
    if options.cancel.is_cancelled() {
        return Err(RootfsError::Cancelled);
    }
    Ok(assembled)
}

fn disk_error(source: io::Error) -> RootfsError {
    RootfsError::Disk(ImageError::Write { offset: 0, source })
}
