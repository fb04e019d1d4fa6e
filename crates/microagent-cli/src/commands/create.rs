//! `create`: prepares a workspace without booting it.

use microagent_types::Span;
use microagent_wire::exit_code;
use microagent_workspace::{CreateReport, Interrupt, create};
use serde_json::{Value, json};

use super::new_workspace::{Asked, TypedCommand, guest_words};
use super::{dry_run, spec};
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
    let asked = resolve(args)?;
    let context = global.context_with(asked.backend)?;
    let interrupt = Interrupt::new();
    signals::watch(&interrupt)?;
    if asked.dry_run {
        return dry_run::perform(&asked, &context, printer, &interrupt);
    }
    let settings = asked.into_create(printer);
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

fn resolve(mut args: CreateArgs) -> Result<Asked, Failure> {
    let spec = spec::load(&args.workspace)?;
    let name = args.name.or(args.name_flag).or_else(|| spec.name.clone());
    let name = name.ok_or_else(|| {
        Failure::usage(
            "create needs a name for the workspace",
            "microagent create web --image debian:12",
        )
    })?;
    let image = args.workspace.image.take().or_else(|| spec.image.clone());
    let image = image.ok_or_else(|| {
        Failure::usage(
            format!("workspace `{name}` needs an image"),
            format!("microagent create {name} --image debian:12"),
        )
    })?;
    let typed = TypedCommand {
        words: guest_words(args.command).collect::<Result<_, _>>()?,
        idle: args.idle,
    };
    Asked::resolve(Some(name), image, args.workspace, spec, typed)
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
