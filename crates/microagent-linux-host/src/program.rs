//! Where the programs are that we start and do not link.
//!
//! The order is fixed (the user's own word, `PATH`, then beside our executable) and a program that
//! the user named is never replaced by another one of that name.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use microagent_os::process;

/// The folder of helper programs, beside the folder of our executable or that folder itself.
const LIBEXEC: &str = "libexec";

/// A program that was not found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProgramError {
    /// The path that the user gave leads to nothing that can be executed.
    #[error("`{variable}` names `{}`, which is no executable file", path.display())]
    NamedButAbsent {
        /// The environment variable.
        variable: &'static str,
        /// Its value.
        path: PathBuf,
    },
    /// It is nowhere.
    #[error("`{name}` was not found on `PATH` or in `{}`", libexec.display())]
    Absent {
        /// Its name.
        name: String,
        /// The last folder that was looked into.
        libexec: PathBuf,
    },
}

/// Where to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramSearch {
    search_path: String,
    libexec: PathBuf,
}

impl ProgramSearch {
    /// With the value of `PATH` and the path of our own executable. A supervisor lies in `libexec`
    /// itself; what lies in `bin` has it as a sibling.
    pub fn new(search_path: String, own_executable: &Path) -> Self {
        let folder = own_executable.parent().unwrap_or(Path::new("/"));
        let libexec = if folder.file_name() == Some(OsStr::new(LIBEXEC)) {
            folder.to_owned()
        } else {
            folder.with_file_name(LIBEXEC)
        };
        Self {
            search_path,
            libexec,
        }
    }

    /// The value of `PATH` that children get.
    pub fn search_path(&self) -> &str {
        &self.search_path
    }

    /// Finds a program. `named` is the variable that overrides the search, with its value; a value
    /// without a slash is looked for on `PATH`.
    pub fn find(
        &self,
        name: &str,
        named: Option<(&'static str, &str)>,
    ) -> Result<PathBuf, ProgramError> {
        let search_path = OsStr::new(&self.search_path);
        if let Some((variable, value)) = named {
            let path = if value.contains('/') {
                Some(PathBuf::from(value)).filter(|path| process::is_executable(path))
            } else {
                process::find_on_path(value, search_path)
            };
            return path.ok_or_else(|| ProgramError::NamedButAbsent {
                variable,
                path: PathBuf::from(value),
            });
        }
        let beside = self.libexec.join(name);
        process::find_on_path(name, search_path)
            .or_else(|| process::is_executable(&beside).then_some(beside))
            .ok_or_else(|| ProgramError::Absent {
                name: name.to_owned(),
                libexec: self.libexec.clone(),
            })
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    #![allow(
        clippy::disallowed_methods,
        reason = "tests make the files that the search finds"
    )]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn program(path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn the_named_one_goes_before_path_and_path_before_libexec() {
        let home = tempfile::tempdir().unwrap();
        let at = |tail: &str| home.path().join(tail);
        let search = ProgramSearch::new(
            at("path").to_str().unwrap().to_owned(),
            &at("prefix/libexec/supervisor"),
        );
        assert!(matches!(
            search.find("engine", None),
            Err(ProgramError::Absent { .. })
        ));
        program(&at("prefix/libexec/engine"));
        assert_eq!(search.find("engine", None), Ok(at("prefix/libexec/engine")));
        program(&at("path/engine"));
        assert_eq!(search.find("engine", None), Ok(at("path/engine")));
        program(&at("own/engine"));
        let own = at("own/engine");
        let named = Some(("MICROAGENT_QEMU", own.to_str().unwrap()));
        assert_eq!(search.find("engine", named), Ok(own.clone()));
    }

    #[test]
    fn a_named_program_that_is_absent_is_not_replaced() {
        let home = tempfile::tempdir().unwrap();
        program(&home.path().join("engine"));
        let search = ProgramSearch::new(
            home.path().to_str().unwrap().to_owned(),
            Path::new("/nowhere/bin/x"),
        );
        let error = search
            .find("engine", Some(("MICROAGENT_QEMU", "/nowhere/engine")))
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "`MICROAGENT_QEMU` names `/nowhere/engine`, which is no executable file"
        );
        let by_name = Some(("MICROAGENT_QEMU", "engine"));
        assert_eq!(
            search.find("other", by_name),
            Ok(home.path().join("engine"))
        );
    }

    #[test]
    fn a_program_in_bin_has_libexec_as_a_sibling() {
        let search = ProgramSearch::new(String::new(), Path::new("/opt/x/bin/microagent"));
        assert_eq!(
            search.find("absent-program", None).unwrap_err().to_string(),
            "`absent-program` was not found on `PATH` or in `/opt/x/libexec`"
        );
    }
}
