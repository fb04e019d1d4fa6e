//! The default kernel: installed into the state directory on first use, replaced when the
//! installation ships a newer one.
//!
//! ```text
//! <prefix>/libexec/kernels/<backend>/<arch>/{Image,kernel.json}   shipped
//!        | clone, hash, rename
//!        v
//! <folder>/{Image,kernel.json}                                    installed
//! ```
//!
//! The record names the image's hash and is written after the image; an image that does not match its
//! record is a torn installation and is put right by installing again. A running VM keeps the image it
//! booted, since replacing is a rename. A kernel that a person installed is replaced only when a
//! person asks for it ([`install_file`], [`install_shipped`]).

use crate::hash::sha256_of;
use crate::kernel_catalog::{
    CatalogError, IMAGE_BYTES_MAX, KernelRecord, RECORD_BYTES_MAX, SCHEMA, SOURCE_DEFAULT,
    SOURCE_FILE, SOURCE_URL,
};
use crate::kernel_download::{DownloadError, KernelUrl, Patience, Watch, fetch};
use crate::kernel_format::{HEAD_BYTES, KernelFormat};
use crate::kernel_manifest::{ManifestError, PinnedKernel};
use crate::search_path::SearchPath;
use microagent_os::clone_file::{Sharing, clone_file};
use microagent_os::{FsAction, FsError, atomic_file, clock, dirs, fs};
use microagent_types::{Arch, BackendName, Sha256Hex, Timestamp};
use std::path::{Path, PathBuf};

/// A kernel that can be booted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledKernel {
    /// The image.
    pub path: PathBuf,
    /// Its hash, as recorded when it was installed.
    pub sha256: Sha256Hex,
    /// Its version, when it is known.
    pub version: Option<String>,
    /// `default`, or where it came from.
    pub source: String,
    /// When it was installed, when that is known.
    pub installed_at: Option<Timestamp>,
}

impl InstalledKernel {
    fn new(path: PathBuf, record: KernelRecord) -> Self {
        Self {
            path,
            sha256: record.sha256,
            version: record.version,
            source: record.source,
            installed_at: record.installed_at,
        }
    }
}

/// Why there is no kernel.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// None is installed and none came with the installation.
    #[error("there is no kernel for `{backend}/{arch}`, and none came with this installation")]
    Missing {
        /// For which backend.
        backend: BackendName,
        /// For which architecture.
        arch: Arch,
    },
    /// The record beside an image can't be used.
    #[error("the kernel record `{}` is damaged", path.display())]
    Record {
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: CatalogError,
    },
    /// An image is not what its record says.
    #[error("the kernel `{}` is not the one that its record names", path.display())]
    Differs {
        /// Where it is.
        path: PathBuf,
    },
    /// A file that a person named is not the one that they meant.
    #[error("`{}` has another SHA-256 than the expected one: {actual}", path.display())]
    Sum {
        /// Where it is.
        path: PathBuf,
        /// What it has.
        actual: Sha256Hex,
    },
    /// A file that a person named can't be booted.
    #[error("`{}` is no kernel for `{backend}/{arch}`: {} is needed", path.display(), KernelFormat::needed(*backend, *arch).as_str())]
    Format {
        /// Where it is.
        path: PathBuf,
        /// For which backend.
        backend: BackendName,
        /// For which architecture.
        arch: Arch,
    },
    /// A kernel did not come from its address.
    #[error("cannot fetch the kernel `{url}`")]
    Download {
        /// Where it should come from, without what may be secret in it.
        url: String,
        /// Why.
        source: DownloadError,
    },
    /// The list of this release's kernels can't be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A file can't be read or written.
    #[error(transparent)]
    File(#[from] FsError),
}

impl KernelError {
    /// Whether it is somewhere else, and did not come from there.
    pub fn is_unavailable(&self) -> bool {
        matches!(
            self,
            Self::Download {
                source: DownloadError::Broken { .. }
                    | DownloadError::Short { .. }
                    | DownloadError::Status { .. }
                    | DownloadError::TooSlow,
                ..
            }
        )
    }
}

/// Where an installation ships the default kernel of a backend.
fn shipped_folder(backend: BackendName, arch: Arch) -> PathBuf {
    ["kernels", backend.as_str(), arch.as_str()]
        .iter()
        .collect()
}

