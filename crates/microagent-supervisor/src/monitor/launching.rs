//! The part of a boot before the guest speaks, and how a start is given up: what the launch reports is
//! recorded before the guest's first instruction, and whatever fails then ends the VM.
//!
//! It decides nothing of how the end is judged (`ending`) and takes no word of the guest (`guest_words`).

use super::acts::Act;
use super::event::{Event, LaunchFailure, Phase};
use super::owner::{KILL_LIMIT, Owner, Stage, StartFailure};
use super::serial::{self, INPUT_PIECES_MAX};
use super::timers::Timer;
use crate::backend::{Launched, RUN_LIMIT, Severs, VmEvent};
use crate::faults;
use microagent_machine::state::FailReason;
use microagent_os::{clock, host_pace};
use microagent_state::event_record::EventType;
use microagent_wire::fault::{Fault, FaultKind};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::spawn_local;

/// Until the guest says hello: with hardware virtualization, and emulated.
pub(super) const HELLO_LIMIT: [Duration; 2] = [Duration::from_secs(20), Duration::from_mins(3)];

impl Owner<'_> {
    pub(super) async fn launched(&mut self, launched: Launched) {
        let Launched {
            vm,
            console,
            events,
            engine_version,
        } = launched;
        self.watch_vm(console, events);
        self.machine = Some(vm.clone());
        if self.is_given_up() {
            self.kill_vm();
            return;
        }
        self.book.note_vm(&*vm, self.plan.mac, engine_version);
        let pid = self.book.record().vm.as_ref().and_then(|vm| vm.pid);
        let started = self
            .book
            .event_of(EventType::VmStarted, &self.origin)
            .with("pid", pid);
        // Identity and event are on disk before the guest's first instruction, so that whoever comes
        // after a crash knows that there was a VM, and which.
        self.book.commit(vec![started]).await;
        microagent_os::crash_point::pass("monitor.vm_recorded");
        if let Some(why) = self.book.record_error() {
            let fault = Fault::new(FaultKind::Resource, "the VM could not be recorded")
                .with_cause(why)
                .with_hint("make room on the disk of the state directory");
            self.fail_start(Phase::Launch, FailReason::BootFailed, fault);
            return;
        }
        self.guest.ran_at = Some(clock::monotonic());
        let limit = host_pace::limit(RUN_LIMIT);
        let ran = tokio::time::timeout(limit, vm.run()).await;
        match ran {
            Ok(Ok(())) => {
                self.stage = Stage::AwaitingHello;
                self.timers.set(Timer::Hello, self.by_pace(HELLO_LIMIT));
                self.pipe.launched();
                self.pipe.phase(Phase::Hello);
            }
            Ok(Err(error)) => {
                let fault = faults::of_backend(&error);
                self.fail_start(Phase::Launch, FailReason::BootFailed, fault);
            }
            Err(_) => {
                self.start_timed_out(Phase::Launch, "the VMM to let the guest run", limit);
            }
        }
    }

    fn watch_vm(
        &mut self,
        console: crate::backend::Console,
        mut vm_events: mpsc::Receiver<VmEvent>,
    ) {
        let (typed, pieces) = mpsc::channel(INPUT_PIECES_MAX);
        self.typed = Some(typed);
        spawn_local(serial::type_into(console.input, pieces));
        let (events, log) = (self.events.clone(), self.console.clone());
        spawn_local(async move {
            serial::drain(console.output, log).await;
            events.send(Event::ConsoleDrained).await;
        });
        let events = self.events.clone();
        spawn_local(async move {
            while let Some(event) = vm_events.recv().await {
                events.send(Event::Vm(Some(event))).await;
            }
            events.send(Event::Vm(None)).await;
        });
    }

    pub(super) async fn launch_failed(&mut self, failure: LaunchFailure) {
        let fault = faults::of_backend(&failure.error);
        if self.start_failure.is_none() {
            self.start_failure = Some(StartFailure {
                phase: failure.phase,
                reason: FailReason::BootFailed,
                fault,
            });
        }
        self.finish().await;
    }

    /// Gives up a boot that has begun: the VM is ended, and its end is recorded as this failure.
    pub(super) fn fail_start(&mut self, phase: Phase, reason: FailReason, fault: Fault) {
        if self.start_failure.is_none() && self.is_starting() {
            tracing::warn!(phase = phase.as_str(), %fault, "the start failed");
            self.start_failure = Some(StartFailure {
                phase,
                reason,
                fault,
            });
            self.kill_vm();
        }
    }

    pub(super) fn start_timed_out(&mut self, phase: Phase, waited_for: &str, limit: Duration) {
        let limit_ms = clock::whole_ms(limit);
        let name = &self.plan.workspace.name;
        let fault = Fault::new(
            FaultKind::Timeout,
            format!("`{name}` did not get ready: waited {limit_ms} ms for {waited_for}"),
        )
        .with_details(|details| {
            details.waited_for = Some(waited_for.to_owned());
            details.deadline_ms = Some(limit_ms);
        });
        self.fail_start(phase, FailReason::GuestUnresponsive, fault);
    }

    pub(super) fn phase(&self) -> Phase {
        match self.stage {
            Stage::Launching => Phase::Launch,
            Stage::AwaitingHello => Phase::Hello,
            _ => Phase::Ready,
        }
    }

    /// Whether nobody has been told yet that the guest is ready.
    pub(super) fn is_starting(&self) -> bool {
        !self.was_ready && self.stage != Stage::Done
    }

    /// Whether the VM is to end before it was ever ready.
    pub(super) fn is_given_up(&self) -> bool {
        self.act.as_ref().is_some_and(Act::ends_vm)
            || self.abandonment.is_some()
            || self.start_failure.is_some()
    }

    pub(super) fn kill_vm(&mut self) {
        if let Some(vm) = &self.machine
            && !matches!(self.stage, Stage::Draining(_) | Stage::Done)
        {
            if let Err(error) = vm.kill() {
                tracing::error!(%error, "the VM was not killed");
            }
            self.timers.set_if_idle(Timer::Act, KILL_LIMIT);
        }
    }

    pub(super) async fn helper_ended(&mut self, name: &'static str, severs: Severs) {
        if matches!(self.stage, Stage::Draining(_) | Stage::Done) {
            return;
        }
        let state = self.book.state();
        match severs {
            Severs::Vsock => {
                self.guest.unreachable = true;
                let detail = format!("`{name}` ended: the guest can't be reached; stop or kill it");
                self.book
                    .record_mut()
                    .enter(state, clock::now(), Some(detail));
            }
            Severs::Network => {
                if let Some(network) = &mut self.book.record_mut().network {
                    network.error = Some(format!("`{name}` ended"));
                }
            }
        }
        let died = self.book.event(EventType::HelperDied).with("name", name);
        self.book.commit(vec![died]).await;
        if severs == Severs::Vsock {
            let fault = Fault::new(
                FaultKind::Backend,
                format!("`{name}` ended during the boot"),
            )
            .with_details(|details| details.component = Some(name.to_owned()));
            self.fail_start(self.phase(), FailReason::BootFailed, fault);
        }
    }
}
