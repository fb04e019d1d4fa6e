//! `microagent kernel` as a user meets it: no VM and no supervisor is needed.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the world from outside the product's own doors"
)]

use std::path::PathBuf;

use microagent_test::cli::{Finished, Program};
use microagent_test::home::Home;

/// Enough of a `vmlinux` to be taken for one.
fn vmlinux(home: &Home, last: u8) -> PathBuf {
    let mut bytes = b"\x7fELF\x02\x01".to_vec();
    bytes.resize(64, 0);
    bytes[18] = 62;
    bytes.push(last);
    let path = home.work_dir().join("vmlinux");
    std::fs::write(&path, bytes).unwrap();
    path
}

fn run(home: &Home, line: &[&str]) -> Finished {
    Program::at(env!("CARGO_BIN_EXE_microagent"))
        .of(home)
        .args(line)
        .run()
        .unwrap()
}

#[test]
fn a_kernel_is_installed_listed_found_and_verified() {
    let home = Home::new().unwrap();
    let empty = run(&home, &["kernel", "list"]).expect_code(0).unwrap();
    assert_eq!(
        empty.stdout_text(),
        "BACKEND  ARCH  VERSION  SIZE  SOURCE  USED BY\n"
    );
    let file = vmlinux(&home, 1);
    let install = [
        "kernel",
        "install",
        "--backend",
        "qemu",
        "--arch",
        "amd64",
        "--from",
    ];
    let install = |json: bool| {
        let mut line = install.to_vec();
        line.push(file.to_str().unwrap());
        if json {
            line.push("--json");
        }
        run(&home, &line).expect_code(0).unwrap()
    };
    let path = install(false).stdout_text();
    assert!(path.ends_with("/kernels/qemu/amd64/Image\n"), "{path}");
    assert_eq!(install(true).json().unwrap()["changed"], false);
    vmlinux(&home, 2);
    assert_eq!(install(true).json().unwrap()["changed"], true);

    let list = run(&home, &["kernel", "list", "--json"]).json().unwrap();
    assert_eq!(list["kernels"][0]["source"], "file");
    assert_eq!(list["kernels"][0]["workspaces"], serde_json::json!([]));
    let found = run(
        &home,
        &["kernel", "path", "--backend", "qemu", "--arch", "amd64"],
    );
    assert_eq!(found.expect_code(0).unwrap().stdout_text(), path);
    let whole = run(&home, &["kernel", "verify"]).expect_code(0).unwrap();
    assert_eq!(whole.stdout_text(), format!("ok       {path}"));
    std::fs::write(path.trim(), "other").unwrap();
    let changed = run(&home, &["kernel", "verify"]).expect_code(1).unwrap();
    assert_eq!(changed.stdout_text(), format!("DIFFERS  {path}"));
}

#[test]
fn what_is_no_kernel_or_not_the_expected_one_is_refused_and_replaces_nothing() {
    let home = Home::new().unwrap();
    let file = vmlinux(&home, 1);
    let zeros = "0".repeat(64);
    let line = |more: &[&str]| {
        let mut line = vec!["kernel", "install", "--backend", "qemu", "--arch", "amd64"];
        line.extend(more);
        run(&home, &line)
    };
    let wrong_sum = line(&["--from", file.to_str().unwrap(), "--sha256", &zeros]);
    let wrong_sum = wrong_sum.expect_code(1).unwrap();
    assert!(
        wrong_sum.stderr_text().contains("nothing is replaced"),
        "{}",
        wrong_sum.stderr_text()
    );
    let no_kernel = line(&["--from", "/etc/passwd"]).expect_code(2).unwrap();
    assert!(
        no_kernel
            .stderr_text()
            .contains("is no kernel for `qemu/amd64`"),
        "{}",
        no_kernel.stderr_text()
    );
    line(&["--from", "https://example.test/vmlinux"])
        .expect_code(2)
        .unwrap();
    let missing = run(
        &home,
        &["kernel", "path", "--backend", "qemu", "--arch", "amd64"],
    );
    missing.expect_code(1).unwrap();
}

#[test]
fn a_mistyped_command_of_the_group_is_answered_with_the_near_one() {
    let home = Home::new().unwrap();
    let finished = run(&home, &["kernel", "verfy"]).expect_code(2).unwrap();
    insta::assert_snapshot!(finished.stderr_text(), @r"
    error: `verfy` is no command of `kernel`
      hint: did you mean `verify`? all of them: microagent kernel --help
    ");
    let finished = run(&home, &["kernel", "install", "--frm", "x"]);
    insta::assert_snapshot!(finished.expect_code(2).unwrap().stderr_text(), @r"
    error: kernel install has no flag `--frm`
      hint: did you mean `--from`? all flags: microagent kernel install --help
    ");
}
