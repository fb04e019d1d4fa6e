//! `doctor` on hosts that were made bad on purpose, each beside the sound one: the built command, and a
//! script in the place of a supervisor.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests look at the world from outside the product's own doors, and say what they left out"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use microagent_test::cli::{Finished, Program};
use microagent_test::file_server::FileServer;
use microagent_test::home::Home;
use serde_json::{Value, json};

/// A prefix with the command, a guest init, and a supervisor that says `report`.
struct Host {
    home: Home,
}

impl Host {
    fn sound() -> Self {
        Self::with(&json!({}))
    }

    /// The report of a sound host with some of its facts replaced.
    fn with(changes: &Value) -> Self {
        let home = Home::new().unwrap();
        let (bin, libexec) = (
            home.path().join("prefix/bin"),
            home.path().join("prefix/libexec"),
        );
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir_all(&libexec).unwrap();
        let built = Path::new(env!("CARGO_BIN_EXE_microagent"));
        let placed = fs::hard_link(built, bin.join("microagent"));
        placed
            .or_else(|_| fs::copy(built, bin.join("microagent")).map(drop))
            .unwrap();
        let arch = match std::env::consts::ARCH {
            "aarch64" => "arm64",
            _ => "amd64",
        };
        fs::write(
            libexec.join(format!("microagent-guestinit-{arch}.cpio")),
            "init",
        )
        .unwrap();
        let host = Self { home };
        let mut report = json!({
            "os": "linux", "osVersion": "6.8", "arch": arch, "cpus": 4, "memoryBytes": 8_589_934_592_u64,
            "backends": [{ "name": "qemu", "available": true, "version": "9.2" }],
            "kvm": { "present": true, "openable": true, "cpuFlag": true, "usable": true },
            "accelerator": "kvm",
            "programs": [{ "name": "vhost-device-vsock", "purpose": "vsock", "found": true, "path": "/v" }],
            "confinement": { "required": false, "parts": [{ "name": "user_ns", "active": true }] },
            "networkModes": [{ "mode": "nat", "available": true }],
            "limits": { "cpus": 32, "disks": 8, "memoryBytes": 8_589_934_592_u64 },
        });
        let facts = report.as_object_mut().unwrap();
        facts.extend(changes.as_object().unwrap().clone());
        let response =
            json!({ "protocolVersion": 1, "ok": true, "backend": "qemu", "host": report });
        let script = format!("#!/bin/sh\ncat >/dev/null\ncat <<'END'\n{response}\nEND\n");
        let path = libexec.join("microagent-qemu-supervisor");
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        host
    }

    fn program(&self, line: &[&str]) -> Program {
        let program = self.home.path().join("prefix/bin/microagent");
        Program::at(program).of(&self.home).args(line)
    }

    fn does(&self, line: &[&str]) -> Finished {
        self.program(line).run().unwrap()
    }

    /// The document of `doctor`, and its code.
    fn doctor(&self) -> (Value, i32) {
        let asked = self.does(&["doctor", "--json"]);
        (asked.json().unwrap(), asked.code.unwrap())
    }

    fn kernel_folder(&self) -> PathBuf {
        self.home.state_dir().join("kernels/qemu")
    }
}

fn check<'a>(document: &'a Value, id: &str) -> &'a Value {
    let checks = document["checks"].as_array().unwrap();
    checks.iter().find(|check| check["id"] == id).unwrap()
}

/// Status, fix and whether the host still counts as fine.
fn verdict(host: &Host, id: &str) -> (String, Option<String>, bool, i32) {
    let (document, code) = host.doctor();
    let check = check(&document, id);
    let fine = check["status"] == "ok";
    assert_eq!(check["meaning"].is_null(), fine, "{check}");
    assert_eq!(
        check["fix"].is_null(),
        fine,
        "a check that is not fine has a fix: {check}"
    );
    let text = |key: &str| check[key].as_str().map(str::to_owned);
    (
        text("status").unwrap(),
        text("fix"),
        document["ok"] == true,
        code,
    )
}

fn failing(host: &Host, id: &str, fix: &str) {
    let (status, told, ok, code) = verdict(host, id);
    assert_eq!((status.as_str(), ok, code), ("fail", false, 1), "{id}");
    assert!(told.as_deref().unwrap().contains(fix), "{told:?}");
}

