//! What the monitor costs on the way into and out of a guest: a published port and the mediation channel
//! beside the same bytes over the bare vsock device, to and from the same program of the same guest.
//!
//! The bare way is the device's own socket, which nobody but a monitor should dial; here nothing is at
//! stake. Times are of the host for what comes from outside, and of the guest for what it dials itself.

use crate::bare_vsock;
use crate::bench::{Bench, Report, debian_source, timed};
use crate::compare::Comparison;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const NAME: &str = "bench-net";
/// What the guest runs.
pub(crate) const GUEST: &str = include_str!("net_guest.py");
const GUEST_TCP: &str = "7000";
const GUEST_VSOCK: &str = "7100";
const MEDIATION_PORT: u32 = 2048;
/// Where the guest dials past the monitor.
const BARE_PORT: u32 = 3000;
pub(crate) const BULK_MIB: f64 = 32.0;
pub(crate) const BULK_BYTES: u64 = 32 << 20;
const PIECE_BYTES: usize = 256 << 10;
pub(crate) const ROUND_TRIPS: u64 = 100;
/// Of all rounds together, fewer than the mediation channel lets in at once.
const CONNECTIONS: u32 = 20;
const MESSAGE_BYTES: usize = 64;
/// A bench that hangs is a bench that failed.
const READ_LIMIT: Duration = Duration::from_mins(1);

/// A guest with a port, a channel, and a service that is bare.
struct Guest<'a> {
    bench: &'a Bench,
    port: u16,
    run: PathBuf,
}

impl<'a> Guest<'a> {
    fn boot(bench: &'a Bench) -> Result<Self> {
        let target = sink(TcpListener::bind("127.0.0.1:0")?)?;
        let image = debian_source()?;
        let mediation = format!("{MEDIATION_PORT}=127.0.0.1:{target}");
        let workspace = bench.home().state_dir().join("workspaces").join(NAME);
        let guest = Self {
            bench,
            port: 0,
            run: workspace.join("run"),
        };
        let publish = format!("0:{GUEST_TCP}");
        let create = ["create", NAME, "--network", "isolated", "-p", &publish];
        let words = ["--mediation", &mediation, "--image", &image, "--"];
        bench
            .microagent()
            .args(create)
            .args(words)
            .args(["python3", "-c", GUEST, GUEST_TCP, GUEST_VSOCK])
            .run()?
            .expect_code(0)?;
        guest.does(&["start", NAME])?;
        let status: Value = guest.does(&["status", "--json", NAME])?.json()?;
        let port = status["network"]["publish"][0]["hostPort"].as_u64();
        let port = u16::try_from(port.context("no published port")?)?;
        bare_vsock::await_server(&workspace)?;
        bare_sink(UnixListener::bind(
            guest.run.join(format!("vsock.sock_{BARE_PORT}")),
        )?);
        Ok(Self { port, ..guest })
    }

    fn does(&self, words: &[&str]) -> Result<microagent_test::cli::Finished> {
        self.bench.microagent().args(words).run()?.expect_code(0)
    }

    fn published(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_LIMIT))?;
        Ok(stream)
    }

    fn bare(&self) -> Result<UnixStream> {
        bare_vsock::dial(&self.run, GUEST_VSOCK)
    }

    /// The guest dials both ways in turns, and tells how long each took.
    fn dials(&self, turns: u32, talk: Talk) -> Result<Comparison> {
        let rounds = self.bench.rounds().to_string();
        let ports = [MEDIATION_PORT.to_string(), BARE_PORT.to_string()];
        let (what, count) = talk.parts();
        let told = self
            .bench
            .microagent()
            .args(["exec", NAME, "--", "python3", "-c", GUEST, "dial"])
            .args([&char::from(what).to_string(), &count.to_string()])
            .args([&turns.to_string(), &rounds, &ports[0], &ports[1]])
            .run()?
            .expect_code(0)?
            .stdout_text();
        let mut comparison = Comparison::default();
        for line in told.lines() {
            let (ours, bare) = line.split_once(' ').context("two times a line")?;
            let span =
                |text: &str| Ok::<_, anyhow::Error>(Duration::try_from_secs_f64(text.parse()?)?);
            comparison.add(span(ours)?, span(bare)?);
        }
        Ok(comparison)
    }

    fn end(self) -> Result<()> {
        self.does(&["kill", NAME])?;
        self.does(&["delete", "--yes", NAME])?;
        Ok(())
    }
}

