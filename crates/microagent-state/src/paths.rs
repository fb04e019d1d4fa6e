//! Every path below the state directory, in one place.
//!
//! Nobody else joins paths there: a path that is spelled twice is one day spelled two ways. Making
//! a value touches nothing; only the functions that say so do.

use std::path::{Path, PathBuf};

use microagent_os::dirs::{self, PrivateFolderError};
use microagent_os::local_socket::{self, AliasError};
use microagent_os::{FsError, atomic_file, fs};
use microagent_types::{AbsPath, Arch, BackendName, DiskName, Sha256Hex, VsockPort, WorkspaceName};
use sha2::{Digest as _, Sha256};

use microagent_machine::spec::DiskFormat;

/// The name of the default state directory in the user's folder.
pub const DEFAULT_NAME: &str = ".microagent";
/// The content of `schema`.
const SCHEMA_TEXT: &str = "1\n";
const SCHEMA_BYTES_MAX: u64 = 64;
/// Hexadecimal digits that stand for a workspace's folder in short names.
const SHORT_NAME_DIGITS: usize = 16;

/// The folder of everything that microagent keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDirectory {
    root: PathBuf,
}

/// What is wrong with a state directory.
#[derive(Debug, thiserror::Error)]
pub enum StateDirectoryError {
    /// It is not there.
    #[error("state directory `{}` does not exist", path.display())]
    Absent {
        /// The path.
        path: PathBuf,
    },
    /// It is not ours alone.
    #[error("state directory is not private")]
    NotPrivate(#[from] PrivateFolderError),
    /// The calls themselves failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// It has another layout than this program knows.
    #[error("state directory `{}` has schema `{found}`, this program knows `1`", path.display())]
    Schema {
        /// The path.
        path: PathBuf,
        /// What the file says.
        found: String,
    },
}

impl StateDirectory {
    /// The directory at a path. Touches nothing.
    pub fn at(root: &AbsPath) -> Self {
        Self {
            root: root.as_path().to_owned(),
        }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes what is missing: the folder, its parts and `schema`. Safe to repeat and to race.
    pub fn create(&self) -> Result<(), StateDirectoryError> {
        dirs::ensure_private_all(&self.root)?;
        dirs::check_private(&self.root)?;
        let schema = self.root.join("schema");
        if !fs::is_present(&schema) {
            let written =
                atomic_file::write(&schema, SCHEMA_TEXT.as_bytes(), atomic_file::Existing::Keep);
            match written {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(error.into());
                }
                _ => {}
            }
        }
        self.check_schema()?;
        for folder in [self.images(), self.kernels(), self.workspaces()] {
            dirs::ensure_private(&folder)?;
        }
        Ok(())
    }

    /// Checks that the folder is there, is ours alone and has a layout that we know. Makes nothing.
    pub fn check(&self) -> Result<(), StateDirectoryError> {
        if !fs::is_present(&self.root) {
            return Err(StateDirectoryError::Absent {
                path: self.root.clone(),
            });
        }
        dirs::check_private(&self.root)?;
        self.check_schema()
    }

