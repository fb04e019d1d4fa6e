//! A kernel from an address, by its SHA-256: what comes is hostile until the sum says otherwise.
//!
//! ```text
//! <folder>/.part-<sha256>  <- bytes, from where an earlier try broke off
//!        | the sum over all of it, the kind of file
//!        v
//! kernel_store             (clone, prove, rename)
//! ```
//!
//! A connection that breaks is taken up where it broke: within a call a bounded number of times, and by the next
//! call for the same sum. Where the server sends all of it again, that counts as well. The sum is over everything,
//! so neither who answers nor how often matters. The caller may be on any thread and need no runtime.

use crate::kernel_catalog::IMAGE_BYTES_MAX;
use microagent_os::{FsAction, FsError, dirs, fs, lock};
use microagent_types::Sha256Hex;
use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{Response, StatusCode, Url};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// Until a connection stands.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// For all of it, however slowly it drips.
const TOTAL_LIMIT: Duration = Duration::from_hours(1);
/// New bytes that let the tries be counted anew.
const PROGRESS_BYTES_MIN: u64 = 1 << 20;
const REDIRECTS_MAX: usize = 5;
/// Between two looks at whether somebody asked for an end.
const CANCEL_PAUSE: Duration = Duration::from_millis(50);
/// Reports of progress that wait to be taken; more are left out.
const REPORTS_MAX: usize = 4;
const USER_AGENT: &str = concat!("microagent/", env!("CARGO_PKG_VERSION"));
/// What is there of a download, by its sum, so that nothing of another one is taken for it.
const PART_PREFIX: &str = ".part-";
/// Whoever fetches a kernel of this backend holds it.
const LOCK_NAME: &str = ".download.lock";

/// How long is waited, and how often it is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patience {
    /// Until the next bytes come.
    pub(crate) read: Duration,
    /// Tries that bring it no further.
    pub(crate) tries_max: u32,
    /// Before the second try; doubled before each further one.
    pub(crate) pause_first: Duration,
}

impl Patience {
    /// What is used unless there is a reason.
    pub(crate) const ORDINARY: Self = Self {
        read: Duration::from_secs(30),
        tries_max: 5,
        pause_first: Duration::from_millis(300),
    };
}

/// The address of a kernel: `https` or `http`, since its SHA-256 rules and not who sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelUrl(Url);

/// Why a text is no address of a kernel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no address of a file; it begins with https:// or http://")]
pub struct InvalidUrl {
    text: String,
}

impl FromStr for KernelUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "https" | "http") && url.has_host() => Ok(Self(url)),
            _ => Err(InvalidUrl {
                text: text.to_owned(),
            }),
        }
    }
}

impl KernelUrl {
    /// For messages and records: without a password, a query or a fragment, which may hold secrets.
    pub fn shown(&self) -> String {
        let host = self.host();
        format!("{}://{host}{}", self.0.scheme(), self.0.path())
    }

