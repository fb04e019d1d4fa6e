//! The document of a run, field by field.

use super::{document, fault};
use crate::args::{Command, Parsed, parse};
use crate::commands::run::settings::{RunPlan, ask, resolve};
use crate::commands::session::streams::Capture;
use crate::printer::Format;
use microagent_types::{ByteSize, Digest, SignalName, Timestamp};
use microagent_workspace::guest_session::SessionSink as _;
use microagent_workspace::run::RunTimings;
use microagent_workspace::{CommandEnd, CommandOutcome, RunReport};
use std::ffi::OsString;

fn plan() -> RunPlan {
    let words = [
        "microagent",
        "run",
        "--timeout",
        "5s",
        "oci:./image",
        "pyhton",
    ]
    .map(OsString::from);
    let Parsed::Command(cli) = parse(&words).parsed else {
        panic!()
    };
    let Command::Run(args) = cli.command else {
        panic!()
    };
    let (asked, own) = ask(*args).unwrap();
    resolve(asked, own, Format::Json).unwrap()
}

fn report(end: CommandEnd) -> RunReport {
    RunReport {
        workspace: "run-calm-otter-0a1b".parse().unwrap(),
        kept: false,
        image_reference: "oci:./image".to_owned(),
        image_digest: format!("sha256:{}", "0".repeat(64))
            .parse::<Digest>()
            .unwrap(),
        backend: "qemu".parse().unwrap(),
        accelerator: Some("emulation".to_owned()),
        argv: vec!["pyhton".to_owned()],
        outcome: CommandOutcome {
            end,
            stdout_bytes: 6,
            stderr_bytes: 2,
            incomplete: false,
            started_at: Timestamp::from_unix_ms(1000),
            ended_at: Timestamp::from_unix_ms(1250),
        },
        copied_out: Vec::new(),
        timings: RunTimings {
            build_ms: Some(7),
            boot_ms: Some(100),
            total_ms: 400,
            ..RunTimings::default()
        },
    }
}

#[test]
fn a_document_has_every_field_also_when_it_does_not_apply() {
    let mut capture = Capture::new(ByteSize::from_bytes(4));
    capture.stdout(b"hello\n").unwrap();
    capture.stderr(b"\xff\n").unwrap();
    let document = document(&report(CommandEnd::Exited { code: 3 }), &capture, &plan());
    insta::assert_snapshot!(format!("{document:#}"));
}

#[test]
fn each_end_has_its_word_and_only_one_of_code_and_signal() {
    let ends = [
        (CommandEnd::Exited { code: 0 }, "exited"),
        (
            CommandEnd::Signaled {
                signal: SignalName::KILL,
            },
            "signaled",
        ),
        (CommandEnd::TimedOut, "timed_out"),
        (
            CommandEnd::NotStarted {
                errno: 2,
                message: "m".to_owned(),
            },
            "not_started",
        ),
    ];
    let capture = Capture::new(ByteSize::from_mib(1));
    for (end, word) in ends {
        let document = document(&report(end.clone()), &capture, &plan());
        assert_eq!(document["outcome"], word);
        let failed = matches!(end, CommandEnd::TimedOut | CommandEnd::NotStarted { .. });
        assert_eq!(document["error"].is_object(), failed, "{word}");
        assert!(document["exitCode"].is_null() || document["signal"].is_null());
    }
    let killed = document(
        &report(CommandEnd::Signaled {
            signal: SignalName::KILL,
        }),
        &capture,
        &plan(),
    );
    assert_eq!(killed["signal"], "SIGKILL");
}

#[test]
fn a_program_that_is_missing_and_one_that_is_no_program_are_told_apart() {
    let text = |errno, word: &str| {
        let end = CommandEnd::NotStarted {
            errno,
            message: "no such file".to_owned(),
        };
        let mut report = report(end);
        report.argv = vec![word.to_owned()];
        let fault = fault(&report, &plan()).unwrap();
        (fault.message, fault.hint.unwrap())
    };
    let (message, hint) = text(2, "pyhton");
    assert_eq!(message, "`pyhton` was not found in `oci:./image`");
    assert_eq!(hint, "look with: microagent run oci:./image ls /usr/bin");
    assert_eq!(
        text(13, "/etc/passwd").0,
        "`/etc/passwd` in `oci:./image` cannot be executed"
    );
    assert_eq!(
        text(2, "-it").1,
        "flags go before the image: microagent run -it oci:./image"
    );
}

#[test]
fn a_timeout_names_its_limit() {
    let fault = fault(&report(CommandEnd::TimedOut), &plan()).unwrap();
    assert_eq!(
        fault.message,
        "the command did not end within 5 s and was ended"
    );
}
