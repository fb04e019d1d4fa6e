//! The end of a history file: its last whole line and what stands behind it, read backwards, so
//! that an append costs the same in a long history as in a short one.

use std::fs::File;
use std::path::Path;

use microagent_os::{FsAction, FsError, fs};

use super::EventLogError;
use crate::event_record::{Event, LINE_BYTES_MAX};

const CHUNK_BYTES: u64 = 16 * 1024;
/// Bytes that are searched for the last two line ends. A damaged file may have longer lines than
/// we write, not without bound.
const SEARCH_BYTES_MAX: u64 = 16 * LINE_BYTES_MAX as u64;

/// The end of a file.
pub(super) struct End {
    /// The length of the whole file.
    pub(super) length: u64,
    /// The last line that ends in LF, without it.
    pub(super) last: Option<Vec<u8>>,
    /// The bytes after the last LF.
    pub(super) tail: Vec<u8>,
}

impl End {
    /// True also when there is no line yet.
    pub(super) fn last_is_readable(&self) -> bool {
        self.last
            .as_ref()
            .is_none_or(|line| Event::from_line(line).is_ok())
    }
}

pub(super) fn read_end(file: &File, path: &Path) -> Result<End, EventLogError> {
    let read_error = |source| FsError {
        action: FsAction::Read,
        path: path.to_owned(),
        source,
    };
    let length = file.metadata().map_err(read_error)?.len();
    let mut bytes: Vec<u8> = Vec::new();
    let mut begin = length;
    loop {
        let last_end = last_line_end(&bytes);
        let two_ends = last_end.is_some_and(|end| last_line_end(&bytes[..end]).is_some());
        if begin == 0 || two_ends {
            break;
        }
        if length - begin >= SEARCH_BYTES_MAX {
            let path = path.to_owned();
            return Err(EventLogError::TailTooLong {
                path,
                limit_bytes: SEARCH_BYTES_MAX,
            });
        }
        let step = CHUNK_BYTES.min(begin);
        begin -= step;
        let mut chunk = vec![0; usize::try_from(step).unwrap_or(0)];
        fs::read_exact_at(file, &mut chunk, begin).map_err(read_error)?;
        chunk.extend_from_slice(&bytes);
        bytes = chunk;
    }
    let Some(last_end) = last_line_end(&bytes) else {
        return Ok(End {
            length,
            last: None,
            tail: bytes,
        });
    };
    let tail = bytes[last_end + 1..].to_vec();
    let line_begin = last_line_end(&bytes[..last_end]).map_or(0, |at| at + 1);
    let last = bytes[line_begin..last_end].to_vec();
    Ok(End {
        length,
        last: Some(last),
        tail,
    })
}

fn last_line_end(bytes: &[u8]) -> Option<usize> {
    bytes.iter().rposition(|byte| *byte == b'\n')
}
