//! Why an image can't be had, and what a person can do about it.

use crate::error::WorkspaceError;
use crate::interrupt::Interrupt;
use microagent_rootfs::{OciError, RegistryError, RootfsError};
use microagent_types::ImageSource;
use microagent_wire::fault::{Fault, FaultKind};

/// Why an image is not ready.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// It could not be read or built.
    #[error(transparent)]
    Build(#[from] RootfsError),
    /// It was removed each time before it could be used.
    #[error("the image is removed by others as fast as it is made")]
    Vanished,
    /// No image is made for this processor.
    #[error("this processor runs no guests")]
    NoArch,
}

impl ImageError {
    pub(crate) fn kind(&self) -> FaultKind {
        match self {
            Self::NoArch => FaultKind::Unsupported,
            Self::Vanished => FaultKind::Busy,
            Self::Build(error) => kind_of_build_error(error),
        }
    }

    pub(crate) fn hint(&self, image: &str) -> Option<String> {
        match self {
            Self::Build(RootfsError::Source(OciError::TagNeeded { available })) => Some(format!(
                "add one of them after a colon: {}",
                available.join(", ")
            )),
            Self::Build(RootfsError::Source(
                OciError::TagMissing { available, .. } | OciError::NoPlatform { available, .. },
            )) => Some(format!("there is: {}", available.join(", "))),
            Self::Build(RootfsError::Source(error)) if error.registry().is_some() => {
                error.registry().map(|error| registry_hint(error, image))
            }
            Self::Build(RootfsError::OutputTaken { .. }) => {
                Some("name another file, or replace it: --force".to_owned())
            }
            Self::Build(RootfsError::SizeOfStored) => {
                Some("name the folder or archive that it came from in its place".to_owned())
            }
            Self::Build(RootfsError::TooSmall { needed, .. }) => {
                Some(format!("--size {}M", needed.mib_ceil()))
            }
            Self::Build(RootfsError::NotStored { .. }) => Some(format!(
                "look at what is stored: microagent image list; or fetch it: microagent image pull {image}"
            )),
            Self::Build(error) if error.is_out_of_space() => {
                Some("microagent image prune --all, or another place: --state-dir DIR".to_owned())
            }
            Self::Build(error) if error.is_integrity() => {
                Some("fetch or export the image again; nothing of it was kept".to_owned())
            }
            Self::Build(error) if error.is_beyond_limits() => Some(
                "put what is so much into an archive within the image, or onto a disk of its own: --disk"
                    .to_owned(),
            ),
            Self::Build(_) | Self::NoArch | Self::Vanished => None,
        }
    }

    /// Says of missing room, and of a registry's answer, what a person needs, in place of what was being prepared.
    pub(crate) fn word(&self, image: &str, fault: &mut Fault) {
        if let Self::Build(error @ RootfsError::NoRoom { .. }) = self {
            fault.message = error.to_string();
            fault.cause.clear();
            return;
        }
        let Self::Build(RootfsError::Source(error)) = self else {
            return;
        };
        match error.registry() {
            Some(RegistryError::NotFound { .. }) => {
                fault.message = format!(
                    "image `{image}` does not exist, or may not be read without credentials"
                );
                fault.cause.clear();
            }
            Some(_) => fault.message = format!("cannot pull `{image}`"),
            None => {}
        }
    }

    /// Whether a signal ended the work.
    pub(crate) fn is_cancelled(&self) -> bool {
        matches!(self, Self::Build(error) if error.is_cancelled())
    }

    /// The error of a use case that needed the image.
    pub(crate) fn of(self, image: &ImageSource, interrupt: &Interrupt) -> WorkspaceError {
        match interrupt.requested() {
            Some(signal) if self.is_cancelled() => WorkspaceError::Interrupted { signal },
            _ => WorkspaceError::Image {
                image: image.to_string(),
                source: self,
            },
        }
    }
}

fn registry_hint(error: &RegistryError, image: &str) -> String {
    match error {
        RegistryError::NotFound { .. } => {
            "check the spelling; for a private image log in with docker or podman, microagent uses their credentials"
        }
        RegistryError::Denied { .. } | RegistryError::CredentialsRefused { .. } => {
            "log in again with docker or podman, microagent uses their credentials"
        }
        RegistryError::AuthFile { .. } | RegistryError::Helper { .. } => {
            "mend the login file, or name another: REGISTRY_AUTH_FILE=FILE"
        }
        RegistryError::Certificate { .. } => {
            return "name the authority's file: SSL_CERT_FILE=FILE; or allow it unchecked: --insecure-registry HOST"
                .to_owned();
        }
        RegistryError::RateLimited { .. } => {
            "wait a while; logged in with docker or podman there may be a higher limit"
        }
        error if error.is_unavailable() => {
            "check the network connection, then run the command again"
        }
        error if error.is_integrity() => {
            return format!("nothing of it was kept; try again: microagent image pull {image}");
        }
        _ => "run the command again with -vv for the details",
    }
    .to_owned()
}

fn kind_of_registry_error(error: &RegistryError) -> FaultKind {
    match error {
        RegistryError::NotFound { .. } => FaultKind::NotFound,
        RegistryError::Certificate { .. } => FaultKind::Denied,
        error if error.is_denied() => FaultKind::Denied,
        error if error.is_unavailable() => FaultKind::Unavailable,
        error if error.is_integrity() => FaultKind::Integrity,
        RegistryError::Place(error) => crate::error::kind_of_file_error(&error.0),
        RegistryError::Thread(_) | RegistryError::Client(_) => FaultKind::Internal,
        _ => FaultKind::Unsupported,
    }
}

fn kind_of_build_error(error: &RootfsError) -> FaultKind {
    match error {
        _ if error.is_cancelled() => FaultKind::Interrupted,
        _ if error.is_out_of_space() => FaultKind::Resource,
        _ if error.is_integrity() => FaultKind::Integrity,
        _ if error.is_beyond_limits() => FaultKind::Unsupported,
        RootfsError::Source(source) => match source {
            source if source.registry().is_some() => source
                .registry()
                .map_or(FaultKind::Internal, kind_of_registry_error),
            OciError::SourceMissing { .. }
            | OciError::BlobMissing { .. }
            | OciError::TagMissing { .. }
            | OciError::NoPlatform { .. }
            | OciError::Empty => FaultKind::NotFound,
            OciError::TagNeeded { .. } | OciError::SourceKind { .. } => FaultKind::Usage,
            OciError::MediaType { .. } => FaultKind::Unsupported,
            OciError::File(error) => crate::error::kind_of_file_error(error),
            _ => FaultKind::Integrity,
        },
        RootfsError::NotStored { .. } => FaultKind::NotFound,
        RootfsError::OutputTaken { .. } => FaultKind::Conflict,
        RootfsError::SizeOfStored => FaultKind::Usage,
        RootfsError::Ambiguous { .. } => FaultKind::Usage,
        RootfsError::TooSmall { .. } | RootfsError::NoSpace { .. } => FaultKind::Resource,
        RootfsError::Cache(error) => crate::error::kind_of_file_error(error),
        RootfsError::CacheFolder(_) => FaultKind::Denied,
        RootfsError::Locked(_) | RootfsError::InUse { .. } => FaultKind::Busy,
        _ => FaultKind::Internal,
    }
}
