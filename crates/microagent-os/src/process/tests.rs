use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn shell(script: &str) -> Spawn {
    Spawn::new("/bin/sh")
        .argument("-c")
        .argument(script)
        .variable("PATH", "/usr/bin:/bin")
}

fn ask(spawn: Spawn, input: &[u8]) -> Result<Reply, ConversationError> {
    let limits = Conversation {
        limit: PATIENCE,
        stdout_bytes_max: 100_000,
        stderr_bytes_max: 1000,
    };
    limits.hold(spawn, input.to_vec())
}

fn stdout_of(spawn: Spawn) -> String {
    String::from_utf8(ask(spawn, b"").unwrap().stdout).unwrap()
}

#[test]
fn a_child_has_only_the_environment_that_was_named() {
    let printed = stdout_of(Spawn::new("/usr/bin/env").variable("ONE", "1"));
    assert_eq!(printed, "ONE=1\n");
}

#[test]
fn a_child_has_only_the_descriptors_that_were_listed() {
    // A descriptor that somebody forgot to mark.
    let forgotten = std::fs::File::open("/dev/null").unwrap();
    rustix::io::fcntl_setfd(&forgotten, rustix::io::FdFlags::empty()).unwrap();
    let (given, _writer) = io::pipe().unwrap();
    let mut child = Spawn::new("/bin/sleep")
        .argument("60")
        .descriptor(7, OwnedFd::from(given))
        .start()
        .unwrap();
    let folder = format!("/proc/{}/fd", child.handle().identity().pid());
    let numbers = || -> Vec<String> {
        let entries = fs::list(Path::new(&folder)).unwrap();
        let names = entries.iter().map(|entry| entry.name.to_str().unwrap());
        names.map(str::to_owned).collect()
    };
    // Its loader opens and closes libraries before the program is there.
    let deadline = crate::clock::Deadline::after(PATIENCE);
    while numbers() != ["0", "1", "2", "7"] && !deadline.remaining().is_zero() {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(numbers(), ["0", "1", "2", "7"]);
    child.kill_and_wait(PATIENCE).unwrap();
}

#[test]
fn descriptors_arrive_under_their_numbers_even_when_these_are_taken_crosswise() {
    let (read_three, mut write_three) = io::pipe().unwrap();
    let (read_four, mut write_four) = io::pipe().unwrap();
    write_three.write_all(b"three").unwrap();
    write_four.write_all(b"four").unwrap();
    drop((write_three, write_four));
    let spawn = shell("cat <&3; echo -n ' '; cat <&4")
        .descriptor(4, OwnedFd::from(read_four))
        .descriptor(3, OwnedFd::from(read_three));
    assert_eq!(stdout_of(spawn), "three four");
}

#[test]
fn a_program_that_is_not_there_is_an_error_also_with_descriptor_three_given() {
    for number in 3..12 {
        let (reader, _writer) = io::pipe().unwrap();
        let started = Spawn::new("/nonexistent/program")
            .descriptor(number, OwnedFd::from(reader))
            .start();
        assert_eq!(started.unwrap_err().source.kind(), io::ErrorKind::NotFound);
    }
}

#[test]
fn a_conversation_feeds_and_drains_at_once() {
    let input = vec![b'x'; 3_000_000];
    let reply = ask(Spawn::new("/bin/cat"), &input).unwrap();
    assert_eq!(
        (reply.stdout.len(), reply.stdout_bytes),
        (100_000, 3_000_000)
    );
    assert!(reply.exit.is_success());
}

#[test]
fn a_conversation_keeps_the_end_of_stderr_and_the_code() {
    let reply = ask(shell("seq 1 10000 >&2; exit 3"), b"unread").unwrap();
    assert_eq!(reply.exit, Exit::Code(3));
    assert!(reply.stderr.ends_with(b"9999\n10000\n"));
    assert_eq!(reply.stderr.len(), 1000);
}

#[test]
fn a_conversation_ends_at_its_deadline() {
    let limits = Conversation {
        limit: Duration::from_millis(100),
        stdout_bytes_max: 10,
        stderr_bytes_max: 10,
    };
    let begun = crate::clock::monotonic();
    let outcome = limits.hold(Spawn::new("/bin/sleep").argument("60"), Vec::new());
    assert!(
        matches!(outcome, Err(ConversationError::TimedOut { .. })),
        "{outcome:?}"
    );
    assert!(begun.elapsed() < PATIENCE);
}

#[test]
fn an_output_that_a_grandchild_holds_open_is_given_up() {
    let begun = crate::clock::monotonic();
    let outcome = ask(shell("sleep 5 & echo heard"), b"");
    let Err(ConversationError::Talk { source, .. }) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(source.kind(), io::ErrorKind::TimedOut);
    assert!(begun.elapsed() < PATIENCE);
}

#[test]
fn a_recorded_process_is_found_again_and_signalled_through_its_handle() {
    let mut child = Spawn::new("/bin/sleep").argument("60").start().unwrap();
    let identity = child.handle().identity().clone();
    let Found::Alive(handle) = ProcessHandle::open(&identity) else {
        panic!("it lives")
    };
    assert!(!handle.has_ended().unwrap());
    assert_eq!(handle.signal(Signal::Terminate).unwrap(), Delivery::Sent);
    assert!(handle.wait_end(PATIENCE).unwrap());
    // A zombie is gone.
    assert!(matches!(ProcessHandle::open(&identity), Found::Gone));
    assert_eq!(child.wait().unwrap(), Exit::Signal(15));
    assert!(matches!(ProcessHandle::open(&identity), Found::Gone));
    assert_eq!(handle.signal(Signal::Kill).unwrap(), Delivery::AlreadyGone);
}

#[test]
fn a_living_pid_with_another_start_time_is_gone() {
    let mut child = Spawn::new("/bin/sleep").argument("60").start().unwrap();
    let pid = child.handle().identity().pid();
    let other = StartTime::from_recorded("1").unwrap();
    let identity = ProcessIdentity::from_recorded(pid, other).unwrap();
    assert!(matches!(ProcessHandle::open(&identity), Found::Gone));
    assert_eq!(
        child.kill_and_wait(PATIENCE).unwrap(),
        Some(Exit::Signal(9))
    );
}

#[test]
fn the_start_time_is_field_22_also_when_the_name_looks_like_fields() {
    let folder = tempfile::tempdir().unwrap();
    let odd = folder.path().join("a) S 1 (b");
    std::fs::copy("/bin/sleep", &odd).unwrap();
    let mut child = Spawn::new(&odd).argument("60").start().unwrap();
    let identity = child.handle().identity().clone();
    let script = format!(
        "sed 's/.*) //' /proc/{}/stat | cut -d' ' -f20",
        identity.pid()
    );
    assert_eq!(
        stdout_of(shell(&script)).trim(),
        identity.start_time().as_str()
    );
    child.kill_and_wait(PATIENCE).unwrap();
}

#[test]
fn recorded_identities_are_checked() {
    let time = StartTime::from_recorded("123").unwrap();
    assert!(ProcessIdentity::from_recorded(0, time.clone()).is_err());
    assert!(ProcessIdentity::from_recorded(u32::MAX, time).is_err());
    for text in ["", "1 2", "a/b", &"1".repeat(65)] {
        assert!(StartTime::from_recorded(text).is_err(), "{text}");
    }
    assert_eq!(current_identity().unwrap().pid(), std::process::id());
    assert_eq!(host_boot_id().unwrap(), host_boot_id().unwrap());
    assert_ne!(pid_namespace().unwrap().inode(), 0);
}

#[test]
fn a_new_session_has_no_part_in_ours() {
    let printed = stdout_of(shell("cut -d' ' -f6 /proc/$$/stat; echo $$").session(Session::New));
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines[0], lines[1]);
}