    fn check_schema(&self) -> Result<(), StateDirectoryError> {
        let found = match fs::read_text_bounded(&self.root.join("schema"), SCHEMA_BYTES_MAX) {
            Ok(found) => found,
            // A directory without it is one that nobody has used yet.
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if found == SCHEMA_TEXT {
            return Ok(());
        }
        let found = found.trim().to_owned();
        Err(StateDirectoryError::Schema {
            path: self.root.clone(),
            found,
        })
    }

    /// Built images.
    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// Held while an image is published or removed.
    pub fn images_lock(&self) -> PathBuf {
        self.images().join("lock")
    }

    /// Installed kernels.
    pub fn kernels(&self) -> PathBuf {
        self.root.join("kernels")
    }

    /// What the VMM program of a backend has said of itself.
    pub fn engine_record(&self, backend: BackendName) -> PathBuf {
        let name = [backend.as_str(), ".json"].concat();
        self.root.join("engines").join(name)
    }

    /// The folder of one default kernel.
    pub fn kernel_folder(&self, backend: BackendName, arch: Arch) -> PathBuf {
        self.kernels().join(backend.as_str()).join(arch.as_str())
    }

    /// The default kernel.
    pub fn kernel(&self, backend: BackendName, arch: Arch) -> PathBuf {
        self.kernel_folder(backend, arch).join("Image")
    }

    /// What the default kernel is.
    pub fn kernel_record(&self, backend: BackendName, arch: Arch) -> PathBuf {
        self.kernel_folder(backend, arch).join("kernel.json")
    }

    /// The folder of workspaces.
    pub fn workspaces(&self) -> PathBuf {
        self.root.join("workspaces")
    }

    /// The paths of one workspace. Touches nothing.
    pub fn workspace(&self, name: &WorkspaceName) -> WorkspacePaths {
        WorkspacePaths {
            name: name.clone(),
            folder: self.workspaces().join(name.as_str()),
        }
    }

    /// The names that have a folder, sorted. Names that can't be workspaces are not ours and are
    /// left out. A folder is not yet a workspace: its record makes it one.
    pub fn list_names(&self) -> Result<Vec<WorkspaceName>, FsError> {
        let entries = match fs::list(&self.workspaces()) {
            Ok(entries) => entries,
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        Ok(entries
            .into_iter()
            .filter(|entry| entry.kind == fs::FileKind::Folder)
            .filter_map(|entry| entry.name.to_str()?.parse().ok())
            .collect())
    }
}

/// Which of two files that rotate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// The one that is written.
    Current,
    /// The one before.
    Previous,
}

impl Rotation {
    fn of(self, name: &str) -> String {
        match self {
            Self::Current => name.to_owned(),
            Self::Previous => format!("{name}.1"),
        }
    }
}

/// The paths of one workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkspacePaths {
    name: WorkspaceName,
    folder: PathBuf,
}

impl WorkspacePaths {
    /// Its name.
    pub fn name(&self) -> &WorkspaceName {
        &self.name
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Serialises acts.
    pub fn lock(&self) -> PathBuf {
        self.folder.join("lock")
    }

    /// Says that a monitor lives.
    pub fn lease(&self) -> PathBuf {
        self.folder.join("lease")
    }

    /// Held for one append to the history.
    pub fn events_lock(&self) -> PathBuf {
        self.folder.join("events.lock")
    }

    /// The intent of a create that is not complete.
    pub fn create_record(&self) -> PathBuf {
        self.folder.join("create.json")
    }

    /// What the workspace is.
    pub fn workspace_record(&self) -> PathBuf {
        self.folder.join("workspace.json")
    }

    /// What it does.
    pub fn runtime_record(&self) -> PathBuf {
        self.folder.join("runtime.json")
    }

    /// Its history, the segment that is written.
    pub fn events(&self) -> PathBuf {
        self.folder.join("events.jsonl")
    }

    /// A closed segment of its history, by its first number.
    pub fn events_segment(&self, first_seq: u64) -> PathBuf {
        self.folder.join(format!("events.{first_seq:012}.jsonl"))
    }

    /// The first number of a closed segment, from its file name.
    pub(crate) fn segment_first_seq(name: &str) -> Option<u64> {
        let digits = name.strip_prefix("events.")?.strip_suffix(".jsonl")?;
        let plain = digits.len() >= 12 && digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse().ok()).flatten()
    }

    /// Bytes of a torn tail.
    pub fn events_torn(&self, number: u32) -> PathBuf {
        self.folder.join(format!("events.torn.{number}"))
    }

    /// The root disk.
    pub fn root_disk(&self, format: DiskFormat) -> PathBuf {
        self.folder.join(match format {
            DiskFormat::Raw => "rootfs.ext4",
            DiskFormat::Vhd => "rootfs.vhd",
        })
    }

    /// What the guest has changed, in place of a root disk: a disk that goes with its one run may be a
    /// layer over its image.
    pub fn root_overlay(&self) -> PathBuf {
        self.folder.join("rootfs.overlay")
    }

    /// The folder of owned data disks.
    pub fn disks(&self) -> PathBuf {
        self.folder.join("disks")
    }

    /// An owned data disk.
    pub fn disk(&self, name: &DiskName, format: DiskFormat) -> PathBuf {
        let extension = match format {
            DiskFormat::Raw => "ext4",
            DiskFormat::Vhd => "vhd",
        };
        self.disks().join(format!("{name}.{extension}"))
    }

    /// The folder of files for the first boot.
    pub fn files(&self) -> PathBuf {
        self.folder.join("files")
    }

    /// A tar of files for the first boot.
    pub fn file(&self, number: usize) -> PathBuf {
        self.files().join(format!("{number}.tar"))
    }

    /// The console as captured.
    pub fn serial_log(&self, rotation: Rotation) -> PathBuf {
        self.folder.join(rotation.of("serial.log"))
    }

    /// Times and boots of the console.
    pub fn serial_index(&self, rotation: Rotation) -> PathBuf {
        self.folder.join(rotation.of("serial.idx"))
    }

