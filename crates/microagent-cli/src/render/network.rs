//! The network of one workspace: the object of `cli.md` 3.18, and the page that `network` shows.

use microagent_wire::supervisor::response::{
    InterfaceView, MediationView, NetworkView, PublishView, Workspace,
};
use microagent_wire::supervisor::spec::NetworkMode;
use serde_json::{Map, Value};

use super::escape::escaped;
use super::table::lines;
use super::workspace::published;

/// The document. Every field is named here; what is absent is null.
pub(crate) fn document(workspace: &Workspace) -> Value {
    let told = serde_json::to_value(workspace).expect("string keys only");
    let (network, mediation) = (&told["network"], &told["mediation"]);
    let mut document = Map::new();
    document.insert("workspace".to_owned(), told["name"].clone());
    document.insert("state".to_owned(), told["state"].clone());
    for field in ["mode", "engine", "reach", "severed", "error"] {
        document.insert(field.to_owned(), network[field].clone());
    }
    if document["reach"].is_null() {
        document.insert("reach".to_owned(), Value::Array(Vec::new()));
    }
    const INTERFACE: [&str; 8] = [
        "mac",
        "address",
        "prefixLength",
        "gateway",
        "address6",
        "gateway6",
        "dns",
        "mtu",
    ];
    const PUBLISH: [&str; 8] = [
        "host",
        "hostPort",
        "guestPort",
        "protocol",
        "listening",
        "openConnections",
        "totalConnections",
        "error",
    ];
    const MEDIATION: [&str; 10] = [
        "port",
        "target",
        "required",
        "ready",
        "error",
        "openConnections",
        "totalConnections",
        "refusedConnections",
        "bytesIn",
        "bytesOut",
    ];
    document.insert(
        "interface".to_owned(),
        object(&network["interface"], &INTERFACE),
    );
    let entries = network["publish"].as_array().map(Vec::as_slice);
    let entries = entries.unwrap_or_default().iter();
    let publish: Vec<Value> = entries.map(|entry| object(entry, &PUBLISH)).collect();
    document.insert("publish".to_owned(), publish.into());
    document.insert("mediation".to_owned(), object(mediation, &MEDIATION));
    document.into()
}

fn object(value: &Value, fields: &[&str]) -> Value {
    if value.is_null() {
        return Value::Null;
    }
    let fields = fields
        .iter()
        .map(|field| ((*field).to_owned(), value[*field].clone()));
    Value::Object(fields.collect())
}

/// The page: a line for the mode, and one for each way in and out.
pub(crate) fn text(workspace: &Workspace) -> String {
    let mut page = vec![("mode", mode(&workspace.network))];
    let ports = workspace.network.publish.iter();
    page.extend(ports.map(|port| ("published", port_line(port))));
    if let Some(channel) = &workspace.mediation {
        let error = workspace.readiness.mediation_error.as_ref();
        page.push(("mediation", channel_line(channel, error)));
    }
    lines(
        page.iter()
            .map(|(label, text)| format!("{label:<10} {}", escaped(text))),
    )
}

/// `nat through passt; 10.0.2.15/24, gateway 10.0.2.2, dns 10.0.2.3`.
fn mode(network: &NetworkView) -> String {
    let mut text = match network.mode {
        NetworkMode::Nat => "nat",
        NetworkMode::Isolated => "isolated",
        NetworkMode::Bridged => "bridged",
    }
    .to_owned();
    if let Some(engine) = &network.engine {
        text = format!("{text} through {engine}");
    }
    if let Some(addresses) = network.interface.as_ref().and_then(addresses) {
        text = format!("{text}; {addresses}");
    }
    if !network.reach.is_empty() {
        let opened: Vec<&str> = network
            .reach
            .iter()
            .map(|opening| opening.as_str())
            .collect();
        text = format!("{text}; opened: {}", opened.join(", "));
    }
    if network.severed {
        text.push_str("; severed");
    }
    if let Some(error) = &network.error {
        text = format!("{text}; {error}");
    }
    text
}

fn addresses(interface: &InterfaceView) -> Option<String> {
    let (address, length) = (interface.address.as_ref()?, interface.prefix_length?);
    let mut text = format!("{address}/{length}");
    if let Some(address) = &interface.address6 {
        text = format!("{text}, {address}");
    }
    if let Some(gateway) = &interface.gateway {
        text = format!("{text}, gateway {gateway}");
    }
    if !interface.dns.is_empty() {
        text = format!("{text}, dns {}", interface.dns.join(", "));
    }
    Some(text)
}

/// `127.0.0.1:8080 -> 80    listening   2 open, 118 total`.
fn port_line(port: &PublishView) -> String {
    let state = if port.listening {
        "listening"
    } else {
        "closed"
    };
    let error = port.error.as_ref();
    let error = error.map_or_else(String::new, |error| format!(": {error}"));
    format!(
        "{:<24} {state:<9}  {} open, {} total{error}",
        published(port),
        port.open_connections,
        port.total_connections
    )
}

/// `2048 -> 127.0.0.1:9900  not ready   0 open, 31 total, 4 refused: connection refused`.
fn channel_line(channel: &MediationView, error: Option<&String>) -> String {
    let state = if channel.ready { "ready" } else { "not ready" };
    let error = channel.error.as_ref().or(error).filter(|_| !channel.ready);
    let error = error.map_or_else(String::new, |error| format!(": {error}"));
    let way = format!("{} -> {}", channel.port, channel.target);
    format!(
        "{way:<24} {state:<9}  {} open, {} total, {} refused{error}",
        channel.open_connections, channel.total_connections, channel.refused_connections
    )
}

#[cfg(test)]
mod tests;
