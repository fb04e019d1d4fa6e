//! The mistakes of the first day and what is said to them: each row of the table in the reference of the
//! command line (`cli.md` section 6), provoked, with its exact words. The list at the top is the table; a
//! row that is missing in it fails the last test.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests look at the world from outside the product's own doors, and say what they left out"
)]

mod installed;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use installed::{Fact, Installed};
use microagent_test::cli::Finished;
use microagent_test::image::{Image, ImageConfig, Layer, Tool};
use microagent_test::registry::{Access, Registry};

const ROWS: [Fact; 35] = [
    ("row_01_a_misspelt_command", row_01),
    ("row_02_a_create_without_an_image", row_02),
    ("row_03_an_image_where_none_belongs", row_03),
    ("row_04_a_bad_name", row_04),
    ("row_05_a_name_that_is_taken", row_05),
    ("row_06_an_unknown_workspace", row_06),
    ("row_07_an_exec_in_what_does_not_run", row_07),
    ("row_08_an_exec_without_a_command", row_08),
    ("row_09_a_flag_after_the_name", row_09),
    ("row_10_a_terminal_that_is_not_there", row_10),
    ("row_11_a_program_that_is_missing", row_11),
    ("row_12_a_delete_while_it_runs", row_12),
    ("row_13_a_delete_that_nobody_can_confirm", row_13),
    ("row_14_a_host_folder", row_14),
    ("row_15_another_engines_network", row_15),
    ("row_16_one_port", row_16),
    ("row_17_a_port_that_is_taken", row_17),
    ("row_18_a_size_without_a_unit", row_18),
    ("row_19_firecracker_without_kvm", row_19),
    ("row_20_no_engine", row_20),
    ("row_21_an_image_that_nobody_has", row_21),
    ("row_22_an_image_larger_than_the_disk", row_22),
    ("row_23_a_guest_that_ignores_a_halt", row_23),
    ("row_24_a_mediation_target_that_is_down", row_24),
    ("row_25_two_commands_at_once", row_25),
    ("a_foreign_backend", a_foreign_backend),
    (
        "a_start_of_a_quarantined_workspace",
        a_start_of_a_quarantined_workspace,
    ),
    ("an_exec_in_quarantine", an_exec_in_quarantine),
    (
        "no_kernel_and_none_that_comes",
        no_kernel_and_none_that_comes,
    ),
    ("a_guest_that_is_too_old", a_guest_that_is_too_old),
    ("no_room_for_a_disk", no_room_for_a_disk),
    (
        "anything_in_a_paused_workspace",
        anything_in_a_paused_workspace,
    ),
    (
        "files_that_are_too_large_to_copy_in",
        files_that_are_too_large_to_copy_in,
    ),
    ("a_copy_without_a_workspace", a_copy_without_a_workspace),
    (
        "every_row_of_the_table_is_in_the_list",
        every_row_of_the_table_is_in_the_list,
    ),
];
/// Rows with a number.
const NUMBERED: usize = 25;

fn main() -> ExitCode {
    installed::program(&ROWS)
}

fn every_row_of_the_table_is_in_the_list() {
    let numbers: Vec<usize> = ROWS
        .iter()
        .filter_map(|(name, _)| name.strip_prefix("row_")?.split('_').next()?.parse().ok())
        .collect();
    assert_eq!(numbers, (1..=NUMBERED).collect::<Vec<_>>());
}

/// Code, error and hint, word by word; causes may follow.
fn says(finished: &Finished, code: i32, error: &str, hint: &str) {
    let stderr = finished.stderr_text();
    let at = stderr.find("error: ").unwrap_or(0);
    let expected = format!("error: {error}\n  hint: {hint}\n");
    let told = &stderr[at..];
    assert!(
        told.starts_with(&expected),
        "expected\n{expected}and got\n{told}"
    );
    assert_eq!(finished.code, Some(code), "{told}");
}

fn typed(line: &[&str], code: i32, error: &str, hint: &str) {
    says(&Installed::new().does(line), code, error, hint);
}

