//! `engines/<backend>.json`: which version a VMM program said it has, so that not every start asks it.
//!
//! A program is the same while its path, its length and the time of its last change are: an upgrade
//! changes them. The record is a cache: it may be deleted at any time, and one that can't be read counts
//! as none.

use crate::record_store::{self, RecordError, Stored};
use microagent_os::{dirs, fs};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// A program and what it said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EngineRecord {
    program: PathBuf,
    bytes: u64,
    modified_unix_ns: u64,
    version: String,
}

impl EngineRecord {
    fn of(program: &Path, version: String) -> Option<Self> {
        let found = fs::metadata(program).ok()?;
        let modified = found.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(Self {
            program: program.to_owned(),
            bytes: found.len(),
            modified_unix_ns: u64::try_from(modified.as_nanos()).ok()?,
            version,
        })
    }
}

/// What the program has said, if it is still the same one.
pub fn remembered(record: &Path, program: &Path) -> Option<String> {
    let stored: Stored<EngineRecord> = record_store::read(record).ok()??;
    let now = EngineRecord::of(program, stored.value.version.clone())?;
    (now == stored.value).then_some(stored.value.version)
}

/// Writes down what it has said.
///
/// # Errors
/// When the record can't be written: then it will be asked again.
pub fn remember(record: &Path, program: &Path, version: String) -> Result<(), RecordError> {
    let Some(value) = EngineRecord::of(program, version) else {
        return Ok(());
    };
    if let Some(folder) = record.parent() {
        dirs::ensure_private(folder)?;
    }
    record_store::write(record, &Stored::new(value))
}

#[cfg(test)]
mod tests {
    use super::{remember, remembered};
    use std::time::{Duration, SystemTime};

    #[test]
    fn a_version_is_remembered_until_the_program_changes() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("vmm");
        let record = folder.path().join("engines/qemu.json");
        std::fs::write(&program, "one").unwrap();
        assert_eq!(remembered(&record, &program), None);
        remember(&record, &program, "7.2.1".to_owned()).unwrap();
        assert_eq!(remembered(&record, &program).as_deref(), Some("7.2.1"));

        let other = folder.path().join("other");
        std::fs::write(&other, "one").unwrap();
        assert_eq!(remembered(&record, &other), None, "another program");

        let later = SystemTime::now() + Duration::from_secs(1);
        let file = std::fs::File::options().write(true).open(&program).unwrap();
        file.set_modified(later).unwrap();
        assert_eq!(remembered(&record, &program), None, "changed since");

        remember(&record, &program, "9.0.0".to_owned()).unwrap();
        assert_eq!(remembered(&record, &program).as_deref(), Some("9.0.0"));
        std::fs::write(&record, "{").unwrap();
        assert_eq!(remembered(&record, &program), None, "no record of ours");
        std::fs::remove_file(&program).unwrap();
        assert_eq!(remembered(&record, &program), None, "no program");
    }
}
