//! The library: a file and a public function for each use case of a workspace.
//!
//! It blocks: its callers are commands and programs that wait for one thing. It names no hypervisor
//! and links none; backends are programs that it runs (`supervisor_client`). It draws nothing:
//! progress is handed out as values (`progress`). Nothing is fetched, started or written because this
//! crate was linked or a value was made.
//!
//! Outsiders may depend on it. Ten lines boot an image and run a command in it:
//!
//! ```no_run
//! use microagent_workspace::{Context, RunSettings, run_captured};
//! use std::path::Path;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let state_dir = std::env::temp_dir().join("my-agent");
//!     let context = Context::of_installation(Path::new("/usr/bin/microagent"), state_dir.as_path().try_into()?);
//!     let settings = RunSettings::of_command("debian:12".parse()?, ["uname", "-sr"]);
//!     let ran = run_captured(&context, &settings)?;
//!     println!("{:?} {}", ran.report.outcome.end, ran.stdout_text());
//!     Ok(())
//! }
//! ```
//!
//! `run` has streams, progress and a way to interrupt in addition. The crate's `examples` folder has
//! programs that are built and run by the project's own tests.
#![forbid(unsafe_code)]

pub mod act;
pub mod backend_choice;
mod begun;
mod captured;
pub mod connect;
pub mod context;
pub mod copy;
pub mod create;
pub mod delete;
pub mod detached;
pub mod disk_file;
pub mod disks;
pub mod doctor;
pub mod dry_run;
pub mod ending;
mod error;
pub mod events;
pub mod exec;
mod existing;
mod file_session;
pub mod files;
mod first_boot;
mod generated_name;
mod guest_init;
pub mod guest_session;
#[cfg(test)]
mod hostile_guest;
mod image_error;
mod image_ready;
pub mod images;
pub mod interrupt;
pub mod kernels;
mod leftovers;
pub mod list;
pub mod logs;
mod maintenance;
mod making;
mod monitor_client;
pub mod outcome;
pub mod pass_through;
mod predecessor;
pub mod profile;
pub mod progress;
pub mod request;
pub mod run;
mod session_writer;
pub mod spec_file;
pub mod start;
pub mod status;
mod stdin_window;
pub mod supervisor_client;
pub mod supervisors;
pub mod top;
pub mod wait;
pub mod workload;

pub use act::{ActReport, Acted};
pub use captured::{CAPTURED_BYTES_MAX, CapturedRun, run_captured};
pub use connect::{ConnectSettings, SendSettings, connect, connect_serial, send, send_serial};
pub use context::Context;
pub use copy::{CopyInSettings, CopyOutSettings, CopyReport, copy_in, copy_out, copy_out_tar};
pub use create::{CreateReport, CreateSettings, create};
pub use delete::delete;
pub use detached::{DetachedReport, run_detached};
pub use dry_run::dry_run;
pub use ending::{halt, kill, pause, quarantine, resume, stop};
pub use error::WorkspaceError;
pub use exec::{ExecSettings, exec};
pub use files::{FileMode, FileSettings, FileSource};
pub use generated_name::generated_name;
pub use image_error::ImageError;
pub use image_ready::{ImageTimings, PullSettings};
pub use interrupt::Interrupt;
pub use list::list;
pub use microagent_rootfs::{DiskFormat, PullPolicy, Replace};
pub use outcome::{CommandEnd, CommandOutcome};
pub use predecessor::NameTaken;
pub use profile::Profile;
pub use run::{CopiedOut, CopyOut, Keep, RunReport, RunSettings, RunStreams, run};
pub use spec_file::SpecFile;
pub use start::{StartSettings, start};
pub use status::status;
pub use wait::wait;

/// The manual's page for programmers: what it shows must compile as it stands there.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/library.md")]
struct Manual;
