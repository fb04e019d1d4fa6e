//! `top`: what every workspace uses, now.
//!
//! Processor time and memory are those of the VMM, which holds the guest's memory: what a workspace costs
//! the host, and not what its guest says. Nothing is kept between two calls; who wants a rate compares two.

use crate::context::Context;
use crate::error::WorkspaceError;
use crate::list::{Known, Summary, list};
use microagent_os::process::{self, ProcessIdentity, StartTime};
use microagent_os::{clock, fs};
use microagent_state::paths::StateDirectory;
use microagent_state::runtime_record::RuntimeRecord;
use microagent_state::{WorkspacePaths, record_store};
use microagent_types::{ByteSize, WorkspaceName};
use std::time::{Duration, Instant};

/// What one workspace uses.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Its name.
    pub name: WorkspaceName,
    /// What is known of it.
    pub known: Box<Known>,
    /// Processor time of its VM since its start; none when it does not run, or the host does not tell.
    pub cpu_time: Option<Duration>,
    /// Memory of the host that its VM holds.
    pub memory: Option<ByteSize>,
    /// What its root disk takes on the host.
    pub disk: Option<ByteSize>,
}

/// All of them at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    /// When.
    pub taken: Instant,
    /// By name. A workspace whose record can't be read is left out.
    pub workspaces: Vec<Sample>,
}

/// Looks at every workspace. Those that do not answer in time are told as recorded.
///
/// # Errors
/// When the state directory itself can't be read.
pub fn sample(context: &Context) -> Result<Samples, WorkspaceError> {
    let state = StateDirectory::at(&context.state_dir);
    let summaries = list(context)?;
    let one = |Summary { name, known }: Summary| {
        let known = known.ok()?;
        let paths = state.workspace(&name);
        let used = known.alive.then(|| used(&paths)).flatten();
        Some(Sample {
            disk: disk(&paths),
            cpu_time: used.map(|used| used.cpu),
            memory: used.map(|used| ByteSize::from_bytes(used.memory_bytes)),
            name,
            known,
        })
    };
    let workspaces = summaries.into_iter().filter_map(one).collect();
    Ok(Samples {
        taken: clock::monotonic(),
        workspaces,
    })
}

fn used(paths: &WorkspacePaths) -> Option<process::Usage> {
    let record = record_store::read::<RuntimeRecord>(&paths.runtime_record());
    let vm = record.ok()??.value.vm?;
    let start_time = StartTime::from_recorded(&vm.start_time?).ok()?;
    process::usage(&ProcessIdentity::from_recorded(vm.pid?, start_time).ok()?)
}

fn disk(paths: &WorkspacePaths) -> Option<ByteSize> {
    use microagent_machine::spec::DiskFormat;
    let formats = [DiskFormat::Raw, DiskFormat::Vhd];
    let mut files = formats.map(|format| paths.root_disk(format)).into_iter();
    let file = files.find(|file| fs::is_file(file))?;
    fs::allocated_bytes(&file).ok().map(ByteSize::from_bytes)
}

impl Sample {
    /// Processors that it kept busy since an earlier look: 1.0 is one of them, all the time.
    pub fn cpus_busy(&self, earlier: &Samples, later: &Samples) -> Option<f64> {
        let before = earlier
            .workspaces
            .iter()
            .find(|one| one.name == self.name)?;
        let span = later.taken.checked_duration_since(earlier.taken)?;
        // Another boot counts anew.
        let used = self.cpu_time?.checked_sub(before.cpu_time?)?;
        (!span.is_zero()).then(|| used.as_secs_f64() / span.as_secs_f64())
    }

    /// Bytes that crossed between its guest and everything else since an earlier look, a second.
    pub fn bytes_a_second(&self, earlier: &Samples, later: &Samples) -> Option<f64> {
        let before = earlier
            .workspaces
            .iter()
            .find(|one| one.name == self.name)?;
        let span = later.taken.checked_duration_since(earlier.taken)?;
        let crossed = |one: &Self| {
            let traffic = one.known.traffic.filter(|_| one.known.alive)?;
            Some(traffic.bytes_in.saturating_add(traffic.bytes_out))
        };
        // Another boot counts anew.
        let bytes = crossed(self)?.checked_sub(crossed(before)?)?;
        (!span.is_zero()).then(|| bytes_as_f64(bytes) / span.as_secs_f64())
    }
}

/// Beyond 2^53 bytes between two looks nobody reads the last digit.
#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn bytes_as_f64(bytes: u64) -> f64 {
    bytes as f64
}
