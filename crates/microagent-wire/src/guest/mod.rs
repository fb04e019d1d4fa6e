//! What host and guest say to each other over vsock.
//!
//! Two kinds of connection: one `control` connection that the guest dials at boot, whose first answer
//! is the `boot_spec`; and one connection for each session, dialled by the host, whose first frame
//! names a `service`.

pub mod boot_spec;
pub mod control;
pub mod service;

use serde::de::DeserializeOwned;

/// A control payload of a known type, of an unknown one, or no message at all.
#[derive(Debug, Clone, PartialEq)]
pub enum Parsed<T> {
    /// A message of this release.
    Known(T),
    /// A well-formed message whose `type` this release does not know; answered with `unsupported`.
    Unknown(String),
}

/// Why a payload is no message.
#[derive(Debug, thiserror::Error)]
#[error("the peer sent no valid message")]
pub struct MessageError(#[from] serde_json::Error);

#[derive(serde::Deserialize)]
struct Head {
    #[serde(rename = "type")]
    kind: String,
}

/// Reads a control payload whose `type` names the message.
///
/// # Errors
/// When it is no JSON object with a `type`, or a known type with fields that do not fit.
pub fn parse<T: KnownTypes>(payload: &[u8]) -> Result<Parsed<T>, MessageError> {
    let head: Head = serde_json::from_slice(payload)?;
    if !T::TYPES.contains(&head.kind.as_str()) {
        return Ok(Parsed::Unknown(head.kind));
    }
    Ok(Parsed::Known(T::read(&head.kind, payload)?))
}

/// The `type` words of a message enum.
pub trait KnownTypes: DeserializeOwned {
    /// Every word, as in `type`.
    const TYPES: &'static [&'static str];

    /// Reads a payload of this type. A large message may be read without its tag, which saves a copy of
    /// all its fields.
    ///
    /// # Errors
    /// When the fields do not fit the type.
    fn read(_kind: &str, payload: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(payload)
    }
}
