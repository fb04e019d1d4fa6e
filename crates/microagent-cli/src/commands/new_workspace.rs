//! What a new workspace is, from the flags that `run` and `create` share and from a spec file below
//! them: every value checked, nothing looked up that a wrong word could have told already.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::path::Path;

use microagent_types::label::{LABEL_VALUE_BYTES_MAX, LABELS_MAX};
use microagent_types::{
    AbsPath, BackendName, DiskContent, DiskSpec, ImageSource, LabelName, Opening, PublishSpec,
    WorkspaceName,
};
use microagent_wire::fault::Fault;
use microagent_wire::supervisor::spec::NetworkMode;
use microagent_workspace::create::Idle;
use microagent_workspace::disks::{DiskSettings, DiskSource};
use microagent_workspace::request::{MediationSettings, NetworkSettings};
use microagent_workspace::workload::{SizeSettings, WorkloadSettings};
use microagent_workspace::{
    CreateSettings, FileSettings, FileSource, NameTaken, PullSettings, SpecFile, generated_name,
};

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

/// A new workspace as flags and spec together ask for it.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) name: Option<WorkspaceName>,
    pub(super) image: ImageSource,
    pub(super) new: NewWorkspace,
    pub(super) idle: bool,
    /// The backend that the spec names.
    pub(super) backend: Option<BackendName>,
    /// Nothing is to be done.
    pub(super) dry_run: bool,
}

impl Asked {
    /// Resolves the flags over the spec.
    pub(super) fn resolve(
        name: Option<WorkspaceName>,
        image: ImageSource,
        args: WorkspaceArgs,
        spec: SpecFile,
        typed: TypedCommand,
    ) -> Result<Self, Failure> {
        Ok(Self {
            name,
            image,
            idle: typed.is_idle(&args, &spec),
            backend: spec.backend,
            dry_run: args.dry_run,
            new: resolve(args, spec, typed)?,
        })
    }

    /// Says what is worth saying; the rest is for a workspace that outlives this command.
    pub(super) fn into_create(self, printer: &Printer) -> CreateSettings {
        let new = self.new;
        for note in &new.notes {
            printer.note(note);
        }
        CreateSettings {
            name: self.name.unwrap_or_else(generated_name),
            image: self.image,
            workload: new.workload,
            idle: if self.idle { Idle::Yes } else { Idle::No },
            size: new.size,
            disks: new.disks,
            files: new.files,
            network: new.network,
            hostname: new.hostname,
            labels: new.labels,
            kernel: new.kernel,
            pull: new.pull,
            name_taken: new.name_taken,
        }
    }
}

/// What runs, as it was typed: over what a spec file says as a whole.
#[derive(Debug, Clone, Default)]
pub(super) struct TypedCommand {
    /// In place of the image's command.
    pub(super) words: Vec<String>,
    /// `--idle`.
    pub(super) idle: bool,
}

impl TypedCommand {
    /// Whether nothing runs.
    pub(super) fn is_idle(&self, args: &WorkspaceArgs, spec: &SpecFile) -> bool {
        let runs = !self.words.is_empty() || args.entrypoint.is_some();
        self.idle || (!runs && spec.idle == Some(true))
    }
}

