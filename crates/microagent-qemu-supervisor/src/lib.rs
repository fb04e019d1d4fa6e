//! The `qemu` backend and its executable.
//!
//! The portable engine on Linux: KVM where it is usable and emulation where it is not, so that the
//! same product runs in a CI job and in a virtual machine without nested virtualization. What it
//! has in common with `firecracker` is in `linux-host`; here stand only QEMU's words: its command
//! line, its control protocol, and the vsock device that runs beside it.
//! This crate promises nothing to outsiders.
//!
//! In reading order: [`command_line`], [`qmp`], [`backend`].

mod api;
#[cfg(target_os = "linux")]
pub mod backend;
pub mod command_line;
#[cfg(target_os = "linux")]
mod confinement;
#[cfg(target_os = "linux")]
mod failures;
#[cfg(target_os = "linux")]
mod host;
#[cfg(target_os = "linux")]
mod overlay;
#[cfg(target_os = "linux")]
mod preparation;
pub mod qmp;
#[cfg(target_os = "linux")]
mod vm;
#[cfg(target_os = "linux")]
mod vsock_device;
