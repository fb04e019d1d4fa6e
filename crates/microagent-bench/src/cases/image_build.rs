//! An OCI layout to an ext4 image, beside `umoci unpack` and `mke2fs -d`, with the peak of our memory.
//!
//! No command imports an image alone yet, so ours is a child process of this program that calls the
//! image store as the library does.

use crate::bench::{Bench, Report, timed};
use crate::sample_image;
use anyhow::{Context as _, Result};
use microagent_rootfs::{BuildOptions, CancelToken, ImageStore, Limits, Silent};
use microagent_test::image::Tool;
use microagent_types::{Arch, ImageSource};
use std::cell::Cell;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

const OURS: &str = "import of 500 MB, 16 000 files, 3 gzip layers";
const REFERENCE: &str = "umoci unpack, then mke2fs -d";
/// Makes this program the child that imports.
const CHILD_WORD: &str = "--import-into";
/// The reference takes a quarter of a minute a round.
const ROUNDS_MAX: usize = 3;
const IMAGE_SIZE: &str = "800M";
/// Enough for either sample.
const INODES: &str = "160000";
const OURS_MANY: &str = "import of 240 MB, 120 000 files, 3 gzip layers";

/// The sample of ordinary files.
pub(crate) fn measure(bench: &Bench) -> Result<Report> {
    measure_one(bench, OURS, &sample_image::ensure()?)
}

/// The sample of many small ones.
pub(crate) fn measure_many_files(bench: &Bench) -> Result<Report> {
    measure_one(bench, OURS_MANY, &sample_image::ensure_many_files()?)
}

fn measure_one(bench: &Bench, ours: &'static str, layout: &Path) -> Result<Report> {
    for tool in ["umoci", "mke2fs"] {
        if !Tool::is_here(tool) {
            let reason = format!("`{tool}` is not installed here");
            return Ok(Report::no_counterpart(ours, REFERENCE, reason));
        }
    }
    let work = bench.home().work_dir();
    let source = format!("oci:{}", layout.display());
    let peak_kib = Cell::new(0);
    let (our_cpu, reference_cpu) = (Cell::new(0.0), Cell::new(0.0));
    let comparison = Bench::compare_in(
        bench.rounds().min(ROUNDS_MAX),
        || {
            let before = cpu_seconds_of_children()?;
            let (time, peak) = import(&source, &work.join("store"))?;
            our_cpu.set(cpu_seconds_of_children()? - before);
            peak_kib.set(peak_kib.get().max(peak));
            Ok(time)
        },
        || {
            let before = cpu_seconds_of_children()?;
            let time = unpack(layout, &work.join("unpacked"))?;
            reference_cpu.set(cpu_seconds_of_children()? - before);
            Ok(time)
        },
    )?;
    let peak_mib = f64::from(u32::try_from(peak_kib.get()).unwrap_or(u32::MAX)) / 1024.0;
    Ok(Report::new(ours, REFERENCE, comparison)
        .with_figure("peak_mib", peak_mib)
        .with_figure("cpu_s", our_cpu.get())
        .with_figure("reference_cpu_s", reference_cpu.get())
        .with_note("the processor's seconds are those of the last round"))
}

/// What the kernel counts for children that have ended: `cutime` and `cstime`, in hundredths of a second on
/// every Linux that we run on (proc(5)).
fn cpu_seconds_of_children() -> Result<f64> {
    ended_children(&std::fs::read_to_string("/proc/self/stat")?)
}

fn ended_children(stat: &str) -> Result<f64> {
    // The name of the program may hold anything; what follows it is numbers, from the third field on.
    let fields = stat.rsplit_once(')').context("a process has a name")?.1;
    let ticks = fields.split_whitespace().skip(13).take(2);
    let ticks: Vec<u32> = ticks.map(str::parse).collect::<Result<_, _>>()?;
    anyhow::ensure!(ticks.len() == 2, "the kernel tells what children took");
    Ok(ticks.into_iter().map(f64::from).sum::<f64>() / 100.0)
}

/// Imports `source` into a new store, in a process of its own; gives the time and the peak of its memory.
pub(super) fn import(source: &str, store: &Path) -> Result<(Duration, u64)> {
    let mut peak = String::new();
    let time = timed(|| {
        let output = Command::new(std::env::current_exe()?)
            .arg(CHILD_WORD)
            .arg(store)
            .arg(source)
            .output()?;
        anyhow::ensure!(
            output.status.success(),
            "the import failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout)
            .trim()
            .clone_into(&mut peak);
        Ok(())
    })?;
    std::fs::remove_dir_all(store)?;
    Ok((time, peak.parse().context("the child tells its peak")?))
}

fn unpack(layout: &Path, folder: &Path) -> Result<Duration> {
    std::fs::create_dir(folder)?;
    let time = timed(|| {
        Tool::new("umoci")
            .args(["unpack", "--image"])
            .arg(format!("{}:latest", layout.display()))
            .arg(folder.join("bundle"))
            .ok()?;
        Tool::new("mke2fs")
            .args(["-q", "-F", "-t", "ext4", "-N", INODES, "-d"])
            .arg(folder.join("bundle/rootfs"))
            .arg(folder.join("image"))
            .arg(IMAGE_SIZE)
            .ok()
    })?;
    std::fs::remove_dir_all(folder)?;
    Ok(time)
}

/// What the child does: imports, and prints its peak of resident memory in KiB. `None` when this
/// process is no such child.
pub(crate) fn as_child(words: &[String]) -> Result<Option<ExitCode>> {
    let [word, store, source] = words else {
        return Ok(None);
    };
    if word != CHILD_WORD {
        return Ok(None);
    }
    let source: ImageSource = source.parse()?;
    let options = BuildOptions {
        arch: Arch::current().context("guests run on this processor")?,
        limits: Limits::ORDINARY,
        cancel: CancelToken::new(),
    };
    ImageStore::open(Path::new(store))?.ensure(&source, &options, &mut Silent)?;
    println!(
        "{}",
        peak_kib(&std::fs::read_to_string("/proc/self/status")?)?
    );
    Ok(Some(ExitCode::SUCCESS))
}

fn peak_kib(status: &str) -> Result<u64> {
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|number| number.trim().parse().ok())
        .context("the kernel tells the peak of a process")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_s_time_of_children_is_read_from_the_kernel_s_words() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 9 9 0 0 11 12 150 25 20 0 1 0 9";
        assert!((ended_children(stat).unwrap() - 1.75).abs() < 1e-9);
        assert!(ended_children("7 (a) S 1").is_err());
    }

    #[test]
    fn the_peak_is_read_from_the_kernel_s_words() {
        assert_eq!(
            peak_kib("Name:\tx\nVmHWM:\t  123456 kB\n").unwrap(),
            123_456
        );
        peak_kib("Name:\tx\n").unwrap_err();
    }
}
