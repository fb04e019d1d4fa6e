//! One request to one response; the monitor; the backend traits.
//!
//! Reading order: [`backend`] (what a hypervisor must be able to do).
//!
//! This crate names no backend and asks no operating-system question: whatever differs between
//! hosts is behind the traits, in `os`, or in `linux-host`. It promises nothing to outsiders.
#![forbid(unsafe_code)]

pub mod backend;
mod monitor;
