//! Every bound on what an archive may make its reader hold.

/// The longest path of an entry, as the kernel has it.
pub const PATH_BYTES_MAX: usize = 4095;
/// The longest extended header or long name of an entry.
pub const EXTENDED_HEADER_BYTES_MAX: u64 = 1 << 20;
/// The most attributes of one entry.
pub const ATTRIBUTES_MAX: usize = 1024;
/// The most pieces of one sparse file.
pub const SPARSE_PIECES_MAX: usize = 1 << 18;
