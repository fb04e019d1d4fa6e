//! An image of a registry: its name looked up, its layers fetched and unpacked at once.
//!
//! ```text
//! name known and allowed? -> done, nobody is asked
//! ask the registry        -> digest known? -> the name is noted, done
//! take the turn           -> made meanwhile? -> as above
//! fetch layers  ||  build -> every layer proved and kept -> publish -> note the name
//! ```

use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
    time::Duration,
};

use microagent_oci::{
    OciError,
    registry::{DownloadState, Downloads, RegistryOptions, RemoteImage, Session},
};
use microagent_os::clock;
use microagent_types::{Digest, ImageRef};

use crate::{
    attempt::Turn,
    blob_store::BlobFolder,
    error::RootfsError,
    progress::{Progress, ProgressStep},
    store::{BuildOptions, BuiltImage, ImageStore, Pulled},
};

/// When a registry is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PullPolicy {
    /// When the name is not known here.
    #[default]
    Missing,
    /// Every time: a name may stand for another image by now.
    Always,
    /// Never.
    Never,
}

/// How to speak to registries, and the connection once there is one.
#[derive(Debug)]
pub struct Registries {
    options: RegistryOptions,
    session: OnceLock<Session>,
}

impl Registries {
    /// Touches nothing yet.
    pub fn new(options: RegistryOptions) -> Self {
        Self {
            options,
            session: OnceLock::new(),
        }
    }

    pub(crate) fn session(&self) -> Result<&Session, OciError> {
        if let Some(session) = self.session.get() {
            return Ok(session);
        }
        let session = Session::new(self.options.clone())?;
        Ok(self.session.get_or_init(|| session))
    }
}

impl ImageStore {
    /// The built image of a reference: known here, or fetched from its registry and built now.
    ///
    /// After an error no image, name or wrong byte of the attempt is left. Layers that came whole
    /// before an interruption, or before a registry stopped answering, are kept for the next try.
    pub fn pull(
        &self,
        reference: &ImageRef,
        policy: PullPolicy,
        registries: &Registries,
        options: &BuildOptions,
        progress: &mut dyn Progress,
    ) -> Result<BuiltImage, RootfsError> {
        if policy != PullPolicy::Always {
            if let Some(built) = self.named(reference, options, progress)? {
                return Ok(built);
            }
            if policy == PullPolicy::Never {
                return Err(RootfsError::NotStored {
                    prefix: reference.to_string(),
                });
            }
        }
        progress.at(ProgressStep::Resolve);
        let begun = clock::monotonic();
        let session = registries.session()?;
        let remote = session.resolve(reference, options.arch, &options.cancel)?;
        let resolve_time = begun.elapsed();
        let (mut built, fetched) = self.fetched(session, &remote, options, progress)?;
        let digest = remote.image().digest;
        let named = Some(remote.named()).filter(|named| *named != digest);
        let before = self.names().set(reference, options.arch, digest, named)?;
        built.resolve_time = resolve_time;
        built.pulled = Some(Pulled {
            changed: before != Some(digest),
            downloaded_bytes: fetched.map_or(0, |state| state.fetched_bytes),
            reused_layers: fetched.map_or(0, |state| state.reused_layers),
            download_time: fetched.map(|state| state.time),
        });
        Ok(built)
    }

    /// The image, from the cache or made now, and what was fetched for it.
    fn fetched(
        &self,
        session: &Session,
        remote: &RemoteImage,
        options: &BuildOptions,
        progress: &mut dyn Progress,
    ) -> Result<(BuiltImage, Option<DownloadState>), RootfsError> {
        let image = remote.image();
        let key = self.key(image.digest);
        let there = |store: &Self| -> Result<Option<BuiltImage>, RootfsError> {
            let record = store.read(&key)?;
            Ok(record.map(|record| store.built(&image.source, record, Duration::ZERO, None)))
        };
        if let Some(built) = there(self)? {
            return Ok((built, None));
        }
        let _turn = Turn::wait(&self.folder, &key, &options.cancel, progress)?;
        if let Some(built) = there(self)? {
            return Ok((built, None));
        }
        let (built, state) = match self.attempt(session, remote, options, progress) {
            // A kept layer was torn by a crash, or its disk is bad: it is fetched anew, once.
            (Err(error), state) if error.is_integrity() && state.is_some_and(has_reused) => {
                tracing::warn!(%error, "a kept layer is damaged and is fetched again");
                let fresh = session.resolve(remote.reference(), options.arch, &options.cancel)?;
                self.attempt(session, &fresh, options, progress)
            }
            attempt => attempt,
        };
        Ok((built?, state))
    }

