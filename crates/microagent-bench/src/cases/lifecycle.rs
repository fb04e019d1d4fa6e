//! What lasting workspaces cost beside a VM: looking at one and at a thousand, making one, asking a
//! supervisor, a monitor that has nothing to do, and a start.
//!
//! Each is a process from its start to its end, as a caller in another language would pay for it. The
//! goals of the short ones are milliseconds, so the reference is a process that does nothing: what any
//! process costs here.

use crate::bench::{Bench, Report, debian_source, timed};
use crate::compare::Comparison;
use crate::raw_qemu::RawQemu;
use anyhow::{Context as _, Result, ensure};
use microagent_test::cli::Program;
use microagent_test::home::Home;
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const NOTHING: &str = "a process that does nothing";
const NAME: &str = "bench-0000";
/// Many workspaces.
const MANY: usize = 1000;
/// Rounds of what takes milliseconds.
const SHORT_ROUNDS: usize = 30;
/// How long a monitor is left alone before it is weighed: its start is over, and its upkeep has looked.
const IDLE: Duration = Duration::from_secs(7);
const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// A home with prepared workspaces, and the command in it.
struct Prepared<'a> {
    bench: &'a Bench,
    home: Home,
}

impl<'a> Prepared<'a> {
    /// One workspace as `create` makes it.
    fn one(bench: &'a Bench) -> Result<Self> {
        let prepared = Self {
            bench,
            home: Home::new()?,
        };
        prepared.does(&[
            "create",
            NAME,
            "--network",
            "isolated",
            "--profile",
            "tiny",
            "--idle",
            "--image",
            &debian_source()?,
        ])?;
        Ok(prepared)
    }

    /// The same records under other names: nothing tells such a workspace from one that was created.
    fn many(bench: &'a Bench) -> Result<Self> {
        let prepared = Self::one(bench)?;
        let first = prepared.folder(NAME);
        let record = std::fs::read_to_string(first.join("workspace.json"))?;
        let id = serde_json::from_str::<Value>(&record)?["id"].clone();
        let id = id.as_str().context("a record without an id")?;
        for number in 1..MANY {
            let name = format!("bench-{number:04}");
            let folder = prepared.folder(&name);
            std::fs::create_dir(&folder)?;
            for file in ["runtime.json", "events.jsonl"] {
                std::fs::copy(first.join(file), folder.join(file))?;
            }
            let other_id = format!("{}{number:04}", &id[..id.len() - 4]);
            let text = record.replace(NAME, &name).replace(id, &other_id);
            std::fs::write(folder.join("workspace.json"), text)?;
            std::fs::write(folder.join("rootfs.ext4"), b"")?;
        }
        set_private(&prepared.home.state_dir())?;
        Ok(prepared)
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.home.state_dir().join("workspaces").join(name)
    }

    fn line(&self, words: &[&str]) -> Program {
        Program::at(self.bench.prefix().join("bin/microagent"))
            .of(&self.home)
            .args(words)
    }

    fn does(&self, words: &[&str]) -> Result<String> {
        let finished = self.line(words).run()?.expect_code(0)?;
        Ok(finished.stdout_text())
    }

    /// A line of the command beside a process that does nothing.
    fn beside_nothing(&self, ours: &'static str, words: &[&str]) -> Result<Report> {
        let comparison = Bench::compare_in(
            SHORT_ROUNDS,
            || {
                process(
                    &self.home,
                    &self.bench.prefix().join("bin/microagent"),
                    words,
                    b"",
                )
            },
            || process(&self.home, Path::new("/bin/true"), &[], b""),
        )?;
        Ok(in_milliseconds(ours, comparison))
    }
}

/// Records are for their owner only; a workspace whose files are not would be refused.
fn set_private(folder: &Path) -> Result<()> {
    microagent_test::image::Tool::new("chmod")
        .args(["-R", "go-rwx"])
        .arg(folder)
        .ok()
}

/// A process from its start to its end. It is awaited, not looked at now and then: what takes a few
/// milliseconds would drown in that.
fn process(home: &Home, program: &Path, words: &[&str], stdin: &[u8]) -> Result<Duration> {
    let mut command = Command::new(program);
    command
        .args(words)
        .env_clear()
        .envs(home.environment())
        .current_dir(home.work_dir())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let began = Instant::now();
    let mut child = command.spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // One that reads nothing may be gone already.
        let _ = input.write_all(stdin);
    }
    let output = child.wait_with_output()?;
    let took = began.elapsed();
    ensure!(
        output.status.success(),
        "{} ended with {}",
        program.display(),
        output.status
    );
    Ok(took)
}

fn in_milliseconds(ours: &'static str, comparison: Comparison) -> Report {
    let ms = comparison.ours_ms().map_or(f64::NAN, |times| times.median);
    Report::new(ours, NOTHING, comparison).with_figure("ms", ms)
}

/// `status` of the only workspace.
pub(crate) fn status(bench: &Bench) -> Result<Report> {
    Prepared::one(bench)?.beside_nothing("microagent status, of 1", &["status", "--json", NAME])
}

/// `status` of one of many.
pub(crate) fn status_of_many(bench: &Bench) -> Result<Report> {
    let many = Prepared::many(bench)?;
    many.beside_nothing("microagent status, of 1000", &["status", "--json", NAME])
}

