//! The life of a session's process: its streams, its signals, its end.
//!
//! ```text
//!             timeout: TERM ──grace──> KILL
//! running ──┬─ host gone or `close`: HUP ──2 s──> KILL ──┐
//!           └─ process ended ── drain, 1 s ──────────────┴─> exit, always the last frame
//! ```
//!
//! One thread polls everything, so a signal is heard while output is stuck, and nothing is held but
//! the two bounded buffers.

use super::LINGER_LIMIT;
use super::output::Output;
use super::stdin::Stdin;
use crate::clock::{Moment, timespec};
use crate::connection::{Connection, Incoming};
use crate::terminal::{END_OF_INPUT, resize};
use crate::workload::{Child, Ended};
use microagent_types::SignalName;
use microagent_wire::frame::{Frame, FrameKind};
use microagent_wire::guest::service::{SessionExit, SessionInput, SessionOutput};
use microagent_wire::guest::{Parsed, parse};
use rustix::event::{PollFd, PollFlags, poll};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

/// Between SIGHUP and SIGKILL for a session whose host has gone.
const HANG_UP_GRACE: Duration = Duration::from_secs(2);
/// How long the pipes of an ended process are read when something else holds them open.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);

/// The ends of a process's streams that guest init holds; all non-blocking.
#[derive(Debug)]
pub(super) enum Streams {
    Pipes {
        stdin: Option<OwnedFd>,
        stdout: OwnedFd,
        stderr: OwnedFd,
    },
    /// One terminal and a second descriptor of it, for writing.
    Terminal {
        controller: OwnedFd,
        writer: OwnedFd,
    },
}

/// What bounds a session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) timeout: Option<Duration>,
    pub(super) kill_grace: Duration,
    pub(super) output_bytes_max: u64,
    pub(super) stdin_bytes_max: u64,
}

/// A session with a running process.
pub(super) struct ProcessSession {
    connection: Connection,
    child: Arc<Child>,
    stdin: Stdin,
    stdout: Output,
    stderr: Output,
    terminal: Option<OwnedFd>,
    kill_grace: Duration,
    timeout_at: Option<Moment>,
    kill_at: Option<Moment>,
    drain_until: Option<Moment>,
    is_hung_up: bool,
    is_timed_out: bool,
    ended: Option<Ended>,
}

impl ProcessSession {
    pub(super) fn new(
        connection: Connection,
        child: Arc<Child>,
        streams: Streams,
        bounds: Bounds,
    ) -> Self {
        let (stdin, stdout, stderr, terminal) = match streams {
            Streams::Pipes {
                stdin,
                stdout,
                stderr,
            } => (stdin, stdout, Some(stderr), None),
            Streams::Terminal { controller, writer } => {
                let sizes = writer.try_clone().ok();
                (Some(writer), controller, None, sizes)
            }
        };
        Self {
            connection,
            child,
            stdin: Stdin::new(stdin, bounds.stdin_bytes_max),
            stdout: Output::new(Some(stdout), FrameKind::Stdout, bounds.output_bytes_max),
            stderr: Output::new(stderr, FrameKind::Stderr, bounds.output_bytes_max),
            terminal,
            kill_grace: bounds.kill_grace,
            timeout_at: bounds.timeout.map(|span| Moment::now().after(span)),
            kill_at: None,
            drain_until: None,
            is_hung_up: false,
            is_timed_out: false,
            ended: None,
        }
    }

    /// Until the process has ended and everything was said.
    pub(super) fn run(mut self) {
        loop {
            self.stdin.feed();
            if let Some(bytes) = self.stdin.news() {
                self.connection
                    .queue_frame(&Frame::control(&SessionOutput::StdinTaken { bytes }));
            }
            self.connection.flush_some();
            if self.connection.is_closed() {
                self.hang_up();
            }
            self.keep_time();
            if self.is_over() {
                break;
            }
            self.wait();
            self.take_input();
            self.take_output();
            if self.ended.is_none() {
                self.ended = self.child.collect();
            }
        }
        let exit = self.exit();
        self.connection
            .queue_frame(&Frame::control(&SessionOutput::Exit(exit)));
        self.connection.linger(LINGER_LIMIT);
    }

    fn is_over(&self) -> bool {
        let is_drained = self.stdout.poll_fd().is_none() && self.stderr.poll_fd().is_none();
        let is_awaited = self.drain_until.is_none_or(Moment::has_passed);
        let is_group_done = self.kill_at.is_none() || !self.child.group_lives();
        self.ended.is_some() && (is_drained || is_awaited) && is_group_done
    }

