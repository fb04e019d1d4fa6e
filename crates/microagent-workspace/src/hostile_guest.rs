//! What a guest may send that no guest should: whatever it is, a session of the host ends, keeps its bounds
//! and harms nobody.
//!
//! The other end of a socket pair is a monitor that accepts the session and then a guest that says what a
//! test wants, bytes or frames in any order, and goes away.

use crate::file_session::FileSession;
use crate::guest_session::{GuestSession, SessionError, SessionSink};
use microagent_os::local_socket::{Stream, pair};
use microagent_tar::TarReader;
use microagent_tree::folder::Folder;
use microagent_tree::unpack::{
    AttributeChoice, Powers, UnpackOptions, UnpackOwner, Unpacked, unpack,
};
use microagent_wire::frame::{Frame, FrameKind};
use microagent_wire::guest::service::{Service, ServiceAnswer, ServiceRequest, SessionOutput};
use microagent_wire::monitor::request::{MonitorOp, MonitorRequest};
use microagent_wire::monitor::response::MonitorAnswer;
use proptest::prelude::*;
use std::io::{self, Read as _, Write as _};

const CASES: u32 = 200;

/// A monitor that takes the request, and a guest that says this.
fn guest_that_says(words: Vec<u8>) -> Stream {
    let (ours, mut theirs) = pair().unwrap();
    std::thread::spawn(move || {
        let mut byte = [0];
        while theirs.read_exact(&mut byte).is_ok() && byte != *b"\n" {}
        // A client that has heard enough hangs up in the middle.
        let _ = theirs.write_all(MonitorAnswer::success().to_line().as_bytes());
        let _ = theirs.write_all(&words);
    });
    ours
}

fn request() -> MonitorRequest {
    let ping = ServiceRequest {
        generation: 1,
        service: Service::Ping { nonce: "1".into() },
    };
    MonitorRequest::new(MonitorOp::session(&ping, false))
}

#[derive(Default)]
struct Counted(usize);

impl SessionSink for Counted {
    fn stdout(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0 += bytes.len();
        Ok(())
    }

    fn stderr(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0 += bytes.len();
        Ok(())
    }
}

/// A command's session to its end; what came out of it is no more than was sent.
fn command_session(words: Vec<u8>) -> Result<(), SessionError> {
    let sent = words.len();
    let session = GuestSession::begin(guest_that_says(words), &request())?;
    let mut sink = Counted::default();
    let ended = session.run(&mut sink, |_| ());
    assert!(sink.0 <= sent);
    ended.map(drop)
}

/// All that a copy listens to, whatever the answers are.
fn file_session(words: Vec<u8>) -> Result<(), SessionError> {
    let mut session = FileSession::begin(guest_that_says(words), &request())?;
    session.meta()?;
    let target = tempfile::tempdir().unwrap();
    let folder = Folder::open(target.path()).unwrap();
    let options = UnpackOptions {
        owner: UnpackOwner::Caller,
        powers: Powers::Dropped,
        attributes: AttributeChoice::User,
        bytes_max: 1 << 20,
        single: None,
        root_attributes: false,
    };
    let mut tar = TarReader::new(session.data());
    let mut done = Unpacked::default();
    // Whether it could be unpacked is another test's question.
    let _ = unpack(&mut tar, &folder, options, &mut done, &mut |_| true);
    tar.into_source().finish()?;
    session.done().map(drop)
}

fn accepted() -> Vec<u8> {
    Frame::control(&ServiceAnswer::accepted()).encode()
}

