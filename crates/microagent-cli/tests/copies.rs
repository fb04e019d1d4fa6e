//! Files in and out through the built command, a real supervisor and a real monitor. The VM is a fake:
//! a path of its guest is that path of the host, and what it sends is another program's tar, or a lie.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the world from outside the product's own doors"
)]

mod installed;
#[path = "../../microagent-workspace/examples/work_in_guest.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "an example of the library, whose main is not called here"
)]
mod work_in_guest;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use installed::Installed;

fn main() -> ExitCode {
    installed::program(&[
        (
            "files_are_there_before_the_command_and_come_out_after_it",
            files_are_there_before_the_command_and_come_out_after_it,
        ),
        (
            "what_cannot_be_copied_in_costs_nothing",
            what_cannot_be_copied_in_costs_nothing,
        ),
        (
            "files_are_read_when_a_workspace_is_created_and_delivered_once",
            files_are_read_when_a_workspace_is_created_and_delivered_once,
        ),
        (
            "a_copy_out_that_fails_is_125_only_where_the_command_did_well",
            a_copy_out_that_fails_is_125_only_where_the_command_did_well,
        ),
        (
            "a_vm_lives_for_its_client_while_that_copies_out",
            a_vm_lives_for_its_client_while_that_copies_out,
        ),
        (
            "the_example_of_the_library_works_in_a_guest",
            the_example_of_the_library_works_in_a_guest,
        ),
        (
            "a_workspace_at_rest_is_copied_to_and_from",
            a_workspace_at_rest_is_copied_to_and_from,
        ),
        (
            "nothing_of_a_lying_guest_lands_outside_the_target",
            nothing_of_a_lying_guest_lands_outside_the_target,
        ),
        (
            "a_guest_that_sends_no_archive_ends_a_copy_and_nothing_else",
            a_guest_that_sends_no_archive_ends_a_copy_and_nothing_else,
        ),
    ])
}

