//! A request, and the first eight stages of its validation, which need no world.
//!
//! ```text
//! bytes -> RequestHead::parse (stages 1 to 6) -> RequestHead::body (stages 7 and 8) -> Request
//! ```
//!
//! The order is part of the contract: a request for another backend is refused as such even when its
//! config makes no sense. Each stage reports all its problems, the first as the message.

use super::PROTOCOL_VERSION;
use super::spec::{Config, PublishConfig};
use crate::fault::{Fault, FaultKind};
use crate::guest::boot_spec::MaintenanceAccess;
use crate::limits::{NOTE_BYTES_MAX, REQUEST_BYTES_MAX};
use crate::strict_json;
use microagent_types::{
    AbsPath, BackendName, BootId, ByteSize, DiskName, GuestPath, RequestId, VcpuCount, WorkspaceId,
    WorkspaceName,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::spec::{HashedFile, KernelFile};

/// What a supervisor can be asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// What this host and backend can do.
    Host,
    /// Validates a Config against the host.
    Check,
    /// Makes the records of a new workspace.
    Prepare,
    /// Boots.
    Start,
    /// Boots in the foreground, runs the workload, ends the VM.
    Run,
    /// Reads and reconciles.
    Inspect,
    /// Names the endpoint of a shell.
    Connect,
    /// Names the endpoint of the serial console.
    Console,
    /// Clean shutdown.
    Halt,
    /// Guest sync, SIGTERM, kill.
    Stop,
    /// SIGKILL.
    Kill,
    /// Freezes the vCPUs.
    Pause,
    /// Thaws them.
    Resume,
    /// Severs and keeps the evidence.
    Quarantine,
    /// Removes the workspace.
    Delete,
    /// `inspect`, and removes leftovers.
    Reconcile,
}

impl Command {
    /// Every command.
    pub const ALL: [Self; 16] = [
        Self::Host,
        Self::Check,
        Self::Prepare,
        Self::Start,
        Self::Run,
        Self::Inspect,
        Self::Connect,
        Self::Console,
        Self::Halt,
        Self::Stop,
        Self::Kill,
        Self::Pause,
        Self::Resume,
        Self::Quarantine,
        Self::Delete,
        Self::Reconcile,
    ];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Check => "check",
            Self::Prepare => "prepare",
            Self::Start => "start",
            Self::Run => "run",
            Self::Inspect => "inspect",
            Self::Connect => "connect",
            Self::Console => "console",
            Self::Halt => "halt",
            Self::Stop => "stop",
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Quarantine => "quarantine",
            Self::Delete => "delete",
            Self::Reconcile => "reconcile",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|command| command.as_str() == word)
    }

    /// Whether a backend has it at all.
    pub const fn runs_on(self, backend: BackendName) -> bool {
        !(matches!(backend, BackendName::WindowsHyperv)
            && matches!(
                self,
                Self::Console | Self::Pause | Self::Resume | Self::Reconcile
            ))
    }

    /// The options it takes.
    pub const fn options(self) -> &'static [&'static str] {
        match self {
            Self::Host | Self::Check => &["probe"],
            Self::Inspect => &["probe", "events"],
            Self::Prepare => &["replace", "lockTimeoutMs"],
            Self::Start => &[
                "readyTimeoutMs",
                "wait",
                "cpus",
                "memoryBytes",
                "publish",
                "kernel",
                "initramfs",
                "clientBound",
                "maintenance",
                "maintenanceDisks",
                "lockTimeoutMs",
            ],
            Self::Run => &[
                "readyTimeoutMs",
                "cpus",
                "memoryBytes",
                "publish",
                "kernel",
                "initramfs",
                "clientBound",
                "timeoutMs",
                "outputLimitBytes",
                "keep",
                "lockTimeoutMs",
            ],
            Self::Connect => &["endpoint", "user", "cwd"],
            Self::Console => &[],
            Self::Halt | Self::Stop => &["timeoutMs", "lockTimeoutMs"],
            Self::Kill | Self::Pause | Self::Resume => &["lockTimeoutMs"],
            Self::Delete => &["kill", "lockTimeoutMs"],
            Self::Quarantine => &["freeze", "lockTimeoutMs"],
            Self::Reconcile => &["repair"],
        }
    }
}

