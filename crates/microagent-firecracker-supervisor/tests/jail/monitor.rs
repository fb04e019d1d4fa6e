//! The monitor's part: the real backend prepares, confines and launches, and the program that it launches
//! is the attacker, who ends instead of taking calls.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use microagent_firecracker_supervisor::backend::FirecrackerBackend;
use microagent_supervisor::backend::{
    Backend, ConfinementDemand, ConfinementPart, Disk, DiskAccess, Durability, LaunchSpec,
    RunFolder,
};
use microagent_types::{AbsPath, Arch, ByteSize, VcpuCount};

use crate::{REFUSED, attacker};

const LIMIT: Duration = Duration::from_mins(1);

/// Exit status 0: the attacker was confined and came to his end, and this process lives.
pub(crate) fn main(folder: &Path) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let attack = async { tokio::time::timeout(LIMIT, attacked(folder)).await };
    let attacked = tokio::task::LocalSet::new().block_on(&runtime, attack);
    match attacked.unwrap() {
        None => ExitCode::from(u8::try_from(REFUSED).unwrap()),
        Some(said) if said.contains(attacker::DONE) => ExitCode::SUCCESS,
        Some(said) => {
            eprintln!("{said}");
            ExitCode::FAILURE
        }
    }
}

/// What the launch failed with; none where the host has no private root.
async fn attacked(folder: &Path) -> Option<String> {
    let mut preparation = FirecrackerBackend::from_environment().prepare(spec(folder));
    preparation.start_network().await.unwrap();
    let report = preparation.confine().await.unwrap();
    if !report.parts.contains(&ConfinementPart::PrivateRoot) {
        preparation.abandon().await;
        return None;
    }
    let Err(error) = preparation.launch().await else {
        panic!("an attacker takes no calls");
    };
    Some(error.to_string())
}

fn spec(folder: &Path) -> LaunchSpec {
    let path = |name: &str| AbsPath::try_from(folder.join(name).as_path()).unwrap();
    LaunchSpec {
        workspace: "scout".parse().unwrap(),
        workspace_id: "01956f10-7a3c-7b11-8c2e-5d0f3a9b6e21".parse().unwrap(),
        boot_id: "01956f12-0be1-7c40-9f3a-2f61d0a4c7b8".parse().unwrap(),
        arch: Arch::Amd64,
        cpus: VcpuCount::new(1).unwrap(),
        memory: ByteSize::from_mib(256),
        kernel: path("kernel"),
        initramfs: path("initramfs"),
        command_line: "quiet".to_owned(),
        root_disk: Disk {
            name: "root".to_owned(),
            path: path("disk"),
            access: DiskAccess::ReadWrite,
            base: None,
            durability: Durability::Kept,
        },
        disks: Vec::new(),
        run: RunFolder {
            path: path("run"),
            socket_prefix: path("run"),
        },
        nic: None,
        confinement: ConfinementDemand::Auto,
        own_pid_namespace: true,
        engine_record: path("engine.json"),
    }
}
