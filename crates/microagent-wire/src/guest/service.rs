//! Sessions: the first frame names a service, the guest answers, then the service's own frames follow.

use microagent_types::{Environment, GuestPath, GuestPort, SignalName};
use serde::{Deserialize, Serialize};

use super::KnownTypes;
use crate::fault::FaultKind;

/// The first frame of a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceRequest {
    /// The generation that the caller speaks.
    pub generation: u32,
    /// The service and its fields.
    pub service: Service,
}

/// The services of a guest and what each is asked with.
///
/// On the wire the fields stand beside `service`: [`ServiceRequest::to_json`] and
/// [`ServiceRequest::parse`] translate, so that a caller in another language writes one flat object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "service",
    rename_all = "snake_case",
    rename_all_fields = "camelCase"
)]
pub enum Service {
    /// Runs a command.
    Exec(ExecRequest),
    /// Runs a login shell.
    Shell(ShellRequest),
    /// Sends a file, or a file or folder as a tar.
    Read {
        /// What.
        path: GuestPath,
        /// As a tar.
        #[serde(default)]
        archive: bool,
        /// A link in `path` itself is followed.
        #[serde(default)]
        follow_links: bool,
        /// Most bytes to send.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit_bytes: Option<u64>,
    },
    /// Takes a file, or unpacks a tar into a folder.
    Write {
        /// Where.
        path: GuestPath,
        /// A tar.
        #[serde(default)]
        archive: bool,
        /// Mode of a single file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mode: Option<u32>,
        /// Owner of everything written.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<Owner>,
        /// Owners as in the tar.
        #[serde(default)]
        keep_owner: bool,
        /// Missing parents are made.
        #[serde(default)]
        parents: bool,
    },
    /// Names what is in a folder.
    List {
        /// Which.
        path: GuestPath,
        /// How deep; 1 is the folder itself.
        #[serde(default = "depth_default")]
        depth: u32,
        /// Most entries.
        #[serde(default = "limit_default")]
        limit: u32,
    },
    /// Says what a path is.
    Stat {
        /// Which.
        path: GuestPath,
        /// A link is followed.
        #[serde(default)]
        follow_links: bool,
    },
    /// Connects a TCP port of the guest itself.
    Forward {
        /// Which.
        port: GuestPort,
        /// An address of the guest; 127.0.0.1, then ::1 when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<std::net::IpAddr>,
    },
    /// Writes back every mount.
    Sync {},
    /// Sets the clock.
    Clock {
        /// Unix microseconds.
        time_unix_us: u64,
    },
    /// Answers.
    Ping {
        /// Echoed.
        nonce: String,
    },
}

fn depth_default() -> u32 {
    1
}

fn limit_default() -> u32 {
    10_000
}

impl Service {
    /// Every service by its word.
    pub const WORDS: &'static [&'static str] = &[
        "exec", "shell", "read", "write", "list", "stat", "forward", "sync", "clock", "ping",
    ];
}

/// Why a first frame names no session.
#[derive(Debug, thiserror::Error)]
pub enum ServiceRequestError {
    /// It is no object with `generation` and `service`, or a field does not fit.
    #[error("the request names no service")]
    Malformed(#[from] serde_json::Error),
    /// It names a service that this release does not have.
    #[error("the service `{0}` is unknown")]
    UnknownService(String),
}

#[derive(Deserialize)]
struct RequestHead {
    generation: u32,
    service: String,
}

impl ServiceRequest {
    /// The flat object that goes on the wire.
    pub fn to_json(&self) -> serde_json::Value {
        let mut value = serde_json::to_value(&self.service).expect("string keys only");
        value
            .as_object_mut()
            .expect("a service is an object")
            .insert("generation".to_owned(), self.generation.into());
        value
    }

