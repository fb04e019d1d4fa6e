//! One word for one thing: names that the glossary or the style page rules out.
//!
//! Only names that we give are read, not prose and not what others named.

use super::{Problem, SourceFile};

/// A word that no name of ours has, and what to say.
const FORBIDDEN: &[(&str, &str)] = &[
    ("sandbox", "the word is workspace"),
    ("container", "the word is workspace"),
    ("daemon", "the word is monitor"),
    ("manager", "name it by the noun that it holds"),
    ("util", "name it by the noun that it holds"),
    ("utils", "name it by the noun that it holds"),
];
/// Names that follow a word of somebody else's: QEMU's `-sandbox`.
const FOREIGN: &[&str] = &["SANDBOX"];
/// What stands before a name that is given here.
const DECLARATIONS: &[&str] = &[
    "fn ", "struct ", "enum ", "trait ", "mod ", "type ", "const ",
];

/// Names that a file gives.
pub(super) fn check(source: &SourceFile) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (number, line) in source.text.product_code() {
        for name in declared(line) {
            for (word, reason) in FORBIDDEN {
                let is_ours = !FOREIGN.contains(&name.as_str());
                if is_ours && parts(&name).iter().any(|part| part == word) {
                    let text = format!("`{name}`: not {word}, {reason}");
                    problems.push(Problem::at(&source.path, number, text));
                }
            }
        }
    }
    problems
}

fn declared(line: &str) -> Vec<String> {
    let mut names = Vec::new();
    for declaration in DECLARATIONS {
        for (at, _) in line.match_indices(declaration) {
            let is_word = !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let name: String = line[at + declaration.len()..]
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            if is_word && !name.is_empty() {
                names.push(name);
            }
        }
    }
    names
}

/// The words of a name, in lower case: `VmManager`, `vm_manager` and `VM_MANAGER` have two.
fn parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut after_lower = false;
    for character in name.chars() {
        if character == '_' || (character.is_uppercase() && after_lower) {
            parts.push(String::new());
        }
        if character != '_' {
            let lower = character.to_lowercase();
            if let Some(part) = parts.last_mut() {
                part.extend(lower);
            }
        }
        after_lower = character.is_lowercase();
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_forbidden_word_is_found() {
        let text = "pub struct VmManager;\nfn make_sandbox() {}\nmod utils;\nfn contained() {}\nconst SANDBOX: &str = \"on\";\n";
        let problems = check(&SourceFile::new("microagent-os", "src/a.rs", text));
        let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "crates/microagent-os/src/a.rs:1: `VmManager`: not manager, name it by the noun that it holds",
                "crates/microagent-os/src/a.rs:2: `make_sandbox`: not sandbox, the word is workspace",
                "crates/microagent-os/src/a.rs:3: `utils`: not utils, name it by the noun that it holds",
            ]
        );
    }

    #[test]
    fn the_words_of_a_name_are_split_in_every_case() {
        for name in ["VmManager", "vm_manager", "VM_MANAGER"] {
            assert_eq!(parts(name), ["vm", "manager"]);
        }
    }
}
