//! `microagent image` and `microagent rootfs` as a user meets them, with a real registry where there
//! is one; no VM and no supervisor is needed.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests look at the world from outside the product's own doors"
)]

use std::path::Path;

use microagent_test::cli::{Finished, Program};
use microagent_test::fsck;
use microagent_test::home::Home;
use microagent_test::image::{Image, ImageConfig, Layer, Tool};
use microagent_test::registry::{Access, Registry, TestAuthority};

fn program(home: &Home, line: &[&str]) -> Program {
    Program::at(env!("CARGO_BIN_EXE_microagent"))
        .of(home)
        .args(line)
}

fn run(home: &Home, line: &[&str]) -> Finished {
    program(home, line).run().unwrap()
}

fn ok(home: &Home, line: &[&str]) -> Finished {
    run(home, line).expect_code(0).unwrap()
}

fn image(content: &str) -> Image {
    Image::new()
        .layer(Layer::new().file("base", 0o644, b"base"))
        .layer(Layer::new().file("content", 0o644, content.as_bytes()))
        .config(ImageConfig {
            command: vec!["/bin/tool".into()],
            ..ImageConfig::default()
        })
}

fn layout(home: &Home, name: &str) -> String {
    let folder = home.work_dir().join(name);
    image(name).write_layout(&folder).unwrap();
    format!("oci:{}", folder.display())
}

fn names(home: &Home) -> Vec<String> {
    let mut names: Vec<String> = ok(home, &["image", "list", "-q"])
        .stdout_text()
        .lines()
        .map(ToOwned::to_owned)
        .collect();
    names.sort();
    names
}

fn list(home: &Home) -> Vec<serde_json::Value> {
    let document = ok(home, &["image", "list", "--json"]).json().unwrap();
    document["images"].as_array().unwrap().clone()
}

#[test]
fn an_image_is_imported_named_shown_and_goes_with_its_last_name() {
    let home = Home::new().unwrap();
    assert_eq!(names(&home), [""; 0]);
    let source = layout(&home, "one");
    let import = ["image", "import", &source, "--tag", "tool:1"];
    let printed = ok(&home, &import).stdout_text();
    assert!(
        printed.starts_with("docker.io/library/tool:1@sha256:"),
        "{printed}"
    );
    ok(&home, &["image", "tag", "tool:1", "tool:stable"]);
    assert_eq!(names(&home), ["tool:1"]);
    let images = list(&home);
    assert_eq!(images.len(), 1);
    assert_eq!(
        images[0]["names"],
        serde_json::json!(["docker.io/library/tool:1", "docker.io/library/tool:stable"])
    );
    assert!(images[0]["allocatedBytes"].as_u64() > Some(0));
    let table = ok(&home, &["image", "list"]).stdout_text();
    assert!(table.starts_with("REFERENCE"), "{table}");
    assert_eq!(table.lines().count(), 3, "{table}");

    let shown = ok(&home, &["image", "inspect", "tool:stable", "--json"])
        .json()
        .unwrap();
    assert_eq!(shown["command"], serde_json::json!(["/bin/tool"]));
    assert_eq!(shown["layers"].as_array().unwrap().len(), 2);
    let digest = shown["digest"].as_str().unwrap().to_owned();
    ok(&home, &["image", "inspect", &digest[..19]]);

    ok(&home, &["image", "delete", "tool:1"]);
    assert_eq!(names(&home), ["tool:stable"]);
    let gone = ok(&home, &["image", "delete", "tool:stable", "--json"])
        .json()
        .unwrap();
    assert_eq!(gone["results"][0]["deleted"], true);
    assert!(gone["results"][0]["freedBytes"].as_u64() > Some(0));
    assert_eq!(list(&home).len(), 0);
    ok(&home, &["image", "delete", "tool:stable"]);
    let missing = run(&home, &["image", "inspect", "tool:1"]);
    assert_eq!(missing.code, Some(1));
}

