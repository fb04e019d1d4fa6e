//! Programs that are missing, fail or lie, played by small scripts.
#![allow(
    clippy::disallowed_methods,
    reason = "tests make the programs that the backend starts"
)]

use super::*;
use crate::command_line::sample::{path, spec};
use microagent_supervisor::backend::{GuestNic, NetworkMode, RunFolder};
use microagent_types::Arch;
use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

const TEST_LIMIT: Duration = Duration::from_secs(20);
/// A vsock device that looks as if it listened, and stays.
const DEVICE: &str = ": > vhost.sock; exec sleep 600";

struct Host {
    folder: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("run")).unwrap();
        Self { folder }
    }

    fn program(self, name: &str, script: &str) -> Self {
        let program = self.folder.path().join(name);
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    fn run_folder(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    fn preparation(&self, nic: bool) -> Box<dyn Preparation> {
        let run = path(self.run_folder().to_str().unwrap());
        let mut spec = spec(Arch::Amd64);
        // The child that confines itself is the supervisor's executable, which a test is not.
        spec.confinement = ConfinementDemand::Off;
        spec.run = RunFolder {
            path: run.clone(),
            socket_prefix: run,
        };
        spec.nic = nic.then_some(GuestNic {
            mode: NetworkMode::Nat,
            mac: [2, 0, 0, 0, 0, 1],
            addresses: GuestAddresses::Dhcp,
            name_servers: Vec::new(),
            openings: Vec::new(),
        });
        let tools = Tools::in_folder(self.folder.path());
        Box::new(QemuPreparation::new(Rc::new(tools), spec))
    }

    /// Everything up to the launch, and the failure of it.
    async fn failure(&self) -> BackendError {
        let mut preparation = self.preparation(false);
        preparation.start_network().await.unwrap();
        preparation.confine().await.unwrap();
        match preparation.launch().await {
            Err(error) => error,
            Ok(_) => panic!("it was launched"),
        }
    }
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
fn a_qemu_that_refuses_says_why_and_its_helper_is_ended() {
    in_loop(async {
        let host = Host::new()
            .program("vhost-device-vsock", DEVICE)
            .program("qemu", "echo 'qemu: could not load kernel' >&2; exit 1");
        let error = host.failure().await;
        assert_eq!(error.kind, BackendErrorKind::Failed);
        assert_eq!(
            error.to_string(),
            "QEMU ended while it was starting: qemu: could not load kernel"
        );
        assert!(children().is_empty(), "nothing stays behind");
    });
}

#[test]
fn a_qemu_that_is_too_old_is_unsupported_and_ended() {
    in_loop(async {
        // It has its control socket under the number 3.
        let greeting = r#"{"QMP":{"version":{"qemu":{"major":7,"minor":1,"micro":0}}}}"#;
        let qemu = format!(
            "echo '{greeting}' >&3; read line <&3; echo '{{\"return\":{{}},\"id\":1}}' >&3; \
             exec sleep 600"
        );
        let host = Host::new()
            .program("vhost-device-vsock", DEVICE)
            .program("qemu", &qemu);
        let error = host.failure().await;
        assert_eq!(error.kind, BackendErrorKind::Unsupported);
        assert_eq!(
            error.to_string(),
            "QEMU 7.1.0 is too old; 7.2.0 is the oldest that works"
        );
        assert!(children().is_empty(), "nothing stays behind");
    });
}

#[test]
fn a_vsock_device_that_ends_at_once_says_why() {
    in_loop(async {
        let host = Host::new()
            .program("vhost-device-vsock", "echo 'no such option' >&2; exit 2")
            .program("qemu", "exec sleep 600");
        let error = host.failure().await;
        assert_eq!(error.component, VSOCK_DEVICE);
        assert_eq!(
            error.to_string(),
            "`vhost-device-vsock` ended at once: no such option"
        );
    });
}

#[test]
fn a_missing_program_is_named_with_a_hint() {
    in_loop(async {
        let host = Host::new();
        let mut preparation = host.preparation(false);
        let error = preparation.start_network().await.unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Unsupported);
        assert_eq!(error.component, VSOCK_DEVICE);
        assert!(error.hint.is_some());
    });
}

#[test]
fn what_was_started_is_ended_when_the_boot_is_abandoned() {
    in_loop(async {
        let passt = "[ \"$1\" = --help ] || exec sleep 600";
        let host = Host::new()
            .program("vhost-device-vsock", DEVICE)
            .program("passt", passt);
        let mut preparation = host.preparation(true);
        let listener = preparation.listen(VsockPort::CONTROL).unwrap();
        preparation.start_network().await.unwrap();
        assert_eq!(children().len(), 2);
        preparation.abandon().await;
        assert!(children().is_empty(), "nothing stays behind");
        drop(listener);
        assert!(!host.run_folder().join("vsock.sock_1024").exists());
    });
}

/// Pids of this thread's children.
fn children() -> Vec<String> {
    let list = std::fs::read_to_string("/proc/thread-self/children").unwrap();
    list.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn two_listeners_on_one_port_are_a_conflict() {
    in_loop(async {
        let host = Host::new();
        let mut preparation = host.preparation(false);
        let _listener = preparation.listen(VsockPort::CONTROL).unwrap();
        let error = preparation.listen(VsockPort::CONTROL).err().unwrap();
        assert_eq!(error.kind, BackendErrorKind::Conflict);
    });
}

#[test]
fn a_qemu_that_the_user_named_wrongly_is_not_looked_for() {
    in_loop(async {
        let host = Host::new().program("vhost-device-vsock", DEVICE);
        let error = host.failure().await;
        assert_eq!(error.kind, BackendErrorKind::Unsupported);
        let hint = error.hint.unwrap();
        assert!(hint.starts_with("correct `MICROAGENT_QEMU`"), "{hint}");
        assert!(children().is_empty(), "nothing stays behind");
    });
}
