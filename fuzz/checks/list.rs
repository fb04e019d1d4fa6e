//! Any tree, listed by guest init: every entry once, folders first, each frame within its limits, and no more
//! entries than were asked for.
//!
//! The first byte is the depth that is asked for, the second the limit in tens. What follows are lines, each
//! a step: `d` makes a folder and enters it, `u` leaves it, `l` makes a link that leads to the rest of its
//! line, everything else is a file.

use microagent_guestinit::context::Context;
use microagent_guestinit::session::serve;
use microagent_wire::frame::{Frame, Sender, read_frame, write_frame};
use microagent_wire::guest::service::{FileType, ServiceAnswer, SessionDone, SessionOutput};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, symlinkat, unlinkat};
use serde_json::json;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);
const ENTRIES_MAX: usize = 400;
const DEPTH_MAX: usize = 70;
const NAME_BYTES_MAX: usize = 255;
const FRAME_ENTRIES_MAX: usize = 256;

/// Makes the tree of `bytes` and looks at what the guest says of it.
pub(crate) fn check(bytes: &[u8]) {
    let [depth, limit, steps @ ..] = bytes else {
        return;
    };
    let depth = u32::from(*depth).max(1);
    let limit = usize::from(*limit) * 10;
    let tree = tempfile::tempdir().expect("a folder for the tree");
    let made = make(tree.path(), steps);
    let within = made.iter().filter(|at| **at < depth).count();
    let (seen, done) = listed(tree.path(), depth, limit);
    remove(tree.path());
    assert_eq!(
        seen,
        within.min(limit),
        "entries of {within}, {limit} asked for"
    );
    assert_eq!(done.truncated, Some(within > limit));
}

/// At which depth each entry was made.
fn make(root: &std::path::Path, steps: &[u8]) -> Vec<u32> {
    let mut folders = vec![folder(CWD, root.as_os_str())];
    let mut made = Vec::new();
    for step in steps.split(|byte| *byte == b'\n') {
        if made.len() == ENTRIES_MAX {
            break;
        }
        let Some((what, name)) = step.split_first() else {
            continue;
        };
        let here = folders.last().expect("the root is never left");
        let at = u32::try_from(folders.len() - 1).expect("a few folders");
        let name = OsStr::from_bytes(&name[..name.len().min(NAME_BYTES_MAX)]);
        // What can't be made, a name twice among it, is not there.
        let is_made = match what {
            b'd' if folders.len() < DEPTH_MAX => {
                let is_made = mkdirat(here, name, Mode::RWXU).is_ok();
                if is_made {
                    let below = folder(here, name);
                    folders.push(below);
                }
                is_made
            }
            b'u' if folders.len() > 1 => {
                folders.pop();
                false
            }
            b'l' => symlinkat(OsStr::from_bytes(&step[1..]), here, name).is_ok(),
            _ => {
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
                openat(here, name, flags, Mode::RUSR).is_ok()
            }
        };
        if is_made {
            made.push(at);
        }
    }
    made
}

fn folder(at: impl std::os::fd::AsFd, name: &OsStr) -> OwnedFd {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(at, name, flags, Mode::empty()).expect("it was just made")
}

/// How many entries came, and the last word.
fn listed(root: &std::path::Path, depth: u32, limit: usize) -> (usize, SessionDone) {
    let (mut host, guest) = UnixStream::pair().expect("a pair of sockets");
    host.set_read_timeout(Some(PATIENCE)).expect("a limit");
    let serving = std::thread::spawn(move || serve(guest, &Context::unprivileged("box")));
    let request = json!({
        "generation": 1, "service": "list", "path": root, "depth": depth, "limit": limit,
    });
    write_frame(&mut host, &Frame::control(&request)).expect("the guest takes a request");
    let mut next = || {
        let frame = read_frame(&mut host, Sender::Guest).expect("a frame in its limits");
        frame.expect("a last word before the end").payload
    };
    let answer: ServiceAnswer = serde_json::from_slice(&next()).expect("an answer");
    assert!(answer.ok, "{answer:?}");
    let mut seen: Vec<String> = Vec::new();
    let done = loop {
        match serde_json::from_slice(&next()).expect("a message") {
            SessionOutput::Entries { entries } => {
                assert!(!entries.is_empty() && entries.len() <= FRAME_ENTRIES_MAX);
                for entry in entries {
                    assert_eq!(entry.target.is_some(), entry.file_type == FileType::Symlink);
                    seen.push(entry.name);
                }
            }
            SessionOutput::Done(done) => break done,
            other => panic!("{other:?}"),
        }
    };
    drop(host);
    serving.join().expect("a session does not panic");
    (seen.len(), done)
}

/// Folders as deep as these are beyond what paths can name.
fn remove(root: &std::path::Path) {
    fn empty(folder: &OwnedFd) {
        let entries = rustix::fs::Dir::read_from(folder).expect("a folder of ours");
        for entry in entries {
            let entry = entry.expect("a folder of ours");
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            if unlinkat(folder, name, AtFlags::empty()).is_err() {
                empty(&self::folder(folder, OsStr::from_bytes(name.to_bytes())));
                let _ = unlinkat(folder, name, AtFlags::REMOVEDIR);
            }
        }
    }
    empty(&folder(CWD, root.as_os_str()));
}
