//! What the words of `run` mean, every default filled in.

use std::ffi::OsString;

use microagent_types::ImageSource;
use microagent_wire::fault::Fault;
use microagent_workspace::{CopyOut, Keep, RunSettings};

use crate::args::{CopyOutArg, RunArgs, invalid_text};
use crate::commands::new_workspace::{self, guest_words};
use crate::commands::session::attachment::{Attachment, limit};
use crate::error::{Failure, usage};
use crate::printer::Format;

/// A run whose every word is understood.
#[derive(Debug)]
pub(super) struct RunPlan {
    /// For the library.
    pub(super) settings: RunSettings,
    /// Streams and terminal.
    pub(super) attachment: Attachment,
    /// Whether a command was typed.
    pub(super) command_given: bool,
    /// What is worth saying and stops nothing.
    pub(super) notes: Vec<String>,
}

/// Resolves the arguments.
pub(super) fn resolve(mut args: RunArgs, format: Format) -> Result<RunPlan, Failure> {
    let (image, command) = image_and_command(args.workspace.image.take(), args.words)?;
    let attachment = Attachment::resolve(args.session, format)?;
    let command_given = !command.is_empty() || args.workspace.entrypoint.is_some();
    let new = new_workspace::resolve(args.workspace, command)?;
    let settings = RunSettings {
        image,
        name: args.name,
        workload: new.workload,
        size: new.size,
        disks: new.disks,
        files: new.files,
        copy_out: args.copy_out.into_iter().map(copy_out).collect(),
        network: new.network,
        hostname: new.hostname,
        labels: new.labels,
        kernel: new.kernel,
        pull: new.pull,
        name_taken: new.name_taken,
        timeout: attachment.timeout,
        ready_timeout: args.ready_timeout.and_then(limit),
        keep: if args.keep {
            Keep::Halted
        } else {
            Keep::Nothing
        },
        tty: attachment.tty.clone(),
        output_limit_bytes: attachment.output_limit_bytes(),
    };
    Ok(RunPlan {
        settings,
        attachment,
        command_given,
        notes: new.notes,
    })
}

fn copy_out(copy: CopyOutArg) -> CopyOut {
    CopyOut {
        source: copy.source,
        target: copy.target,
    }
}

/// The first word is the image, unless `--image` gave it; one `--` directly after it is dropped.
pub(super) fn image_and_command(
    image: Option<ImageSource>,
    words: Vec<OsString>,
) -> Result<(ImageSource, Vec<String>), Fault> {
    let mut words = guest_words(words);
    if let Some(image) = image {
        return Ok((image, words.collect::<Result<_, _>>()?));
    }
    let first = words.next().transpose()?.ok_or_else(|| {
        usage(
            "run needs an image",
            "microagent run debian:12 COMMAND; the forms of an image: microagent run --help",
        )
    })?;
    let image = first
        .parse()
        .map_err(|refused| invalid_text(None, &first, &refused))?;
    let mut command = words.collect::<Result<Vec<String>, _>>()?;
    if command.first().is_some_and(|word| word == "--") {
        command.remove(0);
    }
    Ok((image, command))
}

#[cfg(test)]
mod tests;
