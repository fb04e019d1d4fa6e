//! Starts of programs that are no Firecracker: missing, refusing, dying and talking nonsense.
#![allow(
    clippy::disallowed_methods,
    reason = "tests make the programs that are started"
)]

use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::*;
use crate::sample::{path, spec};
use microagent_supervisor::backend::{GuestNic, NetworkMode, RunFolder};

const TEST_LIMIT: Duration = Duration::from_secs(20);

pub(super) struct Host {
    folder: tempfile::TempDir,
}

impl Host {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("run")).unwrap();
        Self { folder }
    }

    pub(super) fn firecracker(self, script: &str) -> Self {
        self.program(FIRECRACKER, script)
    }

    fn program(self, name: &str, script: &str) -> Self {
        let program = self.folder.path().join(name);
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    pub(super) fn run_folder(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    pub(super) fn preparation(&self) -> Box<dyn Preparation> {
        self.preparation_with(None)
    }

    fn preparation_with(&self, nic: Option<GuestNic>) -> Box<dyn Preparation> {
        let run = path(self.run_folder().to_str().unwrap());
        let mut spec = spec();
        // The child that confines itself is the supervisor's executable, which a test is not.
        spec.confinement = ConfinementDemand::Off;
        spec.run = RunFolder {
            path: run.clone(),
            socket_prefix: run,
        };
        spec.nic = nic;
        let tools = Tools::in_folder(self.folder.path());
        Box::new(FirecrackerPreparation::new(Rc::new(tools), spec))
    }

    /// Everything up to the launch, and the failure of it.
    pub(super) async fn failure(&self) -> BackendError {
        let mut preparation = self.preparation();
        preparation.start_network().await.unwrap();
        preparation.confine().await.unwrap();
        match preparation.launch().await {
            Err(error) => error,
            Ok(_) => panic!("it was launched"),
        }
    }
}

pub(super) fn in_loop(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(TEST_LIMIT, test).await.unwrap();
    });
}

/// Pids of this thread's children.
pub(super) fn children() -> Vec<String> {
    let list = std::fs::read_to_string("/proc/thread-self/children").unwrap();
    list.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn one_that_refuses_says_why() {
    in_loop(async {
        let host = Host::new().firecracker("echo 'no such option' >&2; exit 2");
        let error = host.failure().await;
        assert_eq!(error.kind, BackendErrorKind::Failed);
        assert_eq!(
            error.to_string(),
            "Firecracker ended while it was starting: no such option"
        );
        assert!(children().is_empty(), "nothing stays behind");
    });
}

#[test]
fn what_it_writes_into_its_log_is_among_its_last_words() {
    in_loop(async {
        let host = Host::new().firecracker("echo 'KVM says no' > vmm.log; sleep 0.3; exit 1");
        let error = host.failure().await;
        assert_eq!(
            error.to_string(),
            "Firecracker ended while it was starting: KVM says no"
        );
    });
}

#[test]
fn one_without_an_api_is_given_up_and_ended() {
    in_loop(async {
        let host = Host::new().firecracker("exec sleep 600");
        let error = host.failure().await;
        assert_eq!(error.kind, BackendErrorKind::Timeout);
        assert!(children().is_empty(), "nothing stays behind");
    });
}

#[test]
fn one_that_is_missing_is_named_with_a_hint() {
    in_loop(async {
        let error = Host::new().failure().await;
        assert_eq!(error.kind, BackendErrorKind::Unsupported);
        assert!(error.hint.is_some());
    });
}

#[test]
fn an_abandoned_boot_leaves_no_socket_and_no_pipe() {
    in_loop(async {
        let host = Host::new();
        let mut preparation = host.preparation();
        let listener = preparation.listen(VsockPort::CONTROL).unwrap();
        preparation.confine().await.unwrap();
        preparation.abandon().await;
        drop(listener);
        assert_eq!(std::fs::read_dir(host.run_folder()).unwrap().count(), 0);
    });
}

#[test]
fn a_nic_without_a_network_of_its_own_is_refused_and_the_engine_ended() {
    in_loop(async {
        let passt = "[ \"$1\" = --help ] || exec sleep 600";
        let host = Host::new().program(PASST, passt);
        let mut preparation = host.preparation_with(Some(GuestNic {
            mode: NetworkMode::Nat,
            mac: [2, 0, 0, 0, 0, 1],
            addresses: GuestAddresses::Dhcp,
            name_servers: Vec::new(),
            openings: Vec::new(),
        }));
        preparation.start_network().await.unwrap();
        assert_eq!(children().len(), 1);
        let error = preparation.confine().await.unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Unsupported);
        assert_eq!(
            error.to_string(),
            "the network mode `nat` needs a network namespace for the VMM: it was not set up"
        );
        preparation.abandon().await;
        assert!(children().is_empty(), "nothing stays behind");
    });
}

#[test]
fn two_listeners_on_one_port_are_a_conflict() {
    in_loop(async {
        let host = Host::new();
        let mut preparation = host.preparation();
        let _listener = preparation.listen(VsockPort::CONTROL).unwrap();
        let error = preparation.listen(VsockPort::CONTROL).err().unwrap();
        assert_eq!(error.kind, BackendErrorKind::Conflict);
    });
}
