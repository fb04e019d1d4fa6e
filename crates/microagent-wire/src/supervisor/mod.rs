//! The supervisor protocol: one request on stdin, one response on stdout.
//!
//! `request` is what a caller sends, `spec` the Config within it, `response` what comes back.

pub mod request;
pub mod response;
pub mod spec;
mod spec_rules;

/// The version of request and response. It changes only when a client of the old one would misread.
pub const PROTOCOL_VERSION: u64 = 1;
