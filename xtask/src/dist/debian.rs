//! The Debian package, written by `dpkg-deb`.
//!
//! ```text
//! /usr/bin/microagent -> ../lib/microagent/bin/microagent
//! /usr/lib/microagent/{bin,libexec}     the prefix, found from where the program really lies
//! /usr/share/{man,bash-completion,…}    where Debian looks for them
//! ```
//!
//! It has no scripts: installing changes no group, no service and no setting, and purging leaves nothing. What
//! people made lies in their own `~/.microagent` and is theirs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{Release, replace_folder, stage, write};
use crate::install::Part;
use crate::places::Places;
use crate::shell::Run;

/// What a workspace needs of the system. `qemu-system-x86` brings the engine for every host, with and without
/// KVM; the product needs nothing of `e2fsprogs`.
const DEPENDS: &str = "libgcc-s1, ca-certificates, passt, qemu-system-x86";

const DESCRIPTION: &str = "AI-agent workspaces in microVMs
 An OCI image becomes an ext4 disk, a small Linux kernel boots it in a virtual
 machine, and that machine is a workspace: named, persistent, with a disk, an
 identity and a history of its own. No daemon runs and nothing runs as root.";

const COPYRIGHT: &str = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: microagent

Files: *
Copyright: the microagent contributors
License: Apache-2.0
 See /usr/share/common-licenses/Apache-2.0.

Files: usr/lib/microagent/libexec/kernels/*
Copyright: the Linux kernel's authors
License: GPL-2
 Built from Debian's package linux-source-6.12 without a change to its source; the
 configuration is in guest/kernel of microagent's source.
 See /usr/share/common-licenses/GPL-2.

Files: usr/lib/microagent/libexec/vhost-device-vsock
Copyright: the rust-vmm project's authors
License: Apache-2.0 or BSD-3-Clause
 From crates.io. See /usr/share/common-licenses/Apache-2.0.
";

/// Makes it; gives its path.
pub(super) fn make(
    places: &Places,
    release: &Release,
    parts: &[Part],
    libc: &str,
    folder: &Path,
) -> Result<PathBuf> {
    let staging = places.target.join("dist-debian");
    replace_folder(&staging)?;
    for part in parts {
        let shared = part.to.starts_with("share");
        let place = Path::new(if shared { "usr" } else { "usr/lib/microagent" });
        let mut part = part.clone();
        part.to = debians(&place.join(&part.to));
        let to = stage(&part, &staging)?;
        if to.parent().is_some_and(|folder| folder.ends_with("man1")) {
            compress(&to)?;
        }
    }
    std::fs::create_dir_all(staging.join("usr/bin"))?;
    std::os::unix::fs::symlink(
        "../lib/microagent/bin/microagent",
        staging.join("usr/bin/microagent"),
    )?;
    let documents = staging.join("usr/share/doc/microagent");
    write(&documents.join("copyright"), COPYRIGHT)?;
    stage(
        &Part {
            to: "changelog".into(),
            from: places.root.join("CHANGELOG.md"),
            mode: 0o644,
        },
        &documents,
    )?;
    compress(&documents.join("changelog"))?;
    let size = Run::new("du")
        .args(["--summarize", "--apparent-size", "--block-size=1024"])
        .arg(&staging)
        .output()?;
    let size = size.split_whitespace().next().context("no size")?;
    write(
        &staging.join("DEBIAN/control"),
        &control(release, libc, size),
    )?;
    open_up(&staging)?;
    let path = folder.join(format!(
        "microagent_{}_{}.deb",
        release.version,
        release.arch.name()
    ));
    Run::new("dpkg-deb")
        .args(["--root-owner-group", "-Zxz", "--build"])
        .arg(&staging)
        .arg(&path)
        .env("SOURCE_DATE_EPOCH", release.epoch.to_string())
        .output()?;
    std::fs::remove_dir_all(&staging)?;
    Ok(path)
}

/// Debian looks for completions of zsh in a folder for packages.
fn debians(path: &Path) -> PathBuf {
    match path.strip_prefix("usr/share/zsh/site-functions") {
        Ok(name) => Path::new("usr/share/zsh/vendor-completions").join(name),
        Err(_) => path.to_owned(),
    }
}

fn control(release: &Release, libc: &str, size: &str) -> String {
    format!(
        "Package: microagent
Version: {}
Architecture: {}
Maintainer: the microagent contributors <microagent@localhost>
Installed-Size: {size}
Depends: libc6 (>= {libc}), {DEPENDS}
Section: admin
Priority: optional
Homepage: {}
Description: {DESCRIPTION}
",
        release.version,
        release.arch.name(),
        env!("CARGO_PKG_REPOSITORY"),
    )
}

fn compress(path: &Path) -> Result<()> {
    Run::new("gzip")
        .args(["--no-name", "--best", "--force"])
        .arg(path)
        .ok()
}

/// Folders that everybody may look into, whatever the umask of who builds.
fn open_up(folder: &Path) -> Result<()> {
    Run::new("chmod")
        .args(["--recursive", "u=rwX,go=rX"])
        .arg(folder)
        .ok()
}
