//! The state directory: paths, records, lock, lease, the event chain.
//!
//! Two programs write one folder, the library and the supervisors, and a format with two authors
//! has none; so every path and every format below the state directory is here. A record must be
//! readable with `cat`, a history verifiable with `sha256sum`, and one damaged workspace must not
//! harm another. It must not decide anything about a machine: that is done by pure code which it
//! feeds with facts.
//! This crate promises nothing to outsiders.
//!
//! In reading order: [`paths`], [`record_store`] with [`workspace_record`], [`config_record`],
//! [`runtime_record`] and [`create_record`], [`workspace_lock`] and [`lease`],
//! [`workspace_folder`], [`event_record`], [`event_chain`] and [`event_log`], [`console_log`],
//! [`engine_record`], [`facts_reader`].
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "tests damage files on purpose")
)]

pub mod config_record;
pub mod console_log;
pub mod create_record;
pub mod engine_record;
pub mod event_chain;
pub mod event_log;
pub mod event_record;
pub mod facts_reader;
mod head_record;
mod json_tree;
pub mod lease;
pub mod paths;
pub mod record_store;
pub mod runtime_record;
pub mod workspace_folder;
pub mod workspace_lock;
pub mod workspace_record;

pub use paths::{StateDirectory, WorkspacePaths};
pub use record_store::{RecordError, Stored};
pub use runtime_record::RuntimeRecord;
pub use workspace_record::WorkspaceRecord;
