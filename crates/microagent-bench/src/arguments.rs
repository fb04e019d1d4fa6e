//! What was asked for on the command line. Pure: words in, a value or a sentence out.

use anyhow::{Context as _, Result, bail};

/// Rounds of a comparison when nothing is said: enough for a median that one slow round can't move.
const ROUNDS: usize = 7;
const ROUNDS_MAX: usize = 1000;

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// Whether a limit that is passed over is a failure.
    pub(crate) check: bool,
    /// How often each contender runs.
    pub(crate) rounds: usize,
    /// The cases; all when empty.
    pub(crate) cases: Vec<String>,
}

impl Arguments {
    /// Reads the words; `known` are the cases that there are.
    pub(crate) fn parse(words: &[String], known: &[&str]) -> Result<Self> {
        let mut parsed = Self {
            check: false,
            rounds: ROUNDS,
            cases: Vec::new(),
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--check" => parsed.check = true,
                "--rounds" => {
                    let number = words.next().context("--rounds needs a number")?;
                    parsed.rounds = number
                        .parse()
                        .ok()
                        .filter(|rounds| (1..=ROUNDS_MAX).contains(rounds))
                        .with_context(|| format!("`{number}` is no number of rounds"))?;
                }
                case if known.contains(&case) => parsed.cases.push(case.to_owned()),
                other => bail!("`{other}` is no case; there is: {}", known.join(", ")),
            }
        }
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Arguments> {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        Arguments::parse(&words, &["run", "ready"])
    }

    #[test]
    fn flags_and_cases_stand_in_any_order() {
        let expected = Arguments {
            check: true,
            rounds: 3,
            cases: vec!["run".to_owned()],
        };
        assert_eq!(
            parse(&["run", "--rounds", "3", "--check"]).unwrap(),
            expected
        );
        assert_eq!(parse(&[]).unwrap().rounds, ROUNDS);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for words in [
            &["fly"][..],
            &["--rounds"],
            &["--rounds", "0"],
            &["--rounds", "x"],
        ] {
            parse(words).unwrap_err();
        }
    }
}
