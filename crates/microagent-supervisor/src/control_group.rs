//! The cgroup of a boot, as far as every host knows it: its name, and how it goes when its boot is over.
//!
//! A backend makes it and puts processes in; whoever finds a boot without its monitor ends what is left in it.
//! It is believed to be a boot's only when it bears that boot's name.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use microagent_os::{FsError, clock, fs};
use microagent_types::BootId;

/// Tries at a group whose last process is just going.
const REMOVAL_TRIES: u32 = 20;
/// Between two of them.
const REMOVAL_PAUSE: Duration = Duration::from_millis(5);

/// What a boot's group is called.
pub fn folder_name(boot: &BootId) -> String {
    format!("microagent-{boot}")
}

/// Removes a group whose processes have ended. One that is gone is no error.
pub fn remove(folder: &Path) -> Result<(), FsError> {
    let mut tries = 1;
    loop {
        match fs::remove_empty_folder(folder) {
            Ok(_) => return Ok(()),
            Err(error) if tries == REMOVAL_TRIES => return Err(error),
            Err(_) => {
                tries += 1;
                clock::pause(REMOVAL_PAUSE);
            }
        }
    }
}

/// Ends every process in the group of a boot that nobody owns any more, and removes it.
pub(crate) fn end(folder: &Path, boot: &BootId) {
    if folder.file_name() != Some(folder_name(boot).as_ref()) || !fs::is_folder(folder) {
        return;
    }
    let killed = fs::open_write(&folder.join("cgroup.kill"))
        .map_err(|error| error.to_string())
        .and_then(|mut file| file.write_all(b"1").map_err(|error| error.to_string()));
    if let Err(error) = killed {
        tracing::warn!(%error, "the processes of a boot's cgroup were not ended");
    }
    if let Err(error) = remove(folder) {
        tracing::warn!(%error, "a boot's cgroup stays");
    }
}
