//! `rootfs build`: the disk of an image in a file, without a workspace.

use crate::context::Context;
use crate::error::WorkspaceError;
use crate::image_error::ImageError;
use crate::image_ready::{PullSettings, Relay, build_options};
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use microagent_rootfs::{DiskFormat, Export, ExportedDisk, ImageStore, Replace};
use microagent_state::paths::StateDirectory;
use microagent_types::{AbsPath, Arch, ByteSize, ImageSource};

/// A disk to be made.
#[derive(Debug, Clone)]
pub struct DiskFileSettings {
    /// The image.
    pub source: ImageSource,
    /// The file.
    pub output: AbsPath,
    /// Its form.
    pub format: DiskFormat,
    /// The disk's size; what the content needs and a quarter when none.
    pub size: Option<ByteSize>,
    /// For which processor.
    pub arch: Arch,
    /// Whether and how a registry is asked.
    pub pull: PullSettings,
    /// Whether an existing file goes.
    pub replace: Replace,
}

/// Makes the disk. The same source, size and builder give the same bytes; after an error there is no
/// new file.
///
/// # Errors
/// When the image can't be had, the size is too small, or the file is there already.
pub fn build(
    context: &Context,
    settings: &DiskFileSettings,
    progress: &mut dyn Progress,
    interrupt: &Interrupt,
) -> Result<ExportedDisk, WorkspaceError> {
    let state = StateDirectory::at(&context.state_dir);
    state.create()?;
    let registries = settings.pull.registries();
    let export = Export {
        source: &settings.source,
        output: settings.output.as_path(),
        format: settings.format,
        size: settings.size,
        replace: settings.replace,
        policy: settings.pull.policy,
    };
    let mut relay = Relay::new(progress);
    let exported = ImageStore::open(&state.images()).and_then(|store| {
        let options = build_options(settings.arch, interrupt);
        store.export(&export, &registries, &options, &mut relay)
    });
    relay.leave();
    exported.map_err(|error| ImageError::from(error).of(&settings.source, interrupt))
}
