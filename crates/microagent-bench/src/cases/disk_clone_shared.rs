//! A clone of a large disk on a file system that shares blocks, beside a clone of an empty disk there: what
//! is in a disk must not matter.

use crate::bench::{Bench, Report, timed};
use crate::sample_image;
use anyhow::{Context as _, Result, ensure};
use microagent_rootfs::{
    BuildOptions, CancelToken, CloneMethod, DiskShape, ImageStore, Limits, Sharing, Silent,
    clone_disk, data_disk,
};
use microagent_test::shared_blocks::{Kind, SharedBlocks};
use microagent_types::{Arch, ByteSize, ImageSource};
use std::path::Path;
use std::time::Duration;

const OURS: &str = "clone of an image of 500 MB on XFS";
const REFERENCE: &str = "clone of an empty disk of 16 MiB there";
const FILE_SYSTEM_BYTES: u64 = 4 << 30;
const EMPTY_BYTES: u64 = 16 << 20;
/// Root disks of the medium profile are this large.
const DISK_BYTES: u64 = 8 << 30;

pub(crate) fn measure(bench: &Bench) -> Result<Report> {
    let mounted = match SharedBlocks::mount(Kind::Xfs, FILE_SYSTEM_BYTES) {
        Ok(mounted) => mounted,
        Err(reason) => return Ok(Report::no_counterpart(OURS, REFERENCE, reason)),
    };
    let place = mounted.path();
    let source: ImageSource = format!("oci:{}", sample_image::ensure()?.display()).parse()?;
    let options = BuildOptions {
        arch: Arch::current().context("guests run on this processor")?,
        limits: Limits::ORDINARY,
        cancel: CancelToken::new(),
    };
    let store = ImageStore::open(&place.join("images"))?.with_shape(DiskShape::Fitted);
    let image = store.ensure(&source, &options, &mut Silent)?;
    let empty = place.join("empty");
    data_disk::create_empty(&empty, ByteSize::from_bytes(EMPTY_BYTES), [7; 16])?;
    let comparison = bench.compare(
        || clone(&image.disk, &place.join("clone")),
        || clone(&empty, &place.join("clone")),
    )?;
    Ok(Report::new(OURS, REFERENCE, comparison).with_note("blocks are shared"))
}

fn clone(from: &Path, to: &Path) -> Result<Duration> {
    let time = timed(|| {
        let method = clone_disk(from, to, DISK_BYTES, Sharing::Preferred)?;
        ensure!(method == CloneMethod::Reflink, "the clone was a copy");
        Ok(())
    })?;
    std::fs::remove_file(to)?;
    Ok(time)
}
