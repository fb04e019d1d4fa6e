//! `start`: boots workspaces and returns when their guests are ready.

use microagent_types::Span;
use microagent_workspace::act::Acted;
use microagent_workspace::{Interrupt, StartSettings};

use super::session::attachment::limit;
use super::several::{Verb, render};
use crate::args::StartArgs;
use crate::error::Failure;
use crate::printer::Printer;
use crate::render::workspace;
use crate::settings::GlobalSettings;
use crate::signals;
use crate::wording::Act;

/// Boots each.
pub(crate) fn perform(
    args: StartArgs,
    global: &GlobalSettings,
    printer: &Printer,
) -> Result<u8, Failure> {
    let settings = StartSettings {
        ready_timeout: args.timeout.and_then(limit),
        memory: args.memory,
        cpus: args.cpus,
        publish: args.publish,
        note: args.why.note,
    };
    let context = global.context_of_existing()?;
    let interrupt = Interrupt::new();
    signals::watch(&interrupt)?;
    let reports = microagent_workspace::start(&context, &args.which.names, &settings, &interrupt);
    let verb = Verb {
        act: Act::Start,
        told: &|_, acted| Some(told(acted)),
        fields: &[("workspace", &|acted| {
            acted.workspace.as_deref().map(workspace::document).into()
        })],
    };
    render(reports, &verb, printer)
}

/// `is running on qemu (emulation), ready in 187 ms, 127.0.0.1:8080 -> 80`.
fn told(acted: &Acted) -> String {
    if !acted.changed {
        return "is running already".to_owned();
    }
    let mut text = "is running".to_owned();
    if let Some(workspace) = &acted.workspace {
        text.push_str(" on ");
        text.push_str(workspace.backend.as_str());
        if let Some(accelerator) = &workspace.accelerator {
            text = format!("{text} ({accelerator})");
        }
    }
    if let Some(ready_ms) = acted.ready_ms {
        let ready = Span::from(std::time::Duration::from_millis(ready_ms));
        text = format!("{text}, ready in {ready}");
    }
    for publish in acted
        .workspace
        .iter()
        .flat_map(|workspace| &workspace.network.publish)
    {
        text = format!("{text}, {}", workspace::published(publish));
    }
    text
}
