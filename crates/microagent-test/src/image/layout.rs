//! An image as an OCI layout folder, an OCI archive or what `docker save` writes; sound or broken.

use super::layer::{Blob, Layer, sha256};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::Path;
use tar::{Builder, Header};

const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const REFERENCE: &str = "org.opencontainers.image.ref.name";

/// What an image says about its command.
#[derive(Debug, Clone, Default)]
pub struct ImageConfig {
    /// Words before the command.
    pub entrypoint: Vec<String>,
    /// The command, or its arguments.
    pub command: Vec<String>,
    /// `KEY=VALUE` lines.
    pub env: Vec<String>,
    /// Who runs it.
    pub user: String,
    /// Where it runs.
    pub workdir: String,
    /// What asks it to stop.
    pub stop_signal: String,
}

/// What is wrong with an image. The digests elsewhere in it are right, so that only this is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// One byte of the last layer's blob is another one.
    LayerByteFlipped,
    /// The last layer's blob ends in its middle.
    LayerTruncated,
    /// The last layer's blob is not there.
    LayerMissing,
    /// The config names another content for the last layer.
    DiffIdWrong,
    /// The manifest's blob is not JSON.
    ManifestBroken,
    /// There is no `index.json`.
    IndexMissing,
    /// `index.json` is not JSON.
    IndexBroken,
    /// The image is for another architecture.
    OtherArchitecture,
}

/// An image under construction, layers from the bottom up.
#[derive(Debug)]
pub struct Image {
    layers: Vec<Layer>,
    config: ImageConfig,
    tag: String,
    flaw: Option<Flaw>,
}

impl Default for Image {
    fn default() -> Self {
        Self::new()
    }
}

impl Image {
    /// An image without a layer, tagged `latest`.
    pub fn new() -> Self {
        Self {
            layers: Vec::new(),
            config: ImageConfig::default(),
            tag: "latest".to_owned(),
            flaw: None,
        }
    }

    /// Adds a layer on top.
    #[must_use]
    pub fn layer(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }

    /// What it says about its command.
    #[must_use]
    pub fn config(mut self, config: ImageConfig) -> Self {
        self.config = config;
        self
    }

    /// Breaks it.
    #[must_use]
    pub fn flaw(mut self, flaw: Flaw) -> Self {
        self.flaw = Some(flaw);
        self
    }

    /// Writes it as an OCI layout folder, which must not exist.
    pub fn write_layout(self, folder: &Path) -> Result<()> {
        for (name, bytes) in self.layout_files()? {
            let path = folder.join(name);
            let parent = path.parent().context("every file has a folder")?;
            std::fs::create_dir_all(parent)
                .with_context(|| format!("cannot make `{}`", parent.display()))?;
            std::fs::write(&path, bytes)
                .with_context(|| format!("cannot write `{}`", path.display()))?;
        }
        Ok(())
    }

    /// Writes it as an OCI archive.
    pub fn write_oci_archive(self, file: &Path) -> Result<()> {
        write_tar(file, self.layout_files()?)
    }

    /// Writes it as `docker save` does. Its layers are plain tars there, whatever packing was asked for.
    pub fn write_docker_archive(self, file: &Path) -> Result<()> {
        let tag = format!("example/made:{}", self.tag);
        let parts = self.parts()?;
        let config_name = format!("{}.json", sha256(&parts.config));
        let layer_names: Vec<String> = parts
            .layers
            .iter()
            .map(|blob| format!("{}/layer.tar", blob.diff_id))
            .collect();
        let manifest = json!([{
            "Config": config_name,
            "RepoTags": [tag],
            "Layers": layer_names,
        }]);
        let mut files = vec![(config_name, parts.config)];
        for (name, blob) in layer_names.into_iter().zip(parts.layers) {
            files.push((name, blob.bytes));
        }
        files.push(("manifest.json".to_owned(), to_bytes(&manifest)));
        write_tar(file, files)
    }

