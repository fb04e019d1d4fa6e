//! The values of a spec whose structure is sound. All problems are told, not the first.

use super::tree::{Entry, Node, Value};
use super::{Place, SpecFault, SpecFile, SpecProblem};
use crate::files::{FileMode, FileSettings, FileSource};
use crate::profile::Profile;
use crate::request::MediationSettings;
use microagent_types::label::LABEL_VALUE_BYTES_MAX;
use microagent_types::{
    BackendName, DiskContent, DiskSpec, EnvName, ImageSource, InvalidText, LabelName, Opening,
    PublishSpec,
};
use microagent_wire::supervisor::spec::NetworkMode;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Modes of a disk by name.
const DISK_MODES: [&str; 2] = ["rw", "ro"];
/// Modes of a network by name.
const NETWORK_MODES: [&str; 3] = ["nat", "isolated", "bridged"];

/// The values, or what is wrong with them, in the order of the file.
pub(super) fn read(
    root: &Node,
    folder: &Path,
    of_this_process: &dyn Fn(&EnvName) -> Option<String>,
) -> Result<SpecFile, Vec<SpecProblem>> {
    let mut reader = Reader {
        folder,
        of_this_process,
        spec: SpecFile::default(),
        problems: Vec::new(),
    };
    for entry in entries(root) {
        reader.top(entry);
    }
    reader.agree(root);
    let Reader {
        spec, mut problems, ..
    } = reader;
    if problems.is_empty() {
        return Ok(spec);
    }
    problems.sort_by_key(|problem| problem.place);
    Err(problems)
}

struct Reader<'a> {
    folder: &'a Path,
    of_this_process: &'a dyn Fn(&EnvName) -> Option<String>,
    spec: SpecFile,
    problems: Vec<SpecProblem>,
}

