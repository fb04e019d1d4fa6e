//! `cargo xtask journey`: a newcomer's way through the product, in a Debian 12 that was made a minute ago.
//!
//! ```text
//! mmdebstrap ──► a bare Debian ──apt install ./microagent.deb──► doctor ──► every block of the manual, typed
//!                                                                └──► apt purge ──► nothing is left
//! ```
//!
//! The pipeline types the manual on the machine that built the product, which has everything. This finds what the
//! package forgets to depend on, what only a developer's machine has, and what a purge leaves. It needs root,
//! `mmdebstrap` and Debian's mirror; mounts are in a namespace that ends with it. Rust is not needed in there: what
//! a checkout's commands build is what the package holds.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::dist;
use crate::e2e;
use crate::places::Places;
use crate::setup;
use crate::shell::Run;

const SUITE: &str = "bookworm";
/// What the pages' own commands use beside the product.
const OF_A_READER: &str = "--include=ca-certificates,curl,python3";
/// The pages, and what the product says of the host.
const CASES: &str = "host::doctor_finds_an_installed_product_sound \
     manual::the_tutorial_is_typed_as_written manual::the_how_tos_are_typed_as_written \
     manual::the_readme_is_typed_as_written";
/// Outside: the mounts. `$1` is the new root, `$2` the checkout, `$3` the cache of images, `$4` the cases' program,
/// `$5` the cases' names, `$6` what runs inside.
const OUTSIDE: &str = r#"
set -eu
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
mount -t tmpfs tmpfs "$1/run"
mkdir -p "$1$2" "$1$3"
mount --bind "$2" "$1$2"
mount -o remount,bind,ro "$1$2"
mount --bind "$3" "$1$3"
cp "$4" "$1/root/cases"
cp /etc/resolv.conf "$1/etc/resolv.conf"
export DEBIAN_FRONTEND=noninteractive HOME=/root XDG_CACHE_HOME="${3%/microagent/images}"
export MICROAGENT_E2E_PREFIX=/usr/lib/microagent MICROAGENT_E2E_ONLY="$5"
exec chroot "$1" /bin/sh -euc "$6"
"#;
/// Inside: what a newcomer types, and the look at what is left.
const INSIDE: &str = r#"
apt-get update -qq
apt-get install -y -qq --no-install-recommends /root/microagent.deb > /run/apt.log 2>&1 || { cat /run/apt.log; exit 1; }
microagent version
microagent doctor
/root/cases
apt-get purge -y -qq microagent > /run/purge.log 2>&1 || { cat /run/purge.log; exit 1; }
left=$(find /etc /opt /srv /usr /var -xdev -name "*microagent*")
test -z "$left" || { echo "a purge leaves: $left"; exit 1; }
"#;

/// Runs the chore.
pub(crate) fn run() -> Result<ExitCode> {
    let places = Places::find()?;
    setup::ensure(&places, setup::Scope::Test)?;
    let made = dist::make(&places, None)?;
    let package = made
        .iter()
        .find(|path| path.extension().is_some_and(|ext| ext == "deb"))
        .context("no package was made")?;
    let cases = e2e::cases(&places)?;
    let root = places.target.join("journey");
    remove(&root)?;
    eprintln!("journey: making a bare Debian {SUITE}");
    Run::new("mmdebstrap")
        .args(["--quiet", "--variant=apt", OF_A_READER, SUITE])
        .arg(&root)
        .ok()?;
    std::fs::copy(package, root.join("root/microagent.deb"))?;
    let images = places.cache.join("images");
    let status = Run::new("unshare")
        .args(["--mount", "--pid", "--fork", "sh", "-c", OUTSIDE, "sh"])
        .arg(&root)
        .arg(&places.root)
        .arg(&images)
        .arg(&cases)
        .args([CASES, INSIDE])
        .status()?;
    remove(&root)?;
    if !status.success() {
        bail!("the journey ended with {status}");
    }
    eprintln!("journey: installed, typed, purged; nothing is left");
    Ok(ExitCode::SUCCESS)
}

/// Removes a root whose mounts have gone with their namespace.
fn remove(root: &Path) -> Result<()> {
    match std::fs::remove_dir_all(root) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove `{}`", root.display()))
        }
        _ => Ok(()),
    }
}
