//! What a session costs beside the bare vsock device of the same guest: a command that does nothing, bytes
//! out and in, many commands at once, a folder of small files.
//!
//! The other end of the bare way is a program in the guest that starts the same command, sends and takes
//! the same bytes, and runs the guest's own `tar`. The guest's own share of a command, its fork and exec,
//! is measured on its clock in the same rounds.

use crate::bare_vsock;
use crate::bench::{Bench, Report, debian_source, timed};
use crate::compare::{Comparison, Spread};
use anyhow::{Context as _, Result, ensure};
use microagent_boot::search_path::SearchPath;
use microagent_test::cli::Finished;
use microagent_workspace::exec::{ExecSettings, exec};
use microagent_workspace::guest_session::SessionSink;
use microagent_workspace::{Context, Interrupt, RunStreams};
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const NAME: &str = "bench-exec";
/// What the guest runs.
const GUEST: &str = include_str!("exec_guest.py");
const PORT: &str = "7200";
/// Rounds of a command that takes milliseconds.
const SHORT_ROUNDS: usize = 30;
const BULK_BYTES: u64 = 64 << 20;
const EXECS: usize = 1000;
const CLIENTS: usize = 8;
/// A thousand commands take long under emulation, and many of them even out what one varies.
const MANY_ROUNDS: usize = 2;
const FILES: usize = 10_000;
const FILES_IN_A_FOLDER: usize = 100;
const FILE_BYTES: usize = 1000;
const COPY_ROUNDS: usize = 3;

/// A running guest with a program that serves bare vsock.
struct Guest<'a> {
    bench: &'a Bench,
    run: PathBuf,
}

impl<'a> Guest<'a> {
    fn boot(bench: &'a Bench) -> Result<Self> {
        let workspace = bench.home().state_dir().join("workspaces").join(NAME);
        let guest = Self {
            bench,
            run: workspace.join("run"),
        };
        guest.does(&["create", NAME, "--network", "isolated", "--image"], &{
            let image = debian_source()?;
            [
                image,
                "--".into(),
                "python3".into(),
                "-c".into(),
                GUEST.into(),
                PORT.into(),
            ]
        })?;
        guest.does(&["start", NAME], &[])?;
        bare_vsock::await_server(&workspace)?;
        Ok(guest)
    }

    fn does(&self, words: &[&str], more: &[String]) -> Result<Finished> {
        self.bench
            .microagent()
            .args(words)
            .args(more)
            .run()?
            .expect_code(0)
    }

    fn bare(&self) -> Result<UnixStream> {
        bare_vsock::dial(&self.run, PORT)
    }

    fn asked(&self, what: u8, count: u64) -> Result<UnixStream> {
        let mut stream = self.bare()?;
        let mut head = vec![what];
        head.extend(count.to_be_bytes());
        stream.write_all(&head)?;
        Ok(stream)
    }

    /// Starts `true` in the guest over a bare connection; how long that took there.
    fn spawns(&self) -> Result<Duration> {
        let mut nanoseconds = [0; 8];
        self.asked(b't', 1)?.read_exact(&mut nanoseconds)?;
        Ok(Duration::from_nanos(u64::from_be_bytes(nanoseconds)))
    }

    /// Starts `true` so often, one after the other over one connection: the bare device refuses many of
    /// those that are dialled at once.
    fn spawns_many(&self, count: usize) -> Result<()> {
        let mut stream = self.bare()?;
        let mut head = vec![b't'];
        head.extend(1_u64.to_be_bytes());
        for _ in 0..count {
            stream.write_all(&head)?;
            stream.read_exact(&mut [0; 8])?;
        }
        Ok(())
    }

    /// A process of the command, with the given ends.
    fn process(&self, words: &[&str], stdin: Stdio, stdout: Stdio) -> Command {
        let mut command = Command::new(self.bench.prefix().join("bin/microagent"));
        let home = self.bench.home();
        command
            .args(words)
            .env_clear()
            .envs(home.environment())
            .current_dir(home.work_dir())
            .stdin(stdin)
            .stdout(stdout);
        command
    }