/// What one side asks the other for, in the first byte that it says.
#[derive(Clone, Copy)]
pub(crate) enum Talk {
    /// Bytes of whoever is asked, which is the guest for a published port and the host for the channel.
    Give(u64),
    /// Taking bytes, and one when all are there.
    Take(u64),
    /// Echoes of messages, one after the other.
    Echo(u64),
}

impl Talk {
    fn parts(self) -> (u8, u64) {
        match self {
            Self::Give(count) => (b'g', count),
            Self::Take(count) => (b't', count),
            Self::Echo(count) => (b'e', count),
        }
    }
}

fn take(mut stream: impl Read, bytes: u64) -> Result<()> {
    let mut left = bytes;
    let mut buffer = vec![0; PIECE_BYTES];
    while left > 0 {
        let read = stream.read(&mut buffer)? as u64;
        ensure!(read > 0, "the other side ended early");
        left = left.saturating_sub(read);
    }
    Ok(())
}

fn give(mut stream: impl Write, bytes: u64) -> Result<()> {
    let piece = vec![b'b'; PIECE_BYTES];
    let mut left = bytes;
    while left > 0 {
        let now = usize::try_from(left).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
        stream.write_all(&piece[..now])?;
        left -= now as u64;
    }
    Ok(())
}

/// Does what the guest asks for.
fn serve(mut stream: impl Read + Write) -> Result<()> {
    let mut head = [0; 9];
    while stream.read_exact(&mut head).is_ok() {
        let count = u64::from_be_bytes(head[1..].try_into()?);
        match head[0] {
            b'g' => give(&mut stream, count)?,
            b't' => {
                take(&mut stream, count)?;
                stream.write_all(b".")?;
            }
            _ => {
                for _ in 0..count {
                    let mut message = [0; MESSAGE_BYTES];
                    stream.read_exact(&mut message)?;
                    stream.write_all(&message)?;
                }
            }
        }
    }
    Ok(())
}

fn sink(listener: TcpListener) -> Result<u16> {
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A look of the monitor closes at once, which is an end like any other.
            std::thread::spawn(move || {
                let _ = stream.set_nodelay(true);
                serve(stream)
            });
        }
    });
    Ok(port)
}

fn bare_sink(listener: UnixListener) {
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
}

/// Asks the guest's service.
pub(crate) fn ask(mut stream: impl Read + Write, talk: Talk) -> Result<()> {
    let (what, count) = talk.parts();
    let mut head = vec![what];
    head.extend(count.to_be_bytes());
    stream.write_all(&head)?;
    match talk {
        Talk::Give(bytes) => take(stream, bytes),
        Talk::Take(bytes) => {
            give(&mut stream, bytes)?;
            Ok(stream.read_exact(&mut [0; 1])?)
        }
        Talk::Echo(count) => {
            let mut message = [7; MESSAGE_BYTES];
            for _ in 0..count {
                stream.write_all(&message)?;
                stream.read_exact(&mut message)?;
            }
            Ok(())
        }
    }
}

/// How many of a thing were done in a second of ours.
pub(crate) fn a_second(comparison: &Comparison, count: f64) -> f64 {
    comparison
        .ours_ms()
        .map_or(0.0, |ours| count * 1000.0 / ours.median)
}

/// From outside: `turns` connections, each of which asks once.
fn over_publish(bench: &Bench, turns: u32, talk: Talk) -> Result<Comparison> {
    let guest = Guest::boot(bench)?;
    let comparison = bench.compare(
        || timed(|| (0..turns).try_for_each(|_| ask(guest.published()?, talk))),
        || timed(|| (0..turns).try_for_each(|_| ask(guest.bare()?, talk))),
    )?;
    guest.end()?;
    Ok(comparison)
}

/// From inside.
fn over_mediation(bench: &Bench, turns: u32, talk: Talk) -> Result<Comparison> {
    let guest = Guest::boot(bench)?;
    let comparison = guest.dials(turns, talk)?;
    guest.end()?;
    Ok(comparison)
}

fn bulk(ours: &'static str, comparison: Comparison) -> Report {
    let rate = a_second(&comparison, BULK_MIB);
    Report::new(ours, "over bare vsock", comparison).with_figure("MiB/s", rate)
}

