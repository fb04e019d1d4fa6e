//! Reads each layer once and leaves a disk.
//!
//! ```text
//! layer -> tar -> bytes of files -> image writer -> contents
//!             \-> entries -------> flatten -> tree -> image writer -> tables
//! ```

use microagent_ext4::{
    Attribute, ContentId, DeviceNumber, ImageError, ImageSummary, ImageWriter, Metadata, Timestamp,
};
use microagent_oci::{CancelToken, Layer, LayerReader, Limits, OciError};
use microagent_tar::{self as tar, ByteSource, Content, TarError, TarReader};

use crate::{
    entry::{EntryKind, EntryPath, LayerEntry, LeadingSlash, PathError},
    error::RootfsError,
    flatten::{FlattenError, Flattening, Whiteouts},
    progress::{Progress, ProgressStep},
};

/// What came of it beside the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assembled {
    /// Sizes and counts of the disk.
    pub disk: ImageSummary,
    /// What could not be kept, in sentences for people; at most [`WARNINGS_MAX`].
    pub warnings: Vec<String>,
}

/// More warnings than these are counted in the last one.
pub const WARNINGS_MAX: usize = 20;

/// Lays `layers` on one another, lowest first, and writes the result.
pub fn assemble(
    layers: &[Layer],
    whiteouts: Whiteouts,
    mut writer: impl ImageWriter,
    limits: Limits,
    cancel: &CancelToken,
    progress: &mut dyn Progress,
) -> Result<Assembled, RootfsError> {
    let total_bytes = layers.iter().map(Layer::stored_bytes).sum();
    let mut done_bytes = 0;
    let mut flattening = Flattening::new(whiteouts);
    let mut warnings = Warnings::default();
    let mut plain_bytes_left = limits.image_plain_bytes_max;
    for layer in layers {
        flattening.begin_layer();
        let of_this_layer = Limits {
            layer_plain_bytes_max: limits.layer_plain_bytes_max.min(plain_bytes_left),
            ..limits
        };
        let reader = layer.open(of_this_layer, cancel)?;
        let read_bytes = reader.stored_bytes_read();
        let mut tar = TarReader::new(reader);
        let read = lay_archive(
            &mut tar,
            &mut flattening,
            &mut writer,
            &mut warnings,
            &mut || {
                progress.at(ProgressStep::Build {
                    done_bytes: done_bytes + read_bytes(),
                    total_bytes,
                });
            },
        );
        let reader = tar.into_source();
        let plain_bytes = settle(layer, read, reader).map_err(|error| match error {
            RootfsError::Source(OciError::LayerTooLarge { limit_bytes, .. })
                if limit_bytes < limits.layer_plain_bytes_max =>
            {
                RootfsError::Source(OciError::ImageTooLarge {
                    limit_bytes: limits.image_plain_bytes_max,
                })
            }
            error => error,
        })?;
        plain_bytes_left = plain_bytes_left.saturating_sub(plain_bytes);
        done_bytes += layer.stored_bytes();
        progress.at(ProgressStep::Build {
            done_bytes,
            total_bytes,
        });
    }
    let tree = flattening.finish();
    if cancel.is_cancelled() {
        return Err(RootfsError::Cancelled);
    }
    let disk = writer.finish(&tree)?;
    Ok(Assembled {
        disk,
        warnings: warnings.into_sentences(),
    })
}

/// Why reading a layer stopped.
#[derive(Debug)]
pub enum Stopped {
    /// It is no archive, or does not come.
    Tar(TarError),
    /// An entry has a path that is refused.
    Path(PathError),
    /// An entry does not fit to what is there.
    Flatten(FlattenError),
    /// What it holds can't be written.
    Image(ImageError),
}

