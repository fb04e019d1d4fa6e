//! What a workspace's machine is: spec, states, admission, reconciliation, capabilities.
//!
//! Pure. Everything here takes values and gives values: no file, no clock, no process. Without a
//! daemon any command may be the first to see a crash, so the rules must be tables that can be
//! tested cell by cell. It must not learn where facts come from: reading them is a separate, dumb job.
//! This crate promises nothing to outsiders.
//!
//! In reading order: [`state`], [`spec`], [`capability`] and [`capability_table`], [`verb`], [`admission`] and [`plan`],
//! [`facts`] and [`reconcile`], [`ending`], [`containment`], [`command_line`].
#![forbid(unsafe_code)]

pub mod admission;
pub mod capability;
pub mod capability_table;
pub mod command_line;
pub mod containment;
pub mod ending;
pub mod facts;
pub mod plan;
pub mod reconcile;
pub mod spec;
pub mod state;
pub mod verb;
mod words;

#[cfg(test)]
mod history_tests;

pub use capability::{Accelerator, Capabilities, Capability};
pub use capability_table::capabilities_of;
pub use spec::MachineSpec;
pub use state::State;
pub use words::UnknownWord;
