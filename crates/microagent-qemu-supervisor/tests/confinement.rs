//! A process in the VMM's place, made by the real executable: what it can't see, reach or become.
#![cfg(target_os = "linux")]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test looks at the host with its own eyes"
)]

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use microagent_linux_host::confine::child::{ChildKind, ConfinedChild, ConfinedStart};
use microagent_linux_host::confine::message::{Become, Setup};
use microagent_linux_host::confine::observe::system_folders;
use microagent_linux_host::confine::tree::{Tree, VmFile};
use microagent_linux_host::launch::Launch;
use microagent_os::process::{Exit, Signal};
use microagent_supervisor::backend::ConfinementPart;
use tokio::io::AsyncReadExt;

const EXECUTABLE: &str = env!("CARGO_BIN_EXE_microagent-qemu-supervisor");
const TEST_LIMIT: Duration = Duration::from_secs(30);

struct Host {
    folder: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["run", "run/jail"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        for name in [
            "disk",
            "secret",
            "kernel",
            "run/monitor.sock",
            "run/vhost.sock",
        ] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        Self { folder }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn setup(&self) -> Setup {
        let file = |name: &str, writable| VmFile {
            source: self.at(name),
            name: name.to_owned(),
            writable,
        };
        let tree = Tree {
            system: system_folders(&[Path::new("/bin/sh")]),
            files: vec![file("kernel", false), file("disk", true)],
            run_folder: self.at("run"),
            masked: vec!["monitor.sock".to_owned()],
            devices: vec!["/dev/null".into()],
        };
        Setup {
            mount_point: self.at("run/jail"),
            entries: tree.entries(),
            tap: false,
        }
    }

    async fn start(&self) -> ConfinedStart {
        let launch = Launch {
            name: "vmm",
            program: EXECUTABLE.into(),
            arguments: Vec::new(),
            working_folder: self.at("run"),
            search_path: "/usr/bin:/bin".to_owned(),
            descriptors: Vec::new(),
        };
        ConfinedChild::start(launch, ChildKind::Vmm, &self.setup(), None)
            .await
            .unwrap()
    }
}

fn shell(script: &str) -> Become {
    Become {
        program: "/bin/sh".into(),
        working_folder: "/run".into(),
        descriptors: Vec::new(),
        arguments: vec!["-c".into(), script.into()],
    }
}

/// Nothing to test on a host that refuses; that it says so is tested.
fn refused(start: &ConfinedStart) -> bool {
    let report = &start.2;
    let missing = report.missing.iter();
    for (part, reason) in missing.clone() {
        eprintln!("this host has no `{}`: {reason}", part.as_str());
        assert!(!reason.is_empty());
    }
    let private_root = ConfinementPart::PrivateRoot;
    assert_ne!(
        report.holds.contains(&private_root),
        missing.clone().any(|(part, _)| *part == private_root)
    );
    !report.holds.contains(&private_root)
}

fn in_loop(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(TEST_LIMIT, test).await.unwrap();
    });
}

