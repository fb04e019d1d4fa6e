//! The built command as a user meets it: exit code, stdout, stderr. No VM and no supervisor of ours
//! is needed; where one must answer, a script stands for it.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the world from outside the product's own doors"
)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use microagent_test::cli::{Finished, Program};
use microagent_test::home::Home;

const MICROAGENT: &str = env!("CARGO_BIN_EXE_microagent");

/// A home whose `PATH` holds none of our programs.
fn home() -> Home {
    let mut home = Home::new().unwrap();
    home.set_env("PATH", "/usr/bin:/bin");
    home
}

fn microagent(home: &Home, line: &[&str]) -> Program {
    Program::at(MICROAGENT).of(home).args(line)
}

fn ran(line: &[&str]) -> Finished {
    microagent(&home(), line).run().unwrap()
}

/// Code, stdout and stderr, as a person would quote them.
fn quoted(finished: &Finished) -> String {
    let code = finished
        .code
        .map_or("none".to_owned(), |code| code.to_string());
    format!(
        "exit {code}\n--- stdout\n{}--- stderr\n{}",
        finished.stdout_text(),
        finished.stderr_text()
    )
}

/// An executable script in the home.
fn script(home: &Home, body: &str) -> PathBuf {
    let path = home.path().join("scripted-supervisor");
    std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// A supervisor that answers every request with a host report of a QEMU that can start VMs.
fn host_script(home: &Home) -> PathBuf {
    script(
        home,
        r#"cat >/dev/null
cat <<'END'
{"protocolVersion":1,"ok":true,"backend":"qemu","host":{"os":"linux","osVersion":"6.8","arch":"amd64",
"cpus":4,"memoryBytes":8589934592,"backends":[{"name":"qemu","available":true,"version":"9.2",
"binary":"/usr/bin/qemu-system-x86_64"}],"kvm":{"present":false,"openable":false,"cpuFlag":false,
"usable":false},"accelerator":"emulation","programs":[{"name":"vhost-device-vsock",
"purpose":"vsock of a guest","found":true,"path":"/usr/libexec/vhost-device-vsock"}],
"confinement":{"required":false,"parts":[{"name":"no_new_privs","active":true},
{"name":"user_ns","active":false,"reason":"restricted\u001b[2J"}]},
"networkModes":[{"mode":"nat","available":true}],"limits":{"cpus":32,"disks":8,
"memoryBytes":8589934592}}}
END"#,
    )
}

#[test]
fn help_is_data_and_nothing_typed_is_a_mistake() {
    for line in [
        &["--help"][..],
        &["-h"],
        &["run", "--help"],
        &["man", "-h", "--json"],
    ] {
        let asked = ran(line).expect_code(0).unwrap();
        assert!(asked.stdout_text().contains("Examples:"), "{line:?}");
        assert_eq!(asked.stderr_text(), "");
    }
    let nothing = ran(&[]).expect_code(2).unwrap();
    assert_eq!(nothing.stdout_text(), "");
    assert!(nothing.stderr_text().contains("Usage: microagent"));
}

#[test]
fn the_version_is_one_line_or_one_document() {
    insta::assert_snapshot!(quoted(&ran(&["version"])), @r"
    exit 0
    --- stdout
    microagent 0.1.0
    --- stderr
    ");
    assert_eq!(ran(&["-V"]).stdout_text(), "microagent 0.1.0\n");
    let document = ran(&["version", "--json"])
        .expect_code(0)
        .unwrap()
        .json()
        .unwrap();
    let keys: Vec<&String> = document.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "commit",
            "commitDate",
            "defaultKernels",
            "guestGeneration",
            "target",
            "version"
        ]
    );
    assert_eq!(document["version"], "0.1.0");
    assert!(document["target"].as_str().unwrap().contains('-'));
}

