//! The limits of `limits.toml` and what they say of a report. Pure but for the text that is built in.

use crate::bench::Report;
use anyhow::{Context as _, Result};
use toml::Table;

const TEXT: &str = include_str!("../limits.toml");

/// All limits.
#[derive(Debug)]
pub(crate) struct Limits {
    cases: Table,
}

/// What a limit says of a figure.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Verdict {
    /// Which figure.
    pub(crate) figure: &'static str,
    /// The limit.
    pub(crate) limit: f64,
    /// Whether the figure is not above it.
    pub(crate) holds: bool,
}

impl Limits {
    /// The limits that are built in.
    pub(crate) fn read() -> Result<Self> {
        Self::parse(TEXT)
    }

    fn parse(text: &str) -> Result<Self> {
        let cases = text.parse().context("limits.toml is damaged")?;
        Ok(Self { cases })
    }

    /// The limits of a case and whether they hold. A figure that was not measured is not judged.
    pub(crate) fn judge(&self, case: &str, report: &Report) -> Vec<Verdict> {
        report
            .figures()
            .into_iter()
            .filter_map(|(figure, value)| {
                let limit = self.cases.get(case)?.get(figure)?;
                let limit = limit.as_float().or_else(|| {
                    limit
                        .as_integer()
                        .and_then(|whole| i32::try_from(whole).ok())
                        .map(f64::from)
                })?;
                Some(Verdict {
                    figure,
                    limit,
                    holds: value <= limit,
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Report;
    use crate::compare::Comparison;
    use std::time::Duration;

    fn report(ours_ms: u64, reference_ms: u64) -> Report {
        let mut comparison = Comparison::default();
        comparison.add(
            Duration::from_millis(ours_ms),
            Duration::from_millis(reference_ms),
        );
        Report::new("ours", "reference", comparison).with_figure("peak_mib", 151.0)
    }

    #[test]
    fn a_figure_at_its_limit_holds_and_one_above_does_not() {
        let limits = Limits::parse("[a]\nratio = 0.5\npeak_mib = 150\n").unwrap();
        let holds = |report: &Report| -> Vec<bool> {
            limits
                .judge("a", report)
                .iter()
                .map(|verdict| verdict.holds)
                .collect()
        };
        assert_eq!(holds(&report(50, 100)), [true, false]);
        assert_eq!(holds(&report(51, 100)), [false, false]);
    }

    #[test]
    fn a_case_without_limits_is_not_judged() {
        let limits = Limits::parse("[a]\nratio = 0.5\n").unwrap();
        assert!(limits.judge("b", &report(9, 1)).is_empty());
    }

    #[test]
    fn what_is_built_in_can_be_read() {
        let limits = Limits::read().unwrap();
        assert_eq!(limits.judge("image-build", &report(1, 1)).len(), 2);
    }
}
