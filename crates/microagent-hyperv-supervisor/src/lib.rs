//! The `windows-hyperv` backend and its executable.
//!
//! A guest is a compute system of the Host Compute Service: it runs in a worker process of the system, and
//! ends with the last handle of it, which the monitor has. Nothing here has been run on such a host yet, so
//! the crate is cut where that is least felt: what is decided before and after a call compiles and is tested
//! everywhere, and the calls themselves stand in one folder behind traits that tests play.
//!
//! ```text
//! backend ─ preparation ─ vm      what the supervisor asks, on its loop
//!    │          │         │
//!  host     document    events    pure: findings to a report, a boot to a document, what a notification means
//!    └──────────┴─────────┘
//!             calls               the calls in plain types
//!      host_compute | absent      the services on Windows; elsewhere the wrong host
//! ```
//!
//! It must not know what a guest is for, and must not make a call of the system outside `host_compute`.
//! This crate promises nothing to outsiders.

pub mod api;
pub mod backend;
pub mod calls;
mod console;
pub mod document;
pub mod events;
mod failures;
pub mod host;
pub mod network;
mod preparation;
pub mod result_code;
pub mod service_id;
mod vm;

#[cfg(not(windows))]
#[path = "absent.rs"]
pub mod host_compute;
#[cfg(windows)]
pub mod host_compute;