/// Lays the entries of one archive on what is there and writes the contents of its files. `report` is
/// called from time to time.
pub fn lay_archive<S: ByteSource>(
    tar: &mut TarReader<S>,
    flattening: &mut Flattening,
    writer: &mut impl ImageWriter,
    warnings: &mut Warnings,
    report: &mut dyn FnMut(),
) -> Result<(), Stopped> {
    let mut entries = 0u64;
    while let Some(entry) = tar.next_entry().map_err(Stopped::Tar)? {
        let path = EntryPath::parse(&entry.path, LeadingSlash::Refused).map_err(Stopped::Path)?;
        let kind = match entry.kind {
            tar::EntryKind::Regular => EntryKind::Regular(content(tar, writer, report)?),
            tar::EntryKind::HardLink(target) => {
                let target =
                    EntryPath::parse(&target, LeadingSlash::MeansRoot).map_err(Stopped::Path)?;
                EntryKind::HardLink(target)
            }
            tar::EntryKind::Symlink(target) => EntryKind::Symlink(target.into()),
            tar::EntryKind::CharacterDevice { major, minor } => {
                EntryKind::CharacterDevice(DeviceNumber { major, minor })
            }
            tar::EntryKind::BlockDevice { major, minor } => {
                EntryKind::BlockDevice(DeviceNumber { major, minor })
            }
            tar::EntryKind::Directory => EntryKind::Directory,
            tar::EntryKind::Fifo => EntryKind::Fifo,
        };
        let metadata = Metadata {
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            modified: Timestamp {
                seconds: entry.seconds,
                nanoseconds: entry.nanoseconds,
            },
            attributes: attributes(entry.attributes, &path, warnings),
        };
        flattening
            .apply(LayerEntry {
                path,
                kind,
                metadata,
            })
            .map_err(Stopped::Flatten)?;
        entries += 1;
        if entries.is_multiple_of(ENTRIES_PER_REPORT) {
            report();
        }
    }
    Ok(())
}

/// Small files pass in microseconds; telling each would cost more than placing it.
const ENTRIES_PER_REPORT: u64 = 64;
/// A large file is told as it comes.
const BYTES_PER_REPORT: usize = 1 << 20;

fn content<S: ByteSource>(
    tar: &mut TarReader<S>,
    writer: &mut impl ImageWriter,
    report: &mut dyn FnMut(),
) -> Result<ContentId, Stopped> {
    let mut unreported = 0;
    writer.begin();
    tar.content(|piece| match piece {
        Content::Bytes(bytes) => {
            unreported += bytes.len();
            if unreported >= BYTES_PER_REPORT {
                unreported = 0;
                report();
            }
            writer.append(bytes)
        }
        Content::Hole(len) => writer.append_hole(len),
    })
    .map_err(Stopped::Tar)?
    .map_err(Stopped::Image)?;
    writer.end().map_err(Stopped::Image)
}

/// Keeps what Linux has a place for.
fn attributes(
    given: Vec<(Vec<u8>, Vec<u8>)>,
    path: &EntryPath,
    warnings: &mut Warnings,
) -> Vec<Attribute> {
    let mut kept = Vec::with_capacity(given.len());
    for (name, value) in given {
        let known = [&b"user."[..], b"trusted.", b"security."]
            .iter()
            .any(|prefix| name.len() > prefix.len() && name.starts_with(prefix))
            || name.starts_with(b"system.posix_acl_");
        if known {
            kept.push(Attribute {
                name: name.into(),
                value: value.into(),
            });
        } else {
            let name = name.escape_ascii();
            warnings.add(|| {
                format!(
                    "the attribute `{name}` of `{}` has no place in Linux",
                    path.shown()
                )
            });
        }
    }
    kept
}

/// What to say when reading stopped. A layer that is damaged is said to be damaged, whatever its
/// damage looked like to the reader of the archive.
fn settle(
    layer: &Layer,
    read: Result<(), Stopped>,
    reader: LayerReader,
) -> Result<u64, RootfsError> {
    let name = || layer.name().to_owned();
    let error = match read {
        Ok(()) => return reader.finish().map_err(RootfsError::from),
        Err(Stopped::Image(error)) => return Err(error.into()),
        Err(Stopped::Tar(TarError::Source(source))) => {
            return Err(match source.downcast::<OciError>() {
                Ok(error) => RootfsError::Source(*error),
                Err(source) => RootfsError::Archive {
                    layer: name(),
                    source: TarError::Source(source),
                },
            });
        }
        Err(Stopped::Tar(source)) => RootfsError::Archive {
            layer: name(),
            source,
        },
        Err(Stopped::Path(source)) => RootfsError::Path {
            layer: name(),
            source,
        },
        Err(Stopped::Flatten(source)) => RootfsError::Flatten {
            layer: name(),
            source,
        },
    };
    reader.finish()?;
    Err(error)
}

/// What could not be kept, gathered; at most [`WARNINGS_MAX`] sentences.
#[derive(Debug, Default)]
pub struct Warnings {
    sentences: Vec<String>,
    more: u64,
}

impl Warnings {
    fn add(&mut self, sentence: impl FnOnce() -> String) {
        if self.sentences.len() < WARNINGS_MAX {
            self.sentences.push(sentence());
        } else {
            self.more += 1;
        }
    }

    fn into_sentences(mut self) -> Vec<String> {
        if self.more > 0 {
            self.sentences.pop();
            self.sentences
                .push(format!("{} more of this kind", self.more + 1));
        }
        self.sentences
    }
}
