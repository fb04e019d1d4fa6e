//! A disk in a file of the caller's, made outside of the cache: of any size, raw or as a fixed VHD.
//!
//! ```text
//! temporary file beside the target -> disk -> footer? -> sync -> rename
//! ```

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use microagent_ext4::{IMAGE_BYTES_STEP, ImageSize};
use microagent_oci::ResolvedImage;
use microagent_os::{
    FsError,
    clone_file::{Sharing, clone_file},
    fs, random,
};
use microagent_types::{ByteSize, Digest, ImageSource, Sha256Hex};
use sha2::{Digest as _, Sha256};

use crate::{
    cache_key::{BUILDER, DiskShape},
    error::RootfsError,
    identity,
    progress::{Progress, ProgressStep},
    pull::{Along, PullPolicy, Registries},
    store::{BuildOptions, ImageStore, build_disk},
    vhd,
};

/// The form of a disk in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DiskFormat {
    /// The bytes of the disk and nothing else.
    #[default]
    Raw,
    /// A fixed VHD.
    Vhd,
}

/// What is there already under the name of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// Refuse.
    Never,
    /// Put the new file in its place, when it is complete.
    Existing,
}

/// A disk to be made.
#[derive(Debug)]
pub struct Export<'a> {
    /// The image.
    pub source: &'a ImageSource,
    /// Where to.
    pub output: &'a Path,
    /// The form.
    pub format: DiskFormat,
    /// The size; what the content needs and a quarter when none.
    pub size: Option<ByteSize>,
    /// Whether an existing file goes.
    pub replace: Replace,
    /// When a registry is asked.
    pub policy: PullPolicy,
}

/// A disk in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportedDisk {
    /// Of the image.
    pub digest: Digest,
    /// Length of the disk, without a footer.
    pub size: ByteSize,
    /// In use in it.
    pub used: ByteSize,
    /// What the file takes on the host.
    pub allocated: ByteSize,
    /// Files in it, of every kind.
    pub files: u64,
    /// Which builder made it.
    pub builder: String,
    /// Of the whole file.
    pub sha256: Sha256Hex,
    /// What could not be kept.
    pub warnings: Vec<String>,
}

struct Made {
    digest: Digest,
    size: u64,
    used: u64,
    files: u64,
    warnings: Vec<String>,
}

impl ImageStore {
    /// Makes a disk of an image in a file. After an error there is no new file.
    pub fn export(
        &self,
        export: &Export<'_>,
        registries: &Registries,
        options: &BuildOptions,
        progress: &mut dyn Progress,
    ) -> Result<ExportedDisk, RootfsError> {
        if export.replace == Replace::Never && fs::is_present(export.output) {
            return Err(RootfsError::OutputTaken {
                path: export.output.to_owned(),
            });
        }
        let temporary = temporary_beside(export.output);
        let exported = self
            .disk(&temporary, export, registries, options, progress)
            .and_then(|made| finish(&temporary, export, made));
        if exported.is_err() {
            // The first error is the one that matters.
            let _ = fs::remove_file(&temporary);
        }
        exported
    }

    fn disk(
        &self,
        path: &Path,
        export: &Export<'_>,
        registries: &Registries,
        options: &BuildOptions,
        progress: &mut dyn Progress,
    ) -> Result<Made, RootfsError> {
        match export.source {
            ImageSource::Registry(reference) => {
                let asks = export.policy == PullPolicy::Always;
                let known = self.names().get(reference, options.arch)?.filter(|_| !asks);
                if let Some(name) = known {
                    return self.of_stored(path, export, name.digest, options, progress);
                }
                if export.policy == PullPolicy::Never {
                    return Err(RootfsError::NotStored {
                        prefix: reference.to_string(),
                    });
                }
                progress.at(ProgressStep::Resolve);
                let session = registries.session()?;
                let remote = session.resolve(reference, options.arch, &options.cancel)?;
                let blobs = self.blobs();
                let using = blobs.using()?;
                let downloads = session.fetch(&remote, Arc::new(blobs), &options.cancel);
                let mut along = Along {
                    downloads: &downloads,
                    progress,
                    told: Vec::new(),
                };
                let made = build(path, remote.image(), export.size, options, &mut along)
                    .and_then(|made| downloads.finish().map(|()| made).map_err(Into::into));
                drop((downloads, using));
                // The cache keeps layers for its images only.
                let layers = remote.image().layers.iter();
                self.blobs().remove_unnamed(
                    layers.filter_map(microagent_oci::Layer::digest),
                    &self.named_layers(),
                );
                made
            }
            ImageSource::Stored { .. } => {
                let digest = self.find(export.source, options.arch)?.record.digest;
                self.of_stored(path, export, digest, options, progress)
            }
            local => {
                progress.at(ProgressStep::Resolve);
                let image = microagent_oci::open(local, options.arch, &options.cancel)?;
                build(path, &image, export.size, options, progress)
            }
        }
    }

