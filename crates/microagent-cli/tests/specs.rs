//! `--file` and `--dry-run`: what a spec file makes, what flags change of it, and how its problems are
//! told. The built command, a real supervisor and monitor, and a VM that is a fake.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the world from outside the product's own doors"
)]

mod installed;

use std::fs;
use std::process::ExitCode;

use installed::Installed;
use microagent_test::cli::Finished;
use serde_json::{Value, json};

fn main() -> ExitCode {
    installed::program(&[
        (
            "a_spec_makes_what_it_says_and_flags_win_over_it",
            a_spec_makes_what_it_says_and_flags_win_over_it,
        ),
        (
            "a_command_typed_takes_the_place_of_the_specs",
            a_command_typed_takes_the_place_of_the_specs,
        ),
        (
            "paths_of_a_spec_begin_at_its_folder_and_those_of_stdin_here",
            paths_of_a_spec_begin_at_its_folder_and_those_of_stdin_here,
        ),
        (
            "an_idle_spec_needs_a_run_that_detaches",
            an_idle_spec_needs_a_run_that_detaches,
        ),
        (
            "a_dry_run_prints_a_spec_that_says_the_same_and_makes_nothing",
            a_dry_run_prints_a_spec_that_says_the_same_and_makes_nothing,
        ),
        (
            "a_dry_run_refuses_what_a_create_would",
            a_dry_run_refuses_what_a_create_would,
        ),
        (
            "a_structure_that_is_wrong_is_told_with_its_place",
            a_structure_that_is_wrong_is_told_with_its_place,
        ),
        (
            "values_that_are_wrong_are_told_together",
            values_that_are_wrong_are_told_together,
        ),
        (
            "a_file_that_cannot_be_a_spec_is_refused",
            a_file_that_cannot_be_a_spec_is_refused,
        ),
        (
            "flags_and_spec_must_agree_about_the_network",
            flags_and_spec_must_agree_about_the_network,
        ),
        (
            "the_backend_of_a_spec_gives_way_to_variable_and_flag",
            the_backend_of_a_spec_gives_way_to_variable_and_flag,
        ),
    ])
}

const SPEC: &str = r#"name: web
image: oci:image
profile: tiny
resources: { memory: 300M, disk: 128M }
kernel: kernel
env: { A: spec, B: spec, HERE: null }
idle: true
user: "7"
hostname: box
network: { mode: isolated, publish: ["0:80"] }
mediation: { port: 2048, target: "127.0.0.1:9900", required: false }
disks: [{ name: data, size: 32M, mount: /data }]
labels: { team: web, tier: "1" }
"#;

fn with_spec(text: &str) -> Installed {
    let installed = Installed::new();
    write(&installed, "microagent.yaml", text);
    installed
}