/// A whole request.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// [`PROTOCOL_VERSION`].
    pub protocol_version: u64,
    /// What to do.
    pub command: Command,
    /// Echoed and stored in every event; made when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// The state directory; absent only for `host`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_dir: Option<AbsPath>,
    /// The workspace; absent only for `host`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace: Option<WorkspaceName>,
    /// The backend the caller means.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<BackendName>,
    /// The identity the caller means.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect: Option<Expect>,
    /// Who asks; recorded, never trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initiator: Option<Initiator>,
    /// Why; recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// For `check`, `prepare` and `run`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Box<Config>>,
    /// By command.
    #[serde(skip_serializing_if = "Options::is_empty")]
    pub options: Options,
}

impl Request {
    /// A request without anything optional.
    pub fn new(command: Command) -> Self {
        Self {
            protocol_version: PROTOCOL_VERSION,
            command,
            request_id: None,
            state_dir: None,
            workspace: None,
            backend: None,
            expect: None,
            initiator: None,
            note: None,
            config: None,
            options: Options::default(),
        }
    }
}

/// The identity a caller means, so that a late request can't hit another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Expect {
    /// Another recorded id is `not_found`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<WorkspaceId>,
    /// Another current boot is `wrong_state`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<BootId>,
}

/// By what way a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// The `microagent` command.
    Cli,
    /// A program that embeds the library.
    Library,
    /// Anything else.
    Other,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Initiator {
    /// By what way.
    pub channel: Channel,
    /// On whose behalf, up to 256 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

const SUBJECT_BYTES_MAX: usize = 256;

/// How long a `start` waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StartWait {
    /// Until the guest is ready.
    Ready,
    /// Until the VM runs.
    Launched,
}

/// What a `run` leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunKeep {
    /// The workspace, halted.
    Halted,
    /// Nothing.
    None,
}

/// What a `connect` leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndpointWanted {
    /// A new shell.
    Shell,
    /// The serial console.
    Serial,
}

/// Options of every command; [`Command::options`] says which one takes what.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Options {
    /// Ports and targets are tried too; the guest is pinged; programs are asked for their versions, which
    /// `host` does unless told not to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<bool>,
    /// How many events come with an `inspect`, up to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<u64>,
    /// A resting workspace of that name is deleted first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replace: Option<bool>,
    /// The VM of an ephemeral workspace is killed first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kill: Option<bool>,
    /// How long the lock is awaited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock_timeout_ms: Option<u64>,
    /// How long the guest may take to be ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_timeout_ms: Option<u64>,
    /// What a `start` waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<StartWait>,
    /// This boot only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<VcpuCount>,
    /// This boot only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<ByteSize>,
    /// Added for this boot only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish: Option<Vec<PublishConfig>>,
    /// A newer default kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<KernelFile>,
    /// A newer guest init.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initramfs: Option<HashedFile>,
    /// The VM ends with the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_bound: Option<bool>,
    /// A maintenance boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<MaintenanceAccess>,
    /// Data disks of a maintenance boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maintenance_disks: Option<Vec<DiskName>>,
    /// The act's deadline; for `run` the workload's limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Most bytes of each stream in the outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_limit_bytes: Option<u64>,
    /// What a `run` leaves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<RunKeep>,
    /// Where a `connect` leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointWanted>,
    /// The shell's user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The shell's folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<GuestPath>,
    /// The vCPUs are stopped too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freeze: Option<bool>,
    /// Damage is repaired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair: Option<bool>,
}

impl Options {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, `config.disks[1].name`.
    pub path: String,
    /// What.
    pub message: String,
}

impl Problem {
    /// A problem at a place.
    pub fn new(path: String, message: impl Into<String>) -> Self {
        Self {
            path,
            message: message.into(),
        }
    }
}

/// One fault of kind `usage` for all problems of a stage; `None` when there are none.
pub fn usage_fault(problems: Vec<Problem>) -> Option<Fault> {
    let mut problems = problems.into_iter();
    let first = problems.next()?;
    let fault =
        Fault::new(FaultKind::Usage, first.message).with_details(|d| d.path = Some(first.path));
    Some(problems.fold(fault, |fault, p| {
        fault.with_cause(format!("{}: {}", p.path, p.message))
    }))
}

/// A refused request, with what could be read of it for the answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    /// Why.
    pub fault: Fault,
    /// Its command, when it was readable.
    pub command: Option<String>,
    /// Its id, when it was readable.
    pub request_id: Option<RequestId>,
}

