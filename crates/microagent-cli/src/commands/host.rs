//! `host`: the raw facts behind `doctor`.

use microagent_types::{AbsPath, ByteSize};
use microagent_wire::exit_code;
use microagent_wire::supervisor::response::HostReport;
use microagent_workspace::doctor::{self, DoctorReport};
use microagent_workspace::supervisors::Surveyed;
use microagent_workspace::{Context, Interrupt};
use serde_json::{Value, json};

use crate::error::Failure;
use crate::printer::Printer;
use crate::render::escape::escaped;
use crate::render::table::lines;
use crate::settings::GlobalSettings;

/// Prints the facts.
pub(crate) fn perform(global: &GlobalSettings, printer: &Printer) -> Result<u8, Failure> {
    let context = global.context()?;
    let report = doctor::doctor(&context, &Interrupt::new());
    printer.value(|| text(&report, &context), || document(&report, &context))?;
    Ok(exit_code::DONE)
}

/// The supervisor whose word about the host counts: that of the backend that would run.
fn of_host(report: &DoctorReport) -> Option<&HostReport> {
    let answered = |asked: &&Surveyed| asked.report.is_ok();
    report
        .surveyed
        .iter()
        .filter(answered)
        .find(|asked| Some(asked.backend) == report.backend)
        .or_else(|| report.surveyed.iter().find(answered))
        .and_then(|asked| asked.report.as_deref().ok())
}

/// The host's facts as a document; what no supervisor could tell is null.
pub(super) fn document(report: &DoctorReport, context: &Context) -> Value {
    let host = of_host(report);
    json!({
        "os": std::env::consts::OS,
        "osVersion": host.map(|host| escaped(&host.os_version)),
        "arch": host.map(|host| host.arch.as_str()),
        "cpus": host.map(|host| host.cpus),
        "memoryBytes": host.map(|host| host.memory_bytes.bytes()),
        "backends": report.surveyed.iter().map(backend).collect::<Vec<_>>(),
        "kvm": host.and_then(|host| host.kvm.as_ref()).map(|kvm| json!({
            "present": kvm.present,
            "openable": kvm.openable,
            "apiVersion": kvm.api_version,
            "usable": kvm.usable,
            "override": kvm.override_,
        })),
        "confinement": host.map(|host| json!({
            "parts": host.confinement.parts.iter().map(|part| json!({
                "name": part.name,
                "active": part.active,
                "reason": part.reason,
            })).collect::<Vec<_>>(),
        })),
        "networkModes": host.map_or_else(Vec::new, |host| {
            host.network_modes.iter().map(|mode| json!({
                "mode": mode.mode,
                "available": mode.available,
                "reason": mode.reason,
            })).collect()
        }),
        "reflink": report.reflink,
        "stateDir": context.state_dir.as_str(),
        "freeBytes": report.free_bytes.map(ByteSize::bytes),
    })
}

fn backend(asked: &Surveyed) -> Value {
    let own = asked.report.as_deref().ok().and_then(|report| {
        report
            .backends
            .iter()
            .find(|backend| backend.name == asked.backend)
    });
    json!({
        "name": asked.backend.as_str(),
        "available": asked.refusal().is_none(),
        "reason": asked.refusal(),
        "binary": own.and_then(|own| own.binary.as_ref()).map(AbsPath::as_str),
        "version": own.and_then(|own| own.version.as_deref()),
        "supervisor": asked.program.as_ref().map(|path| path.display().to_string()),
    })
}

fn text(report: &DoctorReport, context: &Context) -> String {
    let mut facts = Vec::new();
    if let Some(host) = of_host(report) {
        facts.push(("os", format!("{} {}", host.os, host.os_version)));
        facts.push(("arch", host.arch.to_string()));
        facts.push(("cpus", host.cpus.to_string()));
        facts.push(("memory", host.memory_bytes.to_string()));
    } else {
        facts.push(("os", std::env::consts::OS.to_owned()));
    }
    for asked in &report.surveyed {
        let word = match asked.refusal() {
            Some(reason) => format!("{} is not available: {reason}", asked.backend),
            None => format!("{} is available", asked.backend),
        };
        facts.push(("backend", word));
    }
    if let Some(accelerator) = &report.accelerator {
        facts.push(("accelerator", accelerator.clone()));
    }
    facts.push(("state", context.state_dir.to_string()));
    if let Some(free) = report.free_bytes {
        facts.push(("free", free.to_string()));
    }
    lines(
        facts
            .iter()
            .map(|(name, value)| format!("{name:<12} {}", escaped(value))),
    )
}
