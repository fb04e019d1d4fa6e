//! A merged spec: the document of `--dry-run`, and the same as YAML that `--file` reads back.

use std::fmt::Write as _;
use std::path::Path;

use microagent_types::BackendName;
use microagent_workspace::disks::{DiskSettings, DiskSource};
use microagent_workspace::{FileSettings, FileSource};
use serde_json::{Map, Value, json};

use crate::commands::new_workspace::Asked;
use crate::error::Failure;
use crate::settings::absolute;

/// The keys in the order in which people write them; the others follow by name.
const ORDER: [&str; 16] = [
    "name",
    "image",
    "profile",
    "resources",
    "backend",
    "kernel",
    "env",
    "files",
    "entrypoint",
    "command",
    "idle",
    "user",
    "workdir",
    "hostname",
    "stopSignal",
    "network",
];
/// Spaces of a level.
const INDENT: usize = 2;

/// The keys of a spec file, without those that say nothing.
pub(super) fn of(asked: &Asked, backend: BackendName) -> Result<Value, Failure> {
    let new = &asked.new;
    let size = new.size;
    let workload = &new.workload;
    let mut spec = Map::new();
    let mut put = |key: &str, value: Value| {
        let empty = match &value {
            Value::Null => true,
            Value::Array(items) => items.is_empty() && key != "entrypoint",
            Value::Object(keys) => keys.is_empty(),
            _ => false,
        };
        if !empty {
            spec.insert(key.to_owned(), value);
        }
    };
    put(
        "name",
        json!(
            asked
                .name
                .as_ref()
                .map(microagent_types::WorkspaceName::as_str)
        ),
    );
    put("image", json!(image(asked)?));
    put("profile", json!(size.profile.as_str()));
    put(
        "resources",
        json!({
            "memory": exact(size.memory.unwrap_or_else(|| size.profile.memory()).bytes()),
            "cpus": size.cpus.unwrap_or_else(|| size.profile.cpus()).get(),
            "disk": exact(size.disk_size().bytes()),
        }),
    );
    put("backend", json!(backend.as_str()));
    put(
        "kernel",
        json!(new.kernel.as_ref().map(ToString::to_string)),
    );
    let env = workload
        .env
        .iter()
        .map(|(name, value)| (name.to_string(), json!(value)));
    put("env", Value::Object(env.collect()));
    let files = new.files.iter().map(file).collect::<Result<Vec<_>, _>>()?;
    put("files", Value::Array(files));
    put("entrypoint", json!(workload.entrypoint));
    put("command", json!(workload.command));
    put("idle", if asked.idle { json!(true) } else { Value::Null });
    put("user", json!(workload.user));
    put(
        "workdir",
        json!(workload.workdir.as_ref().map(ToString::to_string)),
    );
    put(
        "hostname",
        json!(new.hostname.as_ref().map(ToString::to_string)),
    );
    put(
        "stopSignal",
        json!(workload.stop_signal.map(|signal| signal.to_string())),
    );
    put("network", network(asked));
    let mediation = new.network.mediation.as_ref();
    put(
        "mediation",
        mediation.map_or(Value::Null, |mediation| {
            json!({
                "port": mediation.port.get(),
                "target": mediation.target.to_string(),
                "required": mediation.required,
            })
        }),
    );
    put("disks", new.disks.iter().map(disk).collect());
    let labels = new
        .labels
        .iter()
        .map(|(name, value)| (name.to_string(), json!(value)));
    put("labels", Value::Object(labels.collect()));
    Ok(Value::Object(spec))
}

fn network(asked: &Asked) -> Value {
    let network = &asked.new.network;
    let mut keys = Map::new();
    keys.insert("mode".to_owned(), json!(network.mode));
    if !network.publish.is_empty() {
        let ports: Vec<String> = network.publish.iter().map(ToString::to_string).collect();
        keys.insert("publish".to_owned(), json!(ports));
    }
    if !network.reach.is_empty() {
        let openings: Vec<&str> = network
            .reach
            .iter()
            .map(|opening| opening.as_str())
            .collect();
        keys.insert("reach".to_owned(), json!(openings));
    }
    Value::Object(keys)
}

/// The image; a file of this host by its whole path, so that the spec means the same anywhere.
fn image(asked: &Asked) -> Result<String, Failure> {
    let typed = asked.image.to_string();
    let Some(path) = asked.image.host_path() else {
        return Ok(typed);
    };
    let whole = absolute(Path::new(path), "the image")?;
    let (kind, rest) = typed.split_once(':').unwrap_or(("oci", &typed));
    let tag = rest.strip_prefix(path).unwrap_or_default();
    Ok(format!("{kind}:{whole}{tag}"))
}

