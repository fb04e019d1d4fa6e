//! `cargo xtask install --prefix DIR`: the product, laid out as it is found at run time; and
//! `cargo xtask uninstall`, which takes exactly that away again.
//!
//! Every file appears by rename, so a program that runs meanwhile keeps its own, and a chore that
//! is interrupted leaves no torn file. Nothing in what is installed names the prefix, so it can be
//! moved. It must not touch anything else under the prefix, which others may share.

mod parts;
mod record;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::places::Places;
use crate::setup;

pub(crate) use parts::{Part, build as build_parts, packages};
pub(crate) use record::sum_of;

use record::{PLACE, Record};

/// Arguments of the chore.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Where to install; `~/.local` when left out
    #[arg(long)]
    prefix: Option<PathBuf>,
}

/// Runs `install`.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let places = Places::find()?;
    let prefix = arguments.prefix()?;
    setup::ensure(&places, setup::Scope::Run)?;
    install(&places, &prefix)?;
    eprintln!("installed: {}", prefix.join("bin/microagent").display());
    let bin = prefix.join("bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|folder| folder == bin) {
        eprintln!("next: export PATH={}:$PATH", bin.display());
    }
    eprintln!("then: microagent doctor");
    Ok(ExitCode::SUCCESS)
}

/// Runs `uninstall`.
pub(crate) fn run_uninstall(arguments: &Arguments) -> Result<ExitCode> {
    let prefix = arguments.prefix()?;
    let kept = uninstall(&prefix)?;
    for path in &kept {
        eprintln!(
            "kept: {} is not what was installed; remove it by hand",
            prefix.join(path).display()
        );
    }
    eprintln!("uninstalled: {}", prefix.display());
    eprintln!("workspaces, images and kernels stay in ~/.microagent; they are yours to delete");
    Ok(ExitCode::SUCCESS)
}

impl Arguments {
    fn prefix(&self) -> Result<PathBuf> {
        match &self.prefix {
            Some(prefix) => std::path::absolute(prefix)
                .with_context(|| format!("cannot resolve `{}`", prefix.display())),
            None => Ok(PathBuf::from(
                std::env::var_os("HOME").context("HOME is not set; name a folder with --prefix")?,
            )
            .join(".local")),
        }
    }
}

/// Builds release programs and lays them out under the prefix. What setup provides must be there.
pub(crate) fn install(places: &Places, prefix: &Path) -> Result<()> {
    lay_out(&build_parts(places)?, prefix)
}

/// Puts parts under a prefix, in place of what an earlier installation put there.
pub(crate) fn lay_out(parts: &[Part], prefix: &Path) -> Result<()> {
    let before = Record::read(prefix)?;
    let mut new = Record::default();
    for part in parts {
        new.files.insert((part.to.clone(), sum_of(&part.from)?));
    }
    let places = parts.iter().map(|part| part.to.as_path());
    for place in places.chain([Path::new(PLACE)]) {
        let folders = place.ancestors().skip(1);
        for folder in folders.filter(|folder| !folder.as_os_str().is_empty()) {
            // One that was there before belongs to somebody else.
            if before.folders.contains(folder) || !prefix.join(folder).is_dir() {
                new.folders.insert(folder.to_owned());
            }
        }
    }
    write(prefix, &before.and(&new))?;
    for part in parts {
        put(&part.from, &prefix.join(&part.to), part.mode)?;
    }
    let paths = new.paths();
    let stale = before
        .paths()
        .into_iter()
        .filter(|path| !paths.contains(path));
    remove_files(prefix, &before, stale)?;
    write(prefix, &new)
}

/// Takes away what an installation put under the prefix; gives the files that have been changed since, which
/// stay.
fn uninstall(prefix: &Path) -> Result<Vec<PathBuf>> {
    let record = Record::read(prefix)?;
    if record.is_empty() {
        bail!(
            "nothing is installed under `{}`: there is no `{PLACE}`",
            prefix.display()
        );
    }
    let kept = remove_files(prefix, &record, record.paths().into_iter())?;
    remove(&prefix.join(PLACE))?;
    for folder in record.folders.iter().rev() {
        // One that somebody else uses by now is not empty and stays.
        let _ = std::fs::remove_dir(prefix.join(folder));
    }
    Ok(kept)
}

fn remove_files<'a>(
    prefix: &Path,
    record: &Record,
    paths: impl Iterator<Item = &'a Path>,
) -> Result<Vec<PathBuf>> {
    let mut kept = Vec::new();
    for path in paths {
        match record.is_ours(prefix, path)? {
            None => {}
            Some(true) => remove(&prefix.join(path))?,
            Some(false) => kept.push(path.to_owned()),
        }
    }
    Ok(kept)
}

fn remove(path: &Path) -> Result<()> {
    std::fs::remove_file(path).with_context(|| format!("cannot remove `{}`", path.display()))
}

fn write(prefix: &Path, record: &Record) -> Result<()> {
    let path = prefix.join(PLACE);
    appear(&path, |unfinished| {
        std::fs::write(unfinished, record.text())
    })
    .with_context(|| format!("cannot write `{}`", path.display()))
}

