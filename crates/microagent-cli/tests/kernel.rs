//! `microagent kernel` as a user meets it: no VM and no supervisor is needed.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the world from outside the product's own doors"
)]

use std::path::PathBuf;

use microagent_test::cli::{Finished, Program};
use microagent_test::file_server::{FileServer, Step};
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
    let no_sum = line(&["--from", "https://example.test/vmlinux"]);
    insta::assert_snapshot!(no_sum.expect_code(2).unwrap().stderr_text(), @r"
    error: a kernel from an address needs its SHA-256
      hint: it stands where the address was found: microagent kernel install --from https://example.test/vmlinux --sha256 HEX
    ");
    let no_scheme = line(&["--from", "ftp://example.test/vmlinux", "--sha256", &zeros]);
    insta::assert_snapshot!(no_scheme.expect_code(2).unwrap().stderr_text(), @r"
    error: `ftp://example.test/vmlinux` is no address of a file; it begins with https:// or http://
      hint: fetch it yourself, then: microagent kernel install --from FILE --sha256 HEX
    ");
    let missing = run(
        &home,
        &["kernel", "path", "--backend", "qemu", "--arch", "amd64"],
    );
    missing.expect_code(1).unwrap();
}

/// What a server sends.
fn content() -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01".to_vec();
    bytes.resize(100_000, 7);
    bytes[18] = 62;
    bytes[19] = 0;
    bytes
}

fn install_from(home: &Home, url: &str, sum: &str) -> Finished {
    let words = [
        "kernel",
        "install",
        "--json",
        "--backend",
        "qemu",
        "--arch",
        "amd64",
    ];
    let mut line = words.to_vec();
    line.extend(["--from", url, "--sha256", sum]);
    run(home, &line)
}

#[test]
fn a_kernel_comes_from_an_address_over_connections_that_break() {
    let home = Home::new().unwrap();
    let bytes = content();
    let steps = [Step::CutAfter(10), Step::CutAfter(50_000)];
    let server = FileServer::start(&bytes, &steps).unwrap();
    let sum = server.sha256();
    let installed = install_from(&home, &server.url(), &sum);
    let installed = installed.expect_code(0).unwrap().json().unwrap();
    assert_eq!(installed["changed"], true);
    assert_eq!(installed["source"], "url");
    assert_eq!(installed["sha256"], sum.as_str());
    let path = installed["path"].as_str().unwrap();
    assert_eq!(std::fs::read(path).unwrap(), bytes);
    assert_eq!(server.ranges().len(), 3);
    // What is installed is not fetched again.
    let again = install_from(&home, &server.url(), &sum).json().unwrap();
    assert_eq!(again["changed"], false);
    assert_eq!(server.ranges().len(), 3);
}

#[test]
fn what_comes_from_an_address_and_is_something_else_replaces_nothing() {
    let home = Home::new().unwrap();
    let bytes = content();
    let server = FileServer::start(&bytes, &[]).unwrap();
    let sum = server.sha256();
    install_from(&home, &server.url(), &sum)
        .expect_code(0)
        .unwrap();
    let zeros = "0".repeat(64);
    let wrong = install_from(&home, &server.url(), &zeros);
    let wrong = wrong.expect_code(1).unwrap().json().unwrap();
    assert_eq!(wrong["error"]["kind"], "integrity");
    let no_kernel = FileServer::start(b"<html>", &[]).unwrap();
    let page = install_from(&home, &no_kernel.url(), &no_kernel.sha256());
    let page = page.expect_code(2).unwrap().json().unwrap();
    assert_eq!(page["error"]["kind"], "usage");
    let gone = FileServer::start(b"", &[Step::Status(404)]).unwrap();
    let gone = install_from(&home, &gone.url(), &zeros).json().unwrap();
    assert_eq!(gone["error"]["kind"], "not_found");
    run(&home, &["kernel", "verify"]).expect_code(0).unwrap();
    let left = std::fs::read_dir(home.state_dir().join("kernels/qemu/amd64")).unwrap();
    let mut left: Vec<_> = left.flatten().map(|entry| entry.file_name()).collect();
    left.sort();
    assert_eq!(left, [".download.lock", "Image", "kernel.json"]);
}

#[test]
fn an_installation_without_kernels_fetches_the_one_that_it_names() {
    let home = Home::new().unwrap();
    let bytes = content();
    let server = FileServer::start(&bytes, &[]).unwrap();
    let sum = server.sha256();
    let prefix = home.work_dir().join("prefix");
    let folder = prefix.join("libexec/kernels");
    std::fs::create_dir_all(prefix.join("bin")).unwrap();
    std::fs::create_dir_all(&folder).unwrap();
    let program = prefix.join("bin/microagent");
    std::fs::copy(env!("CARGO_BIN_EXE_microagent"), &program).unwrap();
    let words = ["kernel", "install", "--backend", "qemu", "--arch", "amd64"];
    let install = || Program::at(&program).of(&home).args(words).run().unwrap();
    let none = install().expect_code(75).unwrap();
    insta::assert_snapshot!(none.stderr_text(), @r#"
    error: there is no kernel for `qemu/amd64`, and none came with this installation
      hint: build one in a checkout and install it: microagent kernel install --backend qemu --from "$(cargo xtask kernel qemu)"
    "#);
    let list = format!(
        r#"{{"schema":1,"kernels":[{{"backend":"qemu","arch":"amd64","version":"6.12.1","url":"{}","sha256":"{sum}"}}]}}"#,
        server.url()
    );
    std::fs::write(folder.join("pinned.json"), list).unwrap();
    install().expect_code(0).unwrap();
    let listed = run(&home, &["kernel", "list", "--json"]).json().unwrap();
    assert_eq!(listed["kernels"][0]["source"], "default");
    assert_eq!(listed["kernels"][0]["version"], "6.12.1");
    assert_eq!(server.ranges().len(), 1);
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