    fn hang_up(&mut self) {
        if !self.is_hung_up {
            self.is_hung_up = true;
            self.child.signal_group(SignalName::HUP);
            self.kill_at = Some(Moment::now().after(HANG_UP_GRACE));
        }
    }

    fn keep_time(&mut self) {
        if self.ended.is_some() {
            self.timeout_at = None;
            // What the process wrote before its end is not lost to a slow host: the clock of the drain
            // runs only while there is room for more.
            if self.drain_until.is_none() || !self.connection.has_room() {
                self.drain_until = Some(Moment::now().after(DRAIN_LIMIT));
            }
        }
        if self.timeout_at.is_some_and(Moment::has_passed) {
            self.timeout_at = None;
            self.is_timed_out = true;
            self.child.signal_group(SignalName::TERM);
            self.kill_at = Some(Moment::now().after(self.kill_grace));
        }
        if self.kill_at.is_some_and(Moment::has_passed) {
            self.kill_at = None;
            self.child.signal_group(SignalName::KILL);
        }
    }

    /// Sleeps until something can be done.
    fn wait(&self) {
        if self.connection.has_input() && self.stdin.has_room() {
            return;
        }
        let mut fds = Vec::with_capacity(5);
        let mut watch = |fd, flags| fds.push(PollFd::from_borrowed_fd(fd, flags));
        let mut socket = PollFlags::empty();
        socket.set(PollFlags::IN, self.stdin.has_room());
        socket.set(PollFlags::OUT, self.connection.has_output());
        if !socket.is_empty() && !self.connection.is_closed() {
            watch(self.connection.as_fd(), socket);
        }
        if let Some(fd) = self.stdin.poll_fd() {
            watch(fd, PollFlags::OUT);
        }
        if self.connection.has_room() {
            for output in [&self.stdout, &self.stderr] {
                if let Some(fd) = output.poll_fd() {
                    watch(fd, PollFlags::IN);
                }
            }
        }
        if self.ended.is_none() {
            watch(self.child.exit_fd(), PollFlags::IN);
        }
        let moments = [self.timeout_at, self.kill_at, self.drain_until];
        let next = moments.into_iter().flatten().min();
        let limit = next.map(|moment| timespec(moment.left()));
        // An interrupted wait is a short one.
        let _ = poll(&mut fds, limit.as_ref());
    }

    fn take_output(&mut self) {
        if self.connection.has_room() {
            self.stdout.forward(&mut self.connection);
            self.stderr.forward(&mut self.connection);
        }
    }

    fn take_input(&mut self) {
        while self.stdin.has_room() {
            match self.connection.try_next() {
                Incoming::Nothing | Incoming::Closed => return,
                Incoming::Frame(frame) => match frame.kind {
                    FrameKind::Stdin if frame.payload.is_empty() => self.end_input(),
                    FrameKind::Stdin => self.stdin.push(&frame.payload),
                    FrameKind::Control => self.obey(&frame.payload),
                    _ => self.connection.abandon(),
                },
            }
        }
    }

    fn end_input(&mut self) {
        if self.terminal.is_some() {
            self.stdin.push(&[END_OF_INPUT]);
        } else {
            self.stdin.end();
        }
    }

    fn obey(&mut self, payload: &[u8]) {
        match parse::<SessionInput>(payload) {
            Ok(Parsed::Known(SessionInput::Resize { rows, cols })) => {
                if let Some(terminal) = &self.terminal {
                    let _ = resize(terminal, rows, cols);
                }
            }
            Ok(Parsed::Known(SessionInput::Signal { name })) => {
                // After the end the group's number is not ours to signal.
                if self.ended.is_none() {
                    self.child.signal_group(name);
                }
            }
            Ok(Parsed::Known(SessionInput::Close)) => self.hang_up(),
            // A newer host's message; what it lacks is its own to notice.
            Ok(Parsed::Unknown(_)) => {}
            Err(_) => self.connection.abandon(),
        }
    }

    fn exit(&self) -> SessionExit {
        let (code, signal) = match self.ended {
            Some(Ended::Exited(code)) => (Some(code), None),
            Some(Ended::Signaled(signal)) => (None, Some(signal)),
            None => (None, None),
        };
        SessionExit {
            code,
            signal,
            timed_out: self.is_timed_out,
            not_started: None,
            stdout_bytes: self.stdout.bytes(),
            stderr_bytes: self.stderr.bytes(),
            truncated: self.stdout.is_truncated() || self.stderr.is_truncated(),
            incomplete: self.stdout.poll_fd().is_some() || self.stderr.poll_fd().is_some(),
        }
    }
}