/// Makes sure that the default kernel is in `folder` and says which one it is.
///
/// # Errors
/// When there is none, when what is shipped is damaged, or when it can't be written.
pub fn ensure_default(
    folder: &Path,
    search_path: &SearchPath,
    backend: BackendName,
    arch: Arch,
) -> Result<InstalledKernel, KernelError> {
    let installed = read_installed(folder)?;
    let shipped = find_shipped(search_path, backend, arch)?;
    match (installed, shipped) {
        (Some(installed), Some(shipped)) if is_current(&installed, &shipped.record) => {
            Ok(installed)
        }
        (_, Some(shipped)) => install(folder, &shipped.image, shipped.as_default()),
        (Some(installed), None) => Ok(installed),
        (None, None) => Err(KernelError::Missing { backend, arch }),
    }
}

/// The kernel that `folder` holds; `None` when none is installed whole.
///
/// # Errors
/// When its record is damaged or newer than this release.
pub fn read_installed(folder: &Path) -> Result<Option<InstalledKernel>, KernelError> {
    let (path, record_path) = (folder.join("Image"), folder.join("kernel.json"));
    let Some(record) = read_record(&record_path)? else {
        return Ok(None);
    };
    if !fs::is_file(&path) {
        return Ok(None);
    }
    Ok(Some(InstalledKernel::new(path, record)))
}

/// Installs the kernel that came with this installation, in place of whatever is there. Whether that
/// changed anything.
///
/// # Errors
/// When none came with it, when it is damaged, or when it can't be written.
pub fn install_shipped(
    folder: &Path,
    search_path: &SearchPath,
    backend: BackendName,
    arch: Arch,
) -> Result<(InstalledKernel, bool), KernelError> {
    let shipped =
        find_shipped(search_path, backend, arch)?.ok_or(KernelError::Missing { backend, arch })?;
    replace(folder, &shipped.image, shipped.as_default())
}

/// Installs the kernel in `file`, in place of whatever is there. Whether that changed anything.
///
/// # Errors
/// When it is no kernel for the backend, has another SHA-256 than the expected one, or can't be
/// copied. Nothing is replaced then.
pub fn install_file(
    folder: &Path,
    file: &Path,
    expected: Option<Sha256Hex>,
    backend: BackendName,
    arch: Arch,
) -> Result<(InstalledKernel, bool), KernelError> {
    let source = Source {
        image: file,
        shown: file,
        expected,
    };
    let record = source.checked(backend, arch, SOURCE_FILE)?;
    replace(folder, file, record)
}

/// Installs the kernel that has this SHA-256 from an address, in place of whatever is there. Whether that
/// changed anything. What is installed with this sum already is not fetched again.
///
/// # Errors
/// When it does not come whole, has another SHA-256, is no kernel for the backend, or can't be written.
/// Nothing is replaced then; a download that broke is gone on with by the next call.
pub fn install_url(
    folder: &Path,
    url: &KernelUrl,
    expected: Sha256Hex,
    backend: BackendName,
    arch: Arch,
    watch: &mut dyn Watch,
) -> Result<(InstalledKernel, bool), KernelError> {
    let pinned = PinnedKernel {
        url: url.clone(),
        sha256: expected,
        version: None,
    };
    from_url(folder, &pinned, SOURCE_URL, backend, arch, watch)
}

/// Installs the kernel that this release names, as the default one.
///
/// # Errors
/// As for [`install_url`].
pub fn install_pinned(
    folder: &Path,
    pinned: &PinnedKernel,
    backend: BackendName,
    arch: Arch,
    watch: &mut dyn Watch,
) -> Result<(InstalledKernel, bool), KernelError> {
    from_url(folder, pinned, SOURCE_DEFAULT, backend, arch, watch)
}

