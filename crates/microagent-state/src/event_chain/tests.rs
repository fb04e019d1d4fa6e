use proptest::prelude::*;

use super::*;
use crate::event_record::NewEvent;
use microagent_os::process::{Conversation, Spawn};

const ID: &str = "01956f10-7a3c-7b11-8c2e-5d0f3a9b6e21";

/// The outside judge.
pub(crate) fn sha256sum(bytes: &[u8]) -> String {
    let limits = Conversation {
        limit: std::time::Duration::from_secs(30),
        stdout_bytes_max: 1000,
        stderr_bytes_max: 1000,
    };
    let reply = limits
        .hold(Spawn::new("/usr/bin/sha256sum"), bytes.to_vec())
        .unwrap();
    assert!(reply.exit.is_success());
    String::from_utf8(reply.stdout).unwrap()[..64].to_owned()
}

fn id() -> WorkspaceId {
    ID.parse().unwrap()
}

/// A sound history of so many lines.
fn history(lines: usize) -> Vec<Vec<u8>> {
    let mut head = ChainHead::genesis(id());
    (0..lines)
        .map(|number| {
            let time = microagent_types::Timestamp::from_unix_ms(1_772_615_563_801);
            let event = NewEvent::new(EventType::SessionOpened)
                .with("number", number as u64)
                .with("first", "true")
                .at(head.next_seq, time, head.prev);
            let line = event.to_line();
            head = ChainHead::after(&line, &event);
            line
        })
        .collect()
}

fn verify(lines: &[Vec<u8>]) -> ChainReport {
    let mut verifier = ChainVerifier::new(id());
    for line in lines {
        verifier.line(line);
    }
    verifier.finish(b"")
}

#[test]
fn the_published_example_is_reproduced() {
    let first = br#"{"seq":1,"time":"2026-03-04T09:00:00.000Z","type":"created","state":"prepared","reason":"created","requestId":"r-1","initiator":{"channel":"cli","subject":"uid:1000"},"data":{"name":"scout","backend":"firecracker"},"prev":"3c41e58fc413c727778823f66bb4a94b732971bf8116fd7a3d468139d99ce9ea"}"#;
    let second = br#"{"seq":2,"time":"2026-03-04T09:02:00.101Z","type":"start_requested","state":"starting","reason":"start_requested","requestId":"r-2","bootId":"01956f12-0be1-7c40-9f3a-2f61d0a4c7b8","data":{"boot":1},"prev":"b7b7b35f7f8cdc1656401f043d501a4dc9eaacd1801e48a0cfa68a8a3a716366"}"#;
    let report = verify(&[first.to_vec(), second.to_vec()]);
    assert!(report.is_sound(), "{report:?}");
    let third = "13e0de4b3fa4c73455c613bbabc5a390e3d9277dc8c262b86b844fd3904efb8b";
    assert_eq!(report.last_hash.unwrap().to_string(), third);
    // Written by us, the second line is byte for byte the published one.
    let event = Event::from_line(second).unwrap();
    assert_eq!(event.to_line(), second);
}

#[test]
fn sha256sum_reproduces_the_chain() {
    let lines = history(5);
    let mut prev = sha256sum(ID.as_bytes());
    for line in &lines {
        assert_eq!(Event::from_line(line).unwrap().prev.to_string(), prev);
        prev = sha256sum(line);
    }
}

#[test]
fn a_sound_history_has_no_fault() {
    for length in [0, 1, 2, 200] {
        let report = verify(&history(length));
        assert!(report.is_sound(), "{report:?}");
        assert_eq!(report.lines, length as u64);
    }
}

#[test]
fn the_history_of_another_workspace_is_told() {
    let mut verifier = ChainVerifier::new("01956f40-1c22-7f00-8000-4a9b0c1d2e3f".parse().unwrap());
    for line in history(3) {
        verifier.line(&line);
    }
    assert_eq!(
        verifier.finish(b"").faults,
        [ChainFault::WrongBeginning { seq: 1 }]
    );
}

#[test]
fn every_flipped_byte_is_found_and_named() {
    let sound = history(6);
    for target in 0..sound.len() - 1 {
        for position in 0..sound[target].len() {
            for bit in [0x01, 0x04, 0x10] {
                let mut lines = sound.clone();
                lines[target][position] ^= bit;
                let report = verify(&lines);
                let line = target as u64 + 1;
                let named = report.faults.iter().any(|fault| {
                    matches!(fault, ChainFault::Altered { line: found, .. }
                        | ChainFault::Unreadable { line: found }
                        | ChainFault::LastLinkBroken { line: found, .. } if *found == line
                            || matches!(fault, ChainFault::LastLinkBroken { .. })
                                && *found == line + 1)
                }) || target == 0
                    && report.faults.contains(&ChainFault::WrongBeginning {
                        seq: report.first_seq.unwrap_or(1),
                    });
                let text = String::from_utf8_lossy(&lines[target]).into_owned();
                assert!(
                    named,
                    "line {line}, byte {position}: {:?}\n{text}",
                    report.faults
                );
                let lost = report.faults.iter().any(|fault| {
                    matches!(
                        fault,
                        ChainFault::OutOfOrder { .. } | ChainFault::TornTail { .. }
                    )
                });
                assert!(
                    !lost,
                    "line {line}, byte {position}: {:?}\n{text}",
                    report.faults
                );
            }
        }
    }
}

