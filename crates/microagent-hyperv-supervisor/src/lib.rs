//! The `windows-hyperv` backend and its executable.
//!
//! What there is: the compute system documents of a boot, the ids of Hyper-V sockets, the meaning of
//! the compute service's answers, and a host report. What there is not: launching. So a start is
//! refused before anything is done, and the host report says so.
//! Everything but the calls compiles and is tested on every host; it must not decide about states.
//! This crate promises nothing to outsiders.
//!
//! In reading order: [`api`], [`document`], [`service_id`], [`result_code`], [`backend`].

pub mod api;
pub mod backend;
pub mod calls;
pub mod document;
pub mod result_code;
pub mod service_id;

#[cfg(not(windows))]
#[path = "absent.rs"]
pub mod host_compute;
#[cfg(windows)]
pub mod host_compute;