    fn layout_files(self) -> Result<Vec<(String, Vec<u8>)>> {
        let flaw = self.flaw;
        let tag = self.tag.clone();
        let mut parts = self.parts()?;
        let mut manifest = to_bytes(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": descriptor(CONFIG_TYPE, &sha256(&parts.config), parts.config.len()),
            "layers": parts
                .layers
                .iter()
                .map(|blob| descriptor(&blob.media_type, &blob.digest, blob.bytes.len()))
                .collect::<Vec<Value>>(),
        }));
        if flaw == Some(Flaw::ManifestBroken) {
            manifest = b"{\"schemaVersion\": 2, \"layers\": [".to_vec();
        }
        let manifest_digest = sha256(&manifest);
        let mut entry = descriptor(MANIFEST_TYPE, &manifest_digest, manifest.len());
        entry["annotations"] = json!({ REFERENCE: tag });
        entry["platform"] = json!({ "os": "linux", "architecture": architecture(flaw) });
        let mut index = to_bytes(&json!({ "schemaVersion": 2, "manifests": [entry] }));
        if flaw == Some(Flaw::IndexBroken) {
            index.truncate(index.len() / 2);
        }
        spoil_last_layer(&mut parts.layers, flaw);
        let mut files = vec![(
            "oci-layout".to_owned(),
            to_bytes(&json!({ "imageLayoutVersion": "1.0.0" })),
        )];
        if flaw != Some(Flaw::IndexMissing) {
            files.push(("index.json".to_owned(), index));
        }
        files.push((blob_path(&manifest_digest), manifest));
        files.push((blob_path(&sha256(&parts.config)), parts.config));
        for blob in parts.layers {
            files.push((blob_path(&blob.digest), blob.bytes));
        }
        Ok(files)
    }

    fn parts(self) -> Result<Parts> {
        let layers = self
            .layers
            .into_iter()
            .map(Layer::finish)
            .collect::<Result<Vec<Blob>>>()?;
        let mut diff_ids: Vec<String> = layers
            .iter()
            .map(|blob| format!("sha256:{}", blob.diff_id))
            .collect();
        if self.flaw == Some(Flaw::DiffIdWrong)
            && let Some(last) = diff_ids.last_mut()
        {
            *last = format!("sha256:{}", sha256(b"something else"));
        }
        let mut config = json!({
            "architecture": architecture(self.flaw),
            "os": "linux",
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
            "config": { "Env": self.config.env },
        });
        let section = &mut config["config"];
        if !self.config.entrypoint.is_empty() {
            section["Entrypoint"] = json!(self.config.entrypoint);
        }
        if !self.config.command.is_empty() {
            section["Cmd"] = json!(self.config.command);
        }
        for (key, value) in [
            ("User", self.config.user),
            ("WorkingDir", self.config.workdir),
            ("StopSignal", self.config.stop_signal),
        ] {
            if !value.is_empty() {
                section[key] = json!(value);
            }
        }
        Ok(Parts {
            config: to_bytes(&config),
            layers,
        })
    }
}

struct Parts {
    config: Vec<u8>,
    layers: Vec<Blob>,
}

fn spoil_last_layer(layers: &mut Vec<Blob>, flaw: Option<Flaw>) {
    let Some(last) = layers.last_mut() else {
        return;
    };
    match flaw {
        Some(Flaw::LayerByteFlipped) => {
            let middle = last.bytes.len() / 2;
            last.bytes[middle] ^= 0x20;
        }
        Some(Flaw::LayerTruncated) => last.bytes.truncate(last.bytes.len() / 2),
        Some(Flaw::LayerMissing) => {
            layers.pop();
        }
        _ => {}
    }
}

fn architecture(flaw: Option<Flaw>) -> &'static str {
    match (flaw, std::env::consts::ARCH) {
        (Some(Flaw::OtherArchitecture), _) => "riscv64",
        (_, "aarch64") => "arm64",
        _ => "amd64",
    }
}

fn descriptor(media_type: &str, digest: &str, size: usize) -> Value {
    json!({ "mediaType": media_type, "digest": format!("sha256:{digest}"), "size": size })
}

fn blob_path(digest: &str) -> String {
    format!("blobs/sha256/{digest}")
}

fn to_bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn write_tar(file: &Path, files: Vec<(String, Vec<u8>)>) -> Result<()> {
    let target =
        std::fs::File::create(file).with_context(|| format!("cannot make `{}`", file.display()))?;
    let mut builder = Builder::new(std::io::BufWriter::new(target));
    for (name, bytes) in files {
        let mut header = Header::new_ustar();
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, name, bytes.as_slice())?;
    }
    builder
        .into_inner()?
        .into_inner()
        .context("cannot end an archive")?
        .sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Packing, Tool};

    fn small() -> Image {
        Image::new()
            .layer(
                Layer::new()
                    .folder("etc", 0o755)
                    .file("etc/name", 0o644, b"below\n")
                    .with_xattrs(&[("user.colour", b"blue")])
                    .file("etc/tinted", 0o600, b"x"),
            )
            .layer(
                Layer::new()
                    .packed(Packing::Zstd)
                    .whiteout("etc/name")
                    .symlink("etc/link", "tinted"),
            )
    }

    #[test]
    fn another_tool_reads_the_layout() {
        let folder = tempfile::tempdir().unwrap();
        let layout = folder.path().join("layout");
        small().write_layout(&layout).unwrap();
        let text = Tool::new("skopeo")
            .arg("inspect")
            .arg(format!("oci:{}:latest", layout.display()))
            .output_text()
            .unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["Layers"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn another_tool_reads_the_docker_archive() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("image.tar");
        Image::new()
            .layer(Layer::new().packed(Packing::Plain).file("a", 0o644, b"a"))
            .write_docker_archive(&file)
            .unwrap();
        Tool::new("skopeo")
            .arg("inspect")
            .arg(format!("docker-archive:{}", file.display()))
            .output_text()
            .unwrap();
    }

    #[test]
    fn a_flipped_byte_is_the_only_difference() {
        let folder = tempfile::tempdir().unwrap();
        let (sound, broken) = (folder.path().join("sound"), folder.path().join("broken"));
        small().write_layout(&sound).unwrap();
        small()
            .flaw(Flaw::LayerByteFlipped)
            .write_layout(&broken)
            .unwrap();
        let mut different = 0;
        for entry in std::fs::read_dir(sound.join("blobs/sha256")).unwrap() {
            let name = entry.unwrap().file_name();
            let ours = std::fs::read(sound.join("blobs/sha256").join(&name)).unwrap();
            let theirs = std::fs::read(broken.join("blobs/sha256").join(&name)).unwrap();
            assert_eq!(ours.len(), theirs.len());
            different += ours.iter().zip(&theirs).filter(|(a, b)| a != b).count();
        }
        assert_eq!(different, 1);
    }
}
