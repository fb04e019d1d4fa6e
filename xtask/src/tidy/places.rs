//! Things that may stand only in named places: serde derives, questions about the operating
//! system, `unsafe`, names of state files, and words that a crate must not know.

use super::{Problem, SourceFile};

/// Where a type may be serialisable: package, and places below `src`; none means everywhere.
const SERDE: &[(&str, &[&str])] = &[
    ("microagent-wire", &[]),
    ("microagent-oci", &[]),
    ("microagent-boot", &["kernel_catalog"]),
    ("microagent-workspace", &["spec_file"]),
    ("microagent-firecracker-supervisor", &["api"]),
    ("microagent-qemu-supervisor", &["api"]),
    ("microagent-hyperv-supervisor", &["api"]),
];
const RECORD_SUFFIX: &str = "_record.rs";

/// Crates whose module declarations may ask for the operating system.
const OS_CRATES: &[&str] = &[
    "microagent-os",
    "microagent-linux-host",
    "microagent-firecracker-supervisor",
    "microagent-qemu-supervisor",
    "microagent-applevf-supervisor",
    "microagent-hyperv-supervisor",
    "microagent-guestinit",
    "microagent-tree",
];
const OS_WORDS: &[&str] = &["unix", "windows", "target_os", "target_family"];
/// What a question about the operating system may stand on.
const OS_ITEMS: &[&str] = &[
    "mod ",
    "pub mod ",
    "pub(crate) mod ",
    "use ",
    "pub use ",
    "pub(crate) use ",
    "pub(super) use ",
];

/// Where `unsafe` may stand.
const UNSAFE: &[(&str, &[&str])] = &[
    (
        "microagent-os",
        &["clock", "fs", "process", "terminal", "windows"],
    ),
    (
        "microagent-linux-host",
        &["launch", "kvm", "confine", "device_stream"],
    ),
    ("microagent-applevf-supervisor", &["framework"]),
    ("microagent-hyperv-supervisor", &["host_compute"]),
    (
        "microagent-guestinit",
        &["boot", "clock", "main", "workload"],
    ),
];

/// Names of files under the state directory; only `microagent-state` spells them.
const STATE_NAMES: &[&str] = &[
    "\"workspace.json\"",
    "\"runtime.json\"",
    "\"create.json\"",
    "\"events.jsonl\"",
    "\"serial.log\"",
    "\"monitor.sock\"",
];
const STATE_CRATE: &str = "microagent-state";
/// Crates that look at the product from outside.
const OUTSIDERS: &[&str] = &[
    "microagent-test",
    "microagent-e2e",
    "microagent-bench",
    "xtask",
];

/// Image work knows nothing of VMs.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("microagent-oci", &["workspace", "machine"]),
    ("microagent-ext4", &["workspace", "machine"]),
    ("microagent-rootfs", &["workspace", "machine"]),
];

/// All of them.
pub(super) fn check(source: &SourceFile) -> Vec<Problem> {
    let mut problems = serde_derives(source);
    problems.extend(os_questions(source));
    problems.extend(unsafe_code(source));
    problems.extend(state_names(source));
    problems.extend(forbidden_words(source));
    problems
}

fn serde_derives(source: &SourceFile) -> Vec<Problem> {
    let is_record = source.path.to_string_lossy().ends_with(RECORD_SUFFIX);
    if is_record || allows(SERDE, source) {
        return Vec::new();
    }
    let mut problems = Vec::new();
    let mut in_derive = false;
    for (number, line) in source.text.product_code() {
        in_derive |= line.contains("derive(");
        if in_derive && (has_word(line, "Serialize") || has_word(line, "Deserialize")) {
            problems.push(Problem::at(
                &source.path,
                number,
                "a serialisable type is a promise, and this is none of the places for them",
            ));
        }
        if line.contains(")]") {
            in_derive = false;
        }
    }
    problems
}

fn os_questions(source: &SourceFile) -> Vec<Problem> {
    let lines: Vec<(usize, &str)> = source.text.product_code().collect();
    let mut problems = Vec::new();
    for (index, (number, line)) in lines.iter().enumerate() {
        let asks = ["cfg(", "cfg!(", "cfg_attr("]
            .iter()
            .filter_map(|start| line.split_once(start))
            .any(|(_, rest)| OS_WORDS.iter().any(|word| has_word(rest, word)));
        if !asks {
            continue;
        }
        let item = lines[index + 1..]
            .iter()
            .map(|(_, line)| line.trim())
            .find(|line| !line.is_empty() && !line.starts_with('#'))
            .unwrap_or_default();
        if !OS_CRATES.contains(&source.package.as_str()) {
            let text = "this crate must not ask for the operating system";
            problems.push(Problem::at(&source.path, *number, text));
        } else if !OS_ITEMS.iter().any(|start| item.starts_with(start)) {
            let text = "the operating system picks a file, on a module declaration, not a line";
            problems.push(Problem::at(&source.path, *number, text));
        }
    }
    problems
}

