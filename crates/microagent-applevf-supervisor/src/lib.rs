//! The `apple-vf` backend and its executable.
//!
//! Virtualization.framework on Apple silicon: the machine is an object in the monitor's own process and
//! ends with it. Nothing here has been run on such a host yet, so the crate is cut where that is least
//! felt: what is decided before and after a call compiles and is tested everywhere, and the calls
//! themselves stand in one file behind a trait that tests play.
//!
//! ```text
//! backend ─ preparation ─ vm      what the supervisor asks, on its loop
//!    │          │         │
//!  host      config    events     pure: findings to a report, a boot to a plan, what an event means
//!    └──────────┴─────────┘
//!             calls               a dozen calls in plain types
//!       framework | absent        the framework on macOS; elsewhere the wrong host
//! ```
//!
//! It must not know what a guest is for, and must not make a call of the framework outside
//! `framework.rs`. This crate promises nothing to outsiders.

#[cfg(all(unix, not(target_os = "macos")))]
#[path = "absent.rs"]
pub mod framework;
#[cfg(target_os = "macos")]
#[path = "framework.rs"]
pub mod framework;

#[cfg(unix)]
pub mod backend;
#[cfg(unix)]
mod call_failures;
#[cfg(unix)]
pub mod calls;
pub mod config;
pub mod events;
mod failures;
pub mod host;
#[cfg(unix)]
mod preparation;
#[cfg(unix)]
mod vm;
