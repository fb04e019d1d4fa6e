//! The live picture: drawn anew at each look, left with q, and the terminal is as it was.

use std::io;
use std::time::Duration;

use microagent_wire::fault::{Fault, FaultKind};
use microagent_workspace::Context;
use microagent_workspace::top::Samples;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Row, Table};
use ratatui::{DefaultTerminal, Frame};

use super::{COLUMNS, look, rows};
use crate::error::Failure;
use crate::printer::Paint;
use crate::render::escape::escaped;

/// Widths that leave 80 columns enough for a name.
const WIDTHS: [Constraint; COLUMNS.len()] = [
    Constraint::Fill(1),
    Constraint::Length(11),
    Constraint::Length(6),
    Constraint::Length(19),
    Constraint::Length(19),
    Constraint::Length(10),
];
/// Which column holds the state.
const STATE: usize = 1;

/// Draws until somebody has seen enough.
pub(super) fn run(context: &Context, interval: Duration, paint: Paint) -> Result<(), Failure> {
    let mut earlier = look(context)?;
    let mut terminal = ratatui::try_init().map_err(|error| unusable(&error))?;
    let ended = draw_until_left(&mut terminal, context, interval, paint, &mut earlier);
    // The picture is gone in any case; what it ended with is told behind it.
    ratatui::restore();
    ended
}

fn draw_until_left(
    terminal: &mut DefaultTerminal,
    context: &Context,
    interval: Duration,
    paint: Paint,
    earlier: &mut Samples,
) -> Result<(), Failure> {
    loop {
        let later = look(context)?;
        let drawn = terminal.draw(|frame| draw(frame, earlier, &later, paint));
        drawn.map_err(|error| unusable(&error))?;
        *earlier = later;
        if is_left(interval).map_err(|error| unusable(&error))? {
            return Ok(());
        }
    }
}

/// Waits for the next look; true when it is not wanted.
fn is_left(interval: Duration) -> io::Result<bool> {
    if !event::poll(interval)? {
        return Ok(false);
    }
    Ok(match event::read()? {
        Event::Key(key) if key.kind != KeyEventKind::Release => leaves(key),
        _ => false,
    })
}

fn leaves(key: KeyEvent) -> bool {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c' | 'd') => control,
        KeyCode::Char('q') | KeyCode::Esc => true,
        _ => false,
    }
}

fn draw(frame: &mut Frame<'_>, earlier: &Samples, later: &Samples, paint: Paint) {
    let parts = Layout::vertical([
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ]);
    let [title, body, foot] = parts.areas(frame.area());
    let alive = later
        .workspaces
        .iter()
        .filter(|one| one.known.alive)
        .count();
    let all = later.workspaces.len();
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let heading = format!("microagent top: {alive} of {all} workspaces run");
    frame.render_widget(Paragraph::new(heading).style(bold), title);
    let header = Row::new(COLUMNS.map(|column| column.header)).style(bold);
    let shown = rows(earlier, later).map(|cells| {
        let style = style_of(&cells[STATE], paint);
        Row::new(cells.map(|cell| Line::from(escaped(&cell).into_owned()))).style(style)
    });
    frame.render_widget(Table::new(shown, WIDTHS).header(header), body);
    let dim = Style::new().add_modifier(Modifier::DIM);
    frame.render_widget(Paragraph::new("q leaves").style(dim), foot);
}

/// Colour beside the word, never in its place.
fn style_of(state: &str, paint: Paint) -> Style {
    match (paint, state) {
        (Paint::Ansi, "running") => Style::new().fg(Color::Green),
        (Paint::Ansi, "failed" | "quarantined") => Style::new().fg(Color::Red),
        (Paint::Ansi, "paused" | "starting" | "halting") => Style::new().fg(Color::Yellow),
        _ => Style::new(),
    }
}

fn unusable(error: &io::Error) -> Failure {
    let fault = Fault::new(FaultKind::Internal, "the terminal cannot be drawn on");
    let hint = "one sample without a terminal: microagent top | cat";
    fault.with_hint(hint).with_cause(error.to_string()).into()
}

#[cfg(test)]
mod tests {
    use super::{leaves, style_of};
    use crate::printer::Paint;
    use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
    use ratatui::style::Style;

    #[test]
    fn q_escape_and_the_usual_ends_leave_and_other_keys_do_not() {
        let key = |code, modifiers| leaves(KeyEvent::new(code, modifiers));
        assert!(key(KeyCode::Char('q'), KeyModifiers::NONE));
        assert!(key(KeyCode::Esc, KeyModifiers::NONE));
        assert!(key(KeyCode::Char('c'), KeyModifiers::CONTROL));
        assert!(!key(KeyCode::Char('c'), KeyModifiers::NONE));
        assert!(!key(KeyCode::Enter, KeyModifiers::NONE));
    }

    #[test]
    fn without_colour_no_state_has_any() {
        for state in ["running", "failed", "paused", "halted"] {
            assert_eq!(style_of(state, Paint::Plain), Style::new());
        }
        assert_ne!(style_of("failed", Paint::Ansi), Style::new());
    }
}
