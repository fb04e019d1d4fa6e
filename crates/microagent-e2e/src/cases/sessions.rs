//! Commands, shells and the console of a running workspace, through the command as people use it.

use crate::framework::case::{Case, Need, case};
use crate::framework::workspace::{Lasting, NAME};
use crate::framework::world::World;
use anyhow::{Context as _, Result, bail, ensure};
use microagent_test::cli::Program;
use std::time::{Duration, Instant};

/// How long something that happens at once may take to be seen, on a real processor.
const SEEN_LIMIT: Duration = Duration::from_secs(20);
/// After this what was typed is typed again.
const TYPED_AGAIN_AFTER: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(100);
/// Sessions that a guest serves at once.
const SESSIONS_MAX: usize = 64;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("sessions::odd_commands_end_as_they_should", odd_commands),
        case("sessions::sixty_four_at_once_and_no_more", crowd),
        case(
            "sessions::a_line_and_the_console_can_be_had",
            connect_and_logs,
        ),
        case("sessions::a_terminal_is_a_terminal", terminal).needing(&[Need::Tool("tmux")]),
    ]
}

/// A workspace that idles.
pub(super) fn running(world: &World) -> Result<Lasting<'_>> {
    let kept = Lasting::create(world, &[], &[])?;
    kept.does(&["start", NAME])?;
    Ok(kept)
}

fn ends(kept: &Lasting<'_>, words: &[&str], code: i32, stdout: Option<&str>) -> Result<()> {
    let mut line = vec!["exec"];
    line.extend(words);
    let finished = kept.ends_with(&line, code)?;
    if let Some(expected) = stdout {
        let text = finished.stdout_text();
        ensure!(text == expected, "{words:?}: {text:?}");
    }
    Ok(())
}

/// Words of `exec`, its code, and its stdout where that is the point.
const ROWS: &[(&[&str], i32, Option<&str>)] = &[
    (&[NAME, "no-such-program"], 127, None),
    (&[NAME, "/no/such/program"], 127, None),
    (&[NAME, "/tmp"], 126, None),
    (&[NAME, "/tmp/plain"], 126, None),
    (&[NAME, "/tmp/script"], 5, None),
    (&["-w", "/no/such", NAME, "true"], 125, None),
    (&["-w", "/tmp", NAME, "pwd"], 0, Some("/tmp\n")),
    (&["-u", "nobody", NAME, "id", "-un"], 0, Some("nobody\n")),
    (
        &["-u", "12345:54321", NAME, "sh", "-c", "id -u; id -g"],
        0,
        Some("12345\n54321\n"),
    ),
    (&["-u", "no-such-user", NAME, "true"], 125, None),
    (
        &["-e", "A=1 2", NAME, "sh", "-c", "echo \"$A\""],
        0,
        Some("1 2\n"),
    ),
    (&["--timeout", "1s", NAME, "sleep", "60"], 124, None),
    // Who ignores SIGTERM gets SIGKILL, and so do its children.
    (
        &[
            "--timeout",
            "1s",
            NAME,
            "sh",
            "-c",
            "trap '' TERM; sleep 60 & wait; sleep 60",
        ],
        124,
        None,
    ),
    // A limit that is not reached says nothing, nor does a signal that is ignored.
    (&["--timeout", "60s", NAME, "sh", "-c", "exit 6"], 6, None),
    (
        &[NAME, "sh", "-c", "trap '' TERM; kill -TERM $$; exit 8"],
        8,
        None,
    ),
    (
        &[
            NAME,
            "sh",
            "-c",
            "for s in CHLD CONT URG WINCH; do kill -$s $$; done; exit 2",
        ],
        2,
        None,
    ),
    // What it did before its time was up is not lost.
    (
        &[
            "--timeout",
            "1s",
            NAME,
            "sh",
            "-c",
            "echo early; exec sleep 60",
        ],
        124,
        Some("early\n"),
    ),
    (
        &[
            "--timeout",
            "1s",
            NAME,
            "sh",
            "-c",
            "trap 'echo caught; exit 3' TERM; sleep 60 & wait",
        ],
        124,
        Some("caught\n"),
    ),
    (
        &[NAME, "sh", "-c", "sleep 60 & echo done"],
        0,
        Some("done\n"),
    ),
    (&[NAME, "sh", "-c", "exec >&- 2>&-; exit 4"], 4, Some("")),
    (
        &[NAME, "sh", "-c", "echo out; echo err >&2; exit 3"],
        3,
        Some("out\n"),
    ),
    (&[NAME, "cat"], 0, Some("")),
    (&[NAME, "sh", "-c", "ulimit -n"], 0, Some("65536\n")),
    (
        &[NAME, "sh", "-c", "readlink /proc/self/fd/0"],
        0,
        Some("/dev/null\n"),
    ),
    (&[NAME, "python3", "-c", "import os; os.abort()"], 134, None),
    (
        &[
            NAME,
            "sh",
            "-c",
            "cat /proc/self/stat | cut -d' ' -f5,6 | tr ' ' '\\n' | uniq | wc -l",
        ],
        0,
        Some("1\n"),
    ),
];