fn unsafe_code(source: &SourceFile) -> Vec<Problem> {
    if allows(UNSAFE, source) {
        return Vec::new();
    }
    source
        .text
        .product_code()
        .filter(|(_, line)| has_word(line, "unsafe"))
        .map(|(number, _)| {
            Problem::at(
                &source.path,
                number,
                "`unsafe` stands only where ARCHITECTURE.md 6.16 says",
            )
        })
        .collect()
}

fn state_names(source: &SourceFile) -> Vec<Problem> {
    let package = source.package.as_str();
    if package == STATE_CRATE || OUTSIDERS.contains(&package) {
        return Vec::new();
    }
    let mut problems = Vec::new();
    for (number, line) in (1..).zip(&source.text.lines).take(source.text.tests_from) {
        for name in STATE_NAMES {
            if line.contains(name) && !line.trim_start().starts_with("//") {
                problems.push(Problem::at(
                    &source.path,
                    number,
                    format!("{name} is a path of `{STATE_CRATE}`; ask it"),
                ));
            }
        }
    }
    problems
}

fn forbidden_words(source: &SourceFile) -> Vec<Problem> {
    let words = FORBIDDEN
        .iter()
        .find(|(package, _)| *package == source.package)
        .map_or(&[][..], |(_, words)| *words);
    let mut problems = Vec::new();
    for (number, line) in (1..).zip(&source.text.lines) {
        let lower = line.to_lowercase();
        for word in words {
            if has_word(&lower, word) || has_word(&lower, &format!("{word}s")) {
                let text = format!("this crate must not know the word `{word}`");
                problems.push(Problem::at(&source.path, number, text));
            }
        }
    }
    problems
}

fn allows(table: &[(&str, &[&str])], source: &SourceFile) -> bool {
    table.iter().any(|(package, places)| {
        *package == source.package && (places.is_empty() || source.is_in(places))
    })
}

/// Whether a word stands in a line, not as a part of a longer one.
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [usize; 0] = [];

    fn lines(package: &str, inner: &str, text: &str) -> Vec<usize> {
        check(&SourceFile::new(package, inner, text))
            .iter()
            .filter_map(|problem| problem.line)
            .collect()
    }

    #[test]
    fn a_serialisable_type_outside_its_places_is_found() {
        let text = "#[derive(Debug, Serialize)]\nstruct A;\n#[derive(\n    Debug,\n    serde::Deserialize,\n)]\nstruct B;\n";
        assert_eq!(lines("microagent-machine", "src/spec.rs", text), [1, 5]);
        assert_eq!(lines("microagent-wire", "src/fault.rs", text), NONE);
        assert_eq!(lines("microagent-state", "src/event_record.rs", text), NONE);
        assert_eq!(
            lines("microagent-qemu-supervisor", "src/api.rs", text),
            NONE
        );
        assert_eq!(
            lines("microagent-qemu-supervisor", "src/qmp.rs", text),
            [1, 5]
        );
    }

    #[test]
    fn the_operating_system_picks_a_file_and_not_a_line() {
        let module = "#[cfg(unix)]\n#[path = \"unix.rs\"]\nmod os;\n";
        let body =
            "fn f() {\n    #[cfg(target_os = \"linux\")]\n    g();\n    if cfg!(windows) {}\n}\n";
        assert_eq!(lines("microagent-os", "src/dirs.rs", module), NONE);
        assert_eq!(lines("microagent-os", "src/dirs.rs", body), [2, 4]);
        assert_eq!(lines("microagent-cli", "src/dirs.rs", module), [1]);
        assert_eq!(
            lines(
                "microagent-cli",
                "src/dirs.rs",
                "#[cfg(test)]\nmod tests;\n"
            ),
            NONE
        );
    }

    #[test]
    fn unsafe_outside_its_places_is_found() {
        let text = "fn f() { unsafe { g() } }\n// unsafe in words\n";
        assert_eq!(lines("microagent-os", "src/process/unix.rs", text), NONE);
        assert_eq!(lines("microagent-os", "src/lock.rs", text), [1]);
        assert_eq!(
            lines("microagent-guestinit", "src/boot/mounts.rs", text),
            NONE
        );
        assert_eq!(lines("microagent-guestinit", "src/reaper.rs", text), [1]);
    }

    #[test]
    fn only_state_spells_its_paths() {
        let text = "fn f() { join(\"workspace.json\") }\n#[cfg(test)]\nconst A: &str = \"runtime.json\";\n";
        assert_eq!(lines("microagent-cli", "src/a.rs", text), [1]);
        assert_eq!(lines("microagent-state", "src/paths.rs", text), NONE);
        assert_eq!(lines("microagent-e2e", "src/a.rs", text), NONE);
    }

    #[test]
    fn image_work_knows_no_machine() {
        let text = "/// Of a workspace.\nstruct Machines;\nfn machinery() {}\n";
        assert_eq!(lines("microagent-ext4", "src/a.rs", text), [1, 2]);
        assert_eq!(lines("microagent-boot", "src/a.rs", text), NONE);
    }
}
