//! The names of images: one small file each, so that a damaged one harms no other.

use std::path::{Path, PathBuf};

use microagent_os::{
    atomic_file::{self, Existing},
    clock, dirs, fs,
};
use microagent_types::{Arch, Digest, ImageRef, Sha256Hex};
use sha2::{Digest as _, Sha256};

use crate::{
    error::RootfsError,
    name_record::{NameRecord, SCHEMA},
};

/// The largest record that is read.
const RECORD_BYTES_MAX: u64 = 64 << 10;
const SUFFIX: &str = ".json";

/// The folder of the names.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    folder: PathBuf,
}

impl Names {
    pub(crate) fn at(images: &Path) -> Self {
        Self {
            folder: images.join("names"),
        }
    }

    /// Which image has a name. A record that can't be read counts as absent.
    pub(crate) fn get(
        &self,
        reference: &ImageRef,
        arch: Arch,
    ) -> Result<Option<NameRecord>, RootfsError> {
        let found = read(&self.path(reference, arch))?;
        Ok(found.filter(|record| record.reference == *reference && record.arch == arch))
    }

    /// Gives a name to an image; the one that it had before, when it moves.
    pub(crate) fn set(
        &self,
        reference: &ImageRef,
        arch: Arch,
        digest: Digest,
        named: Option<Digest>,
    ) -> Result<Option<Digest>, RootfsError> {
        let before = self.get(reference, arch)?;
        if before
            .as_ref()
            .is_some_and(|before| before.digest == digest && before.named == named)
        {
            return Ok(Some(digest));
        }
        dirs::ensure_private(&self.folder)?;
        let record = NameRecord {
            schema: SCHEMA,
            reference: reference.clone(),
            arch,
            digest,
            named,
            set_at: clock::now().to_string(),
        };
        let bytes = serde_json::to_vec_pretty(&record)?;
        atomic_file::write(&self.path(reference, arch), &bytes, Existing::Replace)?;
        Ok(before.map(|before| before.digest))
    }

    /// Takes a name away; false when there was none.
    pub(crate) fn remove(&self, reference: &ImageRef, arch: Arch) -> Result<bool, RootfsError> {
        Ok(atomic_file::remove(&self.path(reference, arch))?)
    }

    /// Every name, sorted.
    pub(crate) fn all(&self) -> Result<Vec<NameRecord>, RootfsError> {
        if !fs::is_folder(&self.folder) {
            return Ok(Vec::new());
        }
        let mut names = Vec::new();
        for entry in fs::list(&self.folder)? {
            if entry.name.to_string_lossy().ends_with(SUFFIX) {
                names.extend(read(&self.folder.join(&entry.name))?);
            }
        }
        names.sort_by(|a, b| (&a.reference, a.arch.as_str()).cmp(&(&b.reference, b.arch.as_str())));
        Ok(names)
    }

    fn path(&self, reference: &ImageRef, arch: Arch) -> PathBuf {
        let hash = Sha256::digest(format!("{reference} {arch}").as_bytes());
        let name = Sha256Hex::from_bytes(hash.into());
        self.folder.join(format!("{name}{SUFFIX}"))
    }
}

fn read(path: &Path) -> Result<Option<NameRecord>, RootfsError> {
    let bytes = fs::read_bounded_if_present(path, RECORD_BYTES_MAX)?;
    let record = bytes.and_then(|bytes| serde_json::from_slice::<NameRecord>(&bytes).ok());
    Ok(record.filter(|record| record.schema == SCHEMA))
}
