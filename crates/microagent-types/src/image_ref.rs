//! What an image is called and where it comes from.
//!
//! `debian:12` is a registry reference, `oci:./image` a folder; a word that is neither is refused with
//! the prefix that would fit, so nobody waits for a registry to say that `./image` does not exist.

use crate::Digest;
use crate::text_form::{InvalidText, checked_string, text_form};
use std::fmt;

/// A registry reference with every default filled in: `docker.io/library/debian:12`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageRef {
    registry: String,
    repository: String,
    tag: Option<ImageTag>,
    digest: Option<Digest>,
}

/// A tag: `[A-Za-z0-9_][A-Za-z0-9._-]{0,127}` (OCI distribution specification).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageTag(String);

impl ImageTag {
    fn parse_text(text: &str) -> Result<Self, InvalidText> {
        let begins = text
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
        let known = text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if begins && known && text.len() <= 128 {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidText::new(
            "a tag",
            text,
            "use 1 to 128 letters, digits, `_`, `.` and `-`",
        ))
    }
}

checked_string!(ImageTag);

const REPOSITORY_BYTES_MAX: usize = 255;
const DEFAULT_REGISTRY: &str = "docker.io";

impl ImageRef {
    /// Host, and port where one was given.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository, `library/debian`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; `latest` when neither tag nor digest was given.
    pub fn tag(&self) -> Option<&ImageTag> {
        self.tag.as_ref()
    }

    /// The same name without a digest.
    #[must_use]
    pub fn without_digest(&self) -> Self {
        Self {
            digest: None,
            ..self.clone()
        }
    }

    /// The digest, when the reference is pinned to one; it wins over the tag.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    fn parse_text(text: &str) -> Result<Self, InvalidText> {
        let invalid = || {
            InvalidText::new(
                "an image reference",
                text,
                "write NAME[:TAG], HOST/NAME[:TAG] or NAME@sha256:…; a file needs a prefix such as oci: or rootfs:",
            )
        };
        if text.starts_with(['.', '/']) {
            return Err(invalid());
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse::<Digest>().map_err(|_| invalid())?)),
            None => (text, None),
        };
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => {
                (path, Some(tag.parse::<ImageTag>().map_err(|_| invalid())?))
            }
            _ => (rest, None),
        };
        let (registry, repository) = match path.split_once('/') {
            Some((host, repository)) if is_host(host) => (host, repository.to_owned()),
            _ if path.contains('/') => (DEFAULT_REGISTRY, path.to_owned()),
            _ => (DEFAULT_REGISTRY, format!("library/{path}")),
        };
        let registry = if registry == "index.docker.io" {
            DEFAULT_REGISTRY
        } else {
            registry
        };
        let repository = if registry == DEFAULT_REGISTRY && !repository.contains('/') {
            format!("library/{repository}")
        } else {
            repository
        };
        if repository.len() > REPOSITORY_BYTES_MAX || !repository.split('/').all(is_path_component)
        {
            return Err(invalid());
        }
        let tag = match (&tag, &digest) {
            (None, None) => Some(ImageTag("latest".to_owned())),
            _ => tag,
        };
        Ok(Self {
            registry: registry.to_owned(),
            repository,
            tag,
            digest,
        })
    }
}

/// A registry as a user names one: `HOST[:PORT]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegistryHost(String);

impl RegistryHost {
    fn parse_text(text: &str) -> Result<Self, InvalidText> {
        let fits = is_host(text) || (!text.contains(':') && is_host(&format!("{text}:1")));
        if fits {
            return Ok(Self(text.to_ascii_lowercase()));
        }
        Err(InvalidText::new(
            "a registry",
            text,
            "write HOST or HOST:PORT, without https://",
        ))
    }
}

checked_string!(RegistryHost);

