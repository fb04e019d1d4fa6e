//! A guest without a machine: it speaks the guest's half of the protocol over sockets, from ordinary
//! threads, and does on demand what real guests do at the worst moment.
//!
//! Sessions run real commands of the host, so what a test sees of stdin, stdout, exit codes and
//! signals is what a guest would show. It must stay a peer: it shares the messages with the monitor and
//! nothing else.

mod files;

use microagent_types::Timestamp;
use microagent_wire::fault::FaultKind;
use microagent_wire::frame::{Frame, FrameKind, Sender, read_frame, write_frame};
use microagent_wire::guest::boot_spec::BootSpec;
use microagent_wire::guest::control::{
    EndCause, GuestMessage, HaltPhase, Hello, HostMessage, Ready,
};
use microagent_wire::guest::service::{
    ExecRequest, NotStarted, Service, ServiceAnswer, ServiceRequest, ServiceRequestError,
    SessionDone, SessionExit, SessionInput, SessionOutput,
};
use microagent_wire::guest::{Parsed, parse};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What a guest does, chosen by words in the file that stands for its kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Script {
    /// Never dials.
    pub silent: bool,
    /// Says hello and nothing more.
    pub stuck_in_boot: bool,
    /// Says that its root disk is missing.
    pub fails_to_boot: bool,
    /// Its VM ends right after hello.
    pub dies_in_boot: bool,
    /// Sends no heartbeats.
    pub no_heartbeat: bool,
    /// Acknowledges a halt and never ends.
    pub ignores_halt: bool,
    /// Its VMM takes no notice of SIGTERM.
    pub ignores_terminate: bool,
    /// Floods its control connection once it is ready.
    pub floods: bool,
    /// Its workload ends with this code as soon as it runs.
    pub workload_code: Option<i32>,
    /// The VMM does not start.
    pub refuses_launch: bool,
    /// It is of a release that had no service for files.
    pub knows_no_files: bool,
}

impl Script {
    /// From words separated by white space; others are ignored, so that any file is a kernel.
    pub fn from_words(text: &str) -> Self {
        let has = |word: &str| text.split_whitespace().any(|found| found == word);
        Self {
            silent: has("silent"),
            stuck_in_boot: has("stuck-in-boot"),
            fails_to_boot: has("fails-to-boot"),
            dies_in_boot: has("dies-in-boot"),
            no_heartbeat: has("no-heartbeat"),
            ignores_halt: has("ignores-halt"),
            ignores_terminate: has("ignores-terminate"),
            floods: has("floods"),
            workload_code: text
                .split_whitespace()
                .find_map(|word| word.strip_prefix("workload-code="))
                .and_then(|code| code.parse().ok()),
            refuses_launch: has("refuses-launch"),
            knows_no_files: has("knows-no-files"),
        }
    }
}

/// Why a guest's thread is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestEnd {
    /// It reset its machine.
    Reset,
    /// Its machine was taken away, or it has nothing more to do.
    Silent,
}

