//! `image`: pulled, imported, listed, named, removed.

use std::io::{self, BufRead as _};

use microagent_os::clock;
use microagent_os::terminal::{self, StandardStream};
use microagent_types::{Arch, ByteSize, ImageSource, Span};
use microagent_wire::exit_code;
use microagent_wire::fault::{Fault, FaultKind};
use microagent_workspace::images::{self, Image, PruneSettings, PulledImage};
use microagent_workspace::{Context, Interrupt, PullSettings};
use serde_json::{Value, json};

use crate::args::{
    ArchArgs, ImageArgs, ImageCommand, ImageDeleteArgs, ImageImportArgs, ImagePruneArgs,
    ImagePullArgs, ImageTagArgs,
};
use crate::error::{Failure, usage};
use crate::printer::{self, Format, Printer};
use crate::progress_bar::ProgressBars;
use crate::render::image::{document, inspected, inspected_text, list_table, short_image, timings};
use crate::render::json as render_json;
use crate::render::table::lines;
use crate::settings::GlobalSettings;
use crate::signals;

/// Does what was asked of the images.
pub(crate) fn perform(
    args: ImageArgs,
    global: &GlobalSettings,
    printer: &Printer,
) -> Result<u8, Failure> {
    let context = global.context()?;
    match args.command {
        ImageCommand::Pull(args) => pull(&context, args, printer),
        ImageCommand::Import(args) => import(&context, &args, printer),
        ImageCommand::List(_) => list(&context, printer),
        ImageCommand::Inspect(args) => inspect(&context, &args.image, &args.scope, printer),
        ImageCommand::Tag(args) => tag(&context, &args, printer),
        ImageCommand::Delete(args) => delete(&context, &args, printer),
        ImageCommand::Prune(args) => prune(&context, &args, printer),
    }
}

fn pull(context: &Context, args: ImagePullArgs, printer: &Printer) -> Result<u8, Failure> {
    let arch = arch(&args.scope)?;
    let settings = PullSettings {
        policy: args.pull,
        insecure: args.insecure_registry,
    };
    let interrupt = Interrupt::new();
    signals::watch(&interrupt)?;
    let mut progress = ProgressBars::new(printer);
    let results = images::pull(
        context,
        &args.references,
        arch,
        &settings,
        &mut progress,
        &interrupt,
    );
    drop(progress);
    let mut code = exit_code::DONE;
    let mut documents = Vec::new();
    for (reference, result) in args.references.iter().zip(results) {
        let result = result.map_err(|error| Failure::of_library(&error));
        if let Err(failure) = &result
            && code == exit_code::DONE
        {
            code = failure.exit_code();
        }
        if printer.format() == Format::Json {
            documents.push(pulled_document(&reference.to_string(), &result));
            continue;
        }
        match &result {
            Ok(pulled) => {
                told(&pulled.warnings, printer);
                tell_pulled(&short_image(&reference.to_string()), pulled, printer);
                let digest = pulled.image.record().digest;
                let bare = reference.without_digest();
                printer.data(&format!("{bare}@{digest}\n"))?;
            }
            Err(failure) => {
                if let Some(fault) = failure.fault() {
                    printer.failure(fault);
                }
            }
        }
    }
    if printer.format() == Format::Json {
        printer.value(String::new, || json!({ "images": documents }))?;
    }
    Ok(code)
}

fn tell_pulled(name: &str, pulled: &PulledImage, printer: &Printer) {
    let took = |ms: u64| Span::from(std::time::Duration::from_millis(ms));
    match (pulled.timings.build_ms, pulled.changed) {
        (Some(ms), _) => printer.note(&format!(
            "`{name}` is built: {} downloaded, {} on the host ({})",
            pulled.downloaded,
            pulled.image.allocated(),
            took(ms)
        )),
        (None, true) => printer.note(&format!("`{name}` is an image that was stored already")),
        (None, false) => printer.note(&format!("`{name}` is up to date")),
    }
}

