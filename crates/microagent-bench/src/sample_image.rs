//! The images that imports are measured with: 500 MB in 16 000 files, and 240 MB in 120 000 small ones,
//! each in three gzip layers.
//!
//! Half of its bytes are noise and half are words, so that gzip has about as much to do as with a real
//! image. The same on every machine.

use anyhow::Result;
use microagent_test::image::{Image, Layer, Packing, Tool, made_once};
use std::path::PathBuf;

/// A change of what stands below is a new name here.
const RECIPE: &str = "bench-500m-1";
const RECIPE_ARCHIVE: &str = "bench-500m-archive-1";
const RECIPE_MANY_FILES: &str = "bench-many-files-1";
const FILES: u64 = 16_000;
const FILES_MANY: u64 = 120_000;
const FILES_PER_FOLDER: u64 = 40;
const LAYERS: u64 = 3;
const MEAN_BYTES: u64 = 31_250;
const SMALL_BYTES_MAX: u64 = 4000;

/// Its layout folder; made once in the life of the cache.
pub(crate) fn ensure() -> Result<PathBuf> {
    let folder = made_once(RECIPE, |folder| {
        let mut image = Image::new();
        for layer in 0..LAYERS {
            image = image.layer(fill(layer, FILES, content));
        }
        image.write_layout(&folder.join("layout"))
    })?;
    Ok(folder.join("layout"))
}

/// The same image as an uncompressed archive of `docker save`, made with `skopeo`.
pub(crate) fn ensure_archive() -> Result<PathBuf> {
    let layout = ensure()?;
    let folder = made_once(RECIPE_ARCHIVE, |folder| {
        Tool::new("skopeo")
            .args(["--insecure-policy", "copy", "--quiet"])
            .arg(format!("oci:{}:latest", layout.display()))
            .arg(format!(
                "docker-archive:{}:bench/sample:1",
                folder.join("image.tar").display()
            ))
            .ok()
    })?;
    Ok(folder.join("image.tar"))
}

/// The layout folder of the image of many small files.
pub(crate) fn ensure_many_files() -> Result<PathBuf> {
    let folder = made_once(RECIPE_MANY_FILES, |folder| {
        let mut image = Image::new();
        for layer in 0..LAYERS {
            image = image.layer(fill(layer, FILES_MANY, small_content));
        }
        image.write_layout(&folder.join("layout"))
    })?;
    Ok(folder.join("layout"))
}

fn small_content(noise: &mut Noise) -> Vec<u8> {
    sized(noise.next() % SMALL_BYTES_MAX, noise)
}

fn fill(number: u64, files: u64, content: fn(&mut Noise) -> Vec<u8>) -> Layer {
    let mut layer = Layer::new().packed(Packing::Gzip);
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15 ^ (number + 1));
    let share = files / LAYERS + u64::from(number < files % LAYERS);
    for index in 0..share {
        let folder = format!("layer-{number}/folder-{}", index / FILES_PER_FOLDER);
        if index == 0 {
            layer = layer.folder(&format!("layer-{number}"), 0o755);
        }
        if index % FILES_PER_FOLDER == 0 {
            layer = layer.folder(&folder, 0o755);
        }
        layer = layer.file(
            &format!("{folder}/file-{index}"),
            0o644,
            &content(&mut noise),
        );
    }
    layer
}

/// Sizes from 1 KiB to three times the mean and more, as real trees have many small and few large.
fn content(noise: &mut Noise) -> Vec<u8> {
    let size = match noise.next() % 8 {
        0..=3 => 1024 + noise.next() % 8192,
        4..=6 => MEAN_BYTES / 2 + noise.next() % MEAN_BYTES,
        _ => MEAN_BYTES * 3 + noise.next() % (MEAN_BYTES * 4),
    };
    sized(size, noise)
}

/// Half noise, half words.
fn sized(size: u64, noise: &mut Noise) -> Vec<u8> {
    let size = usize::try_from(size).expect("a file of the sample fits into memory");
    let mut bytes = Vec::with_capacity(size + 64);
    while bytes.len() < size {
        for _ in 0..4 {
            bytes.extend(noise.next().to_le_bytes());
        }
        bytes.extend(b"words that come again and again ");
    }
    bytes.truncate(size);
    bytes
}

/// A small generator of numbers that look random and are always the same.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_as_large_as_it_says() {
        let mut noise = Noise(7);
        let total: usize = (0..2000).map(|_| content(&mut noise).len()).sum();
        let mean = total as u64 / 2000;
        assert!((28_000..=36_000).contains(&mean), "{mean}");
    }
}
