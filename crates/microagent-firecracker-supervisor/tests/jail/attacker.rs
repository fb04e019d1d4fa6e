//! What someone tries who has taken over a VMM: each attempt by its system call, none by looking whether it
//! would work.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::fs::{FileType, Mode, makedev};
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::process::{Pid, Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, UnshareFlags};

use crate::place::{REPORT, TARGETS};

/// An attempt that went well.
pub(crate) const HAD: &str = "had";
/// The last words.
pub(crate) const DONE: &str = "all was tried";

/// Whether an attempt must go well where nothing confines.
#[derive(Clone, Copy)]
pub(crate) enum Outside {
    Open,
    OpenToRoot,
    /// It would change the host, or the attacker himself.
    NotTried,
}

/// One attempt.
pub(crate) struct Attempt {
    pub(crate) name: &'static str,
    pub(crate) outside: Outside,
    run: fn(&Targets) -> io::Result<()>,
}

const fn attempt(
    name: &'static str,
    outside: Outside,
    run: fn(&Targets) -> io::Result<()>,
) -> Attempt {
    Attempt { name, outside, run }
}

/// In the order in which they are tried; the last ones change the attacker.
pub(crate) const ATTEMPTS: &[Attempt] = &[
    attempt("read a file of the user", Outside::Open, |targets| {
        read(&targets.path("home").join("secret"))
    }),
    attempt("climb out to it", Outside::Open, |targets| {
        let absolute = targets.path("home").join("secret");
        let relative = absolute.strip_prefix("/").unwrap_or(&absolute);
        read(&Path::new("../../../../../../../../../../../..").join(relative))
    }),
    attempt("list the user's folder", Outside::Open, |targets| {
        std::fs::read_dir(targets.path("home")).map(drop)
    }),
    attempt("plant a file", Outside::Open, |targets| {
        std::fs::write(targets.path("home").join("planted"), "x")
    }),
    attempt("read the host's users", Outside::Open, |_| {
        read(Path::new("/etc/passwd"))
    }),
    attempt("change the kernel", Outside::Open, |targets| {
        let inside = Path::new("/vm/kernel");
        let kernel = targets.path("kernel");
        let path = if inside.exists() { inside } else { &kernel };
        OpenOptions::new().append(true).open(path)?.write_all(b"!")
    }),
    attempt("write beside the run folder", Outside::Open, |_| {
        std::fs::write("../beside", "x")?;
        std::fs::remove_file("../beside")
    }),
    attempt(
        "read the environment of a process",
        Outside::Open,
        |targets| read(Path::new(&format!("/proc/{}/environ", targets.0["pid"]))),
    ),
    attempt("list processes", Outside::Open, |_| {
        std::fs::read_dir("/proc/self").map(drop)
    }),
    attempt("read the kernel's settings", Outside::Open, |_| {
        std::fs::read_dir("/sys/kernel").map(drop)
    }),
    attempt("signal a process of the host", Outside::Open, |targets| {
        let pid = targets.0["pid"].parse().ok().and_then(Pid::from_raw);
        Ok(rustix::process::test_kill_process(pid.unwrap())?)
    }),
    attempt("connect to a port of the host", Outside::Open, |targets| {
        TcpStream::connect(&targets.0["tcp"]).map(drop)
    }),
    attempt("send a packet", Outside::Open, |targets| {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.send_to(b"x", &targets.0["udp"]).map(drop)
    }),
    attempt(
        "connect to a socket of the user",
        Outside::Open,
        |targets| UnixStream::connect(targets.path("home").join("socket")).map(drop),
    ),
    attempt("connect to an abstract socket", Outside::Open, |targets| {
        let address = SocketAddr::from_abstract_name(&targets.0["abstract"])?;
        UnixStream::connect_addr(&address).map(drop)
    }),
    attempt("connect to the monitor", Outside::Open, |_| {
        UnixStream::connect("monitor.sock").map(drop)
    }),
    attempt(
        "put another socket in the monitor's place",
        Outside::NotTried,
        |_| std::fs::remove_file("monitor.sock"),
    ),
    attempt("open more files than it may", Outside::Open, |_| {
        let limit = Rlimit {
            current: Some(2048),
            maximum: Some(2048),
        };
        Ok(rustix::process::setrlimit(Resource::Nofile, limit)?)
    }),
    attempt("make a device", Outside::OpenToRoot, |_| {
        let mode = Mode::from_raw_mode(0o600);
        let made = rustix::fs::mknodat(
            rustix::fs::CWD,
            "disk",
            FileType::BlockDevice,
            mode,
            makedev(7, 0),
        );
        let _ = std::fs::remove_file("disk");
        Ok(made?)
    }),
    attempt("take capabilities back", Outside::OpenToRoot, |_| {
        let wanted = CapabilitySet::SYS_ADMIN;
        let sets = CapabilitySets {
            effective: wanted,
            permitted: wanted,
            inheritable: wanted,
        };
        Ok(rustix::thread::set_capabilities(None, sets)?)
    }),
    attempt("mount something", Outside::NotTried, |_| mount_processes()),
    attempt("leave the root", Outside::NotTried, |_| {
        Ok(rustix::process::chroot(".")?)
    }),
    attempt("uncover the monitor's socket", Outside::NotTried, |_| {
        enter_namespaces();
        Ok(rustix::mount::unmount(
            "/run/monitor.sock",
            UnmountFlags::DETACH,
        )?)
    }),
    attempt("make the kernel writable", Outside::NotTried, |_| {
        enter_namespaces();
        let flags = MountFlags::BIND | MountFlags::NOSUID | MountFlags::NODEV;
        Ok(rustix::mount::mount_remount("/vm/kernel", flags, c"")?)
    }),
    attempt(
        "see processes through a mount of its own",
        Outside::NotTried,
        |_| {
            enter_namespaces();
            mount_processes()
        },
    ),
    attempt(
        "let go of the root and find another below",
        Outside::NotTried,
        |targets| {
            enter_namespaces();
            let _ = rustix::mount::unmount("/", UnmountFlags::DETACH);
            read(&targets.path("home").join("secret"))
        },
    ),
];

