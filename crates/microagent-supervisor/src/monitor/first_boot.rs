//! Files of the first boot: tars of the host that follow the boot spec as data frames, and go when the
//! guest has confirmed them.

use super::boot::BootPlan;
use super::control::ControlSender;
use microagent_os::fs;
use microagent_types::GuestPath;
use microagent_wire::frame::{Frame, FrameKind};
use microagent_wire::guest::boot_spec::{BootFileStream, BootFiles};
use microagent_wire::limits::RAW_BYTES_MAX;
use std::fs::File;
use std::io::Read as _;

/// One tar.
#[derive(Debug)]
pub(super) struct Tar {
    file: File,
    bytes: u64,
    target: GuestPath,
}

/// The tars that this boot delivers; none when there are none, or when they were delivered before.
pub(super) fn files(plan: &BootPlan<'_>) -> Option<Vec<Tar>> {
    if plan.document.maintenance.is_some() || plan.workspace.files_delivered.is_some() {
        return None;
    }
    let tars: Vec<Tar> = plan
        .spec
        .files
        .iter()
        .filter_map(|entry| {
            // One that is gone was delivered in an earlier boot.
            let file = fs::open(entry.source.as_path()).ok()?;
            let bytes = fs::metadata(entry.source.as_path()).ok()?.len();
            Some(Tar {
                file,
                bytes,
                target: entry.target.clone(),
            })
        })
        .collect();
    (!tars.is_empty()).then_some(tars)
}

/// What the boot spec says of them.
pub(super) fn announcement(tars: &[Tar]) -> BootFiles {
    BootFiles {
        streams: tars
            .iter()
            .map(|tar| BootFileStream {
                target: tar.target.clone(),
                bytes: tar.bytes,
            })
            .collect(),
    }
}

/// Sends them behind the boot spec.
pub(super) async fn send(tars: Vec<Tar>, sender: ControlSender) -> Result<(), String> {
    for mut tar in tars {
        let mut left = tar.bytes;
        while left > 0 {
            let piece = usize::try_from(left).map_or(RAW_BYTES_MAX, |left| left.min(RAW_BYTES_MAX));
            let mut payload = vec![0; piece];
            tar.file
                .read_exact(&mut payload)
                .map_err(|error| error.to_string())?;
            left -= piece as u64;
            if !sender
                .send_frame(Frame::new(FrameKind::Data, payload))
                .await
            {
                return Err("the guest closed its control connection".to_owned());
            }
        }
        if !sender.send_frame(Frame::end_of(FrameKind::Data)).await {
            return Err("the guest closed its control connection".to_owned());
        }
    }
    Ok(())
}

/// Removes the host's copies.
pub(super) fn remove(plan: &BootPlan<'_>) {
    for entry in &plan.spec.files {
        if let Err(error) = fs::remove_file(entry.source.as_path()) {
            tracing::warn!(%error, "a delivered file stays");
        }
    }
}
