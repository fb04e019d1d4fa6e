//! Debian packages: which are needed for what, which are missing, and installing those.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Scope;
use crate::shell::{self, Run};

/// What needs a package, in order of scope.
const PACKAGES: &[(Scope, &str)] = &[
    // Compiling the kernel.
    (Scope::Run, "linux-source-6.12"),
    (Scope::Run, "bc"),
    (Scope::Run, "bison"),
    (Scope::Run, "flex"),
    (Scope::Run, "gcc"),
    (Scope::Run, "libc6-dev"),
    (Scope::Run, "libelf-dev"),
    (Scope::Run, "make"),
    (Scope::Run, "perl"),
    (Scope::Run, "xz-utils"),
    // Linking the guest init.
    (Scope::Run, "musl-tools"),
    // Running a workspace.
    (Scope::Run, "passt"),
    (Scope::Run, "qemu-system-x86"),
    // Images made on the spot.
    (Scope::Run, "mmdebstrap"),
    (Scope::Test, "skopeo"),
    // A registry, its certificates, and a judge of VHDs.
    (Scope::Test, "docker-registry"),
    (Scope::Test, "openssl"),
    (Scope::Test, "qemu-utils"),
    (Scope::Test, "umoci"),
    // Judges of what we make.
    (Scope::Test, "cpio"),
    (Scope::Test, "e2fsprogs"),
    // File systems whose files share blocks.
    (Scope::Test, "btrfs-progs"),
    (Scope::Test, "xfsprogs"),
    (Scope::Test, "qemu-utils"),
    // A terminal whose screen a test reads.
    (Scope::Test, "tmux"),
    // The example of a client in shell.
    (Scope::Test, "jq"),
    // A tree of odd files.
    (Scope::Test, "acl"),
    (Scope::Test, "attr"),
    (Scope::Test, "libcap2-bin"),
    (Scope::Test, "python3"),
    (Scope::Test, "zstd"),
    // The kernel and guest init of arm64 guests, and a machine that boots them.
    (Scope::Everything, "gcc-aarch64-linux-gnu"),
    (Scope::Everything, "qemu-system-arm"),
];

/// Installs what is missing.
pub(crate) fn ensure(scope: Scope) -> Result<()> {
    let wanted: Vec<&str> = wanted(scope);
    let missing = missing(&wanted, &installed(&wanted)?);
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("setup: installing {}", missing.join(" "));
    if !shell::is_on_path("apt-get") {
        bail!(
            "these packages are missing and there is no `apt-get` to install them: {}",
            missing.join(" ")
        );
    }
    // A machine that was made just now has no lists yet, an old one has stale ones.
    if install(&missing).is_err() {
        apt_get()?.arg("update").ok()?;
        install(&missing)?;
    }
    Ok(())
}

fn wanted(scope: Scope) -> Vec<&'static str> {
    PACKAGES
        .iter()
        .filter(|(needed_by, _)| *needed_by <= scope)
        .map(|(_, package)| *package)
        .collect()
}

fn installed(wanted: &[&str]) -> Result<BTreeSet<String>> {
    // Its status is 1 when it does not know one of them, and the others are listed all the same.
    let output = Command::new("dpkg-query")
        .args([
            "--show",
            "--showformat=${binary:Package} ${db:Status-Status}\n",
        ])
        .args(wanted)
        .output()
        .context("cannot start `dpkg-query`; setting up is known for Debian only")?;
    Ok(parse(&String::from_utf8_lossy(&output.stdout)))
}

fn parse(listing: &str) -> BTreeSet<String> {
    listing
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(_, status)| *status == "installed")
        .map(|(name, _)| name.split(':').next().unwrap_or(name).to_owned())
        .collect()
}

fn missing<'a>(wanted: &[&'a str], installed: &BTreeSet<String>) -> Vec<&'a str> {
    wanted
        .iter()
        .copied()
        .filter(|package| !installed.contains(*package))
        .collect()
}

fn install(packages: &[&str]) -> Result<()> {
    apt_get()?
        .args(["install", "--yes", "--no-install-recommends", "--quiet"])
        .args(packages)
        .ok()
}

fn apt_get() -> Result<Run> {
    let user = Run::new("id").arg("--user").output()?;
    if user.trim() == "0" {
        return Ok(Run::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive"));
    }
    if !shell::is_on_path("sudo") {
        bail!("installing packages needs root, and there is no `sudo`");
    }
    Ok(Run::new("sudo").args(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_package_with_left_configuration_is_missing() {
        let installed = parse("bc installed\nflex config-files\nlibelf-dev:amd64 installed\n");
        assert_eq!(
            missing(&["bc", "flex", "libelf-dev", "make"], &installed),
            ["flex", "make"]
        );
    }

    #[test]
    fn a_first_run_needs_no_judges() {
        assert!(!wanted(Scope::Run).contains(&"umoci"));
        assert!(wanted(Scope::Test).contains(&"umoci"));
        assert!(wanted(Scope::Test).contains(&"musl-tools"));
    }
}
