//! The id of a file system: made from what is in it, so that equal content has equal bytes.

use microagent_ext4::Identity;
use microagent_types::Digest;
use sha2::{Digest as _, Sha256};

use crate::cache_key::BUILDER;

/// The identity of the disk of the image `digest`.
pub(crate) fn of_image(digest: Digest) -> Identity {
    let mut hash = Sha256::new();
    hash.update(b"microagent disk ");
    hash.update(BUILDER.as_bytes());
    hash.update(digest.hash().as_bytes());
    let mut uuid: [u8; 16] = hash.finalize()[..16]
        .try_into()
        .expect("a SHA-256 has 32 bytes");
    // Marked as a UUID of the kind that its maker defines.
    uuid[6] = uuid[6] & 0x0f | 0x80;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    Identity { uuid, created: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_images_have_equal_ids_and_others_do_not() {
        let digest = |byte: char| {
            format!("sha256:{}", byte.to_string().repeat(64))
                .parse()
                .unwrap()
        };
        assert_eq!(of_image(digest('0')), of_image(digest('0')));
        assert_ne!(of_image(digest('0')), of_image(digest('1')));
    }
}
