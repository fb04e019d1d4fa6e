//! The built command, a real supervisor and a real monitor; only the VM is a fake, whose guest runs the
//! host's own commands. What a person sees of a workspace's whole life, in milliseconds.
//!
//! This program is the supervisor too, when it is called by that name, so that the tests need no program
//! that cargo would have to be asked to build.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests look at the world from outside the product's own doors, and say what they left out"
)]

mod installed;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use installed::Installed;
use microagent_test::cli::{Finished, Program, Signal};
use microagent_test::filters;
use microagent_test::image::Tool;
use microagent_test::shared_blocks::{Kind, SharedBlocks};

/// For a list with one workspace in it that never answers, on a busy machine.
const LIST_LIMIT: Duration = Duration::from_secs(10);
/// For a command that a signal should end.
const SIGNAL_LIMIT: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    installed::program(&[
        (
            "both_streams_and_the_code_are_the_guests_own_and_nothing_is_left",
            both_streams_and_the_code_are_the_guests_own_and_nothing_is_left,
        ),
        (
            "stdin_reaches_the_command_only_with_i",
            stdin_reaches_the_command_only_with_i,
        ),
        (
            "with_json_a_run_is_one_document",
            with_json_a_run_is_one_document,
        ),
        (
            "a_command_that_is_missing_has_its_own_code",
            a_command_that_is_missing_has_its_own_code,
        ),
        (
            "where_blocks_can_be_shared_a_workspace_has_a_clone_that_shares_them",
            where_blocks_can_be_shared_a_workspace_has_a_clone_that_shares_them,
        ),
        (
            "a_start_that_cannot_be_says_what_is_in_its_way",
            a_start_that_cannot_be_says_what_is_in_its_way,
        ),
        (
            "a_signal_reaches_the_command_and_a_second_ctrl_c_ends_the_session",
            a_signal_reaches_the_command_and_a_second_ctrl_c_ends_the_session,
        ),
        (
            "a_reader_that_goes_away_ends_the_run_with_141",
            a_reader_that_goes_away_ends_the_run_with_141,
        ),
        (
            "a_boot_that_fails_keeps_the_workspace_and_names_its_log",
            a_boot_that_fails_keeps_the_workspace_and_names_its_log,
        ),
        (
            "a_detached_run_leaves_its_workspace_up",
            a_detached_run_leaves_its_workspace_up,
        ),
        (
            "a_detached_run_whose_boot_fails_keeps_the_workspace",
            a_detached_run_whose_boot_fails_keeps_the_workspace,
        ),
        (
            "only_a_workspace_at_rest_gives_way_and_only_to_one_that_can_be_made",
            only_a_workspace_at_rest_gives_way_and_only_to_one_that_can_be_made,
        ),
        (
            "a_workspace_lives_from_create_to_delete",
            a_workspace_lives_from_create_to_delete,
        ),
        (
            "a_guest_that_ignores_a_halt_is_not_killed_and_the_code_is_124",
            a_guest_that_ignores_a_halt_is_not_killed_and_the_code_is_124,
        ),
        (
            "results_of_several_workspaces_stand_in_the_order_of_the_names",
            results_of_several_workspaces_stand_in_the_order_of_the_names,
        ),
        (
            "a_history_is_shown_verified_and_shows_an_edit",
            a_history_is_shown_verified_and_shows_an_edit,
        ),
        (
            "two_hundred_workspaces_are_listed_while_one_does_not_answer",
            two_hundred_workspaces_are_listed_while_one_does_not_answer,
        ),
        (
            "values_of_an_environment_are_shown_only_when_asked_for",
            values_of_an_environment_are_shown_only_when_asked_for,
        ),
        (
            "a_wait_ends_with_the_vm_or_with_its_limit",
            a_wait_ends_with_the_vm_or_with_its_limit,
        ),
        (
            "data_disks_are_made_with_a_workspace_and_go_with_it",
            data_disks_are_made_with_a_workspace_and_go_with_it,
        ),
        (
            "a_data_disk_that_cannot_be_made_leaves_no_workspace",
            a_data_disk_that_cannot_be_made_leaves_no_workspace,
        ),
    ])
}

