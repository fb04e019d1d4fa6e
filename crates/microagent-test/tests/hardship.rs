//! Records that are damaged, torn, of a newer release or of another time, and eight callers that ask for
//! everything at once: errors say what is wrong, the damaged file is kept, and one VM is one VM.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test starts programs and looks at files from outside, and unwraps as tests do"
)]

use microagent_state::event_chain::line_hash;
use microagent_test::supervised::Supervised;
use serde_json::Value;
use std::path::Path;

const SUPERVISOR: &str = env!("CARGO_BIN_EXE_microagent-fake-supervisor");
/// What reads a record and must not write over one that it can't read.
const READING: [&str; 8] = [
    "inspect",
    "start",
    "halt",
    "stop",
    "kill",
    "pause",
    "resume",
    "quarantine",
];

/// What becomes of a record's bytes.
type Damage = fn(Vec<u8>) -> Vec<u8>;

const DAMAGES: [(&str, Damage); 4] = [
    ("cut in half", |mut bytes| {
        bytes.truncate(bytes.len() / 2);
        bytes
    }),
    ("empty", |_| Vec::new()),
    ("no JSON", |bytes| vec![0; bytes.len()]),
    ("another shape", |_| {
        b"{\"schema\":1,\"state\":7}\n".to_vec()
    }),
];

fn prepared() -> Supervised {
    let home = Supervised::new(SUPERVISOR);
    home.ok("prepare");
    home
}

fn damaged(file: &Path, damage: impl Fn(Vec<u8>) -> Vec<u8>) -> Vec<u8> {
    let bytes = damage(std::fs::read(file).unwrap());
    std::fs::write(file, &bytes).unwrap();
    bytes
}

#[test]
fn a_damaged_workspace_record_is_told_kept_and_can_be_deleted() {
    for (what, damage) in DAMAGES {
        let home = prepared();
        let file = home.workspace().join("workspace.json");
        let bytes = damaged(&file, damage);
        for command in READING {
            assert_eq!(home.refused(command), "integrity", "{command}, {what}");
            assert_eq!(std::fs::read(&file).unwrap(), bytes, "{command}, {what}");
        }
        home.ok("delete");
        assert_eq!(home.workspaces(), 0, "{what}");
    }
}

#[test]
fn a_damaged_runtime_record_is_moved_aside_by_reconcile_only() {
    for (what, damage) in DAMAGES {
        let home = prepared();
        let file = home.workspace().join("runtime.json");
        let bytes = damaged(&file, damage);
        for command in READING {
            assert_eq!(home.refused(command), "integrity", "{command}, {what}");
            assert_eq!(std::fs::read(&file).unwrap(), bytes, "{command}, {what}");
        }
        let repaired = home.ok("reconcile");
        assert_eq!(repaired["workspace"]["state"], "failed", "{what}");
        assert_eq!(repaired["workspace"]["reason"], "record_lost", "{what}");
        let aside = home.workspace().join("runtime.json.corrupt.1");
        assert_eq!(std::fs::read(aside).unwrap(), bytes, "{what}");
        home.goes_on(what);
    }
}

#[test]
fn records_of_a_newer_release_are_left_alone_by_everybody() {
    for name in ["workspace.json", "runtime.json"] {
        let home = prepared();
        let file = home.workspace().join(name);
        let before = std::fs::read(&file).unwrap();
        let bytes = damaged(&file, |bytes| {
            let text = String::from_utf8(bytes).unwrap();
            text.replacen("\"schema\": 1", "\"schema\": 2", 1)
                .into_bytes()
        });
        assert_ne!(bytes, before, "{name}");
        for command in READING {
            assert_eq!(home.refused(command), "integrity", "{command}, {name}");
            assert_eq!(std::fs::read(&file).unwrap(), bytes, "{command}, {name}");
        }
        std::fs::write(&file, &before).unwrap();
        home.goes_on(name);
    }
}

#[test]
fn a_torn_last_line_of_the_history_is_kept_aside_and_the_history_goes_on() {
    let home = prepared();
    let history = home.workspace().join("events.jsonl");
    let mut bytes = std::fs::read(&history).unwrap();
    bytes.extend(b"{\"seq\":2,\"ti");
    std::fs::write(&history, &bytes).unwrap();
    home.ok("start");
    home.ok("kill");
    let torn = std::fs::read(home.workspace().join("events.torn.1")).unwrap();
    assert_eq!(torn, b"{\"seq\":2,\"ti");
    home.goes_on("a torn line");
}

