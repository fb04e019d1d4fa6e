//! Progress of the library, drawn on stderr.
//!
//! ```text
//! a phase begins -> 500 ms pass -> a bar, at most ten redraws a second -> the phase ends -> erased
//! ```
//!
//! Below the bar of a download each layer that is on its way has a line (`layer_bars`).
//!
//! What is over in half a second is never drawn, and what was drawn is gone before the guest's first
//! byte: the end of a phase erases in the caller's thread. Only waiting for the half second happens
//! in a thread of its own. Where nobody looks, nothing is drawn and no thread is started.

use std::fmt::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use microagent_os::clock;
use microagent_types::ByteSize;
use microagent_workspace::progress::{Phase, Progress, ProgressEvent};

use crate::layer_bars::LayerBars;
use crate::printer::Printer;

/// Work that is shorter is not drawn.
const APPEARS_AFTER: Duration = Duration::from_millis(500);
const REDRAWS_PER_SECOND: u8 = 10;
const TICK: Duration = Duration::from_millis(100);

/// Draws what the library reports.
pub(crate) struct ProgressBars<'a> {
    printer: &'a Printer,
    shared: Option<Arc<Shared>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    current: Option<Current>,
    over: bool,
}

struct Current {
    phase: Phase,
    begun: Instant,
    done_bytes: u64,
    total_bytes: Option<u64>,
    layers: LayerBars,
    drawn: Option<Drawn>,
}

/// What is on the screen.
struct Drawn {
    screen: MultiProgress,
    bar: ProgressBar,
}

impl<'a> ProgressBars<'a> {
    /// Bars where the printer's stderr is looked at.
    pub(crate) fn new(printer: &'a Printer) -> Self {
        let shared = printer.draws_progress().then(|| {
            let shared = Arc::new(Shared::default());
            let timer = Arc::clone(&shared);
            std::thread::spawn(move || timer.wait_and_draw());
            shared
        });
        Self { printer, shared }
    }
}

impl Progress for ProgressBars<'_> {
    fn report(&mut self, event: ProgressEvent) {
        if let ProgressEvent::Note(text) = &event {
            match &self.shared {
                Some(shared) => shared.suspended(|| self.printer.note(text)),
                None => self.printer.note(text),
            }
            return;
        }
        if let Some(shared) = &self.shared {
            shared.report(&event);
        }
    }
}

impl Drop for ProgressBars<'_> {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            let mut state = shared.state();
            state.erase();
            state.over = true;
            shared.changed.notify_all();
        }
    }
}

impl Shared {
    fn report(&self, event: &ProgressEvent) {
        let mut state = self.state();
        match *event {
            ProgressEvent::Begin(phase) => {
                state.erase();
                state.current = Some(Current {
                    phase,
                    begun: clock::monotonic(),
                    done_bytes: 0,
                    total_bytes: None,
                    layers: LayerBars::default(),
                    drawn: None,
                });
                self.changed.notify_all();
            }
            ProgressEvent::Advance {
                phase,
                done_bytes,
                total_bytes,
            } => state.advance(phase, done_bytes, total_bytes),
            ProgressEvent::Layer {
                digest,
                done_bytes,
                total_bytes,
            } => {
                if let Some(current) = &mut state.current {
                    current.layers.advance(digest, done_bytes, total_bytes);
                    if let Some(drawn) = &current.drawn {
                        current.layers.draw(&drawn.screen);
                    }
                }
            }
            ProgressEvent::End(phase) => {
                if state
                    .current
                    .as_ref()
                    .is_some_and(|current| current.phase == phase)
                {
                    state.erase();
                }
            }
            ProgressEvent::Note(_) => {}
        }
    }

    fn suspended(&self, talk: impl FnOnce()) {
        let state = self.state();
        let current = state.current.as_ref();
        match current.and_then(|current| current.drawn.as_ref()) {
            Some(drawn) => drawn.screen.suspend(talk),
            None => talk(),
        }
    }

