//! `microagent.yaml`: what a workspace is, written down. Pure: text in, values or problems out.
//!
//! ```text
//! text --tree.rs--> nodes with places --check.rs--> known keys, right types --values.rs--> values
//!                   (first problem)                 (first problem)           (all problems)
//! ```
//!
//! Structure is reported at its first problem, since what follows would only be its echo. Values are
//! checked together. Nothing is expanded and no file is looked at; paths of the host are joined to the
//! file's folder. A parser of events is used, since a problem needs the line and column of its key.

mod check;
mod keys;
mod tree;
mod values;

use crate::files::FileSettings;
use crate::profile::Profile;
use crate::request::MediationSettings;
use microagent_types::{
    BackendName, ByteSize, DiskSpec, EnvName, Environment, GuestPath, ImageSource, InvalidText,
    LabelName, Opening, PublishSpec, SignalName, VcpuCount, WorkspaceName,
};
use microagent_wire::supervisor::spec::NetworkMode;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// Largest spec file in bytes.
pub const SPEC_BYTES_MAX: u64 = 1 << 20;

/// What a spec file says; what it leaves out is none or empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SpecFile {
    /// The workspace's name.
    pub name: Option<WorkspaceName>,
    /// The image.
    pub image: Option<ImageSource>,
    /// The profile.
    pub profile: Option<Profile>,
    /// In place of the profile's memory.
    pub memory: Option<ByteSize>,
    /// In place of the profile's CPUs.
    pub cpus: Option<VcpuCount>,
    /// In place of the profile's root disk.
    pub disk_size: Option<ByteSize>,
    /// The backend.
    pub backend: Option<BackendName>,
    /// A kernel in place of the installed one.
    pub kernel: Option<PathBuf>,
    /// Variables of the guest.
    pub env: Environment,
    /// What the guest starts with.
    pub files: Vec<FileSettings>,
    /// In place of the image's entrypoint.
    pub entrypoint: Option<Vec<String>>,
    /// In place of the image's command.
    pub command: Option<Vec<String>>,
    /// Whether nothing runs.
    pub idle: Option<bool>,
    /// Who runs it.
    pub user: Option<String>,
    /// Where it runs.
    pub workdir: Option<GuestPath>,
    /// The guest's host name.
    pub hostname: Option<WorkspaceName>,
    /// What asks it to stop.
    pub stop_signal: Option<SignalName>,
    /// The kind of network.
    pub network_mode: Option<NetworkMode>,
    /// Published ports.
    pub publish: Vec<PublishSpec>,
    /// What near the host is opened to the guest.
    pub reach: Vec<Opening>,
    /// The mediation channel.
    pub mediation: Option<MediationSettings>,
    /// Data disks.
    pub disks: Vec<DiskSpec>,
    /// Labels.
    pub labels: BTreeMap<LabelName, String>,
}

/// Where something stands in a file, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.line, self.column)
    }
}

/// Something in a file that cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecProblem {
    /// The key or value at fault.
    pub place: Place,
    /// What is wrong with it.
    pub what: SpecFault,
}

/// What is wrong with a key or value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpecFault {
    /// It has no meaning here; said in words.
    Refused {
        /// What it is.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// There is no such key.
    UnknownKey {
        /// As written.
        key: String,
        /// The key around it; empty at the top.
        level: &'static str,
        /// Those that there are.
        known: Vec<&'static str>,
    },
    /// The key is kept for a later release.
    Planned {
        /// As written.
        key: String,
    },
    /// One word of a few was expected.
    UnknownWord {
        /// What it should be, with its article.
        what: &'static str,
        /// As written.
        value: String,
        /// Those that there are.
        known: Vec<&'static str>,
    },
    /// A value does not have its form.
    Invalid {
        /// As written.
        value: String,
        /// What was expected.
        refused: InvalidText,
    },
}

/// Reads a spec. `folder` is where its relative paths of the host begin; `of_this_process` gives the
/// value of a variable that the file leaves to this process.
///
/// # Errors
/// With every problem of the values in the order of the file, or else with the first of the structure.
pub fn parse(
    text: &str,
    folder: &Path,
    of_this_process: &dyn Fn(&EnvName) -> Option<String>,
) -> Result<SpecFile, Vec<SpecProblem>> {
    let (root, broken) = tree::read(text);
    let odd = root.as_ref().and_then(check::first_problem);
    let first = [broken, odd].into_iter().flatten();
    if let Some(problem) = first.min_by_key(|problem| problem.place) {
        return Err(vec![problem]);
    }
    let root = root.expect("a text without a root has a problem");
    values::read(&root, folder, of_this_process)
}

impl SpecProblem {
    fn refused(place: Place, message: impl Into<String>, hint: Option<&str>) -> Self {
        let what = SpecFault::Refused {
            message: message.into(),
            hint: hint.map(str::to_owned),
        };
        Self { place, what }
    }
}

#[cfg(test)]
mod tests;
