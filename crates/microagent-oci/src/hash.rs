//! SHA-256 over bytes as they pass.

use microagent_types::{Digest, Sha256Hex};
use sha2::{Digest as _, Sha256};

/// A running digest and the number of bytes in it.
#[derive(Clone, Default)]
pub(crate) struct RunningDigest {
    state: Sha256,
    bytes: u64,
}

impl RunningDigest {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn finish(self) -> Digest {
        Digest::sha256(Sha256Hex::from_bytes(self.state.finalize().into()))
    }
}

/// The digest of bytes that are all there.
pub(crate) fn digest_of(bytes: &[u8]) -> Digest {
    let mut running = RunningDigest::default();
    running.update(bytes);
    running.finish()
}
