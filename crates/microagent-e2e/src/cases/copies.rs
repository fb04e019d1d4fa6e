//! `cp`: a tree of every kind of file, there and back, live and through a maintenance boot.

use crate::framework::case::{Case, Need, case};
use crate::framework::small_disk::SmallDisk;
use crate::framework::workspace::{Lasting, NAME};
use crate::framework::world::World;
use anyhow::{Context as _, Result, ensure};
use microagent_test::fsck;
use sha2::{Digest as _, Sha256};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("copies::a_tree_comes_back_as_it_went", there_and_back).needing(&[Need::Root]),
        case("copies::a_workspace_at_rest_is_copied_to_and_from", at_rest),
        case("copies::a_state_that_can_not_be_copied_in_says_so", refused),
        case(
            "copies::a_run_takes_files_along_and_brings_some_back",
            with_a_run,
        ),
        case("copies::a_full_disk_on_either_side_is_told", full).needing(&[Need::Root]),
    ]
}

fn tree(root: &Path) -> Result<()> {
    let deep = root.join("with space/new\nline/-dash");
    fs::create_dir_all(&deep)?;
    fs::write(deep.join("file"), "content")?;
    fs::write(root.join(OsStr::from_bytes(b"no\xff\xfetext")), "bytes")?;
    let mut large = Vec::new();
    for number in 0..300_000_u32 {
        large.extend_from_slice(&number.to_le_bytes());
    }
    fs::write(root.join("large"), large)?;
    fs::hard_link(root.join("large"), root.join("second name"))?;
    symlink("with space", root.join("link"))?;
    symlink("/no/where", root.join("dangling"))?;
    let sparse = fs::File::create(root.join("sparse"))?;
    sparse.set_len(64 << 20)?;
    // A change of owner takes set-id bits away.
    std::os::unix::fs::chown(root.join("large"), Some(1234), Some(4321))?;
    fs::set_permissions(root.join("large"), fs::Permissions::from_mode(0o4751))?;
    fs::set_permissions(root.join("with space"), fs::Permissions::from_mode(0o1700))?;
    let long = "n".repeat(200);
    fs::create_dir(root.join(&long))?;
    fs::write(root.join(&long).join(&long), "deep")?;
    fs::write(root.join("empty"), "")?;
    Ok(())
}

/// Path, mode, size, time, owner and content of everything below.
fn described(root: &Path, setid: u32) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let status = fs::symlink_metadata(&path)?;
            let content = if status.is_symlink() {
                fs::read_link(&path)?.display().to_string()
            } else if status.is_file() {
                format!("{:x?}", Sha256::digest(fs::read(&path)?))
            } else {
                folders.push(path.clone());
                String::new()
            };
            let mode = status.mode() & 0o7777 & !setid;
            let mode = if status.is_symlink() { 0 } else { mode };
            let name = path
                .strip_prefix(root)?
                .as_os_str()
                .as_bytes()
                .escape_ascii()
                .to_string();
            let time = (status.mtime(), status.mtime_nsec());
            let size = if status.is_dir() { 0 } else { status.len() };
            lines.push(format!(
                "{name} {mode:o} {size} {time:?} {}:{} {content}",
                status.uid(),
                status.gid()
            ));
        }
    }
    lines.sort();
    Ok(lines)
}

