//! A disk of one's own, made from the disk of an image.

use std::path::Path;

use microagent_os::{
    FsError,
    clone_file::{CloneMethod, Sharing, clone_file},
    fs,
};

/// Clones the disk at `from` to the new file `to` and extends it to `size_bytes` with a hole.
///
/// Says whether blocks are shared. A size below the disk's own leaves it as it is; the file
/// system inside is grown by the kernel that mounts it. After an error `to` does not exist.
pub fn clone_disk(
    from: &Path,
    to: &Path,
    size_bytes: u64,
    sharing: Sharing,
) -> Result<CloneMethod, FsError> {
    let method = clone_file(from, to, sharing)?;
    let extended = fs::metadata(to).and_then(|there| {
        if there.len() < size_bytes {
            fs::set_length(&fs::open_read_write(to)?, to, size_bytes)?;
        }
        Ok(())
    });
    if let Err(error) = extended {
        // The first error is the one that matters.
        let _ = fs::remove_file(to);
        return Err(error);
    }
    Ok(method)
}
