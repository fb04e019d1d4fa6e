//! The image cache: a folder a built image, found by digest and builder, published by one rename.
//!
//! ```text
//! images/
//!   lock                          held while a folder is published or removed
//!   sha256-<hex>-<builder>/       one for each shape: image.json, disk.ext4; complete or not there
//!   building-<random>/            lock (held by its builder), disk.ext4, image.json
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
    FsError, clock, dirs, fs,
    lock::{self, LockFile, LockMode},
    random,
};
use microagent_types::{Arch, ByteSize, Digest, ImageSource};

use crate::{
    assemble::{Assembled, assemble},
    cache_key::{CacheKey, DiskShape},
    disk_sink::DiskSink,
    error::RootfsError,
    flatten::Whiteouts,
    identity,
    image_record::{ConfigRecord, ImageRecord, LayerRecord, SCHEMA},
    progress::{Progress, ProgressStep},
};

/// The file with the disk.
const DISK: &str = "disk.ext4";
/// The file with the record.
const RECORD: &str = "image.json";
/// What a folder in the making is called first.
const BUILDING: &str = "building-";
/// What a folder of an image is called first.
const IMAGE: &str = "sha256-";
const LOCK: &str = "lock";
/// The largest record that is read.
const RECORD_BYTES_MAX: u64 = 16 << 20;
/// How long another process may take for one rename or removal.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);

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
}

/// A folder of built images.
#[derive(Debug, Clone)]
pub struct ImageStore {
    folder: PathBuf,
    shape: DiskShape,
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

    fn key(&self, digest: Digest) -> CacheKey {
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
        if let ImageSource::Stored { prefix } = source {
            return self.stored(source, prefix);
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
        let begun = clock::monotonic();
        self.sweep();
        let attempt = Attempt::begin(&self.folder)?;
        let record = match build(&attempt, image, self.shape, options, progress) {
            Ok(record) => record,
            Err(error) => {
                drop(attempt);
                return Err(self.explained(error));
            }
        };
        let record = self.publish(attempt, record)?;
        Ok(self.built(&image.source, record, Duration::ZERO, Some(begun.elapsed())))
    }

    /// The built image whose digest begins with `prefix`.
    fn stored(&self, source: &ImageSource, prefix: &str) -> Result<BuiltImage, RootfsError> {
        let mut found = None;
        let wanted = format!("{IMAGE}{prefix}");
        for entry in fs::list(&self.folder)? {
            let name = entry.name.to_string_lossy().into_owned();
            let Some(digest) = digest_of_folder(&name).filter(|_| name.starts_with(&wanted)) else {
                continue;
            };
            if found.replace(digest).is_some_and(|other| other != digest) {
                return Err(RootfsError::Ambiguous {
                    prefix: prefix.to_owned(),
                });
            }
        }
        // There is nothing to build from, so a disk of the other shape is better than none.
        let other = self.clone().with_shape(self.shape.other());
        for store in [self, &other] {
            if let Some(digest) = found
                && let Some(record) = store.read(&store.key(digest))?
            {
                return Ok(store.built(source, record, Duration::ZERO, None));
            }
        }
        Err(RootfsError::NotStored {
            prefix: prefix.to_owned(),
        })
    }

    /// The record of an image that is complete; a folder that is not counts as absent.
    fn read(&self, key: &CacheKey) -> Result<Option<ImageRecord>, RootfsError> {
        let folder = self.folder.join(key.to_string());
        let Some(bytes) = fs::read_bounded_if_present(&folder.join(RECORD), RECORD_BYTES_MAX)?
        else {
            return Ok(None);
        };
        let Ok(record) = serde_json::from_slice::<ImageRecord>(&bytes) else {
            return Ok(None);
        };
        let disk = folder.join(DISK);
        let whole = fs::is_file(&disk) && fs::metadata(&disk)?.len() == record.size_bytes;
        Ok((record.schema == SCHEMA && whole).then_some(record))
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

    /// Removes what builders left that are gone. Best effort: another sweep may be at it.
    fn sweep(&self) {
        let Ok(entries) = fs::list(&self.folder) else {
            return;
        };
        for entry in entries {
            if !entry.name.to_string_lossy().starts_with(BUILDING) {
                continue;
            }
            let folder = self.folder.join(&entry.name);
            if !matches!(lock::is_held(&folder.join(LOCK)), Ok(true)) {
                // What stays now goes with the next sweep.
                let _ = fs::remove_tree(&folder);
            }
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

    fn built(
        &self,
        source: &ImageSource,
        record: ImageRecord,
        resolve_time: Duration,
        build_time: Option<Duration>,
    ) -> BuiltImage {
        BuiltImage {
            digest: record.digest,
            arch: record.arch,
            builder: record.builder,
            reference: source.to_string(),
            source: source.kind(),
            name: record.name,
            disk: self
                .folder
                .join(self.key(record.digest).to_string())
                .join(DISK),
            size: ByteSize::from_bytes(record.size_bytes),
            used: ByteSize::from_bytes(record.used_bytes),
            files: record.files,
            config: record.config.into(),
            warnings: record.warnings,
            reused: build_time.is_none(),
            resolve_time,
            build_time,
        }
    }
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

/// A folder in the making; dropping it removes it, unless it was published.
struct Attempt {
    folder: PathBuf,
    lock: Option<LockFile>,
}

impl Attempt {
    fn begin(images: &Path) -> Result<Self, RootfsError> {
        let folder = images.join(format!("{BUILDING}{}", random::hex_16()));
        dirs::create_private(&folder)?;
        let mut attempt = Self { folder, lock: None };
        let lock = attempt.folder.join(LOCK);
        attempt.lock = Some(LockFile::acquire(
            &lock,
            LockMode::Exclusive,
            Duration::ZERO,
        )?);
        Ok(attempt)
    }

    fn publish(mut self, place: &Path) -> Result<(), FsError> {
        fs::rename(&self.folder, place)?;
        // From here on the folder is an image, whatever happens to its lock file.
        self.folder = PathBuf::new();
        let _ = fs::remove_file(&place.join(LOCK));
        Ok(())
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.folder.as_os_str().is_empty() {
            // What stays goes with the next sweep.
            let _ = fs::remove_tree(&self.folder);
        }
    }
}
