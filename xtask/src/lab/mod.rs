//! `cargo xtask lab run -- COMMAND`: runs a command on a Linux host whose KVM works, anywhere.
//!
//! Firecracker needs a usable `/dev/kvm`, which a laptop's virtual machine or a CI job seldom has.
//! The lab is a full system under QEMU emulation with an emulated AMD processor, so `/dev/kvm` in it
//! is real and passes the product's own probe. It shows the outer file tree read-only under a
//! writable layer: what was built outside runs inside unchanged, and nothing of it is kept.
//!
//! ```text
//! outer: kernel, scratch disk, QEMU ──> lab/init: overlay, ports ──> COMMAND
//!        stdout, stderr  <── a port each ── its streams
//!        exit status     <── a port ─────── its status
//! ```
//!
//! It must not build what it runs, and no timing taken in it is ever a performance figure.

mod folder;
mod machine;
mod ports;
mod script;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::kernel::{self, Arch, Kernel};
use crate::places::Places;
use crate::shell::{self, Run};
use folder::LabFolder;
use script::Command;

/// Arguments of the chore.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Build the lab's kernel, or take it from the cache, and print its path
    Kernel,
    /// Run a command in the lab; its exit status is this program's
    Run(RunArguments),
}

#[derive(Args)]
struct RunArguments {
    /// End the lab when the command has not ended after so many seconds
    #[arg(long, default_value_t = 3600)]
    deadline: u64,
    /// Processors of the lab
    #[arg(long, default_value_t = 2)]
    cpus: u32,
    /// Memory of the lab in MiB
    #[arg(long, default_value_t = 4096)]
    memory: u32,
    /// Set a variable of the command's environment, as `NAME=VALUE`
    #[arg(long = "env", value_name = "NAME=VALUE")]
    environment: Vec<String>,
    /// The command and its arguments, run in the current folder
    #[arg(trailing_var_arg = true, required = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Runs the chore.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let places = Places::find()?;
    match &arguments.action {
        Action::Kernel => {
            println!("{}", kernel(&places)?.image.display());
            Ok(ExitCode::SUCCESS)
        }
        Action::Run(arguments) => run_command(&places, arguments),
    }
}

fn run_command(places: &Places, arguments: &RunArguments) -> Result<ExitCode> {
    let command = Command {
        words: arguments.command.clone(),
        folder: std::env::current_dir()?,
        environment: script::parse_environment(&arguments.environment)?,
    };
    let kernel = kernel(places)?;
    let folder = LabFolder::make(places, &command)?;
    let size = machine::Size {
        cpus: arguments.cpus,
        memory_mib: arguments.memory,
    };
    let status = machine::run(
        places,
        &kernel,
        &folder,
        size,
        Duration::from_secs(arguments.deadline),
    )?;
    folder.remove();
    Ok(ExitCode::from(status))
}

/// A run of this same chore, for chores that need what the command shows.
pub(crate) fn command(
    environment: &[(&str, &OsStr)],
    words: &[OsString],
    deadline: Duration,
) -> Run {
    let seconds = deadline.as_secs().to_string();
    // By this name it is the program that runs, also when a build has put another one in its place.
    let mut run = Run::new("/proc/self/exe").args(["lab", "run", "--deadline", &seconds]);
    for (name, value) in environment {
        run = run
            .arg("--env")
            .arg(format!("{name}={}", value.to_string_lossy()));
    }
    run.arg("--").args(words)
}

/// Why there can be no lab on this machine; none when there can.
pub(crate) fn obstacle() -> Option<String> {
    if std::env::consts::ARCH != "x86_64" {
        return Some("the lab exists for x86-64 only".to_owned());
    }
    (!shell::is_on_path(machine::QEMU)).then(|| format!("`{}` is not installed", machine::QEMU))
}

/// The lab's kernel, from the cache or built.
fn kernel(places: &Places) -> Result<Kernel> {
    let arch = Arch::Amd64;
    let own: PathBuf = places.root.join("lab/kernel");
    let guest = places.kernel_config();
    let fragments = [
        guest.join("base.config"),
        guest.join(arch.fragment()),
        own.join("host.config"),
    ];
    kernel::ensure_of(places, arch, &fragments, &own.join("required.toml"))
}
