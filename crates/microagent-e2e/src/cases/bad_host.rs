//! Hosts that lack a part: no engine, no kernel, no guest init, no supervisor, no place for state.

use crate::framework::case::{Case, Need, case};
use crate::framework::check;
use crate::framework::world::{PRODUCT_BACKEND_VARIABLE, World};
use anyhow::{Result, ensure};
use microagent_test::cli::{Finished, Program};
use microagent_test::file_server::{FileServer, Step};
use microagent_test::home::Home;
use microagent_test::image::Tool;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("bad_host::no_engine_says_how_to_get_one", no_engine),
        case(
            "bad_host::no_kernel_is_said_before_anything_is_made",
            no_kernel,
        ),
        case(
            "bad_host::a_kernel_that_is_missing_comes_from_its_address",
            fetched_kernel,
        ),
        case(
            "bad_host::confinement_that_is_demanded_and_cannot_be_had_is_refused",
            no_confinement,
        )
        .needing(&[Need::Tool("unshare")]),
        case(
            "bad_host::a_kernel_that_is_none_fails_the_boot",
            broken_kernel,
        ),
        case("bad_host::no_guest_init_is_said", no_guest_init),
        case("bad_host::no_supervisor_is_said", no_supervisor),
        case("bad_host::no_vsock_program_is_said", no_vsock_program).needing(&[Need::VsockProgram]),
        case(
            "bad_host::a_state_directory_open_to_others_is_refused",
            open_state,
        ),
        case(
            "bad_host::a_state_directory_of_a_newer_release_is_left_alone",
            newer_state,
        ),
        case(
            "bad_host::a_backend_of_another_system_is_refused",
            foreign_backend,
        ),
        case("bad_host::what_is_typed_wrong_is_code_2", usage),
    ]
}

/// A copy of the installed product, to take parts from.
fn copy(world: &World, home: &Home) -> Result<PathBuf> {
    let prefix = home.work_dir().join("prefix");
    Tool::new("cp")
        .arg("-a")
        .arg(world.prefix())
        .arg(&prefix)
        .ok()?;
    Ok(prefix)
}

fn run_of(world: &World, home: &Home, prefix: &Path) -> Result<Program> {
    Ok(Program::at(prefix.join("bin/microagent"))
        .of(home)
        .limit(world.limit(Duration::from_secs(30)))
        .args(["run", "--json"])
        .arg(world.debian_source()?)
        .args(["--", "true"]))
}

/// A search path without an engine.
fn bare_path(home: &Home) -> Result<PathBuf> {
    let folder = home.work_dir().join("bin");
    std::fs::create_dir(&folder)?;
    Ok(folder)
}

fn no_engine(world: &World) -> Result<()> {
    let home = Home::new()?;
    let path = bare_path(&home)?;
    let finished = run_of(world, &home, world.prefix())?
        .env("PATH", &path)
        .run()?;
    let document = finished.json()?;
    check::failed_with(finished, "unsupported")?;
    let hint = document["error"]["hint"].as_str().unwrap_or_default();
    ensure!(hint.contains("install"), "{document}");
    check::holds_nothing(&home.state_listing())?;
    check::nothing_left(world, &home)?;
    let doctor = world
        .microagent_in(&home)
        .args(["doctor", "--json"])
        .env("PATH", &path)
        .run()?
        .expect_code(1)?
        .json()?;
    ensure!(doctor["ok"] == false, "{doctor}");
    let failing: Vec<_> = doctor["checks"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|check| check["status"] == "fail")
        .collect();
    ensure!(
        failing.iter().any(|check| check["id"] == "backend"),
        "{doctor}"
    );
    ensure!(
        failing.iter().all(|check| check["fix"].is_string()),
        "{doctor}"
    );
    Ok(())
}

