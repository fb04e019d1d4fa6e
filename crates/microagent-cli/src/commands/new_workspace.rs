//! What a new workspace is, from the flags that `run` and `create` share: every value checked, nothing
//! looked up that a wrong word could have told already.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use microagent_types::label::{LABEL_VALUE_BYTES_MAX, LABELS_MAX};
use microagent_types::{AbsPath, DiskContent, DiskSpec, ImageSource, LabelName, WorkspaceName};
use microagent_wire::fault::Fault;
use microagent_workspace::create::Idle;
use microagent_workspace::disks::{DiskSettings, DiskSource};
use microagent_workspace::request::{MediationSettings, NetworkSettings};
use microagent_workspace::workload::{SizeSettings, WorkloadSettings};
use microagent_workspace::{CreateSettings, FileSettings, NameTaken, PullSettings};

use super::session::environment;
use crate::args::{CopyInArg, MediationArg, NetworkArgs, WorkspaceArgs, invalid_text};
use crate::error::{Failure, usage};
use crate::printer::Printer;
use crate::settings::absolute;

/// What a new workspace is, but for its name and image.
#[derive(Debug)]
pub(super) struct NewWorkspace {
    pub(super) workload: WorkloadSettings,
    pub(super) size: SizeSettings,
    pub(super) disks: Vec<DiskSettings>,
    pub(super) files: Vec<FileSettings>,
    pub(super) network: NetworkSettings,
    pub(super) hostname: Option<WorkspaceName>,
    pub(super) labels: BTreeMap<LabelName, String>,
    pub(super) kernel: Option<AbsPath>,
    pub(super) pull: PullSettings,
    pub(super) name_taken: NameTaken,
    /// What is worth saying and stops nothing.
    pub(super) notes: Vec<String>,
}

impl NewWorkspace {
    /// Says what is worth saying; the rest is for a workspace that outlives this command.
    pub(super) fn into_create(
        self,
        name: WorkspaceName,
        image: ImageSource,
        idle: bool,
        printer: &Printer,
    ) -> CreateSettings {
        for note in &self.notes {
            printer.note(note);
        }
        CreateSettings {
            name,
            image,
            workload: self.workload,
            idle: if idle { Idle::Yes } else { Idle::No },
            size: self.size,
            disks: self.disks,
            files: self.files,
            network: self.network,
            hostname: self.hostname,
            labels: self.labels,
            kernel: self.kernel,
            pull: self.pull,
            name_taken: self.name_taken,
        }
    }
}

/// Resolves the shared flags; `command` stands in place of the image's.
pub(super) fn resolve(args: WorkspaceArgs, command: Vec<String>) -> Result<NewWorkspace, Failure> {
    let mut notes = Vec::new();
    if let (Some(cpus), Ok(host)) = (args.cpus, std::thread::available_parallelism())
        && usize::from(cpus.get()) > host.get()
    {
        notes.push(format!("--cpus {cpus} is more than this host's {host}"));
    }
    let kernel = args.kernel.map(|path| absolute(&path, "--kernel"));
    Ok(NewWorkspace {
        workload: WorkloadSettings {
            command,
            entrypoint: args.entrypoint.map(entrypoint),
            env: environment::of_args(&args.environment)?,
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
        disks: args.disks.into_iter().map(disk).collect::<Result<_, _>>()?,
        files: args.copy_in.into_iter().map(file).collect(),
        network: network(args.network),
        hostname: args.hostname,
        labels: labels(&args.labels)?,
        kernel: kernel.transpose()?,
        pull: PullSettings {
            policy: args.pull,
            insecure: args.insecure_registry,
        },
        name_taken: if args.replace {
            NameTaken::Replaced
        } else {
            NameTaken::Refused
        },
        notes,
    })
}

/// Words for the guest, which are text.
pub(super) fn guest_words(
    words: impl IntoIterator<Item = OsString>,
) -> impl Iterator<Item = Result<String, Fault>> {
    words.into_iter().map(|word| {
        word.into_string().map_err(|word| {
            usage(
                format!("`{}` is not valid UTF-8", word.to_string_lossy()),
                "words for the guest are text; pass other bytes through stdin",
            )
        })
    })
}

fn disk(spec: DiskSpec) -> Result<DiskSettings, Failure> {
    let file = |path: &str| absolute(Path::new(path), "--disk");
    Ok(DiskSettings {
        source: match &spec.content {
            DiskContent::Empty(size) => DiskSource::Empty(*size),
            DiskContent::Image(path) => DiskSource::Image(file(path)?),
            DiskContent::Tarball(path) => DiskSource::Tarball(file(path)?),
        },
        name: spec.name,
        mount: spec.mount,
        read_only: spec.read_only,
    })
}

fn file(copy: CopyInArg) -> FileSettings {
    FileSettings {
        source: copy.source,
        target: copy.target,
    }
}

fn entrypoint(word: String) -> Vec<String> {
    if word.is_empty() {
        Vec::new()
    } else {
        vec![word]
    }
}

fn network(args: NetworkArgs) -> NetworkSettings {
    let channel = |declared: MediationArg| MediationSettings {
        port: declared.port,
        target: declared.target,
        required: !args.mediation_optional,
    };
    NetworkSettings {
        mode: args.mode,
        dns: Vec::new(),
        reach: args.reach,
        publish: args.publish,
        mediation: args.mediation.map(channel),
    }
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