/// A first component is a host when it holds a dot or a port, or is `localhost`: Docker's rule.
fn is_host(component: &str) -> bool {
    let (name, port) = match component.rsplit_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (component, None),
    };
    let looks = name == "localhost" || name.contains('.') || port.is_some();
    let plain = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b".-".contains(&b));
    let port_fits = port.is_none_or(|port| port.parse::<crate::GuestPort>().is_ok());
    looks && plain && !name.is_empty() && port_fits
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` of the OCI distribution specification.
fn is_path_component(component: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    if !bytes.first().is_some_and(alphanumeric) || !bytes.last().is_some_and(alphanumeric) {
        return false;
    }
    component
        .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .all(|gap| matches!(gap, "" | "." | "_" | "__") || gap.bytes().all(|byte| byte == b'-'))
}

impl fmt::Display for ImageRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(formatter, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(formatter, "@{digest}")?;
        }
        Ok(())
    }
}

text_form!(ImageRef);

/// Everything that can be said in place of IMAGE.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ImageSource {
    /// A registry, or the local store when the reference is known there.
    Registry(ImageRef),
    /// A stored image by the first digits of its digest, at least twelve.
    Stored {
        /// 12 to 64 lower-case hexadecimal digits.
        prefix: String,
    },
    /// An OCI layout folder.
    OciLayout {
        /// The folder, as typed.
        path: String,
        /// Which of its images; may be left out when there is one.
        tag: Option<String>,
    },
    /// The same as one tar file.
    OciArchive {
        /// The file, as typed.
        path: String,
        /// Which of its images.
        tag: Option<String>,
    },
    /// What `docker save` writes.
    DockerArchive {
        /// The file, as typed.
        path: String,
        /// Which of its images: `tag` or `repository:tag`.
        tag: Option<String>,
    },
    /// A root filesystem tarball, plain, gzip or zstd; it has no configuration.
    RootfsTar {
        /// The file, as typed.
        path: String,
    },
}

/// Fewest digits of a stored image's digest that name it.
const DIGEST_PREFIX_DIGITS_MIN: usize = 12;

impl ImageSource {
    /// The word that records and JSON use for the kind of source.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Registry(_) | Self::Stored { .. } => "registry",
            Self::OciLayout { .. } => "oci",
            Self::OciArchive { .. } => "oci_archive",
            Self::DockerArchive { .. } => "docker_archive",
            Self::RootfsTar { .. } => "rootfs",
        }
    }

    /// The file or folder of this host, where there is one.
    pub fn host_path(&self) -> Option<&str> {
        match self {
            Self::Registry(_) | Self::Stored { .. } => None,
            Self::OciLayout { path, .. }
            | Self::OciArchive { path, .. }
            | Self::DockerArchive { path, .. }
            | Self::RootfsTar { path } => Some(path),
        }
    }

    /// For a refused word that looks like a path: the word with the prefix that would fit.
    pub fn suggest(text: &str) -> Option<String> {
        let tarball = [".tar", ".tar.gz", ".tgz", ".tar.zst"]
            .iter()
            .any(|end| text.ends_with(end));
        match (tarball, text.starts_with(['.', '/'])) {
            (true, _) => Some(format!("rootfs:{text}")),
            (false, true) => Some(format!("oci:{text}")),
            (false, false) => None,
        }
    }

    fn parse_text(text: &str) -> Result<Self, InvalidText> {
        let source = |rest: &str| Some(split_tag(rest)).filter(|(path, _)| !path.is_empty());
        let empty = || InvalidText::new("an image source", text, "a path stands after the prefix");
        if let Some(rest) = text.strip_prefix("oci:") {
            let (path, tag) = source(rest).ok_or_else(empty)?;
            return Ok(Self::OciLayout { path, tag });
        }
        if let Some(rest) = text.strip_prefix("oci-archive:") {
            let (path, tag) = source(rest).ok_or_else(empty)?;
            return Ok(Self::OciArchive { path, tag });
        }
        if let Some(rest) = text.strip_prefix("docker-archive:") {
            let (path, tag) = source(rest).ok_or_else(empty)?;
            return Ok(Self::DockerArchive { path, tag });
        }
        if let Some(path) = text.strip_prefix("rootfs:") {
            if path.is_empty() {
                return Err(empty());
            }
            return Ok(Self::RootfsTar {
                path: path.to_owned(),
            });
        }
        if let Some(prefix) = text.strip_prefix("sha256:") {
            let hex = prefix
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            if hex && (DIGEST_PREFIX_DIGITS_MIN..=64).contains(&prefix.len()) {
                return Ok(Self::Stored {
                    prefix: prefix.to_owned(),
                });
            }
            return Err(InvalidText::new(
                "the digest of a stored image",
                text,
                "12 to 64 hexadecimal digits are expected",
            ));
        }
        if Self::suggest(text).is_some() {
            return Err(InvalidText::new(
                "an image reference",
                text,
                "a file or folder needs a prefix: oci:, oci-archive:, docker-archive: or rootfs:",
            ));
        }
        ImageRef::parse_text(text).map(Self::Registry)
    }
}

/// Splits `PATH[:TAG]`. A tag of an archive may hold slashes and colons itself (`team/tool:1`), so it
/// begins behind the file's `.tar`; otherwise it begins behind the last folder, and a colon within a
/// folder's name stays with the path.
fn split_tag(rest: &str) -> (String, Option<String>) {
    let behind_archive = rest.find(".tar:").map(|at| at + ".tar".len());
    let behind_folder = || {
        let name_start = rest.rfind('/').map_or(0, |at| at + 1);
        rest[name_start..].find(':').map(|at| name_start + at)
    };
    match behind_archive.or_else(behind_folder) {
        Some(at) => (
            rest[..at].to_owned(),
            Some(rest[at + 1..].to_owned()).filter(|tag| !tag.is_empty()),
        ),
        None => (rest.to_owned(), None),
    }
}

impl fmt::Display for ImageSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (prefix, path, tag) = match self {
            Self::Registry(reference) => return fmt::Display::fmt(reference, formatter),
            Self::Stored { prefix } => return write!(formatter, "sha256:{prefix}"),
            Self::OciLayout { path, tag } => ("oci", path, tag),
            Self::OciArchive { path, tag } => ("oci-archive", path, tag),
            Self::DockerArchive { path, tag } => ("docker-archive", path, tag),
            Self::RootfsTar { path } => ("rootfs", path, &None),
        };
        write!(formatter, "{prefix}:{path}")?;
        match tag {
            Some(tag) => write!(formatter, ":{tag}"),
            // A path that would lose its end to a tag ends with the colon of an empty one.
            None if prefix != "rootfs" && split_tag(path).0 != *path => formatter.write_str(":"),
            None => Ok(()),
        }
    }
}

text_form!(ImageSource);

#[cfg(test)]
mod tests {
    use super::{ImageRef, ImageSource};

    #[test]
    fn defaults_are_filled_in_as_docker_does() {
        for (text, full) in [
            ("debian", "docker.io/library/debian:latest"),
            ("debian:12", "docker.io/library/debian:12"),
            ("team/tool:1", "docker.io/team/tool:1"),
            ("docker.io/debian", "docker.io/library/debian:latest"),
            ("index.docker.io/team/tool", "docker.io/team/tool:latest"),
            ("ghcr.io/org/app:1", "ghcr.io/org/app:1"),
            ("localhost/app", "localhost/app:latest"),
            ("127.0.0.1:5000/a/b:x", "127.0.0.1:5000/a/b:x"),
        ] {
            assert_eq!(
                text.parse::<ImageRef>().unwrap().to_string(),
                full,
                "{text}"
            );
        }
    }

    #[test]
    fn a_source_without_a_path_is_refused_and_one_with_colons_says_itself_again() {
        for text in [
            "oci:",
            "oci::",
            "oci::x",
            "oci-archive::1",
            "docker-archive:",
        ] {
            assert!(text.parse::<ImageSource>().is_err(), "{text}");
        }
        for (text, path, tag) in [
            ("oci:a:.tar:", "a:.tar", None),
            ("oci:a:", "a", None),
            ("oci:a::", "a", Some(":")),
            ("oci:a.tar:b.tar:c", "a.tar", Some("b.tar:c")),
            ("oci:x:/y", "x:/y", None),
        ] {
            let source: ImageSource = text.parse().unwrap();
            let expected = ImageSource::OciLayout {
                path: path.to_owned(),
                tag: tag.map(str::to_owned),
            };
            assert_eq!(source, expected, "{text}");
            assert_eq!(source.to_string().parse(), Ok(source), "{text}");
        }
    }

    #[test]
    fn a_digest_needs_no_tag() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let image: ImageRef = format!("debian@{digest}").parse().unwrap();
        assert_eq!(image.tag(), None);
        assert_eq!(
            image.to_string(),
            format!("docker.io/library/debian@{digest}")
        );
        assert!("debian@sha256:12".parse::<ImageRef>().is_err());
    }

    #[test]
    fn what_no_registry_would_take_is_refused() {
        for text in [
            "", "Debian", "a//b", "a/../b", "-a", "a:", "a: b", "./a", "/a", "a_-b", "ghcr.io/",
        ] {
            assert!(text.parse::<ImageRef>().is_err(), "{text}");
        }
    }

    #[test]
    fn sources_read_back() {
        for text in [
            "oci:./image",
            "oci:./image:v1",
            "oci-archive:image.tar",
            "docker-archive:tool.tar:tool:1",
            "rootfs:/tmp/a.tar.gz",
            "sha256:0123456789ab",
            "docker.io/library/debian:12",
        ] {
            assert_eq!(
                text.parse::<ImageSource>().unwrap().to_string(),
                text,
                "{text}"
            );
        }
    }

    #[test]
    fn a_colon_in_a_folder_is_not_a_tag() {
        let source: ImageSource = "oci:/a:b/image".parse().unwrap();
        assert_eq!(
            source,
            ImageSource::OciLayout {
                path: "/a:b/image".into(),
                tag: None
            }
        );
    }

    #[test]
    fn the_tag_of_an_archive_may_hold_slashes_and_colons() {
        let source: ImageSource = "docker-archive:./out/tool.tar:team/tool:1".parse().unwrap();
        let (path, tag) = ("./out/tool.tar".to_owned(), Some("team/tool:1".to_owned()));
        assert_eq!(source, ImageSource::DockerArchive { path, tag });
    }

    #[test]
    fn a_path_without_a_prefix_is_refused_and_gets_one_suggested() {
        for (text, hint) in [
            ("./image", "oci:./image"),
            ("base.tar", "rootfs:base.tar"),
            ("/x/y.tgz", "rootfs:/x/y.tgz"),
        ] {
            assert!(text.parse::<ImageSource>().is_err());
            assert_eq!(ImageSource::suggest(text).as_deref(), Some(hint));
        }
        assert_eq!(ImageSource::suggest("debian"), None);
    }

    #[test]
    fn a_short_digest_is_refused() {
        assert!("sha256:0123".parse::<ImageSource>().is_err());
        assert!("sha256:0123456789AB".parse::<ImageSource>().is_err());
    }
}
