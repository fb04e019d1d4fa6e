//! Harness: temporary home, fake backend and guest, image maker, filters.
//!
//! For tests only; nothing that ships depends on it, and it must not decide anything that the product
//! decides.
#![allow(
    clippy::disallowed_methods,
    reason = "tests look at the world from outside the product's own doors"
)]

pub mod cli;
pub mod crash;
pub mod fake_backend;
pub mod fake_guest;
pub mod file_server;
pub mod filters;
pub mod fsck;
pub mod home;
pub mod image;
pub mod registry;
pub mod shared_blocks;
pub mod supervised;
