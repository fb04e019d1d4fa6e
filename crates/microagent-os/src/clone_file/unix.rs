//! The sparse copy: the kernel names the data, the kernel copies it.

use std::fs::File;
use std::io;

use rustix::fs::{SeekFrom, copy_file_range, seek};
use rustix::io::Errno;

/// Bytes that one call is asked to copy.
const COPY_CALL_BYTES_MAX: u64 = 1 << 30;
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
        copy_range(source, target, begin, end)?;
        position = end;
    }
    Ok(())
}

fn copy_range(source: &File, target: &File, begin: u64, end: u64) -> io::Result<()> {
    let mut position = begin;
    while position < end {
        let wanted = usize::try_from((end - position).min(COPY_CALL_BYTES_MAX))
            .map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let (mut from, mut to) = (position, position);
        match copy_file_range(source, Some(&mut from), target, Some(&mut to), wanted) {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            Ok(copied) => position += copied as u64,
            Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::IO) => {
                return copy_through_buffer(source, target, position, end);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn copy_through_buffer(source: &File, target: &File, begin: u64, end: u64) -> io::Result<()> {
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
