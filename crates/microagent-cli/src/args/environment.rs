//! The flags about a guest's environment: shared by `run`, `create` and `exec`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

const COMMAND: &str = "The command";

/// Variables of the command.
#[derive(Debug, Args)]
pub(crate) struct EnvironmentArgs {
    /// A variable of the command; without a value that of this process
    #[arg(short, long, value_name = "KEY[=VALUE]", help_heading = COMMAND)]
    pub(crate) env: Vec<String>,

    /// A file of such lines; flags win over files, later files over earlier
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath, help_heading = COMMAND)]
    pub(crate) env_file: Vec<PathBuf>,
}
