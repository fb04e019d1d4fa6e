//! The `firecracker` backend and its executable.
//!
//! The real Firecracker, driven over its API socket: a VMM with few devices and a filter of its own,
//! for hosts whose KVM is usable. What it has in common with `qemu` is in `linux-host`; here stand
//! only Firecracker's words. It must not keep anything of a VM but what its API was told, and trusts
//! no answer: the VMM is confined because it may be broken into.
//! This crate promises nothing to outsiders.
//!
//! In reading order: [`version`], [`config`], [`client`], [`backend`].

pub mod api;
#[cfg(target_os = "linux")]
pub mod backend;
#[cfg(target_os = "linux")]
pub mod client;
pub mod config;
mod elf;
#[cfg(target_os = "linux")]
mod host;
#[cfg(target_os = "linux")]
mod jail;
#[cfg(target_os = "linux")]
mod preparation;
pub mod version;
#[cfg(target_os = "linux")]
mod vm;

#[cfg(test)]
mod sample;
