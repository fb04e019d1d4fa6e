//! Links between pages: each leads to a file of the checkout and, where it names one, to a heading that is there.
//!
//! Addresses of the network are not asked, so the check needs none and says the same everywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};

use super::Problem;

/// Problems of every page.
pub(super) fn check(root: &Path) -> Result<Vec<Problem>> {
    let mut pages = BTreeMap::new();
    for path in pages_of(root)? {
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read `{}`", path.display()))?;
        pages.insert(path, text);
    }
    let anchors: BTreeMap<&PathBuf, BTreeSet<String>> = pages
        .iter()
        .map(|(path, text)| (path, anchors(text)))
        .collect();
    let mut problems = Vec::new();
    for (path, text) in &pages {
        let shown = path.strip_prefix(root).unwrap_or(path);
        for (line, target) in links(text) {
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let to = if file.is_empty() {
                path.clone()
            } else {
                normal(&path.with_file_name(file))
            };
            if !to.exists() {
                problems.push(Problem::at(shown, line, format!("there is no `{target}`")));
            } else if !anchor.is_empty()
                && anchors
                    .get(&to)
                    .is_some_and(|known| !known.contains(anchor))
            {
                let text = format!("`{file}` has no heading `{anchor}`");
                problems.push(Problem::at(shown, line, text));
            }
        }
    }
    Ok(problems)
}

/// The pages that people read: those of the root, and all below `docs`.
pub(crate) fn pages_of(root: &Path) -> Result<Vec<PathBuf>> {
    let mut pages = Vec::new();
    let mut folders = vec![root.join("docs")];
    let list = |folder: &Path| -> Result<Vec<PathBuf>> {
        std::fs::read_dir(folder)
            .with_context(|| format!("cannot list `{}`", folder.display()))?
            .map(|entry| Ok(entry?.path()))
            .collect()
    };
    let is_page = |path: &Path| path.extension().is_some_and(|ext| ext == "md");
    pages.extend(list(root)?.into_iter().filter(|path| is_page(path)));
    while let Some(folder) = folders.pop() {
        for path in list(&folder)? {
            if path.is_dir() {
                folders.push(path);
            } else if is_page(&path) {
                pages.push(path);
            }
        }
    }
    pages.sort();
    Ok(pages)
}

/// Links to files, each with its line from 1. What stands in a block of code is none.
pub(crate) fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (number, line) in prose(text) {
        // What stands between backticks is code.
        let line: String = line.split('`').step_by(2).collect();
        let mut rest = line.as_str();
        while let Some((_, after)) = rest.split_once("](") {
            let Some((target, after)) = after.split_once(')') else {
                break;
            };
            if !target.contains("://") && !target.starts_with("mailto:") {
                links.push((number, target.to_owned()));
            }
            rest = after;
        }
    }
    links
}

/// The names of a page's headings as sites make them: lower case, hyphens for spaces, other signs left out.
fn anchors(text: &str) -> BTreeSet<String> {
    prose(text)
        .filter_map(|(_, line)| {
            let title = line.trim_start_matches('#');
            (title.len() < line.len() && title.starts_with(' ')).then(|| {
                let kept = title.trim().to_lowercase();
                kept.chars()
                    .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                    .map(|c| if c == ' ' { '-' } else { c })
                    .collect()
            })
        })
        .collect()
}

fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().filter_map(move |(number, line)| {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
            return None;
        }
        (!in_code).then_some((number + 1, line))
    })
}

/// The path without `..`, by its words alone.
pub(crate) fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        if component == Component::ParentDir {
            normal.pop();
        } else {
            normal.push(component);
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_link_and_a_heading_that_is_not_there_are_named_with_their_line() {
        let root = std::env::temp_dir().join(format!("xtask-links-{}", std::process::id()));
        std::fs::create_dir_all(root.join("docs/how-to")).unwrap();
        let write = |name: &str, text: &str| std::fs::write(root.join(name), text).unwrap();
        write(
            "docs/a.md",
            "# The A-page, twice\n```\n[no](link.md)\n```\n",
        );
        write(
            "docs/how-to/b.md",
            "[well](../a.md#the-a-page-twice) and [web](https://example.test/x)\n[gone](../c.md), [no](../a.md#other)\n",
        );
        let problems = check(&root).unwrap();
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                "docs/how-to/b.md:2: there is no `../c.md`",
                "docs/how-to/b.md:2: `../a.md` has no heading `other`"
            ]
        );
        std::fs::remove_dir_all(&root).unwrap();
    }
}
