//! One workspace: the object of `cli.md` 2.6, and the page that `status` shows.

use microagent_types::Timestamp;
use microagent_wire::supervisor::response::{ExitView, PublishView, Workspace};
use serde_json::{Map, Value, json};

use super::escape::escaped;
use super::table::lines;
use super::{short_image, time};

/// The document. Every field is named here, so that a field which a supervisor gains does not become
/// a promise of this command by itself; what is absent is null.
pub(crate) fn document(workspace: &Workspace) -> Value {
    let told = serde_json::to_value(workspace).expect("string keys only");
    let mut document = pick(
        &told,
        &[
            "name",
            "id",
            "state",
            "reason",
            "stateSince",
            "stale",
            "observedAt",
            "backend",
            "accelerator",
            "arch",
            "profile",
            "hostname",
            "labels",
            "ephemeral",
            "createdAt",
            "createdBy",
        ],
    );
    const OBJECTS: [(&str, &[&str]); 13] = [
        ("image", &["reference", "digest", "source", "builder"]),
        ("resources", &["memoryBytes", "cpus", "diskBytes"]),
        ("kernel", &["path", "sha256", "custom"]),
        (
            "rootDisk",
            &["path", "format", "sizeBytes", "allocatedBytes", "clone"],
        ),
        (
            "workload",
            &["argv", "user", "workdir", "stopSignal", "idle"],
        ),
        ("mediation", &["port", "target", "required"]),
        (
            "readiness",
            &[
                "guestReady",
                "execReady",
                "mediationReady",
                "mediationError",
            ],
        ),
        (
            "vm",
            &[
                "pid",
                "systemId",
                "monitorPid",
                "startedAt",
                "bootId",
                "bootCount",
                "readyMs",
            ],
        ),
        ("guest", &["generation", "lastHeartbeat", "features"]),
        ("confinement", &["active", "required", "parts"]),
        ("quarantine", &["at", "note", "frozen", "active"]),
        ("lastEvent", &["seq", "time", "type", "state", "reason"]),
        ("paths", &["workspace", "serialLog", "events"]),
    ];
    for (name, fields) in OBJECTS {
        document.insert(name.to_owned(), object(&told[name], fields));
    }
    let disk = ["name", "path", "mount", "mode", "sizeBytes", "owned"];
    document.insert("disks".to_owned(), each(&told["disks"], &disk));
    let mut network = pick(&told["network"], &["mode", "address"]);
    let publish = ["host", "hostPort", "guestPort", "protocol", "listening"];
    network.insert(
        "publish".to_owned(),
        each(&told["network"]["publish"], &publish),
    );
    document.insert("network".to_owned(), network.into());
    let variable = |name: &String| json!({ "name": name, "value": null });
    let env: Vec<Value> = workspace.env_names.iter().map(variable).collect();
    document.insert("env".to_owned(), env.into());
    document.insert("exit".to_owned(), workspace.exit.as_ref().map(exit).into());
    document.into()
}

/// How a workload ended.
pub(crate) fn exit(exit: &ExitView) -> Value {
    json!({
        "code": exit.code,
        "signal": exit.signal,
        "message": exit.message.as_deref().map(escaped),
        "endedAt": exit.ended_at.to_string(),
    })
}

fn pick(value: &Value, fields: &[&str]) -> Map<String, Value> {
    fields
        .iter()
        .map(|field| ((*field).to_owned(), value[*field].clone()))
        .collect()
}

fn object(value: &Value, fields: &[&str]) -> Value {
    if value.is_null() {
        return Value::Null;
    }
    pick(value, fields).into()
}

fn each(values: &Value, fields: &[&str]) -> Value {
    let values = values.as_array().map(Vec::as_slice).unwrap_or_default();
    values.iter().map(|value| object(value, fields)).collect()
}

/// `127.0.0.1:8080 -> 80`.
pub(crate) fn published(publish: &PublishView) -> String {
    let address = std::net::SocketAddr::new(publish.host, publish.host_port.get());
    format!("{address} -> {}", publish.guest_port)
}

