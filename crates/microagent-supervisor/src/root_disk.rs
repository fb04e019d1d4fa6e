//! The root disk of a new workspace: blocks shared with its image, an empty layer over it, or a copy.
//!
//! A copy that the file system has no room for is refused before it is begun; what is missing is said in
//! numbers.

use crate::context::Context;
use crate::faults;
use crate::view::absolute;
use microagent_machine::spec::{CloneMethod, DiskFormat, Lifetime, MachineSpec};
use microagent_os::clone_file::{self, Sharing};
use microagent_os::{FsAction, FsError, fs};
use microagent_types::{AbsPath, ByteSize};
use microagent_wire::fault::{Fault, FaultKind};
use std::path::Path;

/// Makes the disk from its image and gives it its size, or checks the one that is there.
pub(crate) fn make(context: &Context<'_>, spec: &mut MachineSpec) -> Result<(), Fault> {
    if let Some(image) = spec.root_disk.clone_from.clone() {
        let method = clone(context, &image, spec)?;
        spec.root_disk.clone = Some(method);
        if method == CloneMethod::Overlay {
            return Ok(());
        }
    }
    finish(spec).map_err(|error| faults::of_file(&error))
}

/// Gives the disk its size, and makes it durable.
fn finish(spec: &MachineSpec) -> Result<(), FsError> {
    let path = spec.root_disk.path.as_path();
    extend(path, spec.root_disk.size.bytes(), spec.root_disk.format)?;
    // A disk that goes with its one run need not outlast a power cut.
    if spec.lifetime == Lifetime::Kept {
        let disk = fs::open_read_write(path)?;
        fs::sync_file(&disk, path)?;
    }
    Ok(())
}

/// Shares blocks with the image, or lays an empty layer over it, or copies it: the first that can be had.
/// A layer needs its image for as long as it lives, so only a disk that goes with its run is one.
fn clone(
    context: &Context<'_>,
    image: &AbsPath,
    spec: &mut MachineSpec,
) -> Result<CloneMethod, Fault> {
    let of_file = |error: FsError| faults::of_file(&error);
    let disk = &mut spec.root_disk;
    // A leftover of this very create, when its response was lost half way.
    fs::remove_file(disk.path.as_path()).map_err(of_file)?;
    let cloned = |sharing| clone_file::clone_file(image.as_path(), disk.path.as_path(), sharing);
    if cloned(Sharing::Required).is_ok() {
        return Ok(CloneMethod::Reflink);
    }
    let layer = match spec.lifetime {
        Lifetime::Ephemeral if disk.format == DiskFormat::Raw => context.backend.overlay(disk.size),
        Lifetime::Ephemeral | Lifetime::Kept => None,
    };
    let Some(layer) = layer else {
        check_room(context, image)?;
        return match cloned(Sharing::Preferred).map_err(of_file)? {
            clone_file::CloneMethod::Reflink => Ok(CloneMethod::Reflink),
            clone_file::CloneMethod::Copy => Ok(CloneMethod::Copy),
        };
    };
    let path = context.paths.root_overlay();
    write_new(&path, &layer).map_err(of_file)?;
    disk.path = absolute(&path);
    Ok(CloneMethod::Overlay)
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), FsError> {
    fs::remove_file(path)?;
    fs::write_all_at(&fs::create_new(path)?, bytes, 0)
        .map_err(|error| FsError::new(FsAction::Write, path, error))
}

/// Refuses a copy that cannot fit, before its first byte is written.
fn check_room(context: &Context<'_>, image: &AbsPath) -> Result<(), Fault> {
    let folder = context.paths.folder();
    // Where nobody tells, the copy will.
    let (Ok(space), Ok(needed)) = (fs::space(folder), fs::allocated_bytes(image.as_path())) else {
        return Ok(());
    };
    let free = space.available_bytes;
    if needed <= free {
        return Ok(());
    }
    let place = context.directory.root().display();
    let message = format!(
        "`{place}` has {} free and {} are needed",
        ByteSize::from_bytes(free),
        ByteSize::from_bytes(needed)
    );
    Err(Fault::new(FaultKind::Resource, message)
        .with_hint("microagent image prune --all, or another place: --state-dir DIR")
        .with_details(|details| {
            details.limit = Some(free);
            details.actual = Some(needed);
        }))
}

fn extend(path: &Path, bytes: u64, format: DiskFormat) -> Result<(), FsError> {
    // A VHD ends in its footer, which whoever made the disk has put where it belongs.
    if format == DiskFormat::Raw && fs::metadata(path)?.len() < bytes {
        let disk = fs::open_read_write(path)?;
        fs::set_length(&disk, path, bytes)?;
    }
    Ok(())
}
