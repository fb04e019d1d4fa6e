//! Bulk in both directions at once with readers that lag, through a published port and over the mediation
//! channel: what a vsock device may stop to carry for good when both of its ends are full.

use crate::framework::case::{Case, Need, case};
use crate::framework::workspace::{Lasting, NAME};
use crate::framework::world::World;
use anyhow::{Context as _, Result, bail, ensure};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "both_ways::readers_that_lag_stop_nobody_for_good",
            both_ways,
        )
        .needing(&[Need::Tool("python3")]),
    ]
}

const GUEST: &str = include_str!("../programs/both_ways.py");
/// More than all buffers on the way hold.
const BULK_BYTES: usize = 16 << 20;
/// What is sent to a guest that reads it slowly: more than its kernel takes in at once.
const SLOW_BYTES: usize = 1 << 20;
const MEDIATION_PORT: &str = "2048";
/// Everything on the way is full by then on any host; on none does the result depend on it.
const LAG: Duration = Duration::from_millis(1500);
/// Of a direction in which nothing moves.
const SILENCE_LIMIT: Duration = Duration::from_secs(20);
const PIECE_BYTES: usize = 64 << 10;

/// What a byte of a bulk is, by its place.
fn byte_at(place: usize) -> u8 {
    u8::try_from(place % 251).expect("a remainder")
}

/// Writes so many bytes from a thread of its own.
fn write_all(stream: &TcpStream, bytes: usize) -> Result<Receiver<()>> {
    let mut stream = stream.try_clone()?;
    let (tell, told) = sync_channel(1);
    std::thread::spawn(move || {
        let all: Vec<u8> = (0..bytes).map(byte_at).collect();
        if stream.write_all(&all).is_ok() {
            let _ = tell.send(());
        }
    });
    Ok(told)
}

/// Reads so many bytes after a while, and checks each.
fn read_late(stream: &mut TcpStream, bytes: usize) -> Result<()> {
    std::thread::sleep(LAG);
    let mut buffer = vec![0; PIECE_BYTES];
    let mut place = 0;
    while place < bytes {
        let most = PIECE_BYTES.min(bytes - place);
        let read = stream.read(&mut buffer[..most]);
        let read = read.with_context(|| format!("nothing came after {place} bytes"))?;
        ensure!(read > 0, "the end came after {place} bytes");
        for &byte in &buffer[..read] {
            ensure!(byte == byte_at(place), "byte {place} is another one");
            place += 1;
        }
    }
    Ok(())
}

/// The host's part of one round, over a stream that leads to the guest's.
fn host_part(world: &World, mut stream: TcpStream, what: &str) -> Result<()> {
    stream.set_read_timeout(Some(world.limit(SILENCE_LIMIT)))?;
    let sent = match what {
        "echo" => write_all(&stream, BULK_BYTES)?,
        "slow" => write_all(&stream, SLOW_BYTES)?,
        other => bail!("no part `{other}`"),
    };
    read_late(&mut stream, BULK_BYTES).context(what.to_owned())?;
    sent.recv_timeout(world.limit(SILENCE_LIMIT))
        .with_context(|| format!("{what}: not everything was taken"))?;
    // The guest has read all of it, whatever was on its way.
    let mut last = [0; 4];
    stream
        .read_exact(&mut last)
        .context("the guest's last word")?;
    ensure!(&last == b"done", "{last:?}");
    Ok(())
}

fn both_ways(world: &World) -> Result<()> {
    let target = TcpListener::bind("127.0.0.1:0")?;
    let mediation = format!("{MEDIATION_PORT}={}", target.local_addr()?);
    let flags = ["-p", "0:7000", "--mediation", &mediation];
    let lasting = Lasting::create(world, &flags, &["python3", "-c", GUEST, "serve", "7000"])?;
    lasting.does(&["start", NAME])?;
    lasting.console_says(|text| text.contains("serving"))?;
    let status = lasting.status()?;
    let port = status["network"]["publish"][0]["hostPort"].as_u64();
    let port = u16::try_from(port.context("no port")?)?;
    for what in ["echo", "slow"] {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.write_all(format!("{what}\n").as_bytes())?;
        host_part(world, stream, what).context("published")?;
    }
    for what in ["echo", "slow"] {
        let dial = lasting
            .line(&["exec", NAME, "--", "python3", "-c", GUEST, "dial", what])
            .limit(world.limit(Duration::from_mins(2)))
            .spawn()?;
        let stream = loop {
            let (mut stream, _) = target.accept()?;
            stream.set_read_timeout(Some(world.limit(SILENCE_LIMIT)))?;
            // A look of the monitor closes at once.
            let mut first = [0; 1];
            if stream.read(&mut first)? == 1 {
                break stream;
            }
        };
        host_part(world, stream, what).context("mediation")?;
        dial.finish()?.expect_code(0)?;
    }
    lasting.does(&["kill", NAME])?;
    lasting.ends_well()
}
