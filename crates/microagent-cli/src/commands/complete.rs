//! `__complete`: words for completion scripts, one a line. It asks no process, so it answers at once.

use microagent_types::Arch;
use microagent_types::backend::HostOs;
use microagent_wire::exit_code;
use microagent_workspace::{Profile, backend_choice, images, kernels, list};

use crate::args::{CompleteArgs, CompleteKind};
use crate::error::Failure;
use crate::printer::Printer;
use crate::render::image::short_image;
use crate::render::table::lines;
use crate::settings::GlobalSettings;

/// Prints the words of one kind.
pub(crate) fn perform(
    args: &CompleteArgs,
    global: &GlobalSettings,
    printer: &Printer,
) -> Result<u8, Failure> {
    let words: Vec<String> = match args.kind {
        CompleteKind::Backends => backend_choice::candidates_of(HostOs::current())
            .into_iter()
            .map(|backend| backend.to_string())
            .collect(),
        CompleteKind::Profiles => Profile::ALL.map(|profile| profile.to_string()).to_vec(),
        CompleteKind::Images => image_names(global),
        CompleteKind::Kernels => kernel_ids(global),
        CompleteKind::Workspaces => workspace_names(global),
    };
    printer.data(&lines(words))?;
    Ok(exit_code::DONE)
}

/// From records alone: none of them is asked how it is.
fn workspace_names(global: &GlobalSettings) -> Vec<String> {
    let context = global.context_of_existing().ok();
    let names = context.and_then(|context| list::names(&context).ok());
    let names = names.unwrap_or_default();
    names.iter().map(ToString::to_string).collect()
}

fn kernel_ids(global: &GlobalSettings) -> Vec<String> {
    let arch = Arch::current();
    let kernels = global
        .context_of_existing()
        .ok()
        .zip(arch)
        .and_then(|(context, arch)| kernels::list(&context, arch).ok())
        .unwrap_or_default();
    let id = |kernel: &kernels::Kernel| format!("{}/{}", kernel.backend, kernel.arch);
    kernels.iter().map(id).collect()
}

/// Where nothing can be read there is nothing to complete.
fn image_names(global: &GlobalSettings) -> Vec<String> {
    let images = global
        .context()
        .ok()
        .and_then(|context| images::list(&context).ok())
        .unwrap_or_default();
    let names = images.iter().flat_map(|image| &image.stored.names);
    names.map(|name| short_image(&name.to_string())).collect()
}
