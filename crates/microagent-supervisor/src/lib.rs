//! One request to one response; the monitor; the backend traits.
//!
//! Reading order: [`backend`] (what a hypervisor must be able to do), `convert` and `faults` (what
//! crosses the border), `host_report`, `monitor` (the process that owns a VM).
//!
//! This crate names no backend and asks no operating-system question: whatever differs between
//! hosts is behind the traits, in `os`, or in `linux-host`. It must not speak to people, hold a rule
//! about states (those are `machine`'s) or join a path (those are `state`'s). It promises nothing to
//! outsiders.
#![forbid(unsafe_code)]

pub mod backend;
mod convert;
mod faults;
mod host_report;
mod monitor;
