//! Progress as values; drawing is somebody else's.

use microagent_types::Digest;

/// Where the work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProgressStep {
    /// The source is opened and its documents are read.
    Resolve,
    /// Another process makes the same image; its work is waited for.
    Wait,
    /// Layers are fetched, and placed as far as they are there.
    Download {
        /// Bytes of all layers that are there.
        done_bytes: u64,
        /// Bytes of all layers.
        total_bytes: u64,
        /// Layers that are there.
        done_layers: u64,
        /// Layers in all.
        total_layers: u64,
    },
    /// So much of one layer has been fetched.
    Layer {
        /// Which.
        digest: Digest,
        /// Bytes that are there.
        done_bytes: u64,
        /// Bytes in all.
        total_bytes: u64,
    },
    /// Layers are read and placed.
    Build {
        /// Bytes of all layers that have been read, as they are stored.
        done_bytes: u64,
        /// Bytes of all layers.
        total_bytes: u64,
    },
    /// The disk is made durable.
    Sync,
}

/// Is told where the work is. Called often: it must be quick.
pub trait Progress {
    /// The work is at `step`.
    fn at(&mut self, step: ProgressStep);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn at(&mut self, _step: ProgressStep) {}
}

impl<F: FnMut(ProgressStep)> Progress for F {
    fn at(&mut self, step: ProgressStep) {
        self(step);
    }
}
