//! The library: a file and a public function for each use case of a workspace.
//!
//! It blocks: its callers are commands and programs that wait for one thing. It names no hypervisor
//! and links none; backends are programs that it runs (`supervisor_client`). It draws nothing:
//! progress is handed out as values (`progress`). Nothing is fetched, started or written because this
//! crate was linked or a value was made.
//!
//! Outsiders may depend on it.
#![forbid(unsafe_code)]

pub mod act;
pub mod backend_choice;
mod begun;
pub mod connect;
pub mod context;
pub mod copy;
pub mod create;
pub mod delete;
pub mod detached;
pub mod disk_file;
pub mod disks;
pub mod doctor;
pub mod ending;
mod error;
pub mod events;
pub mod exec;
mod existing;
mod file_session;
pub mod files;
mod first_boot;
mod generated_name;
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
pub mod start;
pub mod status;
mod stdin_window;
pub mod supervisor_client;
pub mod supervisors;
pub mod wait;
pub mod workload;

pub use act::{ActReport, Acted};
pub use connect::{ConnectSettings, SendSettings, connect, connect_serial, send, send_serial};
pub use context::Context;
pub use copy::{CopyInSettings, CopyOutSettings, CopyReport, copy_in, copy_out, copy_out_tar};
pub use create::{CreateReport, CreateSettings, create};
pub use delete::delete;
pub use detached::{DetachedReport, run_detached};
pub use ending::{halt, kill, pause, quarantine, resume, stop};
pub use error::WorkspaceError;
pub use exec::{ExecSettings, exec};
pub use files::FileSettings;
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
pub use start::{StartSettings, start};
pub use status::status;
pub use wait::wait;
