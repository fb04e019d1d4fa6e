//! `vhost-device-vsock`: the guest's vsock device, a program beside QEMU.
//!
//! QEMU connects to it while it starts, so it must listen before. It has no way to say that it does
//! but the socket itself, and a connection made to find out would be taken for QEMU's; so its
//! socket's name is looked for, at a short pause, for a bounded time. Name and listening are two
//! system calls in a row there, and QEMU has its own start between.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use microagent_linux_host::confine::child::{ChildKind, ConfinedChild, ConfinedChildError};
use microagent_linux_host::confine::jail::{self, OWN_EXECUTABLE};
use microagent_linux_host::confine::message::Become;
use microagent_linux_host::control_group::ControlGroup;
use microagent_linux_host::launch::{Launch, LaunchError, Running};
use microagent_linux_host::vsock_unix::DEVICE_SOCKET;
use microagent_os::{fs, host_pace};
use microagent_supervisor::backend::{ConfinementDemand, ConfinementPart, LaunchSpec, RunFolder};

use crate::command_line::VHOST_SOCKET;
use crate::confinement;
use crate::host::{Tools, VSOCK_DEVICE};

/// Until it listens.
const LISTEN_LIMIT: Duration = Duration::from_secs(5);
/// Between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(1);
/// The guest may have this much under way to the device, so no packet is larger. The device (0.3.0)
/// loses every packet that lies in more than one piece of memory, and Linux takes several beyond 32 KB
/// (6.17, 6.12 stable); up to 16 KiB it never does. A power of two: the device's ring needs it.
const TX_BUFFER_BYTES: u32 = 16 << 10;
/// The guest's address. The device has no other guest, so it can't clash.
const GUEST_CID: u32 = 3;

/// Why there is no vsock.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VsockDeviceError {
    /// It did not start.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// It ended.
    #[error("`{VSOCK_DEVICE}` ended at once: {}", last_lines.join("; "))]
    Ended {
        /// What it said.
        last_lines: Vec<String>,
    },
    /// It does not listen.
    #[error("`{VSOCK_DEVICE}` did not listen within {} ms", host_pace::limit(LISTEN_LIMIT).as_millis())]
    Silent,
}

/// The program, started and not yet known to listen.
#[derive(Debug)]
pub(crate) struct Starting(Running);

/// Starts it, in a root of its own where that can be had.
pub(crate) async fn start(
    tools: &Tools,
    program: &Path,
    spec: &LaunchSpec,
    group: Option<&ControlGroup>,
) -> Result<Starting, VsockDeviceError> {
    if spec.confinement != ConfinementDemand::Off {
        match start_confined(tools, program, spec, group).await {
            Ok(running) => return Ok(Starting(running)),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "`{VSOCK_DEVICE}` runs without confinement"
            ),
        }
    }
    let mut launch = launch(tools, program, spec);
    launch.arguments = arguments();
    Ok(Starting(launch.start_helper()?))
}

async fn start_confined(
    tools: &Tools,
    program: &Path,
    spec: &LaunchSpec,
    group: Option<&ControlGroup>,
) -> Result<Running, ConfinedChildError> {
    let mut launch = launch(tools, program, spec);
    launch.program = OWN_EXECUTABLE.into();
    let setup = confinement::vsock_device_setup(spec, program);
    let (child, _, report) = ConfinedChild::start(launch, ChildKind::Helper, &setup, group).await?;
    let working_folder = if report.holds.contains(&ConfinementPart::PrivateRoot) {
        jail::working_folder_inside()
    } else {
        spec.run.path.as_path().to_owned()
    };
    let target = Become {
        program: program.to_owned(),
        working_folder,
        descriptors: Vec::new(),
        arguments: arguments(),
    };
    child.turn_into(&target).await
}

fn launch(tools: &Tools, program: &Path, spec: &LaunchSpec) -> Launch {
    Launch {
        name: VSOCK_DEVICE,
        program: program.to_owned(),
        arguments: Vec::new(),
        working_folder: spec.run.path.as_path().to_owned(),
        search_path: tools.search_path().to_owned(),
        descriptors: Vec::new(),
    }
}

fn arguments() -> Vec<OsString> {
    // Names relative to the working folder: they are short, and no character in them means anything.
    let vm = format!(
        "guest-cid={GUEST_CID},socket={VHOST_SOCKET},uds-path={DEVICE_SOCKET},\
         tx-buffer-size={TX_BUFFER_BYTES}"
    );
    vec!["--vm".into(), vm.into()]
}

impl Starting {
    /// Waits until QEMU can connect. On failure it is ended.
    pub(crate) async fn listening(self, run: &RunFolder) -> Result<Running, VsockDeviceError> {
        let socket = run.path.as_path().join(VHOST_SOCKET);
        let listens = async {
            while !fs::is_present(&socket) {
                tokio::time::sleep(LOOK_PAUSE).await;
            }
        };
        let outcome = tokio::select! {
            () = listens => Ok(()),
            _ = self.0.process.ended() => Err(VsockDeviceError::Ended {
                last_lines: self.0.last_lines.at_the_end().await,
            }),
            () = tokio::time::sleep(host_pace::limit(LISTEN_LIMIT)) => Err(VsockDeviceError::Silent),
        };
        match outcome {
            Ok(()) => Ok(self.0),
            Err(error) => {
                self.end().await;
                Err(error)
            }
        }
    }

    /// Ends it.
    pub(crate) async fn end(&self) {
        self.0.process.end().await;
    }
}
