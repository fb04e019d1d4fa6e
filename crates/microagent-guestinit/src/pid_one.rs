//! The life of PID 1, from the kernel's hand-over to the call that ends the VM.
//!
//! ```text
//! begin -> dial, hello -> boot spec -> boot steps -> listener, workload -> ready
//!   -> events: halt, a signal, the workload's end -> the end sequence
//! ```
//!
//! It must never return and never panic out: either would make the kernel panic. A failure before
//! `ready` is told to the host and goes the same way out as a halt.

use crate::boot::{
    Beginning, Booted, EndCall, Failure, InitramfsRoot, announce, begin, boot, furnish, prepare,
};
use crate::clock::{timestamp, uptime_ms};
use crate::connection::Connection;
use crate::context::{ClockAccess, Context, FileWork, Privilege, SessionCount};
use crate::control::{
    ControlLink, ControlSetup, Event, Greeting, WorkloadConsole, greeting, run as run_control,
};
use crate::reaper::{Reaper, Remaining};
use crate::service::launch::{MissingFolder, Wish, prepare as prepare_launch};
use crate::shutdown::{End, end_machine, finish};
use crate::terminal::{Terminal, default_tty};
use crate::workload::{Child, Ended, Stdio, block_all, next_signal};
use crate::{listener, log, vsock};
use microagent_types::{SignalName, Timestamp, VsockPort};
use microagent_wire::frame::Frame;
use microagent_wire::guest::boot_spec::{BootSpec, WorkloadSpec};
use microagent_wire::guest::control::{BootStep, EndCause, GuestMessage, HaltPhase, Hello, Ready};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// How long the host may take to accept the first dial.
const DIAL_LIMIT: Duration = Duration::from_secs(30);
/// How long it may take to answer hello.
const GREETING_LIMIT: Duration = Duration::from_secs(30);
/// Events that may wait for the main thread.
const EVENTS_MAX: usize = 64;
/// How long the last messages of a boot may take.
const LAST_WORDS_LIMIT: Duration = Duration::from_secs(1);

/// Exit status outside a guest.
const FAILURE: i32 = 1;

/// Everything. Outside a guest it refuses to do anything.
pub fn main() -> i32 {
    if !rustix::process::getpid().is_init() {
        log::line("guest init runs as PID 1 of a guest and nowhere else");
        return FAILURE;
    }
    block_all();
    die_in_order();
    match begin() {
        Ok(beginning) => live(beginning),
        Err(error) => {
            log::line(&["/proc can't be mounted: ", &error.to_string()].concat());
            end_machine(EndCall::Reset)
        }
    }
}

/// A panic prints, syncs and resets: the kernel's own panic would lose what was not yet written.
fn die_in_order() {
    std::panic::set_hook(Box::new(|panic| {
        log::line(&panic.to_string());
        rustix::fs::sync();
        end_machine(EndCall::Reset)
    }));
}

fn live(beginning: Beginning) -> ! {
    let call = beginning.end;
    let (mut connection, spec) = match meet_host(&beginning.hello) {
        Ok(met) => met,
        Err(message) => {
            log::line(&message);
            rustix::fs::sync();
            end_machine(call)
        }
    };
    let context = Arc::new(context(&spec));
    let (sender, events) = sync_channel(EVENTS_MAX);
    let mut initramfs = None;
    let outcome = set_up(&mut connection, &spec, &context, &sender, &mut initramfs);
    let link = match ControlLink::new() {
        Ok(link) => Arc::new(link),
        Err(error) => {
            log::line(&error.to_string());
            end_machine(call)
        }
    };
    let hello = Hello {
        resume: Some(spec.resume.clone()),
        ..beginning.hello
    };
    let mut guest = Guest {
        context,
        link,
        sender,
        events,
        initramfs,
        call,
        workload: None,
    };
    match outcome {
        Ok(started) => {
            guest.workload = started.workload;
            guest.serve(connection, started.console, hello, &spec);
            guest.run()
        }
        Err(failure) => {
            connection.queue_frame(&Frame::control(&failure.message()));
            connection.flush(LAST_WORDS_LIMIT);
            log::line(&failure.message);
            guest.serve(connection, None, hello, &spec);
            let end = End {
                cause: EndCause::Guest,
                halt_id: None,
            };
            guest.finish(end)
        }
    }
}

/// Dials, says hello, and does what can be done while the host answers.
fn meet_host(hello: &Hello) -> Result<(Connection, Box<BootSpec>), String> {
    let socket = vsock::dial(VsockPort::CONTROL.get(), DIAL_LIMIT)
        .map_err(|error| format!("the host can't be reached: {error}"))?;
    let mut connection = Connection::new(socket).map_err(|error| error.to_string())?;
    connection.queue_frame(&Frame::control(&GuestMessage::Hello(hello.clone())));
    connection.flush_some();
    prepare().map_err(|error| format!("the guest can't prepare: {error}"))?;
    match greeting(&mut connection, GREETING_LIMIT)? {
        Greeting::Boot(spec) => Ok((connection, spec)),
        Greeting::Refused(message) => Err(format!("the host refused this guest: {message}")),
    }
}

