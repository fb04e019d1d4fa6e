//! `halt`, `stop`, `kill`, `pause`, `resume` and `quarantine`: the verbs that take nothing but a time
//! limit or a flag. They are five and more different things; the supervisor knows which is which.

use crate::act::{Act, ActReport, on_each};
use crate::context::Context;
use crate::interrupt::Interrupt;
use microagent_types::WorkspaceName;
use microagent_wire::supervisor::request::{Command, Options};
use std::time::Duration;

/// How long `halt` waits when nothing is said.
pub const HALT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long `stop` waits after SIGTERM when nothing is said.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Beyond what was asked for: the lock, the guest's sync, the kill.
const REST: Duration = Duration::from_secs(30);

/// Whether the vCPUs are stopped with a quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Freeze {
    /// They run on.
    #[default]
    No,
    /// They are stopped first.
    Yes,
}

fn each(
    context: &Context,
    names: &[WorkspaceName],
    command: Command,
    options: Options,
    limit: Duration,
    note: Option<&str>,
    interrupt: &Interrupt,
) -> Vec<ActReport> {
    let act = Act {
        command,
        options,
        note: note.map(str::to_owned),
        limit: limit + REST,
    };
    on_each(context, names, &act, interrupt)
}

fn timeout_option(timeout: Duration) -> Options {
    Options {
        timeout_ms: Some(crate::run::as_ms(timeout)),
        ..Options::default()
    }
}

/// Clean, disk-preserving shutdown. It never escalates: when the guest does not return in time the act
/// fails, nothing is killed and the state stays as it is.
///
/// ```no_run
/// # use microagent_workspace::{Context, Interrupt};
/// # let context = Context::new("/home/me/.microagent".parse()?)?;
/// # let interrupt = Interrupt::new();
/// use microagent_workspace::ending::{HALT_TIMEOUT, halt};
///
/// let names = ["research".parse()?];
/// for report in halt(&context, &names, HALT_TIMEOUT, Some("for the night"), &interrupt) {
///     match report.result {
///         Ok(_) => println!("{} is halted, its disk is clean", report.name),
///         // Nothing was killed: wait longer, or stop it.
///         Err(error) => eprintln!("{}: {error}", report.name),
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn halt(
    context: &Context,
    names: &[WorkspaceName],
    timeout: Duration,
    note: Option<&str>,
    interrupt: &Interrupt,
) -> Vec<ActReport> {
    each(
        context,
        names,
        Command::Halt,
        timeout_option(timeout),
        timeout,
        note,
        interrupt,
    )
}

/// A sync of the guest bounded by 2 s, then SIGTERM to the VMM, then a kill after `timeout`.
///
/// ```no_run
/// # use microagent_workspace::{Context, Interrupt};
/// # let context = Context::new("/home/me/.microagent".parse()?)?;
/// # let interrupt = Interrupt::new();
/// use microagent_workspace::ending::{STOP_TIMEOUT, stop};
///
/// for report in stop(&context, &["research".parse()?], STOP_TIMEOUT, None, &interrupt) {
///     if let Some(ending) = report.result?.ending {
///         println!("{} was ended by {:?}", report.name, ending.ended_by);
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn stop(
    context: &Context,
    names: &[WorkspaceName],
    timeout: Duration,
    note: Option<&str>,
    interrupt: &Interrupt,
) -> Vec<ActReport> {
    each(
        context,
        names,
        Command::Stop,
        timeout_option(timeout),
        timeout,
        note,
        interrupt,
    )
}

/// SIGKILL to the verified VM process, at once.
///
/// ```no_run
/// # use microagent_workspace::{Context, Interrupt};
/// # let context = Context::new("/home/me/.microagent".parse()?)?;
/// # let interrupt = Interrupt::new();
/// use microagent_workspace::kill;
///
/// for report in kill(&context, &["research".parse()?], Some("does not answer"), &interrupt) {
///     println!("{} changed: {}", report.name, report.result?.changed);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn kill(
    context: &Context,
    names: &[WorkspaceName],
    note: Option<&str>,
    interrupt: &Interrupt,
) -> Vec<ActReport> {
    each(
        context,
        names,
        Command::Kill,
        Options::default(),
        Duration::ZERO,
        note,
        interrupt,
    )
}

/// Freezes the vCPUs in place.
///
/// ```no_run
/// # use microagent_workspace::{Context, Interrupt};
/// # let context = Context::new("/home/me/.microagent".parse()?)?;
/// # let interrupt = Interrupt::new();
/// use microagent_workspace::{pause, resume};
///
/// let names = ["research".parse()?];
/// for report in pause(&context, &names, None, &interrupt) {
///     report.result?;
/// }
/// // Nothing of the guest runs now.
/// for report in resume(&context, &names, None, &interrupt) {
///     report.result?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn pause(
    context: &Context,
    names: &[WorkspaceName],
    note: Option<&str>,
    interrupt: &Interrupt,
) -> Vec<ActReport> {
    each(
        context,
        names,
        Command::Pause,
        Options::default(),
        Duration::ZERO,
        note,
        interrupt,
    )
}

/// Thaws the vCPUs; the guest's clock is set before this returns.
///
/// ```no_run
/// # use microagent_workspace::{Context, Interrupt};
/// # let context = Context::new("/home/me/.microagent".parse()?)?;
/// # let interrupt = Interrupt::new();
/// use microagent_workspace::resume;
///
/// for report in resume(&context, &["research".parse()?], None, &interrupt) {
///     report.result?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn resume(
    context: &Context,
    names: &[WorkspaceName],
    note: Option<&str>,
    interrupt: &Interrupt,
) -> Vec<ActReport> {
    each(
        context,
        names,
        Command::Resume,
        Options::default(),
        Duration::ZERO,
        note,
        interrupt,
    )
}

/// Severs network, published ports, mediation and sessions, and keeps disk, log and history.
///
/// ```no_run
/// # use microagent_workspace::{Context, Interrupt};
/// # let context = Context::new("/home/me/.microagent".parse()?)?;
/// # let interrupt = Interrupt::new();
/// use microagent_workspace::ending::{Freeze, quarantine};
///
/// let note = Some("case 17");
/// for report in quarantine(&context, &["research".parse()?], Freeze::Yes, note, &interrupt) {
///     let severed = report.result?.severed;
///     println!("{}: {severed:?}", report.name);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn quarantine(
    context: &Context,
    names: &[WorkspaceName],
    freeze: Freeze,
    note: Option<&str>,
    interrupt: &Interrupt,
) -> Vec<ActReport> {
    let options = Options {
        freeze: (freeze == Freeze::Yes).then_some(true),
        ..Options::default()
    };
    each(
        context,
        names,
        Command::Quarantine,
        options,
        Duration::ZERO,
        note,
        interrupt,
    )
}