/// Every signal that ends a process by default, some real-time ones among them.
const SIGNALS: [i32; 26] = [
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 24, 25, 26, 27, 29, 30, 31, 34, 50, 64,
];

fn odd_commands(world: &World) -> Result<()> {
    let kept = running(world)?;
    kept.shell("printf '#!/bin/sh\\nexit 5\\n' > /tmp/script; chmod 755 /tmp/script; printf x > /tmp/plain")?;
    for code in [
        0, 1, 2, 7, 63, 64, 99, 123, 124, 125, 126, 127, 128, 129, 137, 200, 254, 255,
    ] {
        let line = format!("exit {code}");
        ends(&kept, &[NAME, "--", "sh", "-c", &line], code, Some(""))?;
    }
    for signal in SIGNALS {
        let line = format!("kill -{signal} $$; sleep 5");
        ends(
            &kept,
            &[NAME, "--", "sh", "-c", &line],
            128 + signal,
            Some(""),
        )?;
    }
    // Words reach the program as they are, whatever a shell would make of them.
    for word in [
        "",
        " ",
        "a b",
        "$HOME",
        "`id`",
        "*",
        "\"'",
        "new\nline",
        "ünï",
        "-n",
        "--",
        "\\",
        "\\n",
        "%s",
        "a=b",
        "~",
        "{a,b}",
        "$(false)",
        "\t\u{7f}",
        "#",
        "!!",
        ";",
        "&&",
        "日本",
    ] {
        let shown = format!("{word}|");
        ends(&kept, &[NAME, "--", "printf", "%s|", word], 0, Some(&shown))?;
    }
    let long = "x".repeat(100_000);
    let shown = format!("{}\n", long.len());
    ends(
        &kept,
        &[NAME, "--", "sh", "-c", "echo ${#1}", "sh", &long],
        0,
        Some(&shown),
    )?;
    for (words, code, stdout) in ROWS {
        ends(&kept, words, *code, *stdout)?;
    }
    kept.does(&["kill", NAME])?;
    kept.ends_well()
}

fn crowd(world: &World) -> Result<()> {
    let kept = running(world)?;
    let mut open = Vec::new();
    for number in 0..SESSIONS_MAX {
        let line = format!("echo up {number}; read word; exit 9");
        let words = ["exec", "-i", NAME, "--", "sh", "-c", &line];
        open.push(
            kept.line(&words)
                .stdin_held_open()
                .limit(world.limit(SEEN_LIMIT * 3))
                .spawn()?,
        );
    }
    for (number, session) in open.iter().enumerate() {
        session.wait_for_stdout(&format!("up {number}\n"))?;
    }
    kept.ends_with(&["exec", NAME, "true"], 125)?;
    for session in &mut open {
        session.write(b"go\n")?;
    }
    for session in open {
        session.finish()?.expect_code(9)?;
    }
    kept.does(&["exec", NAME, "true"])?;
    kept.does(&["kill", NAME])?;
    kept.ends_well()
}

fn connect_and_logs(world: &World) -> Result<()> {
    let kept = running(world)?;
    let sent = kept.ends_with(&["connect", NAME, "--send", "echo to $0; exit 6"], 6)?;
    ensure!(
        sent.stdout_text().starts_with("to /"),
        "{:?}",
        sent.stdout_text()
    );
    let document = kept
        .does(&["connect", "--json", NAME, "--send", "echo hi"])?
        .json()?;
    ensure!(
        document["output"] == "hi\n" && document["exitCode"] == 0,
        "{document}"
    );
    kept.ends_with(
        &["connect", NAME, "--timeout", "1s", "--send", "sleep 60"],
        124,
    )?;
    kept.ends_with(&["connect", NAME], 2)?;
    kept.shell("echo from-the-guest > /dev/console")?;
    let deadline = Instant::now() + world.limit(SEEN_LIMIT);
    loop {
        let log = kept.does(&["logs", "--json", NAME])?.json()?;
        let lines = log["lines"].as_array().context("lines")?;
        if lines
            .iter()
            .any(|line| line["text"] == "from-the-guest" && line["boot"] == 1)
        {
            break;
        }
        ensure!(Instant::now() < deadline, "{log}");
        std::thread::sleep(PAUSE);
    }
    let followed = kept
        .line(&["logs", "--follow", "--tail", "1", NAME])
        .spawn()?;
    followed.wait_for_stdout("from-the-guest\n")?;
    kept.shell("echo second > /dev/console")?;
    followed.wait_for_stdout("second\n")?;
    kept.does(&["kill", NAME])?;
    followed.finish()?.expect_code(0)?;
    let last = kept
        .does(&["logs", "--since", "1h", "--boot", "last", NAME])?
        .stdout_text();
    ensure!(last.contains("second\n"), "{last}");
    kept.ends_well()
}

