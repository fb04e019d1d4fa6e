//! An uncompressed archive of `docker save` to an ext4 image, beside `msb load` of the same file:
//! microsandbox makes a read-only file system of each layer, and no disk.
//!
//! `msb` is not among what setup installs: its wheel is 48 MB of programs that nothing else here needs. Where
//! it is on `PATH` (`pip install microsandbox`; the program within the wheel, not its wrapper in Python)
//! it is measured, and needs no KVM for this.

use super::image_build::import;
use crate::bench::{Bench, Report, timed};
use crate::sample_image;
use anyhow::{Result, ensure};
use microagent_test::image::Tool;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const OURS: &str = "import of an uncompressed archive of 560 MB, 16 000 files, 3 layers";
const REFERENCE: &str = "`msb load` of the same archive";
const THEIRS: &str = "msb";

pub(crate) fn measure(bench: &Bench) -> Result<Report> {
    for tool in ["skopeo", THEIRS] {
        if !Tool::is_here(tool) {
            let reason = format!("`{tool}` is not installed here");
            return Ok(Report::no_counterpart(OURS, REFERENCE, reason));
        }
    }
    let archive = sample_image::ensure_archive()?;
    let source = format!("docker-archive:{}", archive.display());
    let work = bench.home().work_dir();
    let comparison = bench.compare(
        || import(&source, &work.join("store")).map(|(time, _)| time),
        || load(&archive, &work.join("theirs")),
    )?;
    Ok(Report::new(OURS, REFERENCE, comparison))
}

/// Into a home of its own, which is empty each time.
fn load(archive: &Path, home: &Path) -> Result<Duration> {
    std::fs::create_dir(home)?;
    let time = timed(|| {
        let status = Command::new(THEIRS)
            .args(["load", "--quiet", "--input"])
            .arg(archive)
            .env("HOME", home)
            .stdout(Stdio::null())
            .status()?;
        ensure!(status.success(), "`{THEIRS} load` failed");
        Ok(())
    })?;
    std::fs::remove_dir_all(home)?;
    Ok(time)
}