    /// Fetches and builds, with the turn taken; nothing wrong is left of it.
    fn attempt(
        &self,
        session: &Session,
        remote: &RemoteImage,
        options: &BuildOptions,
        progress: &mut dyn Progress,
    ) -> (Result<BuiltImage, RootfsError>, Option<DownloadState>) {
        let blobs = self.blobs();
        let begun = self
            .check_room(remote.image())
            .and_then(|()| blobs.using())
            .and_then(|using| Ok((using, keep_documents(&blobs, remote)?)));
        let (using, documents) = match begun {
            Ok(begun) => begun,
            Err(error) => return (Err(error), None),
        };
        let downloads = session.fetch(remote, Arc::new(blobs), &options.cancel);
        let mut along = Along {
            downloads: &downloads,
            progress,
            told: Vec::new(),
        };
        let image = remote.image();
        let built = self.build_now(image, &documents, options, &mut along, || {
            downloads.finish()?;
            Ok(())
        });
        let state = downloads.state();
        drop((downloads, using));
        if let Err(error) = &built {
            self.forget(remote, error);
        }
        (built, Some(state))
    }

    /// After a failure: removes layers that may be wrong, or that take room that was missing.
    fn forget(&self, remote: &RemoteImage, error: &RootfsError) {
        if error.is_cancelled() || error.is_unavailable() {
            return;
        }
        let layers = remote.image().layers.iter();
        let layers = layers.filter_map(microagent_oci::Layer::digest);
        let documents = remote.documents().iter().map(|(digest, _)| *digest);
        let mut named = self.named_layers();
        if let Some(damaged) = error.damaged_blob() {
            named.remove(&damaged);
        }
        self.blobs().remove_unnamed(layers.chain(documents), &named);
    }

    /// The layers of every image here.
    pub(crate) fn named_layers(&self) -> BTreeSet<Digest> {
        let records = self.records().unwrap_or_default();
        records
            .iter()
            .flat_map(|(_, record)| record.blobs())
            .collect()
    }
}

/// Keeps what is needed to make the disk again without a registry.
fn keep_documents(blobs: &BlobFolder, remote: &RemoteImage) -> Result<Vec<Digest>, RootfsError> {
    for (digest, bytes) in remote.documents() {
        blobs.keep(*digest, bytes)?;
    }
    Ok(remote
        .documents()
        .iter()
        .map(|(digest, _)| *digest)
        .collect())
}

fn has_reused(state: DownloadState) -> bool {
    state.reused_layers > 0
}

/// Tells of the download as long as it lasts, and of building after that.
pub(crate) struct Along<'a> {
    pub(crate) downloads: &'a Downloads,
    pub(crate) progress: &'a mut dyn Progress,
    /// Bytes of each layer that were told.
    pub(crate) told: Vec<u64>,
}

impl Along<'_> {
    /// Each layer that has come further.
    fn layers(&mut self) {
        for (number, layer) in self.downloads.layers().enumerate() {
            if self.told.len() == number {
                self.told.push(0);
            }
            if std::mem::replace(&mut self.told[number], layer.done_bytes) != layer.done_bytes {
                self.progress.at(ProgressStep::Layer {
                    digest: layer.digest,
                    done_bytes: layer.done_bytes,
                    total_bytes: layer.total_bytes,
                });
            }
        }
    }
}

impl Progress for Along<'_> {
    fn at(&mut self, step: ProgressStep) {
        let state = self.downloads.state();
        if !matches!(step, ProgressStep::Build { .. }) || state.ended {
            return self.progress.at(step);
        }
        self.progress.at(ProgressStep::Download {
            done_bytes: state.done_bytes,
            total_bytes: state.total_bytes,
            done_layers: state.done_layers,
            total_layers: state.total_layers,
        });
        self.layers();
    }
}
