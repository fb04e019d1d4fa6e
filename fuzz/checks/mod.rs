//! What the targets demand of what they feed. It stands apart from them so that a test can run it on
//! the kept inputs without a fuzzer.
#![allow(dead_code, reason = "each target uses one of them")]

pub(crate) mod document;
pub(crate) mod image;
pub(crate) mod reference;
mod sealed;
pub(crate) mod tar;
