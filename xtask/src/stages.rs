//! Stages of a pipeline: each is timed, each says what it left out, and a failed one does not hide
//! what the next would have found.
//!
//! It must not know what the stages do.

use std::time::Instant;

use anyhow::Result;

use crate::counts::Counts;

/// What a stage found.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Tests that it ran.
    pub(crate) counts: Counts,
    /// What it left out, each with the reason.
    pub(crate) left_out: Vec<String>,
}

impl Outcome {
    /// A stage that could not run at all.
    pub(crate) fn left_out(reason: impl Into<String>) -> Self {
        Self {
            counts: Counts::default(),
            left_out: vec![reason.into()],
        }
    }
}

impl From<Counts> for Outcome {
    fn from(counts: Counts) -> Self {
        Self {
            counts,
            left_out: Vec::new(),
        }
    }
}

/// A pipeline under way.
#[derive(Debug, Default)]
pub(crate) struct Stages {
    lines: Vec<String>,
    total: Counts,
}

impl Stages {
    /// Runs one stage and prints how it went.
    pub(crate) fn run(&mut self, name: &str, stage: impl FnOnce() -> Result<Outcome>) {
        eprintln!("── {name}");
        let started = Instant::now();
        let outcome = stage();
        let seconds = started.elapsed().as_secs_f64();
        self.note(name, seconds, outcome);
    }

    fn note(&mut self, name: &str, seconds: f64, outcome: Result<Outcome>) {
        let verdict = match outcome {
            Ok(outcome) => {
                self.total += outcome.counts;
                for reason in &outcome.left_out {
                    eprintln!("skipped: {name}: {reason}");
                    self.lines.push(format!("skipped  {name}: {reason}"));
                    self.total.skipped += 1;
                }
                if outcome.counts.failed > 0 {
                    "FAILED"
                } else {
                    "ok"
                }
            }
            Err(error) => {
                eprintln!("error: {name}: {error:#}");
                self.total.failed += 1;
                "FAILED"
            }
        };
        self.lines
            .push(format!("{seconds:>7.1}s {name}: {verdict}"));
    }

    /// What every stage took and left out.
    pub(crate) fn summary(&self) -> String {
        self.lines.join("\n")
    }

    /// The sum over all stages; a stage that failed counts as one failure.
    pub(crate) fn total(&self) -> Counts {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_stage_and_a_left_out_one_are_counted() {
        let mut stages = Stages::default();
        let counts = Counts {
            passed: 4,
            failed: 0,
            skipped: 1,
        };
        stages.note("tests", 1.0, Ok(counts.into()));
        stages.note("typos", 0.0, Ok(Outcome::left_out("not installed")));
        stages.note("format", 0.1, Err(anyhow::anyhow!("ended with 1")));
        assert_eq!(stages.total().to_string(), "4 passed, 1 failed, 2 skipped");
        assert_eq!(
            stages.summary(),
            "    1.0s tests: ok\nskipped  typos: not installed\n    0.0s typos: ok\n    0.1s format: FAILED"
        );
    }
}
