//! Sizes that tell of a second subject: long files, long functions, files that nothing includes.

use std::collections::BTreeSet;

use super::{Problem, SourceFile};

const FILE_LINES_MAX: usize = 1000;
/// A ratchet: it may be lowered when the longest function has become shorter, and never raised.
const FUNCTION_LINES_MAX: usize = 100;

/// The length of a file and of its functions.
pub(super) fn check(source: &SourceFile) -> Vec<Problem> {
    let mut problems = Vec::new();
    let lines = source.text.lines.len();
    if lines > FILE_LINES_MAX {
        let text = format!("{lines} lines; {FILE_LINES_MAX} are allowed");
        problems.push(Problem::in_file(&source.path, text));
    }
    for function in functions(&source.text.code) {
        // Tables of cases may be as long as the rules that they spell out.
        let is_test = function.first_line > source.text.tests_from;
        if function.lines > FUNCTION_LINES_MAX && !is_test {
            let text = format!(
                "`{}` has {} lines; {FUNCTION_LINES_MAX} are allowed",
                function.name, function.lines
            );
            problems.push(Problem::at(&source.path, function.first_line, text));
        }
    }
    problems
}

/// Files that no module declaration names.
pub(super) fn dead_files(sources: &[SourceFile]) -> Vec<Problem> {
    let mut declared = BTreeSet::new();
    for source in sources {
        for line in &source.text.lines {
            let words = line.trim().trim_end_matches(';');
            if let Some((_, name)) = words.split_once("mod ") {
                declared.insert((source.package.as_str(), name.to_owned()));
            }
            if let Some((_, rest)) = words.split_once("#[path = \"") {
                let name = rest.rsplit('/').next().unwrap_or(rest);
                let name = name.split(".rs").next().unwrap_or(name);
                declared.insert((source.package.as_str(), name.to_owned()));
            }
        }
    }
    sources
        .iter()
        .filter(|source| {
            module_name(source)
                .is_some_and(|name| !declared.contains(&(source.package.as_str(), name)))
        })
        .map(|source| Problem::in_file(&source.path, "no module declaration names this file"))
        .collect()
}

/// The name by which a file must be declared; none for the roots of crates and of tests.
fn module_name(source: &SourceFile) -> Option<String> {
    let stem = source.inner.file_stem()?.to_str()?;
    let parent = source.inner.parent()?;
    let is_root = parent.ends_with("tests")
        || parent.ends_with("bin")
        || (parent.ends_with("src") && matches!(stem, "lib" | "main"));
    let name = match stem {
        "mod" | "main" => parent.file_name()?.to_str()?,
        _ => stem,
    };
    let is_program = stem == "main" && parent.parent().is_some_and(|above| above.ends_with("bin"));
    (!is_root && !is_program).then(|| name.to_owned())
}

struct Function {
    name: String,
    first_line: usize,
    lines: usize,
}

/// Functions with a body, nested ones included.
fn functions(code: &[String]) -> Vec<Function> {
    let mut found = Vec::new();
    for (index, line) in code.iter().enumerate() {
        for name in names(line) {
            if let Some(lines) = body_lines(&code[index..], &name) {
                found.push(Function {
                    name,
                    first_line: index + 1,
                    lines,
                });
            }
        }
    }
    found
}

fn names(line: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in line.match_indices("fn ") {
        let is_word = !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let name: String = line[at + 3..]
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        if is_word && !name.is_empty() {
            names.push(name);
        }
    }
    names
}

/// Lines from the signature to the closing brace; none when there is no body.
fn body_lines(code: &[String], name: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut parentheses = 0_usize;
    let start = format!("fn {name}");
    for (index, line) in code.iter().enumerate() {
        let from = if index == 0 { line.find(&start)? } else { 0 };
        for character in line[from..].chars() {
            match character {
                '(' | '[' => parentheses += 1,
                ')' | ']' => parentheses = parentheses.saturating_sub(1),
                ';' if depth == 0 && parentheses == 0 => return None,
                '{' => depth += 1,
                '}' => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return Some(index + 1);
                    }
                }
                _ => {}
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &SourceFile) -> Vec<String> {
        check(source).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_long_function_is_named_and_one_at_the_limit_is_not() {
        let body = "    g();\n".repeat(FUNCTION_LINES_MAX - 2);
        let at_limit = format!("fn f() {{\n{body}}}\n");
        let beyond = format!("fn f(x: [u8; 4]) {{\n    // {{\n{body}}}\n");
        assert_eq!(
            texts(&SourceFile::new("xtask", "src/a.rs", &at_limit)),
            [""; 0]
        );
        assert_eq!(
            texts(&SourceFile::new("xtask", "src/a.rs", &beyond)),
            ["xtask/src/a.rs:1: `f` has 101 lines; 100 are allowed"]
        );
    }

    #[test]
    fn a_function_without_a_body_has_no_length() {
        let code = ["trait A {", "    fn f(&self);", "}", "fn g() {", "}"].map(str::to_owned);
        let found = functions(&code);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].name.as_str(), found[0].lines), ("g", 2));
    }

    #[test]
    fn a_long_file_is_named_and_one_at_the_limit_is_not() {
        let at_limit = "//\n".repeat(FILE_LINES_MAX);
        assert_eq!(
            texts(&SourceFile::new("xtask", "src/a.rs", &at_limit)),
            [""; 0]
        );
        let beyond = "//\n".repeat(FILE_LINES_MAX + 1);
        assert_eq!(
            texts(&SourceFile::new("xtask", "src/a.rs", &beyond)),
            ["xtask/src/a.rs: 1001 lines; 1000 are allowed"]
        );
    }

    #[test]
    fn a_file_that_no_module_names_is_dead() {
        let sources = [
            SourceFile::new(
                "xtask",
                "src/main.rs",
                "mod alive;\n#[path = \"unix.rs\"]\nmod os;\n",
            ),
            SourceFile::new("xtask", "src/alive/mod.rs", ""),
            SourceFile::new("xtask", "src/unix.rs", ""),
            SourceFile::new("xtask", "src/left_over.rs", ""),
            SourceFile::new("xtask", "src/bin/tool.rs", ""),
            SourceFile::new("xtask", "tests/messages.rs", ""),
            SourceFile::new("microagent-os", "src/lib.rs", "mod left_over;\n"),
        ];
        let dead: Vec<String> = dead_files(&sources)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            dead,
            ["xtask/src/left_over.rs: no module declaration names this file"]
        );
    }
}