impl Installed {
    /// Code, stdout and stderr with everything replaced that differs from run to run.
    fn quoted(&self, finished: &Finished) -> String {
        let code = finished
            .code
            .map_or("none".to_owned(), |code| code.to_string());
        let text = format!(
            "exit {code}\n--- stdout\n{}--- stderr\n{}",
            finished.stdout_text(),
            finished.stderr_text()
        );
        without_spans(&filters::stable(&text, self.home.path()))
    }

    /// Lines typed one after the other, and what each of them said.
    fn story(&self, lines: &[&[&str]]) -> String {
        let mut story = String::new();
        for line in lines {
            let quoted = self.quoted(&self.does(line));
            story = format!("{story}$ microagent {}\n{quoted}\n", line.join(" "));
        }
        story
    }
}

/// `(12 ms)`, `in 12 ms`, `(pid 12)` and moments differ from run to run.
fn without_spans(text: &str) -> String {
    let mut stable = String::new();
    for line in text.split_inclusive('\n') {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        for at in 1..words.len() {
            if words[at - 1] == "since" && at + 1 < words.len() {
                "DAY".clone_into(&mut words[at]);
                "TIME".clone_into(&mut words[at + 1]);
            }
            if words[at - 1] == "(pid" {
                let tail = words[at].trim_start_matches(|c: char| c.is_ascii_digit());
                words[at] = format!("N{tail}");
            }
            let unit = words[at]
                .trim_matches(|c: char| !c.is_ascii_alphabetic())
                .to_owned();
            let number = words[at - 1].trim_start_matches('(').to_owned();
            if matches!(unit.as_str(), "ms" | "s") && number.parse::<f64>().is_ok() {
                words[at - 1] = words[at - 1].replace(&number, "N");
                words[at] = words[at].replace(&unit, "ms");
            }
        }
        stable.push_str(&words.join(" "));
    }
    stable
}

fn both_streams_and_the_code_are_the_guests_own_and_nothing_is_left() {
    let installed = Installed::new();
    let script = ["sh", "-c", "echo out; echo err >&2; exit 3"];
    let ran = installed
        .run(&[], &script)
        .run()
        .unwrap()
        .expect_code(3)
        .unwrap();
    assert_eq!(ran.stdout_text(), "out\n");
    assert_eq!(ran.stderr_text(), "err\n");
    installed.assert_tidy();
}

fn stdin_reaches_the_command_only_with_i() {
    let installed = Installed::new();
    let passed = installed
        .run(&["-i"], &["tr", "a-z", "A-Z"])
        .stdin("hello\n");
    assert_eq!(
        passed.run().unwrap().expect_code(0).unwrap().stdout_text(),
        "HELLO\n"
    );
    let kept = installed.run(&[], &["cat"]).stdin("hello\n");
    assert_eq!(
        kept.run().unwrap().expect_code(0).unwrap().stdout_text(),
        ""
    );
}

fn with_json_a_run_is_one_document() {
    let installed = Installed::new();
    let script = ["sh", "-c", "printf 'a\\377'; echo err >&2; kill -9 $$"];
    let ran = installed
        .run(&["--json"], &script)
        .run()
        .unwrap()
        .expect_code(137)
        .unwrap();
    assert_eq!(ran.stderr_text(), "");
    let document = ran.json().unwrap();
    assert_eq!(document["outcome"], "signaled");
    assert_eq!(document["signal"], "SIGKILL");
    assert!(document["exitCode"].is_null() && document["error"].is_null());
    assert_eq!(document["stdout"], "Yf8=");
    assert_eq!(document["stdoutEncoding"], "base64");
    assert_eq!(document["stderr"], "err\n");
    assert_eq!(document["kept"], false);
    assert!(document["timings"]["bootMs"].is_u64());
    let cut = ["sh", "-c", "head -c 5000 /dev/zero"];
    let ran = installed
        .run(&["--json", "--output-limit", "1K"], &cut)
        .run()
        .unwrap();
    let document = ran.expect_code(0).unwrap().json().unwrap();
    assert_eq!(document["stdoutBytes"], 5000);
    assert_eq!(document["stdout"].as_str().unwrap().len(), 1024);
    assert_eq!(document["stdoutTruncated"], true);
}