/// Out of the guest through a published port.
pub(crate) fn publish_out(bench: &Bench) -> Result<Report> {
    let comparison = over_publish(bench, 1, Talk::Give(BULK_BYTES))?;
    Ok(bulk("32 MiB out through a published port", comparison))
}

/// Into the guest through a published port.
pub(crate) fn publish_in(bench: &Bench) -> Result<Report> {
    let comparison = over_publish(bench, 1, Talk::Take(BULK_BYTES))?;
    Ok(bulk("32 MiB in through a published port", comparison))
}

/// Small messages there and back through a published port.
pub(crate) fn publish_trips(bench: &Bench) -> Result<Report> {
    let comparison = over_publish(bench, 1, Talk::Echo(ROUND_TRIPS))?;
    let ours = "100 round trips through a published port";
    Ok(Report::new(ours, "over bare vsock", comparison))
}

/// Connections one after the other, each with one round trip.
pub(crate) fn publish_connections(bench: &Bench) -> Result<Report> {
    let comparison = over_publish(bench, CONNECTIONS, Talk::Echo(1))?;
    let rate = a_second(&comparison, f64::from(CONNECTIONS));
    let ours = "20 connections to a published port";
    Ok(Report::new(ours, "over bare vsock", comparison)
        .with_figure("a second", rate)
        .with_note("ours also connects the guest's own port"))
}

/// Out of the guest over the mediation channel.
pub(crate) fn mediation_out(bench: &Bench) -> Result<Report> {
    let comparison = over_mediation(bench, 1, Talk::Take(BULK_BYTES))?;
    Ok(bulk("32 MiB out over the mediation channel", comparison))
}

/// Into the guest over the mediation channel.
pub(crate) fn mediation_in(bench: &Bench) -> Result<Report> {
    let comparison = over_mediation(bench, 1, Talk::Give(BULK_BYTES))?;
    Ok(bulk("32 MiB in over the mediation channel", comparison))
}

/// Small messages there and back over the mediation channel.
pub(crate) fn mediation_trips(bench: &Bench) -> Result<Report> {
    let comparison = over_mediation(bench, 1, Talk::Echo(ROUND_TRIPS))?;
    let ours = "100 round trips over the mediation channel";
    Ok(Report::new(ours, "over bare vsock", comparison))
}

/// Dials one after the other, each with one round trip.
pub(crate) fn mediation_connections(bench: &Bench) -> Result<Report> {
    let comparison = over_mediation(bench, CONNECTIONS, Talk::Echo(1))?;
    let rate = a_second(&comparison, f64::from(CONNECTIONS));
    let ours = "20 connections over the mediation channel";
    Ok(Report::new(ours, "over bare vsock", comparison)
        .with_figure("a second", rate)
        .with_note("ours also connects the target"))
}

/// From the command to the last byte out of the guest, beside the command as a whole.
pub(crate) fn quarantine(bench: &Bench) -> Result<Report> {
    let mut comparison = Comparison::default();
    for _ in 0..bench.rounds() {
        let guest = Guest::boot(bench)?;
        let mut stream = guest.published()?;
        let last = std::thread::spawn(move || {
            let mut head = vec![b'g'];
            head.extend(u64::MAX.to_be_bytes());
            stream.write_all(&head)?;
            let mut buffer = vec![0; 64 << 10];
            let mut last = Instant::now();
            while stream.read(&mut buffer).is_ok_and(|read| read > 0) {
                last = Instant::now();
            }
            Ok::<_, std::io::Error>(last)
        });
        std::thread::sleep(Duration::from_millis(300));
        let began = Instant::now();
        guest.does(&["quarantine", NAME])?;
        let whole = began.elapsed();
        let last = last
            .join()
            .map_err(|_| anyhow::anyhow!("a reader panicked"))??;
        comparison.add(last.saturating_duration_since(began), whole);
        guest.end()?;
    }
    let (ours, whole) = (
        "quarantine to the last byte",
        "quarantine until the prompt is back",
    );
    let whole_ms = comparison.reference_ms().map_or(0.0, |whole| whole.median);
    Ok(Report::new(ours, whole, comparison)
        .with_figure("ms", whole_ms)
        .with_note("both are of the same quarantine"))
}
