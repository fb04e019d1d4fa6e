//! The mediation channel of real guests: required and optional, over TCP and Unix sockets, with control
//! planes that are away, killed, replaced, slow, flooding and half-closed, and with guests that dial too much.

use crate::framework::case::{Case, Need, case};
use crate::framework::check;
use crate::framework::workspace::{Lasting, NAME};
use crate::framework::world::World;
use anyhow::{Context as _, Result, bail, ensure};
use microagent_test::cli::{Program, Running, Signal};
use serde_json::Value;
use std::time::{Duration, Instant};

const NEEDS: &[Need] = &[Need::Tool("python3")];
const CONTROL_PLANE: &str = include_str!("../../../../docs/examples/mediation/control_plane.py");
const CLIENT: &str = include_str!("../../../../docs/examples/mediation/guest_client.py");
const ODD_CONTROL_PLANE: &str = include_str!("../programs/odd_control_plane.py");
/// A probe every five seconds, and what a busy machine adds.
const HEAL_LIMIT: Duration = Duration::from_secs(15);
const SERVICE_LIMIT: Duration = Duration::from_mins(10);
const PAUSE: Duration = Duration::from_millis(100);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "mediation::a_required_target_is_needed_to_start_and_may_come_back_later",
            required,
        )
        .needing(NEEDS),
        case(
            "mediation::an_optional_one_may_come_later_and_its_socket_may_be_replaced",
            optional,
        )
        .needing(NEEDS),
        case(
            "mediation::odd_control_planes_and_greedy_guests_harm_nobody_else",
            odd,
        )
        .needing(NEEDS),
    ]
}

fn python(lasting: &Lasting<'_>, words: &[&str]) -> Program {
    let interpreter = ["/usr/bin/python3", "/usr/local/bin/python3"]
        .into_iter()
        .find(|path| std::path::Path::new(path).exists());
    let program = match interpreter {
        Some(path) => Program::at(path),
        None => Program::at("/usr/bin/env").arg("python3"),
    };
    program
        .of(lasting.home())
        .arg("-c")
        .args(words)
        .limit(SERVICE_LIMIT)
}

fn control_plane(lasting: &Lasting<'_>, at: &str, workspace: &str) -> Result<Running> {
    let running = python(lasting, &[CONTROL_PLANE, at])
        .env("WORKSPACE", workspace)
        .spawn()?;
    running.wait_for_stdout("listening")?;
    Ok(running)
}

fn end(mut service: Running) -> Result<()> {
    service.signal_group(Signal::KILL)?;
    while !service.has_ended()? {
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.port())
}

/// Asks through the reference client, from inside.
fn ask(lasting: &Lasting<'_>, method: &str) -> Result<Option<String>> {
    let finished = lasting
        .line(&["exec", NAME, "--", "python3", "-c", CLIENT, method])
        .run()?;
    match finished.code {
        Some(0) => {
            let text = finished.stdout_text();
            let answer = text.trim().strip_prefix("ok").context("no answer")?;
            Ok(Some(answer.trim().to_owned()))
        }
        Some(1) if finished.stderr_text().contains("guest_client:") => Ok(None),
        _ => bail!("{}", finished.stderr_text()),
    }
}

fn until_ready(world: &World, lasting: &Lasting<'_>, ready: bool) -> Result<Value> {
    let began = Instant::now();
    loop {
        let status = lasting.status()?;
        if status["readiness"]["mediationReady"] == ready {
            return Ok(status);
        }
        ensure!(
            began.elapsed() < world.limit(HEAL_LIMIT),
            "mediationReady did not become {ready}: {:#}",
            status["readiness"]
        );
        std::thread::sleep(PAUSE);
    }
}

/// The events of a kind.
fn events(lasting: &Lasting<'_>, kind: &str) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(lasting.folder().join("events.jsonl"))?;
    let events = text.lines().map(serde_json::from_str::<Value>);
    let events: Vec<Value> = events.collect::<Result<_, _>>()?;
    Ok(events
        .into_iter()
        .filter(|event| event["type"] == kind)
        .collect())
}

fn required(world: &World) -> Result<()> {
    let port = free_port()?;
    let target = format!("127.0.0.1:{port}");
    let lasting = Lasting::create(world, &["--mediation", &format!("2048={target}")], &[])?;
    let message = lasting.refuses(&["start", NAME], "unavailable")?;
    ensure!(message.contains(&target), "{message}");
    ensure!(lasting.console().is_empty(), "something booted");
    check::processes_gone(world, lasting.home())?;

    let first = control_plane(&lasting, &target, "first")?;
    lasting.does(&["start", NAME])?;
    ensure!(ask(&lasting, "whoami")?.as_deref() == Some("first"));
    end(first)?;
    ensure!(ask(&lasting, "whoami")?.is_none(), "nobody answers");
    let away = until_ready(world, &lasting, false)?;
    let error = away["readiness"]["mediationError"]
        .as_str()
        .unwrap_or_default();
    ensure!(error.contains("refused"), "{error}");
    let shown = lasting.does(&["network", NAME])?.stdout_text();
    ensure!(shown.contains("not ready"), "{shown}");

    let second = control_plane(&lasting, &target, "second")?;
    until_ready(world, &lasting, true)?;
    ensure!(ask(&lasting, "whoami")?.as_deref() == Some("second"));
    let network = lasting.does(&["network", "--json", NAME])?.json()?;
    ensure!(
        network["mediation"]["refusedConnections"] == 1,
        "{network:#}"
    );
    ensure!(
        network["mediation"]["bytesIn"].as_u64() > Some(0),
        "{network:#}"
    );
    lasting.does(&["halt", NAME])?;
    end(second)?;

    let count = |kind| events(&lasting, kind).map(|events| events.len());
    ensure!(count("mediation_opened")? == 2 && count("mediation_closed")? == 2);
    let refused = events(&lasting, "mediation_refused")?;
    ensure!(refused.len() == 1 && refused[0]["data"]["why"] == "target_refused");
    ensure!(count("mediation_unready")? >= 1 && count("mediation_ready")? >= 1);
    lasting.ends_well()
}

