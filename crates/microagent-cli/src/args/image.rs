//! `image` and `rootfs`: what workspaces are made from.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand, ValueHint};
use microagent_types::{Arch, ByteSize, ImageRef, ImageSource, RegistryHost, Span};
use microagent_workspace::{DiskFormat, PullPolicy};

use super::workspace::pull_parser;

/// The commands about images.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent image pull debian:12
  microagent image list
  microagent image prune")]
pub(crate) struct ImageArgs {
    /// Which.
    #[command(subcommand)]
    pub(crate) command: ImageCommand,
}

/// One of them.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Download images and build their disks
    Pull(ImagePullArgs),
    /// Build an image from a folder or an archive
    Import(ImageImportArgs),
    /// List the images
    #[command(visible_alias = "ls")]
    List(ImageListArgs),
    /// Show what an image is and what it runs
    Inspect(ImageInspectArgs),
    /// Give an image another name
    Tag(ImageTagArgs),
    /// Drop names, and images with their last one
    #[command(visible_alias = "rm")]
    Delete(ImageDeleteArgs),
    /// Remove images that nobody needs
    Prune(ImagePruneArgs),
}

/// For which processor.
#[derive(Debug, Args)]
pub(crate) struct ArchArgs {
    /// amd64 or arm64 [default: this host's]
    #[arg(long, value_name = "ARCH")]
    pub(crate) arch: Option<Arch>,
}

/// Downloads.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent image pull debian:12
  microagent image pull ghcr.io/org/app:1 nginx
  microagent image pull --insecure-registry registry.lan:5000 registry.lan:5000/tool")]
pub(crate) struct ImagePullArgs {
    /// NAME[:TAG] or NAME@sha256:DIGEST
    #[arg(value_name = "REF", required = true)]
    pub(crate) references: Vec<ImageRef>,

    /// always, or missing: only what is not stored
    #[arg(long, value_name = "POLICY", default_value = "always", value_parser = asking_parser(), hide_possible_values = true)]
    pub(crate) pull: PullPolicy,

    /// Allow plain HTTP or an unverified certificate for this registry
    #[arg(long, value_name = "HOST")]
    pub(crate) insecure_registry: Vec<RegistryHost>,

    /// For which.
    #[command(flatten)]
    pub(crate) scope: ArchArgs,
}

/// Imports.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent image import docker-archive:tool.tar --tag tool:1
  microagent image import oci:./image")]
pub(crate) struct ImageImportArgs {
    /// oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:TAG] or rootfs:FILE.tar
    #[arg(value_name = "SOURCE")]
    pub(crate) source: ImageSource,

    /// Its name here [default: the archive's own, if it has one]
    #[arg(long, value_name = "NAME")]
    pub(crate) tag: Option<ImageRef>,

    /// For which.
    #[command(flatten)]
    pub(crate) scope: ArchArgs,
}

/// Lists.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent image list
  microagent image list --quiet
  microagent image list --json")]
pub(crate) struct ImageListArgs {}

/// Shows.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent image inspect debian:12
  microagent image inspect sha256:8f3c1b52a07e --json")]
pub(crate) struct ImageInspectArgs {
    /// A name, or sha256: and the first digits of a digest
    #[arg(value_name = "REF")]
    pub(crate) image: ImageSource,

    /// For which.
    #[command(flatten)]
    pub(crate) scope: ArchArgs,
}

/// Names.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent image tag tool:1 tool:stable
  microagent image tag sha256:8f3c1b52a07e tool:2")]
pub(crate) struct ImageTagArgs {
    /// A name, or sha256: and the first digits of a digest
    #[arg(value_name = "REF")]
    pub(crate) image: ImageSource,

    /// The other name; one that is taken moves
    #[arg(value_name = "NEW")]
    pub(crate) new: ImageRef,

    /// For which.
    #[command(flatten)]
    pub(crate) scope: ArchArgs,
}

/// Deletes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent image delete tool:1
  microagent image delete sha256:8f3c1b52a07e")]
pub(crate) struct ImageDeleteArgs {
    /// Names, or sha256: and the first digits of a digest
    #[arg(value_name = "REF", required = true)]
    pub(crate) images: Vec<ImageSource>,

    /// For which.
    #[command(flatten)]
    pub(crate) scope: ArchArgs,
}

/// Prunes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent image prune
  microagent image prune --all --older-than 30d
  microagent image prune --dry-run")]
pub(crate) struct ImagePruneArgs {
    /// Images with names too, unless a workspace came from them
    #[arg(short, long)]
    pub(crate) all: bool,

    /// Only what was not used for so long
    #[arg(long, value_name = "DUR")]
    pub(crate) older_than: Option<Span>,

    /// Only say what would go
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// The commands about root disks.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent rootfs build debian:12 --output disk.ext4
  microagent rootfs build tool:1 --output disk.vhd --format vhd")]
pub(crate) struct RootfsArgs {
    /// Which.
    #[command(subcommand)]
    pub(crate) command: RootfsCommand,
}

/// One of them.
#[derive(Debug, Subcommand)]
pub(crate) enum RootfsCommand {
    /// Build the disk of an image into a file
    Build(RootfsBuildArgs),
}

/// Builds a disk.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microagent rootfs build debian:12 --output disk.ext4
  microagent rootfs build oci:./image --output disk.vhd --format vhd --size 8G")]
pub(crate) struct RootfsBuildArgs {
    /// The image, in any form
    #[arg(value_name = "SOURCE")]
    pub(crate) source: ImageSource,

    /// The file
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: PathBuf,

    /// Size of the disk [default: the content and a quarter, at least 64M free]
    #[arg(long, value_name = "SIZE")]
    pub(crate) size: Option<ByteSize>,

    /// raw, or vhd: a fixed VHD
    #[arg(long, value_name = "FORMAT", default_value = "raw", value_parser = format_parser(), hide_possible_values = true)]
    pub(crate) format: DiskFormat,

    /// When a registry is asked: missing, always or never
    #[arg(long, value_name = "POLICY", default_value = "missing", value_parser = pull_parser(), hide_possible_values = true)]
    pub(crate) pull: PullPolicy,

    /// Allow plain HTTP or an unverified certificate for this registry
    #[arg(long, value_name = "HOST")]
    pub(crate) insecure_registry: Vec<RegistryHost>,

    /// Replace the file when it is there
    #[arg(long)]
    pub(crate) force: bool,

    /// For which.
    #[command(flatten)]
    pub(crate) scope: ArchArgs,
}

fn asking_parser() -> impl TypedValueParser<Value = PullPolicy> {
    PossibleValuesParser::new(["always", "missing"]).map(|name| match name.as_str() {
        "missing" => PullPolicy::Missing,
        _ => PullPolicy::Always,
    })
}

fn format_parser() -> impl TypedValueParser<Value = DiskFormat> {
    PossibleValuesParser::new(["raw", "vhd"]).map(|name| match name.as_str() {
        "vhd" => DiskFormat::Vhd,
        _ => DiskFormat::Raw,
    })
}