#[test]
fn a_mistake_is_told_on_stderr_with_a_hint_and_exit_2() {
    insta::assert_snapshot!(quoted(&ran(&["docter"])), @r"
    exit 2
    --- stdout
    --- stderr
    error: `docter` is not a microagent command
      hint: did you mean `doctor`? all commands: microagent --help
    ");
    insta::assert_snapshot!(quoted(&ran(&["run", "--memory", "512", "oci:x"])), @r"
    exit 2
    --- stdout
    --- stderr
    error: size `512` has no unit
      hint: --memory 512M
    ");
}

#[test]
fn with_json_a_mistake_is_the_one_document_and_stderr_is_silent() {
    for line in [
        &["--json", "docter"][..],
        &["run", "--memory", "512", "--json", "oci:x"],
        &["--json"],
        &["run", "--json"],
    ] {
        let mistake = ran(line).expect_code(2).unwrap();
        let error = &mistake.json().unwrap()["error"];
        assert_eq!(error["kind"], "usage", "{line:?}");
        assert_eq!(error["retryable"], false);
        assert!(
            error["hint"].is_string() && error["cause"].is_array(),
            "{line:?}"
        );
        assert_eq!(mistake.stderr_text(), "");
        assert_eq!(mistake.stdout_text().lines().count(), 1);
    }
}

#[test]
fn a_terminal_is_asked_for_only_where_there_is_one() {
    insta::assert_snapshot!(quoted(&ran(&["run", "-it", "oci:x", "sh"])), @r"
    exit 2
    --- stdout
    --- stderr
    error: --tty needs a terminal on stdin
      hint: leave out -t; -i alone passes stdin through
    ");
    let both = ran(&["run", "-t", "--json", "oci:x", "sh"])
        .expect_code(2)
        .unwrap();
    assert_eq!(
        both.json().unwrap()["error"]["message"],
        "--tty cannot be used with --json"
    );
}

#[test]
fn a_backend_of_another_system_is_refused_before_anything_is_touched() {
    let home = home();
    let refused = microagent(
        &home,
        &["--backend", "apple-vf", "run", "oci:./nowhere", "ls"],
    )
    .run()
    .unwrap()
    .expect_code(125)
    .unwrap();
    let text = refused.stderr_text();
    assert!(
        text.starts_with("error: backend `apple-vf` does not run on Linux "),
        "{text}"
    );
    assert!(
        text.contains("hint: backends of this host: firecracker, qemu"),
        "{text}"
    );
    assert!(!home.state_dir().exists());
    let unknown = microagent(&home, &["doctor", "--backend", "qemuu"])
        .run()
        .unwrap();
    assert_eq!(unknown.code, Some(1));
    assert!(
        unknown
            .stderr_text()
            .contains("hint: did you mean `qemu`? backends of this host:")
    );
    let variable =
        microagent(&home, &["doctor", "--json"]).env("MICROAGENT_BACKEND", "windows-hyperv");
    let refused = variable.run().unwrap().expect_code(1).unwrap();
    assert_eq!(refused.json().unwrap()["error"]["kind"], "unsupported");
}

#[test]
fn a_host_without_supervisors_is_told_so() {
    let refused = ran(&["run", "oci:./image", "ls"]).expect_code(125).unwrap();
    let text = refused.stderr_text();
    assert!(text.starts_with("error: "), "{text}");
    assert!(
        text.contains("\n  hint: ") && text.contains("\n  cause: "),
        "{text}"
    );
    let doctor = ran(&["doctor", "--json"])
        .expect_code(1)
        .unwrap()
        .json()
        .unwrap();
    assert_eq!(doctor["ok"], false);
    assert_eq!(doctor["backend"], serde_json::Value::Null);
    let failing = doctor["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["status"] == "fail");
    for check in failing {
        assert!(check["fix"].is_string(), "{check}");
    }
    ran(&["host"]).expect_code(0).unwrap();
}

#[test]
fn doctor_and_host_render_the_same_facts_and_no_control_characters() {
    let home = home();
    let supervisor = host_script(&home);
    let supervisor = supervisor.to_str().unwrap();
    let line = |words: &[&'static str]| {
        let mut line = vec!["--backend", "qemu", "--supervisor", supervisor];
        line.extend(words);
        microagent(&home, &line).run().unwrap()
    };
    let text = line(&["doctor"]).stdout_text();
    assert!(text.contains("ok    backend      qemu 9.2"), "{text}");
    assert!(text.contains("warn  accelerator  emulation"), "{text}");
    assert!(
        text.contains("\\u{1b}[2J") && !text.contains('\u{1b}'),
        "{text}"
    );
    let document = line(&["doctor", "--json"]).json().unwrap();
    assert_eq!(document["accelerator"], "emulation");
    assert_eq!(document["host"]["kvm"]["usable"], false);
    assert_eq!(document["host"]["cpus"], 4);
    let host = line(&["host", "--json"])
        .expect_code(0)
        .unwrap()
        .json()
        .unwrap();
    let without_free_space = |host: &serde_json::Value| {
        // Others write to the same disk meanwhile.
        let mut host = host.clone();
        host["freeBytes"].take();
        host
    };
    assert_eq!(
        without_free_space(&host),
        without_free_space(&document["host"])
    );
    let keys: Vec<&String> = host.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "arch",
            "backends",
            "confinement",
            "cpus",
            "freeBytes",
            "kvm",
            "memoryBytes",
            "networkModes",
            "os",
            "osVersion",
            "reflink",
            "stateDir"
        ]
    );
}

#[test]
fn profiles_are_a_table_or_a_document() {
    insta::assert_snapshot!(quoted(&ran(&["profiles"])), @r"
    exit 0
    --- stdout
    PROFILE   MEMORY  CPUS     DISK  DEFAULT
    tiny     256 MiB     1  1.0 GiB
    small    512 MiB     1  2.0 GiB
    medium   2.0 GiB     2  8.0 GiB  yes
    large    4.0 GiB     4   16 GiB
    --- stderr
    ");
    let document = ran(&["profiles", "--json"]).json().unwrap();
    assert_eq!(document["profiles"][2]["memoryBytes"], 2_147_483_648_u64);
    assert_eq!(document["profiles"][2]["default"], true);
}

#[test]
fn a_supervisors_answer_is_passed_on_byte_for_byte() {
    let home = home();
    let echo = script(&home, "cat");
    let through = |request: &str| {
        let line = [
            "--backend",
            "qemu",
            "--supervisor",
            echo.to_str().unwrap(),
            "supervisor",
        ];
        microagent(&home, &line).stdin(request).run().unwrap()
    };
    let done = through("{ \"ok\":true,\n\"later\" : 1 }")
        .expect_code(0)
        .unwrap();
    assert_eq!(done.stdout_text(), "{ \"ok\":true,\n\"later\" : 1 }");
    through("{\"ok\":false}").expect_code(1).unwrap();
    assert!(!home.state_dir().exists());

    let dead = script(&home, "cat >/dev/null; echo no engine >&2; exit 7");
    let line = [
        "--json",
        "--backend",
        "qemu",
        "--supervisor",
        dead.to_str().unwrap(),
        "supervisor",
    ];
    let failed = microagent(&home, &line)
        .stdin("{}")
        .run()
        .unwrap()
        .expect_code(1)
        .unwrap();
    let error = &failed.json().unwrap()["error"];
    assert_eq!(error["kind"], "backend");
    assert_eq!(error["cause"][0], "no engine");
}

#[test]
fn manual_pages_are_written_one_for_each_command() {
    let home = home();
    let folder = home.path().join("pages");
    let line = ["man", "--out", folder.to_str().unwrap(), "--json"];
    let written = microagent(&home, &line)
        .run()
        .unwrap()
        .expect_code(0)
        .unwrap()
        .json()
        .unwrap();
    let pages = written["pages"].as_array().unwrap();
    let names: Vec<&str> = pages
        .iter()
        .map(|page| page["name"].as_str().unwrap())
        .collect();
    assert!(
        names.contains(&"microagent.1") && names.contains(&"microagent-run.1"),
        "{names:?}"
    );
    assert!(!names.iter().any(|name| name.contains("__")), "{names:?}");
    for page in pages {
        let path = Path::new(page["path"].as_str().unwrap());
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.contains(".SH NAME"), "{}", path.display());
    }
    assert!(
        ran(&["man"])
            .expect_code(0)
            .unwrap()
            .stdout_text()
            .contains(".TH microagent 1")
    );
}

#[test]
fn a_completion_script_is_one_that_its_shell_accepts() {
    let home = home();
    let script = microagent(&home, &["completions", "bash"])
        .run()
        .unwrap()
        .expect_code(0)
        .unwrap();
    let checked = Program::at("/bin/bash")
        .of(&home)
        .arg("-n")
        .stdin(script.stdout.clone());
    checked.run().unwrap().expect_code(0).unwrap();
    let text = script.stdout_text();
    assert!(text.contains("firecracker qemu apple-vf windows-hyperv"));
    assert!(text.contains("--timeout") && !text.contains("--privileged"));
    for shell in ["zsh", "fish", "powershell", "elvish"] {
        let other = ran(&["completions", shell]).expect_code(0).unwrap();
        assert!(other.stdout_text().contains("profiles"), "{shell}");
    }
}

#[test]
fn words_for_completion_are_one_a_line() {
    let profiles = ran(&["__complete", "profiles"]).expect_code(0).unwrap();
    assert_eq!(profiles.stdout_text(), "tiny\nsmall\nmedium\nlarge\n");
    let backends = ran(&["__complete", "backends"]).expect_code(0).unwrap();
    assert_eq!(backends.stdout_text(), "firecracker\nqemu\n");
}

#[test]
fn colour_comes_only_when_it_is_asked_for() {
    let error = |line: &[&str]| ran(line).stderr_text();
    assert!(!error(&["docter"]).contains('\u{1b}'));
    assert!(error(&["--color", "always", "docter"]).starts_with("\u{1b}[1;31merror:\u{1b}[0m"));
    assert!(error(&["docter", "--color=always"]).contains('\u{1b}'));
    let home = home();
    let both = microagent(&home, &["--color", "always", "docter"]).env("NO_COLOR", "1");
    assert!(both.run().unwrap().stderr_text().contains('\u{1b}'));
    let help = ran(&["--color", "always", "--help"]).stdout_text();
    assert!(help.contains('\u{1b}') && !ran(&["--help"]).stdout_text().contains('\u{1b}'));
}

#[test]
fn a_reader_that_goes_away_ends_the_output_quietly() {
    let home = home();
    let line = format!("{MICROAGENT} completions bash | true; echo ${{PIPESTATUS[0]}}");
    // The script is longer than a pipe holds, so the write must meet the closed end.
    let piped = Program::at("/bin/bash")
        .of(&home)
        .args(["-c", &line])
        .run()
        .unwrap();
    let code = piped.stdout_text();
    assert!(["141\n", "0\n"].contains(&code.as_str()), "{code}");
    assert_eq!(piped.stderr_text(), "");
    let line = format!("exec {MICROAGENT} version >&-");
    let closed = Program::at("/bin/bash")
        .of(&home)
        .args(["-c", &line])
        .run()
        .unwrap();
    assert_ne!(closed.code, Some(101));
}

#[test]
fn a_log_filter_that_is_none_is_a_usage_error_and_v_logs_to_stderr() {
    let home = home();
    let wrong = microagent(&home, &["version"]).env("MICROAGENT_LOG", "microagent=loud");
    let refused = wrong.run().unwrap().expect_code(2).unwrap();
    assert!(
        refused
            .stderr_text()
            .contains("in MICROAGENT_LOG is not a log filter")
    );
    let loud = ran(&["-vvv", "version"]).expect_code(0).unwrap();
    assert_eq!(loud.stdout_text(), "microagent 0.1.0\n");
}

#[test]
fn without_a_home_the_state_directory_must_be_given() {
    let bare = Program::at(MICROAGENT)
        .args(["doctor"])
        .run()
        .unwrap()
        .expect_code(2)
        .unwrap();
    assert!(
        bare.stderr_text()
            .contains("hint: say where: --state-dir DIR, or set HOME")
    );
    let given = Program::at(MICROAGENT).args(["host", "--state-dir", "state", "--json"]);
    let document = given.run().unwrap().expect_code(0).unwrap().json().unwrap();
    let state_dir = document["stateDir"].as_str().unwrap();
    assert!(
        state_dir.starts_with('/') && state_dir.ends_with("/state"),
        "{state_dir}"
    );
    Program::at(MICROAGENT)
        .args(["--help"])
        .run()
        .unwrap()
        .expect_code(0)
        .unwrap();
}

#[test]
fn a_command_on_workspaces_answers_for_each_of_them_and_returns_the_first_failure() {
    let text = ran(&["halt", "web", "dev", "web"]).expect_code(1).unwrap();
    assert_eq!(text.stdout_text(), "");
    let errors: Vec<String> = text.stderr_text().lines().map(str::to_owned).collect();
    assert_eq!(errors[0], "error: there is no workspace `web`");
    assert_eq!(errors[1], "  hint: all names: microagent list");
    assert_eq!(errors[2], "error: there is no workspace `dev`");
    assert_eq!(errors.len(), 4);
    for line in [
        &["start", "--json", "web"][..],
        &["halt", "--json", "web"],
        &["stop", "--json", "web"],
        &["kill", "--json", "web"],
        &["pause", "--json", "web"],
        &["resume", "--json", "web"],
        &["quarantine", "--json", "web"],
        &["wait", "--json", "web"],
    ] {
        let document = ran(line).expect_code(1).unwrap().json().unwrap();
        let result = &document["results"][0];
        assert_eq!(result["name"], "web", "{line:?}");
        assert_eq!(result["error"]["kind"], "not_found", "{line:?}");
        assert!(
            result["changed"].is_null() && result["durationMs"].is_u64(),
            "{line:?}"
        );
    }
}

#[test]
fn questions_about_a_workspace_that_is_not_there_fail_alike() {
    for line in [
        &["status", "web"][..],
        &["events", "web"],
        &["events", "--verify", "web"],
    ] {
        let missing = ran(line).expect_code(1).unwrap();
        assert!(
            missing
                .stderr_text()
                .starts_with("error: there is no workspace `web`"),
            "{line:?}"
        );
    }
    let exec = ran(&["exec", "web", "ls"]).expect_code(125).unwrap();
    assert!(
        exec.stderr_text()
            .starts_with("error: there is no workspace `web`")
    );
    let json = ran(&["--json", "exec", "web", "ls"])
        .expect_code(125)
        .unwrap();
    assert_eq!(json.json().unwrap()["error"]["kind"], "not_found");
}

#[test]
fn nothing_is_listed_where_nothing_is_and_nothing_is_made() {
    let home = home();
    let list = microagent(&home, &["list"])
        .run()
        .unwrap()
        .expect_code(0)
        .unwrap();
    assert_eq!(
        list.stdout_text(),
        "NAME  STATE  BACKEND  IMAGE  CPUS  MEMORY  PORTS  AGE\n"
    );
    let quiet = microagent(&home, &["ls", "-q"])
        .run()
        .unwrap()
        .expect_code(0)
        .unwrap();
    assert_eq!(quiet.stdout_text(), "");
    let json = microagent(&home, &["ps", "--json"])
        .run()
        .unwrap()
        .expect_code(0)
        .unwrap();
    assert_eq!(json.stdout_text(), "{\"workspaces\":[]}\n");
    assert!(!home.state_dir().exists());
    let state = ran(&["list", "--state", "runing"]).expect_code(2).unwrap();
    assert!(state.stderr_text().contains("did you mean `running`?"));
}

#[test]
fn deleting_what_is_not_there_succeeds_without_a_question() {
    let gone = ran(&["delete", "web"]).expect_code(0).unwrap();
    assert_eq!(gone.stdout_text(), "");
    assert_eq!(
        gone.stderr_text(),
        "note: `web` does not exist, nothing to delete\n"
    );
    let json = ran(&["rm", "--json", "web"])
        .expect_code(0)
        .unwrap()
        .json()
        .unwrap();
    assert_eq!(json["results"][0]["deleted"], false);
    let forced = ran(&["rm", "-f", "web"]).expect_code(2).unwrap();
    assert!(
        forced
            .stderr_text()
            .contains("hint: microagent delete --yes web\n")
    );
}

#[test]
fn mistakes_around_names_are_answered_with_the_right_command() {
    insta::assert_snapshot!(quoted(&ran(&["create", "web"])), @r"
    exit 2
    --- stdout
    --- stderr
    error: workspace `web` needs an image
      hint: microagent create web --image debian:12
    ");
    insta::assert_snapshot!(quoted(&ran(&["create", "web", "nginx"])), @r"
    exit 2
    --- stdout
    --- stderr
    error: unexpected word `nginx` after the workspace name
      hint: the image goes in --image: microagent create web --image nginx; a command goes after --
    ");
    insta::assert_snapshot!(quoted(&ran(&["create", "Web_1", "--image", "oci:x"])), @r"
    exit 2
    --- stdout
    --- stderr
    error: `Web_1` is not a workspace name
      hint: use 1 to 63 lower-case letters, digits and hyphens, for example `web-1`
    ");
    insta::assert_snapshot!(quoted(&ran(&["exec", "web", "-it", "bash"])), @r"
    exit 2
    --- stdout
    --- stderr
    error: `-it` stands after the workspace name
      hint: flags come first: microagent exec -it web bash; to run a program of that name: microagent exec web -- -it
    ");
    insta::assert_snapshot!(quoted(&ran(&["exec", "web"])), @r"
    exit 2
    --- stdout
    --- stderr
    error: exec needs a command
      hint: microagent exec web ls -l /, or for a shell: microagent connect web
    ");
    insta::assert_snapshot!(quoted(&ran(&["wait", "--for", "lunch", "web"])), @r"
    exit 2
    --- stdout
    --- stderr
    error: `lunch` is not something to wait for
      hint: write ended, ready or port:N
    ");
    insta::assert_snapshot!(quoted(&ran(&["restart", "web"])), @r"
    exit 2
    --- stdout
    --- stderr
    error: `restart` is not a microagent command
      hint: microagent halt NAME && microagent start NAME
    ");
    assert_eq!(ran(&["start"]).code, Some(2));
}

/// What bash would offer for a line whose last word is being typed.
fn offered(home: &Home, line: &[&str]) -> Vec<String> {
    let script = microagent(home, &["completions", "bash"]).run().unwrap();
    let script = script.expect_code(0).unwrap().stdout_text();
    let path = home.work_dir().join("completions.bash");
    std::fs::write(&path, script).unwrap();
    let words: Vec<String> = line.iter().map(|word| format!("'{word}'")).collect();
    let ask = format!(
        "source {}; COMP_WORDS=('{MICROAGENT}' {}); COMP_CWORD={}; _microagent_live '{MICROAGENT}' '{}' ''; \
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        path.display(),
        words.join(" "),
        line.len(),
        line.last().unwrap(),
    );
    let bash = Program::at("/bin/bash")
        .of(home)
        .args(["--norc", "-c", &ask]);
    let bash = bash.run().unwrap();
    let text = bash.stdout_text();
    text.lines()
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn names_of_workspaces_are_completed_where_a_name_belongs() {
    let home = home();
    let folder = home.state_dir().join("workspaces");
    for name in ["web", "web-2", "dev"] {
        std::fs::create_dir_all(folder.join(name)).unwrap();
    }
    for folder in [home.state_dir(), folder] {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).unwrap();
    }
    assert_eq!(offered(&home, &["start", "w"]), ["web", "web-2"]);
    assert_eq!(
        offered(&home, &["halt", "web", ""]),
        ["dev", "web", "web-2"]
    );
    assert_eq!(offered(&home, &["exec", "-i", "d"]), ["dev"]);
    assert!(offered(&home, &["exec", "dev", "d"]).is_empty());
    assert!(!offered(&home, &["create", "w"]).contains(&"web".to_owned()));
    assert!(offered(&home, &["st"]).contains(&"start".to_owned()));
    assert!(offered(&home, &["start", "--time"]).contains(&"--timeout".to_owned()));
    for shell in ["zsh", "fish"] {
        let script = microagent(&home, &["completions", shell]).run().unwrap();
        assert!(script.stdout_text().contains("__complete"), "{shell}");
    }
}