    fn execs_true(&self) -> Result<()> {
        let words = ["exec", NAME, "true"];
        let status = self
            .process(&words, Stdio::null(), Stdio::null())
            .status()?;
        ensure!(status.success(), "exec ended with {status}");
        Ok(())
    }

    fn end(self) -> Result<()> {
        self.does(&["kill", NAME], &[])?;
        self.does(&["delete", "--yes", NAME], &[])?;
        Ok(())
    }
}

/// What `ours` takes above the guest's own fork and exec, measured in turns with it.
fn above_spawn(
    guest: &Guest<'_>,
    name: &'static str,
    mut ours: impl FnMut() -> Result<()>,
) -> Result<Report> {
    let mut spawned = Vec::new();
    let comparison = Bench::compare_in(
        SHORT_ROUNDS,
        || timed(&mut ours),
        || {
            let began = Instant::now();
            let in_guest = guest.spawns()?;
            spawned.push(in_guest.as_secs_f64() * 1000.0);
            Ok(began.elapsed())
        },
    )?;
    let spawn = Spread::of(&spawned).context("no rounds")?.median;
    let whole = comparison.ours_ms().context("no rounds")?.median;
    let reference = "the same over bare vsock, by a program that runs in the guest";
    Ok(Report::new(name, reference, comparison)
        .with_figure("spawn_ms", spawn)
        .with_figure("above_ms", whole - spawn)
        .with_note(
            "spawn_ms is the guest's own fork and exec on its clock, above_ms all else of ours",
        ))
}

/// `true` by the command, a process from its start to its end.
pub(crate) fn by_command(bench: &Bench) -> Result<Report> {
    let guest = Guest::boot(bench)?;
    let report = above_spawn(&guest, "microagent exec NAME true", || guest.execs_true());
    guest.end()?;
    report
}

/// `true` by a call of the library.
pub(crate) fn by_library(bench: &Bench) -> Result<Report> {
    let guest = Guest::boot(bench)?;
    let context = library(bench)?;
    let name = NAME.parse()?;
    let settings = ExecSettings {
        argv: vec!["true".to_owned()],
        ..ExecSettings::default()
    };
    let report = above_spawn(&guest, "exec(\"true\") of the library", || {
        let streams = RunStreams {
            stdin: None,
            sink: &mut Nobody,
        };
        let outcome = exec(&context, &name, &settings, streams, &Interrupt::new())?;
        ensure!(outcome.end.exit_code() == 0, "{outcome:?}");
        Ok(())
    });
    guest.end()?;
    report
}

fn library(bench: &Bench) -> Result<Context> {
    let state_dir = bench.home().state_dir();
    let mut context = Context::new(state_dir.as_path().try_into()?)?;
    context.search_path = SearchPath::beside(&bench.prefix().join("bin/microagent"));
    Ok(context)
}

struct Nobody;

