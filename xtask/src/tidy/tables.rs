//! Tables in Markdown as rows of cells.

/// The rows of every table in the text, without headings and rules.
pub(super) fn rows(text: &str) -> Vec<Vec<&str>> {
    let mut rows = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        let heading = lines.get(index + 1).is_some_and(|next| is_rule(next));
        if line.starts_with('|') && !is_rule(line) && !heading {
            let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
            rows.push(inner.split('|').map(str::trim).collect());
        }
    }
    rows
}

/// What stands between backticks.
pub(super) fn code_spans(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The text after a heading, up to the next one of the same rank.
pub(super) fn section<'a>(text: &'a str, heading: &str) -> Option<&'a str> {
    let rank = heading.split(' ').next()?;
    let start = text.find(&format!("\n{heading}"))?;
    let rest = &text[start + 1 + heading.len()..];
    let end = rest.find(&format!("\n{rank} ")).unwrap_or(rest.len());
    Some(&rest[..end])
}

fn is_rule(line: &str) -> bool {
    line.starts_with("|-") || line.starts_with("|:-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_its_rows() {
        let text = "words\n| a | b |\n|---|---|\n| `x` | y, `z` |\n";
        assert_eq!(rows(text), [["`x`", "y, `z`"]]);
        assert_eq!(code_spans("y, `z` and `w`"), ["z", "w"]);
    }

    #[test]
    fn a_section_ends_at_the_next_of_its_rank() {
        let text = "# t\n## 1. a\nx\n### y\nz\n## 2. b\nw\n";
        assert_eq!(section(text, "## 1. a"), Some("\nx\n### y\nz"));
        assert_eq!(section(text, "## 3. c"), None);
    }
}