fn from_url(
    folder: &Path,
    pinned: &PinnedKernel,
    source: &'static str,
    backend: BackendName,
    arch: Arch,
    watch: &mut dyn Watch,
) -> Result<(InstalledKernel, bool), KernelError> {
    // A damaged record is what a person installs again for.
    if let Ok(Some(installed)) = read_installed(folder)
        && installed.source == source
        && installed.sha256 == pinned.sha256
        && actual_sha256(&installed)? == Some(pinned.sha256)
    {
        return Ok((installed, false));
    }
    let shown = pinned.url.shown();
    let fetched = fetch(
        folder,
        &pinned.url,
        pinned.sha256,
        Patience::ORDINARY,
        watch,
    )
    .map_err(|source| KernelError::Download {
        url: shown.clone(),
        source,
    })?;
    let source = Source {
        image: fetched.path(),
        shown: Path::new(&shown),
        expected: Some(pinned.sha256),
    }
    .checked(backend, arch, source)?;
    let record = KernelRecord {
        version: pinned.version.clone(),
        ..source
    };
    replace(folder, fetched.path(), record)
}

/// A kernel that did not come with the installation.
struct Source<'a> {
    image: &'a Path,
    /// Where it came from, for messages.
    shown: &'a Path,
    expected: Option<Sha256Hex>,
}

impl Source<'_> {
    /// Its record, when it is the expected one and the backend can boot it.
    fn checked(
        &self,
        backend: BackendName,
        arch: Arch,
        source: &str,
    ) -> Result<KernelRecord, KernelError> {
        let file = self.image;
        let format_refused = || KernelError::Format {
            path: self.shown.to_owned(),
            backend,
            arch,
        };
        let mut head = [0; HEAD_BYTES];
        let count = fs::read_at(&fs::open(file)?, &mut head, 0)
            .map_err(|error| FsError::new(FsAction::Read, file, error))?;
        if KernelFormat::of(&head[..count]) != Some(KernelFormat::needed(backend, arch)) {
            return Err(format_refused());
        }
        // A file beyond every bound is no kernel either.
        let actual = sha256_of(file, IMAGE_BYTES_MAX)?.ok_or_else(format_refused)?;
        if let Some(expected) = self.expected
            && expected != actual
        {
            return Err(KernelError::Sum {
                path: self.shown.to_owned(),
                actual,
            });
        }
        Ok(KernelRecord {
            schema: SCHEMA,
            version: None,
            sha256: actual,
            source: source.to_owned(),
            installed_at: None,
        })
    }
}

/// What an installed image really hashes to; `None` when it is larger than any kernel.
///
/// # Errors
/// When it can't be read.
pub fn actual_sha256(kernel: &InstalledKernel) -> Result<Option<Sha256Hex>, KernelError> {
    Ok(sha256_of(&kernel.path, IMAGE_BYTES_MAX)?)
}

fn replace(
    folder: &Path,
    image: &Path,
    record: KernelRecord,
) -> Result<(InstalledKernel, bool), KernelError> {
    // A damaged record is what a person installs again for.
    if let Ok(Some(installed)) = read_installed(folder)
        && installed.sha256 == record.sha256
        && installed.source == record.source
        && actual_sha256(&installed)? == Some(record.sha256)
    {
        return Ok((installed, false));
    }
    Ok((install(folder, image, record)?, true))
}

/// What `ensure_default` would install; `None` when the installation ships no kernel.
///
/// # Errors
/// When the shipped record is damaged.
pub fn shipped_version(
    search_path: &SearchPath,
    backend: BackendName,
    arch: Arch,
) -> Result<Option<KernelRecord>, KernelError> {
    Ok(find_shipped(search_path, backend, arch)?.map(|shipped| shipped.record))
}

struct Shipped {
    image: PathBuf,
    record: KernelRecord,
}

impl Shipped {
    /// Its record, once it is installed.
    fn as_default(&self) -> KernelRecord {
        KernelRecord {
            source: SOURCE_DEFAULT.to_owned(),
            ..self.record.clone()
        }
    }
}

/// A kernel that a person put there stays; a default one stays while nothing newer is shipped.
fn is_current(installed: &InstalledKernel, shipped: &KernelRecord) -> bool {
    installed.source != SOURCE_DEFAULT || installed.sha256 == shipped.sha256
}

