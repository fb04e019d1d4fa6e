//! The archive: a prefix in a folder of its own, with the licence and what changed. The system's own `tar` and
//! `gzip` write it, told to leave out everything that differs from day to day and from person to person.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Release, replace_folder, stage};
use crate::install::Part;
use crate::places::Places;
use crate::shell::Run;

/// Texts of the checkout that go with every copy.
const TEXTS: [&str; 3] = ["LICENSE", "README.md", "CHANGELOG.md"];

/// Makes it; gives its path.
pub(super) fn make(
    places: &Places,
    release: &Release,
    parts: &[Part],
    folder: &Path,
) -> Result<PathBuf> {
    let name = format!(
        "microagent-{}-linux-{}",
        release.version,
        release.arch.name()
    );
    let staging = places.target.join("dist-archive");
    replace_folder(&staging)?;
    for part in parts {
        stage(part, &staging.join(&name))?;
    }
    for text in TEXTS {
        let part = Part {
            to: text.into(),
            from: places.root.join(text),
            mode: 0o644,
        };
        stage(&part, &staging.join(&name))?;
    }
    pack(&staging, &name, release.epoch, &folder.join(&name))
}

/// Packs a folder of the staging folder as `<to>.tar.gz`.
fn pack(staging: &Path, name: &str, epoch: u64, to: &Path) -> Result<PathBuf> {
    let tar = to.with_file_name(format!("{name}.tar"));
    Run::new("tar")
        .args(["--sort=name", "--format=ustar", "--numeric-owner"])
        .args(["--owner=0", "--group=0", "--mode=u=rwX,go=rX"])
        .arg(format!("--mtime=@{epoch}"))
        .arg("--create")
        .arg("--file")
        .arg(&tar)
        .arg("--directory")
        .arg(staging)
        .arg(name)
        .ok()?;
    Run::new("gzip")
        .args(["--no-name", "--best", "--force"])
        .arg(&tar)
        .ok()?;
    std::fs::remove_dir_all(staging)?;
    Ok(to.with_file_name(format!("{name}.tar.gz")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_files_make_the_same_bytes_whatever_their_times_and_order() {
        let folder = std::env::temp_dir().join(format!("xtask-archive-{}", std::process::id()));
        let packed = |names: [&str; 2], mode: u32| {
            use std::os::unix::fs::PermissionsExt as _;
            let staging = folder.join("staging");
            std::fs::create_dir_all(staging.join("p/bin")).unwrap();
            for name in names {
                let path = staging.join("p/bin").join(name);
                std::fs::write(&path, name).unwrap();
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            }
            let made = pack(&staging, "p", 1_700_000_000, &folder.join("p")).unwrap();
            std::fs::read(made).unwrap()
        };
        let first = packed(["a", "b"], 0o700);
        assert_eq!(packed(["b", "a"], 0o755), first);
        assert_ne!(packed(["b", "c"], 0o755), first);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
