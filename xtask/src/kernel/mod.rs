//! `cargo xtask kernel [BACKEND] [ARCH]`: the guest kernel, built from Debian's source package.
//!
//! A kernel takes minutes to build and changes rarely, so a finished one lives in the cache under
//! the hash of its source version and configuration, and later calls only say where it is. The
//! chore removes the trouble of options that the resolver drops without a word: the finished
//! configuration is compared with what was asked for and with `required.toml`.
//!
//! ```text
//! fragments ──merge──► key ──► in the cache? ──yes──► path
//!                                   │ no
//!                    unpack source, resolve, compare, build, strip, rename into the cache
//! ```
//!
//! It must not know what a workspace is, and it never edits the fragments.

mod build;
mod fragments;
mod required;
mod source;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::places::Places;

/// Arguments of the chore.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The backend whose kernel is wanted
    #[arg(default_value = "qemu")]
    backend: Backend,
    /// The guest's architecture; this host's when left out
    arch: Option<Arch>,
}

/// A backend that has a kernel fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    /// QEMU's `microvm` machine.
    Qemu,
    /// Firecracker.
    Firecracker,
}

impl Backend {
    /// Every backend whose kernel this chore builds.
    pub(crate) const ALL: [Self; 2] = [Self::Qemu, Self::Firecracker];

    /// Its name in paths and messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Qemu => "qemu",
            Self::Firecracker => "firecracker",
        }
    }
}

/// An architecture, named as images name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arch {
    /// 64-bit x86.
    Amd64,
}

impl Arch {
    /// The architecture of this machine.
    pub(crate) fn of_this_host() -> Result<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Ok(Self::Amd64),
            other => bail!("there is no kernel configuration for `{other}` yet; amd64 has one"),
        }
    }

    /// Its name in paths and messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
        }
    }

    /// The fragment in `guest/kernel` that is its own.
    pub(crate) fn fragment(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64.config",
        }
    }
}

/// A finished kernel in the cache.
#[derive(Debug, Clone)]
pub(crate) struct Kernel {
    /// The image that a VMM boots.
    pub(crate) image: PathBuf,
    /// Its version, digest and source, as JSON.
    pub(crate) record: PathBuf,
}

/// Runs the chore: prints the path of the image.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let arch = match arguments.arch {
        Some(arch) => arch,
        None => Arch::of_this_host()?,
    };
    let kernel = ensure(&Places::find()?, arguments.backend, arch)?;
    println!("{}", kernel.image.display());
    Ok(ExitCode::SUCCESS)
}

/// Gives the finished kernel, building it when the cache has none.
///
/// Two calls at once build once: the second waits for the first.
pub(crate) fn ensure(places: &Places, backend: Backend, arch: Arch) -> Result<Kernel> {
    let config = places.kernel_config();
    let own = format!("{}.config", backend.name());
    let fragments = ["base.config", arch.fragment(), &own].map(|name| config.join(name));
    ensure_of(places, arch, &fragments, &config.join("required.toml"))
}

/// The same for any configuration: fragments in order, and what must come out of them.
pub(crate) fn ensure_of(
    places: &Places,
    arch: Arch,
    fragments: &[PathBuf],
    required: &Path,
) -> Result<Kernel> {
    let merged = fragments::merge(fragments)?;
    let pinned = source::Source::read(&places.kernel_config().join("source.toml"))?;
    let version = pinned.installed_version()?;
    let folder = places.kernels().join(build::key(&version, arch, &merged));
    let kernel = Kernel {
        image: folder.join("Image"),
        record: folder.join("kernel.json"),
    };
    let required = required::Required::read(required, arch)?;
    if !kernel.image.is_file() {
        let _lock = lock(places)?;
        if !kernel.image.is_file() {
            build::build(places, &pinned, &version, arch, &merged, &required, &folder)?;
        }
    }
    // The list of required options may have grown since the kernel was built.
    let resolved = std::fs::read_to_string(folder.join("config"))
        .with_context(|| format!("cannot read the configuration in `{}`", folder.display()))?;
    required.check(&fragments::parse(&resolved)?)?;
    Ok(kernel)
}

fn lock(places: &Places) -> Result<std::fs::File> {
    let folder = places.kernels();
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make `{}`", folder.display()))?;
    let path = folder.join("lock");
    let file = std::fs::File::create(&path)
        .with_context(|| format!("cannot make `{}`", path.display()))?;
    if file.try_lock().is_err() {
        eprintln!("another build of a kernel is under way; waiting for it");
        file.lock()
            .with_context(|| format!("cannot lock `{}`", path.display()))?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(backend: Backend) -> fragments::Options {
        let folder = Places::find().unwrap().kernel_config();
        let own = format!("{}.config", backend.name());
        let names = ["base.config", Arch::Amd64.fragment(), &own];
        fragments::merge(&names.map(|name| folder.join(name))).unwrap()
    }

    #[test]
    fn both_linux_backends_share_one_image() {
        assert_eq!(merged(Backend::Qemu), merged(Backend::Firecracker));
    }

    #[test]
    fn one_changed_option_is_another_kernel_and_so_is_another_source() {
        let options = merged(Backend::Qemu);
        let mut changed = options.clone();
        changed.insert("EXT4_FS".to_owned(), "n".to_owned());
        let key = |version, options| build::key(version, Arch::Amd64, options);
        assert_eq!(key("6.12.1", &options), key("6.12.1", &options));
        assert_ne!(key("6.12.1", &options), key("6.12.1", &changed));
        assert_ne!(key("6.12.1", &options), key("6.12.2", &options));
    }

    #[test]
    fn no_fragment_contradicts_what_is_required() {
        let path = Places::find().unwrap().kernel_config();
        let required = required::Required::read(&path.join("required.toml"), Arch::Amd64).unwrap();
        // An option that no fragment names may still be selected by one that it does name.
        for (name, value) in merged(Backend::Qemu) {
            let single = fragments::Options::from([(name.clone(), value)]);
            assert!(!required.contradicts(&single), "{name}");
        }
    }
}
