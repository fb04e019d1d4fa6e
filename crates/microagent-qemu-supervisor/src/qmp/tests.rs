//! QEMU played by the test, from polite to hostile.

use super::*;
use proptest::prelude::*;
use std::future::Future;
use tokio::io::{AsyncReadExt, Lines};

const GREETING: &[u8] = b"{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \
    \"major\": 7}, \"package\": \"Debian\"}, \"capabilities\": [\"oob\"]}}\r\n";

fn in_loop(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

struct FakeQemu {
    lines: Lines<BufReader<OwnedReadHalf>>,
    writer: OwnedWriteHalf,
}

impl FakeQemu {
    async fn expect(&mut self, command: &str) -> u64 {
        let line = self.lines.next_line().await.unwrap().unwrap();
        let asked: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(asked["execute"], command, "{line}");
        asked["id"].as_u64().unwrap()
    }

    async fn say(&mut self, line: &str) {
        let line = format!("{line}\r\n");
        self.writer.write_all(line.as_bytes()).await.unwrap();
    }

    async fn agree(&mut self, command: &str) {
        let id = self.expect(command).await;
        self.say(&format!("{{\"return\": {{}}, \"id\": {id}}}"))
            .await;
    }
}

fn pair() -> (UnixStream, FakeQemu) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (reader, writer) = theirs.into_split();
    let lines = BufReader::new(reader).lines();
    (ours, FakeQemu { lines, writer })
}

async fn begun() -> (Qmp, FakeQemu) {
    let (stream, mut qemu) = pair();
    qemu.writer.write_all(GREETING).await.unwrap();
    let (begun, ()) = tokio::join!(Qmp::begin(stream), qemu.agree("qmp_capabilities"));
    let (qmp, version) = begun.unwrap();
    assert_eq!(version.to_string(), "7.2.22");
    (qmp, qemu)
}

#[test]
fn answers_find_who_asked_past_events_and_strange_answers() {
    in_loop(async {
        let (qmp, mut qemu) = begun().await;
        let play = async {
            let id = qemu.expect("cont").await;
            qemu.say("{\"event\": \"RESUME\", \"timestamp\": {\"seconds\": 1}}")
                .await;
            qemu.say("{\"return\": 7, \"id\": 99}").await;
            qemu.say("{\"return\": {}}").await;
            qemu.say(&format!("{{\"return\": {{}}, \"id\": {id}}}"))
                .await;
        };
        let (continued, ()) = tokio::join!(qmp.cont(), play);
        continued.unwrap();
    });
}

#[test]
fn versions_are_compared_by_number() {
    let version = |text: &str| text.parse::<QemuVersion>();
    assert!(version("10.0.0").unwrap() > version("9.2.3").unwrap());
    for text in ["", "7", "7.2", "7.2.x", "7..2"] {
        assert!(version(text).is_err(), "{text}");
    }
}

#[test]
fn a_refusal_has_qemus_words() {
    in_loop(async {
        let (qmp, mut qemu) = begun().await;
        let play = async {
            let id = qemu.expect("set_link").await;
            qemu.say(&format!(
                "{{\"id\": {id}, \"error\": {{\"class\": \"DeviceNotFound\", \"desc\": \"Device \
                 'net0' not found\"}}}}"
            ))
            .await;
        };
        let (refused, ()) = tokio::join!(qmp.set_link_down(), play);
        assert_eq!(
            refused.unwrap_err().to_string(),
            "QEMU refused `set_link`: DeviceNotFound: Device 'net0' not found"
        );
    });
}

#[test]
fn silence_ends_at_the_deadline() {
    in_loop(async {
        let (qmp, _qemu) = begun().await;
        let silent = qmp.stop().await.unwrap_err();
        assert!(matches!(
            silent,
            QmpError::Silent {
                command: "stop",
                ..
            }
        ));
        let (stream, _mute) = pair();
        let mute = Qmp::begin(stream).await.unwrap_err();
        assert!(matches!(mute, QmpError::Silent { .. }));
    });
}

#[test]
fn after_the_end_nobody_waits() {
    in_loop(async {
        let (qmp, mut qemu) = begun().await;
        let play = async {
            qemu.expect("quit").await;
            drop(qemu);
        };
        let (quit, ()) = tokio::join!(qmp.quit(), play);
        assert!(matches!(quit.unwrap_err(), QmpError::Gone));
        assert!(qmp.cont().await.is_err());
    });
}

#[test]
fn the_longest_line_passes_and_one_byte_more_does_not() {
    for (length, passes) in [(LINE_BYTES_MAX, true), (LINE_BYTES_MAX + 1, false)] {
        in_loop(async move {
            let frame = "{\"event\":\"\"}\n".len();
            let line = format!("{{\"event\":\"{}\"}}\n", "x".repeat(length - frame));
            let taken = next_line(&mut BufReader::new(line.as_bytes())).await;
            assert_eq!(taken.is_ok(), passes, "{length}");
        });
    }
}

#[test]
fn a_line_without_end_is_not_kept_beyond_the_limit() {
    in_loop(async {
        let endless = tokio::io::repeat(b'x').take(u64::MAX);
        let error = next_line(&mut BufReader::new(endless)).await.unwrap_err();
        assert!(matches!(error, QmpError::Strange(LineError::TooLong)));
    });
}

proptest! {
    #[test]
    fn mutated_lines_are_taken_or_refused(
        place in 0usize..GREETING.len(),
        byte in any::<u8>(),
        length in 0usize..GREETING.len(),
    ) {
        let mut line = GREETING.to_vec();
        line[place] = byte;
        let _ = parse(&line);
        let _ = parse(&line[..length]);
    }
}
