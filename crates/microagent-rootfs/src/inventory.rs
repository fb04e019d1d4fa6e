//! What the cache holds, under which names and at what cost; and what may go.
//!
//! An image goes with its last name, its layers with the last image that has them. Nothing goes
//! while somebody clones or builds it; the clones are elsewhere and are not looked at.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use microagent_os::{
    clock, fs,
    lock::{self, LockFile, LockMode},
    random,
};
use microagent_types::{Arch, ByteSize, Digest, ImageRef, ImageSource, Timestamp};

use crate::{
    attempt::{BUILDING, TURN},
    blob_store::KeptBlob,
    cache_key::DiskShape,
    error::RootfsError,
    image_record::ImageRecord,
    image_use::{ImageHold, last_used},
    name_record::NameRecord,
    store::{DISK, ImageStore, LOCK_PATIENCE},
};

const SHAPES: [DiskShape; 2] = [DiskShape::Standard, DiskShape::Fitted];

/// An image in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredImage {
    /// What it is.
    pub record: ImageRecord,
    /// Its names, sorted.
    pub names: Vec<ImageRef>,
    /// What its disk takes on the host; the disk is sparse.
    pub allocated: ByteSize,
    /// What its layers take that are kept.
    pub layers: ByteSize,
    /// Of these, what other images have too.
    pub shared: ByteSize,
    /// When a disk was cloned from it last.
    pub last_used: Option<Timestamp>,
    folders: Vec<PathBuf>,
}

impl StoredImage {
    /// What the host gets back when it goes.
    pub fn unique(&self) -> ByteSize {
        let bytes = self.allocated.bytes() + self.layers.bytes() - self.shared.bytes();
        ByteSize::from_bytes(bytes)
    }

    /// Whether this builder made it; another one's is not used any more.
    pub fn is_current(&self) -> bool {
        SHAPES
            .map(DiskShape::builder)
            .contains(&self.record.builder.as_str())
    }

    /// When it was last of use to anybody.
    fn touched(&self) -> Option<Timestamp> {
        self.last_used.or_else(|| self.record.built_at.parse().ok())
    }
}

/// What came of a deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// Whether there was anything.
    pub deleted: bool,
    /// What the host got back.
    pub freed: ByteSize,
}

/// What may go.
#[derive(Debug, Clone)]
pub struct PruneOptions {
    /// Images with names too.
    pub all: bool,
    /// Only what was not used for so long.
    pub older_than: Option<Duration>,
    /// Images that stay, whatever else.
    pub needed: BTreeSet<Digest>,
    /// Only say what would go.
    pub dry_run: bool,
}

/// What went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pruned {
    /// The images.
    pub images: Vec<StoredImage>,
    /// What the host got back, leftovers included.
    pub freed: ByteSize,
}

impl ImageStore {
    /// Every image, sorted by digest.
    pub fn list(&self) -> Result<Vec<StoredImage>, RootfsError> {
        let names = self.names().all()?;
        let blobs = self.blobs().all()?;
        let records = self.records()?;
        let mut images: Vec<StoredImage> = Vec::new();
        for (folder, record) in records {
            // One that goes meanwhile takes no room.
            let allocated = fs::allocated_bytes(&folder.join(DISK)).unwrap_or(0);
            let used = last_used(&folder);
            let current = SHAPES
                .map(DiskShape::builder)
                .contains(&record.builder.as_str());
            let twin = images.iter_mut().find(|image| {
                current && image.is_current() && image.record.digest == record.digest
            });
            if let Some(twin) = twin {
                let bytes = twin.allocated.bytes() + allocated;
                twin.allocated = ByteSize::from_bytes(bytes);
                twin.last_used = twin.last_used.max(used);
                twin.folders.push(folder);
                continue;
            }
            let has_name = |name: &&NameRecord| {
                current && name.digest == record.digest && name.arch == record.arch
            };
            let named = names.iter().filter(has_name);
            images.push(StoredImage {
                names: named.map(|name| name.reference.clone()).collect(),
                allocated: ByteSize::from_bytes(allocated),
                layers: ByteSize::from_bytes(0),
                shared: ByteSize::from_bytes(0),
                last_used: used,
                folders: vec![folder],
                record,
            });
        }
        count_layers(&mut images, &blobs);
        Ok(images)
    }

    /// The image of a name or of the first digits of a digest.
    pub fn find(&self, source: &ImageSource, arch: Arch) -> Result<StoredImage, RootfsError> {
        let missing = || RootfsError::NotStored {
            prefix: source.to_string(),
        };
        let images = self.list()?;
        match source {
            ImageSource::Registry(reference) => {
                let fits = |image: &StoredImage| {
                    image.is_current()
                        && image.record.arch == arch
                        && image.names.contains(reference)
                };
                images.into_iter().find(fits).ok_or_else(missing)
            }
            ImageSource::Stored { prefix } => {
                let fits = |image: &StoredImage| {
                    let hash = image.record.digest.hash().to_string();
                    image.is_current() && hash.starts_with(prefix)
                };
                let mut found = images.into_iter().filter(fits);
                match (found.next(), found.next()) {
                    (Some(only), None) => Ok(only),
                    (None, _) => Err(missing()),
                    (Some(_), Some(_)) => Err(RootfsError::Ambiguous {
                        prefix: prefix.clone(),
                    }),
                }
            }
            _ => Err(missing()),
        }
    }

    /// Gives an image another name; the image that had it before, when it moves.
    pub fn tag(
        &self,
        source: &ImageSource,
        name: &ImageRef,
        arch: Arch,
    ) -> Result<(StoredImage, Option<Digest>), RootfsError> {
        let _lock = self.lock()?;
        let image = self.find(source, arch)?;
        let digest = image.record.digest;
        let before = self.names().set(name, image.record.arch, digest, None)?;
        let image = self.find(&ImageSource::Registry(name.clone()), image.record.arch)?;
        Ok((image, before.filter(|before| *before != digest)))
    }

