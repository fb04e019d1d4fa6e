//! `cargo xtask site`: the pages of `docs/` as a static site, in `target/site`.
//!
//! ```text
//! docs/ ──copy, links out of it made absolute──► target/site-source ──mdbook──► target/site ──every link looked up
//! ```
//!
//! mdBook is built once from crates.io, at a pinned version, when this chore is first called. The site needs no server:
//! its files can be opened where they lie. Nothing is uploaded.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::places::Places;
use crate::setup;
use crate::shell::Run;
use crate::tidy::links;

/// Where files of the checkout are that are not part of the site.
const REPOSITORY: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/");
const BOOK: &str = "\
[book]
title = \"microagent\"
language = \"en\"
src = \"docs\"

[output.html]
no-section-label = true
git-repository-url = \"REPOSITORY\"
";

/// Runs the chore.
pub(crate) fn run() -> Result<ExitCode> {
    let places = Places::find()?;
    let mdbook = setup::obtain_program(&places, "mdbook")?;
    let source = places.target.join("site-source");
    let site = places.target.join("site");
    for folder in [&source, &site] {
        if folder.exists() {
            std::fs::remove_dir_all(folder)
                .with_context(|| format!("cannot empty `{}`", folder.display()))?;
        }
    }
    copy(&places.root, &places.root.join("docs"), &source)?;
    let book = BOOK.replace("REPOSITORY", env!("CARGO_PKG_REPOSITORY"));
    std::fs::write(source.join("book.toml"), book)?;
    Run::new(mdbook)
        .arg("build")
        .arg("--dest-dir")
        .arg(&site)
        .arg(&source)
        .ok()?;
    let dead = dead_links(&site)?;
    if !dead.is_empty() {
        bail!("dead links:\n{}", dead.join("\n"));
    }
    println!("{}", site.join("index.html").display());
    Ok(ExitCode::SUCCESS)
}

/// Copies a folder of pages; links to what is not among them lead to the repository.
fn copy(root: &Path, folder: &Path, to: &Path) -> Result<()> {
    for path in files(folder)? {
        let target = to.join(path.strip_prefix(root)?);
        if let Some(above) = target.parent() {
            std::fs::create_dir_all(above)?;
        }
        if path.extension().is_some_and(|ext| ext == "md") {
            let text = std::fs::read_to_string(&path)?;
            std::fs::write(&target, rewritten(root, &path, &text)?)?;
        } else {
            std::fs::copy(&path, &target)?;
        }
    }
    Ok(())
}

fn rewritten(root: &Path, page: &Path, text: &str) -> Result<String> {
    let docs = root.join("docs");
    let mut text = text.to_owned();
    for (_, target) in links::links(&text.clone()) {
        let (file, _) = target.split_once('#').unwrap_or((&target, ""));
        let leads_to = links::normal(&page.with_file_name(file));
        if !file.is_empty() && !leads_to.starts_with(&docs) {
            let of_root = leads_to.strip_prefix(root)?.display().to_string();
            let absolute = target.replacen(file, &[REPOSITORY, &of_root].concat(), 1);
            text = text.replace(
                &["](", &target, ")"].concat(),
                &["](", &absolute, ")"].concat(),
            );
        }
    }
    Ok(text)
}

/// Links of finished pages to files that are not there.
fn dead_links(site: &Path) -> Result<Vec<String>> {
    let mut dead = Vec::new();
    for page in files(site)? {
        if page.extension().is_none_or(|ext| ext != "html") {
            continue;
        }
        let text = std::fs::read_to_string(&page)
            .with_context(|| format!("cannot read `{}`", page.display()))?;
        // The page for what is not found names files from the root of the site.
        if page.ends_with("404.html") {
            continue;
        }
        for attribute in [" href=\"", " src=\""] {
            for part in text.split(attribute).skip(1) {
                let target = part.split('"').next().unwrap_or_default();
                let file = target.split(['#', '?']).next().unwrap_or_default();
                let outside = target.contains(':') || file.is_empty();
                if !outside && !links::normal(&page.with_file_name(file)).exists() {
                    dead.push(format!("{}: `{target}`", page.display()));
                }
            }
        }
    }
    Ok(dead)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder)
            .with_context(|| format!("cannot list `{}`", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_out_of_the_site_leads_to_the_repository_and_one_within_it_stays() {
        let root = Path::new("/checkout");
        let page = root.join("docs/how-to/a.md");
        let text = "[one](../../SECURITY.md#scope) [two](../network.md) [three](#here)";
        let rewritten = rewritten(root, &page, text).unwrap();
        let absolute =
            format!("[one]({REPOSITORY}SECURITY.md#scope) [two](../network.md) [three](#here)");
        assert_eq!(rewritten, absolute);
    }
}