    /// The monitor's own log.
    pub fn monitor_log(&self, rotation: Rotation) -> PathBuf {
        self.folder.join(rotation.of("monitor.log"))
    }

    /// The outcome of the last foreground run.
    pub fn result(&self) -> PathBuf {
        self.folder.join("result.json")
    }

    /// The folder of this boot, where it lies.
    pub fn run_folder(&self) -> PathBuf {
        self.folder.join("run")
    }

    /// The paths of this boot, as they lie. Sockets are bound and dialled through
    /// [`WorkspacePaths::ensure_socket_folder`], since their addresses are short.
    pub fn run(&self) -> RunPaths {
        RunPaths {
            folder: self.run_folder(),
        }
    }

    /// Sixteen hexadecimal digits that stand for this workspace's folder where names are short.
    pub fn short_name(&self) -> String {
        let bytes = self.folder.as_os_str().as_encoded_bytes();
        let hash = Sha256Hex::from_bytes(Sha256::digest(bytes).into());
        hash.to_string()[..SHORT_NAME_DIGITS].to_owned()
    }

    /// The paths of this boot by names that fit into a socket address: the folder itself, or an
    /// alias of it, which is made when it is not there. `runtime_folder` is `XDG_RUNTIME_DIR`.
    pub fn ensure_socket_folder(
        &self,
        runtime_folder: Option<&Path>,
    ) -> Result<RunPaths, AliasError> {
        let folder = self.run_folder();
        if !local_socket::needs_alias(&folder) {
            return Ok(RunPaths { folder });
        }
        let aliases = local_socket::alias_folder(runtime_folder);
        let folder = local_socket::short_alias(&aliases, &self.short_name(), &folder)?;
        Ok(RunPaths { folder })
    }

    /// Removes the alias, if this workspace has one. True when there was one.
    pub fn remove_socket_alias(&self, runtime_folder: Option<&Path>) -> Result<bool, FsError> {
        if !local_socket::needs_alias(&self.run_folder()) {
            return Ok(false);
        }
        let aliases = local_socket::alias_folder(runtime_folder);
        local_socket::remove_alias(&aliases.join(self.short_name()))
    }
}

/// The paths of one boot, below one spelling of its folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunPaths {
    folder: PathBuf,
}

impl RunPaths {
    /// As a record named the folder.
    pub fn from_recorded(folder: &AbsPath) -> Self {
        Self {
            folder: folder.as_path().to_owned(),
        }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The monitor's socket.
    pub fn monitor_socket(&self) -> PathBuf {
        self.folder.join("monitor.sock")
    }

    /// Host to guest.
    pub fn vsock_socket(&self) -> PathBuf {
        self.folder.join("vsock.sock")
    }

    /// Guest to host, one port.
    pub fn vsock_listener(&self, port: VsockPort) -> PathBuf {
        self.folder.join(format!("vsock.sock_{}", port.get()))
    }

    /// Control of Firecracker.
    pub fn api_socket(&self) -> PathBuf {
        self.folder.join("api.sock")
    }

    /// Control of QEMU.
    pub fn qmp_socket(&self) -> PathBuf {
        self.folder.join("qmp.sock")
    }

    /// The link between QEMU and its vsock device.
    pub fn vhost_socket(&self) -> PathBuf {
        self.folder.join("vhost.sock")
    }

    /// The FIFO of the VMM's log.
    pub fn vmm_log(&self) -> PathBuf {
        self.folder.join("vmm.log")
    }

    /// The mount point of the VMM's private root.
    pub fn jail(&self) -> PathBuf {
        self.folder.join("jail")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn directory(root: &Path) -> StateDirectory {
        StateDirectory::at(&AbsPath::try_from(root).unwrap())
    }

    #[test]
    fn a_directory_is_made_private_and_twice_is_once() {
        let root = tempfile::tempdir().unwrap();
        let state = directory(&root.path().join("deep/state"));
        assert!(matches!(
            state.check(),
            Err(StateDirectoryError::Absent { .. })
        ));
        state.create().unwrap();
        state.create().unwrap();
        state.check().unwrap();
        dirs::check_private(&state.workspaces()).unwrap();
        let schema = std::fs::read_to_string(state.root().join("schema")).unwrap();
        assert_eq!(schema, "1\n");
    }

    #[test]
    fn another_schema_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let state = directory(&root.path().join("state"));
        state.create().unwrap();
        std::fs::write(state.root().join("schema"), "2\n").unwrap();
        for result in [state.check(), state.create()] {
            assert!(
                matches!(result, Err(StateDirectoryError::Schema { found, .. }) if found == "2")
            );
        }
    }

    #[test]
    fn a_directory_that_is_open_to_others_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let state = directory(&root.path().join("state"));
        state.create().unwrap();
        let open = std::fs::Permissions::from_mode(0o750);
        std::fs::set_permissions(state.root(), open).unwrap();
        assert!(matches!(
            state.check(),
            Err(StateDirectoryError::NotPrivate(_))
        ));
        assert!(matches!(
            state.create(),
            Err(StateDirectoryError::NotPrivate(_))
        ));
    }

