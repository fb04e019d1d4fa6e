//! QEMU's control messages, as far as we speak them.

use serde::{Deserialize, Serialize};

/// What we ask.
#[derive(Debug, Serialize)]
pub(crate) struct Command<'a> {
    pub(crate) execute: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) arguments: Option<serde_json::Value>,
    pub(crate) id: u64,
}

/// Any line that QEMU sends. Exactly one of the parts is there; unknown fields are ignored.
#[derive(Debug, Deserialize)]
pub(crate) struct Line {
    #[serde(rename = "QMP")]
    pub(crate) greeting: Option<Greeting>,
    #[serde(rename = "return")]
    pub(crate) success: Option<serde_json::Value>,
    pub(crate) error: Option<Failure>,
    pub(crate) event: Option<String>,
    pub(crate) data: Option<serde_json::Value>,
    pub(crate) id: Option<u64>,
}

/// The first line.
#[derive(Debug, Deserialize)]
pub(crate) struct Greeting {
    pub(crate) version: GreetingVersion,
}

#[derive(Debug, Deserialize)]
pub(crate) struct GreetingVersion {
    pub(crate) qemu: VersionNumbers,
}

#[derive(Debug, Deserialize)]
pub(crate) struct VersionNumbers {
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) micro: u32,
}

/// A refused command.
#[derive(Debug, Deserialize)]
pub(crate) struct Failure {
    pub(crate) class: String,
    pub(crate) desc: String,
}
