//! A guest's program over the vsock device alone: the device's own socket, which nobody but a monitor
//! should dial. Here nothing is at stake.

use anyhow::{Result, ensure};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// A bench that hangs is a bench that failed.
const READ_LIMIT: Duration = Duration::from_mins(2);
const BOOT_LIMIT: Duration = Duration::from_mins(2);
const TRIES: usize = 20;
const RETRY_PAUSE: Duration = Duration::from_millis(5);
const PAUSE: Duration = Duration::from_millis(20);

/// Dials a port of the guest whose run folder this is. The device refuses some of many that come at once,
/// which is tried again as any user of it would have to.
pub(crate) fn dial(run: &Path, port: &str) -> Result<UnixStream> {
    let mut tries = 1;
    loop {
        match try_to_dial(run, port) {
            Err(_) if tries < TRIES => {
                tries += 1;
                std::thread::sleep(RETRY_PAUSE);
            }
            other => return other,
        }
    }
}

fn try_to_dial(run: &Path, port: &str) -> Result<UnixStream> {
    let mut stream = UnixStream::connect(run.join("vsock.sock"))?;
    stream.set_read_timeout(Some(READ_LIMIT))?;
    // The device takes a handshake that comes in one piece.
    stream.write_all(format!("CONNECT {port}\n").as_bytes())?;
    let mut byte = [0; 1];
    while byte != *b"\n" {
        stream.read_exact(&mut byte)?;
    }
    Ok(stream)
}

/// Waits until the guest's program has said on the console that it serves.
pub(crate) fn await_server(workspace: &Path) -> Result<()> {
    let began = Instant::now();
    let log = workspace.join("serial.log");
    while !std::fs::read_to_string(&log).is_ok_and(|text| text.contains("serving")) {
        ensure!(began.elapsed() < BOOT_LIMIT, "the guest does not serve");
        std::thread::sleep(PAUSE);
    }
    Ok(())
}
