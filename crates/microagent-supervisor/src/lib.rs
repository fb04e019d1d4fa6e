//! One request to one response; the monitor; the backend traits.
//!
//! Reading order: [`backend`] (what a hypervisor must be able to do); [`control_group`]; `entry` (what each main
//! calls), `run` (which mode) and `once` (one request, one response); the acts `prepare`, `start`, `stop`, `inspect`,
//! `foreground`, with `context`, `observe` and `monitor_client`; `monitor` (the process that owns a
//! VM) with `launch_record`; and what crosses the border: `convert`, `faults`, `view`, `event_view`,
//! `origin`, `host_report`.
//!
//! This crate names no backend and asks no operating-system question: whatever differs between
//! hosts is behind the traits, in `os`, or in `linux-host`. It must not speak to people, hold a rule
//! about states (those are `machine`'s) or join a path (those are `state`'s). It promises nothing to
//! outsiders.
#![forbid(unsafe_code)]

pub mod backend;
mod context;
pub mod control_group;
mod convert;
mod disk_sizes;
mod entry;
mod event_view;
mod faults;
mod foreground;
mod host_report;
mod inspect;
mod interrupts;
mod launch_record;
mod monitor;
mod monitor_client;
mod monitor_log;
mod observe;
mod once;
mod origin;
mod prepare;
mod root_disk;
mod run;
mod start;
mod stop;
mod view;

pub use entry::main;
pub use run::run;
