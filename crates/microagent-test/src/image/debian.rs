//! A real Debian with a Python, made by Debian's own tools, in every form that the product reads.

use super::tool::{Tool, image_cache, made_once};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// A change of what stands below is a new name here.
const RECIPE: &str = "debian-bookworm-python-2";
const SUITE: &str = "bookworm";
/// Python is what cases speak inside a guest.
const PACKAGES: &str = "--include=python3-minimal";
/// Not needed in a guest, and most of the bytes.
const LEFT_OUT: &[&str] = &[
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
];
/// Fixed, so that the image's digest depends on the packages alone.
const CREATED: &str = "2024-01-01T00:00:00Z";

/// Where the forms of the image are.
#[derive(Debug, Clone)]
pub struct Debian {
    folder: PathBuf,
}

impl Debian {
    /// Makes it, once in the life of the cache; takes a minute or two then. Needs root, `mmdebstrap`,
    /// `umoci` and `skopeo`.
    pub fn ensure() -> Result<Self> {
        let folder = made_once(RECIPE, make)?;
        Ok(Self { folder })
    }

    /// Whether it is in the cache, so that none of the programs that make it is needed.
    pub fn is_made() -> bool {
        image_cache().is_ok_and(|cache| cache.join(RECIPE).is_dir())
    }

    /// The OCI layout folder; one gzip layer, tag `latest`.
    pub fn layout(&self) -> PathBuf {
        self.folder.join("layout")
    }

    /// The same with a zstd layer.
    pub fn layout_zstd(&self) -> PathBuf {
        self.folder.join("layout-zstd")
    }

    /// An OCI archive.
    pub fn oci_archive(&self) -> PathBuf {
        self.folder.join("oci.tar")
    }

    /// What `docker save` writes.
    pub fn docker_archive(&self) -> PathBuf {
        self.folder.join("docker.tar")
    }

    /// The root file system as a tar.
    pub fn rootfs_tar(&self) -> PathBuf {
        self.folder.join("rootfs.tar")
    }
}

fn make(folder: &Path) -> Result<()> {
    let tar = folder.join("rootfs.tar");
    Tool::new("mmdebstrap")
        .args(["--quiet", "--variant=minbase", PACKAGES])
        .args(LEFT_OUT)
        .args([
            "--customize-hook=rm -rf \"$1\"/var/cache/apt/*.bin \"$1\"/var/lib/apt/lists/*",
            SUITE,
        ])
        .arg(&tar)
        .ok()?;
    let layout = folder.join("layout");
    pack(folder, &tar, &layout)?;
    let source = format!("oci:{}:latest", layout.display());
    let copies = [
        format!("oci-archive:{}:latest", folder.join("oci.tar").display()),
        format!(
            "docker-archive:{}:example/debian:12",
            folder.join("docker.tar").display()
        ),
    ];
    for target in copies {
        Tool::new("skopeo")
            .args(["copy", "--quiet", &source, &target])
            .ok()?;
    }
    pack_zstd(folder, &source)
}

/// A layer is compressed anew only when it comes uncompressed, hence the way round.
fn pack_zstd(folder: &Path, source: &str) -> Result<()> {
    let plain = folder.join("plain");
    let between = format!("dir:{}", plain.display());
    let target = format!("oci:{}:latest", folder.join("layout-zstd").display());
    Tool::new("skopeo")
        .args(["copy", "--quiet", "--dest-decompress", source, &between])
        .ok()?;
    Tool::new("skopeo")
        .args([
            "copy",
            "--quiet",
            "--dest-compress-format=zstd",
            &between,
            &target,
        ])
        .ok()?;
    std::fs::remove_dir_all(&plain).context("cannot remove the uncompressed image")
}

/// One layer that holds the tar's tree, by `umoci` alone: an empty image, unpacked, filled and packed.
fn pack(folder: &Path, tar: &Path, layout: &Path) -> Result<()> {
    let bundle = folder.join("bundle");
    let image = format!("{}:latest", layout.display());
    Tool::new("umoci")
        .arg("init")
        .arg(format!("--layout={}", layout.display()))
        .ok()?;
    Tool::new("umoci").args(["new", "--image", &image]).ok()?;
    Tool::new("umoci")
        .args(["unpack", "--image", &image])
        .arg(&bundle)
        .ok()?;
    Tool::new("tar")
        .args([
            "--extract",
            "--numeric-owner",
            "--xattrs",
            "--xattrs-include=*",
            "--file",
        ])
        .arg(tar)
        .arg("--directory")
        .arg(bundle.join("rootfs"))
        .ok()?;
    Tool::new("umoci")
        .args(["repack", "--image", &image])
        .arg(&bundle)
        .ok()?;
    Tool::new("umoci")
        .args(["config", "--image", &image, "--clear=config.entrypoint"])
        .args(["--created", CREATED, "--config.cmd", "bash"])
        .args([
            "--config.env",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ])
        .args(["--config.env", "IMAGE_SAYS=hello"])
        .ok()?;
    Tool::new("umoci")
        .arg("gc")
        .arg(format!("--layout={}", layout.display()))
        .ok()?;
    std::fs::remove_dir_all(&bundle).context("cannot remove the unpacked image")
}