#[test]
fn a_bound_child_ends_with_its_parent() {
    // The middle process binds a child, names it and is killed.
    let (mut reader, writer) = io::pipe().unwrap();
    let test = "process::tests::middle_process_of_the_bound_child";
    let mut middle = Spawn::new(current_executable().unwrap())
        .arguments(["--exact", test, "--nocapture"])
        .variable("MIDDLE", "1")
        .descriptor(3, OwnedFd::from(writer))
        .start()
        .unwrap();
    let mut line = String::new();
    let mut byte = [0u8; 1];
    while reader.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
        line.push(char::from(byte[0]));
    }
    let (pid, start_time) = line.split_once(' ').unwrap();
    let start_time = StartTime::from_recorded(start_time).unwrap();
    let identity = ProcessIdentity::from_recorded(pid.parse().unwrap(), start_time).unwrap();
    let Found::Alive(grandchild) = ProcessHandle::open(&identity) else {
        panic!("it lives")
    };
    middle.kill_and_wait(PATIENCE).unwrap();
    assert!(grandchild.wait_end(PATIENCE).unwrap());
}

#[test]
fn middle_process_of_the_bound_child() {
    // Only does something when the test above runs it.
    if std::env::var_os("MIDDLE").is_none() {
        return;
    }
    // The test harness runs tests on threads, and the binding is to the thread: it must stay.
    let child = Spawn::new("/bin/sleep")
        .argument("60")
        .parent_death(ParentDeath::Signals(Signal::Kill))
        .start()
        .unwrap();
    let identity = child.handle().identity();
    let mut output = std::fs::OpenOptions::new()
        .write(true)
        .open("/proc/self/fd/3")
        .unwrap();
    writeln!(output, "{} {}", identity.pid(), identity.start_time()).unwrap();
    child.handle().wait_end(PATIENCE).unwrap();
}

#[test]
fn the_next_child_heads_a_pid_namespace_and_its_descendants_die_with_it() {
    let test = "process::tests::parent_of_a_namespace";
    let mut parent = Spawn::new(current_executable().unwrap())
        .arguments(["--exact", test, "--nocapture", "--test-threads=1"])
        .variable("NAMESPACE", "1")
        .stdout(Stream::Pipe)
        .start()
        .unwrap();
    let mut printed = String::new();
    parent
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut printed)
        .unwrap();
    assert!(parent.wait().unwrap().is_success(), "{printed}");
    assert!(
        printed.contains("checked: 1") || printed.contains("no namespace: "),
        "{printed}"
    );
}

