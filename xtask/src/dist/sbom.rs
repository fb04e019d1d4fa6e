//! What is in a release, as a CycloneDX document: every crate that is linked into a program of ours, with its
//! licence and the checksum by which cargo knows it, the programs that ship beside, the kernel, and the hash of
//! every file.
//!
//! It is read from cargo's own metadata for the target that ships. It has no serial number and the time of the
//! commit, so it is the same for everybody. What `vhost-device-vsock` is linked from is not taken apart.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};
use serde_json::{Value, json};

use super::Release;
use crate::install::{self, Part};
use crate::places::Places;
use crate::shell::Run;

/// Guest init ships in the initramfs.
const GUEST_INIT: &str = "microagent-guestinit";

/// The document.
pub(super) fn document(places: &Places, release: &Release, parts: &[Part]) -> Result<String> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let metadata = MetadataCommand::new()
        .manifest_path(places.root.join("Cargo.toml"))
        .other_options(["--filter-platform".to_owned(), target])
        .exec()
        .context("cannot read cargo's metadata")?;
    let linked = linked(&metadata)?;
    let checksums = checksums(&std::fs::read_to_string(places.root.join("Cargo.lock"))?)?;
    let mut components = Vec::new();
    let mut dependencies = Vec::new();
    for package in metadata.packages.iter().filter(|p| linked.contains(&p.id)) {
        components.push(component(package, &checksums));
        let node = metadata
            .resolve
            .iter()
            .flat_map(|resolve| &resolve.nodes)
            .find(|node| node.id == package.id)
            .context("a package has no place in the graph")?;
        let mut on: Vec<String> = node
            .deps
            .iter()
            .filter(|dep| linked.contains(&dep.pkg))
            .map(|dep| purl(&metadata[&dep.pkg]))
            .collect();
        on.sort();
        on.dedup();
        dependencies.push(json!({"ref": purl(package), "dependsOn": on}));
    }
    components.extend(beside(parts)?);
    for part in parts {
        components.push(json!({
            "type": "file",
            "name": part.to.display().to_string(),
            "bom-ref": format!("file:{}", part.to.display()),
            "hashes": [{"alg": "SHA-256", "content": install::sum_of(&part.from)?}],
        }));
    }
    for list in [&mut components, &mut dependencies] {
        list.sort_by_key(|entry| {
            [&entry["type"], &entry["bom-ref"], &entry["ref"]].map(Value::to_string)
        });
    }
    let document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": time(release.epoch)?,
            "component": {
                "type": "application",
                "name": "microagent",
                "version": release.version,
                "bom-ref": "microagent",
                "licenses": [{"expression": "Apache-2.0"}],
            },
        },
        "components": components,
        "dependencies": dependencies,
    });
    Ok(format!("{document:#}\n"))
}

/// Every package that normal dependencies link into what ships.
fn linked(metadata: &Metadata) -> Result<BTreeSet<PackageId>> {
    let resolve = metadata.resolve.as_ref().context("cargo gave no graph")?;
    let nodes: BTreeMap<_, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let ships = |name: &str| name == GUEST_INIT || install::packages().any(|own| own == name);
    let mut left: Vec<&PackageId> = metadata
        .packages
        .iter()
        .filter(|package| ships(package.name.as_ref()))
        .map(|package| &package.id)
        .collect();
    let mut linked = BTreeSet::new();
    while let Some(id) = left.pop() {
        if !linked.insert(id.clone()) {
            continue;
        }
        let node = nodes
            .get(id)
            .context("a package has no place in the graph")?;
        for dependency in &node.deps {
            let normal = |kind: &cargo_metadata::DepKindInfo| kind.kind == DependencyKind::Normal;
            if dependency.dep_kinds.iter().any(normal) {
                left.push(&dependency.pkg);
            }
        }
    }
    Ok(linked)
}