fn there_and_back(world: &World) -> Result<()> {
    let kept = Lasting::create(world, &[], &[])?;
    kept.does(&["start", NAME])?;
    let folder = tempfile::tempdir()?;
    let (from, to) = (folder.path().join("tree"), folder.path().join("back"));
    fs::create_dir(&from)?;
    tree(&from)?;
    let (source, target) = (from.display().to_string(), to.display().to_string());
    kept.does(&["cp", "-a", &source, &format!("{NAME}:/srv")])?;
    let inside = kept.shell("cd /srv/tree; stat -c '%a %u:%g %s' large; du -k sparse | cut -f1; stat -c %h 'second name'; readlink link")?;
    ensure!(
        inside == "4751 1234:4321 1200000\n0\n2\nwith space\n",
        "{inside}"
    );
    let report = kept
        .does(&["cp", "--json", "-a", &format!("{NAME}:/srv/tree"), &target])?
        .json()?;
    ensure!(report["via"] == "live", "{report}");
    ensure!(
        report["skipped"].as_array().is_some_and(Vec::is_empty),
        "{report}"
    );
    // Set-id bits do not come out of a guest.
    ensure!(
        described(&from, 0o6000)? == described(&to, 0)?,
        "the trees differ"
    );
    let sparse = fs::metadata(to.join("sparse"))?;
    ensure!(sparse.blocks() * 512 < 1 << 20, "holes stay holes");
    // Owner root unless told otherwise; a folder's content; a tar there and back.
    kept.does(&["cp", &format!("{source}/."), &format!("{NAME}:/opt")])?;
    ensure!(kept.shell("stat -c %u:%g /opt/large")? == "0:0\n");
    kept.does(&[
        "cp",
        "--chown",
        "7:8",
        &format!("{source}/empty"),
        &format!("{NAME}:/opt/renamed"),
    ])?;
    ensure!(kept.shell("stat -c %u:%g /opt/renamed")? == "7:8\n");
    let tar = kept
        .does(&["cp", &format!("{NAME}:/srv/tree"), "-"])?
        .stdout;
    kept.shell("mkdir /mnt/again")?;
    let again = format!("{NAME}:/mnt/again");
    kept.line(&["cp", "-a", "-", &again])
        .stdin(tar)
        .run()?
        .expect_code(0)?;
    let same = kept.shell("diff -r --no-dereference /srv/tree /mnt/again && echo same")?;
    ensure!(same == "same\n", "{same}");
    // A folder where a file is to be, and a target that is not there.
    kept.ends_with(&["cp", &format!("{NAME}:/no/such"), &target], 1)?;
    kept.ends_with(&["cp", &source, &format!("{NAME}:/no/such/")], 1)?;
    kept.ends_with(&["cp", &source, &target], 2)?;
    kept.does(&["kill", NAME])?;
    kept.ends_well()
}

fn at_rest(world: &World) -> Result<()> {
    let kept = Lasting::create(world, &[], &[])?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("note");
    fs::write(&file, "from outside\n")?;
    let (source, target) = (file.display().to_string(), format!("{NAME}:/root/note"));
    let report = kept.does(&["cp", "--json", &source, &target])?.json()?;
    ensure!(report["via"] == "maintenance_boot", "{report}");
    kept.is("prepared", "created")?;
    fsck::clean(&kept.disk())?;
    kept.does(&["start", NAME])?;
    ensure!(kept.shell("cat /root/note")? == "from outside\n");
    kept.shell("echo inside > /root/reply; sync")?;
    kept.does(&["halt", NAME])?;
    let back = folder.path().join("reply");
    kept.does(&[
        "cp",
        &format!("{NAME}:/root/reply"),
        &back.display().to_string(),
    ])?;
    ensure!(fs::read_to_string(&back)? == "inside\n");
    let halted = kept.status()?;
    ensure!(
        halted["state"] == "halted" && halted["maintenance"].is_null(),
        "{halted:#}"
    );
    fsck::clean(&kept.disk())?;
    // Killed in the middle of its work, so its journal is not empty.
    kept.does(&["start", NAME])?;
    kept.shell("echo after > /root/after; sync; echo more > /root/more")?;
    kept.does(&["kill", NAME])?;
    kept.does(&[
        "cp",
        &format!("{NAME}:/root/after"),
        &back.display().to_string(),
    ])?;
    ensure!(fs::read_to_string(&back)? == "after\n");
    kept.does(&["cp", &source, &format!("{NAME}:/root/again")])?;
    kept.is("stopped", "killed")?;
    fsck::clean(&kept.disk())?;
    kept.does(&["start", NAME])?;
    ensure!(kept.shell("cat /root/again")? == "from outside\n");
    let history = kept.does(&["events", "--json", NAME])?.stdout_text();
    let begun = history.matches("maintenance_started").count();
    let ended = history.matches("maintenance_ended").count();
    ensure!((begun, ended) == (4, 4), "{begun} began, {ended} ended");
    kept.does(&["kill", NAME])?;
    kept.ends_well()
}

