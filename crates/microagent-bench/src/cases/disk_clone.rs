//! A clone of a cached image, beside a sparse copy of the same file by `cp`.

use crate::bench::{Bench, Report, timed};
use crate::sample_image;
use anyhow::{Context as _, Result};
use microagent_rootfs::{
    BuildOptions, CancelToken, CloneMethod, DiskShape, ImageStore, Limits, Sharing, Silent,
    clone_disk,
};
use microagent_types::{Arch, ImageSource};
use std::cell::Cell;

const OURS: &str = "clone of an image of 500 MB";
const REFERENCE: &str = "`cp --sparse=always` of the same file";
/// Root disks of the medium profile are this large.
const DISK_BYTES: u64 = 8 << 30;

pub(crate) fn measure(bench: &Bench) -> Result<Report> {
    let work = bench.home().work_dir();
    let source: ImageSource = format!("oci:{}", sample_image::ensure()?.display()).parse()?;
    let options = BuildOptions {
        arch: Arch::current().context("guests run on this processor")?,
        limits: Limits::ORDINARY,
        cancel: CancelToken::new(),
    };
    // A disk that fits its content: `cp` reads what is free in others.
    let store = ImageStore::open(&work.join("clones"))?.with_shape(DiskShape::Fitted);
    let image = store.ensure(&source, &options, &mut Silent)?;
    let (clone, copy) = (work.join("clone"), work.join("copy"));
    let method = Cell::new(None);
    let comparison = bench.compare(
        || {
            let time = timed(|| {
                method.set(Some(clone_disk(
                    &image.disk,
                    &clone,
                    DISK_BYTES,
                    Sharing::Preferred,
                )?));
                Ok(())
            })?;
            std::fs::remove_file(&clone)?;
            Ok(time)
        },
        || {
            let time = timed(|| {
                microagent_test::image::Tool::new("cp")
                    .args(["--reflink=never", "--sparse=always"])
                    .args([&image.disk, &copy])
                    .ok()
            })?;
            std::fs::remove_file(&copy)?;
            Ok(time)
        },
    )?;
    std::fs::remove_dir_all(work.join("clones"))?;
    let how = match method.get() {
        Some(CloneMethod::Reflink) => "blocks are shared",
        _ => "this file system shares no blocks, so ours is a copy too",
    };
    Ok(Report::new(OURS, REFERENCE, comparison).with_note(how))
}
