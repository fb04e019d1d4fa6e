//! The sparse copy: the kernel names the data, and only data is copied.

use std::fs::File;
use std::io;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use super::kernel;

/// The buffer of the copy through user space, for file systems whose kernel can't copy between.
const BUFFER_BYTES: usize = 1 << 20;

pub(super) fn copy_sparse(source: &File, target: &File) -> io::Result<()> {
    let length = source.metadata()?.len();
    target.set_len(length)?;
    let mut position = 0;
    while position < length {
        let begin = match seek(source, SeekFrom::Data(position)) {
            Ok(begin) => begin,
            // No data beyond: the rest is a hole.
            Err(Errno::NXIO) => break,
            // No notion of holes: all of it is data.
            Err(Errno::INVAL) => position,
            Err(error) => return Err(error.into()),
        };
        let end = match seek(source, SeekFrom::Hole(begin)) {
            Ok(end) => end.min(length),
            Err(Errno::INVAL) => length,
            Err(error) => return Err(error.into()),
        };
        kernel::copy_range(source, target, begin, end)?;
        position = end;
    }
    Ok(())
}

pub(super) fn copy_through_buffer(
    source: &File,
    target: &File,
    begin: u64,
    end: u64,
) -> io::Result<()> {
    let mut buffer = vec![0u8; BUFFER_BYTES];
    let mut position = begin;
    while position < end {
        let wanted = usize::try_from(end - position)
            .unwrap_or(usize::MAX)
            .min(BUFFER_BYTES);
        let read = crate::fs::read_at(source, &mut buffer[..wanted], position)?;
        if read == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        crate::fs::write_all_at(target, &buffer[..read], position)?;
        position += read as u64;
    }
    Ok(())
}