/// A terminal that is looked at from outside.
struct Screen<'a> {
    world: &'a World,
    kept: &'a Lasting<'a>,
    socket: String,
}

impl Screen<'_> {
    fn tmux(&self, words: &[&str]) -> Result<String> {
        let finished = Program::at("tmux")
            .of(self.kept.home())
            .env("TERM", "xterm")
            .args(["-S", &self.socket])
            .args(words)
            .run()?;
        Ok(finished.stdout_text())
    }

    fn shows(&self, wanted: &str) -> Result<()> {
        match self.lacks(wanted, self.world.limit(SEEN_LIMIT))? {
            None => Ok(()),
            Some(screen) => bail!("{wanted:?} is not on the screen:\n{screen}"),
        }
    }

    /// The screen when it does not show that in time.
    fn lacks(&self, wanted: &str, limit: Duration) -> Result<Option<String>> {
        let deadline = Instant::now() + limit;
        loop {
            let screen = self.tmux(&["capture-pane", "-p"])?;
            if screen.contains(wanted) {
                return Ok(None);
            }
            if Instant::now() > deadline {
                return Ok(Some(screen));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Types until the screen answers. What is typed just after something else was asked for can come before
    /// that has been done: a size is told beside the keys, and a signal finds no process yet.
    fn types_until(&self, keys: &[&str], wanted: &str) -> Result<()> {
        let deadline = Instant::now() + self.world.limit(SEEN_LIMIT);
        while Instant::now() < deadline {
            self.types(keys)?;
            if self.lacks(wanted, TYPED_AGAIN_AFTER)?.is_none() {
                return Ok(());
            }
        }
        self.shows(wanted)
    }

    fn types(&self, keys: &[&str]) -> Result<()> {
        let mut words = vec!["send-keys"];
        words.extend(keys);
        self.tmux(&words).map(drop)
    }
}

fn terminal(world: &World) -> Result<()> {
    let kept = running(world)?;
    let socket = kept.home().path().join("tmux").display().to_string();
    let screen = Screen {
        world,
        kept: &kept,
        socket,
    };
    let program = world.prefix().join("bin/microagent");
    screen.tmux(&[
        "-f",
        "/dev/null",
        "new-session",
        "-d",
        "-x",
        "90",
        "-y",
        "28",
        "env",
        "PS1=outer$ ",
        "sh",
    ])?;
    let tried = on_screen(&screen, &program.display().to_string());
    screen.tmux(&["kill-server"])?;
    tried?;
    kept.does(&["kill", NAME])?;
    kept.ends_well()
}

fn on_screen(screen: &Screen<'_>, program: &str) -> Result<()> {
    screen.types(&[
        &format!("{program} connect {NAME} --shell /bin/bash"),
        "Enter",
    ])?;
    screen.shows("Connected to kept. Detach with ctrl-].")?;
    screen.shows("root@kept:")?;
    screen.types(&["stty size", "Enter"])?;
    screen.shows("28 90")?;
    screen.tmux(&["resize-window", "-x", "101", "-y", "33"])?;
    screen.types_until(&["stty size", "Enter"], "33 101")?;
    screen.types(&["echo grüße-$((40+2))", "Enter"])?;
    screen.shows("grüße-42")?;
    screen.types(&["sleep 1000", "Enter"])?;
    screen.types_until(&["C-c", "echo code-$?", "Enter"], "code-130")?;
    screen.types(&["sleep 1000", "Enter"])?;
    screen.types_until(&["C-z"], "Stopped")?;
    screen.types(&["kill %1; jobs; echo still-$((1+1))", "Enter"])?;
    screen.shows("still-2")?;
    screen.types(&["C-]"])?;
    screen.shows("outer$")?;
    // The terminal is as it was: it echoes, and knows its signals.
    screen.types(&["clear; stty | head -n 1; echo detached-$?", "Enter"])?;
    screen.shows("detached-0")?;
    screen.types(&["stty -a | grep -c -- ' -echo '", "Enter"])?;
    screen.shows("0")?;
    screen.types(&[&format!("clear; {program} connect {NAME}"), "Enter"])?;
    screen.shows("Connected to kept.")?;
    screen.types(&["exit 7", "Enter"])?;
    screen.shows("outer$")?;
    screen.types(&["echo left-$?", "Enter"])?;
    screen.shows("left-0")
}
