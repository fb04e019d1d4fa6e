//! `top`: one sample where nobody looks, and the live picture in a real terminal, which is tmux's.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests look at the world from outside the product's own doors, and say what they left out"
)]

mod installed;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use installed::Installed;
use microagent_test::cli::Program;
use microagent_test::image::Tool;
use serde_json::Value;

/// Until a picture shows what it should, on a busy machine.
const PICTURE_LIMIT: Duration = Duration::from_mins(1);
/// Between two looks at it.
const PICTURE_PAUSE: Duration = Duration::from_millis(50);

fn main() -> ExitCode {
    installed::program(&[
        (
            "where_there_is_no_terminal_one_sample_is_printed",
            where_there_is_no_terminal_one_sample_is_printed,
        ),
        (
            "on_a_terminal_the_picture_follows_and_leaves_nothing_behind",
            on_a_terminal_the_picture_follows_and_leaves_nothing_behind,
        ),
    ])
}

fn where_there_is_no_terminal_one_sample_is_printed() {
    let installed = Installed::new();
    let empty = installed.does(&["top"]).expect_code(0).unwrap();
    assert_eq!(empty.stdout_text(), "NAME  STATE  CPU  MEMORY  DISK  NET\n");
    installed.create("dev");
    let up = installed.run(&["-d", "--name", "web", "--idle"], &[]).run();
    up.unwrap().expect_code(0).unwrap();
    let text = installed
        .does(&["top"])
        .expect_code(0)
        .unwrap()
        .stdout_text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[1].starts_with("dev   prepared"), "{text}");
    assert!(lines[2].starts_with("web   running"), "{text}");
    assert!(
        lines[1].contains("- / 256 MiB") && lines[1].ends_with('-'),
        "{text}"
    );
    assert!(
        lines[2].contains(" %") && lines[2].ends_with(" 0 B/s"),
        "{text}"
    );
    let document = installed.does(&["top", "--json"]);
    let document = document.expect_code(0).unwrap().json().unwrap();
    let (dev, web) = (&document["workspaces"][0], &document["workspaces"][1]);
    let keys: Vec<&String> = dev.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "cpuTimeMs",
            "cpus",
            "cpusBusy",
            "diskAllocatedBytes",
            "diskBytes",
            "memoryBytes",
            "memoryLimitBytes",
            "name",
            "networkBytesIn",
            "networkBytesOut",
            "openConnections",
            "stale",
            "state"
        ]
    );
    assert_eq!(
        (&web["networkBytesIn"], &dev["networkBytesIn"]),
        (&0.into(), &Value::Null)
    );
    assert!(dev["cpusBusy"].is_null() && dev["memoryBytes"].is_null());
    assert!(
        web["cpusBusy"].is_number() && web["memoryBytes"].as_u64().unwrap() > 100_000,
        "{web}"
    );
    assert!(web["diskAllocatedBytes"].as_u64().unwrap() < web["diskBytes"].as_u64().unwrap());
    let refused = installed
        .does(&["top", "--interval", "10ms"])
        .expect_code(2)
        .unwrap();
    assert!(refused.stderr_text().contains("too short"));
    installed.does(&["kill", "web"]).expect_code(0).unwrap();
    installed.delete("web");
    installed.delete("dev");
    installed.assert_tidy();
}

/// A terminal of 80 columns.
struct Terminal<'a> {
    installed: &'a Installed,
    socket: String,
}

impl Terminal<'_> {
    fn tmux(&self, line: &[&str]) -> String {
        let tmux = Program::at("tmux").of(&self.installed.home);
        let tmux = tmux
            .args(["-S", &self.socket, "-f", "/dev/null"])
            .args(line);
        tmux.run().unwrap().expect_code(0).unwrap().stdout_text()
    }

    /// What stands on it once `text` does.
    fn showing(&self, text: &str) -> String {
        let began = Instant::now();
        loop {
            let picture = self.tmux(&["capture-pane", "-p"]);
            if picture.contains(text) {
                return picture;
            }
            assert!(began.elapsed() < PICTURE_LIMIT, "no `{text}` in\n{picture}");
            std::thread::sleep(PICTURE_PAUSE);
        }
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        let tmux = Program::at("tmux").of(&self.installed.home);
        let _ = tmux.args(["-S", &self.socket, "kill-server"]).run();
    }
}

fn on_a_terminal_the_picture_follows_and_leaves_nothing_behind() {
    if !Tool::is_here("tmux") {
        eprintln!("skipped: `tmux` is not installed");
        return;
    }
    let installed = Installed::new();
    installed.create("web");
    installed.create("dev");
    let terminal = Terminal {
        socket: installed.home.path().join("tmux").display().to_string(),
        installed: &installed,
    };
    let program = installed.home.path().join("prefix/bin/microagent");
    let shell = format!(
        "sh -c '{} top --interval 200ms; echo code $?; exec cat'",
        program.display()
    );
    terminal.tmux(&["new-session", "-d", "-x", "80", "-y", "12", &shell]);
    let picture = terminal.showing("0 of 2 workspaces run");
    assert!(
        picture.contains("NAME") && picture.contains("prepared"),
        "{picture}"
    );
    assert!(picture.contains("q leaves"), "{picture}");
    assert!(
        picture.lines().all(|line| line.chars().count() <= 80),
        "{picture}"
    );
    installed.does(&["start", "web"]).expect_code(0).unwrap();
    let picture = terminal.showing(" %");
    assert!(picture.contains("1 of 2 workspaces run"), "{picture}");
    let row = picture.lines().find(|line| line.starts_with("web"));
    assert!(
        row.is_some_and(|row| row.contains("running") && row.contains('%')),
        "{picture}"
    );
    installed.does(&["kill", "web"]).expect_code(0).unwrap();
    terminal.showing("0 of 2 workspaces run");
    terminal.tmux(&["send-keys", "x"]);
    terminal.showing("0 of 2 workspaces run");
    terminal.tmux(&["send-keys", "q"]);
    let after = terminal.showing("code 0");
    assert!(!after.contains("workspaces run"), "{after}");
}
