//! The nearest known word to a misspelt one.
//!
//! A hint that guesses wildly is worse than none, so only words within two edits count, and a word of
//! two letters has no neighbours at all: everything would be one.

/// Most edits between what was typed and what is suggested.
const DISTANCE_MAX: usize = 2;
/// Longest word that is compared; nobody mistypes a word of this length by two letters.
const WORD_CHARS_MAX: usize = 64;

/// The known word with the fewest edits to `typed`, at most [`DISTANCE_MAX`] and less than half of its
/// letters. The first of several equals.
pub(crate) fn nearest<'a>(
    typed: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    known
        .into_iter()
        .map(|word| (distance(typed, word), word))
        .filter(|(distance, word)| *distance <= DISTANCE_MAX && distance * 2 < word.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Insertions, deletions, replacements and swaps of neighbours (optimal string alignment).
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().take(WORD_CHARS_MAX).collect();
    let right: Vec<char> = right.chars().take(WORD_CHARS_MAX).collect();
    let mut rows: Vec<Vec<usize>> = vec![(0..=right.len()).collect()];
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let replaced = rows[i][j] + usize::from(a != b);
            let mut fewest = replaced.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b {
                fewest = fewest.min(rows[i - 1][j - 1] + 1);
            }
            row.push(fewest);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_swap_an_insertion_and_a_deletion_are_near() {
        let known = ["start", "status", "stop"];
        assert_eq!(nearest("strat", known), Some("start"));
        assert_eq!(nearest("sttaus", known), Some("status"));
        assert_eq!(nearest("stopp", known), Some("stop"));
    }

    #[test]
    fn three_edits_and_short_words_are_not_near() {
        assert_eq!(nearest("strange", ["start"]), None);
        assert_eq!(nearest("xy", ["cp", "ps"]), None);
        assert_eq!(nearest("", ["run"]), None);
    }

    #[test]
    fn the_fewest_edits_win() {
        assert_eq!(nearest("stat", ["stop", "start"]), Some("start"));
    }
}