fn row_01() {
    let error = "`strat` is not a microagent command";
    typed(
        &["strat"],
        2,
        error,
        "did you mean `start`? all commands: microagent --help",
    );
}

fn row_02() {
    let hint = "microagent create web --image debian:12";
    typed(
        &["create", "web"],
        2,
        "workspace `web` needs an image",
        hint,
    );
}

fn row_03() {
    typed(
        &["create", "web", "nginx"],
        2,
        "unexpected word `nginx` after the workspace name",
        "the image goes in --image: microagent create web --image nginx; a command goes after --",
    );
}

fn row_04() {
    typed(
        &["create", "Web_1", "--image", "oci:image"],
        2,
        "`Web_1` is not a workspace name",
        "use 1 to 63 lower-case letters, digits and hyphens, for example `web-1`",
    );
}

fn row_05() {
    let installed = Installed::new();
    installed.create("web");
    says(
        &installed.does(&[
            "create",
            "web",
            "--image",
            "oci:image",
            "--kernel",
            "kernel",
        ]),
        1,
        "workspace `web` already exists (prepared)",
        "microagent start web, or choose another name, or add --replace to delete the old one",
    );
}

fn row_06() {
    let installed = Installed::new();
    installed.create("web");
    for verb in ["start", "status", "logs"] {
        says(
            &installed.does(&[verb, "wbe"]),
            1,
            "there is no workspace `wbe`",
            "did you mean `web`? all names: microagent list",
        );
    }
}

fn row_07() {
    let installed = Installed::new();
    installed.create("web");
    for line in [
        &["exec", "web", "ls"][..],
        &["connect", "--send", "ls", "web"],
    ] {
        let refused = installed.does(line);
        says(
            &refused,
            125,
            "`web` is prepared, not running",
            "microagent start web",
        );
    }
}

fn row_08() {
    let hint = "microagent exec web ls -l /, or for a shell: microagent connect web";
    typed(&["exec", "web"], 2, "exec needs a command", hint);
}

fn row_09() {
    typed(
        &["exec", "web", "-it", "bash"],
        2,
        "`-it` stands after the workspace name",
        "flags come first: microagent exec -it web bash; to run a program of that name: microagent \
         exec web -- -it",
    );
}

fn row_10() {
    let hint = "leave out -t; -i alone passes stdin through";
    typed(
        &["run", "-t", "oci:image"],
        2,
        "--tty needs a terminal on stdin",
        hint,
    );
}

fn row_11() {
    let installed = Installed::new();
    installed.create("web");
    installed.does(&["start", "web"]).expect_code(0).unwrap();
    let error = "`pyhton` was not found in `web`";
    let hint =
        |path: &str| format!("PATH there is {path}; look with: microagent exec web ls /usr/bin");
    let missing = installed.does(&["exec", "web", "pyhton"]);
    says(&missing, 127, error, &hint("/usr/bin:/bin"));
    let missing = installed.does(&["exec", "-e", "PATH=/opt", "web", "pyhton"]);
    says(&missing, 127, error, &hint("/opt"));
    installed.does(&["kill", "web"]).expect_code(0).unwrap();
}

fn row_12() {
    let installed = Installed::new();
    installed.create("web");
    installed.does(&["start", "web"]).expect_code(0).unwrap();
    let hint = "microagent halt web && microagent delete web; use kill instead of halt when the \
                guest does not answer";
    for line in [
        &["delete", "--yes", "web"][..],
        &["rm", "-f", "web"],
        &["delete", "--force", "web"],
    ] {
        let error = "`web` is running and cannot be deleted";
        says(&installed.does(line), 1, error, hint);
    }
    installed.does(&["kill", "web"]).expect_code(0).unwrap();
    says(
        &installed.does(&["rm", "-f", "web"]),
        2,
        "there is no flag `--force`: a living VM is never deleted",
        "microagent delete --yes web",
    );
    installed.delete("web");
    installed.assert_tidy();
}

