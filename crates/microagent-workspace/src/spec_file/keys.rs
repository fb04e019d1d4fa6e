//! Every key of a spec file: its place, its type, its meaning. The only list: the check, the hints and
//! the JSON Schema for editors (`cargo xtask generate`) are made from it.
//!
//! A path joins keys by dots; `[]` behind a key stands for the items of its list.

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A word or number, taken as it is written.
    Text,
    /// The number of this form of file.
    One,
    /// A whole number.
    Whole,
    /// Yes or no.
    Flag,
    /// A text between quotes, since a bare one would read as a number.
    Quoted,
    /// A list of words.
    Words,
    /// Names with texts; a value may be left to this process.
    Variables,
    /// Names with texts.
    Labels,
    /// Further keys.
    Table,
    /// A list of further keys.
    Tables,
    /// A list of words, or of further keys.
    WordsOrTables,
}

/// Path, type and meaning.
pub(super) const KEYS: [(&str, Kind, &str); 42] = [
    ("version", Kind::One, "the form of this file: 1"),
    ("name", Kind::Text, "the name of the workspace; --name"),
    (
        "image",
        Kind::Text,
        "the image, in one of the forms of --image",
    ),
    (
        "profile",
        Kind::Text,
        "tiny, small, medium or large; --profile",
    ),
    (
        "resources",
        Kind::Table,
        "in place of single values of the profile",
    ),
    (
        "resources.memory",
        Kind::Text,
        "memory, for example 512M; --memory",
    ),
    (
        "resources.cpus",
        Kind::Whole,
        "virtual CPUs, 1 to 32; --cpus",
    ),
    (
        "resources.disk",
        Kind::Text,
        "size of the root disk, for example 20G; --disk-size",
    ),
    (
        "backend",
        Kind::Text,
        "the backend in place of the one that is chosen; --backend",
    ),
    (
        "kernel",
        Kind::Text,
        "a kernel file in place of the installed one; --kernel",
    ),
    (
        "env",
        Kind::Variables,
        "variables of the guest; null takes the value of this process; --env",
    ),
    (
        "files",
        Kind::Tables,
        "files that the guest starts with; --copy-in",
    ),
    ("files[].src", Kind::Text, "a file or folder of this host"),
    (
        "files[].content",
        Kind::Text,
        "the content itself, in place of src",
    ),
    (
        "files[].dst",
        Kind::Text,
        "what it becomes in the guest, absolute",
    ),
    (
        "files[].mode",
        Kind::Quoted,
        "permissions of a single file, octal and quoted: \"0644\"",
    ),
    (
        "files[].owner",
        Kind::Text,
        "owner in the guest: \"UID:GID\"",
    ),
    (
        "entrypoint",
        Kind::Words,
        "in place of the image's entrypoint; --entrypoint",
    ),
    ("command", Kind::Words, "in place of the image's command"),
    (
        "idle",
        Kind::Flag,
        "run nothing: the workspace stays up for exec; --idle",
    ),
    (
        "user",
        Kind::Text,
        "USER[:GROUP], by name or number; --user",
    ),
    ("workdir", Kind::Text, "where the command runs; --workdir"),
    ("hostname", Kind::Text, "host name of the guest; --hostname"),
    (
        "stopSignal",
        Kind::Text,
        "what asks the command to stop; --stop-signal",
    ),
    (
        "network",
        Kind::Table,
        "what the workspace reaches and what reaches it",
    ),
    (
        "network.mode",
        Kind::Text,
        "nat, isolated or bridged; --network",
    ),
    (
        "network.publish",
        Kind::WordsOrTables,
        "published TCP ports: [HOST:]HOSTPORT:GUESTPORT; --publish",
    ),
    (
        "network.publish[].host",
        Kind::Text,
        "address of this host, 127.0.0.1 when none",
    ),
    (
        "network.publish[].hostPort",
        Kind::Whole,
        "port of this host; 0 takes a free one",
    ),
    (
        "network.publish[].guestPort",
        Kind::Whole,
        "port of the guest",
    ),
    (
        "network.reach",
        Kind::Words,
        "what near this host is open to a nat guest: loopback, local; --reach",
    ),
    (
        "mediation",
        Kind::Table,
        "the channel from the guest to the control plane; --mediation",
    ),
    (
        "mediation.port",
        Kind::Whole,
        "the vsock port that the guest dials",
    ),
    ("mediation.target", Kind::Text, "HOST:PORT or unix:/path"),
    (
        "mediation.required",
        Kind::Flag,
        "whether a start needs it; true when not given",
    ),
    ("disks", Kind::Tables, "data disks; --disk"),
    ("disks[].name", Kind::Text, "what it is called"),
    (
        "disks[].path",
        Kind::Text,
        "an ext4 image, or a tarball to make one of",
    ),
    (
        "disks[].size",
        Kind::Text,
        "size of an empty disk, in place of path",
    ),
    ("disks[].mount", Kind::Text, "where the guest mounts it"),
    ("disks[].mode", Kind::Text, "rw or ro"),
    (
        "labels",
        Kind::Labels,
        "labels of the workspace; not sent to the guest; --label",
    ),
];

/// Keys that are kept for later releases.
pub(super) const PLANNED: [&str; 7] = [
    "secrets", "egress", "volumes", "restart", "health", "setup", "outputs",
];

/// The keys of a level, by the last part of their paths.
pub(super) fn of_level(level: &str) -> impl Iterator<Item = (&'static str, Kind)> {
    KEYS.iter().filter_map(move |(path, kind, _)| {
        let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
        (parent == level).then_some((name, *kind))
    })
}

/// The level of the items of a key, or of its keys.
pub(super) fn level_below(level: &str, key: &str, kind: Kind) -> &'static str {
    let path = if level.is_empty() {
        key.to_owned()
    } else {
        format!("{level}.{key}")
    };
    let wanted = match kind {
        Kind::Tables | Kind::WordsOrTables => format!("{path}[]"),
        _ => path,
    };
    let mut parents = KEYS.iter().filter_map(|(path, ..)| path.rsplit_once('.'));
    let found = parents.find(|(parent, _)| *parent == wanted);
    found.map_or("", |(parent, _)| parent)
}
