//! `cargo xtask dist`: what a release is made of, in `target/dist`.
//!
//! ```text
//! microagent-<version>-linux-<arch>.tar.gz   a prefix: unpack it anywhere
//! microagent_<version>_<arch>.deb            the same for Debian 12 and later
//! microagent-<version>.cdx.json              what is in it: CycloneDX
//! SHA256SUMS
//! ```
//!
//! From the same programs it makes the same bytes, whoever makes it and when: names sorted, owners and times fixed.
//! The time is that of the commit, or `SOURCE_DATE_EPOCH`. It signs nothing, uploads nothing and installs nothing.

mod archive;
mod debian;
mod glibc;
mod kernels;
mod sbom;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use crate::install::{self, Part};
use crate::kernel::Arch;
use crate::places::Places;
use crate::setup;
use crate::shell::Run;

/// Arguments of the chore.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Leave the kernels out and name this address for them: they are fetched on the first use, by their SHA-256
    #[arg(long, value_name = "URL")]
    kernels_at: Option<String>,
}

/// What every file of a release says of itself.
pub(crate) struct Release {
    /// The version of the workspace.
    pub(crate) version: String,
    /// What it runs on.
    pub(crate) arch: Arch,
    /// Seconds since 1970, for every time in it.
    pub(crate) epoch: u64,
}

/// Runs the chore.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let places = Places::find()?;
    setup::ensure(&places, setup::Scope::Run)?;
    for path in make(&places, arguments.kernels_at.as_deref())? {
        println!("{}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes everything, in place of what was made before; gives the paths.
pub(crate) fn make(places: &Places, kernels_at: Option<&str>) -> Result<Vec<PathBuf>> {
    let release = Release::of(places)?;
    let folder = places.target.join("dist");
    replace_folder(&folder)?;
    let mut parts = install::build_parts(places)?;
    let mut extra = Vec::new();
    if let Some(url) = kernels_at {
        extra = kernels::name_in_place_of(&mut parts, url, &folder)?;
    }
    let libc = glibc::needed(&parts)?;
    let sbom = folder.join(format!("microagent-{}.cdx.json", release.version));
    write(&sbom, &sbom::document(places, &release, &parts)?)?;
    let mut made = vec![
        archive::make(places, &release, &parts, &folder)?,
        debian::make(places, &release, &parts, &libc, &folder)?,
        sbom,
    ];
    made.append(&mut extra);
    made.sort();
    let mut sums = String::new();
    for path in &made {
        let name = path.file_name().context("a file has a name")?;
        sums += &[&install::sum_of(path)?, "  ", &name.to_string_lossy(), "\n"].concat();
    }
    let path = folder.join("SHA256SUMS");
    write(&path, &sums)?;
    made.push(path);
    Ok(made)
}

impl Release {
    fn of(places: &Places) -> Result<Self> {
        let epoch = match std::env::var("SOURCE_DATE_EPOCH") {
            Ok(text) => text,
            Err(_) => Run::new("git")
                .args(["log", "-1", "--format=%ct"])
                .current_dir(&places.root)
                .output()
                .context("without a git checkout, set SOURCE_DATE_EPOCH")?,
        };
        Ok(Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            arch: Arch::of_this_host()?,
            epoch: epoch
                .trim()
                .parse()
                .context("SOURCE_DATE_EPOCH is no number of seconds")?,
        })
    }
}

/// Copies a part to its place below a folder.
fn stage(part: &Part, folder: &Path) -> Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let to = folder.join(&part.to);
    let above = to.parent().context("a file needs a folder")?;
    std::fs::create_dir_all(above)
        .and_then(|()| std::fs::copy(&part.from, &to))
        .and_then(|_| std::fs::set_permissions(&to, std::fs::Permissions::from_mode(part.mode)))
        .with_context(|| format!("cannot copy `{}`", part.from.display()))?;
    Ok(to)
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make `{}`", folder.display()))?;
    }
    std::fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))
}

/// An empty folder, whatever was there.
fn replace_folder(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot empty `{}`", folder.display()));
        }
        _ => {}
    }
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make `{}`", folder.display()))
}
