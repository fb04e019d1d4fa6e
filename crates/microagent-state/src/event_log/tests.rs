use serde_json::Value;

use super::*;
use crate::event_chain::ChainFault;
use crate::workspace_folder::tests::home;
use crate::workspace_record::tests::workspace_record;

const SMALL: LogLimits = LogLimits {
    segment_bytes_max: 2000,
    segments_max: 3,
};

fn log(paths: &WorkspacePaths) -> EventLog {
    EventLog::new(paths, workspace_record().id)
}

fn append(log: &EventLog, number: u64) -> Event {
    let event = NewEvent::new(EventType::SessionOpened).with("number", number);
    log.append(event, Durability::ByType).unwrap()
}

fn kinds(log: &EventLog) -> Vec<String> {
    log.last(1000)
        .unwrap()
        .into_iter()
        .map(|event| event.kind)
        .collect()
}

fn write_raw(paths: &WorkspacePaths, bytes: &[u8]) {
    use std::io::Write;
    fs::open_append(&paths.events())
        .unwrap()
        .write_all(bytes)
        .unwrap();
}

#[test]
fn events_are_numbered_and_chained_across_writers() {
    let (_root, paths) = home();
    for number in 1..=20 {
        // A new value each time: nothing is remembered between two appends.
        assert_eq!(append(&log(&paths), number).seq, number);
    }
    let report = log(&paths).verify().unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(
        (report.lines, report.first_seq, report.last_seq),
        (20, Some(1), Some(20))
    );
}

#[test]
fn concurrent_writers_leave_one_sound_history() {
    let (_root, paths) = home();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..25).for_each(|number| drop(append(&log(&paths), number))));
        }
    });
    let report = log(&paths).verify().unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(report.lines, 100);
}

#[test]
fn sha256sum_agrees_with_the_file() {
    let (_root, paths) = home();
    (0..3).for_each(|number| drop(append(&log(&paths), number)));
    let text = std::fs::read_to_string(paths.events()).unwrap();
    let mut prev =
        crate::event_chain::tests::sha256sum(workspace_record().id.to_string().as_bytes());
    for line in text.lines() {
        assert!(line.ends_with(&format!("\"prev\":\"{prev}\"}}")), "{line}");
        prev = crate::event_chain::tests::sha256sum(line.as_bytes());
    }
}

#[test]
fn a_torn_last_line_is_kept_aside_at_every_cut() {
    let (_root, whole) = home();
    append(&log(&whole), 1);
    append(&log(&whole), 2);
    let bytes = std::fs::read(whole.events()).unwrap();
    let first_end = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for cut in first_end + 1..bytes.len() - 1 {
        let (_root, paths) = home();
        std::fs::write(paths.events(), &bytes[..cut]).unwrap();
        let appended = append(&log(&paths), 3);
        let torn = &bytes[first_end..cut];
        assert_eq!(std::fs::read(paths.events_torn(1)).unwrap(), torn, "{cut}");
        assert_eq!(
            kinds(&log(&paths)),
            ["session_opened", "log_repaired", "session_opened"]
        );
        let repaired = &log(&paths).last(2).unwrap()[0];
        assert_eq!(repaired.data["bytes"], torn.len() as u64);
        assert_eq!(repaired.data["sha256"], line_hash(torn).to_string());
        assert_eq!(repaired.data["file"], "events.torn.1");
        assert_eq!(appended.seq, 3);
        assert!(log(&paths).verify().unwrap().is_sound(), "{cut}");
    }
}