/// A folder that the fake guest has too.
fn guest_folder(installed: &Installed) -> PathBuf {
    let folder = installed.home.work_dir().join("guest");
    fs::create_dir(&folder).unwrap();
    folder
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn files_are_there_before_the_command_and_come_out_after_it() {
    let installed = Installed::new();
    let guest = guest_folder(&installed);
    let work = installed.home.work_dir();
    fs::create_dir_all(work.join("src/deep")).unwrap();
    fs::write(work.join("src/deep/tool"), "#!/bin/sh\necho made\n").unwrap();
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(work.join("src/deep/tool"), executable).unwrap();
    symlink("deep/tool", work.join("src/link")).unwrap();
    fs::write(work.join("note"), "hello\n").unwrap();
    let (app, note, out) = (
        guest.join("a/app"),
        guest.join("b/renamed"),
        guest.join("out"),
    );
    let script = format!(
        "cat {note} && mkdir {out} && {app}/link > {out}/result && exit 3",
        note = shown(&note),
        out = shown(&out),
        app = shown(&app)
    );
    let ran = installed
        .run(
            &[
                "--copy-in",
                &format!("./src:{}", shown(&app)),
                "--copy-in",
                &format!("note:{}", shown(&note)),
                "--copy-out",
                &format!("{}:./result", shown(&out)),
                "--copy-out",
                &format!("{}:./again", shown(&note)),
                "--json",
            ],
            &["sh", "-c", &script],
        )
        .run()
        .unwrap()
        .expect_code(3)
        .unwrap();
    let document = ran.json().unwrap();
    assert_eq!(document["stdout"], "hello\n", "{document:#}");
    let copied = &document["copiedOut"];
    assert_eq!(copied[0]["host"], "./result");
    assert_eq!(copied[0]["files"], 1);
    assert_eq!(copied[1]["bytes"], 6);
    assert!(copied[0]["error"].is_null(), "{copied:#}");
    assert_eq!(
        fs::read_to_string(work.join("result/result")).unwrap(),
        "made\n"
    );
    assert_eq!(fs::read_to_string(work.join("again")).unwrap(), "hello\n");
    installed.assert_tidy();
}

fn what_cannot_be_copied_in_costs_nothing() {
    let installed = Installed::new();
    let work = installed.home.work_dir();
    fs::write(work.join("note"), "hello\n").unwrap();
    let refused = |flags: &[&str], code: i32, word: &str| {
        let refused = installed.run(flags, &["true"]).run().unwrap();
        let refused = refused.expect_code(code).unwrap();
        let told = refused.stderr_text();
        assert!(told.contains(word), "{told}");
    };
    refused(&["--copy-in", "./missing:/x"], 125, "missing");
    refused(
        &["--copy-in", "./note:/tmp/"],
        2,
        "write what it becomes: /tmp/note",
    );
    refused(&["--copy-in", "./note:tmp"], 2, "./src:/work");
    refused(&["--copy-out", "out:./x"], 2, "/work/out:./out");
    refused(&["--copy-out", "/out:./no/such/x"], 125, "no/such");
    // Neither an image nor a workspace was made for any of them.
    let images = installed.does(&["image", "list", "-q"]);
    assert_eq!(images.expect_code(0).unwrap().stdout_text(), "");
    installed.assert_tidy();
}

fn files_are_read_when_a_workspace_is_created_and_delivered_once() {
    let installed = Installed::new();
    let guest = guest_folder(&installed);
    let work = installed.home.work_dir();
    fs::write(work.join("note"), "as it was\n").unwrap();
    let target = guest.join("note");
    let copy = format!("note:{}", shown(&target));
    installed.create_with("web", &["--copy-in", &copy]);
    fs::write(work.join("note"), "changed since\n").unwrap();
    let stored = installed
        .home
        .state_dir()
        .join("workspaces/web/files/0.tar");
    assert_eq!(
        fs::metadata(&stored).unwrap().permissions().mode() & 0o777,
        0o600
    );
    installed.does(&["start", "web"]).expect_code(0).unwrap();
    assert_eq!(fs::read_to_string(&target).unwrap(), "as it was\n");
    assert!(
        !stored.exists(),
        "the host's copy goes when the guest has it"
    );
    // What the guest makes of its files is its own business from then on.
    fs::remove_file(&target).unwrap();
    installed.does(&["kill", "web"]).expect_code(0).unwrap();
    installed.does(&["start", "web"]).expect_code(0).unwrap();
    assert!(!target.exists());
    let history = installed.does(&["events", "--json", "web"]).stdout_text();
    assert_eq!(history.matches("files_delivered").count(), 1, "{history}");
    installed.does(&["kill", "web"]).expect_code(0).unwrap();
    installed.delete("web");
    installed.assert_tidy();
}

fn a_copy_out_that_fails_is_125_only_where_the_command_did_well() {
    let installed = Installed::new();
    let guest = guest_folder(&installed);
    fs::write(guest.join("there"), "x").unwrap();
    let missing = format!("{}:./missing", shown(&guest.join("missing")));
    let there = format!("{}:./there", shown(&guest.join("there")));
    let flags = ["--copy-out", &missing, "--copy-out", &there];
    let failed = installed.run(&flags, &["true"]).run().unwrap();
    let told = failed.expect_code(125).unwrap().stderr_text();
    assert!(told.contains("missing` in the guest"), "{told}");
    let there = installed.home.work_dir().join("there");
    assert_eq!(
        fs::read_to_string(&there).unwrap(),
        "x",
        "the other one is copied"
    );
    let failed = installed
        .run(&flags, &["sh", "-c", "exit 4"])
        .run()
        .unwrap();
    failed.expect_code(4).unwrap();
    installed.assert_tidy();
}

/// The guest is done with a session when its command has ended; the VM's client is done with it when it
/// has what it wants.
fn a_vm_lives_for_its_client_while_that_copies_out() {
    let installed = Installed::new();
    let guest = guest_folder(&installed);
    fs::write(guest.join("there"), "x").unwrap();
    let there = format!("{}:./there", shown(&guest.join("there")));
    let flags = ["--keep", "--name", "web", "--copy-out", &there];
    let ran = installed.run(&flags, &["true"]).run().unwrap();
    ran.expect_code(0).unwrap();
    let history = installed.does(&["events", "--json", "web"]).json().unwrap();
    let events = history["events"].as_array().unwrap();
    let position = |kind: &str, number: u64| {
        let is_it = |event: &serde_json::Value| {
            event["type"] == kind && event["data"]["number"].as_u64() == Some(number)
        };
        events.iter().position(is_it)
    };
    let (copied, ended) = (position("session_opened", 2), position("session_closed", 1));
    assert!(copied.is_some() && copied < ended, "{history:#}");
    let there = installed.home.work_dir().join("there");
    assert_eq!(fs::read_to_string(there).unwrap(), "x");
    installed.delete("web");
    installed.assert_tidy();
}

fn the_example_of_the_library_works_in_a_guest() {
    let installed = Installed::new();
    let there = guest_folder(&installed).join("work");
    let work = installed.home.work_dir();
    fs::create_dir(work.join("folder")).unwrap();
    fs::write(work.join("folder/a"), "12345").unwrap();
    fs::write(work.join("folder/b c"), vec![b'x'; 300_000]).unwrap();
    installed.create("web");
    installed.does(&["start", "web"]).expect_code(0).unwrap();
    let state_dir = installed.home.state_dir();
    let mut context =
        microagent_workspace::Context::new(state_dir.as_path().try_into().unwrap()).unwrap();
    let supervisor = "prefix/libexec/microagent-qemu-supervisor";
    context.supervisor = Some(installed.home.path().join(supervisor));
    let written = work_in_guest::work(
        &context,
        &"web".parse().unwrap(),
        &work.join("folder"),
        &shown(&there).parse().unwrap(),
        &work.join("out"),
    )
    .unwrap();
    let lines = |bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let mut lines: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
        lines.sort();
        lines
    };
    assert_eq!(lines(&written.stdout), ["300000", "5"]);
    assert_eq!(lines(&written.stderr), ["looking at a", "looking at b c"]);
    assert_eq!(listing(&work.join("out")), listing(&work.join("folder")));
    installed.does(&["kill", "web"]).expect_code(0).unwrap();
    installed.delete("web");
    installed.assert_tidy();
}

