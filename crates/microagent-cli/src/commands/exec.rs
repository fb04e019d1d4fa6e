//! `exec`: a command in a running workspace.

use std::ffi::OsString;

use microagent_types::WorkspaceName;
use microagent_wire::exit_code;
use microagent_wire::fault::{Fault, FaultKind};
use microagent_workspace::status::environment as environment_of;
use microagent_workspace::{CommandEnd, CommandOutcome, Context, ExecSettings, Interrupt};
use serde_json::{Value, json};

use super::new_workspace::guest_words;
use super::session::attachment::Attachment;
use super::session::streams::Capture;
use super::session::{environment, outcome};
use crate::args::{ExecArgs, invalid_text};
use crate::error::{Failure, usage};
use crate::printer::{Format, Printer};
use crate::settings::GlobalSettings;
use crate::signals;
use crate::wording::Act;

/// Where a guest looks for programs when neither image nor caller says so.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs the command and returns its code.
pub(crate) fn perform(
    args: ExecArgs,
    global: &GlobalSettings,
    printer: &Printer,
) -> Result<u8, Failure> {
    exec(args, global, printer).map_err(Failure::in_session)
}

fn exec(args: ExecArgs, global: &GlobalSettings, printer: &Printer) -> Result<u8, Failure> {
    let (name, argv) = name_and_command(args.words)?;
    let attachment = Attachment::resolve(args.session, printer.format())?;
    let settings = ExecSettings {
        argv,
        env: environment::of_args(&args.environment)?,
        user: args.user,
        cwd: args.cwd,
        tty: attachment.tty.clone(),
        timeout: attachment.timeout,
        output_limit_bytes: attachment.output_limit_bytes(),
    };
    let context = global.context_of_existing()?;
    let interrupt = Interrupt::new();
    signals::watch(&interrupt)?;
    let (outcome, capture) = attachment
        .lend(&interrupt, |streams| {
            microagent_workspace::exec(&context, &name, &settings, streams, &interrupt)
        })
        .map_err(|failure| failure.of_act(Act::Exec, &name))?;
    let path = match &outcome.end {
        CommandEnd::NotStarted { .. } => path_of(&context, &name, &settings),
        _ => String::new(),
    };
    let fault = fault(&name, &settings, &outcome, &path);
    match printer.format() {
        Format::Text => {
            if let Some(fault) = fault {
                printer.failure(&fault);
            }
        }
        Format::Json => {
            let document = document(&name, &settings, &outcome, &capture, fault.as_ref());
            printer.value(String::new, || document)?;
        }
    }
    Ok(outcome.end.exit_code())
}

/// The first word is the workspace; one `--` directly after it is dropped.
fn name_and_command(words: Vec<OsString>) -> Result<(WorkspaceName, Vec<String>), Fault> {
    let mut words = guest_words(words);
    let first = words.next().transpose()?.ok_or_else(|| {
        usage(
            "exec needs the name of a workspace",
            "microagent exec NAME COMMAND; all names: microagent list",
        )
    })?;
    let name: WorkspaceName = first
        .parse()
        .map_err(|refused| invalid_text(None, &first, &refused))?;
    let mut argv = words.collect::<Result<Vec<String>, _>>()?;
    match argv.first().map(String::as_str) {
        Some("--") => {
            argv.remove(0);
        }
        Some(flag) if flag.starts_with('-') => return Err(misplaced_flag(&name, flag, &argv)),
        _ => {}
    }
    if argv.is_empty() {
        return Err(usage(
            "exec needs a command",
            format!("microagent exec {name} ls -l /, or for a shell: microagent connect {name}"),
        ));
    }
    Ok((name, argv))
}

