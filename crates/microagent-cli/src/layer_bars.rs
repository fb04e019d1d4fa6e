//! A line for each layer that is on its way, below the bar of the whole download.
//!
//! A layer has a line from its first byte to its last, so there are as many as come at once and the
//! screen does not fill with what is done. Nothing is drawn before the whole is.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget};
use microagent_types::Digest;

use crate::progress_bar::sized;

/// More layers at once have no line: the screen is a person's.
const LINES_MAX: usize = 8;
const TEMPLATE: &str = "  {msg}  [{bar:24}] {done} of {all}";

/// The layers of a download.
#[derive(Default)]
pub(crate) struct LayerBars {
    layers: Vec<LayerBar>,
}

struct LayerBar {
    digest: Digest,
    done_bytes: u64,
    total_bytes: u64,
    bar: Option<ProgressBar>,
}

impl LayerBar {
    /// Whether it has a line.
    fn is_on_its_way(&self) -> bool {
        self.done_bytes > 0 && self.done_bytes < self.total_bytes
    }
}

impl LayerBars {
    /// So much of a layer is there.
    pub(crate) fn advance(&mut self, digest: Digest, done_bytes: u64, total_bytes: u64) {
        let known = self.layers.iter_mut().find(|layer| layer.digest == digest);
        match known {
            Some(layer) => layer.done_bytes = done_bytes,
            None => self.layers.push(LayerBar {
                digest,
                done_bytes,
                total_bytes,
                bar: None,
            }),
        }
    }

    /// Brings the lines on the screen up to date.
    pub(crate) fn draw(&mut self, screen: &MultiProgress) {
        let mut lines = 0;
        for layer in &mut self.layers {
            if !layer.is_on_its_way() {
                if let Some(bar) = layer.bar.take() {
                    take_off(&bar, screen);
                }
                continue;
            }
            lines += 1;
            if lines > LINES_MAX {
                continue;
            }
            let bar = layer.bar.get_or_insert_with(|| {
                let hidden = ProgressDrawTarget::hidden();
                let bar = ProgressBar::with_draw_target(Some(layer.total_bytes), hidden);
                let bar = screen.add(bar.with_style(sized(TEMPLATE)));
                bar.set_message(layer.digest.short());
                bar
            });
            bar.set_position(layer.done_bytes);
        }
    }

    /// Takes all lines off the screen.
    pub(crate) fn erase(&mut self, screen: &MultiProgress) {
        for layer in &mut self.layers {
            if let Some(bar) = layer.bar.take() {
                take_off(&bar, screen);
            }
        }
    }

    #[cfg(test)]
    fn lines(&self) -> usize {
        let with_line = self.layers.iter().filter(|layer| layer.bar.is_some());
        with_line.count()
    }
}

fn take_off(bar: &ProgressBar, screen: &MultiProgress) {
    bar.finish_and_clear();
    screen.remove(bar);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: u8) -> Digest {
        format!("sha256:{number:064x}").parse().unwrap()
    }

    fn screen() -> MultiProgress {
        MultiProgress::with_draw_target(ProgressDrawTarget::hidden())
    }

    #[test]
    fn a_layer_has_a_line_from_its_first_byte_to_its_last() {
        let (mut bars, screen) = (LayerBars::default(), screen());
        let mut lines = |layer: u8, done_bytes: u64| {
            bars.advance(digest(layer), done_bytes, 10);
            bars.draw(&screen);
            bars.lines()
        };
        assert_eq!(lines(1, 0), 0);
        assert_eq!(lines(1, 4), 1);
        assert_eq!(lines(2, 9), 2);
        assert_eq!(lines(1, 10), 1);
        // It was there already.
        assert_eq!(lines(3, 10), 1);
        bars.erase(&screen);
        assert_eq!(bars.lines(), 0);
    }

    #[test]
    fn the_screen_is_not_filled() {
        let (mut bars, screen) = (LayerBars::default(), screen());
        for layer in 0..30 {
            bars.advance(digest(layer), 1, 10);
        }
        bars.draw(&screen);
        assert_eq!(bars.lines(), LINES_MAX);
    }
}
