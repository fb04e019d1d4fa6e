//! `profiles`: the named sizes of a workspace.

use microagent_wire::exit_code;
use microagent_workspace::Profile;
use serde_json::{Value, json};

use crate::error::Failure;
use crate::printer::Printer;
use crate::render::table::{Column, table};

const COLUMNS: [Column; 5] = [
    Column::left("PROFILE"),
    Column::right("MEMORY"),
    Column::right("CPUS"),
    Column::right("DISK"),
    Column::left("DEFAULT"),
];

/// Prints every profile.
pub(crate) fn perform(printer: &Printer) -> Result<u8, Failure> {
    printer.value(|| text(printer.table_width()), document)?;
    Ok(exit_code::DONE)
}

fn is_default(profile: Profile) -> bool {
    profile == Profile::default()
}

fn text(width: Option<u16>) -> String {
    let row = |profile: Profile| {
        vec![
            profile.to_string(),
            profile.memory().to_string(),
            profile.cpus().to_string(),
            profile.disk_size().to_string(),
            if is_default(profile) { "yes" } else { "" }.to_owned(),
        ]
    };
    table(&COLUMNS, &Profile::ALL.map(row), width)
}

fn document() -> Value {
    let profile = |profile: Profile| {
        json!({
            "name": profile.as_str(),
            "memoryBytes": profile.memory().bytes(),
            "cpus": profile.cpus().get(),
            "diskBytes": profile.disk_size().bytes(),
            "default": is_default(profile),
        })
    };
    json!({ "profiles": Profile::ALL.map(profile) })
}
