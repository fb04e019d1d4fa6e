//! Pages of the manual, typed: every block of commands in a Markdown file, as it stands there, and what it prints.
//!
//! ```text
//! ```sh            a block: one shell, which ends at the first command that fails
//! cmd  # exits 7   this line must end so
//! ```
//! ```text          the lines that the block above it must have printed, among others, in this order
//! ```
//!
//! A comment `<!-- not typed: … -->` before a block leaves it out, and so does `# at a terminal` behind a line: there
//! is none here. Blocks share their folder and their workspaces, as they do for a reader, and nothing else.

use anyhow::{Context as _, Result, bail, ensure};
use microagent_test::cli::Program;
use microagent_test::home::Home;
use std::path::Path;
use std::time::Duration;

const NOT_TYPED: &str = "<!-- not typed:";
const AT_TERMINAL: &str = "# at a terminal";
const EXITS: &str = "# exits ";

/// A block of commands and what it prints.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Block {
    /// Where it begins, from 1.
    pub(crate) line: usize,
    /// As it stands there.
    pub(crate) commands: Vec<String>,
    /// What must be among its output.
    pub(crate) prints: Vec<String>,
}

/// The blocks of a page that are to be typed.
pub(crate) fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut inside: Option<(&str, Vec<String>, usize)> = None;
    let mut left_out = false;
    let mut follows = false;
    for (number, line) in page.lines().enumerate() {
        match (&mut inside, line.strip_prefix("```")) {
            (None, Some(kind)) => inside = Some((kind, Vec::new(), number + 1)),
            (Some((kind, lines, at)), Some(_)) => {
                let lines = std::mem::take(lines);
                match *kind {
                    "sh" if !left_out => {
                        blocks.push(Block {
                            line: *at,
                            commands: lines,
                            prints: Vec::new(),
                        });
                        follows = true;
                    }
                    "text" if follows => {
                        if let Some(block) = blocks.last_mut() {
                            block.prints = lines;
                        }
                        follows = false;
                    }
                    _ => follows = false,
                }
                left_out = false;
                inside = None;
            }
            (Some((_, lines, _)), None) => lines.push(line.to_owned()),
            (None, None) if line.starts_with(NOT_TYPED) => left_out = true,
            (None, None) if line.is_empty() => {}
            (None, None) => follows = false,
        }
    }
    blocks
}

impl Block {
    /// As a shell is given it.
    fn script(&self) -> String {
        let mut script = String::from("set -eu\n");
        for line in &self.commands {
            if line.contains(AT_TERMINAL) {
                continue;
            }
            match line.split_once(EXITS) {
                Some((command, code)) => {
                    let code = code.split(|c: char| !c.is_ascii_digit()).next();
                    let code = code.unwrap_or_default();
                    script += &[
                        "code=0; ",
                        command,
                        " || code=$?; test $code = ",
                        code,
                        "\n",
                    ]
                    .concat();
                }
                None => {
                    script += line;
                    script.push('\n');
                }
            }
        }
        script
    }

    /// Fails unless the output has the lines that it should, in their order.
    fn has_printed(&self, output: &str) -> Result<()> {
        let mut left = output.lines();
        for line in &self.prints {
            ensure!(
                left.any(|printed| printed.contains(line.as_str())),
                "`{line}` was to be printed:\n{output}"
            );
        }
        Ok(())
    }
}

/// Types a page's blocks, one after the other, with the programs of an installation first on `PATH`.
pub(crate) fn types(page: &Path, bin: &Path, home: &Home, limit: Duration) -> Result<()> {
    let text = std::fs::read_to_string(page)
        .with_context(|| format!("cannot read `{}`", page.display()))?;
    let blocks = blocks(&text);
    ensure!(!blocks.is_empty(), "`{}` has no blocks", page.display());
    let path = std::env::var("PATH").unwrap_or_default();
    for block in blocks {
        let place = format!("{}:{}", page.display(), block.line);
        let finished = Program::at("/bin/sh")
            .of(home)
            .env("PATH", format!("{}:{path}", bin.display()))
            .args(["-c", &block.script()])
            .limit(limit)
            .run()
            .with_context(|| place.clone())?;
        if finished.code != Some(0) {
            bail!(
                "{place}: ended with {:?}\nstdout: {}\nstderr: {}",
                finished.code,
                finished.stdout_text(),
                finished.stderr_text()
            );
        }
        block
            .has_printed(&finished.stdout_text())
            .with_context(|| place)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# Page\n\n<!-- not typed: it installs -->\n```sh\nsudo apt install x\n```\n\n```sh\necho a; echo b\nfalse # exits 1\nconnect  # at a terminal\n```\n\n```text\nb\n```\n\nwords\n\n```text\nnot its output\n```\n";

    #[test]
    fn a_block_is_what_stands_there_with_what_it_prints() {
        let blocks = blocks(PAGE);
        assert_eq!(blocks.len(), 1);
        assert_eq!(blocks[0].line, 8);
        assert_eq!(blocks[0].prints, ["b"]);
        let script = blocks[0].script();
        assert!(
            script.contains("false  || code=$?; test $code = 1"),
            "{script}"
        );
        assert!(!script.contains("connect"), "{script}");
        blocks[0].has_printed("a\nb\n").unwrap();
        assert!(blocks[0].has_printed("a\n").is_err());
    }

    #[test]
    fn the_order_of_what_is_printed_counts() {
        let block = Block {
            prints: vec!["one".to_owned(), "two".to_owned()],
            ..Block::default()
        };
        assert!(block.has_printed("two\none\n").is_err());
        block.has_printed("one\nzero\ntwo\n").unwrap();
    }
}
