//! What the monitor costs on a guest's way to the network: `nat` beside a bare QEMU whose card is joined to
//! `passt` and to nothing else, with the same kernel, machine and disk, and the same program in the guest.
//!
//! Each guest holds one connection to the host's loopback and does over it what it is asked for, so both
//! run all the time and each waits while the other is measured.

use crate::bench::{Bench, Report, debian_source, timed};
use crate::cases::net::{BULK_BYTES, BULK_MIB, GUEST, ROUND_TRIPS, Talk, a_second, ask};
use crate::compare::Comparison;
use crate::raw_qemu::{command_line, installed, machine_words, value_of};
use anyhow::{Context as _, Result, ensure};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const OURS: &str = "bench-nat";
const BARE: &str = "bench-bare";
const SCRIPT: &str = "/net_guest.py";
/// The first process of the bare guest. It has its words in a file, since QEMU's own come behind all others.
const FIRST: &str = "/first";
/// A boot by emulation, and what a slow transfer takes.
const LIMIT: Duration = Duration::from_mins(2);
const PAUSE: Duration = Duration::from_millis(20);

/// A process that is ended with its owner.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // One that has ended by itself needs nothing.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Connections of both guests.
struct Guests<'a> {
    bench: &'a Bench,
    ours: TcpStream,
    bare: TcpStream,
    _processes: [Ended; 2],
}

fn accepted(listener: &TcpListener) -> Result<TcpStream> {
    listener.set_nonblocking(true)?;
    let began = Instant::now();
    loop {
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(false)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(LIMIT))?;
            return Ok(stream);
        }
        ensure!(began.elapsed() < LIMIT, "a guest does not call");
        std::thread::sleep(PAUSE);
    }
}

impl<'a> Guests<'a> {
    fn boot(bench: &'a Bench) -> Result<Self> {
        let does = |words: &[&str]| bench.microagent().args(words).run()?.expect_code(0);
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port().to_string();
        let script = bench.home().work_dir().join("net_guest.py");
        std::fs::write(&script, GUEST)?;
        let script = script.display().to_string();
        let image = debian_source()?;
        for name in [BARE, OURS] {
            let create = ["create", name, "--reach", "loopback", "--image", &image];
            does(&[&create[..], &["--idle"]].concat())?;
            does(&["start", name])?;
            does(&["cp", &script, &format!("{name}:{SCRIPT}")])?;
        }
        let first = format!(
            "printf '#!/bin/sh\nexec python3 {SCRIPT} card 10.0.2.15 10.0.2.2 {port}\n' >{FIRST}; \
             chmod 755 {FIRST}"
        );
        does(&["exec", BARE, "--", "sh", "-c", &first])?;
        let (program, words) = command_line(bench)?;
        does(&["halt", BARE])?;

        let call = format!("exec python3 {SCRIPT} call {port} >/dev/null 2>&1 </dev/null &");
        does(&["exec", OURS, "--", "sh", "-c", &call])?;
        let ours = accepted(&listener)?;

        let socket = bench.home().work_dir().join("passt");
        let passt = Command::new("passt")
            // Otherwise it becomes a user who can't make a socket here.
            .args(["--foreground", "--quiet", "--runas", "0", "--socket"])
            .arg(&socket)
            .args("-a 10.0.2.15 -n 24 -g 10.0.2.2 -m 65520".split(' '))
            .args("--no-dhcp --no-dhcpv6 --no-ra -t none -u none -4".split(' '))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start passt")?;
        let passt = Ended(passt);
        let began = Instant::now();
        while !socket.exists() {
            ensure!(began.elapsed() < LIMIT, "passt does not listen");
            std::thread::sleep(PAUSE);
        }
        let disk = bench.home().state_dir().join("workspaces").join(BARE);
        let disk = disk.join("rootfs.ext4");
        let qemu = Command::new(program)
            .args(bare_words(bench, &words, &disk, &socket)?)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start QEMU")?;
        let qemu = Ended(qemu);
        let bare = accepted(&listener)?;
        Ok(Self {
            bench,
            ours,
            bare,
            _processes: [qemu, passt],
        })
    }

    fn compare(self, talk: Talk) -> Result<Comparison> {
        let (ours, bare) = (&self.ours, &self.bare);
        let comparison = self
            .bench
            .compare(|| timed(|| ask(ours, talk)), || timed(|| ask(bare, talk)))?;
        for words in [&["kill", OURS][..], &["delete", "--yes", OURS, BARE]] {
            self.bench.microagent().args(words).run()?.expect_code(0)?;
        }
        Ok(comparison)
    }
}

/// The product's machine and card, with the disk as its root and the guest's program as its first process.
fn bare_words(bench: &Bench, words: &[String], disk: &Path, socket: &Path) -> Result<Vec<String>> {
    let card = words.iter().find(|word| word.starts_with("virtio-net"));
    let card = card.context("the product has a card")?;
    let netdev = card
        .split(',')
        .find_map(|part| part.strip_prefix("netdev="));
    let netdev = netdev.context("the card names its network")?;
    let kernel = installed(bench.prefix(), "kernels/qemu", "Image")?;
    let append = value_of(words, "-append").context("the product names a command line")?;
    let mut bare = machine_words(words);
    bare.extend(["-display", "none", "-serial", "null", "-kernel"].map(str::to_owned));
    bare.push(kernel.display().to_string());
    let rest = [
        (
            "-drive",
            format!("id=root,file={},format=raw,if=none", disk.display()),
        ),
        ("-device", "virtio-blk-device,drive=root".to_owned()),
        (
            "-netdev",
            format!(
                "stream,id={netdev},server=off,addr.type=unix,addr.path={}",
                socket.display()
            ),
        ),
        ("-device", card.clone()),
        ("-append", format!("{append} root=/dev/vda rw init={FIRST}")),
    ];
    for (flag, value) in rest {
        bare.extend([flag.to_owned(), value]);
    }
    Ok(bare)
}

fn measured(bench: &Bench, ours: &'static str, talk: Talk) -> Result<Report> {
    let comparison = Guests::boot(bench)?.compare(talk)?;
    let rate = a_second(&comparison, BULK_MIB);
    let report = Report::new(ours, "bare QEMU joined to passt", comparison);
    Ok(match talk {
        Talk::Echo(_) => report,
        Talk::Give(_) | Talk::Take(_) => report.with_figure("MiB/s", rate),
    })
}

/// Out of the guest to the host.
pub(crate) fn out(bench: &Bench) -> Result<Report> {
    measured(bench, "32 MiB out over nat", Talk::Give(BULK_BYTES))
}

/// From the host into the guest.
pub(crate) fn into(bench: &Bench) -> Result<Report> {
    measured(bench, "32 MiB in over nat", Talk::Take(BULK_BYTES))
}

/// Small messages there and back.
pub(crate) fn trips(bench: &Bench) -> Result<Report> {
    measured(bench, "100 round trips over nat", Talk::Echo(ROUND_TRIPS))
}
