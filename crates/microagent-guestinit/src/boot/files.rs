//! Files of the first boot: tars that follow the boot spec, unpacked before anything of the guest runs.

use super::sequence::Failure;
use crate::connection::Connection;
use crate::service::files::data::{DataSource, SignOfLife};
use crate::service::files::write::{Made, make_folders, take_archive};
use microagent_tree::folder::Folder;
use microagent_tree::unpack::{AttributeChoice, Powers, UnpackOptions, UnpackOwner};
use microagent_wire::frame::Frame;
use microagent_wire::guest::boot_spec::{BootFileStream, BootFiles};
use microagent_wire::guest::control::{BootStep, GuestMessage};
use std::path::Path;

/// How often the host hears that the files arrive.
const SIGN_EVERY_BYTES: u64 = 8 << 20;

/// Unpacks every stream and says how much came. What can't be made fails the boot: a workspace without
/// its files is not the one that was declared.
pub(super) fn deliver(connection: &mut Connection, files: &BootFiles) -> Result<(), Failure> {
    let (mut entries, mut bytes) = (0, 0);
    for stream in &files.streams {
        let done = unpack_stream(connection, stream)?;
        entries += done.0;
        bytes += done.1;
    }
    let delivered = GuestMessage::FilesDelivered { entries, bytes };
    connection.queue_frame(&Frame::control(&delivered));
    connection.flush_some();
    Ok(())
}

fn unpack_stream(
    connection: &mut Connection,
    stream: &BootFileStream,
) -> Result<(u64, u64), Failure> {
    let target = stream.target.as_str();
    let failed = |message: String, errno: Option<i32>| Failure {
        step: BootStep::Files,
        object: target.to_owned(),
        message,
        errno,
    };
    let opened = make_folders(Path::new(target))
        .and_then(|made| Ok((Folder::open(Path::new(target))?, made)));
    let (folder, made) = opened.map_err(|error| failed(error.to_string(), error.raw_os_error()))?;
    let options = UnpackOptions {
        owner: UnpackOwner::Kept,
        powers: Powers::Made,
        attributes: AttributeChoice::All,
        bytes_max: stream.bytes,
        single: None,
        root_attributes: made == Made::Folders,
    };
    let sign = SignOfLife {
        frame: Frame::control(&GuestMessage::Progress {
            step: BootStep::Files,
            message: None,
        }),
        every_bytes: SIGN_EVERY_BYTES,
        since_bytes: 0,
    };
    let source = DataSource::new(connection, &|| false).with_sign_of_life(sign);
    let done = take_archive(source, &folder, options)
        .map_err(|refusal| failed(refusal.message, refusal.errno))?;
    let left_out = done.refused.first().or(done.skipped.first());
    if let Some(first) = left_out {
        return Err(failed(format!("`{}`: {}", first.path, first.reason), None));
    }
    Ok((done.entries.unwrap_or(0), done.bytes.unwrap_or(0)))
}