/// Resolves the shared flags over a spec.
fn resolve(
    args: WorkspaceArgs,
    spec: SpecFile,
    typed: TypedCommand,
) -> Result<NewWorkspace, Failure> {
    let mut notes = Vec::new();
    let cpus = args.cpus.or(spec.cpus);
    if let (Some(cpus), Ok(host)) = (cpus, std::thread::available_parallelism())
        && usize::from(cpus.get()) > host.get()
    {
        notes.push(format!("--cpus {cpus} is more than this host's {host}"));
    }
    let kernel = args.kernel.map(|path| absolute(&path, "--kernel"));
    let kernel = kernel.or_else(|| {
        spec.kernel
            .map(|path| absolute(&path, "kernel in the spec"))
    });
    let mut env = spec.env;
    env.merge(&environment::of_args(&args.environment)?)
        .map_err(|refused| usage(refused.to_string(), refused.expected))?;
    let (entrypoint, command) = match (args.entrypoint, typed.words) {
        _ if typed.idle => (None, Vec::new()),
        (Some(word), words) => (Some(entrypoint(word)), words),
        (None, words) if words.is_empty() => (spec.entrypoint, spec.command.unwrap_or_default()),
        (None, words) => (spec.entrypoint, words),
    };
    let mut disks = spec.disks;
    disks.retain(|disk| !args.disks.iter().any(|typed| typed.name == disk.name));
    disks.extend(args.disks);
    let mut files = spec.files;
    files.extend(args.copy_in.into_iter().map(file));
    let mut labels_all = spec.labels;
    labels_all.extend(labels(&args.labels)?);
    check_label_count(labels_all.len())?;
    Ok(NewWorkspace {
        workload: WorkloadSettings {
            command,
            entrypoint,
            env,
            user: args.user.or(spec.user),
            workdir: args.workdir.or(spec.workdir),
            stop_signal: args.stop_signal.or(spec.stop_signal),
        },
        size: SizeSettings {
            profile: args.profile.or(spec.profile).unwrap_or_default(),
            memory: args.memory.or(spec.memory),
            cpus,
            disk: args.disk_size.or(spec.disk_size),
        },
        disks: disks.into_iter().map(disk).collect::<Result<_, _>>()?,
        files,
        network: network(
            args.network,
            SpecNetwork {
                mode: spec.network_mode,
                reach: spec.reach,
                publish: spec.publish,
                mediation: spec.mediation,
            },
        )?,
        hostname: args.hostname.or(spec.hostname),
        labels: labels_all,
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
        source: FileSource::Host(copy.source),
        target: copy.target,
        mode: None,
        owner: (0, 0),
    }
}

fn entrypoint(word: String) -> Vec<String> {
    if word.is_empty() {
        Vec::new()
    } else {
        vec![word]
    }
}

/// What a spec says about the network.
struct SpecNetwork {
    mode: Option<NetworkMode>,
    reach: Vec<Opening>,
    publish: Vec<PublishSpec>,
    mediation: Option<MediationSettings>,
}

fn network(args: NetworkArgs, spec: SpecNetwork) -> Result<NetworkSettings, Fault> {
    let typed = args
        .mediation
        .map(|declared: MediationArg| MediationSettings {
            port: declared.port,
            target: declared.target,
            required: true,
        });
    let mut mediation = typed.or(spec.mediation);
    match &mut mediation {
        Some(mediation) if args.mediation_optional => mediation.required = false,
        None if args.mediation_optional => {
            return Err(usage(
                "`--mediation-optional` needs a mediation channel",
                "declare one: --mediation 2048=127.0.0.1:9900",
            ));
        }
        _ => {}
    }
    let mut publish = spec.publish;
    publish.extend(args.publish);
    let mut taken = HashSet::new();
    for port in &publish {
        let address = port.socket_addr();
        if address.port() != 0 && !taken.insert(address) {
            return Err(usage(
                format!("host port `{address}` is published twice"),
                format!(
                    "leave out one, or take another host port: --publish 0:{}",
                    port.guest_port
                ),
            ));
        }
    }
    let mut reach = spec.reach;
    reach.extend(args.reach);
    Ok(NetworkSettings {
        mode: args.mode.or(spec.mode).unwrap_or_default(),
        dns: Vec::new(),
        reach,
        publish,
        mediation,
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
    Ok(labels)
}

fn check_label_count(count: usize) -> Result<(), Fault> {
    if count > LABELS_MAX {
        return Err(usage(
            format!("there are {count} labels"),
            format!("a workspace has at most {LABELS_MAX}"),
        ));
    }
    Ok(())
}
