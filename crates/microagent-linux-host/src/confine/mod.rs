//! How a VMM is confined: what the host allows and what was asked, as an ordered plan or a refusal.
//!
//! The plan is pure, so that every combination of hosts and demands can be read and tested without
//! one. Nothing here may claim a part that is not in place.

pub mod plan;

#[cfg(target_os = "linux")]
pub mod observe;
