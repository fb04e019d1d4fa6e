//! Layers on their way: a few at once, each read along while it arrives.
//!
//! A broken connection is taken up where it broke. The digest is compared over all bytes, however
//! many connections brought them, and a blob is kept only when it was right.

use std::{
    fs::File,
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use microagent_os::{FsAction, FsError, clock, fs};
use microagent_types::Digest;
use reqwest::{
    Response, StatusCode,
    header::{CONTENT_RANGE, HeaderMap},
};
use tokio::{sync::Semaphore, task::JoinSet};

use super::{
    client::Client,
    error::RegistryError,
    place::{BlobPlace, Claim, PlaceError},
    retry,
    runtime::{CANCEL_PAUSE, Runtime},
};
use crate::{
    arrival::{Arrival, NotArrived, Origin},
    cancel::CancelToken,
    hash::RunningDigest,
};

/// Between two looks at whether another process has finished with a blob.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// How long giving up may take.
const GIVE_UP_LIMIT: Duration = Duration::from_secs(5);

/// A blob that is wanted.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) arrival: Arc<Arrival>,
}

/// How far downloads are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DownloadState {
    /// Bytes that have come, those that were there already not counted.
    pub fetched_bytes: u64,
    /// Bytes that are there.
    pub done_bytes: u64,
    /// Bytes of all layers.
    pub total_bytes: u64,
    /// Layers that are there.
    pub done_layers: u64,
    /// Layers that were there already.
    pub reused_layers: u64,
    /// Layers in all.
    pub total_layers: u64,
    /// How long fetching took, or has taken until now.
    pub time: Duration,
    /// Whether all have ended.
    pub ended: bool,
}

/// How far one layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerState {
    /// Which.
    pub digest: Digest,
    /// Bytes that are there.
    pub done_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
}

#[derive(Debug)]
struct Shared {
    wanted: Vec<Wanted>,
    begun: Instant,
    ended: Mutex<Option<Duration>>,
    has_ended: Condvar,
    given_up: AtomicBool,
    fetched_bytes: AtomicU64,
    done_bytes: AtomicU64,
    done_layers: AtomicU64,
    reused_layers: AtomicU64,
}

impl Shared {
    fn lock_ended(&self) -> MutexGuard<'_, Option<Duration>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Downloads under way. Dropping it gives up those that have not ended.
#[derive(Debug)]
pub struct Downloads {
    shared: Arc<Shared>,
}

impl Downloads {
    /// Begins; the readers of the arrivals wait from now on.
    pub(crate) fn start(
        runtime: &Runtime,
        client: Arc<Client>,
        wanted: Vec<Wanted>,
        at_once: usize,
        place: Arc<dyn BlobPlace>,
        cancel: CancelToken,
    ) -> Self {
        let shared = Arc::new(Shared {
            wanted,
            begun: clock::monotonic(),
            ended: Mutex::default(),
            has_ended: Condvar::new(),
            given_up: AtomicBool::new(false),
            fetched_bytes: AtomicU64::default(),
            done_bytes: AtomicU64::default(),
            done_layers: AtomicU64::default(),
            reused_layers: AtomicU64::default(),
        });
        let all = all(Arc::clone(&shared), client, at_once.max(1), place, cancel);
        runtime.handle().spawn(all);
        Self { shared }
    }

    /// How far it is.
    pub fn state(&self) -> DownloadState {
        let shared = &self.shared;
        let ended = *shared.lock_ended();
        DownloadState {
            fetched_bytes: shared.fetched_bytes.load(Ordering::Relaxed),
            done_bytes: shared.done_bytes.load(Ordering::Relaxed),
            total_bytes: shared.wanted.iter().map(|wanted| wanted.size).sum(),
            done_layers: shared.done_layers.load(Ordering::Relaxed),
            reused_layers: shared.reused_layers.load(Ordering::Relaxed),
            total_layers: shared.wanted.len() as u64,
            time: ended.unwrap_or_else(|| shared.begun.elapsed()),
            ended: ended.is_some(),
        }
    }

