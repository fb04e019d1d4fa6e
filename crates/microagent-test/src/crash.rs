//! Ends a program at every point at which it makes something durable, one after the other.
//!
//! "Kill -9 at any instant" can't be tested by hoping for an instant. A build with crash points says
//! which ones an act passes; then the act runs once for each, ended right there, and the test looks at
//! what the next command makes of it. It must not be used with a build that ships: that has no points,
//! and [`points`] says so.

use crate::cli::{Finished, Program};
use anyhow::{Result, bail};
use std::collections::BTreeMap;
use std::path::Path;

const AT: &str = "MICROAGENT_TEST_CRASH_AT";
const LOG: &str = "MICROAGENT_TEST_CRASH_LOG";
const SIGABRT: i32 = 6;

/// The points that one run of `program` passes, each pass as `name:n`; `log` is a file for them.
pub fn points(program: Program, log: &Path) -> Result<Vec<String>> {
    let finished = program.env(LOG, log).run()?;
    let text = std::fs::read_to_string(log).unwrap_or_default();
    if text.is_empty() {
        bail!(
            "{} passed no crash point: is it built with them?",
            finished.words
        );
    }
    Ok(numbered_passes(&text))
}

/// Runs `program` and has it end at `point`. Another process of the same act may be the one that ends
/// there, so the caller looks at the result.
pub fn at(program: Program, point: &str) -> Result<Finished> {
    program.env(AT, point).run()
}

/// Whether the program itself was the one that ended at its point.
pub fn has_crashed(finished: &Finished) -> bool {
    finished.signal == Some(SIGABRT)
}

/// The passes of a log, each as `name:n`.
pub fn numbered_passes(text: &str) -> Vec<String> {
    let mut passes: BTreeMap<&str, u32> = BTreeMap::new();
    text.lines()
        .map(|name| {
            let count = passes.entry(name).or_insert(0);
            *count += 1;
            format!("{name}:{count}")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::Home;

    #[test]
    fn every_pass_of_a_point_has_its_number() {
        assert_eq!(numbered_passes("a\nb\na\n"), ["a:1", "b:1", "a:2"]);
    }

    #[test]
    fn a_program_without_points_is_refused() {
        let home = Home::new().unwrap();
        let log = home.path().join("log");
        points(Program::at("/bin/true").of(&home), &log).unwrap_err();
    }

    #[test]
    fn a_program_ends_where_it_was_told_to() {
        let home = Home::new().unwrap();
        let program = Program::at("/bin/sh").of(&home).args([
            "-c",
            "test \"$MICROAGENT_TEST_CRASH_AT\" = a:1 && kill -ABRT $$",
        ]);
        assert!(has_crashed(&at(program, "a:1").unwrap()));
    }
}
