//! What the cases share, and what one of them gives.

use crate::compare::{Comparison, Spread, order};
use crate::limits::Verdict;
use anyhow::{Context as _, Result, bail};
use microagent_test::cli::Program;
use microagent_test::home::Home;
use microagent_test::image::debian::Debian;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A boot and a short command, on the slowest host that we know.
const RUN_LIMIT: Duration = Duration::from_mins(2);

/// What the cases share.
pub(crate) struct Bench {
    prefix: PathBuf,
    home: Home,
    rounds: usize,
}

impl Bench {
    /// Looks for the installed product.
    pub(crate) fn new(prefix: PathBuf, rounds: usize) -> Result<Self> {
        let program = prefix.join("bin/microagent");
        if !program.is_file() {
            bail!(
                "there is no `{}`; run: cargo xtask bench",
                program.display()
            );
        }
        Ok(Self {
            prefix,
            home: Home::new()?,
            rounds,
        })
    }

    /// Where the product is installed.
    pub(crate) fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// A home for everything that is measured.
    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    /// How often each contender runs.
    pub(crate) fn rounds(&self) -> usize {
        self.rounds
    }

    /// The installed command.
    pub(crate) fn microagent(&self) -> Program {
        Program::at(self.prefix.join("bin/microagent"))
            .of(&self.home)
            .limit(RUN_LIMIT)
    }

    /// Both contenders in turn, after one round that is not counted.
    pub(crate) fn compare(
        &self,
        ours: impl FnMut() -> Result<Duration>,
        reference: impl FnMut() -> Result<Duration>,
    ) -> Result<Comparison> {
        Self::compare_in(self.rounds, ours, reference)
    }

    /// The same with fewer rounds, for contenders that take long and vary little.
    pub(crate) fn compare_in(
        rounds: usize,
        mut ours: impl FnMut() -> Result<Duration>,
        mut reference: impl FnMut() -> Result<Duration>,
    ) -> Result<Comparison> {
        ours()?;
        reference()?;
        let mut comparison = Comparison::default();
        for round in 0..rounds {
            let (mut our_time, mut reference_time) = (Duration::ZERO, Duration::ZERO);
            for contender in order(round, 2) {
                if contender == 0 {
                    our_time = ours()?;
                } else {
                    reference_time = reference()?;
                }
            }
            comparison.add(our_time, reference_time);
        }
        Ok(comparison)
    }
}

/// How long `work` takes.
pub(crate) fn timed(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let began = Instant::now();
    work()?;
    Ok(began.elapsed())
}

/// What a case gives.
#[derive(Debug)]
pub(crate) struct Report {
    ours: &'static str,
    reference: &'static str,
    outcome: Outcome,
    figures: Vec<(&'static str, f64)>,
    notes: Vec<String>,
}

#[derive(Debug)]
enum Outcome {
    Measured(Comparison),
    NoCounterpart(String),
}

impl Report {
    /// Two things that were measured side by side.
    pub(crate) fn new(ours: &'static str, reference: &'static str, comparison: Comparison) -> Self {
        Self {
            ours,
            reference,
            outcome: Outcome::Measured(comparison),
            figures: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// A case that can't be measured here, and why.
    pub(crate) fn no_counterpart(
        ours: &'static str,
        reference: &'static str,
        reason: impl Into<String>,
    ) -> Self {
        Self {
            ours,
            reference,
            outcome: Outcome::NoCounterpart(reason.into()),
            figures: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// A figure beside the ratio.
    pub(crate) fn with_figure(mut self, name: &'static str, value: f64) -> Self {
        self.figures.push((name, value));
        self
    }

    /// A sentence that a reader of the figures should know.
    pub(crate) fn with_note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Everything that a limit may be set to.
    pub(crate) fn figures(&self) -> Vec<(&'static str, f64)> {
        let ratio = match &self.outcome {
            Outcome::Measured(comparison) => comparison.ratio(),
            Outcome::NoCounterpart(_) => None,
        };
        ratio
            .map(|ratio| ("ratio", ratio.median))
            .into_iter()
            .chain(self.figures.iter().copied())
            .collect()
    }

    /// As it is printed.
    pub(crate) fn text(&self, name: &str, verdicts: &[Verdict]) -> String {
        let mut text = format!("\n{name}\n");
        match &self.outcome {
            Outcome::NoCounterpart(reason) => {
                let _ = writeln!(text, "  skipped    {reason}");
            }
            Outcome::Measured(comparison) => {
                self.measured(&mut text, comparison, verdicts)
                    .expect("a string takes every write");
            }
        }
        for (figure, value) in &self.figures {
            let _ = writeln!(
                text,
                "  {figure:<10} {value:.1}{}",
                limit_of(verdicts, figure)
            );
        }
        for note in &self.notes {
            let _ = writeln!(text, "  note: {note}");
        }
        text
    }

    fn measured(
        &self,
        text: &mut String,
        comparison: &Comparison,
        verdicts: &[Verdict],
    ) -> Result<()> {
        let ratio = comparison
            .ratio()
            .context("at least one round was measured")?;
        writeln!(
            text,
            "  ratio      {:.3}  ({:.3} to {:.3}){}",
            ratio.median,
            ratio.low,
            ratio.high,
            limit_of(verdicts, "ratio")
        )?;
        for (who, times) in [
            (self.ours, comparison.ours_ms()),
            (self.reference, comparison.reference_ms()),
        ] {
            let Spread { low, median, high } = times.context("every round has both times")?;
            writeln!(text, "  {median:>8.1} ms  ({low:.1} to {high:.1})  {who}")?;
        }
        Ok(())
    }
}

fn limit_of(verdicts: &[Verdict], figure: &str) -> String {
    verdicts
        .iter()
        .find(|verdict| verdict.figure == figure)
        .map(|verdict| {
            let word = if verdict.holds {
                "holds"
            } else {
                "PASSED OVER"
            };
            format!("  limit {} {word}", verdict.limit)
        })
        .unwrap_or_default()
}

/// A real Debian.
pub(crate) fn debian_source() -> Result<String> {
    Ok(format!("oci:{}", Debian::ensure()?.layout().display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_the_ratio_first_and_says_when_its_limit_is_passed_over() {
        let mut comparison = Comparison::default();
        comparison.add(Duration::from_millis(150), Duration::from_millis(100));
        let report = Report::new("us", "them", comparison);
        let verdict = Verdict {
            figure: "ratio",
            limit: 1.25,
            holds: false,
        };
        let text = report.text("run", &[verdict]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "run");
        assert_eq!(
            lines[2],
            "  ratio      1.500  (1.500 to 1.500)  limit 1.25 PASSED OVER"
        );
        assert!(lines[3].contains("150.0 ms") && lines[3].ends_with("us"));
    }

    #[test]
    fn what_has_no_counterpart_says_so_and_has_no_figure() {
        let report = Report::no_counterpart("us", "them", "no emulator here");
        assert!(report.figures().is_empty());
        assert!(
            report
                .text("x", &[])
                .contains("skipped    no emulator here")
        );
    }
}
