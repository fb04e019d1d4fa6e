//! Where the kernel's source comes from: Debian's source package, whose origin apt has proved.
//!
//! `source.toml` pins the version that releases are tested with. A machine may hold a newer package
//! of the series (Debian replaces it with each security update); that is used and named. The pinned
//! version with other content is refused.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::shell::Run;

/// The pinned source.
#[derive(Debug)]
pub(crate) struct Source {
    /// The Debian package.
    pub(crate) package: String,
    /// The archive that the package installs.
    pub(crate) archive: PathBuf,
    version: String,
    sha256: String,
}

impl Source {
    /// Reads `source.toml`.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read `{}`", path.display()))?;
        let table: toml::Table = text
            .parse()
            .with_context(|| format!("in `{}`", path.display()))?;
        let field = |name: &str| {
            table
                .get(name)
                .and_then(toml::Value::as_str)
                .map(str::to_owned)
                .with_context(|| format!("`{}` has no `{name}`", path.display()))
        };
        Ok(Self {
            package: field("package")?,
            archive: field("archive")?.into(),
            version: field("version")?,
            sha256: field("sha256")?,
        })
    }

    /// The version that this machine has.
    pub(crate) fn installed_version(&self) -> Result<String> {
        Run::new("dpkg-query")
            .args(["--show", "--showformat=${Version}", &self.package])
            .output()
            .with_context(|| {
                format!(
                    "the kernel's source package is not installed; `cargo xtask setup` installs \
                     it, or: apt-get install {}",
                    self.package
                )
            })
    }

    /// Checks the content when the version is the pinned one, and says when it is another.
    pub(crate) fn verify(&self, version: &str) -> Result<()> {
        if version != self.version {
            eprintln!(
                "note: `{}` is {version}; releases are tested with {}",
                self.package, self.version
            );
            return Ok(());
        }
        let actual = sha256_of(&self.archive)?;
        if actual != self.sha256 {
            bail!(
                "`{}` has the SHA-256 {actual}; version {version} must have {}",
                self.archive.display(),
                self.sha256
            );
        }
        Ok(())
    }
}

/// The SHA-256 of a file, in hex.
pub(crate) fn sha256_of(path: &Path) -> Result<String> {
    let mut file =
        std::fs::File::open(path).with_context(|| format!("cannot open `{}`", path.display()))?;
    let mut hasher = HashWriter(Sha256::new());
    std::io::copy(&mut file, &mut hasher)
        .with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok(hex(&hasher.0.finalize()))
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    pairs.concat()
}

struct HashWriter(Sha256);

impl std::io::Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
