//! Images from a registry: found, and fetched while they are read.
//!
//! It is a client of our own over an HTTP library and not a ready-made registry client, because of
//! what it must promise: every answer is read with a bound, redirects are decided here so that no
//! credential follows one to another host, a broken download goes on where it broke, and a server
//! that says "later" is asked again a bounded number of times.
//!
//! Modules in reading order: [`session`] is what callers use; `client` asks one question and
//! follows it through credentials, redirects and retries; `download` brings layers to a
//! [`BlobPlace`]; `endpoint`, `challenge`, `auth_file`, `helper_answer` and `retry` are decisions
//! without a socket; `credentials` and `token` find out who we are; `runtime` is the one thread
//! on which sockets wait.

mod auth_file;
pub mod challenge;
mod client;
mod credentials;
mod download;
mod endpoint;
mod error;
mod options;
mod place;
mod retry;
mod runtime;
pub mod session;
mod token;

pub use download::{DownloadState, Downloads, LayerState};
pub use error::RegistryError;
pub use options::{CredentialFiles, RegistryOptions, Waits};
pub use place::{BlobPlace, Claim, Landing, PlaceError};
pub use session::{RemoteImage, Session};