/// `list` of one.
pub(crate) fn list(bench: &Bench) -> Result<Report> {
    Prepared::one(bench)?.beside_nothing("microagent list, of 1", &["list", "--json"])
}

/// `list` of many.
pub(crate) fn list_of_many(bench: &Bench) -> Result<Report> {
    let many = Prepared::many(bench)?;
    let names = many.does(&["list", "-q"])?;
    ensure!(names.lines().count() == MANY, "not all of them are listed");
    many.beside_nothing("microagent list, of 1000", &["list", "--json"])
}

/// A request of its own, without the command around it.
pub(crate) fn request(bench: &Bench) -> Result<Report> {
    let one = Prepared::one(bench)?;
    let supervisor = bench.prefix().join("libexec/microagent-qemu-supervisor");
    let request = json!({
        "protocolVersion": 1,
        "command": "inspect",
        "stateDir": one.home.state_dir(),
        "workspace": NAME,
    });
    let request = request.to_string();
    let comparison = Bench::compare_in(
        SHORT_ROUNDS,
        || process(&one.home, &supervisor, &[], request.as_bytes()),
        || process(&one.home, Path::new("/bin/true"), &[], b""),
    )?;
    Ok(in_milliseconds(
        "a supervisor's answer to `inspect`",
        comparison,
    ))
}

/// `create` from an image that is in the cache, beside the clone of its disk alone.
pub(crate) fn create(bench: &Bench) -> Result<Report> {
    const OURS: &str = "microagent create, cached image";
    const REFERENCE: &str =
        "cp of the image's disk, as far as the file system can share, and its sync";
    let one = Prepared::one(bench)?;
    let image = debian_source()?;
    let listing = one.home.state_listing();
    let mut images = listing
        .iter()
        .filter(|entry| entry.path.starts_with("images/"));
    let disk = images.find(|entry| {
        let extension = Path::new(&entry.path).extension();
        extension.is_some_and(|extension| extension == "ext4")
    });
    let disk = disk.context("no image is cached")?;
    let disk = one.home.state_dir().join(&disk.path);
    let copy = one.home.work_dir().join("copy");
    let words = [
        "create",
        "another",
        "--network",
        "isolated",
        "--idle",
        "--image",
        &image,
    ];
    let comparison = bench.compare(
        || {
            let time = timed(|| one.does(&words).map(drop))?;
            one.does(&["delete", "--yes", "another"])?;
            Ok(time)
        },
        || {
            let time = timed(|| {
                let tool = |name| microagent_test::image::Tool::new(name);
                tool("cp").arg("--reflink=auto").args([&disk, &copy]).ok()?;
                tool("sync").arg(&copy).ok()
            })?;
            std::fs::remove_file(&copy)?;
            Ok(time)
        },
    )?;
    Ok(Report::new(OURS, REFERENCE, comparison))
}

/// `start` until the guest is ready, beside the engine alone until the kernel enters init.
pub(crate) fn start(bench: &Bench) -> Result<Report> {
    const OURS: &str = "microagent start, until the guest is ready";
    const REFERENCE: &str =
        "bare QEMU, same kernel and initramfs, switched off by its first process";
    if !cfg!(target_arch = "x86_64") {
        let why = "bare QEMU is known for x86-64 only";
        return Ok(Report::no_counterpart(OURS, REFERENCE, why));
    }
    let raw = RawQemu::like_the_product(bench)?;
    let one = Prepared::one(bench)?;
    let comparison = Bench::compare_in(
        bench.rounds(),
        || {
            let time = timed(|| one.does(&["start", NAME]).map(drop))?;
            one.does(&["kill", NAME])?;
            Ok(time)
        },
        || raw.run(),
    )?;
    Ok(Report::new(OURS, REFERENCE, comparison)
        .with_note("the guest's own set-up after init is in ours only"))
}

/// What a monitor weighs that has nothing to do.
pub(crate) fn monitor(bench: &Bench) -> Result<Report> {
    const OURS: &str = "microagent status of a running workspace";
    let one = Prepared::one(bench)?;
    one.does(&["start", NAME])?;
    std::thread::sleep(IDLE);
    let weighed = resident_mebibytes(&one);
    let report = one.beside_nothing(OURS, &["status", "--json", NAME]);
    one.does(&["kill", NAME])?;
    let weighed = weighed?;
    Ok(report?
        .with_figure("rss_mib", weighed.resident)
        .with_figure("anon_mib", weighed.own)
        .with_note(
            "rss_mib is all of the idle monitor that is in memory, its program's pages included",
        ))
}

/// What a process has in memory.
struct Weighed {
    resident: f64,
    own: f64,
}

fn resident_mebibytes(one: &Prepared<'_>) -> Result<Weighed> {
    let status: Value = serde_json::from_str(&one.does(&["status", "--json", NAME])?)?;
    let pid = status["vm"]["monitorPid"].as_u64().context("no monitor")?;
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let mebibytes = |field: &str| -> Result<f64> {
        let line = text.lines().find(|line| line.starts_with(field));
        let kibibytes = line.and_then(|line| line.split_whitespace().nth(1));
        let kibibytes: f64 = kibibytes.context("no such field")?.parse()?;
        Ok(kibibytes * 1024.0 / MEBIBYTE)
    };
    Ok(Weighed {
        resident: mebibytes("VmRSS:")?,
        own: mebibytes("RssAnon:")?,
    })
}
