//! What is typed and what it comes to: each table row is a command line.

use std::ffi::OsString;

use super::{Cli, Command, Parse, Parsed, parse};
use microagent_wire::fault::{Fault, FaultKind};

fn words(line: &[&str]) -> Vec<OsString> {
    ["microagent"]
        .iter()
        .chain(line)
        .map(OsString::from)
        .collect()
}

fn accepted(line: &[&str]) -> Cli {
    match parse(&words(line)).parsed {
        Parsed::Command(cli) => *cli,
        other => panic!("{line:?}: {other:?}"),
    }
}

fn refused(line: &[&str]) -> Fault {
    match parse(&words(line)).parsed {
        Parsed::Refused(fault) => *fault,
        other => panic!("{line:?}: {other:?}"),
    }
}

fn run_words(line: &[&str]) -> Vec<String> {
    match accepted(line).command {
        Command::Run(args) => args
            .words
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_definition_is_sound() {
    super::definition().debug_assert();
}

#[test]
fn global_flags_stand_before_and_after_the_command_and_the_later_wins() {
    let cli = accepted(&[
        "--json",
        "--backend",
        "qemu",
        "doctor",
        "--backend",
        "firecracker",
        "-vv",
    ]);
    assert!(cli.global.json);
    assert_eq!(cli.global.backend.as_deref(), Some("firecracker"));
    assert_eq!(cli.global.verbose, 2);
}

#[test]
fn a_flag_given_twice_is_no_mistake() {
    let Command::Run(args) =
        accepted(&["run", "--memory", "1G", "-m", "2G", "-i", "-i", "x"]).command
    else {
        panic!()
    };
    assert_eq!(args.workspace.memory.unwrap().bytes(), 2 << 30);
}

#[test]
fn the_first_word_ends_the_flags_of_run() {
    assert_eq!(
        run_words(&["run", "-i", "img", "ls", "-l", "--json", "-v"]),
        ["img", "ls", "-l", "--json", "-v"]
    );
    assert_eq!(
        run_words(&["run", "img", "--", "ls", "--", "x"]),
        ["img", "--", "ls", "--", "x"]
    );
    assert_eq!(run_words(&["run", "--", "img", "-x"]), ["img", "-x"]);
    assert_eq!(
        run_words(&["run", "--image", "img", "--", "-x", "--json"]),
        ["-x", "--json"]
    );
    assert!(!accepted(&["run", "img", "--json"]).global.json);
}

#[test]
fn json_counts_in_front_of_the_guests_words_and_nowhere_else() {
    let json = |line: &[&str]| -> bool {
        let Parse { json, .. } = parse(&words(line));
        json
    };
    assert!(json(&["--json", "strat"]));
    assert!(json(&["strat", "--json"]));
    assert!(json(&["run", "--memory", "512", "--json"]));
    assert!(json(&["run", "--nope", "--json", "img"]));
    assert!(!json(&["run", "img", "--json"]));
    assert!(!json(&["run", "-e", "--json", "img"]));
    assert!(!json(&["run", "--image", "img", "--", "--json"]));
    assert!(!json(&["run", "-ie", "A", "img", "--json"]));
    assert!(!json(&["run", "-itu", "--json", "img"]));
}

#[test]
fn a_misspelt_command_or_flag_is_answered_with_the_nearest() {
    let fault = refused(&["docter"]);
    assert_eq!(fault.message, "`docter` is not a microagent command");
    assert_eq!(
        fault.hint.as_deref(),
        Some("did you mean `doctor`? all commands: microagent --help")
    );
    let fault = refused(&["run", "--memroy", "1G", "img"]);
    assert_eq!(fault.message, "run has no flag `--memroy`");
    assert_eq!(
        fault.hint.as_deref(),
        Some("did you mean `--memory`? all flags: microagent run --help")
    );
}

#[test]
fn commands_and_flags_are_never_abbreviated() {
    assert_eq!(refused(&["doct"]).kind, FaultKind::Usage);
    assert_eq!(
        refused(&["run", "--mem", "1G", "img"]).kind,
        FaultKind::Usage
    );
}

/// Every refusal as it is read: the line, then message and hint.
#[test]
fn refusals_read_as_the_page_says() {
    let lines: [&[&str]; 21] = [
        &["run", "--memory", "512", "img"],
        &["run", "--disk-size", "8", "img"],
        &["run", "--memory", "lots", "img"],
        &["run", "--name", "Web_1", "img"],
        &["run", "--network", "host", "img"],
        &["run", "-p", "8080", "img"],
        &["run", "-p", "8000-8010:80", "img"],
        &["run", "-v", "./app:/work", "img"],
        &["run", "--mount", "type=bind", "img"],
        &["run", "--privileged", "img"],
        &["run", "--profile", "smal", "img"],
        &["run", "--cpus", "33", "img"],
        &["run", "--timeout", "-1s", "img"],
        &["run", "--keep", "--rm", "img"],
        &["run", "--image", "./app", "ls"],
        &["run", "--volume", "x", "img"],
        &["run", "--egress-allow", "x", "img"],
        &["snapshot", "web"],
        &["doctor", "now"],
        &["completions", "tcsh"],
        &["info"],
    ];
    let answers = lines.map(|line| {
        let fault = refused(line);
        assert_eq!(fault.kind, FaultKind::Usage, "{line:?}");
        let hint = fault.hint.unwrap_or_default();
        format!("{}\n  {}\n  {hint}\n", line.join(" "), fault.message)
    });
    insta::assert_snapshot!(answers.concat());
}

#[test]
fn a_short_v_before_an_image_is_only_verbosity() {
    assert_eq!(
        run_words(&["run", "-v", "oci:/images/app", "ls"]),
        ["oci:/images/app", "ls"]
    );
    assert_eq!(
        run_words(&["run", "-v", "rootfs:/x.tar", "-v", "a:/b"]),
        ["rootfs:/x.tar", "-v", "a:/b"]
    );
}

#[test]
fn the_top_level_help_is_grouped() {
    let Parsed::Text { plain, .. } = parse(&words(&["--help"])).parsed else {
        panic!()
    };
    insta::assert_snapshot!(plain);
}

#[test]
fn the_help_of_run_says_everything() {
    let Parsed::Text { plain, .. } = parse(&words(&["run", "--help"])).parsed else {
        panic!()
    };
    insta::assert_snapshot!(plain);
}

#[test]
fn nothing_typed_is_answered_with_the_short_help() {
    let Parsed::Nothing { help } = parse(&words(&[])).parsed else {
        panic!()
    };
    assert!(help.contains("Usage: microagent [FLAGS] COMMAND"), "{help}");
    assert!(matches!(
        parse(&words(&["--json"])).parsed,
        Parsed::Nothing { .. }
    ));
}