/// `/lib` is a link in the image, and what is copied to it lands where it leads.
fn with_a_run(world: &World) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::create_dir_all(folder.path().join("app/bin"))?;
    fs::write(folder.path().join("app/bin/tool"), "#!/bin/sh\necho made\n")?;
    let executable = fs::Permissions::from_mode(0o751);
    fs::set_permissions(folder.path().join("app/bin/tool"), executable)?;
    symlink("bin/tool", folder.path().join("app/link"))?;
    fs::set_permissions(folder.path().join("app"), fs::Permissions::from_mode(0o750))?;
    std::os::unix::fs::chown(folder.path().join("app/bin"), Some(7), Some(8))?;
    fs::write(folder.path().join("note"), "hello\n")?;
    let ran = world
        .guest()?
        .flags(&["--copy-in", &format!("{}:/srv/new/app", at("app"))])
        .flags(&["--copy-in", &format!("{}:/lib", at("app"))])
        .flags(&["--copy-in", &format!("{}:/srv/new/renamed", at("note"))])
        .flags(&["--copy-out", &format!("/out:{}", at("result"))])
        .flags(&["--copy-out", "/no/such:/tmp/no"])
        .shell(
            "stat -c '%a %u:%g' /srv/new/app /srv/new/app/bin /srv/new/app/bin/tool; \
             readlink /lib /lib/link; cat /srv/new/renamed; \
             mkdir /out && /srv/new/app/link > '/out/a b' && ln -s 'a b' /out/link",
        )
        .run()?
        .expect_code(125)?;
    let told = ran.stdout_text();
    ensure!(
        told == "750 0:0\n755 0:0\n751 0:0\nusr/lib\nbin/tool\nhello\n",
        "{told}"
    );
    let error = ran.stderr_text();
    ensure!(error.contains("/no/such"), "{error}");
    let result = folder.path().join("result");
    ensure!(fs::read_to_string(result.join("link"))? == "made\n");
    Ok(())
}

fn refused(world: &World) -> Result<()> {
    let kept = Lasting::create(world, &[], &[])?;
    kept.does(&["start", NAME])?;
    let folder = tempfile::tempdir()?;
    let (source, target) = (
        format!("{NAME}:/etc/hostname"),
        folder.path().display().to_string(),
    );
    kept.does(&["pause", NAME])?;
    kept.refuses(&["cp", &source, &target], "wrong_state")?;
    kept.does(&["resume", NAME])?;
    kept.does(&["quarantine", NAME])?;
    kept.refuses(&["cp", &source, &target], "wrong_state")?;
    kept.does(&["kill", NAME])?;
    kept.does(&["cp", &source, &target])?;
    kept.ends_well()
}

fn full(world: &World) -> Result<()> {
    let kept = Lasting::create(world, &[], &[])?;
    kept.does(&["start", NAME])?;
    let folder = tempfile::tempdir()?;
    let large = folder.path().join("large");
    fs::write(&large, vec![1_u8; 24 << 20])?;
    kept.shell(
        "fallocate -l $(( ($(df --output=avail -k / | tail -n 1) - 8192) * 1024 )) /root/filler",
    )?;
    let source = large.display().to_string();
    kept.refuses(&["cp", &source, &format!("{NAME}:/srv/large")], "resource")?;
    ensure!(
        kept.shell("ls -A /srv; rm /root/filler")?.is_empty(),
        "a half file is left"
    );
    kept.does(&["cp", &source, &format!("{NAME}:/srv/large")])?;
    let at = folder.path().join("small");
    let disk = SmallDisk::mount(&at, 16)?;
    let target = at.display().to_string();
    kept.refuses(&["cp", &format!("{NAME}:/srv/large"), &target], "resource")?;
    ensure!(fs::read_dir(&at)?.count() == 0, "a half file is left");
    drop(disk);
    let limited = kept.ends_with(
        &[
            "cp",
            "--limit",
            "1M",
            &format!("{NAME}:/srv/large"),
            &format!("{source}2"),
        ],
        1,
    )?;
    ensure!(
        limited.stderr_text().contains("--limit"),
        "{}",
        limited.stderr_text()
    );
    kept.does(&["exec", NAME, "true"])
        .context("the workspace runs on")?;
    kept.does(&["kill", NAME])?;
    kept.ends_well()
}
