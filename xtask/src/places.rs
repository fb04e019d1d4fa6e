//! Where chores find and leave things: the checkout, the cache that outlives it, the target folder.
//!
//! One home for these paths, so that `setup`, `install` and the tests mean the same files. It makes
//! no folders and looks at nothing but the environment.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The folders that chores work in.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// The checkout.
    pub(crate) root: PathBuf,
    /// What is expensive to make and outlives a checkout: kernels, tools, downloaded packages.
    pub(crate) cache: PathBuf,
    /// Cargo's target folder.
    pub(crate) target: PathBuf,
}

impl Places {
    /// Resolves them from this program's manifest and the environment.
    pub(crate) fn find() -> Result<Self> {
        // Cargo says where the checkout is that it runs for. The one that this program was built in may
        // be another: two checkouts that share a target folder share what is built from the same text.
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest
            .parent()
            .context("the xtask folder has no parent")?
            .to_path_buf();
        let cache = match std::env::var_os("XDG_CACHE_HOME") {
            Some(folder) if Path::new(&folder).is_absolute() => PathBuf::from(folder),
            _ => PathBuf::from(
                std::env::var_os("HOME").context("HOME is not set, so there is no cache folder")?,
            )
            .join(".cache"),
        }
        .join("microagent");
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(folder) => root.join(folder),
            None => root.join("target"),
        };
        Ok(Self {
            root,
            cache,
            target,
        })
    }

    /// Kernel fragments, pinned source and required options.
    pub(crate) fn kernel_config(&self) -> PathBuf {
        self.root.join("guest/kernel")
    }

    /// Finished kernels, one folder for each combination of source and configuration.
    pub(crate) fn kernels(&self) -> PathBuf {
        self.cache.join("kernels")
    }
}
