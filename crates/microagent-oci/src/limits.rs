//! Every bound on what a source may make us read, hold or write.

/// The largest manifest, index or configuration.
pub const DOCUMENT_BYTES_MAX: u64 = 4 << 20;
/// The most layers of an image.
pub const LAYERS_MAX: usize = 512;
/// The most descriptors of an index.
pub const INDEX_ENTRIES_MAX: usize = 4096;
/// How deep an index may lie within an index.
pub const INDEX_DEPTH_MAX: usize = 4;
/// The most bytes of all layers of an image as they are stored.
pub const IMAGE_STORED_BYTES_MAX: u64 = 256 << 30;
/// The most entries of an archive that holds an image.
pub const ARCHIVE_ENTRIES_MAX: usize = 100_000;
/// The most links from one entry of such an archive to the next.
pub const ARCHIVE_LINKS_MAX: usize = 8;

/// The window that a zstd stream may ask for, as a power of two: what all tools accept.
pub const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Bytes that pass from stage to stage of a layer at once: each such step may wake a thread.
pub(crate) const CHUNK_BYTES: usize = 512 << 10;
/// Chunks that wait between two stages.
pub(crate) const CHUNKS_WAITING_MAX: usize = 3;

/// The bounds that a caller may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of one layer after decompression.
    pub layer_plain_bytes_max: u64,
    /// The most bytes of all layers of an image after decompression.
    pub image_plain_bytes_max: u64,
}

impl Limits {
    /// What is used unless there is a reason.
    pub const ORDINARY: Self = Self {
        layer_plain_bytes_max: 256 << 30,
        image_plain_bytes_max: 512 << 30,
    };
}
