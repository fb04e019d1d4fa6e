//! Random bytes and identifiers from the operating system.
//!
//! Never a generator of our own: a boot id that repeats would let a late command hit another boot.

use microagent_types::{BootId, RequestId, WorkspaceId};

use crate::clock;

/// Fills an array with random bytes. Panics when the system has no randomness to give, since
/// nothing may go on with predictable ids.
pub fn bytes<const LENGTH: usize>() -> [u8; LENGTH] {
    let mut bytes = [0u8; LENGTH];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// Sixteen random lower-case hexadecimal digits, for temporary names.
pub fn hex_16() -> String {
    format!("{:016x}", u64::from_be_bytes(bytes()))
}

/// The id of a new workspace. Ids sort by time of making.
pub fn workspace_id() -> WorkspaceId {
    WorkspaceId::from_parts(clock::now().unix_ms(), bytes())
}

/// The id of a new boot. Ids sort by time of making.
pub fn boot_id() -> BootId {
    BootId::from_parts(clock::now().unix_ms(), bytes())
}

/// The id of a request whose caller gave none.
pub fn request_id() -> RequestId {
    format!("r-{}", hex_16())
        .parse()
        .expect("a dash and hexadecimal digits are printable")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ() {
        assert_ne!(workspace_id(), workspace_id());
        assert_ne!(boot_id(), boot_id());
        assert_ne!(request_id(), request_id());
        assert_ne!(bytes::<32>(), bytes::<32>());
    }
}
