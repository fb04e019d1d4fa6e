//! The end of a guest: processes, disks, the last word, the call that ends the VM.
//!
//! ```text
//! workload (awaited by the main loop) -> processes: HUP, TERM, 2 s, KILL -> sync -> unmount
//!   -> poweroff, bye within 500 ms -> reset or power-off
//! ```

use crate::boot::{EndCall, InitramfsRoot, unmount_all};
use crate::clock::Moment;
use crate::context::Context;
use crate::control::{ControlLink, Event};
use crate::reaper::Remaining;
use crate::workload::signal_everybody;
use microagent_types::SignalName;
use microagent_wire::guest::control::{EndCause, GuestMessage, HaltPhase};
use rustix::system::{RebootCommand, reboot};
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// Between SIGTERM and SIGKILL for everything.
const TERM_LIMIT: Duration = Duration::from_secs(2);
/// SIGCONT.
const CONTINUE: u8 = 18;
/// How long the killed may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(2);
/// How long sessions that copy files may take to close them.
const FILES_LIMIT: Duration = Duration::from_secs(2);
/// How long the host may take to record the power-off.
const BYE_LIMIT: Duration = Duration::from_millis(500);

/// Why it ends, and which request asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End {
    pub(crate) cause: EndCause,
    pub(crate) halt_id: Option<u64>,
}

impl End {
    /// Tells the host how far it is.
    pub(crate) fn say(self, link: &ControlLink, phase: HaltPhase, clean: Option<bool>) {
        link.say(&GuestMessage::Halting {
            id: self.halt_id,
            phase,
            cause: clean.map(|_| self.cause),
            clean,
        });
    }
}

/// Everything after the workload; does not come back.
pub(crate) fn finish(
    end: End,
    context: &Context,
    link: &ControlLink,
    events: &Receiver<Event>,
    initramfs: Option<&InitramfsRoot>,
    call: EndCall,
) -> ! {
    context.close();
    end.say(link, HaltPhase::Processes, None);
    end_processes(context, events);
    context.file_work.wait(FILES_LIMIT);
    end.say(link, HaltPhase::Sync, None);
    rustix::fs::sync();
    end.say(link, HaltPhase::Unmount, None);
    let is_clean = unmount_all(initramfs);
    end.say(link, HaltPhase::Poweroff, Some(is_clean));
    wait_for(events, Event::Bye, BYE_LIMIT);
    end_machine(call)
}

/// Ends the VM, whatever state it is in.
pub(crate) fn end_machine(call: EndCall) -> ! {
    let command = match call {
        EndCall::Reset => RebootCommand::Restart,
        EndCall::PowerOff => RebootCommand::PowerOff,
    };
    loop {
        let _ = reboot(command);
        // A power-off that the machine does not have comes back; a reset always ends it.
        let _ = reboot(RebootCommand::Restart);
    }
}

fn end_processes(context: &Context, events: &Receiver<Event>) {
    for child in context.reaper.living() {
        child.signal_group(SignalName::HUP);
    }
    for (signal, limit) in [
        (SignalName::TERM, TERM_LIMIT),
        (SignalName::KILL, KILL_LIMIT),
    ] {
        if context.reaper.collect_dead() == Remaining::Nobody {
            return;
        }
        signal_everybody(signal);
        // A stopped process hears nothing but this.
        if let Some(go_on) = SignalName::from_number(CONTINUE) {
            signal_everybody(go_on);
        }
        wait_for(events, Event::Alone, limit);
    }
}

fn wait_for(events: &Receiver<Event>, wanted: Event, limit: Duration) {
    let deadline = Moment::now().after(limit);
    while let Ok(event) = events.recv_timeout(deadline.left()) {
        if event == wanted {
            return;
        }
    }
}
