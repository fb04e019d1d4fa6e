//! A release without kernels: their images beside it, and a list in it that says where they are and what they
//! hash to. `microagent-boot` reads that list.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::write;
use crate::install::{self, Part};

/// Takes the kernels out of the parts and puts the list in; gives the images for the release's address.
pub(super) fn name_in_place_of(
    parts: &mut Vec<Part>,
    url: &str,
    folder: &Path,
) -> Result<Vec<PathBuf>> {
    let kernels = Path::new("libexec/kernels");
    let (taken, rest): (Vec<Part>, Vec<Part>) = parts
        .drain(..)
        .partition(|part| part.to.starts_with(kernels));
    *parts = rest;
    let mut entries = Vec::new();
    let mut images = BTreeSet::new();
    for part in taken.iter().filter(|part| part.to.ends_with("Image")) {
        let place = part.to.strip_prefix(kernels)?.with_file_name("");
        let mut words = place.iter().map(|word| word.to_string_lossy().into_owned());
        let (backend, arch) = (words.next(), words.next());
        let record = part.from.with_file_name("kernel.json");
        let text = std::fs::read_to_string(&record)
            .with_context(|| format!("cannot read `{}`", record.display()))?;
        let record: Value = serde_json::from_str(&text)?;
        let sum = install::sum_of(&part.from)?;
        // Backends that share a kernel share its file.
        let name = format!("microagent-kernel-{}", &sum[..16]);
        let image = folder.join(&name);
        std::fs::copy(&part.from, &image)
            .with_context(|| format!("cannot copy `{}`", part.from.display()))?;
        images.insert(image);
        entries.push(json!({
            "backend": backend,
            "arch": arch,
            "version": record["version"],
            "url": format!("{}/{name}", url.trim_end_matches('/')),
            "sha256": sum,
        }));
    }
    let list = folder.join("pinned.json");
    let document = json!({"schema": 1, "kernels": entries});
    write(&list, &format!("{document:#}\n"))?;
    parts.push(Part {
        to: kernels.join("pinned.json"),
        from: list,
        mode: 0o644,
    });
    parts.sort();
    Ok(images.into_iter().collect())
}
