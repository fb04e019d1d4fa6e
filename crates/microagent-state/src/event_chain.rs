//! The chain of a history: each line carries its number and the SHA-256 of the line before, so that
//! a lost, edited or reordered line shows, also to somebody who has only `sha256sum`.
//!
//! Pure: lines in, verdict out. One thing no chain shows by itself is an edit of its very last line
//! that leaves it well formed, since no later line vouches for it.

use std::collections::VecDeque;

use microagent_types::{Sha256Hex, WorkspaceId};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::event_record::{Event, EventType};

/// Faults that one verification lists; more are counted.
pub const FAULTS_MAX: usize = 1000;
/// Hashes of lines that are kept to check one that stands out of order.
const RECENT_LINES: usize = 64;

/// The hash of a line without its LF.
pub fn line_hash(line: &[u8]) -> Sha256Hex {
    Sha256Hex::from_bytes(Sha256::digest(line).into())
}

/// What stands in place of a hash before the first line.
pub fn genesis(id: WorkspaceId) -> Sha256Hex {
    line_hash(id.to_string().as_bytes())
}

/// Where the next line goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainHead {
    /// Its number.
    pub next_seq: u64,
    /// The hash of the line before it.
    pub prev: Sha256Hex,
}

impl ChainHead {
    /// The head of an empty history.
    pub fn genesis(id: WorkspaceId) -> Self {
        Self {
            next_seq: 1,
            prev: genesis(id),
        }
    }

    /// The head after a line.
    pub fn after(line: &[u8], event: &Event) -> Self {
        Self {
            next_seq: event.seq + 1,
            prev: line_hash(line),
        }
    }
}

/// What the bytes after the last LF are.
#[derive(Debug, Clone, PartialEq)]
pub enum Tail {
    /// None: the last write was whole.
    None,
    /// A whole event that only lacks its LF.
    Complete(Box<Event>),
    /// The beginning of a write that a crash cut.
    Torn,
}

/// Judges the bytes after the last LF against the head that they would have continued.
pub fn judge_tail(tail: &[u8], head: ChainHead) -> Tail {
    if tail.is_empty() {
        return Tail::None;
    }
    match Event::from_line(tail) {
        Ok(event) if event.seq == head.next_seq && event.prev == head.prev => {
            Tail::Complete(Box::new(event))
        }
        _ => Tail::Torn,
    }
}

/// Something that is wrong with a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChainFault {
    /// This line is no event.
    Unreadable {
        /// The line, counted from 1 over all that is kept.
        line: u64,
    },
    /// The line of this number was altered: the next one does not vouch for it.
    Altered {
        /// Its number.
        seq: u64,
        /// The line.
        line: u64,
    },
    /// The last line and the one before do not fit; one of the two was altered.
    LastLinkBroken {
        /// The last number.
        seq: u64,
        /// The last line.
        line: u64,
    },
    /// Lines are missing.
    Missing {
        /// The first missing number.
        first: u64,
        /// The last missing number.
        last: u64,
        /// The line before which they should stand.
        line: u64,
    },
    /// This line stands later than its number.
    OutOfOrder {
        /// Its number.
        seq: u64,
        /// The line.
        line: u64,
    },
    /// This number was there before.
    Repeated {
        /// The number.
        seq: u64,
        /// The line.
        line: u64,
    },
    /// The history does not begin where it should: with the workspace's id, or with what a pruning
    /// vouched for.
    WrongBeginning {
        /// The first number that is kept.
        seq: u64,
    },
    /// The last bytes are the beginning of a line.
    TornTail {
        /// How many.
        bytes: u64,
    },
}

/// The verdict on a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainReport {
    /// Lines that were read.
    pub lines: u64,
    /// The first number.
    pub first_seq: Option<u64>,
    /// The last number.
    pub last_seq: Option<u64>,
    /// The hash of the last line.
    pub last_hash: Option<Sha256Hex>,
    /// What is wrong, in the order of lines.
    pub faults: Vec<ChainFault>,
    /// Faults beyond [`FAULTS_MAX`].
    pub faults_omitted: u64,
}

impl ChainReport {
    /// True when nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }
}

