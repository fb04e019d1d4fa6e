//! What a process uses, on a host where this build has no way to tell.

use super::{ProcessIdentity, Usage};

/// Nothing is known.
pub fn usage(_identity: &ProcessIdentity) -> Option<Usage> {
    None
}