fn without(world: &World, part: &str, kind: &str) -> Result<Finished> {
    let home = Home::new()?;
    let prefix = copy(world, &home)?;
    Tool::new("rm")
        .arg("-r")
        .arg(prefix.join("libexec").join(part))
        .ok()?;
    // Another backend of the host is no substitute here.
    let finished = run_of(world, &home, &prefix)?
        .env(PRODUCT_BACKEND_VARIABLE, world.backend().name())
        .run()?;
    let told = check::failed_with(finished.clone(), kind)?;
    ensure!(!told.is_empty());
    ensure!(
        finished.json()?["error"]["hint"].is_string(),
        "{}",
        finished.stdout_text()
    );
    check::nothing_left(world, &home)?;
    Ok(finished)
}

fn no_kernel(world: &World) -> Result<()> {
    without(world, "kernels", "unavailable").map(drop)
}

/// An installation without kernels, and a list that says where the one of this backend is: the first
/// run fetches it, boots it and has it from then on.
fn fetched_kernel(world: &World) -> Result<()> {
    let home = Home::new()?;
    let prefix = copy(world, &home)?;
    let (backend, arch) = (world.backend().name(), arch());
    let kernels = prefix.join("libexec/kernels");
    let image = kernels.join(backend).join(arch).join("Image");
    let server = FileServer::start(&std::fs::read(image)?, &[Step::CutAfter(1 << 20)])?;
    std::fs::remove_dir_all(&kernels)?;
    std::fs::create_dir(&kernels)?;
    let pinned = serde_json::json!({ "schema": 1, "kernels": [{
        "backend": backend, "arch": arch, "version": "of the test", "url": server.url(),
        "sha256": server.sha256(),
    }] });
    std::fs::write(kernels.join("pinned.json"), pinned.to_string())?;
    let run = || -> Result<()> {
        let source = world.debian_source()?;
        let finished = world
            .microagent_at(&prefix.join("bin/microagent"), &home)
            .limit(world.limit(Duration::from_mins(1)))
            .args(["run", &source, "echo", "works"])
            .run()?
            .expect_code(0)?;
        ensure!(finished.stdout_text() == "works\n");
        Ok(())
    };
    run()?;
    let fetched = server.ranges().len();
    ensure!(fetched == 2, "a download that broke off went on: {fetched}");
    run()?;
    ensure!(server.ranges().len() == fetched, "it is fetched once");
    check::nothing_left(world, &home)
}

/// A host that gives nobody a user namespace: one of those that the test makes, whose limit is none.
fn no_confinement(world: &World) -> Result<()> {
    let home = Home::new()?;
    let inside = "echo 0 >/proc/sys/user/max_user_namespaces && exec \"$@\"";
    let namespace = ["--user", "--map-root-user", "sh", "-c", inside, "sh"];
    let possible = Tool::new("unshare").args(namespace).arg("true").ok();
    if possible.is_err() {
        // Who may make no namespace here has no such host either.
        return Ok(());
    }
    let program = world.prefix().join("bin/microagent");
    let finished = world
        .microagent_at(Path::new("unshare"), &home)
        .limit(world.limit(Duration::from_secs(30)))
        .args(namespace)
        .arg(program)
        .args(["run", &world.debian_source()?, "true"])
        .env("MICROAGENT_CONFINEMENT", "required")
        .run()?
        .expect_code(check::FAILED)?;
    let told = finished.stderr_text();
    let error = "error: confinement is required and `user_ns` \
                 (`/proc/sys/user/max_user_namespaces` is 0)";
    ensure!(told.contains(error), "{told}");
    let hint = "\n  hint: sudo sysctl user.max_user_namespaces=15000; or unset \
                MICROAGENT_CONFINEMENT\n";
    ensure!(told.contains(hint), "{told}");
    check::nothing_left(world, &home)
}

fn arch() -> &'static str {
    if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    }
}

fn no_guest_init(world: &World) -> Result<()> {
    without(
        world,
        &format!("microagent-guestinit-{}.cpio", arch()),
        "not_found",
    )
    .map(drop)
}