#[test]
fn prune_takes_what_has_no_name_and_with_all_what_has_one() {
    let home = Home::new().unwrap();
    let (named, unnamed) = (layout(&home, "named"), layout(&home, "unnamed"));
    ok(&home, &["image", "import", &named, "--tag", "tool:1"]);
    ok(&home, &["image", "import", &unnamed]);
    // Nobody is there to be asked.
    assert_eq!(run(&home, &["image", "prune"]).code, Some(2));
    let dry = ok(&home, &["image", "prune", "--dry-run", "--json"])
        .json()
        .unwrap();
    assert_eq!(dry["images"].as_array().unwrap().len(), 1);
    assert_eq!(list(&home).len(), 2);
    let old = ["image", "prune", "--yes", "--older-than", "1h", "--json"];
    let old = ok(&home, &old).json().unwrap();
    assert_eq!(old["images"].as_array().unwrap().len(), 0);
    ok(&home, &["image", "prune", "--yes"]);
    assert_eq!(names(&home), ["tool:1"]);
    let all = ok(&home, &["image", "prune", "--all", "--yes", "--json"])
        .json()
        .unwrap();
    assert!(all["freedBytes"].as_u64() > Some(0));
    assert_eq!(list(&home).len(), 0);
    // Again is nothing, and asks nothing.
    ok(&home, &["image", "prune", "--all"]);
}

#[test]
fn a_disk_is_built_into_a_file_raw_or_as_a_vhd() {
    let home = Home::new().unwrap();
    let source = layout(&home, "one");
    let raw = home.work_dir().join("disk.ext4");
    let raw_text = raw.to_str().unwrap();
    let build = ["rootfs", "build", &source, "--output", raw_text];
    assert_eq!(ok(&home, &build).stdout_text(), format!("{raw_text}\n"));
    fsck::clean(&raw).unwrap();
    let taken = run(&home, &build);
    assert_eq!(taken.code, Some(1));
    assert!(
        taken.stderr_text().contains("--force"),
        "{}",
        taken.stderr_text()
    );
    let first = std::fs::read(&raw).unwrap();
    let mut again = build.to_vec();
    again.extend(["--force", "--json"]);
    let told = ok(&home, &again).json().unwrap();
    assert!(
        std::fs::read(&raw).unwrap() == first,
        "equal sources, equal bytes"
    );
    assert_eq!(told["sizeBytes"].as_u64(), Some(first.len() as u64));

    let vhd = home.work_dir().join("disk.vhd");
    let line = [
        "rootfs",
        "build",
        &source,
        "--output",
        vhd.to_str().unwrap(),
        "--format",
        "vhd",
        "--size",
        "1G",
    ];
    ok(&home, &line);
    assert_eq!(std::fs::metadata(&vhd).unwrap().len(), (1 << 30) + 512);
    if Tool::is_here("qemu-img") {
        judge_vhd(&home, &vhd);
    } else {
        eprintln!("left out: `qemu-img` is not installed");
    }
    let small = [
        "rootfs",
        "build",
        &source,
        "--output",
        "small.ext4",
        "--size",
        "16M",
    ];
    let fitting = run(&home, &small);
    assert!(fitting.code == Some(0) || fitting.stderr_text().contains("--size"));
}

/// `qemu-img` sees the size and the bytes that the raw disk has.
fn judge_vhd(home: &Home, vhd: &Path) {
    let info = Tool::new("qemu-img")
        .args(["info", "-f", "vpc", "--output=json"])
        .arg(vhd)
        .output_text()
        .unwrap();
    let info: serde_json::Value = serde_json::from_str(&info).unwrap();
    assert_eq!(info["format"], "vpc", "{info}");
    assert_eq!(info["virtual-size"].as_u64(), Some(1 << 30), "{info}");
    let converted = home.work_dir().join("converted.raw");
    Tool::new("qemu-img")
        .args(["convert", "-f", "vpc", "-O", "raw"])
        .arg(vhd)
        .arg(&converted)
        .ok()
        .unwrap();
    fsck::clean(&converted).unwrap();
}

