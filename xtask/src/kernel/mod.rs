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
mod machine;
mod required;
mod source;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::places::Places;

pub(crate) use machine::{Arch, Backend};

/// Arguments of the chore.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The backend whose kernel is wanted
    #[arg(default_value = "qemu")]
    backend: Backend,
    /// The guest's architecture; when left out the only one of the backend, or else this host's
    arch: Option<Arch>,
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
    let backend = arguments.backend;
    let arch = match arguments.arch {
        Some(arch) => arch,
        None => backend.usual_arch()?,
    };
    if !backend.runs(arch) {
        bail!(
            "`{}` has no kernel for {}; its guests are {}",
            backend.name(),
            arch.name(),
            backend.arches().map(Arch::name).join(", ")
        );
    }
    let kernel = ensure(&Places::find()?, backend, arch)?;
    println!("{}", kernel.image.display());
    Ok(ExitCode::SUCCESS)
}

/// Gives the finished kernel, building it when the cache has none.
///
/// Two calls at once build once: the second waits for the first.
pub(crate) fn ensure(places: &Places, backend: Backend, arch: Arch) -> Result<Kernel> {
    let fragments = fragments_of(places, backend, arch);
    let path = places.kernel_config().join("required.toml");
    let required = required::Required::read(&path, arch, Some(backend))?;
    ensure_fragments(places, arch, &fragments, &required)
}

/// The same as [`ensure`] for any configuration: fragments in order, and what must come out of them.
pub(crate) fn ensure_of(
    places: &Places,
    arch: Arch,
    fragments: &[PathBuf],
    required: &Path,
) -> Result<Kernel> {
    let required = required::Required::read(required, arch, None)?;
    ensure_fragments(places, arch, fragments, &required)
}

fn fragments_of(places: &Places, backend: Backend, arch: Arch) -> [PathBuf; 3] {
    let config = places.kernel_config();
    let own = format!("{}.config", backend.name());
    ["base.config", arch.fragment(), &own].map(|name| config.join(name))
}

fn ensure_fragments(
    places: &Places,
    arch: Arch,
    fragments: &[PathBuf],
    required: &required::Required,
) -> Result<Kernel> {
    let merged = fragments::merge(fragments)?;
    let pinned = source::Source::read(&places.kernel_config().join("source.toml"))?;
    let version = pinned.installed_version()?;
    let folder = places.kernels().join(build::key(&version, arch, &merged));
    let kernel = Kernel::in_folder(&folder);
    if !kernel.image.is_file() {
        let _lock = lock(places)?;
        if !kernel.image.is_file() {
            build::build(places, &pinned, &version, arch, &merged, required, &folder)?;
        }
    }
    // The list of required options may have grown since the kernel was built.
    let resolved = std::fs::read_to_string(folder.join("config"))
        .with_context(|| format!("cannot read the configuration in `{}`", folder.display()))?;
    required.check(&fragments::parse(&resolved)?)?;
    Ok(kernel)
}

impl Kernel {
    fn in_folder(folder: &Path) -> Self {
        Self {
            image: folder.join("Image"),
            record: folder.join("kernel.json"),
        }
    }
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

    fn merged(backend: Backend, arch: Arch) -> fragments::Options {
        fragments::merge(&fragments_of(&Places::find().unwrap(), backend, arch)).unwrap()
    }

    fn every_kernel() -> impl Iterator<Item = (Backend, Arch)> {
        Backend::ALL
            .iter()
            .flat_map(|backend| backend.arches().map(|arch| (*backend, arch)))
    }

    #[test]
    fn both_linux_backends_share_one_image() {
        let merged = |backend| merged(backend, Arch::Amd64);
        assert_eq!(merged(Backend::Qemu), merged(Backend::Firecracker));
    }

    #[test]
    fn one_changed_option_is_another_kernel_and_so_is_another_source() {
        let options = merged(Backend::Qemu, Arch::Amd64);
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
        for (backend, arch) in every_kernel() {
            let path = path.join("required.toml");
            let required = required::Required::read(&path, arch, Some(backend)).unwrap();
            // An option that no fragment names may still be selected by one that it does name.
            for (name, value) in merged(backend, arch) {
                let single = fragments::Options::from([(name.clone(), value)]);
                let kernel = (backend.name(), arch.name());
                assert!(!required.contradicts(&single), "{name} of {kernel:?}");
            }
        }
    }
}
