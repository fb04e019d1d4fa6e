//! An OCI layout to an ext4 image, beside the decompression of its layers alone: the least that anybody
//! must do. Both are children of this program, and use the same decompressor.

use super::image_build::import;
use crate::bench::{Bench, Report, timed};
use crate::sample_image;
use anyhow::{Result, ensure};
use flate2::bufread::MultiGzDecoder;
use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

const OURS: &str = "import of 500 MB, 16 000 files, 3 gzip layers";
const REFERENCE: &str = "decompression of the same layers, one after the other, and nothing else";
/// Makes this program the child that decompresses.
const CHILD_WORD: &str = "--decompress";
const CHUNK_BYTES: usize = 256 << 10;

pub(crate) fn measure(bench: &Bench) -> Result<Report> {
    let layout = sample_image::ensure()?;
    let store = bench.home().work_dir().join("store");
    let source = format!("oci:{}", layout.display());
    let comparison = bench.compare(
        || import(&source, &store).map(|(time, _)| time),
        || decompress(&layout),
    )?;
    Ok(Report::new(OURS, REFERENCE, comparison))
}

fn decompress(layout: &Path) -> Result<Duration> {
    timed(|| {
        let status = Command::new(std::env::current_exe()?)
            .arg(CHILD_WORD)
            .arg(layout)
            .status()?;
        ensure!(status.success(), "the decompression failed");
        Ok(())
    })
}

/// What the child does. `None` when this process is no such child.
pub(crate) fn as_child(words: &[String]) -> Result<Option<ExitCode>> {
    let [word, layout] = words else {
        return Ok(None);
    };
    if word != CHILD_WORD {
        return Ok(None);
    }
    let mut chunk = vec![0; CHUNK_BYTES];
    for entry in std::fs::read_dir(Path::new(layout).join("blobs/sha256"))? {
        let mut file = BufReader::with_capacity(CHUNK_BYTES, File::open(entry?.path())?);
        let mut magic = [0; 2];
        if file.read_exact(&mut magic).is_err() || magic != [0x1f, 0x8b] {
            continue;
        }
        file.seek_relative(-2)?;
        let mut decoder = MultiGzDecoder::new(file);
        while decoder.read(&mut chunk)? > 0 {}
    }
    Ok(Some(ExitCode::SUCCESS))
}