fn a_command_that_is_missing_has_its_own_code() {
    let installed = Installed::new();
    let missing = installed.run(&[], &["pyhton"]).run().unwrap();
    insta::assert_snapshot!(installed.quoted(&missing), @r"
    exit 127
    --- stdout
    --- stderr
    error: `pyhton` was not found in `oci:image`
      hint: look with: microagent run oci:image ls /usr/bin
      cause: No such file or directory (os error 2)
    ");
    installed.assert_tidy();
}

fn a_signal_reaches_the_command_and_a_second_ctrl_c_ends_the_session() {
    let installed = Installed::new();
    let heeds = "trap 'echo got; exit 5' INT; echo ready; while :; do sleep 0.05; done";
    let running = installed.run(&[], &["sh", "-c", heeds]).limit(SIGNAL_LIMIT);
    let running = running.spawn().unwrap();
    running.wait_for_stdout("ready").unwrap();
    running.signal(Signal::INT).unwrap();
    let ended = running.finish().unwrap().expect_code(5).unwrap();
    assert_eq!(ended.stdout_text(), "ready\ngot\n");

    let ignores = "trap 'echo no' INT; echo ready; while :; do sleep 0.05; done";
    let running = installed
        .run(&[], &["sh", "-c", ignores])
        .limit(SIGNAL_LIMIT);
    let running = running.spawn().unwrap();
    running.wait_for_stdout("ready").unwrap();
    running.signal(Signal::INT).unwrap();
    running.wait_for_stdout("no").unwrap();
    running.signal(Signal::INT).unwrap();
    running.finish().unwrap().expect_code(130).unwrap();
    installed.assert_tidy();
}

fn a_reader_that_goes_away_ends_the_run_with_141() {
    let installed = Installed::new();
    let microagent = installed.home.path().join("prefix/bin/microagent");
    let line = format!(
        "{} run --profile tiny --kernel kernel oci:image yes | head -1; echo ${{PIPESTATUS[0]}}",
        microagent.display()
    );
    let piped = Program::at("/bin/bash")
        .of(&installed.home)
        .args(["-c", &line]);
    let piped = piped.run().unwrap().expect_code(0).unwrap();
    assert_eq!(piped.stdout_text(), "y\n141\n");
    installed.assert_tidy();
}

fn a_boot_that_fails_keeps_the_workspace_and_names_its_log() {
    let installed = Installed::new();
    installed.script("fails-to-boot");
    let failed = installed.run(&["--name", "web"], &["true"]).run().unwrap();
    let failed = failed.expect_code(125).unwrap();
    let text = failed.stderr_text();
    assert!(text.starts_with("error: "), "{text}");
    assert!(
        text.contains("serial.log") && text.contains("microagent delete web"),
        "{text}"
    );
    assert_eq!(installed.names(), "web\n");
    installed.delete("web");
    installed.assert_tidy();
}

fn a_detached_run_leaves_its_workspace_up() {
    let installed = Installed::new();
    let detached = |flags: &[&'static str], words: &[&'static str]| {
        let fixed = ["run", "-d", "--profile", "tiny", "--kernel", "kernel"];
        [&fixed[..], flags, words].concat()
    };
    let story = installed.story(&[
        &detached(&["--name", "web", "--idle"], &["oci:image"]),
        &["exec", "web", "echo", "hi"],
        &detached(&["--name", "web"], &["oci:image"]),
        &detached(&["-it"], &["oci:image"]),
        &detached(&["--idle"], &["oci:image", "true"]),
        &["run", "--idle", "oci:image"],
        &["stop", "web"],
    ]);
    insta::assert_snapshot!(story);
    installed.delete("web");

    let unnamed = installed
        .does(&detached(&["--json", "--idle"], &["oci:image"]))
        .expect_code(0)
        .unwrap();
    let document: serde_json::Value = serde_json::from_str(&unnamed.stdout_text()).unwrap();
    let name = document["workspace"]["name"].as_str().unwrap();
    assert!(name.starts_with("run-"), "{document}");
    assert_eq!(document["workspace"]["state"], "running");
    assert!(document["timings"]["bootMs"].is_u64(), "{document}");
    installed.does(&["kill", name]).expect_code(0).unwrap();
    installed.delete(name);
    installed.assert_tidy();
}

fn a_detached_run_whose_boot_fails_keeps_the_workspace() {
    let installed = Installed::new();
    installed.script("fails-to-boot");
    let failed = installed.run(&["-d", "--name", "web"], &[]).run().unwrap();
    let text = failed.expect_code(125).unwrap().stderr_text();
    assert!(
        text.contains("serial.log") && text.contains("microagent delete web"),
        "{text}"
    );
    assert_eq!(installed.names(), "web\n");
    installed.delete("web");
    installed.assert_tidy();
}

fn only_a_workspace_at_rest_gives_way_and_only_to_one_that_can_be_made() {
    let installed = Installed::new();
    installed.create("web");
    let id = || {
        let status = installed.does(&["status", "--json", "web"]);
        let text = status.expect_code(0).unwrap().stdout_text();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        document["id"].as_str().unwrap().to_owned()
    };
    let first = id();
    let create = |image: &'static str| {
        let flags = ["--profile", "tiny", "--kernel", "kernel", "--idle"];
        [
            &["create", "web", "--replace", "--image", image][..],
            &flags,
        ]
        .concat()
    };
    let missing = installed.does(&create("oci:nowhere"));
    missing.expect_code(1).unwrap();
    assert_eq!(id(), first, "what can't be made replaces nothing");

    installed.does(&["start", "web"]).expect_code(0).unwrap();
    let refused = installed.does(&create("oci:image"));
    insta::assert_snapshot!(installed.quoted(&refused));
    assert_eq!(id(), first, "a VM is never in the way of a name");
    installed.does(&["kill", "web"]).expect_code(0).unwrap();

    installed.does(&create("oci:image")).expect_code(0).unwrap();
    let second = id();
    assert_ne!(second, first);

    installed
        .does(&["quarantine", "web"])
        .expect_code(0)
        .unwrap();
    let marked = installed.does(&create("oci:image"));
    insta::assert_snapshot!(installed.quoted(&marked));
    assert_eq!(id(), second, "evidence is not replaced");
    installed.delete("web");
    installed.does(&create("oci:image")).expect_code(0).unwrap();
    installed.delete("web");
    installed.assert_tidy();
}

