//! Copying a range inside the kernel.

use std::fs::File;
use std::io;

use rustix::fs::copy_file_range;
use rustix::io::Errno;

use super::unix::copy_through_buffer;

/// Bytes that one call is asked to copy.
const COPY_CALL_BYTES_MAX: u64 = 1 << 30;

pub(super) fn copy_range(source: &File, target: &File, begin: u64, end: u64) -> io::Result<()> {
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
