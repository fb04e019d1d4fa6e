//! Columns for people: aligned, with a header, cut to the terminal's width.
//!
//! Headers are printed over zero rows too, so that an empty answer is an answer. Where there is no
//! terminal nothing is cut: a script that reads a table gets all of it.

use crate::render::escape::escaped;

/// Where the text stands in its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A column: its header and how its cells stand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    /// Upper-case words.
    pub(crate) header: &'static str,
    /// Of header and cells.
    pub(crate) align: Align,
}

impl Column {
    /// A column of words.
    pub(crate) const fn left(header: &'static str) -> Self {
        Self {
            header,
            align: Align::Left,
        }
    }

    /// A column of numbers.
    pub(crate) const fn right(header: &'static str) -> Self {
        Self {
            header,
            align: Align::Right,
        }
    }
}

const GAP: &str = "  ";

/// The table with a line break after each line. Cells are escaped; each line is cut to `width`
/// characters when one is given.
pub(crate) fn table(columns: &[Column], rows: &[Vec<String>], width: Option<u16>) -> String {
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| escaped(cell).into_owned()).collect())
        .collect();
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let cells = rows.iter().map(|row| row[index].chars().count());
            cells
                .chain([column.header.chars().count()])
                .max()
                .unwrap_or(0)
        })
        .collect();
    let header: Vec<String> = columns.iter().map(|c| c.header.to_owned()).collect();
    let mut text = String::new();
    for row in std::iter::once(&header).chain(&rows) {
        let cells =
            row.iter()
                .zip(columns)
                .zip(&widths)
                .map(|((cell, column), width)| match column.align {
                    Align::Left => format!("{cell:<width$}"),
                    Align::Right => format!("{cell:>width$}"),
                });
        let line = cells.collect::<Vec<_>>().join(GAP);
        text.push_str(&cut(line.trim_end(), width));
        text.push('\n');
    }
    text
}

/// Lines as one text, each with its line break.
pub(crate) fn lines<L: AsRef<str>>(lines: impl IntoIterator<Item = L>) -> String {
    let mut text = String::new();
    for line in lines {
        text.push_str(line.as_ref());
        text.push('\n');
    }
    text
}

/// At most `width` characters; a line that was cut ends in `…`.
fn cut(line: &str, width: Option<u16>) -> String {
    let Some(width) = width.map(usize::from).filter(|width| *width > 0) else {
        return line.to_owned();
    };
    if line.chars().count() <= width {
        return line.to_owned();
    }
    let mut shortened: String = line.chars().take(width - 1).collect();
    shortened.push('…');
    shortened
}

#[cfg(test)]
mod tests {
    use super::{Column, table};

    const COLUMNS: [Column; 2] = [Column::left("NAME"), Column::right("CPUS")];

    fn row(name: &str, cpus: &str) -> Vec<String> {
        vec![name.to_owned(), cpus.to_owned()]
    }

    #[test]
    fn words_stand_left_and_numbers_right() {
        let text = table(&COLUMNS, &[row("a", "1"), row("longer", "16")], None);
        assert_eq!(text, "NAME    CPUS\na          1\nlonger    16\n");
    }

    #[test]
    fn headers_stand_over_zero_rows() {
        assert_eq!(table(&COLUMNS, &[], None), "NAME  CPUS\n");
    }

    #[test]
    fn lines_are_cut_to_a_width_only_when_there_is_one() {
        let rows = [row("abcdefghij", "1")];
        assert_eq!(table(&COLUMNS, &rows, Some(8)), "NAME   …\nabcdefg…\n");
        assert!(table(&COLUMNS, &rows, None).contains("abcdefghij"));
    }

    #[test]
    fn a_cell_cannot_break_out_of_its_line() {
        let text = table(&COLUMNS, &[row("a\nb\u{1b}[2J", "1")], None);
        assert_eq!(text.lines().count(), 2);
        assert!(!text.contains('\u{1b}'));
    }
}
