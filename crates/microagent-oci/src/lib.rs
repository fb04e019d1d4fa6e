//! Image sources: a folder, an archive or a registry in; manifests, configuration and layers as
//! checked streams out.
//!
//! Everything that a source says is hostile: documents have a size limit before they are read,
//! digests are compared before a document is believed, and a layer's two digests are compared
//! before its reader says that it is complete.
//!
//! It must not know what becomes of a layer: no disk, no cache, no file tree. It promises nothing
//! to users outside this repository.
//!
//! Modules in reading order: [`source`] opens a source and picks the image in it; [`manifest`],
//! [`image_config`] and [`platform`] are its documents; [`registry`] fetches from where images are
//! published; [`layer`] is a layer as a stream, [`blob`] where its bytes lie; [`limits`] has every
//! bound. The archive within is read by `microagent-tar`.

#![forbid(unsafe_code)]

mod arrival;
pub mod blob;
pub mod cancel;
pub mod error;
mod hash;
pub mod image_config;
pub mod layer;
pub mod limits;
pub mod manifest;
pub mod platform;
pub mod registry;
pub mod source;

pub use cancel::CancelToken;
pub use error::OciError;
pub use image_config::ImageConfig;
pub use layer::{Layer, LayerReader};
pub use limits::Limits;
pub use source::{ResolvedImage, open, open_kept};
