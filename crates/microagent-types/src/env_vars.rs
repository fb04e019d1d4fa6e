//! Every environment variable that the product reads, in one place.
//!
//! A variable that is read somewhere deep inside can't be documented, and nobody finds it. Code asks
//! here by enum; `xtask tidy` compares this list with the reference page.

/// A variable of the host's environment that changes what the product does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EnvVar {
    /// Default of `--state-dir`.
    StateDir,
    /// Default of `--backend` where a backend is chosen.
    Backend,
    /// Supervisor executable of `firecracker`.
    FirecrackerSupervisor,
    /// Supervisor executable of `qemu`.
    QemuSupervisor,
    /// Supervisor executable of `apple-vf`.
    AppleVfSupervisor,
    /// Supervisor executable of `windows-hyperv`.
    HypervSupervisor,
    /// The Firecracker binary.
    Firecracker,
    /// The QEMU binary.
    Qemu,
    /// `on` or `off`: overrides the probe of `/dev/kvm`.
    Kvm,
    /// `required`, `auto` or `off`: whether a VM may start without confinement.
    Confinement,
    /// Log filter.
    Log,
    /// Where programs are looked for.
    Path,
    /// The user's folder, for the default state directory.
    Home,
    /// The user's folder on Windows.
    UserProfile,
    /// Where the short aliases of socket folders lie; registry credentials too.
    XdgRuntimeDir,
    /// Registry credentials of podman and skopeo.
    RegistryAuthFile,
    /// Docker's configuration folder, for registry credentials.
    DockerConfig,
    /// Proxy for HTTPS.
    HttpsProxy,
    /// Proxy for HTTP.
    HttpProxy,
    /// Hosts that need no proxy.
    NoProxy,
    /// Certificate authorities in place of the system's.
    SslCertFile,
    /// Set and not empty: no colour.
    NoColor,
    /// The terminal's kind; `dumb` has no colour.
    Term,
    /// Width for tables when the terminal does not tell.
    Columns,
    /// Language; only passed on.
    Lang,
}

impl EnvVar {
    /// Every variable, for documentation and checks.
    pub const ALL: [Self; 25] = [
        Self::StateDir,
        Self::Backend,
        Self::FirecrackerSupervisor,
        Self::QemuSupervisor,
        Self::AppleVfSupervisor,
        Self::HypervSupervisor,
        Self::Firecracker,
        Self::Qemu,
        Self::Kvm,
        Self::Confinement,
        Self::Log,
        Self::Path,
        Self::Home,
        Self::UserProfile,
        Self::XdgRuntimeDir,
        Self::RegistryAuthFile,
        Self::DockerConfig,
        Self::HttpsProxy,
        Self::HttpProxy,
        Self::NoProxy,
        Self::SslCertFile,
        Self::NoColor,
        Self::Term,
        Self::Columns,
        Self::Lang,
    ];

    /// Its name in the environment.
    pub const fn name(self) -> &'static str {
        match self {
            Self::StateDir => "MICROAGENT_STATE_DIR",
            Self::Backend => "MICROAGENT_BACKEND",
            Self::FirecrackerSupervisor => "MICROAGENT_FIRECRACKER_SUPERVISOR",
            Self::QemuSupervisor => "MICROAGENT_QEMU_SUPERVISOR",
            Self::AppleVfSupervisor => "MICROAGENT_APPLEVF_SUPERVISOR",
            Self::HypervSupervisor => "MICROAGENT_HYPERV_SUPERVISOR",
            Self::Firecracker => "MICROAGENT_FIRECRACKER",
            Self::Qemu => "MICROAGENT_QEMU",
            Self::Kvm => "MICROAGENT_KVM",
            Self::Confinement => "MICROAGENT_CONFINEMENT",
            Self::Log => "MICROAGENT_LOG",
            Self::Path => "PATH",
            Self::Home => "HOME",
            Self::UserProfile => "USERPROFILE",
            Self::XdgRuntimeDir => "XDG_RUNTIME_DIR",
            Self::RegistryAuthFile => "REGISTRY_AUTH_FILE",
            Self::DockerConfig => "DOCKER_CONFIG",
            Self::HttpsProxy => "HTTPS_PROXY",
            Self::HttpProxy => "HTTP_PROXY",
            Self::NoProxy => "NO_PROXY",
            Self::SslCertFile => "SSL_CERT_FILE",
            Self::NoColor => "NO_COLOR",
            Self::Term => "TERM",
            Self::Columns => "COLUMNS",
            Self::Lang => "LANG",
        }
    }

    /// Its value; `None` when it is unset, empty or not UTF-8.
    pub fn read(self) -> Option<String> {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the one door to the environment"
        )]
        std::env::var(self.name())
            .ok()
            .filter(|value| !value.is_empty())
    }

    /// The supervisor override of one backend.
    pub const fn supervisor_of(backend: crate::BackendName) -> Self {
        match backend {
            crate::BackendName::Firecracker => Self::FirecrackerSupervisor,
            crate::BackendName::Qemu => Self::QemuSupervisor,
            crate::BackendName::AppleVf => Self::AppleVfSupervisor,
            crate::BackendName::WindowsHyperv => Self::HypervSupervisor,
        }
    }
}

/// The value of a variable that a user named, for `--env NAME`; unlike [`EnvVar::read`] an empty value
/// is a value.
pub fn read_named(name: &crate::EnvName) -> Option<String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one door to the environment"
    )]
    std::env::var(name.as_str()).ok()
}
