//! Where an installation keeps its parts.
//!
//! ```text
//! <prefix>/bin/microagent        <prefix>/libexec/microagent-qemu-supervisor, …
//! ```
//!
//! Everything is found relative to the running executable, so a prefix can be moved; a build folder,
//! where programs lie side by side, works as well.

use microagent_os::{fs, process};
use microagent_types::env_vars::EnvVar;
use std::io;
use std::path::{Path, PathBuf};

/// The folders in which parts of this installation may lie, best first.
#[derive(Debug, Clone)]
pub struct SearchPath {
    folders: Vec<PathBuf>,
}

impl SearchPath {
    /// The folders of the installation that the running program belongs to.
    ///
    /// # Errors
    /// When the system does not tell which executable runs.
    pub fn of_this_program() -> io::Result<Self> {
        let executable = process::current_executable()?;
        Ok(Self::beside(&executable))
    }

    /// The folders of the installation that `executable` belongs to: its own, and
    /// `<prefix>/libexec` when it lies in a folder of the prefix.
    pub fn beside(executable: &Path) -> Self {
        let own = executable.parent().map(Path::to_owned);
        let libexec = own
            .as_deref()
            .and_then(Path::parent)
            .map(|prefix| prefix.join("libexec"));
        Self {
            folders: own.into_iter().chain(libexec).collect(),
        }
    }

    /// The folders, best first.
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// A data file by its path below one of the folders.
    pub fn find_file(&self, relative: &Path) -> Option<PathBuf> {
        self.folders
            .iter()
            .map(|folder| folder.join(relative))
            .find(|path| fs::is_file(path))
    }

    /// A program by name: in the folders, then on `PATH`.
    pub fn find_program(&self, name: &str) -> Option<PathBuf> {
        let beside = self.folders.iter().map(|folder| folder.join(name));
        beside
            .into_iter()
            .find(|path| process::is_executable(path))
            .or_else(|| {
                let path = EnvVar::Path.read()?;
                process::find_on_path(name, path.as_ref())
            })
    }
}

#[cfg(test)]
mod tests {
    use super::SearchPath;
    use std::path::{Path, PathBuf};

    #[test]
    fn parts_lie_beside_the_program_and_in_libexec() {
        let path = SearchPath::beside(Path::new("/opt/m/bin/microagent"));
        assert_eq!(
            path.folders(),
            [PathBuf::from("/opt/m/bin"), PathBuf::from("/opt/m/libexec")]
        );
    }

    #[test]
    fn a_missing_part_is_none_and_a_program_may_come_from_path() {
        let path = SearchPath::beside(Path::new("/nowhere/bin/microagent"));
        assert_eq!(path.find_file(Path::new("Image")), None);
        assert_eq!(path.find_program("microagent-no-such-program"), None);
        assert!(path.find_program("sh").is_some());
    }
}
