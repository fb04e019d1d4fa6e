//! Files of this host that a new workspace starts with.
//!
//! They are looked at before an image is fetched or a disk made, so that a wrong path costs nothing;
//! they are read when the workspace is made, into archives in its folder; the guest unpacks them at its
//! first boot, before its workload. What cannot be read is named, and is not there then.

use crate::copy::HostTree;
use crate::error::{WorkspaceError, kind_of_file_error};
use crate::progress::{Phase, PhaseScope, Progress, ProgressEvent};
use microagent_os::fs::FileKind;
use microagent_os::{FsError, clock, dirs, fs};
use microagent_state::paths::WorkspacePaths;
use microagent_tar::{Entry, EntryKind, TarWriter};
use microagent_tree::pack::{Links, Mounts, PackOptions, PackOwner, Packer, entry_errno};
use microagent_types::{AbsPath, ByteSize, GuestPath, InvalidText};
use microagent_wire::fault::{Fault, FaultKind};
use microagent_wire::limits::FIRST_BOOT_BYTES_MAX;
use microagent_wire::supervisor::spec::FileConfig;
use std::fmt;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Held of an archive before it is written.
const WRITE_BYTES: usize = 256 << 10;
/// Entries that are looked at for the text of a refusal.
const COUNTED_MAX: usize = 1 << 20;

/// A file or folder that a workspace starts with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSettings {
    /// Where it comes from.
    pub source: FileSource,
    /// What it becomes in the guest: folders above it are made, links are kept. A folder that is there
    /// already is filled and keeps its own mode.
    pub target: GuestPath,
    /// The mode of a single file; its own, or 0644, when none.
    pub mode: Option<FileMode>,
    /// User and group in the guest; 0 and 0 are root.
    pub owner: (u32, u32),
}

/// Where a file that a workspace starts with comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileSource {
    /// A file or folder of this host.
    Host(PathBuf),
    /// What it holds.
    Content(String),
}

/// Permissions of a file: up to `7777`, written in octal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMode(u16);

impl FileMode {
    const OF_CONTENT: Self = Self(0o644);

    /// The bits.
    pub const fn bits(self) -> u16 {
        self.0
    }
}

impl FromStr for FileMode {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let digits =
            (3..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        let mode = u16::from_str_radix(text, 8).ok();
        mode.filter(|mode| digits && *mode <= 0o7777)
            .map(Self)
            .ok_or_else(|| InvalidText::new("a file mode", text, "write octal digits: \"0644\""))
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04o}", self.0)
    }
}

/// One that was found.
struct Found {
    source: FoundSource,
    mode: Option<FileMode>,
    owner: (u32, u32),
    folder: GuestPath,
    /// What a file is called in the folder; a folder's content needs no name.
    name: Vec<u8>,
}

enum FoundSource {
    Tree(HostTree),
    Content(String),
}

/// All of them, found and not yet read.
pub(crate) struct FoundFiles(Vec<Found>);

