//! The steps between the boot spec and the services, each announced before it begins.

use super::device::{BlockDevice, describe, wait_for};
use super::mounts::{self, kernel_file};
use super::root::{InitramfsRoot, mount_root, switch_root};
use super::{EndCall, disks, files, grow, identity, name_files, network};
use crate::clock::uptime_ms;
use crate::connection::Connection;
use microagent_wire::frame::Frame;
use microagent_wire::generation::{GENERATION, GENERATION_MIN};
use microagent_wire::guest::boot_spec::{BootSpec, DiskMode};
use microagent_wire::guest::control::{BootStep, GuestMessage, Hello, InterfaceReport};
use std::io;
use std::time::Duration;

/// How long a disk may take to appear.
const DISK_LIMIT: Duration = Duration::from_secs(5);

/// What this guest init can do, by word.
const FEATURES: [&str; 6] = ["console", "exec", "files", "forward", "tar", "tty"];

/// What is known before the host has spoken.
#[derive(Debug)]
pub(crate) struct Beginning {
    pub(crate) end: EndCall,
    pub(crate) hello: Hello,
}

/// A boot that can't go on.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) step: BootStep,
    pub(crate) object: String,
    pub(crate) message: String,
    pub(crate) errno: Option<i32>,
}

impl Failure {
    pub(crate) fn new(step: BootStep, object: &str, error: &io::Error) -> Self {
        Self {
            step,
            object: object.to_owned(),
            message: error.to_string(),
            errno: error.raw_os_error(),
        }
    }

    /// The message for the host.
    pub(crate) fn message(&self) -> GuestMessage {
        GuestMessage::Failed {
            step: self.step,
            object: self.object.clone(),
            message: self.message.clone(),
            errno: self.errno,
        }
    }
}

/// What the steps found out.
#[derive(Debug, Default)]
pub(crate) struct Booted {
    pub(crate) grown_bytes: Option<u64>,
    pub(crate) interface: Option<InterfaceReport>,
    pub(crate) warnings: Vec<String>,
}

/// What is needed to say hello, and no more.
pub(crate) fn begin() -> io::Result<Beginning> {
    mounts::proc()?;
    let end = EndCall::from_command_line(&kernel_file("/proc/cmdline"));
    let kernel = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let hello = Hello {
        generation: GENERATION,
        min_generation: GENERATION_MIN,
        features: FEATURES.map(str::to_owned).to_vec(),
        init_version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel,
        guest_boot_id: kernel_file("/proc/sys/kernel/random/boot_id"),
        uptime_ms: uptime_ms(),
        resume: None,
    };
    Ok(Beginning { end, hello })
}

/// What can be done while the host answers.
pub(crate) fn prepare() -> io::Result<()> {
    mounts::devices()
}

/// What a process of the guest finds in place, and nothing before needs: randomness, terminals and
/// memory, its bounds, loopback and the guest's own names. What can't be had is a warning.
pub(crate) fn furnish(spec: &BootSpec) -> Vec<String> {
    let mut warnings = Vec::new();
    if identity::add_entropy(&spec.entropy).is_err() {
        warnings.push("the host's entropy was not credited".to_owned());
    }
    if !holds_foreign_files(spec)
        && let Err(error) = mounts::devices_of_processes()
    {
        warnings.push(format!("`/dev` or `/sys` is not complete: {error}"));
    }
    identity::set_bounds();
    warnings.extend(name_files::lay_over(
        spec.hostname.as_str(),
        spec.network.as_ref(),
    ));
    if let Err(error) = network::loopback() {
        warnings.push(format!("loopback is down: {error}"));
    }
    warnings
}

/// Whether disks or files come into the tree, which may go anywhere: then nothing may be mounted over
/// them later.
fn holds_foreign_files(spec: &BootSpec) -> bool {
    !spec.disks.is_empty() || spec.files.is_some()
}

/// Walks the steps up to the network. `initramfs` is set as soon as the root has been switched, so
/// that a later failure can still unmount it.
pub(crate) fn boot(
    connection: &mut Connection,
    spec: &BootSpec,
    initramfs: &mut Option<InitramfsRoot>,
) -> Result<Booted, Failure> {
    let mut booted = Booted::default();
    announce(connection, BootStep::MountRoot);
    let failed = |object: &str| {
        let object = object.to_owned();
        move |error: io::Error| Failure::new(BootStep::MountRoot, &object, &error)
    };
    identity::take_identity(spec.time_unix_us, spec.hostname.as_str()).map_err(failed("clock"))?;
    let device = root_disk(spec)?;
    mount_root(&device, spec.root.mode).map_err(failed(&device.node))?;
    *initramfs = Some(switch_root().map_err(failed("/"))?);
    mounts::run().map_err(failed("/run"))?;
    if holds_foreign_files(spec) {
        mounts::devices_of_processes().map_err(failed("/dev"))?;
    }
    if spec.root.grow && spec.root.mode == DiskMode::Rw {
        booted.grown_bytes = grow_root(connection, &device, &mut booted.warnings);
    }
    mount_disks(connection, spec)?;
    if let Some(files) = &spec.files {
        announce(connection, BootStep::Files);
        files::deliver(connection, files)?;
    }
    configure_network(connection, spec, &mut booted)?;
    Ok(booted)
}

/// Tells the host which step begins; it goes out with whatever comes next.
pub(crate) fn announce(connection: &mut Connection, step: BootStep) {
    let progress = GuestMessage::Progress {
        step,
        message: None,
    };
    connection.queue_frame(&Frame::control(&progress));
    connection.flush_some();
}

fn root_disk(spec: &BootSpec) -> Result<BlockDevice, Failure> {
    wait_for(&spec.root.device, DISK_LIMIT).ok_or_else(|| Failure {
        step: BootStep::MountRoot,
        object: describe(&spec.root.device),
        message: "the root disk did not appear within 5 s".to_owned(),
        errno: None,
    })
}

/// A root that does not grow is smaller than asked for and still a root.
fn grow_root(
    connection: &mut Connection,
    device: &BlockDevice,
    warnings: &mut Vec<String>,
) -> Option<u64> {
    announce(connection, BootStep::Grow);
    grow::grow(device, "/").unwrap_or_else(|error| {
        warnings.push(format!("the root file system did not grow: {error}"));
        None
    })
}

fn mount_disks(connection: &mut Connection, spec: &BootSpec) -> Result<(), Failure> {
    if spec.disks.is_empty() {
        return Ok(());
    }
    announce(connection, BootStep::MountDisks);
    spec.disks.iter().try_for_each(|disk| {
        disks::mount_disk(disk, DISK_LIMIT)
            .map_err(|error| Failure::new(BootStep::MountDisks, disk.mount.as_str(), &error))
    })
}

fn configure_network(
    connection: &mut Connection,
    spec: &BootSpec,
    booted: &mut Booted,
) -> Result<(), Failure> {
    announce(connection, BootStep::Network);
    let object = spec
        .network
        .as_ref()
        .and_then(|network| network.interface.as_deref());
    booted.interface = network::configure(spec.network.as_ref())
        .map_err(|error| Failure::new(BootStep::Network, object.unwrap_or("network"), &error))?;
    Ok(())
}
