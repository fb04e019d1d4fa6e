//! Short connections by the thousand, in through a published port and out over the mediation channel at the
//! same time: each gets its answer, and nothing of them is left in the monitor.

use crate::framework::case::{Case, Need, case};
use crate::framework::workspace::{Lasting, NAME};
use crate::framework::world::World;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// How many each way; ten thousand take some minutes under emulation.
const COUNT_VARIABLE: &str = "MICROAGENT_E2E_CONNECTIONS";
const COUNT: usize = 1200;
/// Clients of the published port at once.
const CLIENTS: usize = 4;
const MESSAGE_BYTES: usize = 8;
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// For each connection; the channel alone takes 10 ms by its limit.
const SHARE: Duration = Duration::from_millis(60);
const SETTLE_LIMIT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);
/// Descriptors come and go with a request that asks about them.
const DESCRIPTORS_MORE_MAX: usize = 4;

const SERVER: &str = "import socket
server = socket.create_server(('127.0.0.1', 7000), backlog=128)
print('serving', flush=True)
while True:
    peer = server.accept()[0]
    peer.sendall(peer.recv(8, socket.MSG_WAITALL))
    peer.close()";

/// Dials as often as it is told; a dial beyond the channel's limit is tried again.
const DIALLER: &str = "import os, socket, sys, time
port = int(os.environ['MICROAGENT_MEDIATION_PORT'])
refused = 0
for number in range(int(sys.argv[1])):
    message = b'%08d' % number
    while True:
        channel = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
        channel.settimeout(60)
        try:
            channel.connect((2, port))
            channel.sendall(message)
            answer = channel.recv(8, socket.MSG_WAITALL)
        except ConnectionError:
            answer = b''
        channel.close()
        if answer:
            break
        refused += 1
        time.sleep(0.05)
    assert answer == message, answer
print('refused', refused)";

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "short::connections_by_the_thousand_get_their_answers_and_leave_nothing",
            by_the_thousand,
        )
        .needing(&[Need::Tool("python3")]),
    ]
}

fn count() -> Result<usize> {
    match std::env::var(COUNT_VARIABLE) {
        Ok(number) => number.parse().context("the count is no number"),
        Err(_) => Ok(COUNT),
    }
}

/// A target that answers with what it was told.
fn echo_target() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut message = [0; MESSAGE_BYTES];
                // A look of the monitor says nothing.
                if stream.read_exact(&mut message).is_ok() {
                    let _ = stream.write_all(&message);
                    let _ = stream.read(&mut message);
                }
            });
        }
    });
    Ok(port)
}

fn knock(port: u16, number: usize, limit: Duration) -> Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(limit))?;
    let message = format!("{number:08}");
    stream.write_all(message.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    ensure!(answer == message.as_bytes(), "{answer:?}");
    Ok(())
}

fn by_the_thousand(world: &World) -> Result<()> {
    let count = count()?;
    let mediation = format!("2048=127.0.0.1:{}", echo_target()?);
    let flags = ["-p", "0:7000", "--mediation", &mediation];
    let lasting = Lasting::create(world, &flags, &["python3", "-c", SERVER])?;
    lasting.does(&["start", NAME])?;
    lasting.console_says(|text| text.contains("serving"))?;
    let status = lasting.status()?;
    let port = status["network"]["publish"][0]["hostPort"].as_u64();
    let port = u16::try_from(port.context("no port")?)?;
    let before = descriptors(world, &lasting)?;

    let limit = world.limit(SHARE) * u32::try_from(count)? + world.limit(ANSWER_LIMIT);
    let dialler = lasting
        .line(&["exec", NAME, "--", "python3", "-c", DIALLER])
        .args([&count.to_string()])
        .limit(limit)
        .spawn()?;
    let answer_limit = world.limit(ANSWER_LIMIT);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            std::thread::spawn(move || {
                (client..count).step_by(CLIENTS).try_for_each(|number| {
                    knock(port, number, answer_limit)
                        .with_context(|| format!("connection {number} to the port"))
                })
            })
        })
        .collect();
    for client in clients {
        client
            .join()
            .map_err(|_| anyhow::anyhow!("a client panicked"))??;
    }
    let told = dialler.finish()?.expect_code(0)?.stdout_text();
    let refused = told.trim().strip_prefix("refused ").context("no word")?;
    let refused: u64 = refused.parse()?;

    let network = settled(world, &lasting)?;
    ensure!(
        network["publish"][0]["totalConnections"] == count,
        "{network:#}"
    );
    let mediation = &network["mediation"];
    ensure!(mediation["totalConnections"] == count, "{network:#}");
    ensure!(mediation["refusedConnections"] == refused, "{network:#}");
    let bytes = (count * MESSAGE_BYTES) as u64;
    ensure!(
        mediation["bytesIn"] == bytes && mediation["bytesOut"] == bytes,
        "{network:#}"
    );
    let after = descriptors(world, &lasting)?;
    ensure!(
        after <= before + DESCRIPTORS_MORE_MAX,
        "{before} descriptors became {after}"
    );
    lasting.does(&["kill", NAME])?;
    // Each that the channel carried is in the history.
    let text = std::fs::read_to_string(lasting.folder().join("events.jsonl"))?;
    let closed = text.matches("\"mediation_closed\"").count();
    ensure!(closed == count, "{closed} were recorded");
    lasting.ends_well()
}

/// What `network` tells when nothing is open any more.
fn settled(world: &World, lasting: &Lasting<'_>) -> Result<Value> {
    let began = Instant::now();
    loop {
        let network = lasting.does(&["network", "--json", NAME])?.json()?;
        let open = |of: &Value| of["openConnections"].as_u64();
        if open(&network["publish"][0]) == Some(0) && open(&network["mediation"]) == Some(0) {
            return Ok(network);
        }
        ensure!(
            began.elapsed() < world.limit(SETTLE_LIMIT),
            "connections stay open: {network:#}"
        );
        std::thread::sleep(PAUSE);
    }
}

/// How many descriptors the monitor and the device hold.
fn descriptors(world: &World, lasting: &Lasting<'_>) -> Result<usize> {
    let mut count = 0;
    for process in lasting.processes(world.backend().supervisor())? {
        count += std::fs::read_dir(format!("/proc/{}/fd", process.pid))?.count();
    }
    Ok(count)
}