/// Lives one boot over its control connection. `ended` is dropped when the machine is gone.
pub fn live(script: Script, control: UnixStream, ended: &Receiver<()>) -> GuestEnd {
    let boot = Instant::now();
    let uptime = move || u64::try_from(boot.elapsed().as_millis()).unwrap_or(u64::MAX);
    let Ok(mut reader) = control.try_clone() else {
        return GuestEnd::Silent;
    };
    let control = Arc::new(Mutex::new(control));
    let say = |message: &GuestMessage| {
        let mut control = control.lock().expect("no thread panics with the lock");
        write_frame(&mut *control, &Frame::control(message)).is_ok()
    };
    say(&GuestMessage::Hello(Hello {
        generation: 1,
        min_generation: 1,
        features: vec!["exec".to_owned(), "files".to_owned()],
        init_version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: "fake".to_owned(),
        guest_boot_id: "fake".to_owned(),
        uptime_ms: uptime(),
        resume: None,
    }));
    if script.dies_in_boot {
        return GuestEnd::Reset;
    }
    let Some(spec) = await_boot_spec(&mut reader) else {
        return GuestEnd::Silent;
    };
    if script.fails_to_boot {
        say(&GuestMessage::Failed {
            step: microagent_wire::guest::control::BootStep::MountRoot,
            object: "/dev/vda".to_owned(),
            message: "no such device".to_owned(),
            errno: Some(2),
        });
        return GuestEnd::Reset;
    }
    if script.stuck_in_boot {
        let _ = ended.recv();
        return GuestEnd::Silent;
    }
    if let Some(announced) = &spec.files {
        match files::deliver(&mut reader, announced) {
            Ok(delivered) => say(&delivered),
            Err(_) => return GuestEnd::Reset,
        };
    }
    say(&GuestMessage::Ready(Ready {
        uptime_ms: uptime(),
        ..Ready::default()
    }));
    if let Some(code) = script.workload_code {
        say(&exited(code));
        return shut_down(&say, &mut reader, EndCause::Workload, None);
    }
    if script.floods {
        flood(&say);
        return wait_for_end(ended);
    }
    let halted = hear_of_a_halt(reader);
    let beat = Duration::from_millis(spec.heartbeat_ms);
    loop {
        match halted.recv_timeout(beat) {
            Ok((Some(id), mut answers)) => {
                say(&GuestMessage::Halting {
                    id: Some(id),
                    phase: HaltPhase::Acknowledged,
                    cause: None,
                    clean: None,
                });
                if script.ignores_halt {
                    return wait_for_end(ended);
                }
                return shut_down(&say, &mut answers, EndCause::Halt, Some(id));
            }
            Ok((None, _)) | Err(RecvTimeoutError::Disconnected) => return wait_for_end(ended),
            Err(RecvTimeoutError::Timeout) if script.no_heartbeat => {}
            Err(RecvTimeoutError::Timeout) => {
                say(&GuestMessage::Heartbeat {
                    uptime_ms: uptime(),
                    load: 5,
                    memory_available_bytes: 1 << 30,
                    sessions: 0,
                });
            }
        }
    }
}

/// The number of the halt that the host asks for, none when it closes, and where its next words come from.
fn hear_of_a_halt(mut answers: UnixStream) -> Receiver<(Option<u64>, UnixStream)> {
    let (halts, halted) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let id = loop {
            match read_frame(&mut answers, Sender::Host) {
                Ok(Some(frame)) => {
                    if let Ok(HostMessage::Halt { id }) = serde_json::from_slice(&frame.payload) {
                        break Some(id);
                    }
                }
                Ok(None) | Err(_) => break None,
            }
        };
        // The guest's main thread may be gone with its machine.
        let _ = halts.send((id, answers));
    });
    halted
}

fn exited(code: i32) -> GuestMessage {
    GuestMessage::Exited {
        code: Some(code),
        signal: None,
        message: None,
        started_at: Timestamp::from_unix_ms(0),
        ended_at: Timestamp::from_unix_ms(0),
    }
}

/// Says the same thing without end, until nobody listens any more.
fn flood(say: &dyn Fn(&GuestMessage) -> bool) {
    let beat = GuestMessage::Heartbeat {
        uptime_ms: 0,
        load: 0,
        memory_available_bytes: 0,
        sessions: 0,
    };
    while say(&beat) {}
}

fn wait_for_end(ended: &Receiver<()>) -> GuestEnd {
    // Nothing is ever sent: it ends when the machine goes.
    let _ = ended.recv();
    GuestEnd::Silent
}

fn await_boot_spec(reader: &mut UnixStream) -> Option<BootSpec> {
    loop {
        let frame = read_frame(reader, Sender::Host).ok()??;
        if let Ok(HostMessage::Boot(spec)) = serde_json::from_slice(&frame.payload) {
            return Some(*spec);
        }
    }
}

