//! What every record begins with, whatever else is in it.

use serde::Deserialize;
use serde_json::Value;

/// The part that is read first: it says who can read the rest.
#[derive(Deserialize)]
pub(crate) struct Head {
    /// The record's schema; anything may stand there.
    pub(crate) schema: Option<Value>,
}