/// As `cp` does it: by a boot for the files alone.
fn a_workspace_at_rest_is_copied_to_and_from() {
    let installed = Installed::new();
    let guest = guest_folder(&installed);
    let work = installed.home.work_dir();
    fs::write(work.join("note"), "hello\n").unwrap();
    installed.create("web");
    let target = format!("web:{}", shown(&guest));
    let copied = installed.does(&["cp", "--json", "note", &target]);
    let report = copied.expect_code(0).unwrap().json().unwrap();
    assert_eq!(report["via"], "maintenance_boot", "{report:#}");
    assert_eq!(fs::read_to_string(guest.join("note")).unwrap(), "hello\n");
    let back = format!("web:{}", shown(&guest.join("note")));
    installed
        .does(&["cp", &back, "back"])
        .expect_code(0)
        .unwrap();
    assert_eq!(fs::read_to_string(work.join("back")).unwrap(), "hello\n");
    let status = installed.does(&["status", "--json", "web"]).json().unwrap();
    assert_eq!(
        (&status["state"], &status["reason"]),
        (&"prepared".into(), &"created".into())
    );
    assert!(status["maintenance"].is_null(), "{status:#}");
    // A boot for the files that fails is none of the workspace's.
    installed.script("fails-to-boot");
    installed
        .does(&["cp", &back, "again"])
        .expect_code(1)
        .unwrap();
    let status = installed.does(&["status", "--json", "web"]).json().unwrap();
    assert_eq!(
        (&status["state"], &status["reason"]),
        (&"prepared".into(), &"created".into())
    );
    installed.delete("web");
    installed.assert_tidy();
}

/// One entry of an archive, named as no honest tool would name it.
fn entry(
    archive: &mut tar::Builder<Vec<u8>>,
    kind: tar::EntryType,
    path: &str,
    link: Option<&str>,
    content: &[u8],
) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_mode(0o6755);
    // The tool's own way refuses such names.
    header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
    if let Some(link) = link {
        header.as_gnu_mut().unwrap().linkname[..link.len()].copy_from_slice(link.as_bytes());
    }
    header.set_cksum();
    archive.append(&header, content).unwrap();
}

/// Every name and content below a folder.
fn listing(root: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let status = fs::symlink_metadata(&path).unwrap();
            let content = if status.is_symlink() {
                format!("-> {}", shown(&fs::read_link(&path).unwrap()))
            } else if status.is_dir() {
                folders.push(path.clone());
                String::new()
            } else {
                String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned()
            };
            found.push((shown(path.strip_prefix(root).unwrap()), content));
        }
    }
    found.sort();
    found
}

