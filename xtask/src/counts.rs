//! How many tests passed, failed and were left out, read from what test runners print.
//!
//! The last line of the whole pipeline is a promise to whoever runs it unattended, so the numbers
//! come from the runners' own summaries and not from exit codes. Pure: text in, numbers out.

use std::fmt;
use std::ops::AddAssign;

/// Numbers of tests.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Tests that ran and passed.
    pub(crate) passed: u64,
    /// Tests that failed, could not be started or ran out of time, and stages that failed.
    pub(crate) failed: u64,
    /// Tests and stages that can't run here and said so.
    pub(crate) skipped: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

/// The counts in a summary line of nextest, such as
/// `Summary [   2.1s] 9 tests run: 7 passed (1 slow), 1 failed, 1 timed out, 3 skipped`.
pub(crate) fn of_nextest(line: &str) -> Option<Counts> {
    let (before, numbers) = line.split_once(" run: ")?;
    before.contains("Summary").then(|| sum(numbers, ','))
}

/// The counts in a result line of libtest or libtest-mimic, such as
/// `test result: ok. 5 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 1s`.
pub(crate) fn of_libtest(line: &str) -> Option<Counts> {
    let (_, numbers) = line
        .trim()
        .strip_prefix("test result: ")?
        .split_once(". ")?;
    Some(sum(numbers, ';'))
}

fn sum(numbers: &str, separator: char) -> Counts {
    let mut counts = Counts::default();
    for part in without_parentheses(numbers).split(separator) {
        let Some((number, what)) = part.trim().split_once(' ') else {
            continue;
        };
        let Ok(number) = number.parse::<u64>() else {
            continue;
        };
        match what.trim() {
            "passed" => counts.passed += number,
            "failed" | "timed out" | "exec failed" => counts.failed += number,
            "skipped" | "ignored" => counts.skipped += number,
            _ => {}
        }
    }
    counts
}

fn without_parentheses(text: &str) -> String {
    let mut depth = 0_u32;
    text.chars()
        .filter(|character| {
            match character {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ => return depth == 0,
            }
            false
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(passed: u64, failed: u64, skipped: u64) -> Counts {
        Counts {
            passed,
            failed,
            skipped,
        }
    }

    #[test]
    fn nextest_s_summary_is_read() {
        for (line, expected) in [
            (
                "     Summary [   0.041s] 12 tests run: 12 passed, 0 skipped",
                counts(12, 0, 0),
            ),
            (
                "Summary [ 2s] 1/9 tests run: 5 passed (1 slow, 2 leaky), 1 failed, 2 timed out, 1 exec failed, 3 skipped",
                counts(5, 4, 3),
            ),
            (
                "Summary [ 2s] 1 test run: 1 passed, 0 skipped",
                counts(1, 0, 0),
            ),
        ] {
            assert_eq!(of_nextest(line), Some(expected), "{line}");
        }
        assert_eq!(of_nextest("    Starting 12 tests across 1 binary"), None);
    }

    #[test]
    fn libtest_s_result_is_read() {
        let line = "test result: FAILED. 5 passed; 1 failed; 2 ignored; 0 measured; 7 filtered out; finished in 0.3s";
        assert_eq!(of_libtest(line), Some(counts(5, 1, 2)));
        assert_eq!(of_libtest("test a ... ok"), None);
    }

    #[test]
    fn the_last_line_has_this_form() {
        let mut total = counts(1, 0, 2);
        total += counts(2, 1, 0);
        assert_eq!(total.to_string(), "3 passed, 1 failed, 2 skipped");
    }
}