fn pulled_document(reference: &str, result: &Result<PulledImage, Failure>) -> Value {
    let mut value = match result {
        Ok(pulled) => {
            let mut value = document(&pulled.image);
            value["changed"] = pulled.changed.into();
            value["downloadedBytes"] = pulled.downloaded.bytes().into();
            value["reusedLayers"] = pulled.reused_layers.into();
            value["warnings"] = json!(pulled.warnings);
            value["timings"] = timings(pulled.timings);
            value
        }
        Err(_) => json!({
            "names": Value::Null, "digest": Value::Null, "changed": false,
            "downloadedBytes": Value::Null, "reusedLayers": Value::Null, "timings": Value::Null,
        }),
    };
    value["reference"] = reference.into();
    let fault = result.as_ref().err().and_then(Failure::fault);
    value["error"] = fault.map_or(Value::Null, render_json::error);
    value
}

fn import(context: &Context, args: &ImageImportArgs, printer: &Printer) -> Result<u8, Failure> {
    if let ImageSource::Registry(_) | ImageSource::Stored { .. } = &args.source {
        return Err(usage(
            format!("`{}` is not a folder or an archive", args.source),
            "name one with its prefix: oci:, oci-archive:, docker-archive: or rootfs:",
        )
        .into());
    }
    let arch = arch(&args.scope)?;
    let interrupt = Interrupt::new();
    signals::watch(&interrupt)?;
    let mut progress = ProgressBars::new(printer);
    let imported = images::import(
        context,
        &args.source,
        args.tag.as_ref(),
        arch,
        &mut progress,
        &interrupt,
    );
    drop(progress);
    let imported = imported.map_err(|error| Failure::of_library(&error))?;
    told(&imported.warnings, printer);
    let image = &imported.image;
    printer.value(
        || {
            let digest = image.record().digest;
            lines([match image.stored.names.first() {
                Some(name) => format!("{name}@{digest}"),
                None => digest.to_string(),
            }])
        },
        || {
            let mut value = document(image);
            value["warnings"] = json!(imported.warnings);
            value["timings"] = timings(imported.timings);
            value
        },
    )?;
    if image.stored.names.is_empty() {
        printer.note("the image has no name: it goes with the next `microagent image prune`");
    }
    Ok(exit_code::DONE)
}

fn list(context: &Context, printer: &Printer) -> Result<u8, Failure> {
    let images = images::list(context).map_err(|error| Failure::of_library(&error))?;
    printer.value(
        || {
            if printer.is_quiet() {
                lines(images.iter().map(|image| short_image(&image.reference())))
            } else {
                list_table(&images, clock::now(), printer.table_width())
            }
        },
        || json!({ "images": images.iter().map(document).collect::<Vec<_>>() }),
    )?;
    Ok(exit_code::DONE)
}

fn inspect(
    context: &Context,
    image: &ImageSource,
    scope: &ArchArgs,
    printer: &Printer,
) -> Result<u8, Failure> {
    let image = images::inspect(context, image, arch(scope)?)
        .map_err(|error| Failure::of_library(&error))?;
    printer.value(
        || inspected_text(&image, clock::now()),
        || inspected(&image),
    )?;
    Ok(exit_code::DONE)
}

fn tag(context: &Context, args: &ImageTagArgs, printer: &Printer) -> Result<u8, Failure> {
    let (image, before) = images::tag(context, &args.image, &args.new, arch(&args.scope)?)
        .map_err(|error| Failure::of_library(&error))?;
    if let Some(before) = before {
        let name = short_image(&args.new.to_string());
        printer.note(&format!("`{name}` was sha256:{} before", before.short()));
    }
    printer.value(|| lines([args.new.to_string()]), || document(&image))?;
    Ok(exit_code::DONE)
}

