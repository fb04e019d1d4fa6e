//! What the words of `run` mean: every default filled in, every value checked, nothing looked up that
//! a wrong word could have told already.

use std::collections::BTreeMap;
use std::ffi::OsString;

use microagent_os::terminal::{self, StandardStream};
use microagent_types::env_vars::EnvVar;
use microagent_types::label::{LABEL_VALUE_BYTES_MAX, LABELS_MAX};
use microagent_types::{ByteSize, ImageSource, LabelName, Span};
use microagent_wire::fault::Fault;
use microagent_wire::guest::service::Tty;
use microagent_workspace::request::{MediationSettings, NetworkSettings};
use microagent_workspace::workload::{SizeSettings, WorkloadSettings};
use microagent_workspace::{Keep, RunSettings};

use super::environment;
use crate::args::{RunArgs, invalid_text};
use crate::detach_keys::DetachKeys;
use crate::error::{Failure, usage};
use crate::printer::Format;
use crate::settings::absolute;

/// What a guest's terminal is when this one does not say.
const TERM_DEFAULT: &str = "xterm";
/// The size of a terminal that does not know its own.
const SIZE_DEFAULT: (u16, u16) = (24, 80);

/// Where the command's stdin comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stdin {
    /// It reads end of file.
    EndOfFile,
    /// This process's stdin is passed on.
    Passed,
}

/// A run whose every word is understood.
#[derive(Debug)]
pub(super) struct RunPlan {
    /// For the library.
    pub(super) settings: RunSettings,
    /// The command's stdin.
    pub(super) stdin: Stdin,
    /// With a terminal on stdin: what leaves it.
    pub(super) detach_keys: Option<DetachKeys>,
    /// Bytes kept of each stream with `--json`.
    pub(super) output_limit: ByteSize,
    /// Whether a command was typed.
    pub(super) command_given: bool,
    /// What is worth saying and stops nothing.
    pub(super) notes: Vec<String>,
}

/// Resolves the arguments.
pub(super) fn resolve(args: RunArgs, format: Format) -> Result<RunPlan, Failure> {
    let (image, command) = image_and_command(args.image, args.words)?;
    let tty = if args.tty { Some(tty(format)?) } else { None };
    let env = environment::of_args(&args.env_file, &args.env)?;
    let kernel = args
        .kernel
        .map(|path| absolute(&path, "--kernel"))
        .transpose()?;
    let mut notes = Vec::new();
    if let (Some(cpus), Ok(host)) = (args.cpus, std::thread::available_parallelism())
        && usize::from(cpus.get()) > host.get()
    {
        notes.push(format!("--cpus {cpus} is more than this host's {host}"));
    }
    let stdin = if args.interactive {
        Stdin::Passed
    } else {
        Stdin::EndOfFile
    };
    let detach_keys = (args.interactive && tty.is_some()).then_some(args.detach_keys);
    let command_given = !command.is_empty() || args.entrypoint.is_some();
    let settings = RunSettings {
        image,
        name: args.name,
        workload: WorkloadSettings {
            command,
            entrypoint: args.entrypoint.map(entrypoint),
            env,
            user: args.user,
            workdir: args.workdir,
            stop_signal: args.stop_signal,
        },
        size: SizeSettings {
            profile: args.profile,
            memory: args.memory,
            cpus: args.cpus,
            disk: args.disk_size,
        },
        network: NetworkSettings {
            mode: args.network.mode,
            dns: Vec::new(),
            publish: args.network.publish,
            mediation: mediation(args.network.mediation, args.network.mediation_optional),
        },
        hostname: args.hostname,
        labels: labels(&args.labels)?,
        kernel,
        timeout: limit(args.timeout),
        ready_timeout: args.ready_timeout.and_then(limit),
        keep: if args.keep {
            Keep::Halted
        } else {
            Keep::Nothing
        },
        tty,
        output_limit_bytes: (format == Format::Json).then(|| args.output_limit.bytes()),
    };
    Ok(RunPlan {
        settings,
        stdin,
        detach_keys,
        output_limit: args.output_limit,
        command_given,
        notes,
    })
}

/// The first word is the image, unless `--image` gave it; one `--` directly after it is dropped.
fn image_and_command(
    image: Option<ImageSource>,
    words: Vec<OsString>,
) -> Result<(ImageSource, Vec<String>), Fault> {
    let mut words = words.into_iter().map(|word| {
        word.into_string().map_err(|word| {
            usage(
                format!("`{}` is not valid UTF-8", word.to_string_lossy()),
                "words for the guest are text; pass other bytes through stdin or an --env-file",
            )
        })
    });
    if let Some(image) = image {
        return Ok((image, words.collect::<Result<_, _>>()?));
    }
    let first = words.next().transpose()?.ok_or_else(|| {
        usage(
            "run needs an image",
            "microagent run oci:DIR COMMAND; the forms of an image: microagent run --help",
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

fn entrypoint(word: String) -> Vec<String> {
    if word.is_empty() {
        Vec::new()
    } else {
        vec![word]
    }
}

fn tty(format: Format) -> Result<Tty, Fault> {
    if format == Format::Json {
        return Err(usage(
            "--tty cannot be used with --json",
            "leave one of them out; -i alone passes stdin through",
        ));
    }
    if !terminal::is_terminal(StandardStream::Stdin) {
        return Err(usage(
            "--tty needs a terminal on stdin",
            "leave out -t; -i alone passes stdin through",
        ));
    }
    let size = terminal::size(StandardStream::Stdin);
    let (rows, cols) = size.map_or(SIZE_DEFAULT, |size| (size.rows, size.columns));
    Ok(Tty {
        rows,
        cols,
        term: EnvVar::Term
            .read()
            .unwrap_or_else(|| TERM_DEFAULT.to_owned()),
    })
}

fn mediation(
    declared: Option<crate::args::MediationArg>,
    optional: bool,
) -> Option<MediationSettings> {
    declared.map(|declared| MediationSettings {
        port: declared.port,
        target: declared.target,
        required: !optional,
    })
}

fn labels(words: &[String]) -> Result<BTreeMap<LabelName, String>, Fault> {
    let mut labels = BTreeMap::new();
    for word in words {
        let (name, value) = word.split_once('=').ok_or_else(|| {
            usage(
                format!("`{word}` is not a label"),
                format!("write KEY=VALUE: --label {word}=VALUE"),
            )
        })?;
        let key: LabelName = name
            .parse()
            .map_err(|refused| invalid_text(Some("--label"), name, &refused))?;
        if value.len() > LABEL_VALUE_BYTES_MAX {
            return Err(usage(
                format!("the value of label `{key}` has {} bytes", value.len()),
                format!("a value holds at most {LABEL_VALUE_BYTES_MAX} bytes"),
            ));
        }
        labels.insert(key, value.to_owned());
    }
    if labels.len() > LABELS_MAX {
        return Err(usage(
            format!("there are {} labels", labels.len()),
            format!("a workspace has at most {LABELS_MAX}"),
        ));
    }
    Ok(labels)
}

/// Zero is no limit.
fn limit(span: Span) -> Option<std::time::Duration> {
    (span != Span::ZERO).then(|| span.duration())
}

#[cfg(test)]
mod tests;