fn a_workspace_lives_from_create_to_delete() {
    let installed = Installed::new();
    installed.create("web");
    let story = installed.story(&[
        &[
            "create",
            "web",
            "--image",
            "oci:image",
            "--kernel",
            "kernel",
        ],
        &["exec", "web", "true"],
        &["start", "web"],
        &["start", "web"],
        &["exec", "web", "sh", "-c", "echo hi; exit 4"],
        &["exec", "web", "pyhton"],
        &["delete", "--yes", "web"],
        &["pause", "web"],
        &["exec", "web", "true"],
        &["halt", "web"],
        &["resume", "web"],
        &["quarantine", "--note", "case 17", "web"],
        &["exec", "web", "true"],
        &["start", "web"],
        &["kill", "web"],
        &["stop", "web"],
        &["wait", "web"],
        &["delete", "web"],
        &["delete", "--yes", "web"],
        &["status", "web"],
    ]);
    insta::assert_snapshot!(story);
    installed.assert_tidy();
}

fn where_blocks_can_be_shared_a_workspace_has_a_clone_that_shares_them() {
    for kind in Kind::ALL {
        let mounted = match SharedBlocks::mount(kind, 2 << 30) {
            Ok(mounted) => mounted,
            Err(reason) => {
                eprintln!("skipped: {reason}");
                continue;
            }
        };
        let installed = Installed::within(&mounted.path());
        installed.create("first");
        let before = mounted.used_bytes().unwrap();
        installed.create("web");
        let grown = mounted.used_bytes().unwrap().saturating_sub(before);
        assert!(
            grown < 4 << 20,
            "{kind:?}: the workspace took {grown} bytes"
        );
        let status = installed.does(&["status", "--json", "web"]);
        let text = status.expect_code(0).unwrap().stdout_text();
        assert!(text.contains(r#""clone":"reflink""#), "{text}");
    }
}

fn a_start_that_cannot_be_says_what_is_in_its_way() {
    let installed = Installed::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let publish = format!("{port}:80");
    installed.create_with("web", &["--publish", &publish]);
    installed.create_with("job", &["--mediation", "2048=unix:/nowhere/control.sock"]);
    let mut story = String::new();
    for line in [&["start", "web"][..], &["start", "job"], &["status", "wbe"]] {
        let quoted = installed.quoted(&installed.does(line));
        story = format!("{story}{quoted}\n");
    }
    insta::assert_snapshot!(story.replace(&port, "PORT"));
    let states = installed.does(&["list", "--json"]).json().unwrap();
    for workspace in states["workspaces"].as_array().unwrap() {
        assert_eq!(workspace["state"], "prepared", "{workspace}");
    }
}

fn a_guest_that_ignores_a_halt_is_not_killed_and_the_code_is_124() {
    let installed = Installed::new();
    installed.script("ignores-halt");
    installed.create("web");
    installed.does(&["start", "web"]).expect_code(0).unwrap();
    let halted = installed
        .does(&["halt", "--timeout", "300ms", "web"])
        .expect_code(124)
        .unwrap();
    let text = halted.stderr_text();
    assert!(
        text.contains("microagent stop web") && text.contains("microagent kill web"),
        "{text}"
    );
    assert_eq!(installed.does(&["ps", "-q"]).stdout_text(), "web\n");
    installed.does(&["kill", "web"]).expect_code(0).unwrap();
    assert_eq!(installed.does(&["ps", "-q"]).stdout_text(), "");
}

fn results_of_several_workspaces_stand_in_the_order_of_the_names() {
    let installed = Installed::new();
    installed.create("web");
    installed.create("db");
    let line = ["start", "--json", "web", "nope", "db", "web"];
    let started = installed
        .does(&line)
        .expect_code(1)
        .unwrap()
        .json()
        .unwrap();
    let results = started["results"].as_array().unwrap();
    let names: Vec<&str> = results
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["web", "nope", "db"]);
    assert_eq!(results[0]["workspace"]["state"], "running");
    assert_eq!(results[1]["error"]["kind"], "not_found");
    assert_eq!(results[2]["changed"], true);

    let list = installed
        .does(&["list", "--json", "--state", "running"])
        .json()
        .unwrap();
    assert_eq!(list["workspaces"].as_array().unwrap().len(), 2);
    let table = installed.does(&["list"]).stdout_text();
    assert_eq!(table.lines().count(), 3, "{table}");
    let stopped = installed
        .does(&["stop", "--json", "web", "db"])
        .expect_code(0)
        .unwrap();
    for result in stopped.json().unwrap()["results"].as_array().unwrap() {
        assert_eq!(result["endedBy"], "sigterm", "{result}");
    }
    installed
        .does(&["delete", "-y", "web", "db"])
        .expect_code(0)
        .unwrap();
    installed.assert_tidy();
}

fn a_history_is_shown_verified_and_shows_an_edit() {
    let installed = Installed::new();
    installed.create("web");
    installed
        .does(&["start", "--note", "for the test", "web"])
        .expect_code(0)
        .unwrap();
    installed.does(&["halt", "web"]).expect_code(0).unwrap();
    let shown = installed
        .does(&["events", "web"])
        .expect_code(0)
        .unwrap()
        .stdout_text();
    assert!(
        shown.lines().next().unwrap().starts_with("  1  "),
        "{shown}"
    );
    assert!(
        shown.contains("prepared (created)") && shown.contains("for the test"),
        "{shown}"
    );
    let last = installed
        .does(&["events", "--tail", "1", "--json", "web"])
        .json()
        .unwrap();
    assert_eq!(last["events"][0]["state"], "halted");
    let time = last["events"][0]["time"].as_str().unwrap();
    let since = |moment: &str| {
        let line = ["events", "--since", moment, "--json", "web"];
        let document = installed.does(&line).expect_code(0).unwrap().json();
        document.unwrap()["events"].as_array().unwrap().len()
    };
    assert_eq!(since(time), 1, "the moment itself is in");
    assert_eq!(since("1h"), shown.lines().count());
    assert_eq!(since("9999-12-31"), 0);
    let followed = installed
        .does(&["events", "--follow", "--json", "web"])
        .expect_code(0)
        .unwrap();
    let path = installed
        .home
        .state_dir()
        .join("workspaces/web/events.jsonl");
    assert_eq!(followed.stdout, std::fs::read(&path).unwrap());

    let intact = installed
        .does(&["events", "--verify", "web"])
        .expect_code(0)
        .unwrap();
    assert!(intact.stdout_text().contains("chain intact"));
    let history = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, history.replacen("for the test", "for the tent", 1)).unwrap();
    let edited = installed
        .does(&["events", "--verify", "--json", "web"])
        .expect_code(1)
        .unwrap();
    let verdict = edited.json().unwrap();
    assert_eq!(verdict["ok"], false);
    assert!(verdict["problems"][0]["line"].is_u64(), "{verdict}");
}

