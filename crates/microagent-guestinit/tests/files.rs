//! The file services in an ordinary process, over a socket pair.
#![cfg(target_os = "linux")]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test, which plays the host and looks at real files"
)]

use microagent_guestinit::context::Context;
use microagent_guestinit::session::serve;
use microagent_tar::{Entry, EntryKind, TarReader, TarWriter};
use microagent_wire::fault::FaultKind;
use microagent_wire::frame::{Frame, FrameKind, Sender, read_frame, write_frame};
use microagent_wire::guest::service::{
    FileEntry, FileType, ServiceAnswer, SessionDone, SessionOutput,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

fn ask(context: &Arc<Context>, mut request: Value) -> UnixStream {
    let (mut host, guest) = UnixStream::pair().unwrap();
    host.set_read_timeout(Some(PATIENCE)).unwrap();
    host.set_write_timeout(Some(PATIENCE)).unwrap();
    let context = Arc::clone(context);
    std::thread::spawn(move || serve(guest, &context));
    request["generation"] = json!(1);
    write_frame(&mut host, &Frame::control(&request)).unwrap();
    host
}

fn guest() -> Arc<Context> {
    Arc::new(Context::unprivileged("box"))
}

fn frame(host: &mut UnixStream) -> Frame {
    read_frame(host, Sender::Guest).unwrap().expect("a frame")
}

fn answer(host: &mut UnixStream) -> ServiceAnswer {
    serde_json::from_slice(&frame(host).payload).unwrap()
}

fn output(host: &mut UnixStream) -> SessionOutput {
    let frame = frame(host);
    assert_eq!(frame.kind, FrameKind::Control);
    serde_json::from_slice(&frame.payload).unwrap()
}

fn done(host: &mut UnixStream) -> SessionDone {
    match output(host) {
        SessionOutput::Done(done) => done,
        other => panic!("{other:?}"),
    }
}

/// Everything up to the empty frame.
fn data(host: &mut UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let frame = frame(host);
        assert_eq!(frame.kind, FrameKind::Data);
        if frame.payload.is_empty() {
            return bytes;
        }
        bytes.extend(frame.payload);
    }
}

fn send(host: &mut UnixStream, bytes: &[u8]) {
    for piece in bytes.chunks(10_000) {
        write_frame(host, &Frame::new(FrameKind::Data, piece.to_vec())).unwrap();
    }
    write_frame(host, &Frame::end_of(FrameKind::Data)).unwrap();
}

fn read_archive(path: &Path) -> (Vec<u8>, FileEntry, SessionDone) {
    let mut host = ask(
        &guest(),
        json!({"service": "read", "path": path, "archive": true}),
    );
    assert!(answer(&mut host).ok);
    let SessionOutput::Meta { entry } = output(&mut host) else {
        panic!("no meta")
    };
    let bytes = data(&mut host);
    (bytes, entry, done(&mut host))
}

fn write_archive(path: &Path, archive: &[u8]) -> SessionDone {
    let mut host = ask(
        &guest(),
        json!({"service": "write", "path": path, "archive": true}),
    );
    assert!(answer(&mut host).ok);
    send(&mut host, archive);
    done(&mut host)
}

fn one_file(path: &str, content: &[u8]) -> Vec<u8> {
    let mut writer = TarWriter::new(Vec::new());
    let entry = Entry {
        path: path.as_bytes().to_vec(),
        kind: EntryKind::Regular,
        mode: 0o600,
        uid: 0,
        gid: 0,
        seconds: 1_000_000_000,
        nanoseconds: 0,
        size: content.len() as u64,
        attributes: Vec::new(),
    };
    writer.entry(&entry, None).unwrap();
    writer.content(content).unwrap();
    writer.finish().unwrap()
}

#[test]
fn a_folder_goes_out_and_comes_back() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::create_dir(from.path().join("sub")).unwrap();
    std::fs::write(from.path().join("sub/large"), vec![3; 1 << 20]).unwrap();
    std::os::unix::fs::symlink("large", from.path().join("sub/link")).unwrap();
    let (archive, meta, read) = read_archive(from.path());
    assert_eq!(meta.file_type, FileType::Directory);
    assert_eq!(
        (read.files, read.directories, read.symlinks),
        (Some(1), Some(2), Some(1))
    );
    let written = write_archive(to.path(), &archive);
    assert_eq!((written.files, written.bytes), (Some(1), Some(1 << 20)));
    assert!(written.skipped.is_empty() && written.refused.is_empty());
    assert_eq!(
        std::fs::read(to.path().join("sub/link")).unwrap(),
        vec![3; 1 << 20]
    );
}