/// The page: one fact a line, what is absent left out.
pub(crate) fn text(workspace: &Workspace, now: Timestamp) -> String {
    let mut page = vec![(workspace.name.to_string(), state(workspace, now))];
    let mut line = |label: &str, text: String| page.push((label.to_owned(), text));
    line("backend", backend(workspace));
    if let Some(image) = &workspace.image {
        let reference = image
            .reference
            .as_deref()
            .map(short_image)
            .unwrap_or_default();
        let digest = image.digest.map_or_else(String::new, |digest| {
            let hash = digest.hash().to_string();
            format!("  sha256:{}…{}", &hash[..4], &hash[60..])
        });
        line("image", format!("{reference}{digest}"));
    }
    line("resources", resources(workspace));
    line("network", network(workspace));
    if let Some(mediation) = &workspace.mediation {
        let ready = match (mediation.ready, &mediation.error) {
            (true, _) => "ready".to_owned(),
            (false, Some(error)) => format!("not ready: {error}"),
            (false, None) => "not ready".to_owned(),
        };
        line(
            "mediation",
            format!("port {} -> {}, {ready}", mediation.port, mediation.target),
        );
    }
    line("workload", workload(workspace));
    if let Some(exit) = &workspace.exit {
        let end = match (exit.code, &exit.signal) {
            (Some(code), _) => format!("code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => exit.message.clone().unwrap_or_default(),
        };
        line("exit", format!("{end}, {}", time::moment(exit.ended_at)));
    }
    if let Some(quarantine) = &workspace.quarantine {
        let active = if quarantine.active { "" } else { ", released" };
        let note = quarantine
            .note
            .as_ref()
            .map_or_else(String::new, |note| format!(": {note}"));
        line(
            "quarantine",
            format!("{}{active}{note}", time::moment(quarantine.at)),
        );
    }
    if let Some(event) = &workspace.last_event {
        let state = match (&event.state, &event.reason) {
            (Some(state), Some(reason)) => format!(" {state} ({reason})"),
            (Some(state), None) => format!(" {state}"),
            (None, _) => String::new(),
        };
        let at = time::moment(event.time);
        line(
            "last event",
            format!("#{} {at} {}{state}", event.seq, event.event_type),
        );
    }
    line("log", workspace.paths.serial_log.to_string());
    lines(page.iter().map(|(label, text)| {
        format!("{label:<12} {}", escaped(text))
            .trim_end()
            .to_owned()
    }))
}

/// `running since 2026-03-04 09:12:44Z (3 h 12 min), ready`.
fn state(workspace: &Workspace, now: Timestamp) -> String {
    let stale = if workspace.stale { "?" } else { "" };
    let since = time::moment(workspace.state_since);
    let lasting = time::since(workspace.state_since, now);
    let ready = match (workspace.state.as_str(), workspace.readiness.guest_ready) {
        ("running", true) => ", ready".to_owned(),
        ("running", false) => ", not ready".to_owned(),
        _ => format!(", {}", workspace.reason),
    };
    format!(
        "{}{stale} since {since} ({lasting}){ready}",
        workspace.state
    )
}

/// `qemu, emulation (slow); confined (9 measures)`.
fn backend(workspace: &Workspace) -> String {
    let accelerator = match workspace.accelerator.as_deref() {
        Some("emulation") => ", emulation (slow)".to_owned(),
        Some(other) => format!(", {other}"),
        None => String::new(),
    };
    let confined = workspace
        .confinement
        .as_ref()
        .map_or_else(String::new, |confinement| {
            if confinement.active {
                format!("; confined ({} measures)", confinement.parts.len())
            } else {
                "; not confined".to_owned()
            }
        });
    format!("{}{accelerator}{confined}", workspace.backend)
}

/// `small: 512 MiB memory, 1 cpu, disk 2.0 GiB (181 MiB on the host)`.
fn resources(workspace: &Workspace) -> String {
    let own = &workspace.resources;
    let profile = workspace
        .profile
        .as_ref()
        .map_or_else(String::new, |name| format!("{name}: "));
    let plural = if own.cpus.get() == 1 { "" } else { "s" };
    let allocated = workspace
        .root_disk
        .allocated_bytes
        .map_or_else(String::new, |bytes| format!(" ({bytes} on the host)"));
    format!(
        "{profile}{} memory, {} cpu{plural}, disk {}{allocated}",
        own.memory_bytes, own.cpus, own.disk_bytes
    )
}

fn network(workspace: &Workspace) -> String {
    let network = &workspace.network;
    let mode = json!(network.mode);
    let mut text = mode.as_str().unwrap_or_default().to_owned();
    if let Some(address) = &network.address {
        text = format!("{text} {address}");
    }
    if network.severed {
        text.push_str(", severed");
    }
    if let Some(error) = &network.error {
        text = format!("{text}, {error}");
    }
    for publish in &network.publish {
        text = format!("{text}; {}", published(publish));
    }
    text
}

fn workload(workspace: &Workspace) -> String {
    let workload = &workspace.workload;
    if workload.idle {
        return "none: it stays up for exec".to_owned();
    }
    let user = workload.user.as_deref().unwrap_or("root");
    let folder = workload
        .workdir
        .as_ref()
        .map_or("/", |folder| folder.as_str());
    format!("{} as {user} in {folder}", workload.argv.join(" "))
}

#[cfg(test)]
pub(super) mod tests;