fn find_shipped(
    search_path: &SearchPath,
    backend: BackendName,
    arch: Arch,
) -> Result<Option<Shipped>, KernelError> {
    let folder = shipped_folder(backend, arch);
    let Some(image) = search_path.find_file(&folder.join("Image")) else {
        return Ok(None);
    };
    let record_path = image.with_file_name("kernel.json");
    let Some(record) = read_record(&record_path)? else {
        return Ok(None);
    };
    Ok(Some(Shipped { image, record }))
}

fn read_record(path: &Path) -> Result<Option<KernelRecord>, KernelError> {
    let Some(bytes) = fs::read_bounded_if_present(path, RECORD_BYTES_MAX)? else {
        return Ok(None);
    };
    match KernelRecord::parse(&bytes) {
        Ok(record) => Ok(Some(record)),
        Err(source) => Err(KernelError::Record {
            path: path.to_owned(),
            source,
        }),
    }
}

fn install(
    folder: &Path,
    source: &Path,
    record: KernelRecord,
) -> Result<InstalledKernel, KernelError> {
    dirs::ensure_private_all(folder)?;
    let image = folder.join("Image");
    // A name of its own, so that two first uses at once both succeed and the later rename wins.
    let unfinished = folder.join(format!(".new-Image-{}", microagent_os::random::hex_16()));
    let cloned = clone_file(source, &unfinished, Sharing::Preferred)
        .map_err(KernelError::from)
        .and_then(|_| prove(&unfinished, source, &record))
        .and_then(|()| Ok(fs::rename(&unfinished, &image)?));
    if let Err(error) = cloned {
        // The first error is the one that matters.
        let _ = fs::remove_file(&unfinished);
        return Err(error);
    }
    let record = KernelRecord {
        schema: SCHEMA,
        installed_at: Some(clock::now()),
        ..record
    };
    atomic_file::write(
        &folder.join("kernel.json"),
        &record.to_bytes(),
        atomic_file::Existing::Replace,
    )?;
    Ok(InstalledKernel::new(image, record))
}

fn prove(copy: &Path, source: &Path, record: &KernelRecord) -> Result<(), KernelError> {
    let file = fs::open(copy)?;
    fs::sync_file(&file, copy)?;
    match sha256_of(copy, IMAGE_BYTES_MAX)? {
        Some(sha256) if sha256 == record.sha256 => Ok(()),
        _ => Err(KernelError::Differs {
            path: source.to_owned(),
        }),
    }
}

