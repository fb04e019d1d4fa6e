//! JSON lines on `run/monitor.sock`: one request a connection, one or two answers, then perhaps a
//! stream.
//!
//! The monitor outlives upgrades, so ops and fields are only ever added.

pub mod request;
pub mod response;