    fn host(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        match self.0.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    fn is_loopback(&self) -> bool {
        let host = self.0.host_str().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost"
            || bare
                .parse()
                .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
    }
}

/// Why a kernel did not come.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The server can't be reached, or the connection broke too often.
    #[error("`{host}` does not send it: {there} bytes are there after {tries} tries")]
    Broken {
        /// Who.
        host: String,
        /// What is there; the next call goes on from here.
        there: u64,
        /// How often it was tried without getting further.
        tries: u32,
        /// The last reason.
        #[source]
        source: reqwest::Error,
    },
    /// The connection ended early, too often.
    #[error(
        "`{host}` ends the connection early: {there} of {total} bytes are there after {tries} tries"
    )]
    Short {
        /// Who.
        host: String,
        /// What is there; the next call goes on from here.
        there: u64,
        /// What was announced.
        total: u64,
        /// How often it was tried without getting further.
        tries: u32,
    },
    /// The server says no.
    #[error("`{host}` answers with status {status}")]
    Status {
        /// Who.
        host: String,
        /// Its answer.
        status: u16,
    },
    /// More than any kernel has.
    #[error("what `{host}` sends is larger than 256 MiB, which no kernel is")]
    TooLarge {
        /// Who.
        host: String,
    },
    /// It took too long in all.
    #[error("it did not come within an hour")]
    TooSlow,
    /// All of it came, and it is something else. What came is removed.
    #[error("what came has another SHA-256 than the expected one: {actual}")]
    Sum {
        /// What it has.
        actual: Sha256Hex,
    },
    /// Another command fetches the same one.
    #[error("another command is fetching the same kernel")]
    Busy,
    /// Somebody asked for an end. What came is removed.
    #[error("the download was interrupted")]
    Cancelled,
    /// The HTTP library can't be used.
    #[error("HTTP cannot be used")]
    Client(#[source] reqwest::Error),
    /// A thread can't be had.
    #[error("a thread for the download cannot be had")]
    Thread(#[source] std::io::Error),
    /// What came can't be kept.
    #[error(transparent)]
    File(#[from] FsError),
}

impl DownloadError {
    /// What to do now.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Broken { .. } | Self::Short { .. } | Self::TooSlow => Some(
                "check the connection and try again, it goes on from there; or: microagent kernel install --from FILE",
            ),
            Self::Status { .. } => {
                Some("check the address; or: microagent kernel install --from FILE")
            }
            Self::Sum { .. } => Some(
                "nothing is replaced; check the address and the sum that was published with it",
            ),
            Self::TooLarge { .. } => Some("nothing is replaced; check the address"),
            Self::Busy => Some("try again when it is done"),
            _ => None,
        }
    }

    /// Whether what has come is good as far as it goes.
    fn is_of_the_network(&self) -> bool {
        matches!(
            self,
            Self::Broken { .. } | Self::Short { .. } | Self::Status { .. } | Self::TooSlow
        )
    }

    fn is_worth_another_try(&self) -> bool {
        match self {
            Self::Broken { .. } | Self::Short { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }
}

/// How far it is, and whether to go on.
pub trait Watch {
    /// So many bytes are there, of so many when that is known.
    fn at(&mut self, done_bytes: u64, total_bytes: Option<u64>);

    /// Whether somebody asks for an end.
    fn is_cancelled(&self) -> bool;
}

/// What is there of a download. Dropping it removes it, unless another call is to go on from it, and lets others
/// at it.
#[derive(Debug)]
pub(crate) struct Fetched {
    path: PathBuf,
    left: Left,
    _lock: lock::LockFile,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// It was installed, or is no kernel: either way it is of no use here.
    Nothing,
    /// The next call goes on from what is there.
    Part,
}

impl Fetched {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Fetched {
    fn drop(&mut self) {
        if self.left == Left::Nothing {
            // What can't be removed is swept by the next call.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Fetches what has this sum into `folder`, going on from what an earlier call left.
pub(crate) fn fetch(
    folder: &Path,
    url: &KernelUrl,
    expected: Sha256Hex,
    patience: Patience,
    watch: &mut dyn Watch,
) -> Result<Fetched, DownloadError> {
    dirs::ensure_private_all(folder)?;
    let lock = folder.join(LOCK_NAME);
    let lock = match lock::LockFile::acquire(&lock, lock::LockMode::Exclusive, Duration::ZERO) {
        Ok(lock) => lock,
        Err(lock::LockError::Held { .. }) => return Err(DownloadError::Busy),
        Err(lock::LockError::Fs(error)) => return Err(error.into()),
    };
    let path = folder.join(format!("{PART_PREFIX}{expected}"));
    sweep(folder, &path)?;
    drop(fs::open_or_create(&path)?);
    let part = Part {
        url: url.clone(),
        file: fs::open_read_write(&path)?,
        path: path.clone(),
        there: fs::metadata(&path)?.len(),
        total: None,
        patience,
    };
    let mut fetched = Fetched {
        path,
        left: Left::Nothing,
        _lock: lock,
    };
    if let Err(error) = on_a_thread(part, watch) {
        if error.is_of_the_network() && fs::metadata(fetched.path())?.len() > 0 {
            fetched.left = Left::Part;
        }
        return Err(error);
    }
    match crate::hash::sha256_of(fetched.path(), IMAGE_BYTES_MAX)? {
        Some(actual) if actual == expected => Ok(fetched),
        Some(actual) => Err(DownloadError::Sum { actual }),
        None => Err(DownloadError::TooLarge { host: url.host() }),
    }
}

/// Removes what is left of other downloads, which nobody goes on with while the lock is ours.
fn sweep(folder: &Path, own: &Path) -> Result<(), FsError> {
    for entry in fs::list(folder)? {
        let path = folder.join(&entry.name);
        if entry.name.to_string_lossy().starts_with(PART_PREFIX) && path != own {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Has the work done on a thread with a runtime of its own, and watches it from here.
fn on_a_thread(mut part: Part, watch: &mut dyn Watch) -> Result<(), DownloadError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(DownloadError::Thread)?;
    let (tell, told) = sync_channel(REPORTS_MAX);
    let task = runtime.spawn(async move {
        tokio::time::timeout(TOTAL_LIMIT, part.whole(&tell))
            .await
            .unwrap_or(Err(DownloadError::TooSlow))
    });
    let stop = task.abort_handle();
    let thread = std::thread::Builder::new()
        .name("kernel".to_owned())
        .spawn(move || runtime.block_on(task))
        .map_err(DownloadError::Thread)?;
    loop {
        match told.recv_timeout(CANCEL_PAUSE) {
            Ok((done, total)) => watch.at(done, total),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if watch.is_cancelled() {
            stop.abort();
        }
    }
    match thread.join() {
        Ok(Ok(result)) => result,
        // It was aborted.
        Ok(Err(_)) => Err(DownloadError::Cancelled),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

struct Part {
    url: KernelUrl,
    file: File,
    path: PathBuf,
    there: u64,
    total: Option<u64>,
    patience: Patience,
}

type Tell = SyncSender<(u64, Option<u64>)>;

impl Part {
    /// Tries until all is there, or tries bring it no further.
    async fn whole(&mut self, tell: &Tell) -> Result<(), DownloadError> {
        let client = self.client()?;
        let mut tries = 0;
        let mut counted_from = self.there;
        loop {
            let error = match self.attempt(&client, tell, tries + 1).await {
                Ok(()) => return fs::sync_file(&self.file, &self.path).map_err(Into::into),
                Err(error) => error,
            };
            if self.there >= counted_from.saturating_add(PROGRESS_BYTES_MIN) {
                tries = 0;
            }
            counted_from = self.there;
            tries += 1;
            if !error.is_worth_another_try() || tries >= self.patience.tries_max {
                return Err(error);
            }
            tokio::time::sleep(self.patience.pause_first * 2_u32.pow(tries - 1)).await;
        }
    }

    fn client(&self) -> Result<reqwest::Client, DownloadError> {
        // Refused when there is one already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .redirect(reqwest::redirect::Policy::limited(REDIRECTS_MAX))
            .connect_timeout(CONNECT_LIMIT)
            .read_timeout(self.patience.read);
        if self.url.is_loopback() {
            builder = builder.no_proxy();
        }
        builder.build().map_err(DownloadError::Client)
    }

    /// One connection.
    async fn attempt(
        &mut self,
        client: &reqwest::Client,
        tell: &Tell,
        tries: u32,
    ) -> Result<(), DownloadError> {
        let mut question = client.get(self.url.0.clone());
        if self.there > 0 {
            question = question.header(RANGE, format!("bytes={}-", self.there));
        }
        let response = question.send().await;
        let mut response = response.map_err(|error| self.broken(error, tries))?;
        self.place(&response)?;
        loop {
            let chunk = response.chunk().await;
            let Some(chunk) = chunk.map_err(|error| self.broken(error, tries))? else {
                break;
            };
            let there = self.there + chunk.len() as u64;
            if there > IMAGE_BYTES_MAX {
                return Err(self.too_large());
            }
            fs::write_all_at(&self.file, &chunk, self.there)
                .map_err(|error| FsError::new(FsAction::Write, &self.path, error))?;
            self.there = there;
            // A report that nobody takes yet is followed by another.
            let _ = tell.try_send((there, self.total));
        }
        match self.total {
            Some(total) if self.there < total => Err(DownloadError::Short {
                host: self.url.host(),
                there: self.there,
                total,
                tries,
            }),
            _ => Ok(()),
        }
    }

    /// Where the bytes of an answer belong, and how many there are to be.
    fn place(&mut self, response: &Response) -> Result<(), DownloadError> {
        let host = self.url.host();
        let announced = response.content_length();
        match response.status() {
            StatusCode::PARTIAL_CONTENT if starts_at(response) == Some(self.there) => {}
            StatusCode::OK => self.again()?,
            // What is there is all of it, or more than all of it: the sum tells.
            StatusCode::RANGE_NOT_SATISFIABLE if self.there > 0 => {
                self.total = Some(self.there);
                return Ok(());
            }
            status if status.is_success() => {
                self.again()?;
                return Err(DownloadError::Short {
                    host,
                    there: 0,
                    total: announced.unwrap_or_default(),
                    tries: 1,
                });
            }
            status => {
                return Err(DownloadError::Status {
                    host,
                    status: status.as_u16(),
                });
            }
        }
        self.total = announced.map(|rest| self.there.saturating_add(rest));
        if self.total.is_some_and(|total| total > IMAGE_BYTES_MAX) {
            return Err(self.too_large());
        }
        Ok(())
    }

    /// All of it comes again.
    fn again(&mut self) -> Result<(), FsError> {
        self.there = 0;
        fs::set_length(&self.file, &self.path, 0)
    }

    fn broken(&self, source: reqwest::Error, tries: u32) -> DownloadError {
        DownloadError::Broken {
            host: self.url.host(),
            there: self.there,
            tries,
            // The address may hold what nobody else should see.
            source: source.without_url(),
        }
    }

    fn too_large(&self) -> DownloadError {
        DownloadError::TooLarge {
            host: self.url.host(),
        }
    }
}

/// The first byte of a partial answer.
fn starts_at(response: &Response) -> Option<u64> {
    let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    let range = range.trim().strip_prefix("bytes ")?;
    range.split_once('-')?.0.trim().parse().ok()
}

#[cfg(test)]
mod tests;
