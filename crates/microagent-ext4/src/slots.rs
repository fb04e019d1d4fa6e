//! Numbers of things, found by a hash of what they stand for.
//!
//! A map that owns its keys would hold each name a second time. This table holds four bytes a thing
//! and asks its owner whether a candidate is the one. Hashes are seeded by chance, so an archive can't
//! choose names that meet; nothing depends on their order.

use std::hash::{BuildHasher, Hash, RandomState};

const EMPTY: u32 = u32::MAX;
const SLOTS_MIN: usize = 16;

/// An open table with linear probing. Nothing is ever removed.
#[derive(Debug, Clone)]
pub(crate) struct Slots {
    table: Vec<u32>,
    used: usize,
    seed: RandomState,
}

impl Slots {
    pub(crate) fn new() -> Self {
        Self {
            table: vec![EMPTY; SLOTS_MIN],
            used: 0,
            seed: RandomState::new(),
        }
    }

    /// The hash under which a thing is put and looked for.
    pub(crate) fn hash(&self, key: impl Hash) -> u64 {
        self.seed.hash_one(key)
    }

    /// The first number under `hash` that `is_it`.
    pub(crate) fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut at = self.start(hash);
        loop {
            match self.table[at] {
                EMPTY => return None,
                number if is_it(number) => return Some(number),
                _ => at = self.next(at),
            }
        }
    }

    /// Puts `number` under `hash`; `hash_of` gives the hashes of those that are there.
    pub(crate) fn put(&mut self, hash: u64, number: u32, hash_of: impl Fn(&Self, u32) -> u64) {
        assert!(number != EMPTY, "the last number stands for none");
        // At most three quarters are in use.
        if (self.used + 1) * 4 > self.table.len() * 3 {
            let larger = self.table.len() * 2;
            let before = std::mem::replace(&mut self.table, vec![EMPTY; larger]);
            for number in before.into_iter().filter(|number| *number != EMPTY) {
                self.place(hash_of(self, number), number);
            }
        }
        self.place(hash, number);
        self.used += 1;
    }

    fn place(&mut self, hash: u64, number: u32) {
        let mut at = self.start(hash);
        while self.table[at] != EMPTY {
            at = self.next(at);
        }
        self.table[at] = number;
    }

    fn start(&self, hash: u64) -> usize {
        // The low bits, of which there are enough.
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the low bits are what is wanted"
        )]
        let low = hash as usize;
        low & (self.table.len() - 1)
    }

    fn next(&self, at: usize) -> usize {
        (at + 1) & (self.table.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_found_and_nothing_else() {
        let words: Vec<String> = (0..5000).map(|number| format!("word {number}")).collect();
        let mut slots = Slots::new();
        for (number, word) in (0..).zip(&words) {
            let hash = slots.hash(word);
            slots.put(hash, number, |slots, number| {
                slots.hash(&words[number as usize])
            });
        }
        for (number, word) in (0..).zip(&words) {
            let found = slots.find(slots.hash(word), |number| words[number as usize] == *word);
            assert_eq!(found, Some(number));
        }
        let missing = slots.hash("another");
        assert_eq!(
            slots.find(missing, |number| words[number as usize] == "another"),
            None
        );
    }

    #[test]
    fn things_of_one_hash_stand_beside_one_another() {
        let mut slots = Slots::new();
        for number in 0..100 {
            slots.put(7, number, |_, _| 7);
        }
        assert_eq!(slots.find(7, |number| number == 99), Some(99));
        assert_eq!(slots.find(7, |number| number == 100), None);
    }
}
