//! The monitor: the long-lived process of one running workspace. It owns the VMM and every socket of
//! the workspace, and is the only writer of the runtime record while it holds the lease.
//!
//! Reading order: `event` (everything that can happen), `control` (the guest's connection), `serial`
//! (its console), `local_api` (other processes of this user), `sessions`, and what they share:
//! `bridge`, `frame_stream`, `rate`.

mod bridge;
mod control;
mod event;
mod frame_stream;
mod local_api;
mod rate;
mod serial;
mod sessions;