fn component(package: &Package, checksums: &BTreeMap<(String, String), String>) -> Value {
    let key = (package.name.to_string(), package.version.to_string());
    let mut component = json!({
        "type": "library",
        "name": package.name.to_string(),
        "version": package.version.to_string(),
        "bom-ref": purl(package),
        "purl": purl(package),
    });
    if let Some(license) = &package.license {
        component["licenses"] = json!([{"expression": license.replace('/', " OR ")}]);
    }
    if let Some(sum) = checksums.get(&key) {
        component["hashes"] = json!([{"alg": "SHA-256", "content": sum}]);
    }
    component
}

fn purl(package: &Package) -> String {
    format!("pkg:cargo/{}@{}", package.name, package.version)
}

/// What ships and is not ours.
fn beside(parts: &[Part]) -> Result<Vec<Value>> {
    let version = crate::setup::program_version("vhost-device-vsock").context("no version")?;
    let mut components = vec![json!({
        "type": "application",
        "name": "vhost-device-vsock",
        "version": version,
        "bom-ref": format!("pkg:cargo/vhost-device-vsock@{version}"),
        "purl": format!("pkg:cargo/vhost-device-vsock@{version}"),
        "licenses": [{"expression": "Apache-2.0 OR BSD-3-Clause"}],
    })];
    let record = parts.iter().find(|part| part.to.ends_with("kernel.json"));
    if let Some(record) = record {
        let record: Value = serde_json::from_str(&std::fs::read_to_string(&record.from)?)?;
        let version = record["version"].as_str().unwrap_or_default();
        components.push(json!({
            "type": "operating-system",
            "name": "linux",
            "version": version,
            "bom-ref": format!("linux@{version}"),
            "licenses": [{"expression": "GPL-2.0-only WITH Linux-syscall-note"}],
        }));
    }
    Ok(components)
}

/// What cargo knows each crate of a registry by.
fn checksums(lock: &str) -> Result<BTreeMap<(String, String), String>> {
    let lock: toml::Table = toml::from_str(lock).context("cannot read Cargo.lock")?;
    let packages = lock.get("package").and_then(toml::Value::as_array);
    let text = |package: &toml::Value, key: &str| Some(package.get(key)?.as_str()?.to_owned());
    Ok(packages
        .into_iter()
        .flatten()
        .filter_map(|package| {
            let key = (text(package, "name")?, text(package, "version")?);
            Some((key, text(package, "checksum")?))
        })
        .collect())
}

fn time(epoch: u64) -> Result<String> {
    let line = Run::new("date")
        .args(["--utc", "+%Y-%m-%dT%H:%M:%SZ"])
        .arg(format!("--date=@{epoch}"))
        .output()?;
    Ok(line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ships_is_listed_and_what_only_tests_use_is_not() {
        let places = Places::find().unwrap();
        let release = Release {
            version: "0.0.0".to_owned(),
            arch: crate::kernel::Arch::of_this_host().unwrap(),
            epoch: 0,
        };
        let text = document(&places, &release, &[]).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["metadata"]["timestamp"], "1970-01-01T00:00:00Z");
        let components = document["components"].as_array().unwrap();
        let named = |name: &str| components.iter().find(|c| c["name"] == name);
        for name in ["microagent-cli", "microagent-guestinit", "tokio", "reqwest"] {
            assert!(named(name).is_some(), "{name}");
        }
        for name in ["proptest", "insta", "microagent-test", "xtask"] {
            assert!(named(name).is_none(), "{name}");
        }
        assert!(named("tokio").unwrap()["hashes"][0]["content"].is_string());
        assert!(
            components
                .iter()
                .all(|c| c["type"] != "library" || c["licenses"].is_array())
        );
    }

    #[test]
    fn a_lock_file_gives_the_checksums_of_registries_alone() {
        let lock = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nchecksum = \"ff\"\n\n[[package]]\nname = \"own\"\nversion = \"0.1.0\"\n";
        let found = checksums(lock).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[&("a".to_owned(), "1.0.0".to_owned())], "ff");
    }
}
