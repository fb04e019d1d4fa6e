//! Guest init: PID 1 of every guest, and the services that the host reaches over vsock.
//!
//! Reading order: `pid_one` (the whole life, from the kernel to the reboot call), `boot` (what happens
//! before `ready`), `control` (the connection to the monitor), `listener`, `session` and `service`
//! (what the host can ask), `workload` and `reaper` (processes), `shutdown`. Pure parts: `accounts`,
//! `environment` and the formats in `boot`.
//!
//! Threads and no runtime, so PID 1 can be read in one sitting. It shares with the host only the
//! messages and the vocabulary; it must not know what a workspace is for, which hypervisor runs it,
//! or who the host is. The services run in any process over any stream socket, which is how the host
//! side is tested without a VM. Outsiders must not depend on this crate.

pub mod accounts;
mod boot;
pub mod clock;
pub mod connection;
pub mod context;
mod control;
pub mod environment;
mod listener;
mod log;
pub mod pid_one;
pub mod reaper;
mod service;
pub mod session;
mod shutdown;
pub mod terminal;
mod vsock;
pub mod workload;