    /// Reads the flat object.
    ///
    /// # Errors
    /// When it is malformed or names an unknown service.
    pub fn parse(payload: &[u8]) -> Result<Self, ServiceRequestError> {
        let head: RequestHead = serde_json::from_slice(payload)?;
        if !Service::WORDS.contains(&head.service.as_str()) {
            return Err(ServiceRequestError::UnknownService(head.service));
        }
        Ok(Self {
            generation: head.generation,
            service: serde_json::from_slice(payload)?,
        })
    }
}

/// Runs a command; no shell stands in between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecRequest {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Added to the workspace's environment.
    #[serde(default)]
    pub env: Environment,
    /// The workspace's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Must exist; the workspace's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<GuestPath>,
    /// A terminal of this size in place of three pipes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<Tty>,
    /// Whether stdin frames will come; without, the command reads end of file.
    #[serde(default)]
    pub stdin: bool,
    /// After this long the group gets SIGTERM; 0 is never.
    #[serde(default)]
    pub timeout_ms: u64,
    /// And this long after that SIGKILL.
    #[serde(default = "kill_grace_default")]
    pub kill_grace_ms: u64,
    /// Most bytes of each stream; the rest is read, counted and dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_limit_bytes: Option<u64>,
    /// Make `cwd` when it is missing, as for a workload.
    #[serde(default, skip_serializing_if = "is_false")]
    pub make_cwd: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
fn is_false(value: &bool) -> bool {
    !*value
}

/// Between SIGTERM and SIGKILL of a command that timed out, in milliseconds.
pub const KILL_GRACE_MS_DEFAULT: u64 = 2000;

fn kill_grace_default() -> u64 {
    KILL_GRACE_MS_DEFAULT
}

/// Runs a login shell in a terminal.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ShellRequest {
    /// The program; the user's login shell, then `/bin/sh`, when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<GuestPath>,
    /// Added to the workspace's environment.
    pub env: Environment,
    /// The workspace's when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Must exist; the workspace's when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<GuestPath>,
    /// Size and kind of the terminal; 24 by 80 and xterm-256color when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tty: Option<Tty>,
    /// The shell runs this line and no more, with pipes in place of a terminal and no input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// After this long the group gets SIGTERM; 0 is never.
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout_ms: u64,
    /// Most bytes of each stream; the rest is read, counted and dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_limit_bytes: Option<u64>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// A terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tty {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub cols: u16,
    /// `TERM`.
    pub term: String,
}

/// Who owns a file, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// The guest's answer to the first frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAnswer {
    /// The session goes on.
    pub ok: bool,
    /// Why it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<FaultKind>,
    /// One sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What the guest's kernel said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<i32>,
    /// What `stat` found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<FileEntry>,
    /// Most bytes of stdin that may be on their way: sent, and not told by `stdin_taken` yet. None when
    /// the guest tells nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin_window_bytes: Option<u64>,
    /// The same of what is forwarded, told by `taken`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_bytes: Option<u64>,
}

impl ServiceAnswer {
    /// The session goes on.
    pub fn accepted() -> Self {
        Self {
            ok: true,
            kind: None,
            message: None,
            errno: None,
            entry: None,
            stdin_window_bytes: None,
            window_bytes: None,
        }
    }

    /// The session ends here.
    pub fn refused(kind: FaultKind, message: impl Into<String>, errno: Option<i32>) -> Self {
        Self {
            ok: false,
            kind: Some(kind),
            message: Some(message.into()),
            errno,
            entry: None,
            stdin_window_bytes: None,
            window_bytes: None,
        }
    }
}

/// What a host says during a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "type",
    rename_all = "snake_case",
    rename_all_fields = "camelCase"
)]
pub enum SessionInput {
    /// The terminal has another size.
    Resize {
        /// Lines.
        rows: u16,
        /// Columns.
        cols: u16,
    },
    /// A signal for the process group.
    Signal {
        /// Which.
        name: SignalName,
    },
    /// The session is over: SIGHUP, 2 s, SIGKILL.
    Close,
}