fn shut_down(
    say: &dyn Fn(&GuestMessage) -> bool,
    reader: &mut UnixStream,
    cause: EndCause,
    id: Option<u64>,
) -> GuestEnd {
    say(&GuestMessage::Halting {
        id,
        phase: HaltPhase::Poweroff,
        cause: Some(cause),
        clean: Some(true),
    });
    loop {
        match read_frame(reader, Sender::Host) {
            Ok(Some(frame)) => {
                if let Ok(HostMessage::Bye) = serde_json::from_slice(&frame.payload) {
                    return GuestEnd::Reset;
                }
            }
            Ok(None) | Err(_) => return GuestEnd::Reset,
        }
    }
}

/// Serves one session, as the guest's service listener would.
pub fn serve_session(script: Script, mut stream: UnixStream) -> std::io::Result<()> {
    let Some(frame) = read_frame(&mut stream, Sender::Host)? else {
        return Ok(());
    };
    let request = match ServiceRequest::parse(&frame.payload) {
        Ok(request) => request,
        Err(error) => {
            let kind = match error {
                ServiceRequestError::Malformed(_) => FaultKind::Usage,
                ServiceRequestError::UnknownService(_) => FaultKind::Unsupported,
            };
            let refused = ServiceAnswer::refused(kind, error.to_string(), None);
            return write_frame(&mut stream, &Frame::control(&refused));
        }
    };
    let accepted = Frame::control(&ServiceAnswer::accepted());
    match request.service {
        Service::Read { .. } | Service::Write { .. } | Service::Stat { .. }
            if script.knows_no_files =>
        {
            refuse_service(&mut stream)
        }
        Service::Exec(exec) => {
            write_frame(&mut stream, &accepted)?;
            run_command(stream, exec)
        }
        Service::Read { path, .. } => files::read(stream, &path),
        Service::Write { path, .. } => files::write(stream, &path),
        Service::Stat { path, .. } => files::stat(stream, &path),
        Service::Forward { port, .. } => {
            match std::net::TcpStream::connect(("127.0.0.1", port.get())) {
                Ok(target) => {
                    write_frame(&mut stream, &accepted)?;
                    forward(stream, target)
                }
                Err(error) => {
                    let errno = error.raw_os_error();
                    let text = error.to_string();
                    let refused = ServiceAnswer::refused(FaultKind::Unavailable, text, errno);
                    write_frame(&mut stream, &Frame::control(&refused))
                }
            }
        }
        Service::Ping { nonce } => {
            write_frame(&mut stream, &accepted)?;
            let pong = SessionOutput::Pong {
                nonce,
                uptime_ms: 1,
            };
            write_frame(&mut stream, &Frame::control(&pong))
        }
        Service::Sync {} => {
            write_frame(&mut stream, &accepted)?;
            let done = SessionOutput::Done(SessionDone {
                duration_ms: Some(0),
                ..SessionDone::default()
            });
            write_frame(&mut stream, &Frame::control(&done))
        }
        _ => refuse_service(&mut stream),
    }
}

fn refuse_service(stream: &mut UnixStream) -> std::io::Result<()> {
    let message = "this guest has no such service";
    let refused = ServiceAnswer::refused(FaultKind::Unsupported, message, None);
    write_frame(stream, &Frame::control(&refused))
}

/// Joins data frames and a TCP connection; each direction ends by its own end of file.
fn forward(mut frames: UnixStream, target: std::net::TcpStream) -> std::io::Result<()> {
    let mut input = frames.try_clone()?;
    let mut to_target = target.try_clone()?;
    let forth = std::thread::spawn(move || {
        while let Ok(Some(frame)) = read_frame(&mut input, Sender::Host) {
            if frame.payload.is_empty() || to_target.write_all(&frame.payload).is_err() {
                break;
            }
        }
        // A target that is gone already needs to hear nothing.
        let _ = to_target.shutdown(std::net::Shutdown::Write);
    });
    let mut from_target = target;
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let read = from_target.read(&mut buffer).unwrap_or(0);
        let frame = Frame::new(FrameKind::Data, buffer[..read].to_vec());
        write_frame(&mut frames, &frame)?;
        if read == 0 {
            break;
        }
    }
    // It ends with the monitor's side of the session.
    let _ = forth.join();
    Ok(())
}