fn no_supervisor(world: &World) -> Result<()> {
    without(world, world.backend().supervisor(), "unsupported").map(drop)
}

fn no_vsock_program(world: &World) -> Result<()> {
    let home = Home::new()?;
    let prefix = copy(world, &home)?;
    std::fs::remove_file(prefix.join("libexec/vhost-device-vsock"))?;
    let path = bare_path(&home)?;
    for tool in ["qemu-system-x86_64", "qemu-system-aarch64", "passt"] {
        let real = Path::new("/usr/bin").join(tool);
        if real.is_file() {
            std::os::unix::fs::symlink(real, path.join(tool))?;
        }
    }
    let finished = run_of(world, &home, &prefix)?.env("PATH", &path).run()?;
    let text = finished.stdout_text();
    finished.expect_code(check::FAILED)?;
    ensure!(text.contains("vhost-device-vsock"), "{text}");
    check::nothing_left(world, &home)
}

fn broken_kernel(world: &World) -> Result<()> {
    let home = Home::new()?;
    let kernel = home.work_dir().join("kernel");
    std::fs::write(&kernel, vec![0x5a; 1 << 20])?;
    let finished = world
        .guest_in(&home, &world.debian_source()?)
        .flags(&["--json", "--kernel", &kernel.display().to_string()])
        .command(&["true"])
        .run()?;
    let text = finished.stdout_text();
    finished.expect_code(check::FAILED)?;
    ensure!(!text.contains("\"internal\""), "{text}");
    check::processes_gone(world, &home)?;
    let next = world
        .guest_in(&home, &world.debian_source()?)
        .command(&["echo", "works"])
        .ends_with(0)?;
    ensure!(next.stdout == b"works\n");
    Ok(())
}

fn open_state(world: &World) -> Result<()> {
    let home = Home::new()?;
    std::fs::create_dir(home.state_dir())?;
    std::fs::set_permissions(home.state_dir(), std::fs::Permissions::from_mode(0o777))?;
    let finished = run_of(world, &home, world.prefix())?.run()?;
    check::failed_with(finished, "denied")?;
    ensure!(
        home.state_listing().is_empty(),
        "{:?}",
        home.state_listing()
    );
    Ok(())
}

fn newer_state(world: &World) -> Result<()> {
    let home = Home::new()?;
    std::fs::create_dir(home.state_dir())?;
    std::fs::set_permissions(home.state_dir(), std::fs::Permissions::from_mode(0o700))?;
    std::fs::write(home.state_dir().join("schema"), "999\n")?;
    let before = home.state_listing();
    let finished = run_of(world, &home, world.prefix())?.run()?;
    check::failed_with(finished, "integrity")?;
    check::same(&before, &home.state_listing())
}

fn foreign_backend(world: &World) -> Result<()> {
    let home = Home::new()?;
    let finished = world
        .microagent_in(&home)
        .args([
            "--backend",
            "apple-vf",
            "run",
            "oci:./nowhere",
            "--",
            "true",
        ])
        .run()?
        .expect_code(check::FAILED)?;
    let text = finished.stderr_text();
    ensure!(
        text.starts_with("error: backend `apple-vf` does not run on Linux"),
        "{text}"
    );
    ensure!(text.contains("qemu"), "{text}");
    check::holds_nothing(&home.state_listing())
}

fn usage(world: &World) -> Result<()> {
    for words in [
        &["run", "--no-such-flag", "oci:./x", "true"][..],
        &["run", "--memory", "512", "oci:./x", "true"],
        &["run", "--timeout", "-5s", "oci:./x", "true"],
        &["run"],
        &["rnu", "oci:./x"],
    ] {
        let finished = world.microagent().args(words).run()?.expect_code(2)?;
        ensure!(finished.stdout.is_empty(), "{}", finished.stdout_text());
        ensure!(
            finished.stderr_text().starts_with("error: "),
            "{}",
            finished.stderr_text()
        );
    }
    Ok(())
}