#[test]
fn it_sees_its_own_files_and_nothing_of_the_host() {
    in_loop(async {
        let host = Host::new();
        let start = host.start().await;
        if refused(&start) {
            return;
        }
        let secret = host.at("secret");
        let script = format!(
            "cd /; echo *; echo vm/* dev/*; cd /run; echo *; [ -s monitor.sock ] || echo masked; \
             read word < /vm/kernel; echo $word; echo changed > /vm/disk; \
             (echo x > /vm/kernel) 2>/dev/null || echo kernel kept; \
             (echo x > /file) 2>/dev/null || echo root closed; \
             [ -e '{}' ] || echo no secret; ls -d /proc/1 2>/dev/null || echo no processes",
            secret.display()
        );
        let (child, console, _) = start;
        let running = child.turn_into(&shell(&script)).await.unwrap();
        let mut said = String::new();
        let mut output = console.unwrap().output;
        output.read_to_string(&mut said).await.unwrap();
        running.process.ended().await.unwrap();
        let mut lines = said.lines();
        let root = lines.next().unwrap();
        for name in root.split(' ') {
            let expected = [
                "bin", "dev", "empty", "etc", "lib", "lib32", "lib64", "nix", "run", "sbin", "usr",
                "vm",
            ];
            assert!(expected.contains(&name), "`{name}` is in the root: {root}");
        }
        let rest: Vec<&str> = lines.collect();
        assert_eq!(
            rest,
            [
                "vm/disk vm/kernel dev/null",
                "jail monitor.sock vhost.sock",
                "masked",
                "kernel",
                "kernel kept",
                "root closed",
                "no secret",
                "no processes",
            ]
        );
        assert_eq!(std::fs::read(host.at("disk")).unwrap(), b"changed\n");
        assert_eq!(std::fs::read(host.at("kernel")).unwrap(), b"kernel");
        let jail = std::fs::read_dir(host.at("run/jail")).unwrap();
        assert_eq!(jail.count(), 0, "the host sees an empty folder");
    });
}

#[test]
fn it_has_namespaces_of_its_own_and_no_right_left() {
    in_loop(async {
        let host = Host::new();
        let start = host.start().await;
        if refused(&start) {
            return;
        }
        let holds = start.2.holds.clone();
        let running = start.0.turn_into(&shell("read wait")).await.unwrap();
        let pid = running.process.identity().pid();
        let namespace = |process: &str, name: &str| {
            std::fs::read_link(format!("/proc/{process}/ns/{name}")).unwrap()
        };
        for (part, name) in [
            (ConfinementPart::UserNamespace, "user"),
            (ConfinementPart::MountNamespace, "mnt"),
            (ConfinementPart::IpcNamespace, "ipc"),
            (ConfinementPart::NetworkNamespace, "net"),
        ] {
            let own = namespace(&pid.to_string(), name) != namespace("self", name);
            assert_eq!(own, holds.contains(&part), "{name}");
        }
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let none = "0000000000000000";
        for (key, value) in [
            ("CapPrm", none),
            ("CapEff", none),
            ("CapBnd", none),
            ("CapAmb", none),
            ("NoNewPrivs", "1"),
        ] {
            assert!(
                status.contains(&format!("{key}:\t{value}\n")),
                "{key}: {status}"
            );
        }
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core"));
        let words: Vec<&str> = core.unwrap().split_whitespace().collect();
        assert_eq!(words[4..6], ["0", "0"]);
        running.process.signal(Signal::Kill).unwrap();
        assert_eq!(running.process.ended().await.unwrap(), Exit::Signal(9));
    });
}

#[test]
fn a_program_that_is_not_in_its_root_is_named_and_nothing_stays() {
    in_loop(async {
        let host = Host::new();
        let start = host.start().await;
        if refused(&start) {
            return;
        }
        let mut target = shell("");
        target.program = host.at("secret");
        let process = start.0.turn_into(&target).await.unwrap();
        // The socket closes with the end as it does with the exec; the end is seen at once.
        assert_eq!(process.process.ended().await.unwrap(), Exit::Code(1));
        let said = process.last_lines.at_the_end().await.join("\n");
        assert!(said.contains("secret"), "{said}");
    });
}

#[test]
fn the_mode_is_nothing_without_the_monitors_socket() {
    use microagent_os::process::{Conversation, Spawn};
    let conversation = Conversation {
        limit: Duration::from_secs(10),
        stdout_bytes_max: 4096,
        stderr_bytes_max: 4096,
    };
    let spawn = Spawn::new(EXECUTABLE).argument("confined-exec");
    let reply = conversation.hold(spawn, Vec::new()).unwrap();
    assert_eq!(reply.exit, Exit::Code(2));
    assert_eq!(
        String::from_utf8(reply.stderr).unwrap(),
        "`confined-exec` is an internal mode and needs the descriptors that it inherits\n"
    );
}