fn row_13() {
    let installed = Installed::new();
    installed.create("web");
    says(
        &installed.does(&["delete", "web"]),
        2,
        "deleting `web` needs a confirmation and there is no terminal to ask on",
        "add --yes",
    );
}

fn row_14() {
    let hint = "copy instead: --copy-in ./app:/work, or microagent cp ./app NAME:/work; for lasting \
                data: --disk data=20G:/work";
    for line in [
        &["run", "-v", "./app:/work", "oci:image"][..],
        &["run", "--mount", "type=bind", "oci:image"],
    ] {
        typed(line, 2, "host folders are not shared into a guest", hint);
    }
}

fn row_15() {
    typed(
        &["run", "--network", "host", "oci:image"],
        2,
        "there is no network mode `host`",
        "modes: nat (outbound, default), isolated (none), bridged (Apple VF only); to reach a guest \
         port: --publish 8080:80",
    );
}

fn row_16() {
    typed(
        &["run", "-p", "8080", "oci:image"],
        2,
        "`8080` names one port, two are needed",
        "write HOSTPORT:GUESTPORT, for example --publish 8080:8080",
    );
}

fn row_17() {
    let installed = Installed::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    let publish = format!("{}:80", address.port());
    installed.create_with("api", &["--publish", &publish]);
    installed.create_with("web", &["--publish", &publish]);
    let hint = "choose another host port, or 0 to get a free one: --publish 0:80";
    let error = |by: &str| format!("host port `{address}` is already in use by {by}");
    let refused = installed.does(&["start", "web"]);
    says(&refused, 1, &error("another program"), hint);
    drop(free);
    installed.does(&["start", "api"]).expect_code(0).unwrap();
    let refused = installed.does(&["start", "web"]);
    says(&refused, 1, &error("workspace `api`"), hint);
    installed.does(&["kill", "api"]).expect_code(0).unwrap();
}

fn row_18() {
    let refused = Installed::new().run(&["--memory", "512"], &["true"]).run();
    says(
        &refused.unwrap(),
        2,
        "size `512` has no unit",
        "--memory 512M",
    );
}

/// A supervisor that reports a backend which cannot start a VM.
fn unable(installed: &Installed, backend: &str, kvm: &str) -> PathBuf {
    let path = installed.home.path().join(format!("unable-{backend}"));
    let report = format!(
        r#"{{"protocolVersion":1,"ok":true,"backend":"{backend}","host":{{"os":"linux","osVersion":"6.8",
"arch":"amd64","cpus":4,"memoryBytes":8589934592,"backends":[{{"name":"{backend}","available":false,
"reason":"not here"}}],"kvm":{kvm},"programs":[],"confinement":{{"required":false,"parts":[]}},
"networkModes":[],"limits":{{"cpus":32,"disks":8,"memoryBytes":8589934592}}}}}}"#
    );
    let report = report.replace('\n', "");
    fs::write(
        &path,
        format!("#!/bin/sh\ncat >/dev/null\necho '{report}'\n"),
    )
    .unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn row_19() {
    let installed = Installed::new();
    let closed = r#"{"present":true,"openable":false,"cpuFlag":true,"usable":false}"#;
    let absent = r#"{"present":false,"openable":false,"cpuFlag":true,"usable":false}"#;
    let refused = |kvm: &str| {
        installed
            .microagent(&[
                "create",
                "web",
                "--backend",
                "firecracker",
                "--image",
                "oci:image",
            ])
            .env(
                "MICROAGENT_FIRECRACKER_SUPERVISOR",
                unable(&installed, "firecracker", kvm),
            )
            .run()
            .unwrap()
    };
    says(
        &refused(closed),
        1,
        "backend `firecracker` needs /dev/kvm, which this user may not open",
        "sudo usermod -aG kvm $USER, then log in again; or run emulated and slower: --backend qemu",
    );
    says(
        &refused(absent),
        1,
        "backend `firecracker` needs /dev/kvm, which is not here",
        "use a host with hardware virtualization; or run emulated and slower: --backend qemu",
    );
    assert!(!installed.home.state_dir().exists());
}

