//! Reading and writing records: whole, durable, with a schema number, and without losing what a
//! newer program put there.
//!
//! ```text
//! bytes -> tree -> schema checked -> typed value + what it does not know
//! typed value -> tree -> what was unknown put back -> atomic file
//! ```
//!
//! A record of a newer schema is left alone. One that can't be read is never written over: it is
//! moved aside first, by whoever has leave to repair.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use microagent_os::atomic_file::{self, Existing};
use microagent_os::{FsError, crash_point, fs};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::head_record::Head;
use crate::json_tree::Tree;

/// The schema of every record that we write.
pub const SCHEMA: u64 = 1;
/// The longest record: a Config with its environment and arguments has room.
pub const RECORD_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Records that were moved aside, of one name.
const CORRUPT_MAX: u32 = 1000;

/// Why a record was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The calls themselves failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// It is no record of ours: torn, edited into nonsense, or too long.
    #[error("record `{}` cannot be read", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// It was written by a newer program.
    #[error("record `{}` has schema {found}, this program knows {SCHEMA}", path.display())]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u64,
    },
}

impl RecordError {
    /// True when the file is there but says nothing that we understand.
    pub fn is_corrupt(&self) -> bool {
        match self {
            Self::Malformed { .. } => true,
            Self::Fs(error) => error.is_too_large(),
            Self::NewerSchema { .. } => false,
        }
    }
}

/// A record as read: the value, and what it does not know.
#[derive(Debug, Clone)]
pub struct Stored<T> {
    /// The value.
    pub value: T,
    /// As it was read. What is unknown in it is asked when it is written: most are only looked at.
    read: Option<AsRead>,
}

/// A file's bytes, and how to find in them what their type does not know.
#[derive(Debug, Clone)]
struct AsRead {
    bytes: Arc<[u8]>,
    unknown: fn(&[u8]) -> Result<Option<Tree>, serde_json::Error>,
}

impl<T: PartialEq> PartialEq for Stored<T> {
    /// By the values, and by what they do not know.
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value && self.unknown().ok() == other.unknown().ok()
    }
}

impl<T> Stored<T> {
    /// A new record, with nothing unknown in it.
    pub fn new(value: T) -> Self {
        Self { value, read: None }
    }

    fn unknown(&self) -> Result<Option<Tree>, serde_json::Error> {
        match &self.read {
            Some(read) => (read.unknown)(&read.bytes),
            None => Ok(None),
        }
    }
}

fn unknown_of<T>(bytes: &[u8]) -> Result<Option<Tree>, serde_json::Error>
where
    T: Serialize + DeserializeOwned,
{
    let mut raw = Tree::parse(bytes)?;
    raw.remove("schema");
    let value: T = serde_json::from_slice(bytes)?;
    Ok(raw.beyond(&tree_of(&value)?))
}

/// Reads a record. `None` when there is none.
pub fn read<T>(path: &Path) -> Result<Option<Stored<T>>, RecordError>
where
    T: Serialize + DeserializeOwned,
{
    let Some(bytes) = fs::read_bounded_if_present(path, RECORD_BYTES_MAX)? else {
        return Ok(None);
    };
    parse(path, &bytes).map(Some)
}

fn parse<T>(path: &Path, bytes: &[u8]) -> Result<Stored<T>, RecordError>
where
    T: Serialize + DeserializeOwned,
{
    let malformed = |source| RecordError::Malformed {
        path: path.to_owned(),
        source,
    };
    let head: Head = serde_json::from_slice(bytes).map_err(malformed)?;
    match head.schema.as_ref().and_then(Value::as_u64) {
        Some(SCHEMA) => {}
        Some(found) if found > SCHEMA => {
            return Err(RecordError::NewerSchema {
                path: path.to_owned(),
                found,
            });
        }
        _ => return Err(malformed(serde::de::Error::custom("it has no `schema`"))),
    }
    let value = serde_json::from_slice(bytes).map_err(malformed)?;
    let read = AsRead {
        bytes: bytes.into(),
        unknown: unknown_of::<T>,
    };
    Ok(Stored {
        value,
        read: Some(read),
    })
}

/// Writes a record durably, replacing what is there.
pub fn write<T: Serialize>(path: &Path, stored: &Stored<T>) -> Result<(), RecordError> {
    let bytes = to_bytes(path, stored)?;
    crash_point::pass("store.write");
    Ok(atomic_file::write(path, &bytes, Existing::Replace)?)
}