fn delete(context: &Context, args: &ImageDeleteArgs, printer: &Printer) -> Result<u8, Failure> {
    let arch = arch(&args.scope)?;
    let mut code = exit_code::DONE;
    let mut results = Vec::new();
    for source in &args.images {
        let deleted =
            images::delete(context, source, arch).map_err(|error| Failure::of_library(&error));
        if let Err(failure) = &deleted
            && code == exit_code::DONE
        {
            code = failure.exit_code();
        }
        if printer.format() == Format::Json {
            let fault = deleted.as_ref().err().and_then(Failure::fault);
            results.push(json!({
                "reference": source.to_string(),
                "deleted": deleted.as_ref().is_ok_and(|deleted| deleted.deleted),
                "freedBytes": deleted.as_ref().map_or(0, |deleted| deleted.freed.bytes()),
                "error": fault.map_or(Value::Null, render_json::error),
            }));
            continue;
        }
        match &deleted {
            Ok(gone) if gone.deleted => {
                printer.data(&format!("{}\n", short_image(&source.to_string())))?;
                if gone.freed.bytes() > 0 {
                    printer.note(&format!("{} are free again", gone.freed));
                }
            }
            Ok(_) => printer.note(&format!("`{source}` is not stored, nothing to delete")),
            Err(failure) => {
                if let Some(fault) = failure.fault() {
                    printer.failure(fault);
                }
            }
        }
    }
    if printer.format() == Format::Json {
        printer.value(String::new, || json!({ "results": results }))?;
    }
    Ok(code)
}

fn prune(context: &Context, args: &ImagePruneArgs, printer: &Printer) -> Result<u8, Failure> {
    let settings = PruneSettings {
        all: args.all,
        older_than: args.older_than.map(Span::duration),
        dry_run: args.dry_run,
    };
    let perform =
        |settings| images::prune(context, settings).map_err(|error| Failure::of_library(&error));
    if !args.dry_run && !args.yes {
        let going = perform(PruneSettings {
            dry_run: true,
            ..settings
        })?;
        if !confirmed(&going.images, going.freed, printer)? {
            printer.note("nothing is removed");
            return Ok(exit_code::FAILED);
        }
    }
    let pruned = perform(settings)?;
    printer.value(
        || {
            lines(
                pruned
                    .images
                    .iter()
                    .map(|image| short_image(&image.reference())),
            )
        },
        || {
            json!({
                "images": pruned.images.iter().map(document).collect::<Vec<_>>(),
                "freedBytes": pruned.freed.bytes(),
                "dryRun": args.dry_run,
            })
        },
    )?;
    let words = if args.dry_run { "would be" } else { "are" };
    printer.note(&format!("{} {words} free again", pruned.freed));
    Ok(exit_code::DONE)
}

/// Asks once for everything that goes. Where nothing would, there is nothing to ask.
fn confirmed(images: &[Image], freed: ByteSize, printer: &Printer) -> Result<bool, Failure> {
    if images.is_empty() && freed.bytes() == 0 {
        return Ok(true);
    }
    let somebody_there = terminal::is_terminal(StandardStream::Stdin)
        && terminal::is_terminal(StandardStream::Stderr);
    if printer.format() == Format::Json || !somebody_there {
        let message = "removing images needs a confirmation and there is no terminal to ask on";
        return Err(Failure::Command(usage(message, "add --yes")));
    }
    let names: Vec<String> = images
        .iter()
        .map(|image| short_image(&image.reference()))
        .collect();
    let what = if names.is_empty() {
        "leftovers of interrupted builds".to_owned()
    } else {
        names.join(", ")
    };
    printer::talk(&format!("Remove {what} ({freed})? [y/N] "));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(|error| {
        usage("cannot read the answer", "add --yes").with_cause(error.to_string())
    })?;
    Ok(matches!(
        answer.trim().to_ascii_lowercase().as_str(),
        "y" | "yes"
    ))
}

fn told(warnings: &[String], printer: &Printer) {
    for warning in warnings {
        printer.note(warning);
    }
}

pub(super) fn arch(scope: &ArchArgs) -> Result<Arch, Failure> {
    scope.arch.or_else(Arch::current).ok_or_else(|| {
        Fault::new(FaultKind::Unsupported, "this processor runs no workspaces")
            .with_hint("say which images are meant: --arch amd64 or --arch arm64")
            .into()
    })
}