fn row_20() {
    let installed = Installed::new();
    let refused = installed
        .microagent(&["create", "web", "--image", "oci:image"])
        .env(
            "MICROAGENT_FIRECRACKER_SUPERVISOR",
            unable(&installed, "firecracker", "null"),
        )
        .env(
            "MICROAGENT_QEMU_SUPERVISOR",
            unable(&installed, "qemu", "null"),
        )
        .run()
        .unwrap();
    says(
        &refused,
        1,
        "this host has neither Firecracker nor QEMU",
        "install one, for example: sudo apt install qemu-system-x86; then: microagent doctor",
    );
}

fn row_21() {
    if let Some(program) = Registry::missing_program() {
        eprintln!("skipped: `{program}` is not installed");
        return;
    }
    let installed = Installed::new();
    let folder = installed.home.work_dir().join("registry");
    fs::create_dir(&folder).unwrap();
    let registry = Registry::start(&folder, Access::Anybody, None).unwrap();
    let image = format!("{}/library/debain:12", registry.address());
    says(
        &installed.does(&["create", "web", "--image", &image]),
        1,
        &format!("image `{image}` does not exist, or may not be read without credentials"),
        "check the spelling; for a private image log in with docker or podman, microagent uses their \
         credentials",
    );
}

fn row_22() {
    let installed = Installed::new();
    let line = [
        "create",
        "web",
        "--image",
        "oci:image",
        "--kernel",
        "kernel",
        "--disk-size",
        "64M",
    ];
    says(
        &installed.does(&line),
        1,
        "the image needs 99 MiB and the root disk has 64 MiB",
        "--disk-size 99M, or --profile tiny",
    );
    assert_eq!(installed.names(), "");
}

fn row_23() {
    let installed = Installed::new();
    installed.script("ignores-halt");
    installed.create("web");
    installed.does(&["start", "web"]).expect_code(0).unwrap();
    let log = installed.home.state_dir().join("workspaces/web/serial.log");
    says(
        &installed.does(&["halt", "--timeout", "1s", "web"]),
        124,
        "`web` did not shut down in 1 s; nothing was killed",
        &format!(
            "wait longer: microagent halt --timeout 60s web; or microagent stop web; or microagent \
             kill web; log: {}",
            log.display()
        ),
    );
    installed.does(&["kill", "web"]).expect_code(0).unwrap();
}

fn row_24() {
    let installed = Installed::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = free.local_addr().unwrap().to_string();
    drop(free);
    installed.create_with("web", &["--mediation", &format!("2048={target}")]);
    says(
        &installed.does(&["start", "web"]),
        75,
        &format!("mediation channel `2048` is required and `{target}` does not accept connections"),
        "start the service behind it first; or create the workspace with --mediation-optional",
    );
}

fn row_25() {
    let installed = Installed::new();
    installed.create("web");
    let history = installed
        .home
        .state_dir()
        .join("workspaces/web/events.jsonl");
    let before = lines(&history);
    // A copy into a workspace at rest holds it for as long as its tar comes.
    let copy = installed
        .microagent(&["cp", "-", "web:/tmp"])
        .stdin_held_open();
    let copy = copy.spawn().unwrap();
    let began = std::time::Instant::now();
    // Its boot is in the history.
    while lines(&history) == before && began.elapsed() < std::time::Duration::from_secs(20) {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let refused = installed.does(&["delete", "--yes", "web"]);
    let told = refused.stderr_text();
    assert_eq!(refused.code, Some(75), "{told}");
    assert!(
        told.starts_with("error: another command is working on `web`: "),
        "{told}"
    );
    assert!(told.contains(", pid ") && told.contains(", for "), "{told}");
    let hint = "  hint: try again when it is done; its state: microagent status web\n";
    assert!(told.contains(hint), "{told}");
    drop(copy);
}

fn lines(file: &std::path::Path) -> usize {
    fs::read_to_string(file).unwrap_or_default().lines().count()
}

fn a_foreign_backend() {
    let arch = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    };
    typed(
        &[
            "create",
            "web",
            "--backend",
            "apple-vf",
            "--image",
            "oci:image",
        ],
        1,
        &format!("backend `apple-vf` does not run on Linux {arch}"),
        "backends of this host: firecracker, qemu",
    );
}