fn file(file: &FileSettings) -> Result<Value, Failure> {
    let mut keys = Map::new();
    match &file.source {
        FileSource::Host(path) => {
            let whole = absolute(path, "a file of the spec")?;
            // `SRC/.` is what the folder holds, which a whole path would lose.
            let contents = path.to_string_lossy().ends_with("/.");
            let whole = if contents {
                format!("{whole}/.")
            } else {
                whole.to_string()
            };
            keys.insert("src".to_owned(), json!(whole));
        }
        FileSource::Content(content) => {
            keys.insert("content".to_owned(), json!(content));
        }
    }
    keys.insert("dst".to_owned(), json!(file.target.as_str()));
    if let Some(mode) = file.mode {
        keys.insert("mode".to_owned(), json!(mode.to_string()));
    }
    if file.owner != (0, 0) {
        let (uid, gid) = file.owner;
        keys.insert("owner".to_owned(), json!(format!("{uid}:{gid}")));
    }
    Ok(Value::Object(keys))
}

fn disk(disk: &DiskSettings) -> Value {
    let (key, value) = match &disk.source {
        DiskSource::Empty(size) => ("size", exact(size.bytes())),
        DiskSource::Image(path) | DiskSource::Tarball(path) => ("path", path.to_string()),
    };
    json!({
        "name": disk.name.as_str(),
        key: value,
        "mount": disk.mount.as_str(),
        "mode": if disk.read_only { "ro" } else { "rw" },
    })
}

/// A size without rounding: the largest unit that holds it whole.
fn exact(bytes: u64) -> String {
    let units = [("T", 40), ("G", 30), ("M", 20), ("K", 10)];
    let fits = |shift: &u32| bytes != 0 && bytes.is_multiple_of(1 << shift);
    match units.iter().find(|(_, shift)| fits(shift)) {
        Some((unit, shift)) => format!("{}{unit}", bytes >> shift),
        // No flag takes bytes; nothing gets smaller.
        None => format!("{}K", bytes.div_ceil(1024)),
    }
}

/// A document as YAML: maps and lists by lines, words as JSON writes them.
pub(super) fn yaml(document: &Value) -> String {
    let mut text = String::new();
    if let Value::Object(keys) = document {
        let place = |key: &str| {
            ORDER
                .iter()
                .position(|known| *known == key)
                .unwrap_or(ORDER.len())
        };
        let mut sorted: Vec<(&String, &Value)> = keys.iter().collect();
        sorted.sort_by_key(|(key, _)| place(key));
        for (key, value) in sorted {
            entry(&mut text, 0, key, value);
        }
    }
    text
}

fn entry(text: &mut String, depth: usize, key: &str, value: &Value) {
    let indent = " ".repeat(depth * INDENT);
    let written = "a string takes everything";
    match value {
        Value::Object(keys) if !keys.is_empty() => {
            writeln!(text, "{indent}{key}:").expect(written);
            for (key, value) in keys {
                entry(text, depth + 1, key, value);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            writeln!(text, "{indent}{key}:").expect(written);
            for item in items {
                // A map of words in one line is YAML as it is JSON.
                writeln!(text, "{indent}  - {item}").expect(written);
            }
        }
        value => writeln!(text, "{indent}{key}: {value}").expect(written),
    }
}

#[cfg(test)]
mod tests {
    use super::{exact, yaml};
    use serde_json::json;

    #[test]
    fn sizes_are_whole_in_their_unit() {
        let sizes = [(1 << 30, "1G"), (1536 << 20, "1536M"), (3 << 40, "3T")];
        for (bytes, text) in sizes {
            assert_eq!(exact(bytes), text);
            assert_eq!(
                text.parse::<microagent_types::ByteSize>()
                    .map(microagent_types::ByteSize::bytes),
                Ok(bytes)
            );
        }
        assert_eq!(exact(1025), "2K");
    }

    #[test]
    fn words_stand_between_quotes_and_cannot_begin_a_key() {
        let document = json!({
            "labels": { "note": "a: b\nc" },
            "name": "web",
            "disks": [{ "name": "data", "size": "1G" }],
            "command": ["sh", "-c"],
        });
        assert_eq!(
            yaml(&document),
            "name: \"web\"\ncommand: [\"sh\",\"-c\"]\ndisks:\n  - {\"name\":\"data\",\"size\":\"1G\"}\n\
             labels:\n  note: \"a: b\\nc\"\n"
        );
    }
}
