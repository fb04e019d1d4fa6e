//! Values become text or JSON. What is rendered here was decided elsewhere; nothing here asks a
//! file, a clock or a process.

pub(crate) mod escape;
pub(crate) mod image;
pub(crate) mod json;
pub(crate) mod network;
pub(crate) mod table;
pub(crate) mod time;
pub(crate) mod workspace;

pub(crate) use image::short_image;
