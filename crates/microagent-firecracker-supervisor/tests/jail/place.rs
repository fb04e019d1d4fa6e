//! What there is to be had on the host: files, sockets and a process, all named to the attacker in a file
//! of the run folder, which he may read.

use std::collections::BTreeMap;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The names of places, in the run folder.
pub(crate) const TARGETS: &str = "targets";
/// What the attacker found, in the run folder.
pub(crate) const REPORT: &str = "report";
const SECRET: &[u8] = b"a key of the user's\n";
const KERNEL: &[u8] = b"a kernel\n";

/// A host with something to lose.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    _listeners: (TcpListener, UdpSocket, [UnixListener; 3]),
}

impl Place {
    /// Makes it.
    pub(crate) fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["run", "home", "bin"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        std::fs::write(at("home/secret"), SECRET).unwrap();
        std::fs::write(at("kernel"), KERNEL).unwrap();
        for name in ["initramfs", "disk"] {
            std::fs::write(at(name), name).unwrap();
        }
        // A dynamic program, as this is, also sees the host's programs and libraries.
        std::fs::copy(std::env::current_exe().unwrap(), at("bin/firecracker")).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let abstract_name = format!("microagent-jail-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        let unix = [
            UnixListener::bind(at("home/socket")).unwrap(),
            // The monitor's, which Firecracker's root covers.
            UnixListener::bind(at("run/monitor.sock")).unwrap(),
            UnixListener::bind_addr(&address).unwrap(),
        ];
        let targets = [
            ("home", at("home").display().to_string()),
            ("kernel", at("kernel").display().to_string()),
            ("tcp", tcp.local_addr().unwrap().to_string()),
            ("udp", udp.local_addr().unwrap().to_string()),
            ("abstract", abstract_name),
            ("pid", std::process::id().to_string()),
        ];
        let lines = targets.map(|(key, value)| format!("{key} {value}\n"));
        std::fs::write(at("run/targets"), lines.concat()).unwrap();
        Self {
            folder,
            _listeners: (tcp, udp, unix),
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The attacker, under Firecracker's name.
    pub(crate) fn program(&self) -> PathBuf {
        self.folder().join("bin/firecracker")
    }

    /// What he gets when nothing confines him: what is out of reach anyhow would prove nothing.
    pub(crate) fn attacked_from_outside(&self) -> BTreeMap<String, String> {
        let mut attack = Command::new(self.program());
        let status = attack.current_dir(self.folder().join("run")).status();
        assert!(status.unwrap().success());
        let found = self.take_report();
        assert!(
            !self.is_untouched(),
            "from outside everything can be changed"
        );
        std::fs::write(self.folder().join("kernel"), KERNEL).unwrap();
        std::fs::remove_file(self.folder().join("home/planted")).unwrap();
        found
    }

    /// What was found, by the names of the attempts.
    pub(crate) fn take_report(&self) -> BTreeMap<String, String> {
        let path = self.folder().join("run").join(REPORT);
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let _ = std::fs::remove_file(&path);
        let lines = text.lines().filter_map(|line| line.split_once(": "));
        lines
            .map(|(name, found)| (name.to_owned(), found.to_owned()))
            .collect()
    }

    /// Whether the user's files are as they were.
    pub(crate) fn is_untouched(&self) -> bool {
        let read = |name: &str| std::fs::read(self.folder().join(name)).unwrap();
        read("home/secret") == SECRET
            && read("kernel") == KERNEL
            && !self.folder().join("home/planted").exists()
    }
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
