//! The monitor: the long-lived process of one running workspace. It owns the VMM and every socket of
//! the workspace, and is the only writer of the runtime record while it holds the lease.
//!
//! Reading order: `run` (first line to last), `boot` (the steps before the guest runs), `owner` (the
//! loop) with `launching`, `guest_words`, `acts`, `quarantine`, `requests` and `ending`, `event`
//! (everything that can happen) and `timers`; then `book` and `recorder` (what is written), `control`
//! (the guest's connection) with `boot_spec` and `first_boot`, `serial` (its console), `local_api` (other
//! processes of this user), `sessions`, `publish`, `mediation` with `target`, what is recorded of them in
//! `traffic`, `history`, and what they share: `bridge`, `frame_stream`, `rate`, `start_pipe`, `upkeep`.

mod acts;
mod book;
mod boot;
mod boot_spec;
mod bridge;
mod control;
mod ending;
mod event;
mod first_boot;
mod frame_stream;
mod guest_words;
mod history;
mod joint;
mod launching;
mod local_api;
mod maintenance;
mod mediation;
mod owner;
mod port_holder;
mod publish;
mod quarantine;
mod rate;
mod recorder;
mod requests;
mod run;
mod serial;
mod sessions;
mod start_pipe;
mod target;
mod timers;
mod traffic;
mod turned_away;
mod upkeep;

pub(crate) use run::run;