fn optional(world: &World) -> Result<()> {
    // Short enough for a socket's address wherever the home lies.
    let folder = tempfile_folder()?;
    let at = format!("unix:{}/control.sock", folder.0.display());
    let flags = ["--mediation", &format!("2048={at}"), "--mediation-optional"];
    let lasting = Lasting::create(world, &flags, &[])?;
    lasting.does(&["start", NAME])?;
    ensure!(lasting.status()?["readiness"]["mediationReady"] == false);
    ensure!(ask(&lasting, "whoami")?.is_none());
    let first = control_plane(&lasting, &at, "first")?;
    until_ready(world, &lasting, true)?;
    ensure!(ask(&lasting, "whoami")?.as_deref() == Some("first"));
    // Another file under the same name, while the first still listens on what has no name any more.
    let second = control_plane(&lasting, &at, "second")?;
    ensure!(ask(&lasting, "whoami")?.as_deref() == Some("second"));
    end(first)?;
    ensure!(ask(&lasting, "echo")?.is_some());
    lasting.does(&["kill", NAME])?;
    end(second)?;
    lasting.ends_well()
}

/// A folder with a short name.
struct Folder(std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn tempfile_folder() -> Result<Folder> {
    let path = std::path::PathBuf::from(format!("/run/microagent-e2e-{}", std::process::id()));
    std::fs::create_dir_all(&path)?;
    Ok(Folder(path))
}

/// Talks to the odd control plane, and says what came of it.
const TALKS: &str = "import os, socket, time
port = int(os.environ['MICROAGENT_MEDIATION_PORT'])
def dial(first=b''):
    channel = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    channel.settimeout(60)
    channel.connect((2, port))
    channel.sendall(first)
    return channel
def rest(channel):
    total = 0
    try:
        while piece := channel.recv(65536):
            total += len(piece)
    except ConnectionResetError:
        pass
    return total
print('late', dial(b's').recv(10))
flood = dial(b'f')
print('now, beside a flood', dial(b'n').recv(10))
heard = 0
while heard < 4 << 20:
    heard += len(flood.recv(65536))
flood.close()
print('half-closed', rest(dial(b'h')))
crowd = []
for _ in range(1000):
    try:
        crowd.append(dial())
    except OSError:
        pass
time.sleep(1)
silent = 0
for channel in crowd:
    channel.setblocking(False)
    try:
        channel.recv(1)
    except BlockingIOError:
        silent += 1
    except OSError:
        pass
print('kept', 100 < silent <= 256)
for channel in crowd:
    channel.close()
time.sleep(4)
print('now, after a crowd', dial(b'n').recv(10))";

fn odd(world: &World) -> Result<()> {
    let port = free_port()?;
    let flags = ["--mediation", &format!("2048=127.0.0.1:{port}")];
    let lasting = Lasting::create(world, &flags, &[])?;
    let service = python(&lasting, &[ODD_CONTROL_PLANE, &port.to_string()]).spawn()?;
    service.wait_for_stdout("listening")?;
    lasting.does(&["start", NAME])?;
    let told = lasting
        .line(&["exec", NAME, "--", "python3", "-c", TALKS])
        .limit(world.limit(Duration::from_mins(1)))
        .run()?
        .expect_code(0)?
        .stdout_text();
    let expected = "late b'late'\nnow, beside a flood b'now'\nhalf-closed 1048576\nkept True\n\
                    now, after a crowd b'now'\n";
    ensure!(told == expected, "{told}");
    let network = lasting.does(&["network", "--json", NAME])?.json()?;
    let refused = network["mediation"]["refusedConnections"].as_u64();
    lasting.does(&["kill", NAME])?;
    end(service)?;
    let recorded = events(&lasting, "mediation_refused")?.len() as u64;
    let counted = events(&lasting, "mediation_counted")?;
    let counted = counted
        .iter()
        .map(|event| event["data"]["refused"].as_u64());
    let counted: u64 = counted
        .collect::<Option<Vec<_>>>()
        .context("no numbers")?
        .iter()
        .sum();
    ensure!(
        Some(recorded + counted) == refused,
        "{recorded} + {counted} of {refused:?}"
    );
    ensure!(recorded + counted > 0, "a thousand were not too many");
    let opened = events(&lasting, "mediation_opened")?.len();
    let closed = events(&lasting, "mediation_closed")?.len();
    ensure!(opened == closed, "{opened} opened, {closed} closed");
    lasting.ends_well()
}