/// Verifies a history line by line, in bounded memory.
#[derive(Debug)]
pub struct ChainVerifier {
    id: WorkspaceId,
    lines: u64,
    first: Option<(u64, Sha256Hex)>,
    last_seq: Option<u64>,
    expected: u64,
    /// The line before: its hash, and its number when it could be read.
    before: Option<(Sha256Hex, Option<u64>)>,
    /// Hashes by number, for lines that stand out of order.
    recent: VecDeque<(u64, Sha256Hex)>,
    /// Numbers that were skipped, with the line where that showed.
    gaps: Vec<(u64, u64, u64)>,
    /// A link that did not fit: the line before it may be the altered one, or the line itself.
    broken: Option<(u64, u64)>,
    unreadable_run: u64,
    pruned_to: Option<(u64, String)>,
    faults: Vec<(u64, ChainFault)>,
    faults_omitted: u64,
}

impl ChainVerifier {
    /// For the history of one workspace.
    pub fn new(id: WorkspaceId) -> Self {
        Self {
            id,
            lines: 0,
            first: None,
            last_seq: None,
            expected: 0,
            before: None,
            recent: VecDeque::new(),
            gaps: Vec::new(),
            broken: None,
            unreadable_run: 0,
            pruned_to: None,
            faults: Vec::new(),
            faults_omitted: 0,
        }
    }

    /// Takes the next line, without its LF.
    pub fn line(&mut self, line: &[u8]) {
        self.lines += 1;
        let hash = line_hash(line);
        match Event::from_line(line) {
            Ok(event) => self.event(&event, hash),
            Err(_) => {
                self.settle_broken(None);
                self.fault(ChainFault::Unreadable { line: self.lines });
                self.unreadable_run += 1;
                self.before = Some((hash, None));
            }
        }
    }

    fn event(&mut self, event: &Event, hash: Sha256Hex) {
        self.note_pruning(event);
        let seq = self.place(event);
        self.check_link(event, seq);
        self.before = Some((hash, Some(seq)));
        self.remember(seq, hash);
        self.unreadable_run = 0;
        self.last_seq = Some(self.last_seq.map_or(seq, |last| last.max(seq)));
    }

    /// Finds the number that this line has by right, and reports what its own number says.
    fn place(&mut self, event: &Event) -> u64 {
        let line = self.lines;
        if self.first.is_none() {
            self.first = Some((event.seq, event.prev));
            self.expected = event.seq + 1;
            return event.seq;
        }
        let expected = self.expected;
        if event.seq == expected {
            self.expected += 1;
            return event.seq;
        }
        if self.unreadable_run > 0 {
            return self.place_after_unreadable(event.seq);
        }
        // When it fits to the line before, it stands in its place and only its number is wrong.
        let follows = matches!(self.before, Some((hash, _)) if hash == event.prev);
        if follows {
            self.fault(ChainFault::Altered {
                seq: expected,
                line,
            });
            self.expected += 1;
            return expected;
        }
        if event.seq > expected {
            self.gaps.push((expected, event.seq - 1, line));
            self.expected = event.seq + 1;
        } else if self.take_from_gap(event.seq) {
            self.fault(ChainFault::OutOfOrder {
                seq: event.seq,
                line,
            });
        } else {
            self.fault(ChainFault::Repeated {
                seq: event.seq,
                line,
            });
        }
        event.seq
    }

    /// So many lines before could not be read, so their numbers are not known.
    fn place_after_unreadable(&mut self, seq: u64) -> u64 {
        let possible = self.expected + self.unreadable_run;
        if seq > possible {
            self.gaps.push((possible, seq - 1, self.lines));
        } else if seq < self.expected {
            self.fault(ChainFault::Repeated {
                seq,
                line: self.lines,
            });
            return seq;
        }
        self.expected = seq + 1;
        seq
    }