impl FoundFiles {
    /// Finds every source, and where it goes.
    pub(crate) fn find(files: &[FileSettings]) -> Result<Self, WorkspaceError> {
        let found: Result<_, _> = files.iter().map(Found::find).collect();
        found.map(Self)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the records say of them.
    pub(crate) fn configs(&self, paths: &WorkspacePaths) -> Result<Vec<FileConfig>, InvalidText> {
        let config = |(number, found): (usize, &Found)| {
            Ok(FileConfig {
                source: AbsPath::try_from(paths.file(number).as_path())?,
                target: found.folder.clone(),
            })
        };
        self.0.iter().enumerate().map(config).collect()
    }

    fn failure(&self, of: &Found, paths: &WorkspacePaths, error: &io::Error) -> WorkspaceError {
        let inner = error.get_ref();
        let too_large = inner.is_some_and(|inner| inner.downcast_ref::<TooLarge>().is_some());
        if !too_large {
            return of.failure(error);
        }
        let limit = FIRST_BOOT_BYTES_MAX;
        let held = self.0.iter().map(Found::held).sum::<u64>().max(limit + 1);
        let message = format!(
            "the files to copy in hold {}, and the limit is {}",
            ByteSize::from_bytes(held),
            ByteSize::from_bytes(limit)
        );
        let name = paths.folder().file_name().unwrap_or_default();
        let (name, shown, target) = (name.display(), of.shown(), &of.folder);
        let hint = format!(
            "microagent cp {shown} {name}:{target} after the start, or a disk: \
             --disk data={shown}.tar:{target}"
        );
        let fault = Fault::new(FaultKind::Usage, message).with_hint(hint);
        fault
            .with_details(|details| {
                details.limit = Some(limit);
                details.actual = Some(held);
            })
            .into()
    }

    /// Reads them into the workspace's folder, which must have been begun.
    pub(crate) fn pack(
        &self,
        paths: &WorkspacePaths,
        progress: &mut dyn Progress,
    ) -> Result<(), WorkspaceError> {
        if self.is_empty() {
            return Ok(());
        }
        dirs::ensure_private(&paths.files()).map_err(unwritable)?;
        let mut notes = Vec::new();
        {
            let _phase = PhaseScope::begin(progress, Phase::Copy);
            let mut left = FIRST_BOOT_BYTES_MAX;
            for (number, found) in self.0.iter().enumerate() {
                let file = fs::create_new(&paths.file(number)).map_err(unwritable)?;
                let sink = BufWriter::with_capacity(WRITE_BYTES, Limited { file, left });
                let packed = found.pack(sink);
                let (sink, skipped) = packed.map_err(|error| self.failure(found, paths, &error))?;
                fs::sync_file(&sink.file, &paths.file(number)).map_err(unwritable)?;
                left = sink.left;
                notes.extend(skipped);
            }
        }
        for note in notes {
            progress.report(ProgressEvent::Note(note));
        }
        Ok(())
    }
}

impl Found {
    fn find(settings: &FileSettings) -> Result<Self, WorkspaceError> {
        let target = &settings.target;
        let source = match &settings.source {
            FileSource::Content(content) => FoundSource::Content(content.clone()),
            FileSource::Host(path) => FoundSource::Tree(HostTree::find(path, false)?),
        };
        let (shown, own_name) = match &source {
            FoundSource::Content(_) => ("its content", "NAME".to_owned()),
            FoundSource::Tree(tree) if tree.is_folder => {
                if let Some(mode) = settings.mode {
                    let message = format!(
                        "mode `{mode}` is for a file, and `{}` is a folder",
                        tree.shown
                    );
                    let fault = Fault::new(FaultKind::Usage, message);
                    return Err(fault
                        .with_hint("leave it out: modes in a folder are kept")
                        .into());
                }
                return Ok(Self {
                    folder: target.clone(),
                    name: Vec::new(),
                    mode: None,
                    owner: settings.owner,
                    source,
                });
            }
            FoundSource::Tree(tree) => {
                let own_name = String::from_utf8_lossy(&tree.name).into_owned();
                (tree.shown.as_str(), own_name)
            }
        };
        let (folder, name) = target
            .as_str()
            .rsplit_once('/')
            .unwrap_or(("", target.as_str()));
        if matches!(name, "" | "." | "..") {
            let message = format!("`{target}` is a folder, and `{shown}` is none");
            let hint = format!(
                "write what it becomes: {}/{own_name}",
                folder.trim_end_matches('/')
            );
            return Err(Fault::new(FaultKind::Usage, message).with_hint(hint).into());
        }
        let folder = if folder.is_empty() { "/" } else { folder };
        Ok(Self {
            folder: folder.parse()?,
            name: name.as_bytes().to_vec(),
            mode: settings.mode,
            owner: settings.owner,
            source,
        })
    }

