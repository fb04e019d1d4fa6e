//! One layer: tar entries as they come, also ones that no honest tool writes.

use anyhow::{Context, Result};
use sha2::{Digest as _, Sha256};
use std::io::Write as _;
use tar::{Builder, EntryType, Header};

/// When everything in a made image was changed last.
const MTIME: u64 = 1_700_000_000;
const COMPRESSION_LEVEL_ZSTD: i32 = 3;

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// gzip, what most registries hold.
    #[default]
    Gzip,
    /// zstd.
    Zstd,
}

/// A layer under construction; entries appear in the order of the calls.
pub struct Layer {
    builder: Builder<Vec<u8>>,
    packing: Packing,
}

impl std::fmt::Debug for Layer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Layer")
            .field("packing", &self.packing)
            .finish_non_exhaustive()
    }
}

impl Default for Layer {
    fn default() -> Self {
        Self::new()
    }
}

impl Layer {
    /// An empty layer, packed with gzip.
    pub fn new() -> Self {
        Self {
            builder: Builder::new(Vec::new()),
            packing: Packing::default(),
        }
    }

    /// How it is compressed.
    #[must_use]
    pub fn packed(mut self, packing: Packing) -> Self {
        self.packing = packing;
        self
    }

    /// A folder.
    #[must_use]
    pub fn folder(self, path: &str, mode: u32) -> Self {
        self.entry(EntryType::Directory, path, mode, &[], None)
    }

    /// A regular file.
    #[must_use]
    pub fn file(self, path: &str, mode: u32, content: &[u8]) -> Self {
        self.entry(EntryType::Regular, path, mode, content, None)
    }

    /// A symbolic link.
    #[must_use]
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, path, 0o777, &[], Some(target))
    }

    /// A hard link to an entry of this layer or of one below.
    #[must_use]
    pub fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Link, path, 0o644, &[], Some(target))
    }

    /// A character device.
    #[must_use]
    pub fn character_device(mut self, path: &str, major: u32, minor: u32) -> Self {
        let mut header = header(EntryType::Char, 0o644, 0);
        header
            .set_device_major(major)
            .expect("a ustar header has a place for it");
        header
            .set_device_minor(minor)
            .expect("a ustar header has a place for it");
        self.builder
            .append_data(&mut header, path, std::io::empty())
            .expect("memory takes every write");
        self
    }

    /// Removes what a layer below put there.
    #[must_use]
    pub fn whiteout(self, path: &str) -> Self {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let marker = if folder.is_empty() {
            format!(".wh.{name}")
        } else {
            format!("{folder}/.wh.{name}")
        };
        self.file(&marker, 0o644, &[])
    }

    /// Hides everything that layers below put into a folder.
    #[must_use]
    pub fn opaque(self, folder: &str) -> Self {
        self.file(&format!("{folder}/.wh..wh..opq"), 0o644, &[])
    }

    /// The next entry has these extended attributes.
    #[must_use]
    pub fn with_xattrs(mut self, xattrs: &[(&str, &[u8])]) -> Self {
        let keys: Vec<(String, &[u8])> = xattrs
            .iter()
            .map(|(name, value)| (format!("SCHILY.xattr.{name}"), *value))
            .collect();
        self.builder
            .append_pax_extensions(keys.iter().map(|(name, value)| (name.as_str(), *value)))
            .expect("memory takes every write");
        self
    }

    /// A regular file whose name stands in the archive exactly so: absolute, with `..`, anything. At
    /// most 100 bytes.
    #[must_use]
    pub fn file_named_raw(mut self, name: &[u8], content: &[u8]) -> Self {
        let mut header = header(EntryType::Regular, 0o644, content.len() as u64);
        let place = &mut header.as_old_mut().name;
        place[..name.len()].copy_from_slice(name);
        header.set_cksum();
        self.builder
            .append(&header, content)
            .expect("memory takes every write");
        self
    }

    fn entry(
        mut self,
        kind: EntryType,
        path: &str,
        mode: u32,
        content: &[u8],
        target: Option<&str>,
    ) -> Self {
        let mut header = header(kind, mode, content.len() as u64);
        match target {
            Some(target) => self.builder.append_link(&mut header, path, target),
            None => self.builder.append_data(&mut header, path, content),
        }
        .expect("memory takes every write");
        self
    }

    /// The finished blob and the digests of it and of what is in it.
    pub(super) fn finish(self) -> Result<Blob> {
        let plain = self.builder.into_inner().context("cannot end a layer")?;
        let diff_id = sha256(&plain);
        let (bytes, suffix) = match self.packing {
            Packing::Plain => (plain, ""),
            Packing::Gzip => {
                let mut encoder =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(&plain)?;
                (encoder.finish()?, "+gzip")
            }
            Packing::Zstd => (
                zstd::encode_all(plain.as_slice(), COMPRESSION_LEVEL_ZSTD)?,
                "+zstd",
            ),
        };
        Ok(Blob {
            media_type: format!("application/vnd.oci.image.layer.v1.tar{suffix}"),
            digest: sha256(&bytes),
            diff_id,
            bytes,
        })
    }
}

/// A finished layer.
#[derive(Debug)]
pub(super) struct Blob {
    pub(super) media_type: String,
    pub(super) digest: String,
    pub(super) diff_id: String,
    pub(super) bytes: Vec<u8>,
}

/// A digest as 64 hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes)
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a string takes every write");
            text
        })
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(MTIME);
    header.set_size(size);
    header
}
