//! Every message that crosses a process or VM border, in one crate that both ends use.
//!
//! Reading order: `frame` (how bytes become messages on a vsock connection), `guest` (what host and
//! guest say to each other), `supervisor` (one request, one response), `monitor` (JSON lines on
//! `run/monitor.sock`), then what they share: `fault`, `exit_code`, `limits`, `generation`.
//!
//! Serialisable types live here and nowhere near decisions: a message is a promise to other programs
//! and to older releases, and every one has a snapshot under `tests/`. This crate opens nothing and
//! starts nothing; readers and writers come in as values. Outsiders may depend on it.
#![forbid(unsafe_code)]

pub mod exit_code;
pub mod fault;
pub mod frame;
pub mod generation;
pub mod guest;
pub mod limits;
pub mod monitor;
pub mod strict_json;
pub mod supervisor;