fn degraded(host: &Host, id: &str, fix: &str) {
    let (status, told, ok, code) = verdict(host, id);
    assert_eq!((status.as_str(), ok, code), ("warn", true, 0), "{id}");
    assert!(told.as_deref().unwrap().contains(fix), "{told:?}");
}

#[test]
fn a_sound_host_has_nothing_to_mend() {
    let host = Host::sound();
    for id in [
        "host",
        "backend",
        "accelerator",
        "supervisor",
        "guest_init",
        "vsock",
        "confinement",
    ] {
        let (status, fix, ok, code) = verdict(&host, id);
        assert_eq!(
            (status.as_str(), fix, ok, code),
            ("ok", None, true, 0),
            "{id}"
        );
    }
    let (document, _) = host.doctor();
    assert!(
        document["host"]["reflink"].is_boolean(),
        "{}",
        document["host"]
    );
    assert!(document["fixed"].is_null());
    assert!(!host.home.state_dir().exists(), "a look changes nothing");
}

#[test]
fn without_kvm_it_runs_and_slowly() {
    let closed = json!({ "present": true, "openable": false, "cpuFlag": true, "usable": false });
    let host = Host::with(&json!({ "kvm": closed, "accelerator": "emulation" }));
    degraded(&host, "accelerator", "sudo usermod -aG kvm $USER");
    let text = host.does(&["doctor"]).expect_code(0).unwrap().stdout_text();
    assert!(
        text.contains("warn  accelerator  emulation (slow): /dev/kvm may not be opened\n"),
        "{text}"
    );
    assert!(text.contains("      guests run, and slowly"), "{text}");
    assert!(
        text.contains("      fix: sudo usermod -aG kvm $USER, then log in again\n"),
        "{text}"
    );
}

#[test]
fn without_an_engine_or_with_an_old_one_nothing_starts() {
    for reason in [
        "no qemu-system-x86_64 was found",
        "QEMU 7.1.0 is too old; 7.2.0 is the oldest that works",
    ] {
        let backends = json!([{ "name": "qemu", "available": false, "reason": reason }]);
        let host = Host::with(&json!({ "backends": backends }));
        failing(&host, "backend", "sudo apt install qemu-system-x86");
        let (document, _) = host.doctor();
        assert!(
            check(&document, "backend")["message"]
                .as_str()
                .unwrap()
                .contains(reason)
        );
        assert!(document["backend"].is_null());
    }
}

#[test]
fn without_user_namespaces_a_guest_is_confined_less_unless_all_is_demanded() {
    let parts = json!([{ "name": "user_ns", "active": false, "reason": "not allowed" }]);
    let host = Host::with(&json!({ "confinement": { "required": false, "parts": parts } }));
    degraded(&host, "confinement", "");
    let host = Host::with(&json!({ "confinement": { "required": true, "parts": parts } }));
    failing(&host, "confinement", "unset MICROAGENT_CONFINEMENT");
}

#[test]
fn without_passt_guests_are_isolated_and_without_vsock_unreachable() {
    let modes = json!([{ "mode": "nat", "available": false, "reason": "no passt was found" }]);
    degraded(
        &Host::with(&json!({ "networkModes": modes })),
        "network",
        "sudo apt install passt",
    );
    let programs = json!([{ "name": "vhost-device-vsock", "purpose": "vsock", "found": false }]);
    let host = Host::with(&json!({ "programs": programs }));
    failing(&host, "vsock", "cargo install vhost-device-vsock");
}

#[test]
fn without_a_guest_init_or_a_supervisor_nothing_starts() {
    let host = Host::sound();
    let libexec = host.home.path().join("prefix/libexec");
    for file in fs::read_dir(&libexec).unwrap().flatten() {
        if file.file_name().to_string_lossy().contains("guestinit") {
            fs::remove_file(file.path()).unwrap();
        }
    }
    failing(&host, "guest_init", "install");
    fs::remove_file(libexec.join("microagent-qemu-supervisor")).unwrap();
    failing(&host, "supervisor", "install");
    failing(&host, "host", "install");
}

