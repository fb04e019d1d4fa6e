//! How a VMM is confined: what the host allows and what was asked, as an ordered plan or a refusal.
//!
//! The plan and the list of what the VMM sees are pure, so that every combination of hosts and
//! demands can be read and tested without one. What acts is a child of the monitor that sets itself
//! up, reports what holds, and then becomes the VMM. Nothing here may claim a part that is not in
//! place.

pub mod message;
pub mod plan;
pub mod tree;

#[cfg(target_os = "linux")]
pub mod child;
#[cfg(target_os = "linux")]
pub mod exec;
#[cfg(target_os = "linux")]
pub mod jail;
#[cfg(target_os = "linux")]
pub mod landlock;
#[cfg(target_os = "linux")]
mod namespaces;
#[cfg(target_os = "linux")]
pub mod observe;
#[cfg(target_os = "linux")]
mod root;
#[cfg(target_os = "linux")]
mod tap;