#[test]
fn an_edited_history_is_kept_as_it_is_and_does_not_stand_in_the_way() {
    let home = prepared();
    home.ok("start");
    home.ok("kill");
    let history = home.workspace().join("events.jsonl");
    let edited = damaged(&history, |bytes| {
        let text = String::from_utf8(bytes).unwrap();
        text.replacen("start_requested", "start_requesten", 1)
            .into_bytes()
    });
    home.ok("start");
    home.ok("halt");
    let after = std::fs::read(&history).unwrap();
    assert_eq!(&after[..edited.len()], edited, "what was there is there");
    home.ok("delete");
}

#[test]
fn a_clock_that_jumped_back_changes_nothing() {
    let home = prepared();
    home.ok("start");
    home.ok("kill");
    for name in ["workspace.json", "runtime.json"] {
        damaged(&home.workspace().join(name), |bytes| {
            let mut text = String::from_utf8(bytes).unwrap();
            let year = text.find("\"20").unwrap();
            let now = text[year + 1..year + 5].to_owned();
            text = text.replace(&format!("\"{now}-"), "\"2999-");
            text.into_bytes()
        });
    }
    // An event of the future, chained as the clock of then would have had it.
    let history = home.workspace().join("events.jsonl");
    let text = std::fs::read_to_string(&history).unwrap();
    let last = text.lines().next_back().unwrap();
    let event: Value = serde_json::from_str(last).unwrap();
    let time = event["time"].as_str().unwrap();
    let (seq, prev) = (
        event["seq"].as_u64().unwrap(),
        event["prev"].as_str().unwrap(),
    );
    let line = last
        .replacen(
            &format!("\"seq\":{seq}"),
            &format!("\"seq\":{}", seq + 1),
            1,
        )
        .replacen(time, "2999-01-01T00:00:00.000Z", 1)
        .replacen(prev, &line_hash(last.as_bytes()).to_string(), 1);
    std::fs::write(&history, format!("{text}{line}\n")).unwrap();
    let inspected = home.ok("inspect");
    assert_eq!(inspected["workspace"]["state"], "stopped");
    home.goes_on("a clock that jumped back");
}

/// Eight callers, each with a fixed list of commands that looks random.
#[test]
fn eight_callers_with_random_verbs_leave_one_sound_workspace() {
    const CALLERS: u64 = 8;
    const ROUNDS: u64 = 12;
    const VERBS: [&str; 9] = [
        "start",
        "start",
        "halt",
        "stop",
        "kill",
        "pause",
        "resume",
        "quarantine",
        "inspect",
    ];
    let home = prepared();
    let id = home.ok("inspect")["workspace"]["id"].clone();
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let home = &home;
            scope.spawn(move || {
                let mut dice = caller + 1;
                for round in 0..ROUNDS {
                    dice = dice
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    let index = usize::try_from(dice >> 33).unwrap() % VERBS.len();
                    let verb = VERBS[index];
                    let answer = home.ask(verb);
                    let kind = answer["error"]["kind"].as_str();
                    assert!(
                        matches!(kind, None | Some("wrong_state" | "busy")),
                        "caller {caller}, round {round}, {verb}: {answer:#}"
                    );
                }
            });
        }
    });
    home.ok("kill");
    let end = home.ok("inspect");
    assert!(end["workspace"]["vm"].is_null(), "{end:#}");
    // Every boot was begun by one start, and ended.
    let history = std::fs::read_to_string(home.workspace().join("events.jsonl")).unwrap();
    let count = |kind: &str| history.matches(&format!("\"type\":\"{kind}\"")).count();
    assert_eq!(count("start_requested") as u64, boots(&home), "{history}");
    assert!(count("vm_started") <= count("start_requested"));
    home.assert_sound(&id, "eight callers");
    home.goes_on("eight callers");
}

fn boots(home: &Supervised) -> u64 {
    let record = std::fs::read(home.workspace().join("runtime.json")).unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    record["bootCount"].as_u64().unwrap()
}
