//! The monitor's own log, which it shares with its VMM's and helpers' words: at most two files of a
//! bounded length, whatever a guest makes those programs complain about.
//!
//! Every writer appends through a descriptor that it has inherited, so the file itself must stay: its end
//! is copied to the file of before, and then it is emptied. What is written between the two is lost,
//! which a log may. It must not be called for a file whose writers do not append.

use microagent_os::atomic_file::{self, Existing};
use microagent_os::{FsAction, FsError, fs};
use microagent_state::WorkspacePaths;
use microagent_state::paths::Rotation;

/// A monitor's log that is longer is set aside.
pub(crate) const MONITOR_LOG_BYTES_MAX: u64 = 2 << 20;

/// Sets a log that has grown too long aside; of what is longer than the bound, the end is kept. True
/// when that was done.
pub(crate) fn bound(paths: &WorkspacePaths) -> Result<bool, FsError> {
    let current = paths.monitor_log(Rotation::Current);
    let length = match fs::metadata(&current) {
        Ok(found) => found.len(),
        Err(error) if error.is_not_found() => return Ok(false),
        Err(error) => return Err(error),
    };
    if length <= MONITOR_LOG_BYTES_MAX {
        return Ok(false);
    }
    let file = fs::open_read_write(&current)?;
    let kept = usize::try_from(MONITOR_LOG_BYTES_MAX).expect("2 MiB");
    let mut end = vec![0; kept];
    fs::read_exact_at(&file, &mut end, length - MONITOR_LOG_BYTES_MAX)
        .map_err(|error| FsError::new(FsAction::Read, &current, error))?;
    atomic_file::write(
        &paths.monitor_log(Rotation::Previous),
        &end,
        Existing::Replace,
    )?;
    fs::set_length(&file, &current, 0)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::{MONITOR_LOG_BYTES_MAX, bound};
    use microagent_os::{dirs, fs};
    use microagent_state::StateDirectory;
    use microagent_state::paths::Rotation;
    use microagent_types::AbsPath;
    use std::io::Write as _;

    #[test]
    fn a_log_that_is_too_long_is_set_aside_and_its_writers_go_on() {
        let home = tempfile::tempdir().unwrap();
        let root = AbsPath::try_from(home.path()).unwrap();
        let paths = StateDirectory::at(&root).workspace(&"scout".parse().unwrap());
        dirs::ensure_private_all(paths.folder()).unwrap();
        let (current, previous) = (
            paths.monitor_log(Rotation::Current),
            paths.monitor_log(Rotation::Previous),
        );
        assert!(!bound(&paths).unwrap(), "there is no log yet");
        let mut writer = fs::open_append(&current).unwrap();
        let length = usize::try_from(MONITOR_LOG_BYTES_MAX).unwrap();
        writer.write_all(&vec![b'a'; length]).unwrap();
        assert!(!bound(&paths).unwrap(), "it is just not too long");
        writer.write_all(b"the end").unwrap();
        assert!(bound(&paths).unwrap());
        writer.write_all(b"on").unwrap();
        assert_eq!(fs::read_bounded(&current, 10).unwrap(), b"on");
        let kept = fs::read_bounded(&previous, MONITOR_LOG_BYTES_MAX).unwrap();
        assert!(kept.ends_with(b"athe end"));
        assert_eq!(kept.len() as u64, MONITOR_LOG_BYTES_MAX);
    }
}