fn run_command(stream: UnixStream, exec: ExecRequest) -> std::io::Result<()> {
    let stream = Arc::new(Mutex::new(stream));
    let send = |stream: &Mutex<UnixStream>, frame: &Frame| {
        let mut stream = stream.lock().expect("no thread panics with the lock");
        write_frame(&mut *stream, frame)
    };
    let mut command = Command::new(&exec.argv[0]);
    command
        .args(&exec.argv[1..])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .process_group(0)
        .stdin(if exec.stdin {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for (name, value) in exec.env.iter() {
        command.env(name.as_str(), value);
    }
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            let exit = SessionExit {
                not_started: Some(NotStarted {
                    errno: error.raw_os_error().unwrap_or(0),
                    message: error.to_string(),
                }),
                ..SessionExit::default()
            };
            return send(&stream, &Frame::control(&SessionOutput::Exit(exit)));
        }
    };
    let started = SessionOutput::Started { pid: child.id() };
    send(&stream, &Frame::control(&started))?;
    let mut input = stream
        .lock()
        .expect("no thread panics with the lock")
        .try_clone()?;
    let mut stdin = child.stdin.take();
    let group = group_word(child.id());
    std::thread::spawn(move || {
        loop {
            match read_frame(&mut input, Sender::Host) {
                Ok(Some(frame)) if frame.kind == FrameKind::Stdin => {
                    if frame.payload.is_empty() {
                        stdin = None;
                    } else if let Some(pipe) = &mut stdin {
                        // A command that reads no more is its own business.
                        let _ = pipe.write_all(&frame.payload);
                    }
                }
                Ok(Some(frame)) => match parse::<SessionInput>(&frame.payload) {
                    Ok(Parsed::Known(SessionInput::Signal { name })) => {
                        signal_group(&group, name.number());
                    }
                    Ok(Parsed::Known(SessionInput::Close)) => signal_group(&group, SIGKILL),
                    _ => {}
                },
                Ok(None) | Err(_) => {
                    signal_group(&group, SIGKILL);
                    return;
                }
            }
        }
    });
    let pump = |source: Box<dyn Read + Send>, kind: FrameKind| {
        let stream = stream.clone();
        std::thread::spawn(move || pump_output(source, kind, &stream))
    };
    let stdout = child
        .stdout
        .take()
        .map(|pipe| pump(Box::new(pipe), FrameKind::Stdout));
    let stderr = child
        .stderr
        .take()
        .map(|pipe| pump(Box::new(pipe), FrameKind::Stderr));
    let status = child.wait()?;
    let counted = |pump: Option<std::thread::JoinHandle<u64>>| {
        pump.and_then(|pump| pump.join().ok()).unwrap_or(0)
    };
    let exit = SessionExit {
        code: status.code(),
        signal: status
            .signal()
            .and_then(|signal| u8::try_from(signal).ok())
            .and_then(microagent_types::SignalName::from_number),
        stdout_bytes: counted(stdout),
        stderr_bytes: counted(stderr),
        ..SessionExit::default()
    };
    send(&stream, &Frame::control(&SessionOutput::Exit(exit)))?;
    // The thread that reads input holds the connection too.
    let stream = stream.lock().expect("no thread panics with the lock");
    stream.shutdown(std::net::Shutdown::Both)
}

fn pump_output(
    mut source: Box<dyn Read + Send>,
    kind: FrameKind,
    stream: &Mutex<UnixStream>,
) -> u64 {
    let mut total = 0;
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let read = source.read(&mut buffer).unwrap_or(0);
        let frame = Frame::new(kind, buffer[..read].to_vec());
        let mut stream = stream.lock().expect("no thread panics with the lock");
        let sent = write_frame(&mut *stream, &frame);
        if read == 0 || sent.is_err() {
            return total;
        }
        total += read as u64;
    }
}

/// A process group by the text that `kill` takes.
fn group_word(leader: u32) -> String {
    format!("-{leader}")
}

const SIGKILL: u8 = 9;

fn signal_group(group: &str, signal: u8) {
    // A group that is gone already is what is wanted.
    let _ = Command::new("kill")
        .args([&format!("-{signal}"), "--", group])
        .stderr(Stdio::null())
        .status();
}