impl SessionSink for Nobody {
    fn stdout(&mut self, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn stderr(&mut self, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

fn mebibytes_a_second(comparison: &Comparison) -> f64 {
    let mebibytes = f64::from(u32::try_from(BULK_BYTES >> 20).expect("a few mebibytes"));
    comparison
        .ours_ms()
        .map_or(0.0, |ours| mebibytes * 1000.0 / ours.median)
}

/// From the first byte to the last: what a command takes to start is another case.
fn first_to_last(mut source: impl io::Read) -> Result<Duration> {
    let mut buffer = vec![0; 256 << 10];
    let mut left = BULK_BYTES;
    let mut began = None;
    while left > 0 {
        let read = source.read(&mut buffer)? as u64;
        ensure!(read > 0, "the guest ended early");
        began.get_or_insert_with(Instant::now);
        left = left.saturating_sub(read);
    }
    Ok(began.context("no bytes were asked for")?.elapsed())
}

/// Bytes out of the guest.
pub(crate) fn stream_out(bench: &Bench) -> Result<Report> {
    let guest = Guest::boot(bench)?;
    let size = BULK_BYTES.to_string();
    let words = ["exec", NAME, "head", "-c", &size, "/dev/zero"];
    let comparison = bench.compare(
        || {
            let mut command = guest.process(&words, Stdio::null(), Stdio::piped());
            let mut child = command.spawn()?;
            let took = first_to_last(child.stdout.take().context("a pipe was asked for")?);
            ensure!(child.wait()?.success(), "exec failed");
            took
        },
        || first_to_last(guest.asked(b'o', BULK_BYTES)?),
    )?;
    guest.end()?;
    let rate = mebibytes_a_second(&comparison);
    let (ours, bare) = ("64 MiB out of a command, by exec", "over bare vsock");
    Ok(Report::new(ours, bare, comparison).with_figure("MiB/s", rate))
}

fn pour(sink: &mut impl io::Write) -> Result<()> {
    let piece = vec![7; 256 << 10];
    let mut left = BULK_BYTES;
    while left > 0 {
        let now = usize::try_from(left).map_or(piece.len(), |left| left.min(piece.len()));
        sink.write_all(&piece[..now])?;
        left -= now as u64;
    }
    Ok(())
}

/// Bytes into the guest.
pub(crate) fn stream_in(bench: &Bench) -> Result<Report> {
    let guest = Guest::boot(bench)?;
    let words = [
        "exec",
        "-i",
        NAME,
        "sh",
        "-c",
        "echo; cat > /dev/null; echo",
    ];
    let mut byte = [0; 1];
    let comparison = bench.compare(
        || {
            let mut command = guest.process(&words, Stdio::piped(), Stdio::piped());
            let mut child = command.spawn()?;
            let mut told = child.stdout.take().context("a pipe was asked for")?;
            let mut stdin = child.stdin.take().context("a pipe was asked for")?;
            told.read_exact(&mut byte)?;
            let took = timed(|| {
                pour(&mut stdin)?;
                drop(stdin);
                told.read_exact(&mut byte)?;
                Ok(())
            });
            ensure!(child.wait()?.success(), "exec failed");
            took
        },
        || {
            let mut stream = guest.asked(b'i', BULK_BYTES)?;
            timed(|| {
                pour(&mut stream)?;
                stream.read_exact(&mut [0; 1])?;
                Ok(())
            })
        },
    )?;
    guest.end()?;
    let rate = mebibytes_a_second(&comparison);
    let (ours, bare) = ("64 MiB into a command, by exec", "over bare vsock");
    Ok(Report::new(ours, bare, comparison).with_figure("MiB/s", rate))
}

/// Has so many clients do their part at once.
fn by_many(work: impl Fn() -> Result<()> + Sync) -> Result<Duration> {
    timed(|| {
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(&work)).collect();
            clients.into_iter().try_for_each(|client| {
                let ended = client.join();
                ended.map_err(|_| anyhow::anyhow!("a client panicked"))?
            })
        })
    })
}

/// Many commands by several clients.
pub(crate) fn many(bench: &Bench) -> Result<Report> {
    let guest = Guest::boot(bench)?;
    let mut comparison = Comparison::default();
    for _ in 0..MANY_ROUNDS {
        let ours = by_many(|| (0..EXECS / CLIENTS).try_for_each(|_| guest.execs_true()))?;
        let bare = by_many(|| guest.spawns_many(EXECS / CLIENTS))?;
        comparison.add(ours, bare);
    }
    guest.end()?;
    let rate = comparison
        .ours_ms()
        .map_or(0.0, |ours| 1_000_000.0 / ours.median);
    let (ours, bare) = (
        "1000 times microagent exec NAME true, by 8 clients",
        "the same over bare vsock, by a program that runs in the guest",
    );
    Ok(Report::new(ours, bare, comparison).with_figure("a second", rate))
}