    fn check_link(&mut self, event: &Event, seq: u64) {
        let line = self.lines;
        let (predecessor, adjacent) = match self.before {
            None => return,
            // After a line that could not be read, a link that does not fit is no news.
            Some((_, None)) => return,
            Some((hash, Some(before))) if before + 1 == seq => (Some(hash), true),
            Some(_) => {
                let found = self.recent.iter().find(|(number, _)| number + 1 == seq);
                (found.map(|(_, hash)| *hash), false)
            }
        };
        match predecessor {
            Some(hash) if hash == event.prev => self.settle_broken(None),
            Some(_) if adjacent => {
                self.settle_broken(Some(seq));
                if self.broken.is_none() && !self.altered_already(seq - 1, line - 1) {
                    self.broken = Some((seq, line));
                }
            }
            Some(_) => self.fault(ChainFault::Altered { seq, line }),
            // Its predecessor is missing or comes later.
            None => self.settle_broken(None),
        }
    }

    fn altered_already(&self, seq: u64, line: u64) -> bool {
        self.faults
            .iter()
            .rev()
            .take(4)
            .any(|(_, fault)| *fault == ChainFault::Altered { seq, line })
    }

    /// Decides which side of a broken link was altered. When the next link, from `next`'s
    /// predecessor, is broken too, the line between the two is the one.
    fn settle_broken(&mut self, next: Option<u64>) {
        let Some((seq, line)) = self.broken.take() else {
            return;
        };
        if next == Some(seq + 1) {
            self.fault_at(line, ChainFault::Altered { seq, line });
        } else {
            self.fault_at(
                line - 1,
                ChainFault::Altered {
                    seq: seq - 1,
                    line: line - 1,
                },
            );
        }
    }

    fn take_from_gap(&mut self, seq: u64) -> bool {
        let Some(index) = self
            .gaps
            .iter()
            .position(|gap| (gap.0..=gap.1).contains(&seq))
        else {
            return false;
        };
        let (first, last, line) = self.gaps.remove(index);
        if seq < last {
            self.gaps.insert(index, (seq + 1, last, line));
        }
        if first < seq {
            self.gaps.insert(index, (first, seq - 1, line));
        }
        true
    }

    fn remember(&mut self, seq: u64, hash: Sha256Hex) {
        if self.recent.len() == RECENT_LINES {
            self.recent.pop_front();
        }
        self.recent.push_back((seq, hash));
    }

    fn note_pruning(&mut self, event: &Event) {
        if event.kind != EventType::HistoryPruned.as_str() {
            return;
        }
        let last = event.data.get("lastSeq").and_then(Value::as_u64);
        let hash = event.data.get("lastHash").and_then(Value::as_str);
        if let (Some(last), Some(hash)) = (last, hash) {
            self.pruned_to = Some((last, hash.to_owned()));
        }
    }

    fn fault(&mut self, fault: ChainFault) {
        self.fault_at(self.lines, fault);
    }

    fn fault_at(&mut self, line: u64, fault: ChainFault) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push((line, fault));
        } else {
            self.faults_omitted += 1;
        }
    }

    /// Ends with the bytes after the last LF.
    pub fn finish(mut self, tail: &[u8]) -> ChainReport {
        match self.broken.take() {
            Some((seq, line)) if line == self.lines => {
                self.fault(ChainFault::LastLinkBroken { seq, line });
            }
            other => {
                self.broken = other;
                self.settle_broken(None);
            }
        }
        for (first, last, line) in std::mem::take(&mut self.gaps) {
            self.fault_at(line, ChainFault::Missing { first, last, line });
        }
        if let Some((seq, prev)) = self.first
            && !self.begins_rightly(seq, prev)
        {
            self.fault_at(0, ChainFault::WrongBeginning { seq });
        }
        if !tail.is_empty() {
            let bytes = tail.len() as u64;
            self.fault_at(self.lines + 1, ChainFault::TornTail { bytes });
        }
        self.faults.sort_by_key(|(line, _)| *line);
        ChainReport {
            lines: self.lines,
            first_seq: self.first.map(|(seq, _)| seq),
            last_seq: self.last_seq,
            last_hash: self.before.map(|(hash, _)| hash),
            faults: self.faults.into_iter().map(|(_, fault)| fault).collect(),
            faults_omitted: self.faults_omitted,
        }
    }

    fn begins_rightly(&self, seq: u64, prev: Sha256Hex) -> bool {
        if seq == 1 {
            return prev == genesis(self.id);
        }
        self.pruned_to
            .as_ref()
            .is_some_and(|(last, hash)| last + 1 == seq && *hash == prev.to_string())
    }
}

#[cfg(test)]
pub(crate) mod tests;
