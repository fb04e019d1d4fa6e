//! `vhost-device-vsock`: the guest's vsock device, a program beside QEMU.
//!
//! QEMU connects to it while it starts, so it must listen before. It has no way to say that it does
//! but the socket itself, and a connection made to find out would be taken for QEMU's; so its
//! socket's name is looked for, at a short pause, for a bounded time. Name and listening are two
//! system calls in a row there, and QEMU has its own start between.

use std::path::Path;
use std::time::Duration;

use microagent_linux_host::launch::{Launch, LaunchError, Running};
use microagent_linux_host::vsock_unix::DEVICE_SOCKET;
use microagent_os::fs;
use microagent_supervisor::backend::RunFolder;

use crate::command_line::VHOST_SOCKET;
use crate::host::{Tools, VSOCK_DEVICE};

/// Until it listens.
const LISTEN_LIMIT: Duration = Duration::from_secs(5);
/// Between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(1);
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
    #[error("`{VSOCK_DEVICE}` did not listen within {} ms", LISTEN_LIMIT.as_millis())]
    Silent,
}

/// The program, started and not yet known to listen.
#[derive(Debug)]
pub(crate) struct Starting(Running);

/// Starts it.
pub(crate) fn start(
    tools: &Tools,
    program: &Path,
    run: &RunFolder,
) -> Result<Starting, VsockDeviceError> {
    // Names relative to the working folder: they are short, and no character in them means anything.
    let vm = format!("guest-cid={GUEST_CID},socket={VHOST_SOCKET},uds-path={DEVICE_SOCKET}");
    let launch = Launch {
        name: VSOCK_DEVICE,
        program: program.to_owned(),
        arguments: vec!["--vm".into(), vm.into()],
        working_folder: run.path.as_path().to_owned(),
        search_path: tools.search_path().to_owned(),
        descriptors: Vec::new(),
    };
    Ok(Starting(launch.start_helper()?))
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
            () = tokio::time::sleep(LISTEN_LIMIT) => Err(VsockDeviceError::Silent),
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
