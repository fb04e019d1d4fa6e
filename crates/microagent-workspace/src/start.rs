//! `start`: boots workspaces and returns when their guests are ready.

use crate::act::{Act, ActReport, on_each};
use crate::context::Context;
use crate::guest_init;
use crate::interrupt::Interrupt;
use crate::request::publish_config;
use microagent_types::{ByteSize, PublishSpec, VcpuCount, WorkspaceName};
use microagent_wire::supervisor::request::{Command, Options};
use microagent_wire::supervisor::spec::PublishConfig;
use std::time::Duration;

/// Until a guest is ready when nothing is said: the supervisor's own limit under emulation.
const READY_LIMIT: Duration = Duration::from_mins(5);

/// What may differ in this boot.
#[derive(Debug, Clone, Default)]
pub struct StartSettings {
    /// Until the guest is ready; 60 s, under emulation 300 s, when none.
    pub ready_timeout: Option<Duration>,
    /// Memory of this boot.
    pub memory: Option<ByteSize>,
    /// CPUs of this boot.
    pub cpus: Option<VcpuCount>,
    /// Ports added for this boot.
    pub publish: Vec<PublishSpec>,
    /// Recorded with the event.
    pub note: Option<String>,
}

/// Boots workspaces. One that runs already is a success without change.
///
/// ```no_run
/// # use microagent_workspace::{Context, Interrupt};
/// # let context = Context::new("/home/me/.microagent".parse()?)?;
/// # let interrupt = Interrupt::new();
/// use microagent_workspace::start::{StartSettings, start};
///
/// let names = ["research".parse()?];
/// for report in start(&context, &names, &StartSettings::default(), &interrupt) {
///     let acted = report.result?;
///     println!("{} is ready after {:?} ms", report.name, acted.ready_ms);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn start(
    context: &Context,
    names: &[WorkspaceName],
    settings: &StartSettings,
    interrupt: &Interrupt,
) -> Vec<ActReport> {
    let publish: Vec<PublishConfig> = settings.publish.iter().map(publish_config).collect();
    let act = Act {
        command: Command::Start,
        options: Options {
            ready_timeout_ms: settings.ready_timeout.map(crate::run::as_ms),
            memory_bytes: settings.memory,
            cpus: settings.cpus,
            publish: (!publish.is_empty()).then_some(publish),
            initramfs: guest_init::installed(context),
            ..Options::default()
        },
        note: settings.note.clone(),
        limit: settings.ready_timeout.unwrap_or(READY_LIMIT),
    };
    on_each(context, names, &act, interrupt)
}