fn an_exec_in_quarantine() {
    let installed = Installed::new();
    installed.create("web");
    installed
        .does(&["quarantine", "web"])
        .expect_code(0)
        .unwrap();
    let hint = "to look at its disk: microagent halt web, then microagent cp web:/path .";
    for (line, code) in [
        (&["exec", "web", "ls"][..], 125),
        (&["connect", "--send", "ls", "web"], 125),
        (&["cp", "web:/x", "."], 1),
    ] {
        let error = "`web` is quarantined: exec, connect and cp are refused";
        says(&installed.does(line), code, error, hint);
    }
}

fn a_start_of_a_quarantined_workspace() {
    let installed = Installed::new();
    installed.create("web");
    installed
        .does(&["quarantine", "web"])
        .expect_code(0)
        .unwrap();
    let status = installed.does(&["status", "--json", "web"]).json().unwrap();
    let since = status["stateSince"].as_str().unwrap();
    let since = format!("{} {}Z", &since[..10], &since[11..19]);
    says(
        &installed.does(&["start", "web"]),
        1,
        &format!("`web` is quarantined since {since} and cannot be started"),
        "microagent halt web (or stop, kill) ends the quarantine; the record keeps it for good",
    );
}

fn no_kernel_and_none_that_comes() {
    let installed = Installed::new();
    // Somebody had this port a moment ago, and nobody has it now.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let arch = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    };
    let folder = installed.home.path().join("prefix/libexec/kernels");
    fs::create_dir(&folder).unwrap();
    let sum = "0".repeat(64);
    let list = format!(
        r#"{{"schema":1,"kernels":[{{"backend":"qemu","arch":"{arch}","version":"6.12.1","url":"http://{address}/Image","sha256":"{sum}"}}]}}"#
    );
    fs::write(folder.join("pinned.json"), list).unwrap();
    says(
        &installed.does(&["create", "web", "--image", "oci:image", "--profile", "tiny"]),
        75,
        &format!("there is no kernel for `qemu/{arch}`, and the default one cannot be downloaded"),
        "check the connection, or: microagent kernel install --from FILE",
    );
    assert_eq!(installed.names(), "");
}

fn a_guest_that_is_too_old() {
    let installed = Installed::new();
    installed.script("knows-no-files");
    installed.create("web");
    installed.does(&["start", "web"]).expect_code(0).unwrap();
    says(
        &installed.does(&["cp", "web:/etc/hostname", "."]),
        1,
        "the guest of `web` does not know `read` (generation 1)",
        "microagent halt web && microagent start web boots it with the current guest init",
    );
    installed.does(&["kill", "web"]).expect_code(0).unwrap();
}

/// A file system that holds the state directory and `mebibytes`; none where nobody may mount one.
fn small_disk(at: &std::path::Path, mebibytes: u32) -> Option<Mounted> {
    fs::create_dir(at).unwrap();
    let mounted = Tool::new("mount")
        .args(["-t", "tmpfs", "-o"])
        .arg(format!("size={mebibytes}m,mode=0700"))
        .arg("microagent-test-mount")
        .arg(at)
        .ok();
    mounted.ok().map(|()| Mounted(at.to_owned()))
}

struct Mounted(PathBuf);

impl Mounted {
    fn resize(&self, mebibytes: u32) {
        let size = format!("remount,size={mebibytes}m");
        let resized = Tool::new("mount").arg("-o").arg(size).arg(&self.0).ok();
        resized.unwrap();
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Tool::new("umount").arg("--lazy").arg(&self.0).ok();
    }
}

