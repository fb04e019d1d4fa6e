//! What `run` and `exec` have in common: a command in a guest, attached to this process.

pub(super) mod attachment;
pub(super) mod environment;
pub(super) mod outcome;
pub(super) mod streams;
