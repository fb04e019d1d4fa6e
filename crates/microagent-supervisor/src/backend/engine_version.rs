//! The version of a VMM program, asked once for as long as the program stays the same.

use microagent_state::engine_record;
use microagent_types::AbsPath;
use std::path::Path;

/// What `program` has said before, by the record, or what it says now, which is then remembered. A record
/// that can't be written costs nothing but the next question.
pub fn version_of_engine(
    record: &AbsPath,
    program: &Path,
    ask: impl FnOnce(&Path) -> Option<String>,
) -> Option<String> {
    let remembered = engine_record::remembered(record.as_path(), program);
    if remembered.is_some() {
        return remembered;
    }
    let version = ask(program)?;
    if let Err(error) = engine_record::remember(record.as_path(), program, version.clone()) {
        tracing::info!(%error, "the VMM's version is not remembered");
    }
    Some(version)
}