fn a_wait_ends_with_the_vm_or_with_its_limit() {
    let installed = Installed::new();
    installed.create("web");
    installed.does(&["start", "web"]).expect_code(0).unwrap();
    let ready = installed
        .does(&["wait", "--for", "ready", "web"])
        .expect_code(0)
        .unwrap();
    assert_eq!(ready.stdout_text(), "web running\n");
    let late = installed
        .does(&["wait", "--timeout", "300ms", "--json", "web"])
        .expect_code(124)
        .unwrap();
    assert_eq!(
        late.json().unwrap()["results"][0]["error"]["kind"],
        "timeout"
    );
    let waiting = installed.microagent(&["wait", "web"]).spawn().unwrap();
    installed.does(&["kill", "web"]).expect_code(0).unwrap();
    assert_eq!(
        waiting
            .finish()
            .unwrap()
            .expect_code(0)
            .unwrap()
            .stdout_text(),
        "web stopped\n"
    );
}

fn values_of_an_environment_are_shown_only_when_asked_for() {
    let installed = Installed::new();
    let line = [
        "create",
        "web",
        "--image",
        "oci:image",
        "--kernel",
        "kernel",
        "--env",
        "TOKEN=s3cret",
    ];
    installed.does(&line).expect_code(0).unwrap();
    let page = |flags: &[&str]| {
        let line = [&["status"][..], flags, &["web"]].concat();
        installed.does(&line).expect_code(0).unwrap().stdout_text()
    };
    for hidden in [page(&[]), page(&["--json"])] {
        assert!(!hidden.contains("s3cret"), "{hidden}");
    }
    let shown = page(&["--show-env"]);
    assert!(shown.contains("env          TOKEN=s3cret\n"), "{shown}");
    let document: serde_json::Value =
        serde_json::from_str(&page(&["--show-env", "--json"])).unwrap();
    let variables = document["env"].as_array().unwrap();
    let token = serde_json::json!({ "name": "TOKEN", "value": "s3cret" });
    assert!(variables.contains(&token), "{variables:?}");
}

