//! What the guest says on its control connection: hello, ready, heartbeats, the workload's end, the steps
//! of its halt. Each is recorded before anything follows from it.
//!
//! Its texts and its order are not to be trusted: a word out of place is ignored, and what is recorded
//! of it is one bounded line.

use super::boot_spec::{Fresh, boot_spec, hexadecimal};
use super::control::{ConnectionNumber, ControlEnd, ControlSender};
use super::event::{Event, Phase};
use super::maintenance;
use super::owner::{BOUND_LIMIT, Control, Owner, Stage};
use super::timers::Timer;
use crate::launch_record::StartVerdict;
use microagent_machine::state::{FailReason, RunningReason, State};
use microagent_os::{clock, random};
use microagent_state::event_record::EventType;
use microagent_state::runtime_record::{ExitRecord, GuestRecord, ShutdownRecord};
use microagent_types::{SignalName, Timestamp};
use microagent_wire::fault::{Fault, FaultKind};
use microagent_wire::generation::{self, GENERATION, GENERATION_MIN};
use microagent_wire::guest::control::{
    EndCause, GuestMessage, HaltPhase, Hello, HostMessage, Ready,
};
use microagent_wire::limits::GUEST_TEXT_BYTES_MAX;
use std::time::Duration;
use tokio::task::spawn_local;

/// The longest silence of a guest that boots: with hardware virtualization, and emulated.
pub(super) const SILENCE_LIMIT: [Duration; 2] = [Duration::from_secs(15), Duration::from_mins(1)];
/// Three heartbeats.
const HEARTBEAT_LIMIT: Duration = Duration::from_secs(6);

