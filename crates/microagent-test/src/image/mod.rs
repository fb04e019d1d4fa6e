//! Makes OCI images, in Rust for tests of the image path and with real tools for real guests.
//!
//! Nothing is pulled from a registry. [`Image`] writes layouts and archives byte by byte, broken ones
//! too; [`debian`] has Debian's own tools make a root file system. It must not use the product's own
//! readers or writers: a maker that shares their mistakes proves nothing.

pub mod debian;
mod layer;
mod layout;
mod tool;

pub use layer::{Layer, Packing};
pub use layout::{Flaw, Image, ImageConfig};
pub use tool::{Tool, image_cache, made_once};