    /// Takes a name away, and the image with its last name; by its digest an image goes with all
    /// its names. What is not there is no error. What is in use is refused, and keeps its name.
    pub fn delete(&self, source: &ImageSource, arch: Arch) -> Result<Deleted, RootfsError> {
        let _lock = self.lock()?;
        let image = match self.find(source, arch) {
            Ok(image) => image,
            Err(RootfsError::NotStored { .. }) => {
                let deleted = match source {
                    // A name whose image is gone already.
                    ImageSource::Registry(reference) => self.names().remove(reference, arch)?,
                    _ => false,
                };
                return Ok(Deleted {
                    deleted,
                    freed: ByteSize::from_bytes(0),
                });
            }
            Err(error) => return Err(error),
        };
        let going: Vec<&ImageRef> = match source {
            ImageSource::Registry(reference) => vec![reference],
            _ => image.names.iter().collect(),
        };
        let is_last = image.names.iter().all(|name| going.contains(&name));
        let mut freed = 0;
        if is_last {
            freed = self.remove(&image)?.ok_or_else(|| RootfsError::InUse {
                reference: source.to_string(),
            })?;
        }
        for name in going {
            self.names().remove(name, image.record.arch)?;
        }
        if is_last {
            freed += self.remove_unnamed_blobs(false)?;
        }
        Ok(Deleted {
            deleted: true,
            freed: ByteSize::from_bytes(freed),
        })
    }

    /// Removes what nobody needs: images without a name, with `all` named ones too, disks of other
    /// builders, layers of no image, and what interrupted builds have left.
    pub fn prune(&self, options: &PruneOptions) -> Result<Pruned, RootfsError> {
        let _lock = self.lock()?;
        let now = clock::now();
        let is_old = |image: &StoredImage| {
            options.older_than.is_none_or(|age| {
                let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
                image
                    .touched()
                    .is_none_or(|touched| now.ms_since(touched) >= age)
            })
        };
        let goes = |image: &StoredImage| {
            let wanted = !image.names.is_empty() && !options.all;
            let needed = options.needed.contains(&image.record.digest);
            !image.is_current() || (!wanted && !needed && is_old(image))
        };
        let going: Vec<StoredImage> = self.list()?.into_iter().filter(goes).collect();
        let mut images = Vec::new();
        let mut freed = 0;
        for image in going {
            if options.dry_run {
                freed += image.unique().bytes();
                images.push(image);
                continue;
            }
            // What somebody is using stays, and is no failure.
            let Some(bytes) = self.remove(&image)? else {
                continue;
            };
            if image.is_current() {
                for name in &image.names {
                    self.names().remove(name, image.record.arch)?;
                }
            }
            freed += bytes;
            images.push(image);
        }
        if !options.dry_run {
            freed += self.sweep();
        }
        freed += self.remove_unnamed_blobs(options.dry_run)?;
        Ok(Pruned {
            images,
            freed: ByteSize::from_bytes(freed),
        })
    }

    fn lock(&self) -> Result<LockFile, RootfsError> {
        let path = self.folder.join("lock");
        Ok(LockFile::acquire(
            &path,
            LockMode::Exclusive,
            LOCK_PATIENCE,
        )?)
    }

    /// Removes the disks of an image; what that gave back, or nothing when one is in use.
    fn remove(&self, image: &StoredImage) -> Result<Option<u64>, RootfsError> {
        let mut rights = Vec::new();
        for folder in &image.folders {
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            if lock::is_held(&self.folder.join(format!("{TURN}{name}")))? {
                return Ok(None);
            }
            match ImageHold::for_removal(folder)? {
                Some(right) => rights.push(right),
                None => return Ok(None),
            }
        }
        for folder in &image.folders {
            // It is gone at once or not at all; what a crash leaves of it is swept later.
            let gone = self.folder.join(format!("{BUILDING}{}", random::hex_16()));
            fs::rename(folder, &gone)?;
            fs::remove_tree(&gone)?;
        }
        Ok(Some(image.allocated.bytes()))
    }

    /// Removes layers that no image has; none while somebody pulls.
    fn remove_unnamed_blobs(&self, dry_run: bool) -> Result<u64, RootfsError> {
        let blobs = self.blobs();
        let Some(_right) = blobs.removing()? else {
            return Ok(0);
        };
        let named = self.named_layers();
        let mut freed = 0;
        for blob in blobs.all()? {
            if named.contains(&blob.digest) {
                continue;
            }
            freed += blob.allocated_bytes;
            if !dry_run {
                blobs.remove(blob.digest)?;
            }
        }
        Ok(freed)
    }
}

/// What the kept layers of each image take, and what of that others have too.
fn count_layers(images: &mut [StoredImage], blobs: &[KeptBlob]) {
    let mut users: BTreeMap<Digest, u32> = BTreeMap::new();
    for image in images.iter() {
        let own: BTreeSet<Digest> = image.record.blobs().collect();
        for digest in own {
            *users.entry(digest).or_default() += 1;
        }
    }
    for image in images {
        let own: BTreeSet<Digest> = image.record.blobs().collect();
        let (mut layers, mut shared) = (0, 0);
        for blob in blobs.iter().filter(|blob| own.contains(&blob.digest)) {
            layers += blob.allocated_bytes;
            if users.get(&blob.digest).is_some_and(|users| *users > 1) {
                shared += blob.allocated_bytes;
            }
        }
        image.layers = ByteSize::from_bytes(layers);
        image.shared = ByteSize::from_bytes(shared);
    }
}