fn put(from: &Path, to: &Path, mode: u32) -> Result<()> {
    appear(to, |unfinished| {
        std::fs::copy(from, unfinished)?;
        std::fs::set_permissions(unfinished, std::fs::Permissions::from_mode(mode))
    })
    .with_context(|| format!("cannot install `{}` as `{}`", from.display(), to.display()))
}

/// Has a file appear whole, by rename.
fn appear(to: &Path, make: impl FnOnce(&Path) -> std::io::Result<()>) -> std::io::Result<()> {
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut unfinished = to.as_os_str().to_owned();
    unfinished.push(".new");
    let unfinished = PathBuf::from(unfinished);
    make(&unfinished)?;
    std::fs::rename(&unfinished, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("xtask-install-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn part(&self, to: &str, content: &str) -> Part {
            let from = self.0.join(to.replace('/', "-"));
            std::fs::write(&from, content).unwrap();
            Part {
                to: to.into(),
                from,
                mode: 0o755,
            }
        }

        fn prefix(&self) -> PathBuf {
            self.0.join("prefix")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn files(folder: &Path) -> Vec<String> {
        let mut files = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(at) = folders.pop() {
            for entry in std::fs::read_dir(at).unwrap() {
                let path = entry.unwrap().path();
                files.push(path.strip_prefix(folder).unwrap().display().to_string());
                if path.is_dir() {
                    folders.push(path);
                }
            }
        }
        files.sort();
        files
    }

    #[test]
    fn a_file_is_replaced_and_never_written_in_place() {
        let folder = Folder::new("replaced");
        let (source, target) = (folder.0.join("source"), folder.0.join("bin/program"));
        std::fs::write(&source, "first").unwrap();
        put(&source, &target, 0o755).unwrap();
        let kept = std::fs::File::open(&target).unwrap();
        std::fs::write(&source, "second").unwrap();
        put(&source, &target, 0o755).unwrap();
        assert_eq!(std::io::read_to_string(kept).unwrap(), "first");
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "second");
        let mode = std::fs::metadata(&target).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o755);
        assert_eq!(std::fs::read_dir(folder.0.join("bin")).unwrap().count(), 1);
    }

    #[test]
    fn uninstall_removes_what_install_put_there_and_nothing_else() {
        let folder = Folder::new("exact");
        let prefix = folder.prefix();
        std::fs::create_dir_all(prefix.join("bin")).unwrap();
        std::fs::write(prefix.join("bin/other"), "not ours").unwrap();
        let before = files(&prefix);
        let parts = [
            folder.part("bin/microagent", "one"),
            folder.part("libexec/kernels/qemu/Image", "two"),
        ];
        lay_out(&parts, &prefix).unwrap();
        // Twice is once.
        lay_out(&parts, &prefix).unwrap();
        assert!(uninstall(&prefix).unwrap().is_empty());
        assert_eq!(files(&prefix), before);
        assert!(uninstall(&prefix).is_err(), "nothing is left to uninstall");
    }

    #[test]
    fn what_was_changed_since_and_what_others_added_stays() {
        let folder = Folder::new("changed");
        let prefix = folder.prefix();
        let parts = [
            folder.part("bin/microagent", "one"),
            folder.part("libexec/kernels/qemu/Image", "two"),
        ];
        lay_out(&parts, &prefix).unwrap();
        std::fs::write(prefix.join("libexec/kernels/qemu/Image"), "their own").unwrap();
        std::fs::write(prefix.join("bin/other"), "not ours").unwrap();
        let kept = uninstall(&prefix).unwrap();
        assert_eq!(kept, [Path::new("libexec/kernels/qemu/Image")]);
        let left = files(&prefix);
        assert!(left.contains(&"bin/other".to_owned()), "{left:?}");
        assert!(!left.contains(&"bin/microagent".to_owned()), "{left:?}");
    }

    #[test]
    fn a_newer_installation_takes_away_what_it_has_no_more() {
        let folder = Folder::new("stale");
        let prefix = folder.prefix();
        let (kept, stale) = (folder.part("bin/a", "a"), folder.part("bin/b", "b"));
        lay_out(&[kept.clone(), stale], &prefix).unwrap();
        lay_out(&[kept], &prefix).unwrap();
        let left = files(&prefix.join("bin"));
        assert_eq!(left, ["a"]);
        uninstall(&prefix).unwrap();
        assert!(files(&prefix).is_empty());
    }

    #[test]
    fn an_installation_that_was_cut_off_can_be_taken_away() {
        let folder = Folder::new("cut");
        let prefix = folder.prefix();
        let first = folder.part("bin/a", "a");
        let lost = Part {
            to: "bin/b".into(),
            from: folder.0.join("nowhere"),
            mode: 0o644,
        };
        // What can't be read is noticed before anything is put.
        assert!(lay_out(&[first.clone(), lost], &prefix).is_err());
        assert!(!prefix.exists());
        lay_out(std::slice::from_ref(&first), &prefix).unwrap();
        // The record of both as it is while the second is put.
        let second = Record {
            files: [(first.to.clone(), "0".repeat(64))].into(),
            folders: std::collections::BTreeSet::new(),
        };
        write(&prefix, &Record::read(&prefix).unwrap().and(&second)).unwrap();
        assert!(uninstall(&prefix).unwrap().is_empty());
        assert!(files(&prefix).is_empty());
    }
}
