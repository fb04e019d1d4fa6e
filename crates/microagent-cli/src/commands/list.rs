//! `list` and `ps`: every workspace in a line.

use microagent_os::clock;
use microagent_types::Timestamp;
use microagent_wire::exit_code;
use microagent_workspace::list;
use microagent_workspace::list::{Known, Summary};
use serde_json::{Value, json};

use crate::args::{FilterArgs, ListArgs, PsArgs};
use crate::error::Failure;
use crate::printer::Printer;
use crate::render::json as render_json;
use crate::render::table::{Column, lines, table};
use crate::render::{short_image, time};
use crate::settings::GlobalSettings;

const COLUMNS: [Column; 8] = [
    Column::left("NAME"),
    Column::left("STATE"),
    Column::left("BACKEND"),
    Column::left("IMAGE"),
    Column::right("CPUS"),
    Column::left("MEMORY"),
    Column::left("PORTS"),
    Column::left("AGE"),
];

/// Whether a VM must live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    All,
    Alive,
}

/// Prints all.
pub(crate) fn perform_list(
    args: &ListArgs,
    global: &GlobalSettings,
    printer: &Printer,
) -> Result<u8, Failure> {
    perform(&args.filter, Shown::All, global, printer)
}

/// Prints those whose VM lives.
pub(crate) fn perform_ps(
    args: &PsArgs,
    global: &GlobalSettings,
    printer: &Printer,
) -> Result<u8, Failure> {
    let shown = if args.all { Shown::All } else { Shown::Alive };
    perform(&args.filter, shown, global, printer)
}

fn perform(
    filter: &FilterArgs,
    shown: Shown,
    global: &GlobalSettings,
    printer: &Printer,
) -> Result<u8, Failure> {
    let context = global.context_of_existing()?;
    let all = list(&context).map_err(|error| Failure::of_library(&error))?;
    let chosen: Vec<&Summary> = all
        .iter()
        .filter(|summary| fits(summary, filter, shown))
        .collect();
    for summary in &chosen {
        if let Err(fault) = &summary.known {
            printer.note(&format!(
                "`{}` cannot be read: {}",
                summary.name, fault.message
            ));
        }
    }
    printer.value(
        || {
            if printer.is_quiet() {
                lines(chosen.iter().map(|summary| summary.name.as_str()))
            } else {
                text(&chosen, clock::now(), printer.table_width())
            }
        },
        || json!({ "workspaces": chosen.iter().map(|one| document(one)).collect::<Vec<_>>() }),
    )?;
    Ok(exit_code::DONE)
}

/// A record that can't be read fits where nothing is asked of it.
fn fits(summary: &Summary, filter: &FilterArgs, shown: Shown) -> bool {
    let Ok(known) = &summary.known else {
        return filter.states.is_empty() && filter.labels.is_empty() && shown == Shown::All;
    };
    let state = filter.states.is_empty() || filter.states.contains(&known.state);
    let labels = filter.labels.iter().all(|wanted| has_label(known, wanted));
    state && labels && (shown == Shown::All || known.alive)
}

fn has_label(known: &Known, wanted: &str) -> bool {
    let (key, value) = match wanted.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (wanted, None),
    };
    known
        .labels
        .iter()
        .any(|(name, own)| name.as_str() == key && value.is_none_or(|value| value == own))
}

fn text(summaries: &[&Summary], now: Timestamp, width: Option<u16>) -> String {
    let rows: Vec<Vec<String>> = summaries.iter().map(|summary| row(summary, now)).collect();
    table(&COLUMNS, &rows, width)
}

fn row(summary: &Summary, now: Timestamp) -> Vec<String> {
    let Ok(known) = &summary.known else {
        let mut row = vec![summary.name.to_string(), "?".to_owned()];
        row.resize(COLUMNS.len(), "-".to_owned());
        return row;
    };
    let ports: Vec<String> = known
        .publish
        .iter()
        .map(|publish| format!("{}->{}", publish.socket_addr(), publish.guest_port))
        .collect();
    let dash = |text: String| {
        if text.is_empty() {
            "-".to_owned()
        } else {
            text
        }
    };
    vec![
        summary.name.to_string(),
        format!("{}{}", known.state, if known.stale { "?" } else { "" }),
        known.backend.to_string(),
        dash(known.image.as_deref().map(short_image).unwrap_or_default()),
        known.cpus.to_string(),
        known.memory.to_string(),
        dash(ports.join(",")),
        time::age(known.created_at, now),
    ]
}

fn document(summary: &Summary) -> Value {
    let known = summary.known.as_deref().ok();
    let text = |field: fn(&Known) -> String| known.map(field);
    json!({
        "name": summary.name.as_str(),
        "id": text(|known| known.id.to_string()),
        "state": text(|known| known.state.clone()),
        "reason": text(|known| known.reason.clone()),
        "stateSince": text(|known| known.state_since.to_string()),
        "stale": known.map(|known| known.stale),
        "backend": known.map(|known| known.backend.as_str()),
        "accelerator": known.and_then(|known| known.accelerator.as_deref()),
        "image": known.and_then(|known| known.image.as_deref()),
        "profile": known.and_then(|known| known.profile.as_deref()),
        "resources": known.map(|known| json!({
            "memoryBytes": known.memory.bytes(),
            "cpus": known.cpus.get(),
            "diskBytes": known.disk.bytes(),
        })),
        "networkMode": known.map(|known| known.network_mode.as_str()),
        "publish": known.map(|known| known.publish.iter().map(|publish| json!({
            "host": publish.host.to_string(),
            "hostPort": publish.host_port.get(),
            "guestPort": publish.guest_port.get(),
            "protocol": "tcp",
        })).collect::<Vec<_>>()),
        "labels": known.map(|known| &known.labels),
        "quarantined": known.map(|known| known.quarantined),
        "exitCode": known.and_then(|known| known.exit_code),
        "createdAt": text(|known| known.created_at.to_string()),
        "error": summary.known.as_ref().err().map(render_json::error),
    })
}

#[cfg(test)]
mod tests;
