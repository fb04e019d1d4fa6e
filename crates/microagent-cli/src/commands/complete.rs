//! `__complete`: words for completion scripts, one a line. It asks no process, so it answers at once.

use microagent_types::backend::HostOs;
use microagent_wire::exit_code;
use microagent_workspace::{Profile, backend_choice, images};

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
    };
    printer.data(&lines(words))?;
    Ok(exit_code::DONE)
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
