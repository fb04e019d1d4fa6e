//! `create`: prepares a workspace without booting it.

use microagent_types::Span;
use microagent_wire::exit_code;
use microagent_workspace::{CreateReport, CreateSettings, Interrupt, create};
use serde_json::{Value, json};

use super::new_workspace::{self, guest_words};
use crate::args::CreateArgs;
use crate::error::Failure;
use crate::printer::Printer;
use crate::progress_bar::ProgressBars;
use crate::render::workspace;
use crate::settings::GlobalSettings;
use crate::signals;
use crate::wording::Act;

/// Prepares it and prints its name.
pub(crate) fn perform(
    args: CreateArgs,
    global: &GlobalSettings,
    printer: &Printer,
) -> Result<u8, Failure> {
    let settings = resolve(args, printer)?;
    let context = global.context()?;
    let interrupt = Interrupt::new();
    signals::watch(&interrupt)?;
    let mut progress = ProgressBars::new(printer);
    let created = create(&context, &settings, &mut progress, &interrupt);
    drop(progress);
    let report =
        created.map_err(|error| Failure::of_library(&error).of_act(Act::Create, &settings.name))?;
    tell(&report, printer);
    printer.value(
        || format!("{}\n", settings.name),
        || document(&report, Spent::default()),
    )?;
    Ok(exit_code::DONE)
}

fn resolve(mut args: CreateArgs, printer: &Printer) -> Result<CreateSettings, Failure> {
    let name = args.name;
    let image = args.workspace.image.take().ok_or_else(|| {
        Failure::usage(
            format!("workspace `{name}` needs an image"),
            format!("microagent create {name} --image debian:12"),
        )
    })?;
    let command = guest_words(args.command).collect::<Result<Vec<String>, _>>()?;
    let new = new_workspace::resolve(args.workspace, command)?;
    Ok(new.into_create(name, image, args.idle, printer))
}

/// Says what became of the image and the disk.
pub(super) fn tell(report: &CreateReport, printer: &Printer) {
    let image = report.workspace.image.as_ref();
    if let Some(image) = image
        && let (Some(reference), Some(digest)) = (&image.reference, &image.digest)
    {
        printer.note(&format!("`{reference}` is {digest}"));
    }
    let disk = &report.workspace.root_disk;
    let clone = disk.clone.map_or_else(String::new, |clone| {
        let word = json!(clone);
        format!(" by {}", word.as_str().unwrap_or_default())
    });
    let cloned = format!("disk of {} cloned{clone}", disk.size_bytes);
    match report.build_ms {
        Some(ms) => {
            let took = Span::from(std::time::Duration::from_millis(ms));
            printer.note(&format!("image is built ({took}), {cloned}"));
        }
        None => printer.note(&cloned),
    }
    if report.idle_by_image {
        let name = &report.workspace.name;
        printer.note(&format!(
            "the image names no command: `{name}` is idle and stays up until it is asked to end"
        ));
    }
}

/// What a boot took that followed, in milliseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spent {
    /// The boot.
    pub(super) boot_ms: Option<u64>,
    /// All of it.
    pub(super) total_ms: Option<u64>,
}

/// The one document of a create, and of a run that left its workspace up.
pub(super) fn document(report: &CreateReport, spent: Spent) -> Value {
    json!({
        "workspace": workspace::document(&report.workspace),
        "imageBuilt": report.image_built,
        "timings": {
            "resolveMs": Value::Null,
            "downloadMs": Value::Null,
            "buildMs": report.build_ms,
            "cloneMs": Value::Null,
            "bootMs": spent.boot_ms,
            "totalMs": spent.total_ms,
        },
    })
}
