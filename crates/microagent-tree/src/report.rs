//! What a copy did, and what it left out.

/// Entries that are named; the rest is counted.
pub const NOTED_MAX: usize = 256;
/// Longest path that is named, in bytes.
const PATH_BYTES_MAX: usize = 1024;

/// How much was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Regular files, further names of one included.
    pub files: u64,
    /// Folders.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Pipes and devices.
    pub others: u64,
    /// Bytes of content, holes not counted.
    pub bytes: u64,
}

impl Counts {
    /// Entries of every kind.
    pub fn entries(&self) -> u64 {
        self.files + self.directories + self.symlinks + self.others
    }
}

/// An entry that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// Which; bytes that are no text are escaped.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// Entries that were left out: the first of them by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notes {
    /// The first ones.
    pub entries: Vec<Noted>,
    /// All of them.
    pub total: u64,
}

impl Notes {
    /// Notes one more.
    pub fn add(&mut self, path: &[u8], reason: impl Into<String>) {
        self.total += 1;
        if self.entries.len() == NOTED_MAX {
            return;
        }
        let shown = match std::str::from_utf8(path) {
            Ok(text) => text.to_owned(),
            Err(_) => path.escape_ascii().to_string(),
        };
        let end = shown.floor_char_boundary(PATH_BYTES_MAX);
        self.entries.push(Noted {
            path: shown[..end].to_owned(),
            reason: reason.into(),
        });
    }

    /// Whether nothing was left out.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }
}
