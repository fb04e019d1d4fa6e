//! `kernel`: what workspaces boot by default.

use std::ffi::OsString;

use clap::{Args, Subcommand};
use microagent_types::{Arch, Sha256Hex};

/// The commands about kernels.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent kernel list
  microagent kernel install --from ./vmlinux --backend qemu
  microagent kernel verify")]
pub(crate) struct KernelArgs {
    /// Which.
    #[command(subcommand)]
    pub(crate) command: KernelCommand,
}

/// One of them.
#[derive(Debug, Subcommand)]
pub(crate) enum KernelCommand {
    /// List the installed kernels
    #[command(visible_alias = "ls")]
    List(KernelScope),
    /// Install the kernel of this release, or one from a file or an address
    Install(KernelInstallArgs),
    /// Hash the installed kernels again and compare
    Verify(KernelScope),
    /// Print the path of the kernel that is used
    Path(KernelScope),
}

/// For which architecture; the backend is a global flag.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent kernel list --json
  microagent kernel path --backend qemu")]
pub(crate) struct KernelScope {
    /// amd64 or arm64 [default: this host's]
    #[arg(long, value_name = "ARCH")]
    pub(crate) arch: Option<Arch>,
}

/// Installs a kernel.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent kernel install
  microagent kernel install --from ./vmlinux --sha256 HEX
  microagent kernel install --from https://example.com/vmlinux --sha256 HEX")]
pub(crate) struct KernelInstallArgs {
    /// A kernel file, or its address, in place of the one of this release
    #[arg(long, value_name = "PATH|URL", value_hint = clap::ValueHint::FilePath)]
    pub(crate) from: Option<OsString>,

    /// What it must hash to; an address needs it
    #[arg(long, value_name = "HEX", requires = "from")]
    pub(crate) sha256: Option<Sha256Hex>,

    /// For which.
    #[command(flatten)]
    pub(crate) scope: KernelScope,
}