    #[test]
    fn names_that_are_not_ours_are_not_listed() {
        let root = tempfile::tempdir().unwrap();
        let state = directory(&root.path().join("state"));
        assert_eq!(state.list_names().unwrap(), []);
        state.create().unwrap();
        for name in ["scout", "box-1", "Not Ours", ".hidden", "con"] {
            std::fs::create_dir(state.workspaces().join(name)).unwrap();
        }
        std::fs::write(state.workspaces().join("file"), b"").unwrap();
        let names: Vec<_> = state
            .list_names()
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(names, ["box-1", "scout"]);
    }

    #[test]
    fn the_published_layout_is_the_layout() {
        let state = directory(Path::new("/s"));
        let paths = state.workspace(&"scout".parse().unwrap());
        for (path, expected) in [
            (
                state.kernel(BackendName::Qemu, Arch::Amd64),
                "/s/kernels/qemu/amd64/Image",
            ),
            (state.images_lock(), "/s/images/lock"),
            (paths.lock(), "/s/workspaces/scout/lock"),
            (
                paths.events_segment(42),
                "/s/workspaces/scout/events.000000000042.jsonl",
            ),
            (
                paths.root_disk(DiskFormat::Raw),
                "/s/workspaces/scout/rootfs.ext4",
            ),
            (
                paths.root_disk(DiskFormat::Vhd),
                "/s/workspaces/scout/rootfs.vhd",
            ),
            (
                paths.disk(&"data".parse().unwrap(), DiskFormat::Raw),
                "/s/workspaces/scout/disks/data.ext4",
            ),
            (
                paths.serial_log(Rotation::Current),
                "/s/workspaces/scout/serial.log",
            ),
            (
                paths.serial_index(Rotation::Previous),
                "/s/workspaces/scout/serial.idx.1",
            ),
            (
                paths.run().monitor_socket(),
                "/s/workspaces/scout/run/monitor.sock",
            ),
            (
                paths
                    .run()
                    .vsock_listener(VsockPort::new(4_294_967_294).unwrap()),
                "/s/workspaces/scout/run/vsock.sock_4294967294",
            ),
        ] {
            assert_eq!(path, Path::new(expected));
        }
        assert_eq!(
            WorkspacePaths::segment_first_seq("events.000000000042.jsonl"),
            Some(42)
        );
        for name in [
            "events.jsonl",
            "events.42.jsonl",
            "events.lock",
            "events.torn.1",
        ] {
            assert_eq!(WorkspacePaths::segment_first_seq(name), None, "{name}");
        }
    }

    #[test]
    fn the_longest_name_below_a_long_directory_gets_sockets_that_can_be_bound() {
        let root = tempfile::tempdir().unwrap();
        std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let long = root.path().join("d".repeat(200));
        let state = directory(&long);
        let paths = state.workspace(&"n".repeat(63).parse().unwrap());
        dirs::ensure_private_all(&paths.run_folder()).unwrap();
        let run = paths.ensure_socket_folder(Some(root.path())).unwrap();
        let socket = run.vsock_listener(VsockPort::new(4_294_967_294).unwrap());
        let _listener = local_socket::listen(&socket).unwrap();
        assert!(paths.remove_socket_alias(Some(root.path())).unwrap());
        let again = paths.ensure_socket_folder(Some(root.path())).unwrap();
        assert_eq!(again, run);
        local_socket::connect(&socket, std::time::Duration::from_secs(5)).unwrap();
    }

    #[test]
    fn a_short_name_is_what_sha256sum_says() {
        let state = directory(Path::new("/s"));
        let paths = state.workspace(&"scout".parse().unwrap());
        // printf /s/workspaces/scout | sha256sum
        assert_eq!(paths.short_name().len(), 16);
        let judged = crate::event_chain::tests::sha256sum(b"/s/workspaces/scout");
        assert!(judged.starts_with(&paths.short_name()));
    }
}
