//! Processes of the guest: how one is started, known, signalled and collected.
//!
//! Together with `boot` the only place with `unsafe` code in guest init. Who runs what, and what
//! happens to its output, is decided elsewhere (`service`, `pid_one`).

mod child;
mod command;
mod signals;
mod spawn;
mod wait;

pub use child::{Child, Ended};
pub use command::{Command, CommandError, Credentials, Stdio};
pub(crate) use signals::signal_everybody;
pub use signals::{block_all, next_signal};
pub(crate) use spawn::start;
pub use spawn::{StartError, StartStep};
pub(crate) use wait::{Look, next_dead_child};