#[test]
fn a_file_is_read_as_it_is_up_to_a_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "0123456789").unwrap();
    for (limit, expected, truncated) in [(None, "0123456789", false), (Some(4), "0123", true)] {
        let mut host = ask(
            &guest(),
            json!({"service": "read", "path": path, "limitBytes": limit}),
        );
        assert!(answer(&mut host).ok);
        assert!(
            matches!(output(&mut host), SessionOutput::Meta { entry } if entry.size_bytes == 10)
        );
        assert_eq!(data(&mut host), expected.as_bytes());
        assert_eq!(done(&mut host).truncated, Some(truncated));
    }
    // The kernel's own files have no length before they are read.
    let (archive, _, _) = read_archive(Path::new("/proc/version"));
    let mut reader = TarReader::new(&archive[..]);
    assert!(reader.next_entry().unwrap().unwrap().size > 10);
}

#[test]
fn a_written_file_is_whole_or_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/deep/file");
    let request = json!({"service": "write", "path": path, "mode": 0o640, "parents": true});
    let mut host = ask(&guest(), request.clone());
    assert!(answer(&mut host).ok);
    send(&mut host, b"content");
    assert_eq!(done(&mut host).bytes, Some(7));
    assert_eq!(std::fs::read(&path).unwrap(), b"content");
    let context = guest();
    let mut host = ask(&context, request);
    assert!(answer(&mut host).ok);
    write_frame(&mut host, &Frame::new(FrameKind::Data, b"half".to_vec())).unwrap();
    drop(host);
    assert!(context.file_work.wait(PATIENCE));
    assert_eq!(std::fs::read(&path).unwrap(), b"content");
    assert_eq!(
        std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
        1
    );
}

#[test]
fn a_host_that_leaves_in_the_middle_leaves_no_half_file() {
    let folder = tempfile::tempdir().unwrap();
    let context = guest();
    let request = json!({"service": "write", "path": folder.path(), "archive": true});
    let mut host = ask(&context, request);
    assert!(answer(&mut host).ok);
    let archive = one_file("file", &vec![1; 500_000]);
    host.write_all(&Frame::new(FrameKind::Data, archive[..50_000].to_vec()).encode())
        .unwrap();
    drop(host);
    assert!(context.file_work.wait(PATIENCE));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn names_that_lead_out_are_refused_and_the_rest_is_written() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("target");
    std::fs::create_dir(&target).unwrap();
    let mut archive = one_file("../escaped", b"x");
    archive.truncate(archive.len() - 1024);
    archive.extend(one_file("good", b"y"));
    let done = write_archive(&target, &archive);
    assert_eq!((done.files, done.refused.len()), (Some(1), 1));
    assert!(!outside.path().join("escaped").exists());
}

#[test]
fn what_can_not_be_is_refused_with_its_kind() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let absent = folder.path().join("absent");
    let rows = [
        (
            json!({"service": "read", "path": absent}),
            FaultKind::NotFound,
        ),
        (
            json!({"service": "read", "path": folder.path()}),
            FaultKind::Usage,
        ),
        (
            json!({"service": "stat", "path": absent}),
            FaultKind::NotFound,
        ),
        (json!({"service": "list", "path": file}), FaultKind::Usage),
        (
            json!({"service": "write", "path": absent, "archive": true}),
            FaultKind::NotFound,
        ),
        (
            json!({"service": "write", "path": file, "archive": true}),
            FaultKind::Usage,
        ),
    ];
    for (request, kind) in rows {
        let mut host = ask(&guest(), request.clone());
        assert_eq!(answer(&mut host).kind, Some(kind), "{request}");
    }
}

