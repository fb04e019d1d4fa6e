//! Images as people and programs read them.

use microagent_types::Timestamp;
use microagent_workspace::ImageTimings;
use microagent_workspace::images::Image;
use serde_json::{Value, json};

use super::escape::escaped;
use super::table::{Column, lines, table};
use super::time;

const COLUMNS: [Column; 6] = [
    Column::left("REFERENCE"),
    Column::left("DIGEST"),
    Column::left("ARCH"),
    Column::right("SIZE"),
    Column::right("USED BY"),
    Column::left("LAST USED"),
];

/// A reference without the parts that are the default: `debian:12`.
pub(crate) fn short_image(reference: &str) -> String {
    let short = reference
        .strip_prefix("docker.io/library/")
        .or_else(|| reference.strip_prefix("docker.io/"));
    short.unwrap_or(reference).to_owned()
}

/// One row for each name, and one for an image without any.
pub(crate) fn list_table(images: &[Image], now: Timestamp, width: Option<u16>) -> String {
    let mut rows: Vec<Vec<String>> = images.iter().flat_map(|image| rows(image, now)).collect();
    rows.sort();
    table(&COLUMNS, &rows, width)
}

fn rows(image: &Image, now: Timestamp) -> Vec<Vec<String>> {
    let row = |name: String| {
        vec![
            escaped(&name).into_owned(),
            image.record().digest.short(),
            image.record().arch.to_string(),
            image.allocated().to_string(),
            image.workspaces.len().to_string(),
            image.last_used().map_or_else(
                || "-".to_owned(),
                |used| format!("{} ago", time::age(used, now)),
            ),
        ]
    };
    if image.stored.names.is_empty() {
        return vec![row(image.reference())];
    }
    let names = image.stored.names.iter();
    names
        .map(|name| row(short_image(&name.to_string())))
        .collect()
}

/// The Image object.
pub(crate) fn document(image: &Image) -> Value {
    let (record, stored) = (image.record(), &image.stored);
    json!({
        "reference": image.reference(),
        "names": stored.names.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "digest": record.digest.to_string(),
        "arch": record.arch.as_str(),
        "source": record.source,
        "builder": record.builder,
        "sizeBytes": record.size_bytes,
        "allocatedBytes": stored.allocated.bytes(),
        "layersBytes": stored.layers.bytes(),
        "sharedBytes": stored.shared.bytes(),
        "uniqueBytes": stored.unique().bytes(),
        "createdAt": record.created_at,
        "builtAt": record.built_at,
        "lastUsedAt": stored.last_used.map(|used| used.to_string()),
        "workspaces": image.workspaces.iter().map(microagent_types::WorkspaceName::as_str).collect::<Vec<_>>(),
    })
}

/// The same with what the image runs.
pub(crate) fn inspected(image: &Image) -> Value {
    let mut value = document(image);
    let config = &image.record().config;
    value["entrypoint"] = json!(config.entrypoint);
    value["command"] = json!(config.command);
    value["env"] = json!(config.env);
    value["user"] = json!(config.user);
    value["workdir"] = json!(config.workdir);
    value["stopSignal"] = json!(config.stop_signal);
    value["exposedPorts"] = json!(config.exposed_ports);
    value["labels"] = json!(config.labels);
    let layers = image.record().layers.iter();
    value["layers"] = layers
        .map(|layer| {
            json!({
                "digest": layer.digest.map(|digest| digest.to_string()),
                "sizeBytes": layer.size_bytes,
            })
        })
        .collect();
    value
}

/// For people.
pub(crate) fn inspected_text(image: &Image, now: Timestamp) -> String {
    let (record, stored) = (image.record(), &image.stored);
    let config = &record.config;
    let words = |words: &[String]| words.join(" ");
    let mut rows = vec![
        ("image", short_image(&image.reference())),
        ("digest", record.digest.to_string()),
        ("arch", record.arch.to_string()),
        (
            "disk",
            format!(
                "{} on the host, {} long, {} files",
                stored.allocated,
                microagent_types::ByteSize::from_bytes(record.size_bytes),
                record.files
            ),
        ),
        (
            "layers",
            format!(
                "{}, {} kept, of them {} shared with other images",
                record.layers.len(),
                stored.layers,
                stored.shared
            ),
        ),
        ("built", record.built_at.clone()),
    ];
    for name in stored.names.iter().skip(1) {
        rows.push(("also", short_image(&name.to_string())));
    }
    if let Some(used) = stored.last_used {
        rows.push(("last used", format!("{} ago", time::age(used, now))));
    }
    for workspace in &image.workspaces {
        rows.push(("workspace", workspace.to_string()));
    }
    let optional = [
        ("entrypoint", words(&config.entrypoint)),
        ("command", words(&config.command)),
        ("user", config.user.clone().unwrap_or_default()),
        ("workdir", config.workdir.clone().unwrap_or_default()),
        (
            "stop signal",
            config.stop_signal.clone().unwrap_or_default(),
        ),
        ("ports", words(&config.exposed_ports)),
    ];
    rows.extend(optional.into_iter().filter(|(_, value)| !value.is_empty()));
    rows.extend(config.env.iter().map(|value| ("env", value.clone())));
    rows.extend(
        config
            .labels
            .iter()
            .map(|(key, value)| ("label", format!("{key}={value}"))),
    );
    lines(
        rows.iter()
            .map(|(name, value)| format!("{name:<11} {}", escaped(value))),
    )
}

/// The `timings` of what makes an image ready.
pub(crate) fn timings(timings: ImageTimings) -> Value {
    json!({
        "resolveMs": timings.resolve_ms,
        "downloadMs": timings.download_ms,
        "buildMs": timings.build_ms,
        "cloneMs": Value::Null,
        "bootMs": Value::Null,
        "totalMs": Value::Null,
    })
}

#[cfg(test)]
mod tests {
    use super::short_image;

    #[test]
    fn only_defaults_are_left_out() {
        assert_eq!(short_image("docker.io/library/debian:12"), "debian:12");
        assert_eq!(short_image("docker.io/team/app:1"), "team/app:1");
        assert_eq!(short_image("ghcr.io/team/app:1"), "ghcr.io/team/app:1");
        assert_eq!(short_image("oci:./image"), "oci:./image");
    }
}