impl Reader<'_> {
    fn top(&mut self, entry: &Entry) {
        let node = &entry.node;
        match entry.key.as_str() {
            "name" => self.spec.name = self.text(node),
            "image" => {
                let image = self.text::<ImageSource>(node);
                self.spec.image = image.map(|image| self.of_folder(image));
            }
            "profile" => {
                let names = Profile::ALL.map(Profile::as_str);
                let name = self.word(node, "a profile", &names);
                self.spec.profile = name.and_then(|name| name.parse().ok());
            }
            "resources" => self.resources(node),
            "backend" => {
                let names = BackendName::ALL.map(BackendName::as_str);
                let name = self.word(node, "a backend", &names);
                self.spec.backend = name.and_then(|name| name.parse().ok());
            }
            "kernel" => self.spec.kernel = Some(self.path(text(node))),
            "env" => self.env(node),
            "files" => self.files(node),
            "entrypoint" => self.spec.entrypoint = Some(words(node)),
            "command" => self.spec.command = Some(words(node)),
            "idle" => self.spec.idle = Some(is_true(node)),
            "user" => self.spec.user = Some(text(node).to_owned()),
            "workdir" => self.spec.workdir = self.text(node),
            "hostname" => self.spec.hostname = self.hostname(node),
            "stopSignal" => self.spec.stop_signal = self.text(node),
            "network" => self.network(node),
            "mediation" => self.mediation(entry),
            "disks" => {
                for item in items(node) {
                    self.disk(item);
                }
            }
            "labels" => self.labels(node),
            _ => {}
        }
    }

    /// What no single key is to blame for.
    fn agree(&mut self, root: &Node) {
        if self.spec.idle != Some(true) {
            return;
        }
        for key in ["entrypoint", "command"] {
            if let Some(entry) = entries(root).iter().find(|entry| entry.key == key) {
                let message = format!("an idle workspace runs nothing, and there is `{key}`");
                self.refuse(entry.place, message, Some("leave out one of them"));
            }
        }
    }

    fn resources(&mut self, node: &Node) {
        for entry in entries(node) {
            match entry.key.as_str() {
                "memory" => self.spec.memory = self.text(&entry.node),
                "cpus" => self.spec.cpus = self.text(&entry.node),
                _ => self.spec.disk_size = self.text(&entry.node),
            }
        }
    }

    fn env(&mut self, node: &Node) {
        for entry in entries(node) {
            let Some(name) = self.parsed::<EnvName>(&entry.key, entry.place) else {
                continue;
            };
            let value = if entry.node.is_null() {
                (self.of_this_process)(&name)
            } else {
                Some(text(&entry.node).to_owned())
            };
            let Some(value) = value else {
                let message = format!("environment variable `{name}` is not set here");
                let hint = format!("give it a value: --env {name}=VALUE");
                self.refuse(entry.node.place, message, Some(&hint));
                continue;
            };
            if let Err(refused) = self.spec.env.set(name, value) {
                // Its value is nobody's business: the refusal holds the name alone.
                let value = refused.value.clone();
                self.invalid(entry.node.place, &value, refused);
            }
        }
    }

    fn files(&mut self, node: &Node) {
        for item in items(node) {
            let keys = Keys::of(item);
            let source = match (keys.get("src"), keys.get("content")) {
                (Some(src), None) => Some(FileSource::Host(self.path(text(src)))),
                (None, Some(content)) => Some(FileSource::Content(text(content).to_owned())),
                (Some(_), Some(_)) => {
                    self.refuse(item.place, "a file has `src` or `content`, not both", None);
                    None
                }
                (None, None) => {
                    self.refuse(item.place, "a file needs `src` or `content`", None);
                    None
                }
            };
            let mode = keys
                .get("mode")
                .and_then(|node| self.text::<FileMode>(node));
            let owner = keys.get("owner").map(|node| self.owner(node));
            let Some(target) = self.needed(&keys, "a file", "dst", Self::text) else {
                continue;
            };
            if let Some(source) = source {
                self.spec.files.push(FileSettings {
                    source,
                    target,
                    mode,
                    owner: owner.unwrap_or_default(),
                });
            }
        }
    }

    fn owner(&mut self, node: &Node) -> (u32, u32) {
        let ids = text(node).split_once(':');
        let ids = ids.and_then(|(uid, gid)| Some((uid.parse().ok()?, gid.parse().ok()?)));
        ids.unwrap_or_else(|| {
            let refused = InvalidText::new(
                "an owner",
                text(node),
                "write two numbers between quotes: \"UID:GID\"",
            );
            self.invalid(node.place, text(node), refused);
            (0, 0)
        })
    }

    fn network(&mut self, node: &Node) {
        for entry in entries(node) {
            match entry.key.as_str() {
                "mode" => {
                    let name = self.word(&entry.node, "a network mode", &NETWORK_MODES);
                    self.spec.network_mode = name.map(|name| match name.as_str() {
                        "isolated" => NetworkMode::Isolated,
                        "bridged" => NetworkMode::Bridged,
                        _ => NetworkMode::Nat,
                    });
                }
                "publish" => {
                    for item in items(&entry.node) {
                        let port = match &item.value {
                            Value::Map(_) => self.published(item),
                            Value::Scalar { .. } | Value::List(_) => self.text(item),
                        };
                        self.spec.publish.extend(port);
                    }
                }
                _ => {
                    for item in items(&entry.node) {
                        let opening: Option<Opening> = self.text(item);
                        self.spec.reach.extend(opening);
                    }
                }
            }
        }
    }

    fn published(&mut self, item: &Node) -> Option<PublishSpec> {
        let keys = Keys::of(item);
        let host = match keys.get("host") {
            None => PublishSpec::DEFAULT_HOST,
            Some(node) => text(node).parse().unwrap_or_else(|_| {
                let refused = InvalidText::new("an address", text(node), "write an IP address");
                self.invalid(node.place, text(node), refused);
                PublishSpec::DEFAULT_HOST
            }),
        };
        let host_port = self.needed(&keys, "a published port", "hostPort", Self::text);
        let guest_port = self.needed(&keys, "a published port", "guestPort", Self::text);
        Some(PublishSpec {
            host,
            host_port: host_port?,
            guest_port: guest_port?,
        })
    }

    fn mediation(&mut self, entry: &Entry) {
        let keys = Keys {
            place: entry.place,
            entries: entries(&entry.node),
        };
        let port = self.needed(&keys, "a mediation channel", "port", Self::text);
        let target = self.needed(&keys, "a mediation channel", "target", Self::text);
        let required = keys.get("required").is_none_or(is_true);
        if let (Some(port), Some(target)) = (port, target) {
            self.spec.mediation = Some(MediationSettings {
                port,
                target,
                required,
            });
        }
    }

    fn disk(&mut self, item: &Node) {
        let keys = Keys::of(item);
        let name = self.needed(&keys, "a disk", "name", Self::text);
        let mount = self.needed(&keys, "a disk", "mount", Self::text);
        let content = match (keys.get("path"), keys.get("size")) {
            (Some(path), None) => {
                let path = self.path(text(path)).display().to_string();
                Some(DiskContent::of_path(path))
            }
            (None, Some(size)) => self.text(size).map(DiskContent::Empty),
            (Some(_), Some(_)) => {
                self.refuse(item.place, "a disk has `path` or `size`, not both", None);
                None
            }
            (None, None) => {
                self.refuse(item.place, "a disk needs `path` or `size`", None);
                None
            }
        };
        let mode = keys
            .get("mode")
            .and_then(|node| self.word(node, "a disk mode", &DISK_MODES));
        if let (Some(name), Some(mount), Some(content)) = (name, mount, content) {
            self.spec.disks.push(DiskSpec {
                name,
                content,
                mount,
                read_only: mode.as_deref() == Some("ro"),
            });
        }
    }

    fn labels(&mut self, node: &Node) {
        for entry in entries(node) {
            let value = text(&entry.node);
            if value.len() > LABEL_VALUE_BYTES_MAX {
                let message = format!(
                    "the value of label `{}` has {} bytes",
                    entry.key,
                    value.len()
                );
                let hint = format!("a value holds at most {LABEL_VALUE_BYTES_MAX} bytes");
                self.refuse(entry.node.place, message, Some(&hint));
            } else if let Some(name) = self.parsed::<LabelName>(&entry.key, entry.place) {
                self.spec.labels.insert(name, value.to_owned());
            }
        }
    }

    /// The value of a key that must be there.
    fn needed<T>(
        &mut self,
        keys: &Keys<'_>,
        what: &str,
        key: &str,
        read: fn(&mut Self, &Node) -> Option<T>,
    ) -> Option<T> {
        let Some(node) = keys.get(key) else {
            self.refuse(keys.place, format!("{what} needs `{key}`"), None);
            return None;
        };
        read(self, node)
    }

    /// A host name has the form of a workspace's, and is refused by its own name.
    fn hostname(&mut self, node: &Node) -> Option<microagent_types::WorkspaceName> {
        let value = text(node);
        value
            .parse()
            .map_err(|refused: InvalidText| {
                let what = "a host name";
                self.invalid(node.place, value, InvalidText { what, ..refused });
            })
            .ok()
    }

    fn text<T: FromStr<Err = InvalidText>>(&mut self, node: &Node) -> Option<T> {
        self.parsed(text(node), node.place)
    }

    fn parsed<T: FromStr<Err = InvalidText>>(&mut self, value: &str, place: Place) -> Option<T> {
        value
            .parse()
            .map_err(|refused| self.invalid(place, value, refused))
            .ok()
    }

    fn word(&mut self, node: &Node, what: &'static str, known: &[&'static str]) -> Option<String> {
        let value = text(node).to_owned();
        if known.contains(&value.as_str()) {
            return Some(value);
        }
        let what = SpecFault::UnknownWord {
            what,
            value,
            known: known.to_vec(),
        };
        self.problems.push(SpecProblem {
            place: node.place,
            what,
        });
        None
    }

    fn invalid(&mut self, place: Place, value: &str, refused: InvalidText) {
        let value = value.to_owned();
        let what = SpecFault::Invalid { value, refused };
        self.problems.push(SpecProblem { place, what });
    }

    fn refuse(&mut self, place: Place, message: impl Into<String>, hint: Option<&str>) {
        self.problems
            .push(SpecProblem::refused(place, message, hint));
    }

    fn path(&self, text: &str) -> PathBuf {
        self.folder.join(text)
    }

    /// A source on this host begins at the folder of the file.
    fn of_folder(&self, image: ImageSource) -> ImageSource {
        let join = |path: String| self.path(&path).display().to_string();
        match image {
            ImageSource::OciLayout { path, tag } => ImageSource::OciLayout {
                path: join(path),
                tag,
            },
            ImageSource::OciArchive { path, tag } => ImageSource::OciArchive {
                path: join(path),
                tag,
            },
            ImageSource::DockerArchive { path, tag } => ImageSource::DockerArchive {
                path: join(path),
                tag,
            },
            ImageSource::RootfsTar { path } => ImageSource::RootfsTar { path: join(path) },
            registry @ (ImageSource::Registry(_) | ImageSource::Stored { .. }) => registry,
        }
    }
}

/// The keys of one map.
struct Keys<'a> {
    place: Place,
    entries: &'a [Entry],
}

impl<'a> Keys<'a> {
    fn of(node: &'a Node) -> Self {
        Self {
            place: node.place,
            entries: entries(node),
        }
    }

    fn get(&self, key: &str) -> Option<&'a Node> {
        let entry = self.entries.iter().find(|entry| entry.key == key);
        entry.map(|entry| &entry.node)
    }
}

fn entries(node: &Node) -> &[Entry] {
    match &node.value {
        Value::Map(entries) => entries,
        Value::Scalar { .. } | Value::List(_) => &[],
    }
}

fn items(node: &Node) -> &[Node] {
    match &node.value {
        Value::List(nodes) => nodes,
        Value::Scalar { .. } | Value::Map(_) => &[],
    }
}

fn text(node: &Node) -> &str {
    match &node.value {
        Value::Scalar { text, .. } => text,
        Value::List(_) | Value::Map(_) => "",
    }
}

fn words(node: &Node) -> Vec<String> {
    items(node)
        .iter()
        .map(|item| text(item).to_owned())
        .collect()
}

fn is_true(node: &Node) -> bool {
    text(node).eq_ignore_ascii_case("true")
}