#[test]
fn without_a_kernel_a_way_to_one_is_told() {
    let host = Host::sound();
    let (status, fix, ok, _) = verdict(&host, "kernel");
    assert_eq!((status.as_str(), ok), ("fail", true));
    assert!(fix.is_some());
    let mended = host.does(&["doctor", "--fix", "--json"]).json().unwrap();
    assert_eq!(mended["fixed"][0]["id"], "kernel");
    assert_eq!(mended["fixed"][0]["error"]["kind"], "unavailable");
    assert!(!host.kernel_folder().exists());
}

#[test]
fn a_kernel_that_is_fetched_on_first_use_is_told_so_and_fetched_by_fix() {
    let host = Host::sound();
    let folder = host.home.path().join("prefix/libexec/kernels");
    fs::create_dir(&folder).unwrap();
    // A file that is a kernel by its first bytes.
    let arch = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    };
    let mut image = vec![7; 70_000];
    if arch == "arm64" {
        image[56..60].copy_from_slice(b"ARM\x64");
    } else {
        image[..6].copy_from_slice(b"\x7fELF\x02\x01");
        image[18..20].copy_from_slice(&[62, 0]);
    }
    let server = FileServer::start(&image, &[]).unwrap();
    let pinned = json!({ "schema": 1, "kernels": [{
        "backend": "qemu", "arch": arch, "version": "6.12.1", "url": server.url(),
        "sha256": server.sha256(),
    }] });
    fs::write(folder.join("pinned.json"), pinned.to_string()).unwrap();
    degraded(&host, "kernel", "microagent doctor --fix");
    let (document, _) = host.doctor();
    assert_eq!(
        check(&document, "kernel")["message"],
        "none installed; the default is fetched on first use"
    );
    let mended = host.does(&["doctor", "--fix", "--json"]).json().unwrap();
    assert_eq!(mended["fixed"][0]["id"], "kernel", "{mended}");
    assert_eq!(mended["fixed"][0]["error"], Value::Null, "{mended}");
    assert_eq!(verdict(&host, "kernel").0, "ok");
}

#[test]
fn an_open_state_directory_is_refused_and_closed_by_fix() {
    let host = Host::sound();
    let dir = host.home.state_dir();
    fs::create_dir_all(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    failing(&host, "state", "chmod 700 ");
    let mended = host.does(&["doctor", "--fix"]);
    let told = mended.stderr_text();
    assert!(
        told.contains("note: state: `") && told.contains("is for its owner alone"),
        "{told}"
    );
    assert_eq!(
        fs::metadata(&dir).unwrap().permissions().mode() & 0o777,
        0o700
    );
    assert_eq!(verdict(&host, "state").0, "ok");
    let again = host.does(&["doctor", "--fix"]).stderr_text();
    assert!(
        !again.contains("note: state"),
        "a second time there is nothing to do: {again}"
    );
}

#[test]
fn a_link_in_the_place_of_the_state_directory_is_not_followed() {
    let host = Host::sound();
    let other = host.home.work_dir().join("other");
    fs::create_dir(&other).unwrap();
    fs::set_permissions(&other, fs::Permissions::from_mode(0o755)).unwrap();
    let dir = host.home.state_dir();
    fs::create_dir_all(dir.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(&other, &dir).unwrap();
    failing(&host, "state", "--state-dir DIR");
    host.does(&["doctor", "--fix"]);
    assert_eq!(
        fs::metadata(&other).unwrap().permissions().mode() & 0o777,
        0o755
    );
}

#[test]
fn a_full_disk_is_a_problem() {
    let host = Host::sound();
    let small = host.home.work_dir().join("small");
    fs::create_dir(&small).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64m,mode=0700", "tmpfs"])
        .arg(&small)
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: nothing can be mounted here");
        return;
    }
    let text = small.display().to_string();
    let asked = host.does(&["doctor", "--json", "--state-dir", &text]);
    let unmounted = Command::new("umount").arg(&small).status().unwrap();
    assert!(unmounted.success());
    let document = asked.expect_code(1).unwrap().json().unwrap();
    let state = check(&document, "state");
    assert_eq!(
        (&state["status"], &state["required"]),
        (&json!("fail"), &json!(true))
    );
    assert!(
        state["message"]
            .as_str()
            .unwrap()
            .contains("only 64 MiB free"),
        "{state}"
    );
    assert!(
        state["fix"]
            .as_str()
            .unwrap()
            .contains("microagent image prune"),
        "{state}"
    );
}
