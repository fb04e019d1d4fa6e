//! An ext4 image before an outside judge. It must not repair anything.

use crate::image::Tool;
use anyhow::{Context, Result};
use std::path::Path;

/// Fails with the judge's words unless the image is clean.
pub fn clean(image: &Path) -> Result<()> {
    Tool::new("e2fsck")
        .args(["-f", "-n"])
        .arg(image)
        .ok()
        .with_context(|| format!("`{}` is not a clean ext4 image", image.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_not_a_clean_image() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        std::fs::write(&path, vec![7; 1 << 20]).unwrap();
        clean(&path).unwrap_err();
        Tool::new("mke2fs")
            .args(["-q", "-F", "-t", "ext4"])
            .arg(&path)
            .arg("1024")
            .ok()
            .unwrap();
        clean(&path).unwrap();
    }
}