/// A tree of many small files.
fn small_files(root: &Path) -> Result<()> {
    for folder in 0..FILES / FILES_IN_A_FOLDER {
        let folder = root.join(format!("folder-{folder:03}"));
        std::fs::create_dir_all(&folder)?;
        for file in 0..FILES_IN_A_FOLDER {
            let content = vec![u8::try_from(file % 251)?; FILE_BYTES];
            std::fs::write(folder.join(format!("file-{file:03}")), content)?;
        }
    }
    Ok(())
}

fn tar(words: &[&str], stdin: Stdio, stdout: Stdio) -> Result<()> {
    let status = Command::new("tar")
        .args(words)
        .stdin(stdin)
        .stdout(stdout)
        .status()?;
    ensure!(status.success(), "tar ended with {status}");
    Ok(())
}

fn of_stream(stream: &UnixStream) -> Result<Stdio> {
    Ok(std::os::fd::OwnedFd::from(stream.try_clone()?).into())
}

/// A folder into the guest.
pub(crate) fn copy_in(bench: &Bench) -> Result<Report> {
    let guest = Guest::boot(bench)?;
    let folder = tempfile::tempdir()?;
    small_files(folder.path())?;
    let source = folder.path().display().to_string();
    let (mut ours, mut bare) = (0, 1000);
    let comparison = Bench::compare_in(
        COPY_ROUNDS,
        || {
            ours += 1;
            let target = format!("{NAME}:/srv/{ours}");
            timed(|| guest.does(&["cp", &source, &target], &[]).map(drop))
        },
        || {
            bare += 1;
            let mut stream = guest.asked(b'x', bare)?;
            timed(|| {
                tar(
                    &["-C", &source, "-cf", "-", "."],
                    Stdio::null(),
                    of_stream(&stream)?,
                )?;
                // The guest's tar ends with the archive, not with the connection.
                stream.read_exact(&mut [0; 1])?;
                Ok(())
            })
        },
    )?;
    guest.end()?;
    let (ours, bare) = (
        "microagent cp of 10 000 files into the guest",
        "tar into tar over bare vsock",
    );
    Ok(Report::new(ours, bare, comparison))
}

/// A folder out of the guest.
pub(crate) fn copy_out(bench: &Bench) -> Result<Report> {
    let guest = Guest::boot(bench)?;
    let folder = tempfile::tempdir()?;
    let from = folder.path().join("from");
    small_files(&from)?;
    guest.does(
        &["cp", &from.display().to_string(), &format!("{NAME}:/srv/1")],
        &[],
    )?;
    let fresh = |name: &str| -> Result<String> {
        let target = folder.path().join(name);
        if target.exists() {
            std::fs::remove_dir_all(&target)?;
        }
        Ok(target.display().to_string())
    };
    let comparison = Bench::compare_in(
        COPY_ROUNDS,
        || {
            let target = fresh("ours")?;
            timed(|| {
                guest
                    .does(&["cp", &format!("{NAME}:/srv/1"), &target], &[])
                    .map(drop)
            })
        },
        || {
            let target = fresh("bare")?;
            std::fs::create_dir(&target)?;
            let stream = guest.asked(b'c', 1)?;
            let took = timed(|| {
                tar(
                    &["-C", &target, "-xf", "-"],
                    of_stream(&stream)?,
                    Stdio::null(),
                )
            });
            // Nobody waits for the end any more.
            let _ = stream.shutdown(Shutdown::Both);
            took
        },
    )?;
    guest.end()?;
    let (ours, bare) = (
        "microagent cp of 10 000 files out of the guest",
        "tar into tar over bare vsock",
    );
    Ok(Report::new(ours, bare, comparison))
}
