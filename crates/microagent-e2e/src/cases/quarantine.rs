//! Quarantine of a real guest that talks in every direction: before, every way is open; afterwards none is,
//! and the evidence stands.

use crate::cases::network::NEEDS;
use crate::framework::case::{Case, case};
use crate::framework::net_hosts::{Host, NetHosts};
use crate::framework::workspace::{Lasting, NAME};
use crate::framework::world::World;
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "quarantine::every_way_is_cut_and_the_evidence_stays",
            severed,
        )
        .needing(NEEDS),
        case(
            "quarantine::a_frozen_guest_does_nothing_more_and_lets_nobody_in",
            frozen,
        ),
    ]
}

const CONTROL_PLANE: &str = include_str!("../../../../docs/examples/mediation/control_plane.py");
/// The whole takes less than this on a real processor.
const WHOLE_LIMIT: Duration = Duration::from_secs(1);

/// Sends to the world without end, holds a mediation connection, serves whoever comes, and says again and
/// again on its console whether new connections out can be made.
const WORKLOAD: &str = "import os, socket, threading, time
port = int(os.environ['MICROAGENT_MEDIATION_PORT'])
def talk():
    out = socket.create_connection(('198.51.100.10', 9000), 30)
    while True:
        out.sendall(b'x' * 100)
        time.sleep(0.01)
def channel():
    held = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    held.settimeout(10)
    held.connect((2, port))
    held.sendall(b'whoami\\n')
    return held if held.recv(100) else None
def hold():
    held = channel()
    print('channel held', flush=True)
    held.settimeout(None)
    try:
        held.recv(1)
    except OSError:
        pass
    print('channel lost', flush=True)
def serve():
    server = socket.create_server(('127.0.0.1', 7001))
    while True:
        peer = server.accept()[0]
        peer.sendall(b'.')
        threading.Thread(target=peer.recv, args=(1,), daemon=True).start()
def tried(attempt):
    try:
        return bool(attempt())
    except OSError:
        return False
for task in (talk, hold, serve):
    threading.Thread(target=task, daemon=True).start()
while True:
    out = tried(lambda: socket.create_connection(('198.51.100.10', 8000), 3))
    print('ways:', 'out' if out else '-', 'channel' if tried(channel) else '-', flush=True)
    time.sleep(0.3)";

/// Holds a connection to a published port and says how it ended.
const CLIENT: &str = "import socket, sys
held = socket.create_connection(('127.0.0.1', int(sys.argv[1])), 60)
held.recv(1)
print('open', flush=True)
try:
    print('end', held.recv(1))
except ConnectionResetError:
    print('reset')";

fn seconds() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0.0, |now| now.as_secs_f64())
}