/// Hashes a kernel that a person named, for `--kernel PATH`.
///
/// # Errors
/// When it can't be read or is too large to be a kernel.
pub fn hash_custom(path: &Path) -> Result<Sha256Hex, KernelError> {
    sha256_of(path, IMAGE_BYTES_MAX)?.ok_or_else(|| KernelError::Differs {
        path: path.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::disallowed_methods,
        reason = "a test makes its files as anybody would"
    )]

    use super::{
        KernelError, actual_sha256, ensure_default, install_file, install_shipped, read_installed,
    };
    use crate::search_path::SearchPath;
    use microagent_types::{Arch, BackendName};
    use sha2::{Digest as _, Sha256};
    use std::path::Path;

    fn ship(prefix: &Path, content: &str, claimed: &str) -> SearchPath {
        let folder = prefix.join("libexec/kernels/qemu/amd64");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("Image"), content).unwrap();
        let sha = microagent_types::Sha256Hex::from_bytes(Sha256::digest(claimed).into());
        let record =
            format!(r#"{{"schema":1,"version":"{content}","sha256":"{sha}","source":"x"}}"#);
        std::fs::write(folder.join("kernel.json"), record).unwrap();
        SearchPath::beside(&prefix.join("bin/microagent"))
    }

    fn ensure(folder: &Path, search: &SearchPath) -> Result<super::InstalledKernel, KernelError> {
        ensure_default(folder, search, BackendName::Qemu, Arch::Amd64)
    }

    #[test]
    fn the_first_use_installs_and_the_second_finds_it() {
        let root = tempfile::tempdir().unwrap();
        let search = ship(root.path(), "one", "one");
        let folder = root.path().join("state/kernels/qemu/amd64");
        let first = ensure(&folder, &search).unwrap();
        assert_eq!(std::fs::read_to_string(&first.path).unwrap(), "one");
        let written = std::fs::metadata(&first.path).unwrap().modified().unwrap();
        assert_eq!(ensure(&folder, &search).unwrap(), first);
        assert_eq!(
            std::fs::metadata(&first.path).unwrap().modified().unwrap(),
            written
        );
    }

    #[test]
    fn a_newer_shipped_kernel_replaces_a_default_and_never_a_persons_own() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("state");
        ensure(&folder, &ship(root.path(), "one", "one")).unwrap();
        let search = ship(root.path(), "two", "two");
        assert_eq!(
            ensure(&folder, &search).unwrap().version.as_deref(),
            Some("two")
        );
        let record = std::fs::read_to_string(folder.join("kernel.json")).unwrap();
        std::fs::write(
            folder.join("kernel.json"),
            record.replace("\"default\"", "\"file\""),
        )
        .unwrap();
        let search = ship(root.path(), "three", "three");
        assert_eq!(
            ensure(&folder, &search).unwrap().version.as_deref(),
            Some("two")
        );
    }

    #[test]
    fn a_damaged_shipment_installs_nothing() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("state");
        let search = ship(root.path(), "one", "other");
        assert!(matches!(
            ensure(&folder, &search),
            Err(KernelError::Differs { .. })
        ));
        assert_eq!(read_installed(&folder).unwrap(), None);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    }

    /// The head of a `vmlinux`, which is all that is looked at.
    fn vmlinux(folder: &Path) -> std::path::PathBuf {
        let mut bytes = b"\x7fELF\x02\x01".to_vec();
        bytes.resize(64, 0);
        bytes[18] = 62;
        let path = folder.join("vmlinux");
        std::fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn a_persons_kernel_replaces_the_default_and_the_default_comes_back_when_asked() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("state");
        let search = ship(root.path(), "one", "one");
        ensure(&folder, &search).unwrap();
        let file = vmlinux(root.path());
        let install = || install_file(&folder, &file, None, BackendName::Qemu, Arch::Amd64);
        let (own, changed) = install().unwrap();
        assert_eq!((own.source.as_str(), changed), ("file", true));
        assert!(!install().unwrap().1, "the same file again changes nothing");
        assert_eq!(ensure(&folder, &search).unwrap(), own);
        let (default, changed) =
            install_shipped(&folder, &search, BackendName::Qemu, Arch::Amd64).unwrap();
        assert_eq!((default.version.as_deref(), changed), (Some("one"), true));
        assert_eq!(read_installed(&folder).unwrap(), Some(default));
    }

    #[test]
    fn a_wrong_file_or_sum_replaces_nothing() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("state");
        let before = ensure(&folder, &ship(root.path(), "one", "one")).unwrap();
        let file = vmlinux(root.path());
        let sum = microagent_types::Sha256Hex::from_bytes([0; 32]);
        let wrong_sum = install_file(&folder, &file, Some(sum), BackendName::Qemu, Arch::Amd64);
        assert!(matches!(wrong_sum, Err(KernelError::Sum { .. })));
        let wrong_kind = install_file(&folder, &file, None, BackendName::Qemu, Arch::Arm64);
        assert!(matches!(wrong_kind, Err(KernelError::Format { .. })));
        assert_eq!(read_installed(&folder).unwrap(), Some(before));
    }

    #[test]
    fn an_image_that_was_changed_later_hashes_to_something_else_and_is_put_right() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("state");
        let search = ship(root.path(), "one", "one");
        let installed = ensure(&folder, &search).unwrap();
        assert_eq!(actual_sha256(&installed).unwrap(), Some(installed.sha256));
        std::fs::write(&installed.path, "two").unwrap();
        assert_ne!(actual_sha256(&installed).unwrap(), Some(installed.sha256));
        let (_, changed) =
            install_shipped(&folder, &search, BackendName::Qemu, Arch::Amd64).unwrap();
        assert!(changed);
        assert_eq!(std::fs::read_to_string(&installed.path).unwrap(), "one");
    }

    #[test]
    fn without_a_kernel_the_error_names_backend_and_architecture() {
        let root = tempfile::tempdir().unwrap();
        let search = SearchPath::beside(&root.path().join("bin/microagent"));
        let error = ensure(&root.path().join("state"), &search).unwrap_err();
        assert!(error.to_string().contains("qemu/amd64"), "{error}");
    }
}
