//! What a VM boots: where the kernel and the guest init are, and proof that they are what they claim.
//!
//! Reading order: [`search_path`] (where an installation keeps its parts), [`initramfs`] (the guest
//! init, shipped packed, only found here), [`kernel_catalog`] (what is known of a kernel image),
//! [`kernel_format`] (which backend boots which kind of file), [`kernel_download`] (one from an address),
//! [`kernel_manifest`] (the addresses that an installation knows), [`kernel_store`] (the kernel of a
//! backend: the default one installed on first use, or a person's own). Nothing here starts a VM or knows
//! what a workspace is. This crate promises nothing to outsiders.
#![forbid(unsafe_code)]

mod hash;
pub mod initramfs;
pub mod kernel_catalog;
pub mod kernel_download;
pub mod kernel_format;
pub mod kernel_manifest;
pub mod kernel_store;
pub mod search_path;
