//! `completions`, and the hidden `__complete` for words that only this host knows.

use clap::{Args, ValueEnum};

/// Prints a script.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent completions bash > ~/.local/share/bash-completion/completions/microagent
  microagent completions zsh > ~/.zfunc/_microagent
  microagent completions fish > ~/.config/fish/completions/microagent.fish")]
pub(crate) struct CompletionsArgs {
    /// Which shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// Asks for words.
#[derive(Debug, Args)]
pub(crate) struct CompleteArgs {
    /// Words of which kind
    #[arg(value_enum)]
    pub(crate) kind: CompleteKind,
}

/// What can be completed without asking a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompleteKind {
    /// Names of backends
    Backends,
    /// Names of images
    Images,
    /// Kernels as BACKEND/ARCH
    Kernels,
    /// Names of profiles
    Profiles,
    /// Names of workspaces
    Workspaces,
}