fn write(installed: &Installed, name: &str, text: &str) {
    let path = installed.home.work_dir().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn status(installed: &Installed, name: &str) -> Value {
    let told = installed.does(&["status", "--json", "--show-env", name]);
    told.expect_code(0).unwrap().json().unwrap()
}

/// Code and stderr, the folder of the test left out.
fn told(installed: &Installed, finished: &Finished) -> String {
    let code = finished.code.unwrap();
    let stderr = finished.stderr_text();
    let text = microagent_test::filters::stable(&stderr, installed.home.path());
    assert_eq!(finished.stdout_text(), "");
    format!("exit {code}\n{text}")
}

fn a_spec_makes_what_it_says_and_flags_win_over_it() {
    let installed = with_spec(SPEC);
    let created = installed
        .microagent(&["create", "--file", "microagent.yaml"])
        .env("HERE", "from here")
        .run()
        .unwrap();
    let created = created.expect_code(0).unwrap();
    assert_eq!(created.stdout_text(), "web\n");
    let web = status(&installed, "web");
    assert_eq!(web["resources"]["memoryBytes"], 300 << 20);
    assert_eq!(web["resources"]["cpus"], 1);
    assert_eq!(web["resources"]["diskBytes"], 128 << 20);
    assert_eq!(web["profile"], "tiny");
    assert_eq!(web["hostname"], "box");
    assert_eq!(web["network"]["mode"], "isolated");
    assert_eq!(web["network"]["publish"][0]["guestPort"], 80);
    assert_eq!(web["mediation"]["required"], false);
    assert_eq!(web["disks"][0]["name"], "data");
    assert_eq!(web["labels"], json!({ "team": "web", "tier": "1" }));
    assert_eq!(web["workload"]["idle"], true);
    let env = web["env"].to_string();
    assert!(env.contains("from here") && env.contains("spec"), "{env}");

    let flags = [
        "create",
        "dev",
        "--file",
        "microagent.yaml",
        "--memory",
        "256M",
        "--network",
        "nat",
        "--env",
        "B=flag",
        "--env",
        "HERE=flag",
        "--disk",
        "data=48M:/other",
        "--label",
        "tier=2",
        "--publish",
        "0:443",
        "--mediation",
        "2049=unix:/run/x",
        "--mediation-optional",
    ];
    installed.does(&flags).expect_code(0).unwrap();
    let dev = status(&installed, "dev");
    assert_eq!(dev["resources"]["memoryBytes"], 256 << 20);
    assert_eq!(dev["resources"]["diskBytes"], 128 << 20);
    assert_eq!(dev["network"]["mode"], "nat");
    assert_eq!(dev["network"]["publish"].as_array().unwrap().len(), 2);
    assert_eq!(dev["mediation"]["port"], 2049);
    assert_eq!(dev["mediation"]["required"], false);
    assert_eq!(dev["disks"].as_array().unwrap().len(), 1);
    assert_eq!(dev["disks"][0]["mount"], "/other");
    assert_eq!(dev["labels"], json!({ "team": "web", "tier": "2" }));
    let value = |name: &str| {
        let all = dev["env"].as_array().unwrap();
        let found = all.iter().find(|variable| variable["name"] == name);
        found.unwrap()["value"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        (value("A"), value("B"), value("HERE")),
        ("spec".into(), "flag".into(), "flag".into())
    );
    installed.delete("web");
    installed.delete("dev");
    installed.assert_tidy();
}

fn a_command_typed_takes_the_place_of_the_specs() {
    let spec = "image: oci:image\nprofile: tiny\nkernel: kernel\ncommand: [echo, from the spec]\n";
    let installed = with_spec(spec);
    let ran = |words: &[&str]| {
        let line = [&["run", "--file", "microagent.yaml"], words].concat();
        installed.does(&line).expect_code(0).unwrap().stdout_text()
    };
    assert_eq!(ran(&[]), "from the spec\n");
    assert_eq!(ran(&["echo", "typed"]), "typed\n");
    assert_eq!(ran(&["--entrypoint", "echo"]), "\n");
    let spec = format!("{spec}entrypoint: [echo, first]\n");
    write(&installed, "microagent.yaml", &spec);
    assert_eq!(ran(&[]), "first echo from the spec\n");
    assert_eq!(ran(&["typed"]), "first typed\n");
    assert_eq!(ran(&["--entrypoint", "echo", "typed"]), "typed\n");
    installed.assert_tidy();
}

fn paths_of_a_spec_begin_at_its_folder_and_those_of_stdin_here() {
    let installed = Installed::new();
    let guest = installed.home.work_dir().join("guest");
    fs::create_dir(&guest).unwrap();
    write(&installed, "specs/note", "hello\n");
    let spec = |up: &str, note: &str| {
        format!(
            "image: oci:{up}image\nprofile: tiny\nkernel: {up}kernel\nfiles:\n  \
             - {{ src: {note}, dst: {to}/note }}\n  \
             - {{ content: \"made\\n\", dst: {to}/made, mode: \"0600\" }}\n\
             command: [cat, {to}/note, {to}/made]\n",
            to = guest.display()
        )
    };
    write(&installed, "specs/web.yaml", &spec("../", "note"));
    let ran = installed.does(&["run", "--file", "specs/web.yaml"]);
    assert_eq!(ran.expect_code(0).unwrap().stdout_text(), "hello\nmade\n");
    let ran = installed
        .microagent(&["run", "--file", "-"])
        .stdin(spec("", "specs/note"))
        .run()
        .unwrap();
    assert_eq!(ran.expect_code(0).unwrap().stdout_text(), "hello\nmade\n");
    installed.assert_tidy();
}

fn an_idle_spec_needs_a_run_that_detaches() {
    let installed = with_spec("image: oci:image\nprofile: tiny\nkernel: kernel\nidle: true\n");
    let refused = installed.does(&["run", "--file", "microagent.yaml"]);
    insta::assert_snapshot!(told(&installed, &refused), @"
    exit 2
    error: `--idle` runs no command, and run waits for one
      hint: microagent run --detach --idle IMAGE, or microagent create NAME --image IMAGE --idle
    ");
    let ran = installed.does(&["run", "--file", "microagent.yaml", "echo", "typed"]);
    assert_eq!(ran.expect_code(0).unwrap().stdout_text(), "typed\n");
    let up = installed.does(&["run", "-d", "--name", "web", "--file", "microagent.yaml"]);
    assert_eq!(up.expect_code(0).unwrap().stdout_text(), "web\n");
    assert_eq!(status(&installed, "web")["workload"]["idle"], true);
    installed.does(&["kill", "web"]).expect_code(0).unwrap();
    installed.delete("web");
    installed.assert_tidy();
}

fn a_dry_run_prints_a_spec_that_says_the_same_and_makes_nothing() {
    let spec = SPEC.replace("idle: true\n", "command: [\"serve\"]\n");
    let installed = with_spec(&format!(
        "{spec}files: [{{ src: kernel, dst: /k, mode: \"0600\", owner: \"1:2\" }}]\n"
    ));
    let dry = |file: &str, flags: &[&str]| {
        let line = [&["create", "--dry-run", "--file", file], flags].concat();
        let program = installed.microagent(&line).env("HERE", "x: {");
        program.run().unwrap().expect_code(0).unwrap()
    };
    let printed = dry("microagent.yaml", &["--memory", "512M"]).stdout_text();
    assert!(
        printed.starts_with("name: \"web\"\nimage: \"oci:/"),
        "{printed}"
    );
    assert!(printed.contains("memory: \"512M\""), "{printed}");
    write(&installed, "elsewhere/again.yaml", &printed);
    assert_eq!(dry("elsewhere/again.yaml", &[]).stdout_text(), printed);
    let document = dry("elsewhere/again.yaml", &["--json"]).json().unwrap();
    let keys: Vec<&String> = document.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["accelerator", "argv", "backend", "spec"]);
    assert_eq!(document["backend"], "qemu");
    assert_eq!(document["spec"]["resources"]["cpus"], 1);
    assert!(
        document["argv"].is_null(),
        "the image is not stored: {document}"
    );
    assert!(!installed.home.state_dir().exists());

    let dry_run = installed
        .run(&["--dry-run"], &["echo", "hi"])
        .run()
        .unwrap();
    let printed = dry_run.expect_code(0).unwrap().stdout_text();
    assert!(
        printed.contains("command: [\"echo\",\"hi\"]\n"),
        "{printed}"
    );
    let detached = installed.does(&["run", "-d", "--dry-run", "--idle", "oci:image"]);
    assert!(
        detached
            .expect_code(0)
            .unwrap()
            .stdout_text()
            .contains("idle: true\n")
    );
    assert!(!installed.home.state_dir().exists());

    installed
        .does(&["image", "import", "--tag", "mine:1", "oci:image"])
        .expect_code(0)
        .unwrap();
    let stored = installed.does(&["run", "--dry-run", "--json", "mine:1"]);
    let stored = stored.expect_code(0).unwrap().json().unwrap();
    assert_eq!(stored["argv"], json!(["/bin/sh"]));
    assert_eq!(installed.names(), "");
}

fn a_dry_run_refuses_what_a_create_would() {
    let installed = with_spec(SPEC);
    installed.create("web");
    let line = [
        "create",
        "--dry-run",
        "--file",
        "microagent.yaml",
        "--env",
        "HERE=1",
    ];
    let refused = installed.does(&line).expect_code(1).unwrap();
    assert!(refused.stderr_text().contains("`web` already exists"));
    let line = ["run", "--dry-run", "--copy-in", "nope:/x", "oci:image"];
    let refused = installed.does(&line).expect_code(125).unwrap();
    assert!(refused.stderr_text().contains("nope"));
    let line = ["run", "--dry-run", "--backend", "apple-vf", "oci:image"];
    assert!(
        installed
            .does(&line)
            .stderr_text()
            .contains("does not run on")
    );
    installed.delete("web");
}

fn a_structure_that_is_wrong_is_told_with_its_place() {
    let installed = with_spec("name: web\nresources:\n  cpus: 1\n  memroy: 1G\n");
    let refused = installed.does(&["create", "--file", "microagent.yaml"]);
    insta::assert_snapshot!(told(&installed, &refused), @"
    exit 2
    error: microagent.yaml:4:3: unknown key `memroy` in `resources`
      hint: did you mean `memory`? known keys: memory, cpus, disk
    ");
    let mut answers = String::new();
    for spec in [
        "command: make test\n",
        "secrets: {}\n",
        "name: &x web\nhostname: *x\n",
        "name: web\nname: dev\n",
        "image: [a\n",
        "",
    ] {
        let refused = installed.microagent(&["create", "--file", "-"]).stdin(spec);
        answers += &told(&installed, &refused.run().unwrap());
    }
    insta::assert_snapshot!(answers);
    assert!(!installed.home.state_dir().exists());
}

fn values_that_are_wrong_are_told_together() {
    let text = "name: Web_1\nimage: ./image\nprofile: smal\nresources: { memory: 512 }\nnetwork: { publish: ['8080'] }\n";
    let installed = with_spec(text);
    let refused = installed.does(&["create", "--file", "microagent.yaml"]);
    insta::assert_snapshot!(told(&installed, &refused));
    let refused = installed.does(&["create", "--json", "--file", "microagent.yaml"]);
    let error = &refused.expect_code(2).unwrap().json().unwrap()["error"];
    assert_eq!(
        error["message"],
        "microagent.yaml:1:7: `Web_1` is not a workspace name"
    );
    assert_eq!(error["kind"], "usage");
    assert_eq!(error["cause"].as_array().unwrap().len(), 4);
    let run = installed.does(&["run", "--file", "microagent.yaml"]);
    assert_eq!(run.code, Some(2));
}

fn a_file_that_cannot_be_a_spec_is_refused() {
    let installed = Installed::new();
    let refused = |line: &[&str], code: i32, words: &str| {
        let refused = installed.does(line).expect_code(code).unwrap();
        assert!(
            refused.stderr_text().contains(words),
            "{}",
            refused.stderr_text()
        );
    };
    refused(&["create", "--file", "nope.yaml"], 1, "nope.yaml");
    let long = format!("name: web\n#{}", "x".repeat(1 << 20));
    write(&installed, "long.yaml", &long);
    refused(&["create", "--file", "long.yaml"], 2, "at most 1 MiB");
    let just = format!("name: web\n#{}", "x".repeat((1 << 20) - 11));
    write(&installed, "long.yaml", &just);
    refused(
        &["create", "--file", "long.yaml"],
        2,
        "`web` needs an image",
    );
    let from_stdin = installed.microagent(&["create", "--file", "-"]).stdin(long);
    let from_stdin = from_stdin.run().unwrap().expect_code(2).unwrap();
    assert!(from_stdin.stderr_text().contains("longer than 1 MiB"));
    fs::write(
        installed.home.work_dir().join("bytes.yaml"),
        b"name: \xff\n",
    )
    .unwrap();
    refused(&["create", "--file", "bytes.yaml"], 2, "bytes.yaml");
    let both = installed.does(&["run", "-i", "--file", "-"]);
    insta::assert_snapshot!(told(&installed, &both), @"
    exit 2
    error: `--file -` cannot be used with `--interactive`: both read stdin
      hint: put the spec in a file, or leave out -i
    ");
}

fn flags_and_spec_must_agree_about_the_network() {
    let installed =
        with_spec("image: oci:image\nnetwork: { publish: ['8080:80', '0:81', '0:82'] }\n");
    let line = ["create", "web", "--dry-run", "--file", "microagent.yaml"];
    installed.does(&line).expect_code(0).unwrap();
    let optional = [
        "create",
        "web",
        "--dry-run",
        "--image",
        "oci:image",
        "--mediation-optional",
    ];
    insta::assert_snapshot!(told(&installed, &installed.does(&optional)), @"
    exit 2
    error: `--mediation-optional` needs a mediation channel
      hint: declare one: --mediation 2048=127.0.0.1:9900
    ");
    let twice = [&line[..], &["--publish", "8080:443"]].concat();
    insta::assert_snapshot!(told(&installed, &installed.does(&twice)), @"
    exit 2
    error: host port `127.0.0.1:8080` is published twice
      hint: leave out one, or take another host port: --publish 0:443
    ");
}

fn the_backend_of_a_spec_gives_way_to_variable_and_flag() {
    let installed = with_spec("image: oci:image\nbackend: apple-vf\n");
    let line = ["create", "web", "--dry-run", "--file", "microagent.yaml"];
    let foreign = installed.does(&line).expect_code(1).unwrap();
    assert!(
        foreign
            .stderr_text()
            .contains("backend `apple-vf` does not run on")
    );
    let variable = installed
        .microagent(&line)
        .env("MICROAGENT_BACKEND", "qemu");
    variable.run().unwrap().expect_code(0).unwrap();
    let flag = [&line[..], &["--backend", "qemu"]].concat();
    installed.does(&flag).expect_code(0).unwrap();
}