/// Words that guests know, and some that they do not.
fn any_message() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(br#"{"type":"exit","code":0,"stdoutBytes":18446744073709551615}"#.to_vec()),
        Just(br#"{"type":"exit"}"#.to_vec()),
        Just(br#"{"type":"exit","code":-1,"signal":"NOPE"}"#.to_vec()),
        Just(br#"{"type":"stdin_taken","bytes":18446744073709551615}"#.to_vec()),
        Just(br#"{"type":"stdin_taken","bytes":-1}"#.to_vec()),
        Just(br#"{"type":"started","pid":4294967296}"#.to_vec()),
        Just(br#"{"type":"failed","kind":"guest","message":"no"}"#.to_vec()),
        Just(br#"{"type":"done","skippedTotal":18446744073709551615,"skipped":[]}"#.to_vec()),
        Just(
            br#"{"type":"meta","entry":{"name":"../x","type":"directory","sizeBytes":0,"mode":0,"uid":0,"gid":0,"mtimeUs":0}}"#
                .to_vec()
        ),
        Just(br#"{"type":"from the future","x":[[[[]]]]}"#.to_vec()),
        Just(br#"{"ok":true,"stdinWindowBytes":0}"#.to_vec()),
        proptest::collection::vec(any::<u8>(), 0..64),
    ]
}

/// Frames that can be, in an order that need not.
fn any_frames() -> impl Strategy<Value = Vec<u8>> {
    let kind = proptest::sample::select(FrameKind::ALL.to_vec());
    let raw = (kind, proptest::collection::vec(any::<u8>(), 0..2000));
    let raw = raw.prop_map(|(kind, payload)| Frame::new(kind, payload).encode());
    let told = any_message().prop_map(|text| Frame::new(FrameKind::Control, text).encode());
    proptest::collection::vec(prop_oneof![raw, told], 0..12).prop_map(|frames| frames.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn any_bytes_of_a_guest_end_a_session(
        words in proptest::collection::vec(any::<u8>(), 0..4000),
        is_accepted in any::<bool>(),
    ) {
        let mut all = if is_accepted { accepted() } else { Vec::new() };
        all.extend(words);
        // Whether it had a result, no session hangs, panics or makes bytes up.
        let _ = command_session(all.clone());
        let _ = file_session(all);
    }

    #[test]
    fn any_frames_of_a_guest_end_a_session(frames in any_frames()) {
        let mut all = accepted();
        all.extend(frames);
        let _ = command_session(all.clone());
        let _ = file_session(all);
    }
}

#[test]
fn a_claimed_length_is_refused_before_its_bytes_come() {
    for kind in FrameKind::ALL {
        let mut all = accepted();
        all.extend(u32::MAX.to_be_bytes());
        all.push(kind as u8);
        let ended = command_session(all);
        assert!(matches!(ended, Err(SessionError::Broken(_))), "{kind:?}");
    }
}

#[test]
fn what_is_out_of_place_in_a_copy_ends_it() {
    let meta = SessionOutput::Pong {
        nonce: "1".into(),
        uptime_ms: 1,
    };
    for frame in [
        Frame::control(&meta),
        Frame::new(FrameKind::Stdout, b"x".to_vec()),
        Frame::new(FrameKind::Data, b"before it was announced".to_vec()),
    ] {
        let mut all = accepted();
        all.extend(frame.encode());
        let ended = file_session(all);
        assert!(matches!(ended, Err(SessionError::Broken(_))), "{frame:?}");
    }
}

/// Data behind the end of an archive, for ever: what is read of it has a bound.
#[test]
fn a_tail_without_end_is_cut_off() {
    let mut session = accepted();
    session.extend(
        Frame::new(
            FrameKind::Control,
            br#"{"type":"meta","entry":{"name":"x","type":"directory","sizeBytes":0,"mode":0,"uid":0,"gid":0,"mtimeUs":0}}"#
                .to_vec(),
        )
        .encode(),
    );
    // The end of an archive, and then 64 MiB of nothing.
    let piece = Frame::new(FrameKind::Data, vec![0; 64 << 10]).encode();
    for _ in 0..1024 {
        session.extend(&piece);
    }
    let ended = file_session(session);
    assert!(matches!(ended, Err(SessionError::Broken(_))), "{ended:?}");
}