#[test]
fn a_registry_with_a_password_and_a_certificate_of_its_own_is_pulled_from() {
    if let Some(program) = Registry::missing_program() {
        eprintln!("skipped: `{program}` is not installed");
        return;
    }
    let home = Home::new().unwrap();
    let folder = home.work_dir().join("registry");
    std::fs::create_dir(&folder).unwrap();
    let authority = TestAuthority::make(&folder).unwrap();
    let registry = Registry::start(&folder, Access::Password, Some(&authority)).unwrap();
    let source = layout(&home, "one");
    registry
        .fill(&format!("{source}:latest"), "team/tool:1")
        .unwrap();
    let reference = registry.reference("team/tool:1");
    let auth = home.work_dir().join("auth.json");
    let pull = |certificate: &Path, login: &str| {
        std::fs::write(&auth, login).unwrap();
        program(&home, &["image", "pull", &reference])
            .env("SSL_CERT_FILE", certificate)
            .env("REGISTRY_AUTH_FILE", &auth)
            .run()
            .unwrap()
    };
    let login = |password: &str| {
        format!(
            r#"{{"auths":{{"{}":{{"username":"{}","password":"{password}"}}}}}}"#,
            registry.address(),
            Registry::USER
        )
    };
    let refused = pull(&authority.certificate(), &login("guess"));
    assert_eq!(refused.code, Some(1));
    assert!(!refused.stderr_text().contains("guess"));
    let anonymous = pull(&authority.certificate(), "{}");
    assert!(
        anonymous.stderr_text().contains("log in"),
        "{}",
        anonymous.stderr_text()
    );

    let pulled = pull(&authority.certificate(), &login(Registry::PASSWORD))
        .expect_code(0)
        .unwrap();
    let printed = pulled.stdout_text();
    assert!(
        printed.starts_with(&format!("{reference}@sha256:")),
        "{printed}"
    );
    let images = list(&home);
    assert_eq!(images[0]["reference"], reference);
    assert_eq!(images[0]["source"], "registry");
    assert!(images[0]["layersBytes"].as_u64() > Some(0));

    // Nobody is asked any more, and the layers go with the image.
    let disk = home.work_dir().join("disk.ext4");
    let line = [
        "rootfs",
        "build",
        &reference,
        "--output",
        disk.to_str().unwrap(),
    ];
    ok(&home, &line);
    fsck::clean(&disk).unwrap();
    ok(&home, &["image", "delete", &reference]);
    let blobs = home.state_dir().join("images/blobs");
    let left: Vec<_> = std::fs::read_dir(blobs)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name != "lock")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_proxy_of_the_environment_is_used_and_a_loopback_registry_is_asked_directly() {
    if let Some(program) = Registry::missing_program() {
        eprintln!("skipped: `{program}` is not installed");
        return;
    }
    let home = Home::new().unwrap();
    let folder = home.work_dir().join("registry");
    std::fs::create_dir(&folder).unwrap();
    let registry = Registry::start(&folder, Access::Anybody, None).unwrap();
    let source = layout(&home, "one");
    registry
        .fill(&format!("{source}:latest"), "team/tool:1")
        .unwrap();
    // The proxy is a port on which nobody listens.
    let nobody = "http://127.0.0.1:9";
    program(
        &home,
        &["image", "pull", &registry.reference("team/tool:1")],
    )
    .env("HTTPS_PROXY", nobody)
    .env("HTTP_PROXY", nobody)
    .run()
    .unwrap()
    .expect_code(0)
    .unwrap();
}

#[test]
fn a_registry_that_nobody_is_at_is_unavailable_and_may_be_tried_again() {
    let home = Home::new().unwrap();
    let failed = run(&home, &["image", "pull", "127.0.0.1:9/team/tool", "--json"]);
    assert_eq!(failed.code, Some(75), "{}", failed.stdout_text());
    let error = &failed.json().unwrap()["images"][0]["error"];
    assert_eq!(error["kind"], "unavailable");
    assert_eq!(error["retryable"], true);
}
