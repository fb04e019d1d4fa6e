//! Files of a system to a tar and back.
//!
//! Host and guest pack and unpack trees for each other, and each takes the other for hostile. So both
//! run the same code, which works on descriptors: no path is resolved twice, no link is followed on
//! the way to an entry, nothing lands outside the folder that was opened. It must not know who is at
//! the other end, nor what a copy is for. It promises nothing to users outside this repository.
//!
//! Modules in reading order: [`report`] is what both directions tell, [`pack`] and [`unpack`] are the
//! two directions, [`folder`] is what they work in.

#![forbid(unsafe_code)]

#[cfg(target_os = "linux")]
mod attributes;
mod choices;
#[cfg(target_os = "linux")]
pub mod folder;
#[cfg(not(target_os = "linux"))]
#[path = "absent/folder.rs"]
pub mod folder;
#[cfg(target_os = "linux")]
pub mod pack;
#[cfg(not(target_os = "linux"))]
#[path = "absent/pack.rs"]
pub mod pack;
pub mod report;
#[cfg(target_os = "linux")]
pub mod unpack;
#[cfg(not(target_os = "linux"))]
#[path = "absent/unpack.rs"]
pub mod unpack;

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;

pub use report::{Counts, Noted, Notes};
