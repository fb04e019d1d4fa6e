//! Layers become one tree, the tree becomes a disk, and the disk is kept for the next time.
//!
//! No tree is ever staged on the host: layers are read once, the bytes of files go straight to
//! their places in the image, and a pure function decides what is left of all layers. So a path
//! in an archive is never a path of the host.
//!
//! It must not know what boots the disk, nor where the cache lies. It promises nothing to users
//! outside this repository.
//!
//! Modules in reading order: [`store`] is what callers use, with [`pull`] for registries; `names`,
//! `blob_store`, `attempt` and `image_use` are what lies in its folder; [`entry`] and [`flatten`] are the
//! rules of layers; [`assemble`] joins reading, rules and writing; [`cache_key`], [`image_record`]
//! and [`progress`] are its values; [`inventory`] is what the cache holds, [`export`] a disk outside of
//! it, with [`vhd`]; [`clone`] copies a disk,
//! [`data_disk`] makes others.

#![forbid(unsafe_code)]

pub mod assemble;
mod attempt;
mod blob_store;
pub mod cache_key;
pub mod clone;
pub mod data_disk;
pub mod disk_sink;
pub mod entry;
pub mod error;
pub mod export;
pub mod flatten;
mod identity;
pub mod image_record;
mod image_use;
pub mod inventory;
pub mod name_record;
mod names;
pub mod progress;
pub mod pull;
pub mod store;
pub mod vhd;

pub use cache_key::{BUILDER, DiskShape, STANDARD_BYTES};
pub use clone::clone_disk;
pub use error::RootfsError;
pub use export::{DiskFormat, Export, ExportedDisk, Replace};
pub use image_use::ImageHold;
pub use inventory::{Deleted, PruneOptions, Pruned, StoredImage};
pub use microagent_ext4::ImageSize;
pub use microagent_oci::{
    CancelToken, ImageConfig, Limits, OciError, ResolvedImage,
    registry::{RegistryError, RegistryOptions},
};
pub use microagent_os::clone_file::{CloneMethod, Sharing};
pub use progress::{Progress, ProgressStep, Silent};
pub use pull::{PullPolicy, Registries};
pub use store::{BuildOptions, BuiltImage, ImageStore, Pulled};