#[test]
fn the_last_line_is_vouched_for_by_nobody_but_its_own_link() {
    let sound = history(4);
    for position in 0..sound[3].len() {
        let mut lines = sound.clone();
        lines[3][position] ^= 0x01;
        let readable = Event::from_line(&lines[3]);
        let sound_event = Event::from_line(&sound[3]).unwrap();
        let must_show = match &readable {
            Ok(event) => event.seq != sound_event.seq || event.prev != sound_event.prev,
            Err(_) => true,
        };
        assert_eq!(!verify(&lines).is_sound(), must_show, "byte {position}");
    }
}

#[test]
fn the_tail_of_a_crash_is_told_from_a_whole_line() {
    let lines = history(3);
    let event = Event::from_line(&lines[1]).unwrap();
    let head = ChainHead::after(&lines[1], &event);
    assert_eq!(judge_tail(b"", head), Tail::None);
    assert!(matches!(judge_tail(&lines[2], head), Tail::Complete(event) if event.seq == 3));
    for cut in 1..lines[2].len() {
        assert_eq!(judge_tail(&lines[2][..cut], head), Tail::Torn, "{cut}");
    }
    // Whole, but it continues something else.
    assert_eq!(judge_tail(&lines[1], head), Tail::Torn);
    let mut verifier = ChainVerifier::new(id());
    lines[..2].iter().for_each(|line| verifier.line(line));
    let report = verifier.finish(&lines[2][..10]);
    assert_eq!(report.faults, [ChainFault::TornTail { bytes: 10 }]);
}

#[test]
fn a_pruned_history_begins_with_what_the_pruning_vouched_for() {
    let lines = history(10);
    let hash = line_hash(&lines[3]).to_string();
    let with_pruning = |last_seq: u64, last_hash: &str| {
        let mut kept = lines[4..].to_vec();
        let event = Event::from_line(&lines[9]).unwrap();
        let head = ChainHead::after(&lines[9], &event);
        let pruned = NewEvent::new(EventType::HistoryPruned)
            .with("lastSeq", last_seq)
            .with("lastHash", last_hash)
            .at(head.next_seq, event.time, head.prev);
        kept.push(pruned.to_line());
        verify(&kept).faults
    };
    assert_eq!(with_pruning(4, &hash), []);
    let wrong = [ChainFault::WrongBeginning { seq: 5 }];
    assert_eq!(with_pruning(3, &hash), wrong);
    assert_eq!(with_pruning(4, &line_hash(b"").to_string()), wrong);
    assert_eq!(verify(&lines[4..]).faults, wrong);
}

#[test]
fn faults_are_counted_beyond_their_limit() {
    let lines = vec![b"x".to_vec(); FAULTS_MAX + 5];
    let report = verify(&lines);
    assert_eq!(
        (report.faults.len(), report.faults_omitted),
        (FAULTS_MAX, 5)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn dropped_lines_are_missing_and_nothing_else(
        length in 3usize..40, first in 1usize..38, count in 1usize..5,
    ) {
        let mut lines = history(length);
        let first = first.min(length - 2);
        let last = (first + count - 1).min(length - 2);
        lines.drain(first..=last);
        let expected = ChainFault::Missing {
            first: first as u64 + 1,
            last: last as u64 + 1,
            line: first as u64 + 1,
        };
        prop_assert_eq!(verify(&lines).faults, vec![expected]);
    }

    #[test]
    fn a_swapped_pair_is_out_of_order_and_nothing_else(length in 3usize..40, at in 1usize..38) {
        let mut lines = history(length);
        let at = at.min(length - 2);
        lines.swap(at, at + 1);
        let expected =
            ChainFault::OutOfOrder { seq: at as u64 + 1, line: at as u64 + 2 };
        prop_assert_eq!(verify(&lines).faults, vec![expected]);
    }

    #[test]
    fn a_repeated_line_is_told(length in 2usize..40, at in 0usize..40) {
        let mut lines = history(length);
        let at = at.min(length - 1);
        let copy = lines[at].clone();
        lines.insert(at + 1, copy);
        let expected = ChainFault::Repeated { seq: at as u64 + 1, line: at as u64 + 2 };
        prop_assert_eq!(verify(&lines).faults, vec![expected]);
    }

    #[test]
    fn an_edited_line_is_altered_and_nothing_else(length in 4usize..40, at in 1usize..38) {
        let mut lines = history(length);
        let at = at.min(length - 3);
        let text = String::from_utf8(lines[at].clone()).unwrap();
        lines[at] = text.replace("\"first\":\"true\"", "\"first\":\"echo\"").into_bytes();
        let expected = ChainFault::Altered { seq: at as u64 + 1, line: at as u64 + 1 };
        prop_assert_eq!(verify(&lines).faults, vec![expected]);
    }

    #[test]
    fn any_lines_at_all_are_judged(lines in prop::collection::vec(
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..50),
            (0usize..20).prop_map(|index| history(20)[index].clone()),
        ], 0..60,
    )) {
        let report = verify(&lines);
        prop_assert_eq!(report.lines, lines.len() as u64);
    }
}
