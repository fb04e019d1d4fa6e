//! Published ports of real guests: many, half-closed, crowded, taken, and with nobody behind them.

use crate::framework::case::{Case, case};
use crate::framework::check;
use crate::framework::workspace::{Lasting, NAME};
use crate::framework::world::World;
use anyhow::{Context as _, Result, ensure};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("publish::ports_lead_to_the_guests_servers", ports),
        case(
            "publish::a_port_that_is_taken_is_an_error_before_boot",
            taken,
        ),
    ]
}

/// Reads to the end and then answers with the number of bytes: what only works with half-close. The second
/// server keeps whoever comes.
const SERVER: &str = "import socket, threading, time
def serve(port, do):
    server = socket.create_server(('127.0.0.1', port), backlog=512)
    print(port, flush=True)
    while True:
        threading.Thread(target=do, args=server.accept()[:1], daemon=True).start()
def count(peer):
    total = 0
    while piece := peer.recv(65536):
        total += len(piece)
    peer.sendall(b'%d bytes' % total)
    peer.close()
def keep(peer):
    peer.sendall(b'.')
    peer.recv(1)
threading.Thread(target=serve, args=(7000, count), daemon=True).start()
serve(7001, keep)";

/// More than the 128 that are asked for, and more than the sessions of a guest.
const CROWD: usize = 200;
const READ_LIMIT: Duration = Duration::from_secs(10);

fn connect(world: &World, address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(world.limit(READ_LIMIT)))?;
    Ok(stream)
}

fn ports(world: &World) -> Result<()> {
    let flags = [
        "-p",
        "0:7000",
        "-p",
        "[::1]:0:7000",
        "-p",
        "0:7001",
        "-p",
        "0:7999",
    ];
    let lasting = Lasting::create(world, &flags, &["python3", "-c", SERVER])?;
    lasting.does(&["start", NAME])?;
    lasting.console_says(|text| text.contains("7000") && text.contains("7001"))?;
    let status = lasting.status()?;
    let address = |index: usize| -> Result<SocketAddr> {
        let port = &status["network"]["publish"][index];
        let number = u16::try_from(port["hostPort"].as_u64().context("no port")?)?;
        let host = port["host"].as_str().context("no host")?;
        Ok(SocketAddr::new(host.parse()?, number))
    };
    for index in [0, 1] {
        let mut client = connect(world, address(index)?)?;
        client.write_all(&vec![7; 300_000])?;
        client.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        client.read_to_string(&mut answer)?;
        ensure!(answer == "300000 bytes", "{index}: {answer}");
    }
    ensure!(address(1)?.ip() == Ipv6Addr::LOCALHOST);

    // Nobody listens on the guest's 7999.
    let began = Instant::now();
    let refused = connect(world, address(3)?)?.read(&mut [0; 1]);
    ensure!(
        matches!(&refused, Err(error) if error.kind() == ErrorKind::ConnectionReset),
        "{refused:?}"
    );
    ensure!(began.elapsed() < world.limit(Duration::from_secs(2)));

    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        crowd.push(connect(world, address(2)?)?);
    }
    for (index, client) in crowd.iter_mut().enumerate() {
        let heard = client.read_exact(&mut [0; 1]);
        heard.with_context(|| format!("connection {index} of the crowd"))?;
    }
    let network = lasting.does(&["network", "--json", NAME])?.json()?;
    ensure!(
        network["publish"][2]["openConnections"] == CROWD,
        "{network:#}"
    );
    // A crowd at a port leaves room to look at the guest.
    ensure!(lasting.shell("echo here")? == "here\n");
    drop(crowd);

    lasting.does(&["halt", NAME])?;
    for index in 0..4 {
        ensure!(
            TcpStream::connect(address(index)?).is_err(),
            "{index} listens"
        );
    }
    lasting.ends_well()
}

fn taken(world: &World) -> Result<()> {
    let holder = TcpListener::bind("127.0.0.1:0")?;
    let port = holder.local_addr()?.port();
    let lasting = Lasting::create(world, &["-p", &format!("{port}:80")], &[])?;
    let message = lasting.refuses(&["start", NAME], "conflict")?;
    ensure!(message.contains(&port.to_string()), "{message}");
    lasting.is("prepared", "created")?;
    ensure!(lasting.console().is_empty(), "something booted");
    check::processes_gone(world, lasting.home())?;
    drop(holder);
    lasting.does(&["start", NAME])?;
    let other = [
        "create",
        "other",
        "-p",
        &format!("0.0.0.0:{port}:80"),
        "--idle",
        "--image",
    ];
    let image = world.debian_source()?;
    lasting.does(&[&other[..], &[&image]].concat())?;
    let message = lasting.refuses(&["start", "other"], "conflict")?;
    ensure!(message.contains(&format!("`{NAME}`")), "{message}");
    lasting.does(&["delete", "--yes", "other"])?;
    lasting.does(&["kill", NAME])?;
    lasting.ends_well()
}