    /// How far each layer is, the lowest first.
    pub fn layers(&self) -> impl Iterator<Item = LayerState> {
        self.shared.wanted.iter().map(|wanted| LayerState {
            digest: wanted.digest,
            done_bytes: wanted.arrival.there(),
            total_bytes: wanted.size,
        })
    }

    /// Waits until every layer is there and kept, or one has failed.
    pub fn finish(&self) -> Result<(), crate::OciError> {
        for wanted in &self.shared.wanted {
            wanted.arrival.verdict().map_err(|error| match error {
                NotArrived::Cancelled => crate::OciError::Cancelled,
                NotArrived::Failed(source) => crate::OciError::Download {
                    blob: wanted.digest.to_string(),
                    source,
                },
            })?;
        }
        Ok(())
    }
}

impl Drop for Downloads {
    fn drop(&mut self) {
        self.shared.given_up.store(true, Ordering::Relaxed);
        // What is half fetched is removed over there.
        let ended = self.shared.lock_ended();
        let waited = self
            .shared
            .has_ended
            .wait_timeout_while(ended, GIVE_UP_LIMIT, |ended| ended.is_none());
        drop(waited);
    }
}

/// Ends every arrival, whatever happens, so that nobody waits for ever.
struct Ends(Arc<Shared>);

impl Drop for Ends {
    fn drop(&mut self) {
        for wanted in &self.0.wanted {
            wanted.arrival.end(Err(NotArrived::Cancelled));
        }
        *self.0.lock_ended() = Some(self.0.begun.elapsed());
        self.0.has_ended.notify_all();
    }
}

async fn all(
    shared: Arc<Shared>,
    client: Arc<Client>,
    at_once: usize,
    place: Arc<dyn BlobPlace>,
    cancel: CancelToken,
) {
    let _ends = Ends(Arc::clone(&shared));
    let slots = Arc::new(Semaphore::new(at_once));
    let mut tasks = JoinSet::new();
    for wanted in shared.wanted.clone() {
        let (slots, client, place) = (Arc::clone(&slots), Arc::clone(&client), Arc::clone(&place));
        let shared = Arc::clone(&shared);
        tasks.spawn(async move {
            let Ok(_slot) = slots.acquire_owned().await else {
                return false;
            };
            let fetched = one(&shared, &client, place.as_ref(), &wanted).await;
            let went_well = fetched.is_ok();
            shared
                .done_layers
                .fetch_add(u64::from(went_well), Ordering::Relaxed);
            wanted
                .arrival
                .end(fetched.map_err(|error| NotArrived::Failed(Arc::new(error))));
            went_well
        });
    }
    // One that fails makes the others useless; one request to end ends all.
    loop {
        match tokio::time::timeout(CANCEL_PAUSE, tasks.join_next()).await {
            Ok(None) => return,
            Ok(Some(Ok(true))) => {}
            Ok(Some(Ok(false) | Err(_))) => break,
            Err(_) if cancel.is_cancelled() || shared.given_up.load(Ordering::Relaxed) => break,
            Err(_) => {}
        }
    }
    tasks.shutdown().await;
}

/// One layer: there already, or fetched.
async fn one(
    shared: &Shared,
    client: &Client,
    place: &dyn BlobPlace,
    wanted: &Wanted,
) -> Result<(), RegistryError> {
    let landing = loop {
        match place.claim(wanted.digest, wanted.size)? {
            Claim::Busy => tokio::time::sleep(BUSY_PAUSE).await,
            Claim::Stored(file) => {
                wanted.arrival.begin(Arc::new(file), Origin::Stored);
                wanted.arrival.advance(wanted.size);
                shared.reused_layers.fetch_add(1, Ordering::Relaxed);
                shared.done_bytes.fetch_add(wanted.size, Ordering::Relaxed);
                return Ok(());
            }
            Claim::Fetch(landing) => break landing,
        }
    };
    wanted.arrival.begin(landing.file(), Origin::Fetched);
    let mut fetch = Fetch {
        shared,
        client,
        wanted,
        file: landing.file(),
        there: 0,
        digest: RunningDigest::default(),
    };
    fetch.whole().await?;
    let found = fetch.digest.finish();
    if found != wanted.digest {
        return Err(RegistryError::DigestMismatch {
            blob: wanted.digest.to_string(),
            expected: wanted.digest,
            found,
        });
    }
    landing.publish()?;
    Ok(())
}

struct Fetch<'a> {
    shared: &'a Shared,
    client: &'a Client,
    wanted: &'a Wanted,
    file: Arc<File>,
    there: u64,
    digest: RunningDigest,
}