fn context(spec: &BootSpec) -> Context {
    Context {
        env: spec.env.clone(),
        user: spec.user.clone(),
        workdir: spec.workdir.clone(),
        hostname: spec.hostname.to_string(),
        mediation_port: spec.mediation_port,
        sessions_max: spec.limits.sessions,
        stdin_bytes_max: spec.limits.stdin_bytes,
        privilege: Privilege::Root,
        clock: ClockAccess::Set,
        reaper: Reaper::new(),
        sessions: SessionCount::default(),
        forwards: SessionCount::default(),
        connections: SessionCount::default(),
        file_work: FileWork::default(),
        maintenance: spec.maintenance.is_some(),
    }
}

/// A workload that runs.
#[derive(Debug)]
struct RunningWorkload {
    child: Arc<Child>,
    stop_signal: SignalName,
    started_at: Timestamp,
}

/// What the boot has started.
#[derive(Default)]
struct Started {
    workload: Option<RunningWorkload>,
    console: Option<WorkloadConsole>,
}

/// The boot steps, the listener, the workload, `ready`.
fn set_up(
    connection: &mut Connection,
    spec: &BootSpec,
    context: &Arc<Context>,
    sender: &SyncSender<Event>,
    initramfs: &mut Option<InitramfsRoot>,
) -> Result<Started, Failure> {
    let mut booted = boot(connection, spec, initramfs)?;
    announce(connection, BootStep::Services);
    let failed = |error: io::Error| Failure::new(BootStep::Services, "vsock port 1025", &error);
    let listener = vsock::Listener::open(VsockPort::SERVICE.get()).map_err(failed)?;
    let started = match &spec.workload {
        Some(workload) => {
            booted.warnings.extend(furnish(spec));
            start_workload(connection, context, workload)?
        }
        None => Started::default(),
    };
    let pid = started
        .workload
        .as_ref()
        .map(|workload| workload.child.pid());
    let ready = GuestMessage::Ready(ready(booted, pid));
    connection.queue_frame(&Frame::control(&ready));
    connection.flush_some();
    // The port is open since `listen`; who accepts may come after the word that it does. So the host
    // dials while the rest is done, and no session begins before it is.
    if spec.workload.is_none() {
        for warning in furnish(spec) {
            log::line(&warning);
        }
    }
    let for_listener = Arc::clone(context);
    thread("listener", move || listener::run(&listener, &for_listener)).map_err(failed)?;
    let for_signals = (Arc::clone(context), sender.clone());
    thread("signals", move || {
        take_signals(&for_signals.0, &for_signals.1);
    })
    .map_err(failed)?;
    Ok(started)
}

fn ready(booted: Booted, pid: Option<u32>) -> Ready {
    Ready {
        uptime_ms: uptime_ms(),
        grown_bytes: booted.grown_bytes,
        interface: booted.interface,
        pid,
        warnings: booted.warnings,
    }
}

/// The stack of a thread that serves the whole guest.
const THREAD_STACK_BYTES: usize = 256 << 10;

fn thread(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let builder = std::thread::Builder::new().name(name.to_owned());
    builder.stack_size(THREAD_STACK_BYTES).spawn(body)?;
    Ok(())
}

/// Signals to PID 1: the dead are collected, a wish to end is passed on, all else is ignored.
fn take_signals(context: &Context, events: &SyncSender<Event>) {
    const CHILD: u8 = 17;
    loop {
        let Some(signal) = next_signal() else {
            continue;
        };
        if signal.number() == CHILD {
            if context.reaper.collect_dead() == Remaining::Nobody {
                let _ = events.try_send(Event::Alone);
            }
        } else {
            let _ = events.try_send(Event::Signal(signal));
        }
    }
}

fn start_workload(
    connection: &mut Connection,
    context: &Context,
    spec: &WorkloadSpec,
) -> Result<Started, Failure> {
    announce(connection, BootStep::Workload);
    let program = spec.argv.first().map_or("", String::as_str);
    let failed = |message: String, errno: Option<i32>| Failure {
        step: BootStep::Workload,
        object: program.to_owned(),
        message,
        errno,
    };
    let resources = |error: io::Error| failed(error.to_string(), error.raw_os_error());
    let wish = Wish {
        env: &spec.env,
        user: spec.user.as_deref(),
        cwd: spec.workdir.as_ref(),
        missing_cwd: MissingFolder::Made,
        term: Some("linux"),
    };
    let launch =
        prepare_launch(context, wish).map_err(|refusal| failed(refusal.message, refusal.errno))?;
    let terminal = Terminal::open(&default_tty(), Some(launch.account.uid)).map_err(resources)?;
    let command = launch
        .command(&spec.argv, Stdio::Terminal(terminal.terminal))
        .map_err(|refusal| failed(refusal.message, refusal.errno))?;
    let child = context.reaper.start(&command).map_err(|error| {
        let reason = crate::service::exec::not_started(program, error);
        failed(reason.message, Some(reason.errno))
    })?;
    Ok(Started {
        workload: Some(RunningWorkload {
            child: Arc::clone(&child),
            stop_signal: spec.stop_signal,
            started_at: timestamp(),
        }),
        console: Some(WorkloadConsole {
            child,
            controller: terminal.controller,
        }),
    })
}