/// A refusal with what is free, and what is needed where a test can know it.
fn lacks_room(refused: &Finished, state: &str, needed: &str) {
    let told = refused.stderr_text();
    let free = told
        .split_once(&format!("error: `{state}` has "))
        .and_then(|(_, rest)| rest.split_once(" free and "));
    let (free, rest) = free.unwrap_or_else(|| panic!("{told}"));
    assert!(free.ends_with(" MiB"), "{told}");
    let (said, hint) = rest.split_once(" are needed\n").unwrap();
    assert!(said.contains(needed), "{told}");
    let expected = "  hint: microagent image prune --all, or another place: --state-dir DIR\n";
    assert_eq!(hint, expected);
    assert_eq!(refused.code, Some(1), "{told}");
}

fn no_room_for_a_disk() {
    let installed = Installed::new();
    let state = installed.home.path().join("small");
    let Some(disk) = small_disk(&state, 4) else {
        eprintln!("skipped: nobody mounts a file system here");
        return;
    };
    // Eight mebibytes that no compression makes smaller.
    let mut state_of_noise = 1_u64;
    let noise: Vec<u8> = (0..8 << 20)
        .map(|_| {
            state_of_noise = state_of_noise
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state_of_noise.to_be_bytes()[0]
        })
        .collect();
    let layer = Layer::new().file("noise", 0o644, &noise);
    let config = ImageConfig {
        command: vec!["/bin/sh".to_owned()],
        ..ImageConfig::default()
    };
    let image = Image::new().layer(layer).config(config);
    let image = image.write_layout(&installed.home.work_dir().join("large"));
    image.unwrap();
    let at = state.display().to_string();
    let create = |name: &str| {
        installed.does(&[
            "--state-dir",
            &at,
            "create",
            name,
            "--image",
            "oci:large",
            "--kernel",
            "kernel",
            "--profile",
            "tiny",
        ])
    };
    lacks_room(&create("web"), &at, "8.0 MiB");
    disk.resize(256);
    create("web").expect_code(0).unwrap();
    // The disk is a copy of the image, and the second one does not fit.
    let used = Tool::new("df")
        .args(["--output=used", "--block-size=1M"])
        .arg(&state)
        .output_text()
        .unwrap();
    let used: u32 = used.lines().last().unwrap().trim().parse().unwrap();
    disk.resize(used + 2);
    lacks_room(&create("dev"), &at, "");
    let names = installed.does(&["--state-dir", &at, "list", "-q"]);
    assert_eq!(names.stdout_text(), "web\n");
}

fn anything_in_a_paused_workspace() {
    let installed = Installed::new();
    installed.create("web");
    installed.does(&["start", "web"]).expect_code(0).unwrap();
    installed.does(&["pause", "web"]).expect_code(0).unwrap();
    for (line, code) in [(&["exec", "web", "ls"][..], 125), (&["start", "web"], 1)] {
        says(
            &installed.does(line),
            code,
            "`web` is paused",
            "microagent resume web",
        );
    }
    installed.does(&["kill", "web"]).expect_code(0).unwrap();
}

fn files_that_are_too_large_to_copy_in() {
    let installed = Installed::new();
    let data = installed.home.work_dir().join("data");
    fs::create_dir(&data).unwrap();
    for part in ["a", "b"] {
        fs::write(data.join(part), vec![1; 130 << 20]).unwrap();
    }
    let line = [
        "create",
        "web",
        "--image",
        "oci:image",
        "--kernel",
        "kernel",
        "--profile",
        "tiny",
        "--copy-in",
        "./data:/data",
    ];
    says(
        &installed.does(&line),
        2,
        "the files to copy in hold 260 MiB, and the limit is 256 MiB",
        "microagent cp ./data web:/data after the start, or a disk: --disk data=./data.tar:/data",
    );
    assert_eq!(installed.names(), "");
}

fn a_copy_without_a_workspace() {
    for line in [&["cp", "./a", "./b"][..], &["cp", "web:/a", "dev:/b"]] {
        let error = "cp needs exactly one side of the form NAME:/path";
        typed(line, 2, error, "microagent cp ./file web:/tmp/");
    }
}