/// A request after stages 1 to 6: everything but options and config is known to be sound.
#[derive(Debug, Clone)]
pub struct RequestHead {
    request: Request,
    options: Value,
    config: Value,
}

const FIELDS: [&str; 11] = [
    "protocolVersion",
    "command",
    "requestId",
    "stateDir",
    "workspace",
    "backend",
    "expect",
    "initiator",
    "note",
    "config",
    "options",
];

impl RequestHead {
    /// Stages 1 to 6, without the looks at the state directory, which the supervisor adds.
    ///
    /// # Errors
    /// With the fault of the first stage that refuses.
    pub fn parse(bytes: &[u8], own: BackendName) -> Result<Self, Box<Refused>> {
        let mut map = stage_json(bytes).map_err(|fault| refused(fault, &Map::new()))?;
        Self::from_map(&mut map, own).map_err(|fault| refused(fault, &map))
    }

    fn from_map(map: &mut Map<String, Value>, own: BackendName) -> Result<Self, Fault> {
        stage_version(map.get("protocolVersion"))?;
        let command = stage_command(map.get("command"), own)?;
        let unknown = map.keys().filter(|key| !FIELDS.contains(&key.as_str()));
        let problems =
            unknown.map(|key| Problem::new(key.clone(), format!("unknown field `{key}`")));
        usage_fault(problems.collect()).map_or(Ok(()), Err)?;
        let backend: Option<BackendName> = field(map, "backend")?;
        if let Some(other) = backend.filter(|backend| *backend != own) {
            return Err(Fault::new(
                FaultKind::Unsupported,
                format!("this supervisor runs `{own}`, not `{other}`"),
            ));
        }
        let mut request = Request::new(command);
        request.backend = backend;
        request.request_id = field(map, "requestId")?;
        request.state_dir = field(map, "stateDir")?;
        request.workspace = field(map, "workspace")?;
        request.expect = field(map, "expect")?;
        request.initiator = field(map, "initiator")?;
        request.note = field(map, "note")?;
        usage_fault(head_problems(&request)).map_or(Ok(()), Err)?;
        let options = map.get("options").cloned().unwrap_or_default();
        let config = map.get("config").cloned().unwrap_or_default();
        Ok(Self {
            request,
            options,
            config,
        })
    }

    /// What is known so far; options and config are still empty.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Stages 7 and 8.
    ///
    /// # Errors
    /// With the fault of the first stage that refuses.
    pub fn body(self) -> Result<Request, Fault> {
        let Self {
            mut request,
            options,
            config,
        } = self;
        request.options = stage_options(request.command, options)?;
        request.config = stage_config(request.command, config)?;
        Ok(request)
    }
}

fn refused(fault: Fault, map: &Map<String, Value>) -> Box<Refused> {
    let text = |key: &str| map.get(key).and_then(Value::as_str);
    Box::new(Refused {
        fault,
        command: text("command").map(str::to_owned),
        request_id: text("requestId").and_then(|id| id.parse().ok()),
    })
}

fn stage_json(bytes: &[u8]) -> Result<Map<String, Value>, Fault> {
    if bytes.len() > REQUEST_BYTES_MAX {
        let fault = Fault::new(FaultKind::Usage, "the request is larger than 16 MiB");
        return Err(fault.with_details(|details| details.limit = Some(REQUEST_BYTES_MAX as u64)));
    }
    strict_json::parse_object(bytes).map_err(|error| {
        Fault::new(FaultKind::Usage, "the request is not one JSON object")
            .with_cause(error.to_string())
    })
}

fn stage_version(version: Option<&Value>) -> Result<(), Fault> {
    match version.and_then(Value::as_u64) {
        Some(PROTOCOL_VERSION) => Ok(()),
        Some(other) => Err(Fault::new(
            FaultKind::Unsupported,
            format!(
                "protocol version {other} is unknown, this supervisor knows {PROTOCOL_VERSION}"
            ),
        )),
        None => Err(at(
            "protocolVersion",
            format!("the protocol version is {PROTOCOL_VERSION}"),
        )),
    }
}

