//! Why a registry gave no image.
//!
//! No message holds a credential or the query of an address: the HTTP library's own errors are
//! stripped of theirs before they are kept.

use std::{path::PathBuf, time::Duration};

use microagent_types::Digest;
use thiserror::Error;

use super::place::PlaceError;

/// A question to a registry failed. Every variant names whom was asked, or for what.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// It is not there, or is kept from those without credentials; registries do not say which.
    #[error("`{reference}` does not exist, or may not be read without credentials")]
    NotFound {
        /// What was asked for.
        reference: String,
    },
    /// There were credentials and they do not suffice.
    #[error("the credentials for `{registry}` do not allow reading `{reference}`")]
    Denied {
        /// Who refused.
        registry: String,
        /// What was asked for.
        reference: String,
    },
    /// The credentials themselves were refused.
    #[error("`{registry}` refused the credentials (status {status})")]
    CredentialsRefused {
        /// Whose credentials.
        registry: String,
        /// What was answered.
        status: u16,
    },
    /// No connection, or one that broke.
    #[error("`{host}` did not answer")]
    Unreachable {
        /// Who.
        host: String,
        /// What the network says.
        source: reqwest::Error,
    },
    /// The certificate is not one that this host trusts.
    #[error("the certificate of `{host}` is not trusted")]
    Certificate {
        /// Whose.
        host: String,
        /// What is wrong with it.
        source: reqwest::Error,
    },
    /// Nothing came for too long.
    #[error("`{host}` sent nothing for {} s", limit.as_secs())]
    Stalled {
        /// Who.
        host: String,
        /// How long was waited.
        limit: Duration,
    },
    /// It asks to be left alone for now.
    #[error("`{host}` asks for fewer requests (status 429)")]
    RateLimited {
        /// Who.
        host: String,
        /// When it wants to be asked again.
        after: Option<Duration>,
    },
    /// An answer that is neither a yes nor a known no.
    #[error("`{host}` answered with status {status}{}", message.as_ref().map(|m| format!(": {m}")).unwrap_or_default())]
    Status {
        /// Who.
        host: String,
        /// The number.
        status: u16,
        /// What it says about it, escaped and cut.
        message: Option<String>,
    },
    /// The answer ended before its end.
    #[error("`{host}` ended its answer after {there} of {expected} bytes")]
    Broken {
        /// Who.
        host: String,
        /// Bytes so far.
        there: u64,
        /// Bytes promised.
        expected: u64,
    },
    /// A document is larger than any honest one.
    #[error("`{host}` sent a document of more than {limit_bytes} bytes")]
    DocumentTooLarge {
        /// Who.
        host: String,
        /// The limit.
        limit_bytes: u64,
    },
    /// It sends us to where we do not go.
    #[error("`{host}` redirects to {to}")]
    Redirect {
        /// Who.
        host: String,
        /// Where to, without its query, or what is wrong with it.
        to: String,
    },
    /// It asks for credentials in a way that we do not know.
    #[error("`{host}` asks for credentials in an unknown way")]
    Challenge {
        /// Who.
        host: String,
    },
    /// What gives tokens gave none.
    #[error("`{host}` gave no token")]
    NoToken {
        /// Who.
        host: String,
    },
    /// The bytes are not those of the digest.
    #[error("`{blob}` is damaged: its SHA-256 is {found}, expected was {expected}")]
    DigestMismatch {
        /// Which.
        blob: String,
        /// What was promised.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// The length is not the promised one.
    #[error("`{blob}` is damaged: it has {found} bytes, expected were {expected}")]
    SizeMismatch {
        /// Which.
        blob: String,
        /// What was promised.
        expected: u64,
        /// What came, or what the registry says will come.
        found: u64,
    },
    /// The image promises more bytes than one may have.
    #[error("the layers have {bytes} bytes in all, and the limit is {limit_bytes}")]
    TooLarge {
        /// What it promises.
        bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// A file with credentials can't be used.
    #[error("cannot use the credentials in `{}`: {problem}", path.display())]
    AuthFile {
        /// Which.
        path: PathBuf,
        /// What is wrong, without any of its content.
        problem: String,
    },
    /// A credential helper can't be used.
    #[error("the credential helper `{helper}` {problem}")]
    Helper {
        /// Which program.
        helper: String,
        /// What is wrong.
        problem: String,
    },
    /// The bytes could not be kept.
    #[error("cannot keep what was fetched")]
    Place(#[from] PlaceError),
    /// The HTTP library could not be set up.
    #[error("cannot prepare for HTTPS")]
    Client(#[source] reqwest::Error),
    /// The thread on which sockets wait could not be started.
    #[error("cannot start the thread that speaks to registries")]
    Thread(#[source] std::io::Error),
}

impl RegistryError {
    /// True when bytes are not what was promised.
    pub fn is_integrity(&self) -> bool {
        matches!(
            self,
            Self::DigestMismatch { .. }
                | Self::SizeMismatch { .. }
                | Self::DocumentTooLarge { .. }
                | Self::TooLarge { .. }
        )
    }

    /// True when the same question may be answered later.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Stalled { .. }
            | Self::RateLimited { .. }
            | Self::Broken { .. } => true,
            Self::Status { status, .. } => *status >= 500,
            _ => false,
        }
    }

    /// True when credentials are missing, wrong or unusable.
    pub fn is_denied(&self) -> bool {
        matches!(
            self,
            Self::Denied { .. }
                | Self::CredentialsRefused { .. }
                | Self::AuthFile { .. }
                | Self::Helper { .. }
        )
    }
}