    fn pack(&self, sink: BufWriter<Limited>) -> io::Result<(Limited, Vec<String>)> {
        match &self.source {
            FoundSource::Tree(tree) => self.pack_tree(tree, sink),
            FoundSource::Content(content) => self.pack_content(content, sink),
        }
    }

    /// Bytes that it takes in an archive, nearly: for the text of a refusal.
    fn held(&self) -> u64 {
        match &self.source {
            FoundSource::Tree(tree) => held(Path::new(&tree.shown)),
            FoundSource::Content(content) => content.len() as u64,
        }
    }

    fn pack_content(
        &self,
        content: &str,
        sink: BufWriter<Limited>,
    ) -> io::Result<(Limited, Vec<String>)> {
        let now = clock::now().unix_ms();
        let entry = Entry {
            path: self.name.clone(),
            kind: EntryKind::Regular,
            mode: self.mode.unwrap_or(FileMode::OF_CONTENT).bits(),
            uid: self.owner.0,
            gid: self.owner.1,
            seconds: i64::try_from(now / 1000).unwrap_or(i64::MAX),
            nanoseconds: 0,
            size: content.len() as u64,
            attributes: Vec::new(),
        };
        let mut writer = TarWriter::new(sink);
        writer.entry(&entry, None)?;
        writer.content(content.as_bytes())?;
        let sink = writer.finish()?;
        let sink = sink.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok((sink, Vec::new()))
    }

    fn pack_tree(
        &self,
        tree: &HostTree,
        sink: BufWriter<Limited>,
    ) -> io::Result<(Limited, Vec<String>)> {
        let options = PackOptions {
            owner: PackOwner::Set(self.owner.0, self.owner.1),
            links: Links::Kept,
            mounts: Mounts::All,
        };
        let mut packer = Packer::new(sink, options);
        if let Some(mode) = self.mode {
            packer = packer.with_file_mode(mode.bits());
        }
        packer.tree(&tree.folder, &tree.name, &self.name)?;
        let (sink, _, skipped) = packer.finish()?;
        let sink = sink.into_inner().map_err(io::IntoInnerError::into_error)?;
        let mut notes: Vec<String> = skipped
            .entries
            .iter()
            .map(|entry| {
                let path = format!("{}/{}", tree.shown, entry.path);
                format!("`{path}` is left out: {}", entry.reason)
            })
            .collect();
        let unnamed = skipped.total - skipped.entries.len() as u64;
        if unnamed > 0 {
            notes.push(format!(
                "{unnamed} more entries of `{}` are left out",
                tree.shown
            ));
        }
        Ok((sink, notes))
    }

    fn shown(&self) -> String {
        match &self.source {
            FoundSource::Tree(tree) => tree.shown.clone(),
            FoundSource::Content(_) => {
                let name = String::from_utf8_lossy(&self.name);
                format!("{}/{name}", self.folder.as_str().trim_end_matches('/'))
            }
        }
    }

    fn failure(&self, error: &io::Error) -> WorkspaceError {
        let shown = &self.shown();
        if entry_errno(error).is_some() {
            return crate::copy::host_fault(shown, error);
        }
        let kind = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FaultKind::Resource,
            _ => FaultKind::Internal,
        };
        Fault::new(kind, format!("`{shown}` could not be stored for the guest"))
            .with_cause(error.to_string())
            .into()
    }
}

/// Bytes of the files below a path, holes left out; what can't be looked at counts nothing.
fn held(path: &Path) -> u64 {
    let mut folders = vec![path.to_owned()];
    let (mut bytes, mut looked_at) = (file_bytes(path), 0);
    while let Some(folder) = folders.pop() {
        for entry in fs::list(&folder).unwrap_or_default() {
            looked_at += 1;
            if looked_at > COUNTED_MAX {
                return bytes;
            }
            let path = folder.join(&entry.name);
            match entry.kind {
                FileKind::Folder => folders.push(path),
                FileKind::File => bytes += file_bytes(&path),
                FileKind::Link | FileKind::Other => {}
            }
        }
    }
    bytes
}

