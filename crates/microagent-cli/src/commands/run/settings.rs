//! What the words of `run` mean, every default filled in.

use std::ffi::OsString;

use microagent_types::{ImageSource, Span};
use microagent_wire::fault::Fault;
use microagent_workspace::{CopyOut, Keep, RunSettings};

use crate::args::{CopyOutArg, RunArgs, SessionArgs, invalid_text};
use crate::commands::new_workspace::{Asked, TypedCommand, guest_words};
use crate::commands::session::attachment::{Attachment, limit};
use crate::commands::spec;
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

/// What is `run`'s own: all but the workspace.
#[derive(Debug)]
pub(super) struct RunWords {
    session: SessionArgs,
    copy_out: Vec<CopyOutArg>,
    ready_timeout: Option<Span>,
    keep: bool,
    command_given: bool,
}

/// What is asked for, flags over spec.
pub(super) fn ask(mut args: RunArgs) -> Result<(Asked, RunWords), Failure> {
    let spec = spec::load(&args.workspace)?;
    let image = args.workspace.image.take().or_else(|| spec.image.clone());
    let (image, words) = image_and_command(image, args.words)?;
    let command = spec
        .command
        .as_ref()
        .is_some_and(|command| !command.is_empty());
    let own = RunWords {
        command_given: !words.is_empty()
            || args.workspace.entrypoint.is_some()
            || command
            || spec.entrypoint.is_some(),
        session: args.session,
        copy_out: args.copy_out,
        ready_timeout: args.ready_timeout,
        keep: args.keep,
    };
    let name = args.name.or_else(|| spec.name.clone());
    let typed = TypedCommand {
        words,
        idle: args.idle,
    };
    if typed.is_idle(&args.workspace, &spec) {
        let failure = usage(
            "`--idle` runs no command, and run waits for one",
            "microagent run --detach --idle IMAGE, or microagent create NAME --image IMAGE --idle",
        );
        return Err(failure.into());
    }
    let asked = Asked::resolve(name, image, args.workspace, spec, typed)?;
    Ok((asked, own))
}

/// The plan of what is asked for.
pub(super) fn resolve(asked: Asked, own: RunWords, format: Format) -> Result<RunPlan, Failure> {
    let attachment = Attachment::resolve(own.session, format)?;
    let new = asked.new;
    let settings = RunSettings {
        image: asked.image,
        name: asked.name,
        workload: new.workload,
        size: new.size,
        disks: new.disks,
        files: new.files,
        copy_out: own.copy_out.into_iter().map(copy_out).collect(),
        network: new.network,
        hostname: new.hostname,
        labels: new.labels,
        kernel: new.kernel,
        pull: new.pull,
        name_taken: new.name_taken,
        timeout: attachment.timeout,
        ready_timeout: own.ready_timeout.and_then(limit),
        keep: if own.keep {
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
        command_given: own.command_given,
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
