//! Every input that is kept in `fuzz/corpus` and changed copies of it, for tests that run a target's check
//! without a fuzzer. The changes follow from a fixed seed.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

/// Changes to a copy.
const CHANGES_MAX: u32 = 4;

/// Runs `check` on each input of a target and on so many changed copies of it.
pub(crate) fn of_target(target: &str, copies: u32, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let mut inputs: Vec<_> = fs::read_dir(&corpus)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{} is empty", corpus.display());
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for path in inputs {
        let kept = fs::read(&path).unwrap();
        passes(check, &kept, &format!("{}", path.display()));
        for copy in 0..copies {
            let changed = random.changed(&kept);
            passes(check, &changed, &format!("{}, copy {copy}", path.display()));
        }
    }
}

/// Says which input it was when the check panics.
fn passes(check: fn(&[u8]), input: &[u8], name: &str) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(input))) {
        eprintln!("the input: {name}: {}", input.escape_ascii());
        resume_unwind(panic);
    }
}

/// Xorshift: enough for changes, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit.max(1) as u64).unwrap()
    }

    fn changed(&mut self, input: &[u8]) -> Vec<u8> {
        const TELLING: &[u8] = b"\0\xff\x7f\x80019/.=:@ \n\"{}[],-LSxg";
        let mut bytes = input.to_vec();
        for _ in 0..=self.below(CHANGES_MAX as usize) {
            let at = self.below(bytes.len());
            match self.below(6) {
                _ if bytes.is_empty() => bytes.push(TELLING[self.below(TELLING.len())]),
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at] = TELLING[self.below(TELLING.len())],
                2 => bytes.truncate(at),
                3 => bytes.insert(at, TELLING[self.below(TELLING.len())]),
                4 => {
                    bytes.remove(at);
                }
                _ => {
                    let to = self.below(bytes.len());
                    let len = self.below(64).min(bytes.len() - at.max(to));
                    bytes.copy_within(at..at + len, to);
                }
            }
        }
        bytes
    }
}