fn severed(world: &World) -> Result<()> {
    let hosts = NetHosts::make()?;
    let plane = ["python3", "-c", CONTROL_PLANE, "127.0.0.1:9900"];
    let plane = hosts
        .program(Host::Home, &plane)
        .limit(Duration::from_mins(10))
        .spawn()?;
    plane.wait_for_stdout("listening")?;
    let flags = ["-p", "0:7001", "--mediation", "2048=127.0.0.1:9900"];
    let workload = ["python3", "-c", WORKLOAD];
    let lasting = Lasting::create_on(world, hosts.home_namespace(), &flags, &workload)?;
    lasting.does(&["start", NAME])?;
    lasting
        .console_says(|text| text.contains("channel held") && text.contains("ways: out channel"))?;
    let before = lasting.status()?;
    let port = before["network"]["publish"][0]["hostPort"].to_string();
    let client = hosts
        .program(Host::Home, &["python3", "-c", CLIENT, &port])
        .limit(world.limit(Duration::from_mins(2)))
        .spawn()?;
    client.wait_for_stdout("open")?;
    let session = lasting
        .line(&["exec", NAME, "--", "sh", "-c", "echo up; sleep 600"])
        .limit(world.limit(Duration::from_mins(2)))
        .spawn()?;
    session.wait_for_stdout("up")?;
    hosts.service(Host::World).wait_for_stdout("sink: begun")?;

    let note = "odd egress";
    let told = lasting
        .does(&["quarantine", "--json", "--note", note, NAME])?
        .json()?;
    let done = seconds();
    let told = match &told["results"][0] {
        Value::Null => &told,
        result => result,
    };
    for path in ["network", "publish", "mediation", "sessions"] {
        ensure!(told["severed"][path] == "done", "{told:#}");
    }
    ensure!(
        told["vmAlive"] == true && told["frozen"] == false,
        "{told:#}"
    );

    // What was open, in each direction.
    let client = client.finish()?.expect_code(0)?.stdout_text();
    ensure!(client == "open\nreset\n", "{client}");
    ensure!(session.finish()?.code != Some(0), "the session ended well");
    let sink = hosts.service(Host::World);
    sink.wait_for_stdout("sink: silent since ")?;
    let silent = silent_since(&sink.stdout_so_far())?;
    ensure!(
        silent < done + 0.1,
        "a packet {:.3} s after the end",
        silent - done
    );

    // What could be opened. The guest lives on and says so itself.
    lasting.console_says(|text| text.contains("channel lost") && text.contains("ways: - -"))?;
    let after = lasting.is("quarantined", "quarantined")?;
    ensure!(after["vm"]["pid"] == before["vm"]["pid"], "{after:#}");
    let process = format!("/proc/{}", after["vm"]["pid"]);
    ensure!(std::path::Path::new(&process).exists(), "the VM was ended");
    ensure!(after["readiness"]["mediationReady"] == false);
    for words in [
        &["exec", NAME, "--", "true"][..],
        &["start", NAME],
        &["resume", NAME],
    ] {
        lasting.refuses(words, "wrong_state")?;
    }
    nobody_is_let_in(&lasting)?;
    hosts.nothing_left(world)?;
    let run = std::fs::read_dir(lasting.folder().join("run"))?;
    let run: Vec<String> = run
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    ensure!(!run.iter().any(|name| name.ends_with("_2048")), "{run:?}");
    let network = lasting.does(&["network", "--json", NAME])?.json()?;
    ensure!(network["severed"] == true, "{network:#}");

    in_order_and_in_time(world, &lasting)?;
    lasting.does(&["quarantine", "--freeze", NAME])?;
    ensure!(lasting.status()?["quarantine"]["frozen"] == true);
    lasting.refuses(&["halt", NAME], "wrong_state")?;
    lasting.does(&["kill", NAME])?;
    let released = lasting.is("stopped", "killed")?;
    ensure!(
        released["quarantine"]["active"] == false && released["quarantine"]["note"] == note,
        "{released:#}"
    );
    lasting.does(&["start", NAME])?;
    lasting.console_says(|text| text.matches("channel held").count() >= 2)?;
    lasting.does(&["kill", NAME])?;
    lasting.ends_well()?;
    hosts.nothing_left(world)
}

/// Every door of the guest is shut to its own user.
fn nobody_is_let_in(lasting: &Lasting<'_>) -> Result<()> {
    for words in [
        &["exec", NAME, "--", "true"][..],
        &["connect", NAME, "--send", "true"],
        &["connect", NAME, "--serial", "--send", "true"],
        &["cp", "kept:/etc/hostname", "/dev/null"],
        &["cp", "/dev/null", "kept:/tmp/in"],
    ] {
        lasting.refuses(words, "wrong_state")?;
    }
    Ok(())
}

/// What is shown of the processors' time is in hundredths of a second.
const STILL_TICKS_MAX: u64 = 3;
/// Long enough for a guest that runs to be seen running.
const LOOK: Duration = Duration::from_secs(1);
/// The VMM's own threads put things in order for a moment behind the freeze.
const LOOKS_MAX: u32 = 8;

