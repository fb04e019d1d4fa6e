//! The spec file that `--file` names: read, parsed, and its problems told in the words of this command.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use microagent_os::fs;
use microagent_types::EnvName;
use microagent_types::env_vars::read_named;
use microagent_wire::fault::{Fault, FaultKind};
use microagent_workspace::spec_file::{self, SPEC_BYTES_MAX, SpecFault, SpecFile, SpecProblem};

use crate::args::{WorkspaceArgs, invalid_text};
use crate::error::{Failure, usage};
use crate::nearest::nearest;

const HINT: &str = "--file takes a YAML file of at most 1 MiB, or - for stdin";

/// Whether the spec comes from stdin, so that nothing else can.
pub(super) fn is_stdin(args: &WorkspaceArgs) -> bool {
    args.file.as_deref() == Some(Path::new("-"))
}

/// What the file says; nothing when there is none.
pub(super) fn load(args: &WorkspaceArgs) -> Result<SpecFile, Failure> {
    let Some(path) = &args.file else {
        return Ok(SpecFile::default());
    };
    let typed = |name: &EnvName| {
        let mut flags = args.environment.env.iter();
        flags
            .any(|flag| flag.split_once('=').map_or(flag.as_str(), |(key, _)| key) == name.as_str())
    };
    // A variable that a flag sets needs no value from anywhere else.
    let of_this_process = |name: &EnvName| match read_named(name) {
        None if typed(name) => Some(String::new()),
        value => value,
    };
    let (text, shown, folder) = if is_stdin(args) {
        (read_stdin()?, "stdin".to_owned(), PathBuf::new())
    } else {
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        (read_file(path)?, path.display().to_string(), folder)
    };
    spec_file::parse(&text, &folder, &of_this_process).map_err(|problems| {
        Failure::of_problems(problems.iter().map(|problem| told(&shown, problem)))
    })
}

fn read_file(path: &Path) -> Result<String, Fault> {
    fs::read_text_bounded(path, SPEC_BYTES_MAX).map_err(|error| {
        let kind = if error.is_not_found() {
            FaultKind::NotFound
        } else {
            FaultKind::Usage
        };
        Fault::from_error(kind, &error).with_hint(HINT)
    })
}

fn read_stdin() -> Result<String, Fault> {
    let refuse = |cause: String| usage("cannot read the spec from stdin", HINT).with_cause(cause);
    let mut bytes = Vec::new();
    let mut limited = io::stdin().lock().take(SPEC_BYTES_MAX + 1);
    limited
        .read_to_end(&mut bytes)
        .map_err(|error| refuse(error.to_string()))?;
    if bytes.len() as u64 > SPEC_BYTES_MAX {
        return Err(refuse("it is longer than 1 MiB".to_owned()));
    }
    String::from_utf8(bytes).map_err(|error| refuse(error.utf8_error().to_string()))
}

/// A problem as a person reads it, with its place in front.
fn told(file: &str, problem: &SpecProblem) -> Fault {
    let fault = match &problem.what {
        SpecFault::Refused { message, hint } => Fault {
            hint: hint.clone(),
            ..Fault::new(FaultKind::Usage, message)
        },
        SpecFault::UnknownKey { key, level, known } => {
            let of = if level.is_empty() {
                String::new()
            } else {
                format!(" in `{level}`")
            };
            let hint = suggestion(key, known, "known keys");
            usage(format!("unknown key `{key}`{of}"), hint)
        }
        SpecFault::Planned { key } => usage(
            format!("`{key}` is planned for a later release"),
            "what this release can do: microagent --help",
        ),
        SpecFault::UnknownWord { what, value, known } => {
            let hint = suggestion(value, known, "known");
            usage(format!("`{value}` is not {what}"), hint)
        }
        SpecFault::Invalid { value, refused } => invalid_text(None, value, refused),
    };
    Fault {
        message: format!("{file}:{}: {}", problem.place, fault.message),
        ..fault
    }
}

fn suggestion(typed: &str, known: &[&str], list: &str) -> String {
    let list = format!("{list}: {}", known.join(", "));
    match nearest(typed, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`? {list}"),
        None => list,
    }
}
