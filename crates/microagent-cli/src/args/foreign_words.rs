//! Words that are not ours: those of other tools, and those kept for later releases.
//!
//! Somebody who types `microagent images` or `run --privileged` knows what they want; the answer says
//! how it is done here. A hint that names a command which this release lacks would be a lie, so such
//! an entry stays silent until the command is there.

use clap::Command;
use microagent_wire::fault::Fault;

use super::scan::Seen;
use crate::error::usage;

/// Commands that are planned (`cli.md` 5.1). They must not be used for anything else.
const RESERVED_COMMANDS: [&str; 23] = [
    "snapshot",
    "fork",
    "clone",
    "restore",
    "secret",
    "egress",
    "audit",
    "volume",
    "commit",
    "push",
    "supervise",
    "mcp",
    "serve",
    "perf",
    "bench",
    "stats",
    "login",
    "logout",
    "registry",
    "apply",
    "set",
    "resize",
    "rename",
];

/// Flags that are planned; one that ends in `-` stands for all that begin so.
const RESERVED_FLAGS: [&str; 8] = [
    "--from-snapshot",
    "--secret",
    "--egress-",
    "--volume",
    "--restart",
    "--health-",
    "--setup",
    "--ttl",
];

/// Commands of other tools, and what does the same here (`cli.md` 5.2).
const FOREIGN_COMMANDS: [(&[&str], &str, &str); 15] = [
    (&["images"], "image", "microagent image list"),
    (&["pull"], "image", "microagent image pull"),
    (&["rmi"], "image", "microagent image delete"),
    (&["tag"], "image", "microagent image tag"),
    (&["load", "import"], "image", "microagent image import"),
    (&["prune"], "image", "microagent image prune"),
    (
        &["build"],
        "run",
        "microagent builds no images: build elsewhere, then use oci-archive: or docker-archive:",
    ),
    (
        &["attach", "console"],
        "connect",
        "microagent connect --serial NAME",
    ),
    (&["shell", "ssh"], "connect", "microagent connect NAME"),
    (&["unpause"], "resume", "microagent resume"),
    (&["remove", "destroy"], "delete", "microagent delete"),
    (&["info"], "doctor", "microagent doctor"),
    (&["up"], "create", "microagent run --file"),
    (
        &["restart"],
        "halt",
        "microagent halt NAME && microagent start NAME",
    ),
    (
        &["help"],
        "run",
        "microagent --help, or microagent COMMAND --help",
    ),
];

/// Flags of other tools.
const FOREIGN_FLAGS: [(&[&str], &str); 4] = [
    (
        &[
            "--privileged",
            "--cap-add",
            "--cap-drop",
            "--security-opt",
            "--pid",
            "--ipc",
            "--userns",
        ],
        "a workspace has its own kernel: root inside it has no power outside, and there is nothing \
         to share",
    ),
    (
        &["--device", "--gpus"],
        "only declared disks and sockets cross the boundary",
    ),
    (&["--platform"], "the guest has the host's architecture"),
    (
        &["-P", "--link", "--add-host", "--dns"],
        "publish single ports with --publish HOSTPORT:GUESTPORT; the others have no counterpart",
    ),
];

/// The answer to a command that is not ours.
pub(super) fn command(root: &Command, typed: &str) -> Option<Fault> {
    if RESERVED_COMMANDS.contains(&typed) {
        return Some(planned(root, typed));
    }
    FOREIGN_COMMANDS
        .iter()
        .find(|(words, needs, _)| words.contains(&typed) && root.find_subcommand(needs).is_some())
        .map(|(_, _, hint)| usage(format!("`{typed}` is not a microagent command"), *hint))
}

/// The answer to a flag that is not ours.
pub(super) fn flag(root: &Command, typed: &str) -> Option<Fault> {
    let name = typed.split_once('=').map_or(typed, |(name, _)| name);
    let planned_flag = RESERVED_FLAGS
        .iter()
        .any(|reserved| match reserved.strip_suffix('-') {
            Some(_) => name.starts_with(reserved),
            None => name == *reserved,
        });
    if planned_flag {
        return Some(planned(root, name));
    }
    if name == "--mount" {
        return Some(no_host_folders(None));
    }
    FOREIGN_FLAGS
        .iter()
        .find(|(flags, _)| flags.contains(&name))
        .map(|(_, hint)| usage(format!("there is no flag `{name}`"), *hint))
}

fn planned(root: &Command, word: &str) -> Fault {
    let name = root.get_name();
    usage(
        format!("`{word}` is planned for a later release"),
        format!("what this release can do: {name} --help"),
    )
}

/// The refusal of `-v HOST:GUEST`, which would otherwise read as two flags and an image.
pub(super) fn host_folder(seen: &Seen) -> Option<Fault> {
    const PREFIXES: [&str; 4] = ["oci:", "oci-archive:", "docker-archive:", "rootfs:"];
    if !matches!(seen.command.as_deref(), Some("run" | "create" | "exec")) {
        return None;
    }
    let folder = seen.after_short_v.iter().find(|word| {
        word.contains(":/") && !PREFIXES.iter().any(|prefix| word.starts_with(prefix))
    })?;
    Some(no_host_folders(Some(folder)))
}

/// Row 14 of `cli.md` section 6.
fn no_host_folders(typed: Option<&str>) -> Fault {
    let (host, guest) = typed.and_then(|word| word.split_once(":/")).map_or(
        ("./app", "/work".to_owned()),
        |(host, guest)| {
            let guest = guest.split(':').next().unwrap_or(guest);
            (host, format!("/{guest}"))
        },
    );
    let hint = format!(
        "copy instead: --copy-in {host}:{guest}, or microagent cp {host} NAME:{guest}; \
         for lasting data: --disk data=20G:{guest}"
    );
    usage("host folders are not shared into a guest", hint)
}

#[cfg(test)]
mod tests {
    use super::{FOREIGN_COMMANDS, RESERVED_COMMANDS, RESERVED_FLAGS};
    use crate::args::definition;

    #[test]
    fn no_reserved_or_foreign_word_is_used_for_anything() {
        let root = definition();
        let foreign = FOREIGN_COMMANDS
            .iter()
            .filter(|(words, needs, _)| !words.contains(needs))
            .flat_map(|(words, ..)| *words);
        for word in RESERVED_COMMANDS.iter().chain(foreign) {
            assert!(root.find_subcommand(word).is_none(), "{word}");
        }
        for command in root.get_subcommands() {
            for arg in command.get_arguments() {
                let Some(long) = arg.get_long() else { continue };
                let flag = format!("--{long}");
                let reserved = RESERVED_FLAGS.iter().any(|reserved| {
                    flag == *reserved || (reserved.ends_with('-') && flag.starts_with(reserved))
                });
                assert!(!reserved, "{flag}");
            }
        }
    }
}