/// As [`write()`], but a name that is taken is an error of kind `AlreadyExists`.
pub fn write_new<T: Serialize>(path: &Path, stored: &Stored<T>) -> Result<(), RecordError> {
    let bytes = to_bytes(path, stored)?;
    crash_point::pass("store.write_new");
    Ok(atomic_file::write(path, &bytes, Existing::Keep)?)
}

fn to_bytes<T: Serialize>(path: &Path, stored: &Stored<T>) -> Result<Vec<u8>, RecordError> {
    let malformed = |source| RecordError::Malformed {
        path: path.to_owned(),
        source,
    };
    let mut tree = tree_of(&stored.value).map_err(malformed)?;
    if let Some(unknown) = stored.unknown().map_err(malformed)? {
        tree.put_back(&unknown);
    }
    if let Tree::Object(entries) = &mut tree {
        entries.insert(0, ("schema".to_owned(), Tree::Leaf(Value::from(SCHEMA))));
    }
    let mut bytes = serde_json::to_vec_pretty(&tree).map_err(malformed)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn tree_of<T: Serialize>(value: &T) -> Result<Tree, serde_json::Error> {
    Tree::parse(&serde_json::to_vec(value)?)
}

/// Moves a record that can't be read to the first free `<name>.corrupt.<n>` and returns that path.
pub fn move_aside(path: &Path) -> Result<PathBuf, FsError> {
    let mut number = 1;
    loop {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".corrupt.{number}"));
        let aside = path.with_file_name(name);
        match fs::rename_new(path, &aside) {
            Ok(()) => {
                if let Some(folder) = path.parent() {
                    fs::sync_folder(folder)?;
                }
                return Ok(aside);
            }
            Err(error)
                if error.kind() == std::io::ErrorKind::AlreadyExists && number < CORRUPT_MAX =>
            {
                number += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::create_record::CreateRecord;
    use crate::workspace_record::tests::workspace_record;

    #[test]
    fn a_record_begins_with_its_schema_and_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("workspace.json");
        let stored = Stored::new(workspace_record());
        write(&path, &stored).unwrap();
        let text = fs::read_text_bounded(&path, RECORD_BYTES_MAX).unwrap();
        assert!(
            text.starts_with("{\n  \"schema\": 1,\n  \"id\": "),
            "{text}"
        );
        assert_eq!(read(&path).unwrap(), Some(stored));
    }

    #[test]
    fn a_field_of_a_newer_program_survives_an_older_writer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("workspace.json");
        write(&path, &Stored::new(workspace_record())).unwrap();
        let text = fs::read_text_bounded(&path, RECORD_BYTES_MAX).unwrap();
        let newer = text
            .replace(
                "\"cpus\": 2,",
                "\"cpus\": 2, \"cpuModel\": {\"name\": \"x\"},",
            )
            .replacen("{\n", "{\n  \"colour\": [1, 2],", 1);
        assert_ne!(newer, text);
        atomic_file::write(&path, newer.as_bytes(), Existing::Replace).unwrap();

        let mut stored = read::<crate::WorkspaceRecord>(&path).unwrap().unwrap();
        stored.value.created_by = "0.2.0".to_owned();
        write(&path, &stored).unwrap();
        let rewritten = fs::read_bounded(&path, RECORD_BYTES_MAX).unwrap();
        let rewritten: Value = serde_json::from_slice(&rewritten).unwrap();
        assert_eq!(rewritten["colour"], serde_json::json!([1, 2]));
        assert_eq!(rewritten["config"]["cpuModel"]["name"], "x");
        assert_eq!(rewritten["createdBy"], "0.2.0");
    }

    #[test]
    fn a_newer_schema_is_left_alone_and_nonsense_is_corrupt() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("create.json");
        for (text, corrupt) in [
            ("{\"schema\": 2}", false),
            ("", true),
            ("{\"schema\": 1}", true),
            ("{}", true),
            ("{\"schema\": 1, \"schema\": 1}", true),
            ("[1]", true),
            ("{\"schema\": 1, \"id\"", true),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = read::<CreateRecord>(&path).unwrap_err();
            assert_eq!(error.is_corrupt(), corrupt, "{text}: {error}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(read::<CreateRecord>(&path).unwrap().is_none());
    }

    #[test]
    fn what_is_moved_aside_is_kept_under_the_next_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runtime.json");
        for number in 1..4 {
            std::fs::write(&path, format!("{number}")).unwrap();
            let aside = move_aside(&path).unwrap();
            assert_eq!(
                aside,
                folder.path().join(format!("runtime.json.corrupt.{number}"))
            );
            assert_eq!(std::fs::read_to_string(aside).unwrap(), number.to_string());
        }
        assert!(!fs::is_present(&path));
    }
}