    /// The timer's thread: gives each phase its bar once the half second has passed.
    fn wait_and_draw(&self) {
        let mut state = self.state();
        while !state.over {
            let left = state.until_drawn();
            if left == Some(Duration::ZERO) {
                state.draw();
                continue;
            }
            state = match left {
                Some(left) => {
                    let waited = self.changed.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A bar that is wrong after a panic elsewhere is the least of the troubles then.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How long until the current phase gets its bar; `None` when there is nothing to draw.
    fn until_drawn(&self) -> Option<Duration> {
        let current = self
            .current
            .as_ref()
            .filter(|current| current.drawn.is_none())?;
        let lasted = clock::monotonic().duration_since(current.begun);
        Some(APPEARS_AFTER.saturating_sub(lasted))
    }

    fn draw(&mut self) {
        let Some(current) = &mut self.current else {
            return;
        };
        let target = ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND);
        let screen = MultiProgress::with_draw_target(target);
        let lasted = clock::monotonic().duration_since(current.begun);
        let hidden = ProgressDrawTarget::hidden();
        let bar = ProgressBar::with_draw_target(current.total_bytes, hidden).with_elapsed(lasted);
        let bar = screen.add(bar);
        bar.set_style(style(current.total_bytes, current.done_bytes));
        bar.set_message(words(current.phase));
        bar.set_position(current.done_bytes);
        bar.enable_steady_tick(TICK);
        current.layers.draw(&screen);
        current.drawn = Some(Drawn { screen, bar });
    }

    fn advance(&mut self, phase: Phase, done_bytes: u64, total_bytes: Option<u64>) {
        let Some(current) = self
            .current
            .as_mut()
            .filter(|current| current.phase == phase)
        else {
            return;
        };
        let known_before = (current.total_bytes.is_some(), current.done_bytes > 0);
        (current.done_bytes, current.total_bytes) = (done_bytes, total_bytes);
        let Some(Drawn { bar, .. }) = &current.drawn else {
            return;
        };
        if known_before != (total_bytes.is_some(), done_bytes > 0) {
            bar.set_style(style(total_bytes, done_bytes));
        }
        if let Some(total) = total_bytes {
            bar.set_length(total);
        }
        bar.set_position(done_bytes);
    }

    fn erase(&mut self) {
        let Some(mut current) = self.current.take() else {
            return;
        };
        if let Some(drawn) = current.drawn.take() {
            current.layers.erase(&drawn.screen);
            drawn.bar.finish_and_clear();
        }
    }
}

fn words(phase: Phase) -> &'static str {
    match phase {
        Phase::Resolve => "looking up the image",
        Phase::Download => "downloading",
        Phase::Build => "building the disk",
        Phase::Clone => "cloning the disk",
        Phase::Boot => "booting",
        Phase::Copy => "copying",
        Phase::Kernel => "fetching the kernel",
    }
}

fn style(total_bytes: Option<u64>, done_bytes: u64) -> ProgressStyle {
    sized(match (total_bytes, done_bytes) {
        (Some(_), _) => "{msg}  [{bar:24}] {done} of {all}, {rate}",
        (None, 1..) => "{spinner} {msg}  {done}, {rate}",
        (None, 0) => "{spinner} {msg}  {elapsed}",
    })
}

/// A style whose template may name sizes: `done`, `all` and `rate`.
pub(crate) fn sized(template: &str) -> ProgressStyle {
    let size = |bytes| ByteSize::from_bytes(bytes);
    ProgressStyle::with_template(template)
        .expect("the templates are constants and a test reads each")
        .progress_chars("=> ")
        .with_key(
            "done",
            move |state: &ProgressState, text: &mut dyn Write| {
                // A bar that cannot be written is not drawn, and nothing else is lost.
                let _ = write!(text, "{}", size(state.pos()));
            },
        )
        .with_key("all", move |state: &ProgressState, text: &mut dyn Write| {
            let _ = write!(text, "{}", size(state.len().unwrap_or_default()));
        })
        .with_key(
            "rate",
            move |state: &ProgressState, text: &mut dyn Write| {
                let ms = u64::try_from(state.elapsed().as_millis()).unwrap_or(u64::MAX);
                let rate = state.pos().saturating_mul(1000) / ms.max(1);
                let _ = write!(text, "{}/s", size(rate));
            },
        )
}

#[cfg(test)]
mod tests {
    use super::{Shared, style};
    use microagent_workspace::progress::{Phase, ProgressEvent};
    use std::time::Duration;

    #[test]
    fn every_template_is_one() {
        style(Some(10), 1);
        style(None, 1);
        style(None, 0);
    }

    #[test]
    fn nothing_is_drawn_before_half_a_second() {
        let shared = Shared::default();
        shared.report(&ProgressEvent::Begin(Phase::Boot));
        let left = shared.state().until_drawn().unwrap();
        assert!(left > Duration::ZERO && left <= Duration::from_millis(500));
        shared.report(&ProgressEvent::End(Phase::Boot));
        assert_eq!(shared.state().until_drawn(), None);
    }

    #[test]
    fn the_end_of_another_phase_changes_nothing() {
        let shared = Shared::default();
        shared.report(&ProgressEvent::Begin(Phase::Build));
        shared.report(&ProgressEvent::End(Phase::Resolve));
        let advance = ProgressEvent::Advance {
            phase: Phase::Build,
            done_bytes: 5,
            total_bytes: Some(10),
        };
        shared.report(&advance);
        let state = shared.state();
        let current = state.current.as_ref().unwrap();
        assert_eq!((current.done_bytes, current.total_bytes), (5, Some(10)));
    }
}
