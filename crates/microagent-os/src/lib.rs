//! The one door to files, locks, processes, local sockets, the terminal and the clock.
//!
//! What the standard library gets wrong for us (a file born readable by others, a child that
//! inherits every descriptor, a pid that may belong to somebody else by now, a rename that the
//! power can undo) is put right here, once. Nothing here knows what a workspace is.
//! This crate promises nothing to outsiders.
//!
//! In reading order: [`fs`], [`dirs`], [`atomic_file`], [`clone_file`], [`lock`], [`clock`], [`host_pace`],
//! [`random`], [`crash_point`], [`process`], [`local_socket`], [`terminal`].
#![allow(
    clippy::disallowed_methods,
    reason = "this crate is the door that the list of banned calls points to"
)]

pub mod atomic_file;
pub mod clock;
pub mod clone_file;
pub mod crash_point;
pub mod dirs;
mod error;
pub mod fs;
pub mod host_pace;
pub mod local_socket;
pub mod lock;
pub mod namespace_switch;
pub mod process;
pub mod random;
pub mod terminal;
#[cfg(windows)]
mod windows;

pub use error::{FsAction, FsError};