/// A quarantine that freezes is the first one here, of a guest that is never idle.
fn frozen(world: &World) -> Result<()> {
    let busy = "n=0; while :; do n=$((n+1)); [ $((n % 20000)) = 0 ] && echo turn $n; done";
    let flags = ["-p", "0:7001"];
    let lasting = Lasting::create(world, &flags, &["sh", "-c", busy])?;
    lasting.does(&["start", NAME])?;
    lasting.console_says(|text| text.contains("turn 40000"))?;
    let before = lasting.status()?;
    let told = lasting
        .does(&["quarantine", "--freeze", "--json", NAME])?
        .json()?;
    let told = match &told["results"][0] {
        Value::Null => &told,
        result => result,
    };
    ensure!(
        told["vmAlive"] == true && told["frozen"] == true,
        "{told:#}"
    );
    let after = lasting.is("quarantined", "quarantined")?;
    ensure!(after["vm"]["pid"] == before["vm"]["pid"], "{after:#}");
    ensure!(after["quarantine"]["frozen"] == true, "{after:#}");

    let console = lasting.console().len();
    comes_to_rest(&after)?;
    ensure!(lasting.console().len() == console, "the guest speaks");

    nobody_is_let_in(&lasting)?;
    for words in [&["start", NAME][..], &["resume", NAME], &["halt", NAME]] {
        lasting.refuses(words, "wrong_state")?;
    }
    // Once more changes nothing, and a thaw is no part of it.
    lasting.does(&["quarantine", NAME])?;
    ensure!(lasting.status()?["quarantine"]["frozen"] == true);
    lasting.does(&["stop", NAME])?;
    let released = lasting.status()?;
    ensure!(released["state"] == "stopped", "{released:#}");
    ensure!(released["quarantine"]["active"] == false, "{released:#}");
    lasting.ends_well()
}

/// There is a whole second in which the VM takes no processor time, which a busy guest that still
/// runs never has.
fn comes_to_rest(status: &Value) -> Result<()> {
    let mut seen = Vec::new();
    for _ in 0..LOOKS_MAX {
        let before = processor_ticks(status)?;
        std::thread::sleep(LOOK);
        let ran = processor_ticks(status)? - before;
        if ran <= STILL_TICKS_MAX {
            return Ok(());
        }
        seen.push(ran);
    }
    bail!("the guest runs: {seen:?} ticks in each second")
}

/// Processor time of the VM's process so far.
fn processor_ticks(status: &Value) -> Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", status["vm"]["pid"]))?;
    let (_, fields) = stat.rsplit_once(')').context("no name")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let field = |index: usize| -> Result<u64> {
        let text = fields.get(index).context("a field is missing")?;
        Ok(text.parse()?)
    };
    Ok(field(11)? + field(12)?)
}

fn silent_since(sink: &str) -> Result<f64> {
    let (_, time) = sink
        .rsplit_once("silent since ")
        .context("it is not silent")?;
    Ok(time.trim().parse()?)
}

/// The steps stand in the history in their order, and took no longer than they may.
fn in_order_and_in_time(world: &World, lasting: &Lasting<'_>) -> Result<()> {
    let text = std::fs::read_to_string(lasting.folder().join("events.jsonl"))?;
    let events: Vec<Value> = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let at = |kind: &str| {
        let found = events.iter().position(|event| event["type"] == kind);
        found.with_context(|| format!("no `{kind}`"))
    };
    let (first, cut, last) = (
        at("quarantine_requested")?,
        at("severed")?,
        at("quarantined")?,
    );
    ensure!(first < cut && cut < last);
    let connections = &events[cut]["data"]["connections"];
    ensure!(
        connections["publish"] == 1 && connections["sessions"] == 1,
        "{connections}"
    );
    let refused: Vec<&str> = events
        .iter()
        .filter(|event| event["type"] == "refused")
        .filter_map(|event| event["data"]["verb"].as_str())
        .collect();
    ensure!(refused[..2] == ["exec", "start"], "{refused:?}");
    let time = |index: usize| -> Result<f64> {
        let text = events[index]["time"].as_str().context("no time")?;
        let (_, clock) = text.split_once('T').context("no clock")?;
        let mut parts = clock
            .trim_end_matches('Z')
            .split(':')
            .map(str::parse::<f64>);
        let mut part = || {
            parts
                .next()
                .context("a part is missing")?
                .context("no number")
        };
        Ok(part()? * 3600.0 + part()? * 60.0 + part()?)
    };
    let took = (time(last)? - time(first)?).rem_euclid(86400.0);
    ensure!(
        took < world.limit(WHOLE_LIMIT).as_secs_f64(),
        "it took {took:.3} s"
    );
    Ok(())
}
