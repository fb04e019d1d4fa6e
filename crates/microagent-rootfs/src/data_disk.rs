//! Disks beside the root disk: empty, or with the content of a tarball.
//!
//! They are made outside of the cache, since each has one owner, and durable before anybody is
//! told that they are there. After an error there is no file.

use std::path::Path;

use microagent_ext4::{Ext4Writer, Identity, ImageSize, ImageWriter, Metadata, Tree};
use microagent_os::{FsError, fs};
use microagent_types::{ByteSize, ImageSource};

use crate::{
    assemble::Assembled,
    disk_sink::DiskSink,
    error::RootfsError,
    progress::Progress,
    store::{BuildOptions, build_disk},
};

/// The root directory of an empty disk.
const ROOT_MODE: u16 = 0o755;

/// Makes an empty ext4 disk of `size` in the new file `path`.
///
/// Two disks with equal `uuid` and `size` have equal bytes, and one kernel does not like to see
/// both: give each its own.
pub fn create_empty(path: &Path, size: ByteSize, uuid: [u8; 16]) -> Result<(), RootfsError> {
    or_removed(path, |path| {
        let mut sink = DiskSink::create(path)?;
        let identity = Identity { uuid, created: 0 };
        let writer = Ext4Writer::new(&mut sink, ImageSize::Exact(size.bytes()), identity)?;
        writer.finish(&Tree::new(Metadata {
            mode: ROOT_MODE,
            ..Metadata::default()
        }))?;
        sink.sync()?;
        Ok(())
    })
}

/// Makes an ext4 disk in the new file `path` with what is in the tarball of `source`.
pub fn create_from_tarball(
    path: &Path,
    source: &ImageSource,
    size: ImageSize,
    options: &BuildOptions,
    progress: &mut dyn Progress,
) -> Result<Assembled, RootfsError> {
    let image = microagent_oci::open(source, options.arch, &options.cancel)?;
    or_removed(path, |path| {
        build_disk(path, &image, size, options, progress)
    })
}

/// Leaves no file behind after an error, except one that was there before.
fn or_removed<T>(
    path: &Path,
    make: impl FnOnce(&Path) -> Result<T, RootfsError>,
) -> Result<T, RootfsError> {
    let was_there = fs::is_present(path);
    let made = make(path);
    let Err(error) = made else { return made };
    let taken = matches!(&error, RootfsError::Cache(FsError { source, .. })
        if source.kind() == std::io::ErrorKind::AlreadyExists);
    if !was_there && !taken {
        // The first error is the one that matters.
        let _ = fs::remove_file(path);
    }
    if !error.is_out_of_space() {
        return Err(error);
    }
    let folder = path.parent().unwrap_or(path);
    Err(match fs::space(folder) {
        Ok(space) => RootfsError::NoSpace {
            path: folder.to_owned(),
            available: ByteSize::from_bytes(space.available_bytes),
        },
        Err(_) => error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_there_stays_as_it_is_and_a_refused_size_leaves_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        let size = ByteSize::from_mib(32);
        create_empty(&path, size, [1; 16]).unwrap();
        let bytes = fs::read_bounded(&path, 1 << 30).unwrap();
        assert_eq!(bytes.len() as u64, size.bytes());
        create_empty(&path, size, [2; 16]).unwrap_err();
        assert!(fs::read_bounded(&path, 1 << 30).unwrap() == bytes);
        let other = folder.path().join("other");
        for size in [
            ByteSize::from_mib(15),
            ByteSize::from_bytes((32 << 20) + 4096),
        ] {
            create_empty(&other, size, [1; 16]).unwrap_err();
            assert!(!fs::is_present(&other));
        }
    }
}