impl Owner<'_> {
    pub(super) async fn guest_said(
        &mut self,
        number: ConnectionNumber,
        message: GuestMessage,
        sender: ControlSender,
    ) {
        if let GuestMessage::Hello(hello) = message {
            return self.guest_greeted(number, hello, sender).await;
        }
        if self
            .control
            .as_ref()
            .is_none_or(|control| control.number != number)
        {
            // It must say hello first.
            return;
        }
        if self.stage == Stage::Booting {
            self.timers.set(Timer::Silence, self.by_pace(SILENCE_LIMIT));
        } else {
            self.guest_is_heard().await;
        }
        match message {
            GuestMessage::Hello(_) | GuestMessage::Progress { .. } => {}
            GuestMessage::Unsupported { of } => {
                tracing::warn!(of, "the guest does not know a message");
            }
            GuestMessage::FilesDelivered { entries, bytes } => {
                self.files_delivered(entries, bytes).await;
            }
            GuestMessage::Ready(ready) => self.guest_ready(ready).await,
            GuestMessage::Failed {
                step,
                object,
                message,
                errno,
            } => {
                let fault = Fault::new(
                    FaultKind::Guest,
                    format!(
                        "the guest could not boot: {}: {}",
                        plain(&object),
                        plain(&message)
                    ),
                )
                .with_details(|details| {
                    details.os_error = errno.map(|code| microagent_wire::fault::OsError {
                        code,
                        name: step.as_str().to_owned(),
                    });
                });
                self.fail_start(Phase::Ready, FailReason::BootFailed, fault);
            }
            GuestMessage::Heartbeat { .. } => {
                self.guest.last_heartbeat = Some(clock::now());
            }
            GuestMessage::Exited {
                code,
                signal,
                message,
                started_at: _,
                ended_at,
            } => self.workload_exited(code, signal, message, ended_at).await,
            GuestMessage::Halting {
                phase,
                cause,
                clean,
                id: _,
            } => self.guest_halts(phase, cause, clean).await,
        }
    }

    async fn guest_greeted(
        &mut self,
        number: ConnectionNumber,
        hello: Hello,
        sender: ControlSender,
    ) {
        let first = self.stage == Stage::AwaitingHello;
        let known = hello.resume.as_deref() == Some(self.guest.resume.as_str());
        let again = known && matches!(self.stage, Stage::Booting | Stage::Running);
        if !first && !again {
            tracing::warn!("a hello out of place was ignored");
            return;
        }
        self.control = Some(Control {
            number,
            sender: sender.clone(),
        });
        if !first {
            return;
        }
        let theirs = (hello.min_generation, hello.generation);
        let Some(spoken) = generation::common((GENERATION_MIN, GENERATION), theirs) else {
            let message = format!(
                "the host speaks generation {GENERATION_MIN} to {GENERATION}, the guest {} to {}",
                hello.min_generation, hello.generation
            );
            sender.send(&HostMessage::Refuse {
                message: message.clone(),
            });
            let fault = Fault::new(FaultKind::Unsupported, message)
                .with_details(|details| details.guest_generation = Some(hello.generation));
            self.fail_start(Phase::Hello, FailReason::BootFailed, fault);
            return;
        };
        self.guest.generation = spoken;
        self.guest.boot_ms = self.since_run();
        self.stage = Stage::Booting;
        self.timers.clear(Timer::Hello);
        self.timers.set(Timer::Silence, self.by_pace(SILENCE_LIMIT));
        self.pipe.phase(Phase::BootSpec);
        self.send_boot_spec(&sender, spoken);
        self.book.record_mut().guest = Some(GuestRecord {
            generation: hello.generation,
            init_version: plain(&hello.init_version),
            features: hello
                .features
                .iter()
                .take(64)
                .map(|word| plain(word))
                .collect(),
            boot_id: self.plan.document.boot_id,
        });
        let greeted = self
            .book
            .event(EventType::GuestHello)
            .with("generation", hello.generation)
            .with("initVersion", plain(&hello.init_version))
            .with("kernel", plain(&hello.kernel));
        self.book.append_later(vec![greeted]).await;
        self.pipe.phase(Phase::Ready);
    }

    fn send_boot_spec(&mut self, sender: &ControlSender, generation: u32) {
        let fresh = Fresh {
            resume: hexadecimal(&random::bytes::<16>()),
            time_unix_us: clock::unix_us(),
            entropy: random::bytes(),
            generation,
            addresses: self.machine.as_ref().and_then(|vm| vm.guest_addresses()),
        };
        self.guest.resume.clone_from(&fresh.resume);
        let files = super::first_boot::files(&self.plan);
        let spec = boot_spec(
            self.plan.backend,
            &self.plan.spec,
            &self.plan.document,
            self.plan.mac,
            files.as_deref().map(super::first_boot::announcement),
            fresh,
        );
        if !sender.send(&HostMessage::Boot(Box::new(spec))) {
            tracing::warn!("the boot spec was not sent");
            return;
        }
        if let Some(files) = files {
            let (sender, events) = (sender.clone(), self.events.clone());
            spawn_local(async move {
                let sent = super::first_boot::send(files, sender).await;
                events.send(Event::FilesSent(sent)).await;
            });
        }
    }

    async fn guest_ready(&mut self, ready: Ready) {
        if self.stage != Stage::Booting || self.is_given_up() {
            return;
        }
        self.stage = Stage::Running;
        self.was_ready = true;
        self.timers.clear(Timer::Silence);
        self.timers.clear(Timer::Ready);
        let now = clock::now();
        let ready_ms = self.since_run();
        self.book.enter(State::Running(RunningReason::Ready), None);
        self.book.record_mut().pending = None;
        if let Some(boot) = &mut self.book.record_mut().boot {
            boot.ready_at = Some(now);
        }
        let mut events = Vec::new();
        if let Some(bytes) = ready.grown_bytes {
            events.push(self.book.event(EventType::DiskGrown).with("bytes", bytes));
        }
        if let Some(pid) = ready.pid {
            let started = self.book.event(EventType::WorkloadStarted);
            events.push(started.with("pid", pid));
        }
        let event = self.book.event_of(EventType::Ready, &self.origin);
        events.push(
            event
                .state(self.book.state())
                .with("readyMs", ready_ms)
                .with("guestUptimeMs", ready.uptime_ms),
        );
        self.book.commit(events).await;
        self.pipe.verdict(StartVerdict {
            ok: true,
            boot_ms: self.guest.boot_ms,
            ready_ms,
            warnings: ready
                .warnings
                .iter()
                .take(64)
                .map(|text| plain(text))
                .collect(),
            error: None,
        });
        self.restart_heartbeat();
        if self.is_maintenance() {
            self.timers.set(Timer::Bound, maintenance::BOUND_LIMIT);
        } else if self.plan.document.client_bound {
            self.timers.set(Timer::Bound, BOUND_LIMIT);
        }
        self.serve_published();
        self.admit_waiting().await;
    }

    async fn files_delivered(&mut self, entries: u64, bytes: u64) {
        self.book.record_mut().files_delivered = Some(clock::now());
        let delivered = self
            .book
            .event(EventType::FilesDelivered)
            .with("entries", entries)
            .with("bytes", bytes);
        // Recorded before the host's copies go: what a crash leaves is never delivered twice, since the
        // guest may have changed it meanwhile.
        self.book.commit(vec![delivered]).await;
        super::first_boot::remove(&self.plan);
    }

    async fn workload_exited(
        &mut self,
        code: Option<i32>,
        signal: Option<String>,
        message: Option<String>,
        ended_at: Timestamp,
    ) {
        let signal_number = signal
            .as_deref()
            .and_then(|name| name.parse::<SignalName>().ok())
            .map(|name| i32::from(name.number()));
        let message = message.map(|text| plain(&text));
        let event = self
            .book
            .event(EventType::WorkloadExited)
            .with("code", code)
            .with("signal", signal.map(|name| plain(&name)));
        self.book.record_mut().exit = Some(ExitRecord {
            code,
            signal: signal_number,
            message,
            ended_at,
            boot_id: self.plan.document.boot_id,
        });
        // Recorded before it is acted upon.
        self.book.commit(vec![event]).await;
    }

    async fn guest_halts(
        &mut self,
        phase: HaltPhase,
        cause: Option<EndCause>,
        clean: Option<bool>,
    ) {
        match phase {
            HaltPhase::Acknowledged => self.halt_acknowledged().await,
            HaltPhase::Poweroff => {
                let cause = cause.map(|cause| match cause {
                    EndCause::Halt => "halt",
                    EndCause::Workload => "workload",
                    EndCause::Guest => "guest",
                });
                self.book.record_mut().shutdown = Some(ShutdownRecord {
                    cause: cause.map(str::to_owned),
                    clean: clean.unwrap_or(false),
                    ended_by: None,
                    vmm: None,
                });
                // On disk before the guest is told that it may go: afterwards its word is all there is.
                self.book.commit(Vec::new()).await;
                if let Some(control) = &self.control {
                    control.sender.send(&HostMessage::Bye);
                }
            }
            _ => {}
        }
    }

    async fn guest_is_heard(&mut self) {
        if self.stage != Stage::Running {
            return;
        }
        self.restart_heartbeat();
        if self.guest.silent {
            self.guest.silent = false;
            let back = self.book.event(EventType::GuestBack);
            self.book.append_later(vec![back]).await;
        }
    }

    pub(super) async fn guest_fell_silent(&mut self) {
        if self.stage == Stage::Running && !self.book.state().is_frozen() && !self.guest.silent {
            self.guest.silent = true;
            let silent = self.book.event(EventType::GuestSilent);
            self.book.append_later(vec![silent]).await;
        }
    }

    pub(super) async fn control_ended(&mut self, number: ConnectionNumber, end: ControlEnd) {
        if self
            .control
            .as_ref()
            .is_some_and(|control| control.number == number)
        {
            self.control = None;
        }
        if end == ControlEnd::Misbehaved {
            let event = self.book.event(EventType::GuestMisbehaved);
            self.book.append_later(vec![event]).await;
        }
        self.go_on_draining().await;
    }

    /// Begins to expect heartbeats again.
    pub(super) fn restart_heartbeat(&mut self) {
        self.timers
            .set(Timer::Heartbeat, self.guest_limit(HEARTBEAT_LIMIT));
    }
}

/// Text of a guest for records: one line, bounded.
pub(super) fn plain(text: &str) -> String {
    let mut plain: String = text
        .chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect();
    plain.truncate(plain.floor_char_boundary(GUEST_TEXT_BYTES_MAX));
    plain
}
