//! From what was asked to a command that can be started: user, environment, folder, program.
//!
//! The same for a session's command, a shell and the workload. Everything here happens before the
//! fork, so a refusal names the object: the user, the folder.
#![expect(
    clippy::disallowed_methods,
    reason = "the guest's files have no other door than guest init's services"
)]

use super::Refusal;
use crate::accounts::{Account, UserSpec, resolve};
use crate::context::{Context, Privilege};
use crate::environment::{Layers, assemble, program_candidates};
use crate::workload::{Command, CommandError, Credentials, Stdio};
use microagent_types::{Environment, GuestPath};
use microagent_wire::fault::FaultKind;
use microagent_wire::limits::{ARGV_BYTES_MAX, ARGV_WORDS_MAX};
use std::fs;
use std::io::Read as _;

/// Most bytes of `/etc/passwd` or `/etc/group` that are read.
const ACCOUNT_FILE_BYTES_MAX: u64 = 4 << 20;

/// Whether a folder that is missing is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MissingFolder {
    Refused,
    Made,
}

/// What was asked, from whoever asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish<'a> {
    pub(crate) env: &'a Environment,
    pub(crate) user: Option<&'a str>,
    pub(crate) cwd: Option<&'a GuestPath>,
    pub(crate) missing_cwd: MissingFolder,
    pub(crate) term: Option<&'a str>,
}

/// Who will run, with what and where; the program is not yet chosen.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) account: Account,
    variables: Vec<(String, String)>,
    cwd: String,
    credentials: Option<Credentials>,
}

/// Resolves everything but the program.
pub(crate) fn prepare(context: &Context, wish: Wish<'_>) -> Result<Launch, Refusal> {
    let account = account(context, wish.user)?;
    let credentials = credentials(context.privilege, &account)?;
    let port = context.mediation_port.map(|port| port.to_string());
    let variables = assemble(Layers {
        base: &context.env,
        over: wish.env,
        account: &account,
        hostname: &context.hostname,
        term: wish.term,
        mediation_port: port.as_deref(),
    });
    let cwd = folder(wish.cwd.or(context.workdir.as_ref()), wish.missing_cwd)?;
    Ok(Launch {
        account,
        variables,
        cwd,
        credentials,
    })
}

impl Launch {
    /// The command, ready to be forked.
    pub(crate) fn command(&self, argv: &[String], stdio: Stdio) -> Result<Command, Refusal> {
        check_argv(argv)?;
        let candidates = program_candidates(&argv[0], &self.variables);
        Command::new(
            argv,
            &candidates,
            &self.variables,
            &self.cwd,
            self.credentials.clone(),
            stdio,
        )
        .map_err(|error: CommandError| Refusal::new(FaultKind::Usage, error.to_string()))
    }
}

fn check_argv(argv: &[String]) -> Result<(), Refusal> {
    let usage = |message: &str| Err(Refusal::new(FaultKind::Usage, message));
    if argv.is_empty() {
        return usage("the command is empty");
    }
    let bytes: usize = argv.iter().map(String::len).sum();
    if argv.len() > ARGV_WORDS_MAX || bytes > ARGV_BYTES_MAX {
        return usage("the command has more than 4096 words or 1 MiB");
    }
    Ok(())
}

fn account(context: &Context, user: Option<&str>) -> Result<Account, Refusal> {
    let own = rustix::process::geteuid().as_raw().to_string();
    let default = match context.privilege {
        Privilege::Root => "0",
        Privilege::Unchanged => own.as_str(),
    };
    let text = user.or(context.user.as_deref()).unwrap_or(default);
    let passwd = account_file("/etc/passwd");
    let group = account_file("/etc/group");
    resolve(UserSpec::new(text), &passwd, &group)
        .map_err(|unknown| Refusal::new(FaultKind::NotFound, unknown.to_string()))
}

/// A file that is missing or can't be read has no entries.
fn account_file(path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = fs::File::open(path) {
        let _ = file.take(ACCOUNT_FILE_BYTES_MAX).read_to_end(&mut bytes);
    }
    bytes
}

fn credentials(privilege: Privilege, account: &Account) -> Result<Option<Credentials>, Refusal> {
    match privilege {
        Privilege::Root => Ok(Some(Credentials {
            uid: account.uid,
            gid: account.gid,
            groups: account.groups.clone(),
        })),
        Privilege::Unchanged if rustix::process::geteuid().as_raw() == account.uid => Ok(None),
        Privilege::Unchanged => Err(Refusal::new(
            FaultKind::Denied,
            format!("this guest can't become the user `{}`", account.name),
        )),
    }
}

fn folder(path: Option<&GuestPath>, missing: MissingFolder) -> Result<String, Refusal> {
    let path = path.map_or("/", GuestPath::as_str);
    if missing == MissingFolder::Made {
        // What can't be made is found missing below.
        let _ = fs::create_dir_all(path);
    }
    let refused = |kind, what: &str, errno| {
        Err(Refusal::new(kind, format!("the folder `{path}` {what}")).with_errno(errno))
    };
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(path.to_owned()),
        Ok(_) => refused(FaultKind::NotFound, "is no folder", Some(libc::ENOTDIR)),
        Err(error) => refused(FaultKind::NotFound, "does not exist", error.raw_os_error()),
    }
}