fn file_bytes(path: &Path) -> u64 {
    let is_file = matches!(fs::kind_of(path), Ok(Some(FileKind::File)));
    let length = fs::metadata(path).map_or(0, |found| found.len());
    let occupied = fs::allocated_bytes(path).unwrap_or(length);
    if is_file { length.min(occupied) } else { 0 }
}

fn unwritable(error: FsError) -> WorkspaceError {
    Fault::from_error(kind_of_file_error(&error), &error).into()
}

/// More than all archives may hold.
#[derive(Debug, thiserror::Error)]
#[error("the files are too large")]
struct TooLarge;

/// A file that takes so much and no more.
struct Limited {
    file: std::fs::File,
    left: u64,
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.left {
            return Err(io::Error::other(TooLarge));
        }
        let count = self.file.write(bytes)?;
        self.left -= count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "tests make the trees that are packed"
)]
mod tests {
    use super::{FileMode, FileSettings, FileSource, FoundFiles};
    use crate::error::WorkspaceError;
    use crate::progress::{Progress, ProgressEvent, Silent};
    use microagent_os::dirs;
    use microagent_state::paths::{StateDirectory, WorkspacePaths};
    use microagent_wire::fault::FaultKind;
    use microagent_wire::limits::FIRST_BOOT_BYTES_MAX;
    use std::fs;
    use std::path::Path;

    fn settings(source: &Path, target: &str) -> FileSettings {
        FileSettings {
            source: FileSource::Host(source.to_owned()),
            target: target.parse().unwrap(),
            mode: None,
            owner: (0, 0),
        }
    }

    #[test]
    fn content_and_a_single_file_have_the_mode_and_owner_that_were_said() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("note");
        fs::write(&file, "from the host").unwrap();
        let said = |settings: FileSettings| FileSettings {
            mode: Some("0640".parse().unwrap()),
            owner: (7, 8),
            ..settings
        };
        let content = FileSettings {
            source: FileSource::Content("ok\n".into()),
            ..settings(&file, "/etc/ok")
        };
        let files = [
            said(settings(&file, "/etc/note")),
            said(content.clone()),
            content,
        ];
        let found = FoundFiles::find(&files).unwrap();
        let paths = paths(root.path());
        found.pack(&paths, &mut Silent).unwrap();
        let listed = |number: usize| {
            let output = std::process::Command::new("tar")
                .args(["--numeric-owner", "-tvf"])
                .arg(paths.file(number))
                .output()
                .unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            text.split_whitespace()
                .take(2)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(listed(0), "-rw-r----- 7/8");
        assert_eq!(listed(1), "-rw-r----- 7/8");
        assert_eq!(listed(2), "-rw-r--r-- 0/0");
        let held = std::process::Command::new("tar")
            .arg("xOf")
            .arg(paths.file(1))
            .output()
            .unwrap();
        assert_eq!(held.stdout, b"ok\n");
        let folder = said(settings(root.path(), "/etc"));
        assert_eq!(kind(FoundFiles::find(&[folder])), FaultKind::Usage);
    }

    #[test]
    fn a_mode_is_octal_and_has_at_most_twelve_bits() {
        for (text, bits) in [("644", 0o644), ("0644", 0o644), ("07777", 0o7777)] {
            assert_eq!(text.parse::<FileMode>().unwrap().bits(), bits);
        }
        for text in ["", "7", "0999", "10000", "rwx", "+644", "0o644"] {
            assert!(text.parse::<FileMode>().is_err(), "{text}");
        }
    }

    fn paths(root: &Path) -> WorkspacePaths {
        let folder = root.join("state");
        let state = StateDirectory::at(&folder.as_path().try_into().unwrap());
        state.create().unwrap();
        let paths = state.workspace(&"web".parse().unwrap());
        dirs::ensure_private(paths.folder()).unwrap();
        paths
    }

