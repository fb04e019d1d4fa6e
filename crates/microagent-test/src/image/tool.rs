//! Real tools as the makers and judges of images, and the cache for what takes them long.

use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// One run of another program, whose failure is an error with its words.
#[derive(Debug)]
pub struct Tool {
    program: String,
    command: Command,
}

impl Tool {
    /// A program on the search path.
    pub fn new(program: &str) -> Self {
        let mut command = Command::new(program);
        command.stdin(Stdio::null());
        Self {
            program: program.to_owned(),
            command,
        }
    }

    /// Whether the search path has it.
    pub fn is_here(program: &str) -> bool {
        std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
    }

    /// One argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Several arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Where it runs.
    #[must_use]
    pub fn within(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Runs it.
    pub fn ok(self) -> Result<()> {
        self.output_text().map(|_| ())
    }

    /// Runs it and gives its stdout.
    pub fn output_text(mut self) -> Result<String> {
        let output = self
            .command
            .output()
            .with_context(|| format!("cannot start `{}`", self.program))?;
        if !output.status.success() {
            bail!(
                "`{}` {:?} failed ({}):\n{}{}",
                self.program,
                self.command.get_args().collect::<Vec<_>>(),
                output.status,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// The folder for made images, `~/.cache/microagent/images`; it outlives a checkout.
pub fn image_cache() -> Result<PathBuf> {
    let cache = match std::env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(std::env::var_os("HOME").context("the variable HOME is not set")?)
            .join(".cache"),
    };
    let folder = cache.join("microagent/images");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make `{}`", folder.display()))?;
    Ok(folder)
}

/// The folder `name` of the cache, made by `make` in a folder beside it when it is not there yet.
///
/// A name stands for one recipe: whoever changes the recipe changes the name. What was made half is
/// removed by the next one that makes it.
pub fn made_once(name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let cache = image_cache()?;
    let finished = cache.join(name);
    let lock = File::create(cache.join(format!("{name}.lock")))?;
    lock.lock()
        .with_context(|| format!("cannot lock the cache for `{name}`"))?;
    if finished.is_dir() {
        return Ok(finished);
    }
    let unfinished = cache.join(format!("{name}.unfinished"));
    if unfinished.exists() {
        std::fs::remove_dir_all(&unfinished)?;
    }
    std::fs::create_dir(&unfinished)?;
    make(&unfinished).with_context(|| format!("cannot make the image `{name}`"))?;
    std::fs::rename(&unfinished, &finished)?;
    Ok(finished)
}
