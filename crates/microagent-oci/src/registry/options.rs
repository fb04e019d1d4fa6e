//! What a caller may set about registries.

use std::{path::PathBuf, time::Duration};

use microagent_types::{RegistryHost, env_vars::EnvVar};

/// How to speak to registries.
#[derive(Debug, Clone)]
pub struct RegistryOptions {
    /// Registries that may be asked over plain HTTP, or with a certificate that nobody vouches for.
    pub insecure: Vec<RegistryHost>,
    /// Where credentials are looked for.
    pub credentials: CredentialFiles,
    /// The bounds of waiting.
    pub waits: Waits,
    /// Layers that are fetched at once.
    pub downloads_max: usize,
}

impl RegistryOptions {
    /// What the environment of this process says, and the usual bounds.
    pub fn from_environment() -> Self {
        Self {
            insecure: Vec::new(),
            credentials: CredentialFiles::from_environment(),
            waits: Waits::ORDINARY,
            downloads_max: DOWNLOADS_MAX,
        }
    }
}

/// Layers that are fetched at once unless there is a reason.
const DOWNLOADS_MAX: usize = 4;

/// The files that are looked through for credentials, first to last.
#[derive(Debug, Clone, Default)]
pub struct CredentialFiles {
    /// A file that was named; it must be there.
    pub named: Option<PathBuf>,
    /// Files that may be there.
    pub usual: Vec<PathBuf>,
    /// Where credential helpers are looked for.
    pub search_path: Option<String>,
}

impl CredentialFiles {
    /// Podman's and Docker's, as this process's environment has them.
    pub fn from_environment() -> Self {
        let home = EnvVar::Home.read().or_else(|| EnvVar::UserProfile.read());
        let podman = EnvVar::XdgRuntimeDir
            .read()
            .map(|folder| PathBuf::from(folder).join("containers/auth.json"));
        let docker = EnvVar::DockerConfig
            .read()
            .map(PathBuf::from)
            .or_else(|| home.map(|home| PathBuf::from(home).join(".docker")))
            .map(|folder| folder.join("config.json"));
        Self {
            named: EnvVar::RegistryAuthFile.read().map(PathBuf::from),
            usual: podman.into_iter().chain(docker).collect(),
            search_path: EnvVar::Path.read(),
        }
    }
}

/// The bounds of waiting and of trying again.
#[derive(Debug, Clone, Copy)]
pub struct Waits {
    /// Until a connection stands.
    pub connect: Duration,
    /// Until the next bytes of an answer.
    pub read: Duration,
    /// Tries of one question; for a download, tries that bring it no further.
    pub tries_max: u32,
    /// Before the second try; doubled before each further one.
    pub pause_first: Duration,
    /// The longest pause, also when a registry asks for more.
    pub pause_max: Duration,
}

impl Waits {
    /// What is used unless there is a reason.
    pub const ORDINARY: Self = Self {
        connect: Duration::from_secs(10),
        read: Duration::from_secs(30),
        tries_max: 5,
        pause_first: Duration::from_millis(300),
        pause_max: Duration::from_secs(20),
    };
}