#[test]
fn a_whole_line_that_only_lacks_its_end_is_completed() {
    let (_root, paths) = home();
    append(&log(&paths), 1);
    append(&log(&paths), 2);
    let bytes = std::fs::read(paths.events()).unwrap();
    std::fs::write(paths.events(), &bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(append(&log(&paths), 3).seq, 3);
    assert_eq!(kinds(&log(&paths)), ["session_opened"; 3]);
    assert!(!paths.events_torn(1).exists());
    assert!(log(&paths).verify().unwrap().is_sound());
}

#[test]
fn a_torn_first_line_is_kept_aside_too() {
    let (_root, paths) = home();
    write_raw(&paths, b"{\"seq\":1,\"ti");
    log(&paths).repair().unwrap();
    assert_eq!(kinds(&log(&paths)), ["log_repaired"]);
    assert!(log(&paths).verify().unwrap().is_sound());
    assert_eq!(
        std::fs::read(paths.events_torn(1)).unwrap(),
        b"{\"seq\":1,\"ti"
    );
}

#[test]
fn two_torn_tails_have_two_names() {
    let (_root, paths) = home();
    for (number, tail) in [(1, "{\"a"), (2, "{\"b")] {
        append(&log(&paths), 1);
        write_raw(&paths, tail.as_bytes());
        log(&paths).repair().unwrap();
        assert_eq!(
            std::fs::read_to_string(paths.events_torn(number)).unwrap(),
            tail
        );
    }
    assert!(log(&paths).verify().unwrap().is_sound());
}

#[test]
fn a_last_line_that_is_no_event_is_closed_as_it_is_and_named() {
    let (_root, paths) = home();
    append(&log(&paths), 1);
    append(&log(&paths), 2);
    write_raw(&paths, b"not an event\n");
    let appended = append(&log(&paths), 3);
    assert_eq!(appended.seq, 5);
    let closed = std::fs::read_to_string(paths.events_segment(1)).unwrap();
    assert!(closed.ends_with("not an event\n"));
    let damaged = &log(&paths).last(2).unwrap()[0];
    assert_eq!(damaged.kind, "history_damaged");
    assert_eq!(damaged.prev, line_hash(b"not an event"));
    let report = log(&paths).verify().unwrap();
    assert_eq!(report.faults, [ChainFault::Unreadable { line: 3 }]);
}

#[test]
fn damage_before_the_last_line_is_stepped_over_and_stays_named() {
    let (_root, paths) = home();
    (1..=5).for_each(|number| drop(append(&log(&paths), number)));
    let text = std::fs::read_to_string(paths.events()).unwrap();
    let edited = text.replace("\"number\":2", "\"number\":7");
    std::fs::write(paths.events(), &edited).unwrap();
    assert_eq!(append(&log(&paths), 6).seq, 6);
    assert!(
        std::fs::read_to_string(paths.events())
            .unwrap()
            .starts_with(&edited)
    );
    let report = log(&paths).verify().unwrap();
    assert_eq!(report.faults, [ChainFault::Altered { seq: 2, line: 2 }]);
}

#[test]
fn segments_are_closed_at_the_limit_and_the_oldest_is_pruned_with_a_summary() {
    let (_root, paths) = home();
    let log = EventLog::with_limits(&paths, workspace_record().id, SMALL);
    let created = NewEvent::new(EventType::Created).state(microagent_machine::State::PREPARED);
    log.append(created, Durability::ByType).unwrap();
    for number in 2..=120 {
        append(&log, number);
        let report = log.verify().unwrap();
        assert!(report.is_sound(), "{number}: {report:?}");
    }
    let segments = read::segments(&paths).unwrap();
    assert_eq!(segments.len(), SMALL.segments_max);
    for segment in segments.iter().chain([&paths.events()]) {
        assert!(fs::metadata(segment).unwrap().len() <= SMALL.segment_bytes_max + 2000);
    }
    let report = log.verify().unwrap();
    assert!(report.first_seq.unwrap() > 1);
    let pruned: Vec<Event> = log
        .last(1000)
        .unwrap()
        .into_iter()
        .filter(|event| event.kind == "history_pruned")
        .collect();
    let last = pruned.last().unwrap();
    assert_eq!(last.data["lastSeq"], report.first_seq.unwrap() - 1);
    assert!(last.data["counts"]["session_opened"].as_u64().unwrap() > 0);
}

#[test]
fn a_pruned_segment_leaves_its_state_changes() {
    let (_root, paths) = home();
    let log = EventLog::with_limits(&paths, workspace_record().id, SMALL);
    for _ in 0..6 {
        let event = NewEvent::new(EventType::Ready).state(microagent_machine::State::PREPARED);
        log.append(event, Durability::Now).unwrap();
    }
    let summary = prune::summary(&paths.events()).unwrap();
    let states = summary.data["states"].as_array().unwrap();
    assert_eq!(states.len(), 6);
    assert_eq!(states[0][0], 1);
    assert_eq!(states[5][2], "prepared");
    let line = summary.at(1, clock::now(), line_hash(b"")).to_line();
    assert!(!String::from_utf8(line).unwrap().contains("\"cut\""));
}

#[test]
fn reading_from_a_number_begins_behind_it_also_in_a_closed_segment() {
    let (_root, paths) = home();
    let log = EventLog::with_limits(&paths, workspace_record().id, SMALL);
    (1..=30).for_each(|number| drop(append(&log, number)));
    let first = log.verify().unwrap().first_seq.unwrap();
    let last = log.verify().unwrap().last_seq.unwrap();
    for after in first..=last {
        let seqs: Vec<u64> = log
            .lines(ReadFrom::After(after))
            .unwrap()
            .map(|line| Event::from_line(&line.unwrap()).unwrap().seq)
            .collect();
        assert_eq!(seqs, (after + 1..=last).collect::<Vec<_>>());
    }
    assert_eq!(
        log.last(3)
            .unwrap()
            .iter()
            .map(|event| event.seq)
            .collect::<Vec<_>>(),
        [last - 2, last - 1, last]
    );
    assert_eq!(log.last(0).unwrap(), []);
}

#[test]
fn an_empty_history_is_sound_and_reads_as_nothing() {
    let (_root, paths) = home();
    assert!(log(&paths).verify().unwrap().is_sound());
    assert_eq!(log(&paths).last(5).unwrap(), []);
    log(&paths).sync().unwrap();
}

#[test]
fn a_new_file_after_a_crash_in_a_rotation_continues_the_closed_one() {
    let (_root, paths) = home();
    (1..=3).for_each(|number| drop(append(&log(&paths), number)));
    std::fs::rename(paths.events(), paths.events_segment(1)).unwrap();
    assert_eq!(append(&log(&paths), 4).seq, 4);
    assert!(log(&paths).verify().unwrap().is_sound());
}

#[test]
fn what_is_answered_is_what_stands_in_the_file() {
    let (_root, paths) = home();
    let event = NewEvent::new(EventType::Reconciled).with("text", "x".repeat(200_000));
    let answered = log(&paths).append(event, Durability::ByType).unwrap();
    assert_eq!(answered.data["cut"], Value::Bool(true));
    assert_eq!(log(&paths).last(1).unwrap(), [answered]);
}

#[cfg(feature = "crash-points")]
mod crashes {
    use microagent_os::process::{Conversation, Exit, Spawn, current_executable};

    use super::*;
    use crate::paths::StateDirectory;

    /// Appends until rotation and pruning have happened, in a process of its own.
    fn child(root: &std::path::Path, variable: &str, value: &str) -> Exit {
        let spawn = Spawn::new(current_executable().unwrap())
            .arguments([
                "--exact",
                "event_log::tests::crashes::child_of_the_crash_test",
            ])
            .variable("CHILD_STATE", root.join("s"))
            .variable(variable, value);
        let limits = Conversation {
            limit: Duration::from_mins(1),
            stdout_bytes_max: 10_000,
            stderr_bytes_max: 10_000,
        };
        limits.hold(spawn, Vec::new()).unwrap().exit
    }

    #[test]
    fn child_of_the_crash_test() {
        let Ok(state) = std::env::var("CHILD_STATE") else {
            return;
        };
        let paths =
            StateDirectory::at(&state.parse().unwrap()).workspace(&"scout".parse().unwrap());
        let log = EventLog::with_limits(&paths, workspace_record().id, SMALL);
        write_raw(&paths, b"{\"torn");
        for number in 0..70u64 {
            let event = NewEvent::new(EventType::Ready).with("number", number);
            log.append(event, Durability::Now).unwrap();
        }
    }

    #[test]
    fn an_append_that_crashes_anywhere_leaves_a_history_that_goes_on() {
        let (root, _paths) = home();
        let points_file = root.path().join("points");
        let exit = child(
            root.path(),
            "MICROAGENT_TEST_CRASH_LOG",
            points_file.to_str().unwrap(),
        );
        assert!(exit.is_success());
        let mut counts = std::collections::BTreeMap::<String, u32>::new();
        for name in std::fs::read_to_string(points_file).unwrap().lines() {
            *counts.entry(name.to_owned()).or_default() += 1;
        }
        for name in [
            "event.half_written",
            "repair.kept_aside",
            "rotate.renamed",
            "prune.recorded",
        ] {
            assert!(counts.contains_key(name), "{counts:?}");
        }
        for (name, count) in counts {
            // The first, the last and one between say as much as all.
            for pass in std::collections::BTreeSet::from([1, count.div_ceil(2), count]) {
                let (root, paths) = home();
                let point = format!("{name}:{pass}");
                let exit = child(root.path(), "MICROAGENT_TEST_CRASH_AT", &point);
                assert_eq!(exit, Exit::Signal(6), "{point}");
                let log = EventLog::with_limits(&paths, workspace_record().id, SMALL);
                append(&log, 1);
                append(&log, 2);
                let report = log.verify().unwrap();
                assert!(report.is_sound(), "{point}: {report:?}");
                assert_eq!(
                    std::fs::read(paths.events_torn(1)).unwrap(),
                    b"{\"torn",
                    "{point}"
                );
            }
        }
    }
}
