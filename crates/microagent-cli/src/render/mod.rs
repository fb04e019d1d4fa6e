//! Values become text or JSON. What is rendered here was decided elsewhere; nothing here asks a
//! file, a clock or a process.

pub(crate) mod escape;
pub(crate) mod json;
pub(crate) mod table;
