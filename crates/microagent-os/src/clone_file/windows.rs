//! The copy through user space: blocks that hold nothing but zeros are not written.

use std::fs::File;
use std::io;

/// What is read at once.
const BUFFER_BYTES: usize = 1 << 20;

pub(super) fn copy_sparse(source: &File, target: &File) -> io::Result<()> {
    let length = source.metadata()?.len();
    target.set_len(length)?;
    let mut buffer = vec![0u8; BUFFER_BYTES];
    let mut position = 0;
    while position < length {
        let read = crate::fs::read_at(source, &mut buffer, position)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if buffer[..read].iter().any(|byte| *byte != 0) {
            crate::fs::write_all_at(target, &buffer[..read], position)?;
        }
        position += read as u64;
    }
    Ok(())
}