fn nothing_of_a_lying_guest_lands_outside_the_target() {
    use tar::EntryType;
    let installed = Installed::new();
    let guest = guest_folder(&installed);
    let work = installed.home.work_dir();
    let outside = work.join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("kept"), "kept\n").unwrap();
    let victim = shown(&outside);
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |kind, path: &str, link: Option<&str>, content: &[u8]| {
        entry(&mut archive, kind, path, link, content);
    };
    let bad = b"bad".as_slice();
    add(EntryType::Regular, "../up", None, bad);
    add(EntryType::Regular, "a/../../up", None, bad);
    add(EntryType::Regular, &format!("{victim}/absolute"), None, bad);
    add(EntryType::Directory, "../outside/folder", None, b"");
    // Through links that the archive brings along.
    add(EntryType::Symlink, "door", Some(&victim), b"");
    add(EntryType::Regular, "door/through", None, bad);
    add(EntryType::Symlink, "near", Some("../outside/kept"), b"");
    add(EntryType::Regular, "near", None, bad);
    add(EntryType::Link, "hard", Some("../outside/kept"), b"");
    add(EntryType::Regular, "hard", None, bad);
    add(
        EntryType::Link,
        "harder",
        Some(&format!("{victim}/kept")),
        b"",
    );
    add(EntryType::Fifo, "pipe", None, b"");
    add(EntryType::Block, "disk", None, b"");
    add(EntryType::Regular, "honest", None, b"good");
    let lie = guest.join("tree.lie-folder");
    fs::write(&lie, archive.into_inner().unwrap()).unwrap();
    installed.create("web");
    installed.does(&["start", "web"]).expect_code(0).unwrap();
    let source = format!("web:{}", shown(&lie));
    let before = listing(&outside);
    fs::create_dir(work.join("target")).unwrap();
    let copied = installed.does(&["cp", &source, "target/tree"]);
    let told = copied.expect_code(1).unwrap().stderr_text();
    assert!(told.contains("refused: "), "{told}");
    assert_eq!(listing(&outside), before);
    let above: Vec<String> = fs::read_dir(work.join("target"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(above, ["tree"], "nothing beside the target");
    let landed = listing(&work.join("target/tree"));
    let content = |name: &str| landed.iter().find(|(path, _)| path == name);
    assert_eq!(content("honest").unwrap().1, "good");
    assert_eq!(content("near").unwrap().1, "bad", "in place of the link");
    assert!(content("pipe").is_none() && content("disk").is_none());
    let mode = fs::metadata(work.join("target/tree/honest")).unwrap();
    assert_eq!(mode.permissions().mode() & 0o6000, 0, "no set-id bits");
    // A second entry where one file was announced, and a folder.
    let single = guest.join("one.lie-file");
    fs::copy(&lie, &single).unwrap();
    let source = format!("web:{}", shown(&single));
    installed
        .does(&["cp", &source, "target/one"])
        .expect_code(1)
        .unwrap();
    assert_eq!(listing(&outside), before);
    installed.does(&["kill", "web"]).expect_code(0).unwrap();
    installed.delete("web");
    installed.assert_tidy();
}

fn a_guest_that_sends_no_archive_ends_a_copy_and_nothing_else() {
    let installed = Installed::new();
    let guest = guest_folder(&installed);
    installed.create("web");
    installed.does(&["start", "web"]).expect_code(0).unwrap();
    let noise: Vec<u8> = (0..100_000_u32)
        .map(|n| n.wrapping_mul(167).to_le_bytes()[1])
        .collect();
    for (name, bytes) in [
        ("noise", noise.as_slice()),
        ("empty", &[]),
        ("cut", &[b'x'; 700]),
    ] {
        for kind in ["lie-folder", "lie-file"] {
            let lie = guest.join(format!("{name}.{kind}"));
            fs::write(&lie, bytes).unwrap();
            let target = format!("to-{name}-{kind}");
            let source = format!("web:{}", shown(&lie));
            let copied = installed.does(&["cp", &source, &target]);
            let is_empty_folder = name == "empty" && kind == "lie-folder";
            let code = i32::from(!is_empty_folder);
            let ended = copied.expect_code(code).unwrap();
            assert!(!ended.stderr_text().contains("panicked"), "{name} {kind}");
        }
    }
    let answered = installed.does(&["exec", "web", "echo", "here"]);
    assert_eq!(answered.expect_code(0).unwrap().stdout_text(), "here\n");
    installed.does(&["kill", "web"]).expect_code(0).unwrap();
    installed.delete("web");
    installed.assert_tidy();
}
