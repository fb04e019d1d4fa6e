//! `man`: manual pages, from the same definition as the help.

use clap_mangen::Man;
use microagent_os::atomic_file::{self, Existing};
use microagent_os::dirs;
use microagent_types::AbsPath;
use microagent_wire::exit_code;
use microagent_wire::fault::{Fault, FaultKind};
use serde_json::{Value, json};

use crate::args::{self, ManArgs};
use crate::error::Failure;
use crate::printer::Printer;
use crate::render::table::lines;
use crate::settings::absolute;

/// The section of manual pages for programs.
const SECTION: &str = "1";

struct Page {
    name: String,
    roff: String,
}

/// Prints the top page, or writes all pages into a folder and prints their paths.
pub(crate) fn perform(args: &ManArgs, printer: &Printer) -> Result<u8, Failure> {
    let pages = pages();
    let Some(folder) = &args.out else {
        let top = &pages[0];
        printer.value(|| top.roff.clone(), || document(&pages[..1], None))?;
        return Ok(exit_code::DONE);
    };
    let folder = absolute(folder, "--out")?;
    write(&pages, &folder)?;
    printer.value(
        || lines(pages.iter().map(|page| format!("{folder}/{}", page.name))),
        || document(&pages, Some(&folder)),
    )?;
    Ok(exit_code::DONE)
}

/// The page of the command itself first, then one for each of its commands and theirs.
fn pages() -> Vec<Page> {
    let mut root = args::definition();
    root.build();
    let mut commands = vec![&root];
    let mut next = 0;
    while let Some(command) = commands.get(next) {
        let visible = command
            .get_subcommands()
            .filter(|command| !command.is_hide_set());
        commands.extend(visible.collect::<Vec<_>>());
        next += 1;
    }
    commands
        .into_iter()
        .map(|command| {
            let title = command
                .get_display_name()
                .unwrap_or_else(|| command.get_name());
            let mut roff = Vec::new();
            Man::new(command.clone())
                .title(title)
                .render(&mut roff)
                .expect("a vector takes everything");
            Page {
                name: format!("{title}.{SECTION}"),
                roff: String::from_utf8(roff).expect("pages are text"),
            }
        })
        .collect()
}

fn write(pages: &[Page], folder: &AbsPath) -> Result<(), Failure> {
    let refused = |error: &dyn std::error::Error| {
        Fault::from_error(FaultKind::Resource, error)
            .with_hint("choose a folder that can be written: microagent man --out DIR")
    };
    dirs::ensure_private_all(folder.as_path()).map_err(|error| refused(&error))?;
    for page in pages {
        let path = folder.as_path().join(&page.name);
        atomic_file::write(&path, page.roff.as_bytes(), Existing::Replace)
            .map_err(|error| refused(&error))?;
    }
    Ok(())
}

fn document(pages: &[Page], folder: Option<&AbsPath>) -> Value {
    let page = |page: &Page| {
        json!({
            "name": page.name,
            "path": folder.map(|folder| format!("{folder}/{}", page.name)),
            "roff": folder.is_none().then_some(&page.roff),
        })
    };
    json!({ "pages": pages.iter().map(page).collect::<Vec<_>>() })
}