    fn kind(found: Result<FoundFiles, WorkspaceError>) -> FaultKind {
        found.err().unwrap().fault().kind
    }

    #[test]
    fn a_file_gets_the_last_name_and_a_folder_is_its_content() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("src")).unwrap();
        fs::write(root.path().join("src/main"), "x").unwrap();
        fs::write(root.path().join("note"), "hello").unwrap();
        let files = [
            settings(&root.path().join("src"), "/work/app"),
            settings(&root.path().join("note"), "/etc/motd"),
        ];
        let found = FoundFiles::find(&files).unwrap();
        let paths = paths(root.path());
        found.pack(&paths, &mut Silent).unwrap();
        let configs = found.configs(&paths).unwrap();
        let targets: Vec<&str> = configs
            .iter()
            .map(|config| config.target.as_str())
            .collect();
        assert_eq!(targets, ["/work/app", "/etc"]);
        let names = |number: usize| {
            let output = std::process::Command::new("tar")
                .arg("tf")
                .arg(configs[number].source.as_path())
                .output()
                .unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(names(0), "./\nmain\n");
        assert_eq!(names(1), "motd\n");
    }

    #[test]
    fn a_source_that_is_not_there_and_a_file_without_a_name_are_refused_before_anything_is_made() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("note");
        fs::write(&file, "hello").unwrap();
        let missing = settings(&root.path().join("no"), "/x");
        assert_eq!(kind(FoundFiles::find(&[missing])), FaultKind::NotFound);
        for target in ["/", "/tmp/", "/tmp/.", "/tmp/.."] {
            let refused = FoundFiles::find(&[settings(&file, target)]);
            assert_eq!(kind(refused), FaultKind::Usage, "{target}");
        }
        assert!(FoundFiles::find(&[settings(&file, "/tmp/note")]).is_ok());
    }

    #[test]
    fn files_beyond_the_limit_of_all_are_refused() {
        let root = tempfile::tempdir().unwrap();
        // Half of it and half of it, and what an archive adds.
        let half = root.path().join("half");
        fs::write(&half, vec![1; (FIRST_BOOT_BYTES_MAX / 2) as usize]).unwrap();
        let files = [settings(&half, "/a"), settings(&half, "/b")];
        let found = FoundFiles::find(&files).unwrap();
        let refused = found.pack(&paths(root.path()), &mut Silent).unwrap_err();
        let fault = refused.fault();
        assert_eq!(fault.kind, FaultKind::Usage);
        let text = "the files to copy in hold 256 MiB, and the limit is 256 MiB";
        assert_eq!(fault.message, text);
    }

    #[test]
    fn a_hole_takes_nothing_of_the_limit() {
        let root = tempfile::tempdir().unwrap();
        let sparse = root.path().join("sparse");
        let file = fs::File::create(&sparse).unwrap();
        file.set_len(4 * FIRST_BOOT_BYTES_MAX).unwrap();
        let found = FoundFiles::find(&[settings(&sparse, "/sparse")]).unwrap();
        found.pack(&paths(root.path()), &mut Silent).unwrap();
    }

    #[test]
    fn what_is_left_out_is_named() {
        #[derive(Default)]
        struct Heard(Vec<String>);
        impl Progress for Heard {
            fn report(&mut self, event: ProgressEvent) {
                if let ProgressEvent::Note(note) = event {
                    self.0.push(note);
                }
            }
        }
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("tree");
        fs::create_dir(&folder).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(folder.join("socket")).unwrap();
        let found = FoundFiles::find(&[settings(&folder, "/tree")]).unwrap();
        let mut heard = Heard::default();
        found.pack(&paths(root.path()), &mut heard).unwrap();
        assert_eq!(heard.0.len(), 1, "{:?}", heard.0);
        assert!(heard.0[0].ends_with("tree/socket` is left out: it is a socket"));
    }
}