/// `create` of an idle workspace with data disks.
fn create_with_disks(installed: &Installed, disks: &[&str]) -> Finished {
    let mut line = vec!["create", "web", "--image", "oci:image", "--idle"];
    line.extend(["--profile", "tiny", "--kernel", "kernel"]);
    line.extend(disks.iter().flat_map(|disk| ["--disk", disk]));
    installed.does(&line)
}

fn data_disks_are_made_with_a_workspace_and_go_with_it() {
    let installed = Installed::new();
    let work = installed.home.work_dir();
    std::fs::write(work.join("own.ext4"), vec![0; 1 << 20]).unwrap();
    std::fs::write(work.join("note"), "from the tarball").unwrap();
    Tool::new("tar")
        .arg("-C")
        .arg(&work)
        .arg("-cf")
        .arg(work.join("set.tar"))
        .arg("note")
        .ok()
        .unwrap();
    let disks = [
        "data=32M:/data",
        "set=set.tar:/set:ro",
        "own=./own.ext4:/own",
    ];
    create_with_disks(&installed, &disks)
        .expect_code(0)
        .unwrap();
    let status = installed.does(&["status", "--json", "web"]);
    let status = status.expect_code(0).unwrap().json().unwrap();
    let told = |at: usize| {
        let disk = &status["disks"][at];
        let text = |key: &str| disk[key].as_str().unwrap().to_owned();
        (
            text("name"),
            text("mount"),
            text("mode"),
            disk["owned"] == true,
        )
    };
    let expected = |name: &str, mode: &str, owned| {
        (name.to_owned(), format!("/{name}"), mode.to_owned(), owned)
    };
    assert_eq!(told(0), expected("data", "rw", true));
    assert_eq!(told(1), expected("set", "ro", true));
    assert_eq!(told(2), expected("own", "rw", false));
    for at in [0, 1] {
        let path = status["disks"][at]["path"].as_str().unwrap();
        microagent_test::fsck::clean(Path::new(path)).unwrap();
    }
    assert_eq!(status["disks"][0]["sizeBytes"], 32 << 20);
    installed.delete("web");
    installed.assert_tidy();
    assert!(!installed.home.state_dir().join("workspaces/web").exists());
    assert!(work.join("own.ext4").exists(), "it is somebody else's");
}