impl KnownTypes for SessionInput {
    const TYPES: &'static [&'static str] = &["resize", "signal", "close"];
}

/// What a guest says during a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "type",
    rename_all = "snake_case",
    rename_all_fields = "camelCase"
)]
pub enum SessionOutput {
    /// The process runs.
    Started {
        /// Its number in the guest.
        pid: u32,
    },
    /// How much of its stdin the process has taken so far, or will never take.
    StdinTaken {
        /// Since the session began.
        bytes: u64,
    },
    /// How much of what is forwarded to it the guest's server has taken so far, or will never take.
    Taken {
        /// Since the session began.
        bytes: u64,
    },
    /// The process ended; always the last frame.
    Exit(SessionExit),
    /// What is about to be sent.
    Meta {
        /// The entry.
        entry: FileEntry,
    },
    /// Entries of a folder, at most 256.
    Entries {
        /// They.
        entries: Vec<FileEntry>,
    },
    /// A service other than a process is done; its last frame.
    Done(SessionDone),
    /// The answer to a ping.
    Pong {
        /// As asked.
        nonce: String,
        /// Since the kernel began.
        uptime_ms: u64,
    },
    /// A service failed after it was accepted; its last frame.
    Failed {
        /// What programs match on.
        kind: FaultKind,
        /// One sentence.
        message: String,
        /// What the guest's kernel said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        errno: Option<i32>,
    },
}

impl KnownTypes for SessionOutput {
    const TYPES: &'static [&'static str] = &[
        "started",
        "stdin_taken",
        "taken",
        "exit",
        "meta",
        "entries",
        "done",
        "pong",
        "failed",
    ];
}

/// How a process of a session ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionExit {
    /// Its code, when it returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The signal, when one ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<SignalName>,
    /// The time limit ended it.
    pub timed_out: bool,
    /// It never ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_started: Option<NotStarted>,
    /// Bytes it wrote to stdout, dropped ones included.
    pub stdout_bytes: u64,
    /// Bytes it wrote to stderr, dropped ones included.
    pub stderr_bytes: u64,
    /// Some were dropped.
    pub truncated: bool,
    /// Something still held its pipes open when the guest stopped reading.
    pub incomplete: bool,
}

/// Why a process never ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NotStarted {
    /// ENOENT, EACCES, ENOEXEC and the like.
    pub errno: i32,
    /// One sentence.
    pub message: String,
}

/// What a file service did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionDone {
    /// Entries sent or written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
    /// Bytes of content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Regular files among the entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// Folders among the entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directories: Option<u64>,
    /// Symbolic links among the entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub symlinks: Option<u64>,
    /// What was left out, and why; the first of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<Skipped>,
    /// How many were left out, when the list does not name all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped_total: Option<u64>,
    /// What an archive held that must not be made: names that lead out of the folder.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Skipped>,
    /// A list has more than its limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncated: Option<bool>,
    /// How long a sync took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// By how much the clock was moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stepped_ms: Option<i64>,
}

/// An entry that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Skipped {
    /// Which.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// One entry of a file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileEntry {
    /// Its name, or its path relative to the folder listed.
    pub name: String,
    /// `base64` when the name is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_encoding: Option<String>,
    /// What it is.
    #[serde(rename = "type")]
    pub file_type: FileType,
    /// Bytes of content.
    pub size_bytes: u64,
    /// Permission bits, set-id bits included.
    pub mode: u32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change, Unix microseconds.
    pub mtime_us: i64,
    /// Where a link points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// Kinds of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileType {
    /// A regular file.
    File,
    /// A folder.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A block device.
    BlockDevice,
    /// A character device.
    CharDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// Something this release does not know.
    #[serde(other)]
    Other,
}

/// The mediation port's name in a guest's environment.
pub const MEDIATION_PORT_VARIABLE: &str = "MICROAGENT_MEDIATION_PORT";