fn stage_command(command: Option<&Value>, own: BackendName) -> Result<Command, Fault> {
    let word = command
        .and_then(Value::as_str)
        .ok_or_else(|| at("command", "a request names a command".to_owned()))?;
    let command = Command::from_word(word).ok_or_else(|| {
        at(
            "command",
            format!("unknown command `{}`", word.escape_debug()),
        )
    })?;
    if !command.runs_on(own) {
        let fault = Fault::new(FaultKind::Unsupported, format!("`{own}` has no `{word}`"));
        return Err(if command == Command::Console {
            fault.with_hint("use connect, which gives a shell")
        } else {
            fault
        });
    }
    Ok(command)
}

fn stage_options(command: Command, options: Value) -> Result<Options, Fault> {
    if options.is_null() {
        return Ok(Options::default());
    }
    if let Some(map) = options.as_object() {
        let known = command.options();
        let unknown = map
            .iter()
            .filter(|(key, value)| !known.contains(&key.as_str()) && !value.is_null());
        let problems = unknown.map(|(key, _)| {
            let message = format!("`{}` takes no option `{key}`", command.as_str());
            Problem::new(format!("options.{key}"), message)
        });
        usage_fault(problems.collect()).map_or(Ok(()), Err)?;
    }
    let options: Options = typed("options", options)?;
    let mut problems = Vec::new();
    if options.events.is_some_and(|events| events > 100) {
        problems.push(Problem::new(
            "options.events".to_owned(),
            "at most 100 events come with it",
        ));
    }
    let day_ms = 86_400_000;
    let waits = [
        ("lockTimeoutMs", options.lock_timeout_ms),
        ("readyTimeoutMs", options.ready_timeout_ms),
    ];
    for (name, value) in waits {
        if value.is_some_and(|value| value > day_ms) {
            problems.push(Problem::new(
                format!("options.{name}"),
                "a wait is at most one day",
            ));
        }
    }
    usage_fault(problems).map_or(Ok(options), Err)
}

fn stage_config(command: Command, config: Value) -> Result<Option<Box<Config>>, Fault> {
    match (command, config) {
        (Command::Check | Command::Prepare, Value::Null) => Err(at(
            "config",
            format!("`{}` needs a config", command.as_str()),
        )),
        (_, Value::Null) => Ok(None),
        (Command::Check | Command::Prepare | Command::Run, config) => {
            let config: Config = typed("config", config)?;
            usage_fault(config.problems()).map_or(Ok(Some(Box::new(config))), Err)
        }
        _ => Err(at(
            "config",
            format!("`{}` takes no config", command.as_str()),
        )),
    }
}

fn head_problems(request: &Request) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut refuse = |broken: bool, path: &str, message: &str| {
        if broken {
            problems.push(Problem::new(path.to_owned(), message));
        }
    };
    let needed = request.command != Command::Host;
    refuse(
        needed && request.state_dir.is_none(),
        "stateDir",
        "a request names the state directory",
    );
    refuse(
        needed && request.workspace.is_none(),
        "workspace",
        "a request names a workspace",
    );
    let note = request.note.as_ref().map_or(0, String::len);
    refuse(
        note > NOTE_BYTES_MAX,
        "note",
        "a note holds at most 1024 bytes",
    );
    let subject = request
        .initiator
        .as_ref()
        .and_then(|initiator| initiator.subject.as_ref());
    refuse(
        subject.is_some_and(|s| s.len() > SUBJECT_BYTES_MAX),
        "initiator.subject",
        "a subject holds at most 256 bytes",
    );
    problems
}

fn field<T: DeserializeOwned>(map: &Map<String, Value>, name: &str) -> Result<Option<T>, Fault> {
    match map.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => typed(name, value.clone()).map(Some),
    }
}

/// Reads a typed value and names the JSON path of what does not fit. `null` members count as absent.
fn typed<T: DeserializeOwned>(root: &str, value: Value) -> Result<T, Fault> {
    serde_path_to_error::deserialize(without_nulls(value)).map_err(|error| {
        let inner = error.path().to_string();
        let path = match inner.as_str() {
            "." => root.to_owned(),
            _ => format!("{root}.{inner}"),
        };
        at(&path, error.into_inner().to_string())
    })
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_nulls(value)))
            .collect(),
        Value::Array(values) => values.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

fn at(path: &str, message: String) -> Fault {
    Fault::new(FaultKind::Usage, message)
        .with_details(|details| details.path = Some(path.to_owned()))
}

#[cfg(test)]
mod tests;