impl Fetch<'_> {
    /// Tries until all is there, or tries bring it no further.
    async fn whole(&mut self) -> Result<(), RegistryError> {
        let mut failures = 0;
        let mut counted_from = 0;
        while self.there < self.wanted.size || failures == 0 {
            let Err(error) = self.attempt().await else {
                return Ok(());
            };
            if self.there >= counted_from + retry::PROGRESS_BYTES_MIN {
                failures = 0;
            }
            failures += 1;
            counted_from = self.there;
            match retry::pause(&error, failures, self.client.waits()) {
                Some(pause) => {
                    tracing::info!(blob = %self.wanted.digest, there = self.there, %error, "a download broke and is taken up");
                    tokio::time::sleep(pause).await;
                }
                None => return Err(error),
            }
        }
        Ok(())
    }

    /// One connection.
    async fn attempt(&mut self) -> Result<(), RegistryError> {
        let path = format!("blobs/{}", self.wanted.digest);
        let mut response = self
            .client
            .get(&path, "application/octet-stream, */*", self.there)
            .await?;
        let mut skip = self.placed(&response)?;
        while let Some(chunk) = self.client.chunk(&mut response).await? {
            let mut bytes: &[u8] = &chunk;
            if skip > 0 {
                let skipped = bytes.len().min(usize::try_from(skip).unwrap_or(usize::MAX));
                skip -= skipped as u64;
                bytes = &bytes[skipped..];
            }
            self.take(bytes)?;
        }
        if self.there < self.wanted.size {
            return Err(RegistryError::Broken {
                host: super::endpoint::host_of(response.url()),
                there: self.there,
                expected: self.wanted.size,
            });
        }
        Ok(())
    }

    /// How many bytes of the answer we have already.
    fn placed(&self, response: &Response) -> Result<u64, RegistryError> {
        let partial = response.status() == StatusCode::PARTIAL_CONTENT;
        if partial && self.there > 0 && starts_at(response.headers()) == Some(self.there) {
            return Ok(0);
        }
        // All of it again, or another part than the one asked for: only the first is of use.
        let whole = response.status() == StatusCode::OK;
        let size = self.wanted.size;
        match response.content_length() {
            Some(found) if whole && found != size => Err(self.wrong_size(found)),
            _ if whole => Ok(self.there),
            _ => Err(RegistryError::Status {
                host: super::endpoint::host_of(response.url()),
                status: response.status().as_u16(),
                message: Some("it sent another part than the one asked for".to_owned()),
            }),
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), RegistryError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let there = self.there + bytes.len() as u64;
        if there > self.wanted.size {
            return Err(self.wrong_size(there));
        }
        fs::write_all_at(&self.file, bytes, self.there).map_err(|source| {
            let name = self.wanted.digest.to_string();
            PlaceError(FsError::new(FsAction::Write, Path::new(&name), source))
        })?;
        self.digest.update(bytes);
        self.there = there;
        self.wanted.arrival.advance(there);
        let passed = bytes.len() as u64;
        self.shared
            .fetched_bytes
            .fetch_add(passed, Ordering::Relaxed);
        self.shared.done_bytes.fetch_add(passed, Ordering::Relaxed);
        Ok(())
    }

    fn wrong_size(&self, found: u64) -> RegistryError {
        RegistryError::SizeMismatch {
            blob: self.wanted.digest.to_string(),
            expected: self.wanted.size,
            found,
        }
    }
}

/// The first byte of a partial answer.
fn starts_at(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let range = range.trim().strip_prefix("bytes ")?;
    range.split_once('-')?.0.trim().parse().ok()
}
