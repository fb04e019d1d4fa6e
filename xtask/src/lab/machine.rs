//! The lab's QEMU: its arguments, its life and its end.
//!
//! The lab has no way to hang this chore: it is ended when the command's status has come, when it
//! ends by itself, or at the deadline.

use std::ffi::OsString;
use std::io;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::folder::LabFolder;
use super::ports;
use crate::kernel::Kernel;
use crate::places::Places;

/// The emulator.
pub(crate) const QEMU: &str = "qemu-system-x86_64";
/// Between two looks at the lab.
const LOOK_PAUSE: Duration = Duration::from_millis(20);
/// Lines of the serial log that are shown when the lab fails.
const SHOWN_LINES: usize = 30;
/// The ports, in the order of their numbers in the lab.
const PORTS: [&str; 3] = ["stdout", "stderr", "status"];

/// How big the lab is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Processors.
    pub(crate) cpus: u32,
    /// Memory.
    pub(crate) memory_mib: u32,
}

/// Boots the lab and gives the command's exit status.
pub(crate) fn run(
    places: &Places,
    kernel: &Kernel,
    folder: &LabFolder,
    size: Size,
    deadline: Duration,
) -> Result<u8> {
    let stdout = ports::copy(&folder.socket("stdout"), io::stdout())?;
    let stderr = ports::copy(&folder.socket("stderr"), io::stderr())?;
    let status = ports::status(&folder.socket("status"))?;
    let mut qemu = Qemu(
        Command::new(QEMU)
            .args(arguments(places, kernel, folder, size))
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start `{QEMU}`"))?,
    );
    let started = Instant::now();
    let outcome = loop {
        if status.is_finished() {
            break Ok(());
        }
        if let Some(ended) = qemu.0.try_wait().context("cannot watch the lab")? {
            break Err(format!("the lab ended without a status ({ended})"));
        }
        if started.elapsed() > deadline {
            let seconds = deadline.as_secs();
            break Err(format!("the lab was not done after {seconds} s"));
        }
        std::thread::sleep(LOOK_PAUSE);
    };
    // What it wrote is on this side of the sockets by now, and its end ends them.
    drop(qemu);
    if let Err(reason) = outcome {
        bail!("{reason}; {}", last_words(folder));
    }
    stdout.finish()?;
    stderr.finish()?;
    match status.finish()? {
        Some(status) => Ok(status),
        None => bail!("the lab ended without a status; {}", last_words(folder)),
    }
}

fn last_words(folder: &LabFolder) -> String {
    let log = std::fs::read(&folder.serial_log).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = log.lines().collect();
    let last = lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n");
    let path = folder.serial_log.display();
    format!("its serial log is `{path}`, which ends:\n{last}")
}

/// QEMU, ended when it is dropped.
struct Qemu(Child);

impl Drop for Qemu {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn arguments(places: &Places, kernel: &Kernel, folder: &LabFolder, size: Size) -> Vec<OsString> {
    let mut words: Vec<OsString> = Vec::new();
    let mut option = |name: &str, value: OsString| words.extend([name.into(), value]);
    option("-M", "q35".into());
    option("-accel", "tcg,thread=multi".into());
    // An AMD processor whose virtualization is emulated, nested paging included.
    option("-cpu", "max,+svm,+npt".into());
    option("-smp", size.cpus.to_string().into());
    option("-m", format!("{}M", size.memory_mib).into());
    option("-display", "none".into());
    option("-kernel", kernel.image.clone().into());
    option("-append", command_line(places, folder).into());
    let log = value(&folder.serial_log);
    option("-serial", format!("file:{log}").into());
    option("-object", "rng-random,id=rng,filename=/dev/urandom".into());
    option("-device", "virtio-rng-pci,rng=rng".into());
    option(
        "-virtfs",
        "local,path=/,mount_tag=outer,security_model=none,readonly=on,multidevs=remap".into(),
    );
    let disk = value(&folder.scratch_disk());
    option(
        "-drive",
        // It is thrown away, so nothing on it has to survive a power cut.
        format!("file={disk},format=raw,if=virtio,cache=unsafe,discard=unmap").into(),
    );
    // Not 10.0.2.0/24: that is what guests inside have.
    option(
        "-nic",
        "user,model=virtio-net-pci,net=10.9.0.0/24,host=10.9.0.2,dns=10.9.0.3".into(),
    );
    option("-device", "virtio-serial-pci".into());
    for port in PORTS {
        let socket = value(&folder.socket(port));
        option("-chardev", format!("socket,id={port},path={socket}").into());
        option(
            "-device",
            format!("virtserialport,chardev={port},name={port}").into(),
        );
    }
    words.extend(["-nodefaults".into(), "-no-reboot".into()]);
    words
}

/// The kernel mounts the outer tree and starts `lab/init` from it: nothing has to be packed.
fn command_line(places: &Places, folder: &LabFolder) -> String {
    let init = places.root.join("lab/init");
    [
        "console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off",
        // The emulated time stamp counter is the outer one, and on a busy machine the kernel measures its pace
        // wrongly: time in the lab would run several times too fast, and every deadline with it.
        "tsc=unstable clocksource=hpet",
        // On a busy machine the check of the timer at boot fails, though the timer works.
        "no_timer_check",
        "root=outer rootfstype=9p rootflags=trans=virtio,version=9p2000.L,cache=loose,msize=524288",
        "ro ip=10.9.0.15::10.9.0.2:255.255.255.0:lab:eth0:off",
        &format!("init={}", init.display()),
        &format!("lab.folder={}", folder.path().display()),
        &format!("lab.scratch={}", folder.file_system),
    ]
    .join(" ")
}

/// A path inside a list of options, where a comma would end it.
fn value(path: &std::path::Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}
