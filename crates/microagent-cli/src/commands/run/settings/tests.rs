//! What the words of `run` come to.

use super::{RunPlan, ask, resolve};
use crate::args::{Command, Parsed, parse};
use crate::commands::session::streams::Stdin;
use crate::error::Failure;
use crate::printer::Format;
use microagent_types::ByteSize;
use microagent_workspace::{Keep, Profile};
use std::ffi::OsString;
use std::time::Duration;

fn plan(line: &[&str]) -> Result<RunPlan, Failure> {
    let words: Vec<OsString> = ["microagent", "run"]
        .iter()
        .chain(line)
        .map(OsString::from)
        .collect();
    let Parsed::Command(cli) = parse(&words).parsed else {
        panic!("{line:?} was refused by the parser")
    };
    let Command::Run(args) = cli.command else {
        panic!("{line:?} is another command")
    };
    let (asked, own) = ask(*args)?;
    resolve(asked, own, Format::Text)
}

fn refusal(line: &[&str]) -> (String, String) {
    let failure = plan(line).unwrap_err();
    let fault = failure.fault().unwrap().clone();
    (fault.message, fault.hint.unwrap_or_default())
}

#[test]
fn every_default_is_filled_in() {
    let plan = plan(&["oci:./image", "ls"]).unwrap();
    let settings = &plan.settings;
    assert_eq!(settings.image.to_string(), "oci:./image");
    assert_eq!(settings.workload.command, ["ls"]);
    assert_eq!(settings.size.profile, Profile::Medium);
    assert_eq!((settings.timeout, settings.ready_timeout), (None, None));
    assert_eq!(settings.keep, Keep::Nothing);
    assert_eq!(plan.attachment.stdin, Stdin::EndOfFile);
    assert_eq!(settings.output_limit_bytes, None);
}

#[test]
fn one_double_dash_after_the_image_is_dropped_and_no_other() {
    let command = |line: &[&str]| plan(line).unwrap().settings.workload.command;
    assert_eq!(
        command(&["oci:x", "--", "ls", "--", "-l"]),
        ["ls", "--", "-l"]
    );
    assert_eq!(command(&["oci:x", "ls", "--", "-l"]), ["ls", "--", "-l"]);
    assert_eq!(command(&["oci:x", "--", "--", "x"]), ["--", "x"]);
    assert_eq!(
        command(&["--image", "oci:x", "sh", "--", "x"]),
        ["sh", "--", "x"]
    );
    assert_eq!(command(&["--image", "oci:x", "--", "ls"]), ["ls"]);
}

#[test]
fn an_empty_entrypoint_clears_and_a_word_replaces() {
    let entrypoint = |line: &[&str]| plan(line).unwrap().settings.workload.entrypoint;
    assert_eq!(entrypoint(&["oci:x"]), None);
    assert_eq!(entrypoint(&["--entrypoint", "", "oci:x"]), Some(Vec::new()));
    assert_eq!(
        entrypoint(&["--entrypoint", "/bin/x y", "oci:x"]),
        Some(vec!["/bin/x y".to_owned()])
    );
}

#[test]
fn flags_reach_the_request() {
    let plan = plan(&[
        "-i",
        "-m",
        "1.5G",
        "--cpus",
        "1",
        "-e",
        "A=b",
        "-e",
        "B=c",
        "-l",
        "team=web",
        "--timeout",
        "5s",
        "--ready-timeout",
        "0",
        "--keep",
        "--mediation",
        "2048=127.0.0.1:9900",
        "--mediation-optional",
        "-p",
        "8080:80",
        "--network",
        "isolated",
        "-w",
        "/srv",
        "-u",
        "app",
        "oci:x",
    ])
    .unwrap();
    let settings = &plan.settings;
    assert_eq!(settings.size.memory, Some(ByteSize::from_mib(1536)));
    assert_eq!(settings.workload.env.get("A"), Some("b"));
    assert_eq!(settings.workload.env.get("B"), Some("c"));
    assert_eq!(settings.labels.len(), 1);
    assert_eq!(settings.timeout, Some(Duration::from_secs(5)));
    assert_eq!(settings.ready_timeout, None);
    assert_eq!(settings.keep, Keep::Halted);
    let mediation = settings.network.mediation.as_ref().unwrap();
    assert_eq!((mediation.port.get(), mediation.required), (2048, false));
    assert_eq!(settings.network.publish.len(), 1);
    assert_eq!(settings.workload.user.as_deref(), Some("app"));
    assert_eq!(plan.attachment.stdin, Stdin::Passed);
    assert_eq!(plan.attachment.tty, None);
}

#[test]
fn what_is_no_image_is_refused_with_the_form_that_fits() {
    assert_eq!(
        refusal(&["./image", "ls"]),
        (
            "`./image` is not an image reference".to_owned(),
            "a file or folder needs a prefix: oci:, oci-archive:, docker-archive: or rootfs:, \
             for example `oci:./image`"
                .to_owned()
        )
    );
    assert!(
        refusal(&["base.tar.gz"])
            .1
            .ends_with("for example `rootfs:base.tar.gz`")
    );
    assert_eq!(refusal(&[]).0, "run needs an image");
}

#[test]
fn labels_are_checked() {
    assert_eq!(refusal(&["-l", "team", "oci:x"]).0, "`team` is not a label");
    assert_eq!(
        refusal(&["-l", "_x=1", "oci:x"]).0,
        "`_x` is not a label key"
    );
    let long = format!("k={}", "x".repeat(257));
    assert_eq!(
        refusal(&["-l", &long, "oci:x"]).0,
        "the value of label `k` has 257 bytes"
    );
    let fits = format!("k={}", "x".repeat(256));
    assert!(plan(&["-l", &fits, "oci:x"]).is_ok());
}

#[test]
fn more_cpus_than_the_host_has_are_worth_a_note() {
    let host = std::thread::available_parallelism().unwrap().get();
    assert!(plan(&["--cpus", "1", "oci:x"]).unwrap().notes.is_empty());
    if host < 32 {
        assert_eq!(plan(&["--cpus", "32", "oci:x"]).unwrap().notes.len(), 1);
    }
}
