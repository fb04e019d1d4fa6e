//! Names for workspaces that nobody named: `run-<word>-<word>-<4 hex>`, easy to say and to tell apart.

use microagent_types::WorkspaceName;

const FIRST: [&str; 16] = [
    "amber", "brisk", "calm", "clear", "coral", "early", "fresh", "green", "quick", "quiet",
    "rapid", "sharp", "solid", "still", "swift", "vivid",
];
const SECOND: [&str; 16] = [
    "basin", "birch", "brook", "cedar", "cliff", "creek", "field", "grove", "heath", "larch",
    "maple", "meadow", "ridge", "river", "stone", "valley",
];

/// A new name; whether it is free shows when it is used.
pub fn generated_name() -> WorkspaceName {
    from_random(microagent_os::random::bytes())
}

/// A name from four random bytes.
fn from_random(random: [u8; 4]) -> WorkspaceName {
    let [first, second, high, low] = random;
    let first = FIRST[usize::from(first) % FIRST.len()];
    let second = SECOND[usize::from(second) % SECOND.len()];
    format!("run-{first}-{second}-{high:02x}{low:02x}")
        .parse()
        .expect("words and digits are a workspace name")
}

#[cfg(test)]
mod tests {
    use super::from_random;

    #[test]
    fn every_word_makes_a_name() {
        for byte in 0..=255 {
            assert!(
                from_random([byte, byte, byte, byte])
                    .as_str()
                    .starts_with("run-")
            );
        }
        assert_eq!(from_random([0, 0, 0, 255]).as_str(), "run-amber-basin-00ff");
    }
}
