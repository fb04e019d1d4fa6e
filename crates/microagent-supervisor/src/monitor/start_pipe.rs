//! The start pipe: how a monitor tells the supervisor that made it how far it is.
//!
//! The supervisor may leave at any time, so a pipe that nobody reads is no error; and it holds a few
//! short lines, so writing never waits.

use super::event::Phase;
use crate::launch_record::{StartReport, StartVerdict};
use std::fs::File;
use std::io::Write as _;

/// The monitor's end.
#[derive(Debug)]
pub(crate) struct StartPipe(Option<File>);

impl StartPipe {
    /// From the inherited descriptor.
    pub(crate) fn new(pipe: File) -> Self {
        Self(Some(pipe))
    }

    /// A phase begins.
    pub(crate) fn phase(&mut self, phase: Phase) {
        self.report(&StartReport {
            phase: Some(phase.as_str().to_owned()),
            ..StartReport::default()
        });
    }

    /// The monitor serves its socket.
    pub(crate) fn serving(&mut self) {
        self.report(&StartReport {
            serving: Some(true),
            ..StartReport::default()
        });
    }

    /// The guest runs.
    pub(crate) fn launched(&mut self) {
        self.report(&StartReport {
            launched: Some(true),
            ..StartReport::default()
        });
    }

    /// How the start ended; the pipe is closed. False when that was said before.
    pub(crate) fn verdict(&mut self, verdict: StartVerdict) -> bool {
        let open = self.0.is_some();
        self.report(&StartReport {
            verdict: Some(verdict),
            ..StartReport::default()
        });
        self.0 = None;
        open
    }

    fn report(&mut self, report: &StartReport) {
        let Some(pipe) = &mut self.0 else { return };
        if pipe.write_all(report.to_line().as_bytes()).is_err() {
            // Nobody reads any more, which is the reader's right.
            self.0 = None;
        }
    }
}
