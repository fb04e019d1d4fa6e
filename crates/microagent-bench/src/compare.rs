//! Interleaving, medians and spread. Pure: no clock, no process.
//!
//! A machine drifts: it warms up, others use it. So contenders take turns, each round in another
//! order, a ratio is made in each round from neighbours in time, and the median of those ratios is
//! what counts. The quartiles beside it say how far it can be trusted.

use std::time::Duration;

/// The order in which `contenders` run in a round: everybody is first as often as everybody else.
pub(crate) fn order(round: usize, contenders: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..contenders).collect();
    if contenders > 0 {
        order.rotate_left(round % contenders);
    }
    order
}

/// Middle and quartiles of some numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    /// A quarter of the numbers is at most this.
    pub(crate) low: f64,
    /// Half of them.
    pub(crate) median: f64,
    /// Three quarters of them.
    pub(crate) high: f64,
}

impl Spread {
    /// Of these numbers; `None` when there is none, or one that is no number.
    pub(crate) fn of(numbers: &[f64]) -> Option<Self> {
        if numbers.is_empty() || numbers.iter().any(|number| !number.is_finite()) {
            return None;
        }
        let mut sorted = numbers.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            low: at_quarter(&sorted, 1),
            median: at_quarter(&sorted, 2),
            high: at_quarter(&sorted, 3),
        })
    }
}

/// The number at a quarter of the way, between its neighbours where it falls between two.
fn at_quarter(sorted: &[f64], quarter: usize) -> f64 {
    let quarters = (sorted.len() - 1) * quarter;
    let (index, rest) = (quarters / 4, quarters % 4);
    let next = sorted.get(index + 1).copied().unwrap_or(sorted[index]);
    let weight = [0.0, 0.25, 0.5, 0.75][rest];
    sorted[index].mul_add(1.0 - weight, next * weight)
}

/// Times of ours and of the reference, round by round.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Comparison {
    rounds: Vec<(Duration, Duration)>,
}

impl Comparison {
    /// One more round: our time, the reference's time.
    pub(crate) fn add(&mut self, ours: Duration, reference: Duration) {
        self.rounds.push((ours, reference));
    }

    /// Ours as a part of the reference's, in each round.
    pub(crate) fn ratio(&self) -> Option<Spread> {
        let ratios: Vec<f64> = self
            .rounds
            .iter()
            .map(|(ours, reference)| ours.as_secs_f64() / reference.as_secs_f64())
            .collect();
        Spread::of(&ratios)
    }

    /// Our times in milliseconds.
    pub(crate) fn ours_ms(&self) -> Option<Spread> {
        Spread::of(
            &self
                .rounds
                .iter()
                .map(|(ours, _)| ms(*ours))
                .collect::<Vec<_>>(),
        )
    }

    /// The reference's times in milliseconds.
    pub(crate) fn reference_ms(&self) -> Option<Spread> {
        let times: Vec<f64> = self
            .rounds
            .iter()
            .map(|(_, reference)| ms(*reference))
            .collect();
        Spread::of(&times)
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(low: f64, median: f64, high: f64) -> Spread {
        Spread { low, median, high }
    }

    #[test]
    fn everybody_is_first_in_turn() {
        assert_eq!(order(0, 2), [0, 1]);
        assert_eq!(order(1, 2), [1, 0]);
        assert_eq!(order(4, 3), [1, 2, 0]);
        assert!(order(5, 0).is_empty());
    }

    #[test]
    fn quartiles_are_those_of_the_sorted_numbers() {
        for (numbers, expected) in [
            (&[3.0][..], spread(3.0, 3.0, 3.0)),
            (&[2.0, 1.0], spread(1.25, 1.5, 1.75)),
            (&[5.0, 1.0, 3.0, 2.0, 4.0], spread(2.0, 3.0, 4.0)),
            (&[1.0, 2.0, 3.0, 100.0], spread(1.75, 2.5, 27.25)),
        ] {
            assert_eq!(Spread::of(numbers), Some(expected), "{numbers:?}");
        }
    }

    #[test]
    fn no_numbers_have_no_middle() {
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[1.0, f64::NAN]), None);
        assert_eq!(Comparison::default().ratio(), None);
    }

    #[test]
    fn drift_that_both_share_does_not_move_the_ratio() {
        let mut comparison = Comparison::default();
        for slowness in [1, 2, 7, 3, 1] {
            comparison.add(
                Duration::from_millis(110 * slowness),
                Duration::from_millis(100 * slowness),
            );
        }
        let ratio = comparison.ratio().unwrap();
        assert!((ratio.median - 1.1).abs() < 1e-9, "{ratio:?}");
        assert!((ratio.high - ratio.low).abs() < 1e-9, "{ratio:?}");
        assert!((comparison.ours_ms().unwrap().median - 220.0).abs() < 1e-9);
    }

    #[test]
    fn a_reference_that_took_no_time_gives_no_ratio() {
        let mut comparison = Comparison::default();
        comparison.add(Duration::from_millis(1), Duration::ZERO);
        assert_eq!(comparison.ratio(), None);
    }
}