/// A flag in the wrong place is far likelier than a program of that name.
fn misplaced_flag(name: &WorkspaceName, flag: &str, argv: &[String]) -> Fault {
    let command = argv.get(1).map_or("COMMAND", String::as_str);
    usage(
        format!("`{flag}` stands after the workspace name"),
        format!(
            "flags come first: microagent exec {flag} {name} {command}; to run a program of that \
             name: microagent exec {name} -- {flag}"
        ),
    )
}

fn document(
    name: &WorkspaceName,
    settings: &ExecSettings,
    outcome: &CommandOutcome,
    capture: &Capture,
    fault: Option<&Fault>,
) -> Value {
    let mut document = json!({ "workspace": name.as_str(), "argv": settings.argv });
    let fields = document.as_object_mut().expect("an object was made above");
    outcome::fields(outcome, capture, fault, fields);
    document
}

/// Where the guest has looked: what the command was given, what the workspace has, what a guest has.
fn path_of(context: &Context, name: &WorkspaceName, settings: &ExecSettings) -> String {
    let given = settings.env.get("PATH").map(str::to_owned);
    let path = given.or_else(|| {
        let known = environment_of(context, name).ok()?;
        let path = known
            .into_iter()
            .find(|(variable, _)| variable.as_str() == "PATH");
        path.map(|(_, value)| value)
    });
    path.unwrap_or_else(|| PATH_DEFAULT.to_owned())
}

/// Why the command has no code of its own; none when it has.
fn fault(
    name: &WorkspaceName,
    settings: &ExecSettings,
    outcome: &CommandOutcome,
    path: &str,
) -> Option<Fault> {
    match &outcome.end {
        CommandEnd::Exited { .. } | CommandEnd::Signaled { .. } => None,
        CommandEnd::TimedOut => Some(outcome::timed_out(settings.timeout)),
        CommandEnd::NotStarted { message, .. } => {
            let word = settings.argv.first().map_or("", String::as_str);
            let not_found = outcome.end.exit_code() == exit_code::NOT_FOUND_IN_GUEST;
            let (text, hint) = if not_found {
                (
                    format!("`{word}` was not found in `{name}`"),
                    format!("PATH there is {path}; look with: microagent exec {name} ls /usr/bin"),
                )
            } else {
                (
                    format!("`{word}` in `{name}` cannot be executed"),
                    format!("look with: microagent exec {name} ls -l {word}"),
                )
            };
            Some(
                Fault::new(FaultKind::Guest, text)
                    .with_hint(hint)
                    .with_cause(message),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::name_and_command;
    use std::ffi::OsString;

    fn words(line: &[&str]) -> Vec<OsString> {
        line.iter().map(OsString::from).collect()
    }

    fn refusal(line: &[&str]) -> (String, String) {
        let fault = name_and_command(words(line)).unwrap_err();
        (fault.message, fault.hint.unwrap())
    }

    #[test]
    fn one_double_dash_after_the_name_is_dropped() {
        let command = |line: &[&str]| name_and_command(words(line)).unwrap().1;
        assert_eq!(command(&["web", "--", "ls", "--", "x"]), ["ls", "--", "x"]);
        assert_eq!(command(&["web", "ls", "-l"]), ["ls", "-l"]);
        assert_eq!(command(&["web", "--", "-it"]), ["-it"]);
    }

    #[test]
    fn a_flag_after_the_name_is_refused() {
        let (message, hint) = refusal(&["web", "-it", "bash"]);
        assert_eq!(message, "`-it` stands after the workspace name");
        assert_eq!(
            hint,
            "flags come first: microagent exec -it web bash; to run a program of that name: \
             microagent exec web -- -it"
        );
    }

    #[test]
    fn a_command_and_a_name_are_needed() {
        assert_eq!(refusal(&["web"]).0, "exec needs a command");
        assert_eq!(refusal(&["web", "--"]).0, "exec needs a command");
        assert_eq!(refusal(&[]).0, "exec needs the name of a workspace");
        assert_eq!(
            refusal(&["Web_1", "ls"]).0,
            "`Web_1` is not a workspace name"
        );
    }
}