#[test]
fn a_list_names_what_is_there_as_deep_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    for number in 0..300 {
        std::fs::write(folder.path().join(format!("sub/{number}")), "").unwrap();
    }
    let names = |depth: u32, limit: u32| {
        let path = folder.path();
        let request = json!({"service": "list", "path": path, "depth": depth, "limit": limit});
        let mut host = ask(&guest(), request);
        assert!(answer(&mut host).ok);
        let mut names = Vec::new();
        loop {
            match output(&mut host) {
                SessionOutput::Entries { entries } => {
                    assert!(entries.len() <= 256);
                    names.extend(entries.into_iter().map(|entry| entry.name));
                }
                SessionOutput::Done(done) => return (names, done.truncated),
                other => panic!("{other:?}"),
            }
        }
    };
    assert_eq!(names(1, 10), (vec!["sub".to_owned()], Some(false)));
    assert_eq!(names(2, 1000).0.len(), 301);
    let (some, truncated) = names(2, 7);
    assert_eq!((some.len(), truncated), (7, Some(true)));
}

#[test]
fn a_stat_tells_a_link_from_what_it_leads_to() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "1234").unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("file", &link).unwrap();
    let stat = |follow: bool| {
        let request = json!({"service": "stat", "path": link, "followLinks": follow});
        answer(&mut ask(&guest(), request)).entry.unwrap()
    };
    assert_eq!(stat(false).file_type, FileType::Symlink);
    assert_eq!(stat(false).target.as_deref(), Some("file"));
    assert_eq!(
        (stat(true).file_type, stat(true).size_bytes),
        (FileType::File, 4)
    );
}

#[test]
fn an_archive_that_breaks_off_is_a_failure_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let request = json!({"service": "write", "path": folder.path(), "archive": true});
    let mut host = ask(&guest(), request);
    assert!(answer(&mut host).ok);
    send(&mut host, &one_file("file", &[1; 2000])[..600]);
    let failed = output(&mut host);
    let SessionOutput::Failed { kind, message, .. } = failed else {
        panic!("{failed:?}")
    };
    assert_eq!(kind, FaultKind::Usage);
    assert!(message.contains("within an entry"), "{message}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_guest_that_ends_lets_go_of_its_files() {
    let context = guest();
    let folder = tempfile::tempdir().unwrap();
    let request = json!({"service": "write", "path": folder.path(), "archive": true});
    let mut host = ask(&context, request);
    assert!(answer(&mut host).ok);
    assert!(!context.file_work.wait(Duration::from_millis(1)));
    context.sessions.close();
    assert!(context.file_work.wait(PATIENCE));
}

#[test]
fn a_maintenance_boot_runs_nothing() {
    let context = Arc::new(Context {
        maintenance: true,
        ..Context::unprivileged("box")
    });
    let mut host = ask(&context, json!({"service": "exec", "argv": ["true"]}));
    assert_eq!(answer(&mut host).kind, Some(FaultKind::WrongState));
    let mut host = ask(&context, json!({"service": "stat", "path": "/"}));
    assert!(answer(&mut host).ok);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Any bytes at any place: the session ends, and the guest serves the next one.
    #[test]
    fn fuzzed_frames_end_a_session_and_nothing_else(
        service in prop::sample::select(vec!["exec", "shell", "read", "write", "list", "stat", "forward", "sync", "ping", "clock"]),
        head in prop::collection::vec(any::<u8>(), 0..40),
        tail in prop::collection::vec((0u8..8, prop::collection::vec(any::<u8>(), 0..200)), 0..6),
        begins in any::<bool>(),
    ) {
        let context = guest();
        let (mut host, guest_end) = UnixStream::pair().unwrap();
        host.set_read_timeout(Some(PATIENCE)).unwrap();
        let served = {
            let context = Arc::clone(&context);
            std::thread::spawn(move || serve(guest_end, &context))
        };
        let folder = tempfile::tempdir().unwrap();
        if begins {
            let request = json!({"generation": 1, "service": service, "argv": ["true"], "path": folder.path(),
                "archive": true, "port": 1, "nonce": "x", "timeUnixUs": 1, "shell": "/bin/true", "stdin": true});
            let _ = write_frame(&mut host, &Frame::control(&request));
        } else {
            let _ = host.write_all(&head);
        }
        for (kind, payload) in tail {
            let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes().to_vec();
            bytes.push(kind);
            bytes.extend(payload);
            let _ = host.write_all(&bytes);
        }
        drop(host);
        served.join().unwrap();
        let mut host = ask(&context, json!({"service": "ping", "nonce": "1"}));
        prop_assert!(answer(&mut host).ok);
    }
}