#[test]
fn parent_of_a_namespace() {
    if std::env::var_os("NAMESPACE").is_none() {
        return;
    }
    if let Err(error) = put_next_child_into_pid_namespace() {
        println!("no namespace: {error}");
        return;
    }
    let mut child = shell("echo $$; sleep 60 & sleep 60")
        .stdout(Stream::Pipe)
        .start()
        .unwrap();
    let mut first = [0u8; 2];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut first)
        .unwrap();
    assert_ne!(
        child.handle().identity().pid(),
        1,
        "the record gets the host's pid"
    );
    assert_eq!(
        child.kill_and_wait(PATIENCE).unwrap(),
        Some(Exit::Signal(9))
    );
    // The pipe ends only when every process in the namespace is gone.
    let mut rest = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut rest).unwrap();
    println!("checked: {}", String::from_utf8_lossy(&first));
}

#[test]
fn watched_signals_come_as_values() {
    let mut watch = SignalWatch::install(&[Signal::Terminate, Signal::Interrupt]).unwrap();
    assert!(SignalWatch::install(&[Signal::Kill]).is_err());
    assert_eq!(watch.take().unwrap(), None);
    let Found::Alive(me) = ProcessHandle::open(&current_identity().unwrap()) else {
        panic!()
    };
    me.signal(Signal::Terminate).unwrap();
    assert_eq!(watch.wait(PATIENCE).unwrap(), Some(Signal::Terminate));
    assert_eq!(watch.take().unwrap(), None);
    let again = SignalWatch::install(&[Signal::HangUp]).unwrap_err();
    assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
}

#[test]
fn programs_are_found_only_in_absolute_folders_and_when_executable() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("sh"), b"not executable").unwrap();
    let search_path = std::env::join_paths([
        PathBuf::from("."),
        folder.path().to_owned(),
        PathBuf::from("/bin"),
    ])
    .unwrap();
    assert_eq!(
        find_on_path("sh", &search_path).unwrap(),
        Path::new("/bin/sh")
    );
    assert_eq!(find_on_path("/bin/sh", &search_path), None);
    assert_eq!(find_on_path("no-such-program", &search_path), None);
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn a_loop_is_woken_by_the_end_of_a_process_and_by_a_signal() {
    let mut child = Spawn::new("/bin/sleep").argument("60").start().unwrap();
    let Found::Alive(other) = ProcessHandle::open(child.handle().identity()) else {
        panic!()
    };
    let early = tokio::time::timeout(Duration::from_millis(50), other.ended()).await;
    assert!(early.is_err(), "it lives");
    child.handle().signal(Signal::Kill).unwrap();
    tokio::time::timeout(PATIENCE, other.ended())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(child.wait().unwrap(), Exit::Signal(9));

    let mut watch = SignalWatch::install(&[Signal::HangUp]).unwrap();
    let Found::Alive(me) = ProcessHandle::open(&current_identity().unwrap()) else {
        panic!()
    };
    for _ in 0..2 {
        me.signal(Signal::HangUp).unwrap();
        let signal = tokio::time::timeout(PATIENCE, watch.next())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(signal, Signal::HangUp);
    }
}

/// Attaches to the process of its first argument, says so, and takes its end in half a second late.
#[cfg(target_os = "linux")]
const LATE_TRACER: &str = r#"
import ctypes, os, sys, time
pid = int(sys.argv[1])
seized = ctypes.CDLL(None, use_errno=True).ptrace(0x4206, pid, 0, 0)
print("attached" if seized == 0 else "refused", flush=True)
time.sleep(0.5)
try:
    os.waitpid(pid, 0x40000000)
except ChildProcessError:
    pass
"#;

/// A debugger sees the end first; until it lets go, the kernel says that the child has ended and gives
/// its status to nobody else.
#[cfg(target_os = "linux")]
#[test]
fn a_child_whose_end_a_debugger_sees_first_has_ended_and_not_timed_out() {
    let mut child = shell("read word; exit 7")
        .stdin(Stream::Pipe)
        .start()
        .unwrap();
    let mut tracer = std::process::Command::new("python3")
        .args(["-c", LATE_TRACER])
        .arg(child.handle().identity().pid().to_string())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0; 8];
    let pipe = tracer.stdout.as_mut().unwrap();
    pipe.read_exact(&mut said).unwrap();
    if &said != b"attached" {
        eprintln!("skipped: this host lets no process trace another");
        child.kill_and_wait(PATIENCE).unwrap();
        tracer.wait().unwrap();
        return;
    }
    drop(child.stdin.take());
    assert_eq!(child.wait_for(PATIENCE).unwrap(), Some(Exit::Code(7)));
    assert!(tracer.wait().unwrap().success());
}
