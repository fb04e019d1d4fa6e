//! Image references as people type them.

/// A reference without the parts that are the default: `debian:12`.
pub(crate) fn short_image(reference: &str) -> String {
    let short = reference
        .strip_prefix("docker.io/library/")
        .or_else(|| reference.strip_prefix("docker.io/"));
    short.unwrap_or(reference).to_owned()
}

#[cfg(test)]
mod tests {
    use super::short_image;

    #[test]
    fn only_defaults_are_left_out() {
        assert_eq!(short_image("docker.io/library/debian:12"), "debian:12");
        assert_eq!(short_image("docker.io/team/app:1"), "team/app:1");
        assert_eq!(short_image("ghcr.io/team/app:1"), "ghcr.io/team/app:1");
        assert_eq!(short_image("oci:./image"), "oci:./image");
    }
}