    /// Made from the layers that were kept; else the fitted disk of the cache, which has the bytes
    /// that building anew would give.
    fn of_stored(
        &self,
        path: &Path,
        export: &Export<'_>,
        digest: Digest,
        options: &BuildOptions,
        progress: &mut dyn Progress,
    ) -> Result<Made, RootfsError> {
        let blobs = self.blobs();
        let kept = microagent_oci::open_kept(digest, export.source, options.arch, &|blob| {
            blobs.path(blob)
        });
        if let Ok(image) = kept {
            return build(path, &image, export.size, options, progress);
        }
        let fitted = self.clone().with_shape(DiskShape::Fitted);
        let Some(record) = fitted.read(&fitted.key(digest))? else {
            return Err(RootfsError::SizeOfStored);
        };
        if export.size.is_some() {
            return Err(RootfsError::SizeOfStored);
        }
        let built = fitted.built(export.source, record, std::time::Duration::ZERO, None);
        let hold = fitted.hold(&built)?.ok_or_else(|| RootfsError::NotStored {
            prefix: export.source.to_string(),
        })?;
        clone_file(&built.disk, path, Sharing::Preferred)?;
        drop(hold);
        Ok(Made {
            digest: built.digest,
            size: built.size.bytes(),
            used: built.used.bytes(),
            files: built.files,
            warnings: built.warnings,
        })
    }
}

fn build(
    path: &Path,
    image: &ResolvedImage,
    size: Option<ByteSize>,
    options: &BuildOptions,
    progress: &mut dyn Progress,
) -> Result<Made, RootfsError> {
    let size = size.map_or(ImageSize::Fit, |size| {
        ImageSize::Exact(size.bytes().next_multiple_of(IMAGE_BYTES_STEP))
    });
    let assembled = build_disk(path, image, size, options, progress)?;
    Ok(Made {
        digest: image.digest,
        size: assembled.disk.size_bytes,
        used: assembled.disk.used_bytes,
        files: assembled.disk.nodes,
        warnings: assembled.warnings,
    })
}

/// Footer, durability, name.
fn finish(temporary: &Path, export: &Export<'_>, made: Made) -> Result<ExportedDisk, RootfsError> {
    let file = fs::open_read_write(temporary)?;
    if export.format == DiskFormat::Vhd {
        let footer = vhd::footer(made.size, identity::of_image(made.digest).uuid);
        fs::write_all_at(&file, &footer, made.size)
            .map_err(|source| FsError::new(microagent_os::FsAction::Write, temporary, source))?;
    }
    fs::sync_file(&file, temporary)?;
    let sha256 = hash(temporary)?;
    let allocated = fs::allocated_bytes(temporary)?;
    match export.replace {
        Replace::Existing => fs::rename(temporary, export.output)?,
        Replace::Never => {
            fs::rename_new(temporary, export.output).map_err(|error| {
                if error.kind() == std::io::ErrorKind::AlreadyExists {
                    RootfsError::OutputTaken {
                        path: export.output.to_owned(),
                    }
                } else {
                    error.into()
                }
            })?;
        }
    }
    fs::sync_folder(parent(export.output))?;
    Ok(ExportedDisk {
        digest: made.digest,
        size: ByteSize::from_bytes(made.size),
        used: ByteSize::from_bytes(made.used),
        allocated: ByteSize::from_bytes(allocated),
        files: made.files,
        builder: BUILDER.to_owned(),
        sha256,
        warnings: made.warnings,
    })
}

/// Bytes that are hashed at once.
const CHUNK_BYTES: usize = 1 << 20;

fn hash(path: &Path) -> Result<Sha256Hex, FsError> {
    let file = fs::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut at = 0;
    loop {
        let read = fs::read_at(&file, &mut buffer, at)
            .map_err(|source| FsError::new(microagent_os::FsAction::Read, path, source))?;
        if read == 0 {
            return Ok(Sha256Hex::from_bytes(hash.finalize().into()));
        }
        hash.update(&buffer[..read]);
        at += read as u64;
    }
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn temporary_beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    parent(path).join(format!(".{name}.{}", random::hex_16()))
}
