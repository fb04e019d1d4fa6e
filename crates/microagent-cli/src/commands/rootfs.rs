//! `rootfs`: the disk of an image in a file.

use microagent_wire::exit_code;
use microagent_workspace::disk_file::{self, DiskFileSettings};
use microagent_workspace::{DiskFormat, Interrupt, PullSettings, Replace};
use serde_json::{Value, json};

use super::image::arch;
use crate::args::{RootfsArgs, RootfsBuildArgs, RootfsCommand};
use crate::error::Failure;
use crate::printer::Printer;
use crate::progress_bar::ProgressBars;
use crate::render::table::lines;
use crate::settings::{GlobalSettings, absolute};
use crate::signals;

/// Does what was asked.
pub(crate) fn perform(
    args: RootfsArgs,
    global: &GlobalSettings,
    printer: &Printer,
) -> Result<u8, Failure> {
    match args.command {
        RootfsCommand::Build(args) => build(args, global, printer),
    }
}

fn build(args: RootfsBuildArgs, global: &GlobalSettings, printer: &Printer) -> Result<u8, Failure> {
    let context = global.context()?;
    let settings = DiskFileSettings {
        output: absolute(&args.output, "--output")?,
        source: args.source,
        format: args.format,
        size: args.size,
        arch: arch(&args.scope)?,
        pull: PullSettings {
            policy: args.pull,
            insecure: args.insecure_registry,
        },
        replace: if args.force {
            Replace::Existing
        } else {
            Replace::Never
        },
    };
    let interrupt = Interrupt::new();
    signals::watch(&interrupt)?;
    let begun = microagent_os::clock::monotonic();
    let mut progress = ProgressBars::new(printer);
    let disk = disk_file::build(&context, &settings, &mut progress, &interrupt);
    drop(progress);
    let disk = disk.map_err(|error| Failure::of_library(&error))?;
    let total_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    for warning in &disk.warnings {
        printer.note(warning);
    }
    let path = settings.output.to_string();
    printer.note(&format!(
        "`{}` is built: {} files, {}, {} on the host",
        args.output.display(),
        disk.files,
        disk.size,
        disk.allocated
    ));
    printer.value(
        || lines([&path]),
        || {
            json!({
                "path": path,
                "format": match settings.format {
                    DiskFormat::Raw => "raw",
                    DiskFormat::Vhd => "vhd",
                },
                "sizeBytes": disk.size.bytes(),
                "allocatedBytes": disk.allocated.bytes(),
                "usedBytes": disk.used.bytes(),
                "files": disk.files,
                "image": {
                    "reference": settings.source.to_string(),
                    "digest": disk.digest.to_string(),
                },
                "builder": disk.builder,
                "sha256": disk.sha256.to_string(),
                "warnings": disk.warnings,
                "timings": {
                    "resolveMs": Value::Null,
                    "downloadMs": Value::Null,
                    "buildMs": Value::Null,
                    "cloneMs": Value::Null,
                    "bootMs": Value::Null,
                    "totalMs": total_ms,
                },
            })
        },
    )?;
    Ok(exit_code::DONE)
}