fn a_data_disk_that_cannot_be_made_leaves_no_workspace() {
    let installed = Installed::new();
    let refused = |disks: &[&str], code: i32, word: &str| {
        let refused = create_with_disks(&installed, disks)
            .expect_code(code)
            .unwrap();
        assert!(
            refused.stderr_text().contains(word),
            "{}",
            refused.stderr_text()
        );
        assert_eq!(installed.names(), "");
        assert!(!installed.home.state_dir().join("workspaces/web").exists());
    };
    refused(&["data=32M:/proc"], 2, "nothing is mounted at `/proc`");
    refused(&["data=32M"], 2, "write NAME=SIZE:/MOUNT");
    refused(&["a=32M:/data", "b=32M:/data"], 2, "`/data`");
    refused(&["set=missing.tar:/set"], 1, "cannot make the disk `set`");
    refused(&["own=./missing.ext4:/own"], 1, "missing.ext4");
    create_with_disks(&installed, &["data=32M:/data"])
        .expect_code(0)
        .unwrap();
    let taken = create_with_disks(&installed, &["data=32M:/data"]);
    taken.expect_code(1).unwrap();
    assert_eq!(installed.names(), "web\n");
}

/// Records under other names: nothing tells such a workspace from one that was created.
fn two_hundred_workspaces_are_listed_while_one_does_not_answer() {
    const MANY: usize = 200;
    let installed = Installed::new();
    installed.create("prepared");
    let folder = |name: &str| installed.home.state_dir().join("workspaces").join(name);
    let record = std::fs::read_to_string(folder("prepared").join("workspace.json")).unwrap();
    for number in 1..MANY {
        let name = format!("prepared-{number}");
        std::fs::create_dir(folder(&name)).unwrap();
        let record = record.replace("\"prepared\"", &format!("\"{name}\""));
        std::fs::write(folder(&name).join("workspace.json"), record).unwrap();
        for file in ["runtime.json", "events.jsonl"] {
            let from = folder("prepared").join(file);
            std::fs::copy(from, folder(&name).join(file)).unwrap();
        }
    }
    installed.create("wedged");
    installed.does(&["start", "wedged"]).expect_code(0).unwrap();
    let status = installed.does(&["status", "--json", "wedged"]).json();
    let monitor = status.unwrap()["vm"]["monitorPid"].as_u64().unwrap();
    let processes = installed.home.processes();
    let monitor = processes.iter().find(|seen| u64::from(seen.pid) == monitor);
    let monitor = monitor.unwrap();
    monitor.signal(Signal::STOP);
    let listed = installed.does(&["list", "--json"]);
    monitor.signal(Signal::CONT);
    let listed = listed.expect_code(0).unwrap();
    assert!(listed.took < LIST_LIMIT, "{:?}", listed.took);
    let document = listed.json().unwrap();
    let workspaces = document["workspaces"].as_array().unwrap();
    assert_eq!(workspaces.len(), MANY + 1);
    for workspace in workspaces {
        let wedged = workspace["name"] == "wedged";
        let state = if wedged { "running" } else { "prepared" };
        assert_eq!(workspace["state"], state, "{workspace}");
        assert_eq!(workspace["stale"], wedged, "{workspace}");
    }
    installed.does(&["kill", "wedged"]).expect_code(0).unwrap();
}
