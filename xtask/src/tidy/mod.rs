//! `cargo xtask tidy`: the rules of `ARCHITECTURE.md` and `STYLE.md` that a machine can hold.
//!
//! A rule that nothing runs goes to sleep. These checks read text and cargo's metadata, build
//! nothing and take a second or two. Each check takes values and gives problems, so its test is a
//! small bad input. It reports and mends nothing.

mod dependencies;
mod headers;
pub(crate) mod links;
mod places;
mod rust_text;
mod sizes;
mod tables;
mod words;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::places::Places;
pub(crate) use dependencies::kinds;
use rust_text::RustText;

/// A rule that does not hold somewhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    file: PathBuf,
    line: Option<usize>,
    text: String,
}

impl Problem {
    fn in_file(file: &Path, text: impl Into<String>) -> Self {
        Self {
            file: file.to_path_buf(),
            line: None,
            text: text.into(),
        }
    }

    fn at(file: &Path, line: usize, text: impl Into<String>) -> Self {
        Self {
            line: Some(line),
            ..Self::in_file(file, text)
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(formatter, ":{line}")?;
        }
        write!(formatter, ": {}", self.text)
    }
}

/// A Rust source file of ours.
pub(crate) struct SourceFile {
    /// The package that it belongs to.
    package: String,
    /// The path from the root of the checkout.
    path: PathBuf,
    /// The path from the package's folder.
    inner: PathBuf,
    text: RustText,
}

impl SourceFile {
    fn new(package: &str, inner: &str, text: &str) -> Self {
        let folder = if package == "xtask" { "" } else { "crates" };
        let mut source = Self {
            package: package.to_owned(),
            path: Path::new(folder).join(package).join(inner),
            inner: inner.into(),
            text: RustText::new(text),
        };
        if source.is_test() {
            source.text.tests_from = 0;
        }
        source
    }

    /// Whether the whole file is tests.
    fn is_test(&self) -> bool {
        self.inner
            .with_extension("")
            .components()
            .any(|part| part.as_os_str() == "tests")
    }

    /// Whether the path below the package's `src` starts with one of these, by whole components
    /// and without regard to `.rs`.
    fn is_in(&self, places: &[&str]) -> bool {
        let bare = self.inner.with_extension("");
        places
            .iter()
            .any(|place| bare.starts_with(Path::new("src").join(place)))
    }
}

/// Runs the chore.
pub(crate) fn run() -> Result<ExitCode> {
    let problems = check(&Places::find()?)?;
    for problem in &problems {
        println!("{problem}");
    }
    if problems.is_empty() {
        eprintln!("tidy: nothing to say");
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("tidy: {} problems", problems.len());
    Ok(ExitCode::FAILURE)
}

/// Every problem of the checkout, in order of files.
pub(crate) fn check(places: &Places) -> Result<Vec<Problem>> {
    let architecture = read(&places.root.join("ARCHITECTURE.md"))?;
    let sources = sources(&places.root)?;
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(places.root.join("Cargo.toml"))
        .no_deps()
        .exec()
        .context("cannot read cargo's metadata")?;
    let packages = dependencies::packages(&metadata);
    let mut problems = dependencies::check_own(&architecture, &packages);
    problems.extend(dependencies::check_third_party(&architecture, &packages));
    for source in &sources {
        problems.extend(places::check(source));
        problems.extend(sizes::check(source));
        problems.extend(headers::check(source));
        problems.extend(words::check(source));
    }
    problems.extend(sizes::dead_files(&sources));
    problems.extend(links::check(&places.root)?);
    problems.sort();
    Ok(problems)
}

fn sources(root: &Path) -> Result<Vec<SourceFile>> {
    let mut sources = Vec::new();
    let crates = root.join("crates");
    let mut folders = vec![root.join("xtask")];
    folders.extend(entries(&crates)?);
    for folder in folders {
        let package = folder
            .file_name()
            .and_then(|name| name.to_str())
            .with_context(|| format!("`{}` has no name", folder.display()))?
            .to_owned();
        for part in ["src", "tests"] {
            collect(&folder, &folder.join(part), &package, &mut sources)?;
        }
    }
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(sources)
}

fn collect(base: &Path, folder: &Path, package: &str, sources: &mut Vec<SourceFile>) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for path in entries(folder)? {
        if path.is_dir() {
            collect(base, &path, package, sources)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let inner = path
                .strip_prefix(base)
                .ok()
                .and_then(Path::to_str)
                .with_context(|| format!("`{}` is not UTF-8", path.display()))?;
            sources.push(SourceFile::new(package, inner, &read(&path)?));
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    std::fs::read_dir(folder)
        .and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect()
        })
        .with_context(|| format!("cannot list `{}`", folder.display()))
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_checkout_is_tidy() {
        let problems = check(&Places::find().unwrap()).unwrap();
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(lines.is_empty(), "\n{}", lines.join("\n"));
    }

    #[test]
    fn a_place_is_matched_by_whole_components() {
        let inside = SourceFile::new("microagent-os", "src/process/unix.rs", "");
        let beside = SourceFile::new("microagent-os", "src/process_list.rs", "");
        assert!(inside.is_in(&["process"]));
        assert!(!beside.is_in(&["process"]));
        let file = SourceFile::new("microagent-guestinit", "src/workload.rs", "");
        assert!(file.is_in(&["workload"]));
    }
}
