//! The SHA-256 of a file, read in pieces.

use microagent_os::{FsError, fs};
use microagent_types::Sha256Hex;
use sha2::{Digest as _, Sha256};
use std::io::Read as _;
use std::path::Path;

const PIECE_BYTES: usize = 256 << 10;

/// Hashes a file of at most `bytes_max` bytes; `None` when it is larger.
pub(crate) fn sha256_of(path: &Path, bytes_max: u64) -> Result<Option<Sha256Hex>, FsError> {
    let mut file = fs::open(path)?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; PIECE_BYTES];
    let mut total: u64 = 0;
    loop {
        let count = file
            .read(&mut piece)
            .map_err(|error| FsError::new(microagent_os::FsAction::Read, path, error))?;
        if count == 0 {
            return Ok(Some(Sha256Hex::from_bytes(hasher.finalize().into())));
        }
        total += count as u64;
        if total > bytes_max {
            return Ok(None);
        }
        hasher.update(&piece[..count]);
    }
}