/// What is where.
pub(crate) struct Targets(BTreeMap<String, String>);

impl Targets {
    fn path(&self, key: &str) -> PathBuf {
        PathBuf::from(&self.0[key])
    }
}

/// Tries everything, in the run folder.
pub(crate) fn main() -> ExitCode {
    let text = std::fs::read_to_string(TARGETS).unwrap();
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    let targets = Targets(
        lines
            .map(|(key, value)| (key.into(), value.into()))
            .collect(),
    );
    let is_confined = Path::new("/vm").exists();
    // Opened while there is a way: the last attempts may take it.
    let mut file = File::create(REPORT).unwrap();
    let mut report = String::new();
    for attempt in ATTEMPTS {
        if !is_confined && matches!(attempt.outside, Outside::NotTried) {
            continue;
        }
        let found = match (attempt.run)(&targets) {
            Ok(()) => HAD.to_owned(),
            Err(error) => error.to_string(),
        };
        writeln!(report, "{}: {found}", attempt.name).unwrap();
    }
    file.write_all(report.as_bytes()).unwrap();
    eprintln!("{DONE}");
    ExitCode::SUCCESS
}

fn read(path: &Path) -> io::Result<()> {
    std::fs::read(path).map(drop)
}

fn mount_processes() -> io::Result<()> {
    let none = MountFlags::empty();
    Ok(rustix::mount::mount("proc", "/run", "proc", none, None)?)
}

/// Namespaces in which the attacker has every capability, where the kernel still gives him some.
#[allow(unsafe_code, reason = "the call is unsafe for another flag only")]
fn enter_namespaces() {
    let flags = UnshareFlags::NEWUSER | UnshareFlags::NEWNS;
    // SAFETY: the descriptor table, which other threads could rely on, is not unshared.
    let _ = unsafe { rustix::thread::unshare_unsafe(flags) };
}