/// A booted guest, or one that failed to boot and is on its way out.
struct Guest {
    context: Arc<Context>,
    link: Arc<ControlLink>,
    sender: SyncSender<Event>,
    events: Receiver<Event>,
    initramfs: Option<InitramfsRoot>,
    call: EndCall,
    workload: Option<RunningWorkload>,
}

impl Guest {
    /// Hands the control connection to its thread.
    fn serve(
        &self,
        connection: Connection,
        console: Option<WorkloadConsole>,
        hello: Hello,
        spec: &BootSpec,
    ) {
        let setup = ControlSetup {
            connection: Some(connection),
            link: Arc::clone(&self.link),
            events: self.sender.clone(),
            hello,
            heartbeat: Duration::from_millis(spec.heartbeat_ms.max(1)),
            context: Arc::clone(&self.context),
            console,
        };
        if let Err(error) = thread("control", move || run_control(setup)) {
            log::line(&error.to_string());
            rustix::fs::sync();
            end_machine(self.call)
        }
    }

    /// Takes events until one of them is the end.
    fn run(mut self) -> ! {
        let mut wanted: Option<End> = None;
        loop {
            let Ok(event) = self.events.recv() else {
                // Every sender is gone only when every thread is: there is nothing left to serve.
                end_machine(self.call)
            };
            match event {
                Event::Halt { id } => {
                    let is_first = wanted.is_none();
                    wanted = Some(self.acknowledge(EndCause::Halt, Some(id), is_first));
                }
                Event::Signal(signal) if is_wish_to_end(signal) && wanted.is_none() => {
                    wanted = Some(self.acknowledge(EndCause::Guest, None, true));
                }
                Event::WorkloadEnded(ended) => {
                    self.report_end(ended);
                    let end = wanted.unwrap_or(End {
                        cause: EndCause::Workload,
                        halt_id: None,
                    });
                    self.finish(end)
                }
                Event::Signal(_) | Event::Bye | Event::Alone => {}
            }
            if let Some(end) = wanted
                && self.workload.is_none()
            {
                self.finish(end)
            }
        }
    }

    /// Begins the end: no new sessions, and the workload is asked to stop, once. It is never killed
    /// here.
    fn acknowledge(&self, cause: EndCause, halt_id: Option<u64>, is_first: bool) -> End {
        let end = End { cause, halt_id };
        self.context.close();
        if halt_id.is_some() {
            end.say(&self.link, HaltPhase::Acknowledged, None);
        }
        if let Some(workload) = &self.workload
            && is_first
        {
            end.say(&self.link, HaltPhase::Workload, None);
            workload.child.signal_group(workload.stop_signal);
        }
        end
    }

    fn report_end(&mut self, ended: Ended) {
        let Some(workload) = self.workload.take() else {
            return;
        };
        let (code, signal) = match ended {
            Ended::Exited(code) => (Some(code), None),
            Ended::Signaled(signal) => (None, Some(signal.to_string())),
        };
        self.link.say(&GuestMessage::Exited {
            code,
            signal,
            message: None,
            started_at: workload.started_at,
            ended_at: timestamp(),
        });
    }

    fn finish(&self, end: End) -> ! {
        let initramfs = self.initramfs.as_ref();
        finish(
            end,
            &self.context,
            &self.link,
            &self.events,
            initramfs,
            self.call,
        )
    }
}

/// SIGINT is what Ctrl-Alt-Del becomes; the rest is what `reboot`, `halt` and `poweroff` send.
fn is_wish_to_end(signal: SignalName) -> bool {
    const NUMBERS: [u8; 5] = [2, 10, 12, 15, 30];
    NUMBERS.contains(&signal.number())
}

#[cfg(test)]
mod tests {
    use super::is_wish_to_end;
    use microagent_types::SignalName;

    #[test]
    fn what_halt_programs_send_ends_the_guest_and_nothing_else_does() {
        let of = |name: &str| is_wish_to_end(name.parse::<SignalName>().unwrap());
        for name in ["TERM", "INT", "USR1", "USR2", "PWR"] {
            assert!(of(name), "{name}");
        }
        for name in ["HUP", "CHLD", "WINCH", "PIPE", "RTMIN+4"] {
            assert!(!of(name), "{name}");
        }
    }
}
