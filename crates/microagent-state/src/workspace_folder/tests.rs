use microagent_types::AbsPath;

use super::*;
use crate::paths::StateDirectory;
use crate::workspace_record::tests::workspace_record;

/// A state directory with the empty folder of a workspace called `scout`.
pub(crate) fn home() -> (tempfile::TempDir, WorkspacePaths) {
    let root = tempfile::tempdir().unwrap();
    let state = StateDirectory::at(&AbsPath::try_from(root.path().join("s").as_path()).unwrap());
    state.create().unwrap();
    let paths = state.workspace(&"scout".parse().unwrap());
    dirs::ensure_private(paths.folder()).unwrap();
    (root, paths)
}

fn request() -> RequestId {
    "r-1".parse().unwrap()
}

fn lock(paths: &WorkspacePaths) -> WorkspaceLock {
    WorkspaceLock::acquire(paths, Duration::ZERO, "test", &request()).unwrap()
}

fn create(paths: &WorkspacePaths) {
    begin(paths, workspace_record().id, &request(), Duration::ZERO).unwrap();
    std::fs::create_dir(paths.disks()).unwrap();
    std::fs::write(paths.disks().join("data.ext4"), vec![1; 50_000]).unwrap();
    finish(paths, workspace_record()).unwrap();
}

#[test]
fn a_create_is_busy_until_it_is_a_workspace() {
    let (_root, paths) = home();
    std::fs::remove_dir(paths.folder()).unwrap();
    assert_eq!(observe(&paths).unwrap(), FolderState::Absent);
    let id = workspace_record().id;
    begin(&paths, id, &request(), Duration::ZERO).unwrap();
    assert_eq!(observe(&paths).unwrap(), FolderState::BeingCreated);
    assert_eq!(begun_id(&paths).unwrap(), Some(id));
    let again = begin(&paths, id, &request(), Duration::ZERO);
    assert!(matches!(again, Err(BeginError::BeingCreated { .. })));
    finish(&paths, workspace_record()).unwrap();
    assert_eq!(observe(&paths).unwrap(), FolderState::Workspace);
    assert!(!fs::is_present(&paths.create_record()));
    let again = begin(&paths, id, &request(), Duration::ZERO);
    assert!(matches!(again, Err(BeginError::Exists { .. })));
}

#[test]
fn what_a_dead_creator_left_is_swept_by_the_next_create() {
    let (_root, paths) = home();
    let dead = ProcessRecord {
        start_time: "1".to_owned(),
        ..ProcessRecord::current().unwrap()
    };
    let left = CreateRecord {
        id: workspace_record().id,
        request_id: request(),
        at: clock::now(),
        creator: dead,
    };
    record_store::write(&paths.create_record(), &Stored::new(left)).unwrap();
    std::fs::write(paths.folder().join("rootfs.ext4"), b"half").unwrap();
    assert_eq!(observe(&paths).unwrap(), FolderState::Leftover);
    begin(&paths, workspace_record().id, &request(), Duration::ZERO).unwrap();
    assert!(!fs::is_present(&paths.folder().join("rootfs.ext4")));
}

#[test]
fn a_folder_without_any_record_is_a_leftover_and_a_workspace_is_not_swept() {
    let (_root, paths) = home();
    assert_eq!(observe(&paths).unwrap(), FolderState::Leftover);
    assert!(sweep(&paths, lock(&paths)).unwrap());
    assert!(!fs::is_present(paths.folder()));
    create(&paths);
    assert!(!sweep(&paths, lock(&paths)).unwrap());
    assert_eq!(observe(&paths).unwrap(), FolderState::Workspace);
}

#[test]
fn a_deleted_workspace_leaves_nothing_and_says_what_it_freed() {
    let (_root, paths) = home();
    create(&paths);
    let freed = delete(&paths, lock(&paths), &request()).unwrap();
    assert!(freed >= 50_000, "{freed}");
    assert_eq!(observe(&paths).unwrap(), FolderState::Absent);
    create(&paths);
}

#[test]
fn a_delete_that_was_broken_off_is_finished_by_the_next() {
    let (_root, paths) = home();
    create(&paths);
    let mut stored = record_store::read::<WorkspaceRecord>(&paths.workspace_record())
        .unwrap()
        .unwrap();
    stored.value.deleting = Some(Deleting {
        at: clock::now(),
        request_id: request(),
    });
    record_store::write(&paths.workspace_record(), &stored).unwrap();
    fs::remove_tree(&paths.disks()).unwrap();
    delete(&paths, lock(&paths), &request()).unwrap();
    assert_eq!(observe(&paths).unwrap(), FolderState::Absent);
}

#[test]
fn a_workspace_whose_record_is_nonsense_can_still_be_deleted() {
    let (_root, paths) = home();
    create(&paths);
    std::fs::write(paths.workspace_record(), b"{").unwrap();
    delete(&paths, lock(&paths), &request()).unwrap();
    assert!(!fs::is_present(paths.folder()));
}

#[test]
fn deleting_follows_no_link() {
    let (root, paths) = home();
    create(&paths);
    let outside = root.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("kept"), b"").unwrap();
    std::os::unix::fs::symlink(&outside, paths.folder().join("run")).unwrap();
    delete(&paths, lock(&paths), &request()).unwrap();
    assert!(fs::is_present(&outside.join("kept")));
}

/// Runs this test binary again with only the child test and an environment, until it ends.
#[cfg(feature = "crash-points")]
fn child(
    act: &str,
    folder: &std::path::Path,
    crash: &[(&str, &str)],
) -> microagent_os::process::Exit {
    use microagent_os::process::{Conversation, Spawn, current_executable};
    let mut spawn = Spawn::new(current_executable().unwrap())
        .arguments([
            "--exact",
            "workspace_folder::tests::child_of_the_crash_tests",
        ])
        .variable("CHILD_ACT", act)
        .variable("CHILD_STATE", folder);
    for (name, value) in crash {
        spawn = spawn.variable(name, value);
    }
    let limits = Conversation {
        limit: Duration::from_mins(1),
        stdout_bytes_max: 10_000,
        stderr_bytes_max: 10_000,
    };
    limits.hold(spawn, Vec::new()).unwrap().exit
}

#[cfg(feature = "crash-points")]
#[test]
fn child_of_the_crash_tests() {
    let (Ok(act), Ok(state)) = (std::env::var("CHILD_ACT"), std::env::var("CHILD_STATE")) else {
        return;
    };
    let paths = StateDirectory::at(&state.parse().unwrap()).workspace(&"scout".parse().unwrap());
    match act.as_str() {
        "create" => create(&paths),
        "delete" => {
            delete(&paths, lock(&paths), &request()).unwrap();
        }
        other => panic!("{other}"),
    }
}

/// The points that an act passes, in order, with how often.
#[cfg(feature = "crash-points")]
fn points(act: &str, prepare: impl Fn(&WorkspacePaths)) -> Vec<String> {
    let (root, paths) = home();
    prepare(&paths);
    let log = root.path().join("points");
    let exit = child(
        act,
        &root.path().join("s"),
        &[("MICROAGENT_TEST_CRASH_LOG", log.to_str().unwrap())],
    );
    assert!(exit.is_success());
    let mut counts = std::collections::BTreeMap::new();
    std::fs::read_to_string(log)
        .unwrap()
        .lines()
        .map(|name| {
            let count = counts.entry(name.to_owned()).or_insert(0);
            *count += 1;
            format!("{name}:{count}")
        })
        .collect()
}

#[cfg(feature = "crash-points")]
#[test]
fn a_create_that_crashes_anywhere_is_a_workspace_or_a_leftover() {
    let points = points("create", |_| {});
    assert!(points.len() >= 10, "{points:?}");
    for point in &points {
        let (root, paths) = home();
        let crash = [("MICROAGENT_TEST_CRASH_AT", point.as_str())];
        let exit = child("create", &root.path().join("s"), &crash);
        assert_eq!(exit, microagent_os::process::Exit::Signal(6), "{point}");
        match observe(&paths).unwrap() {
            FolderState::Workspace => {
                complete_create(&paths).unwrap();
                assert!(
                    record_store::read::<WorkspaceRecord>(&paths.workspace_record())
                        .unwrap()
                        .is_some()
                );
            }
            FolderState::Leftover => create(&paths),
            other => panic!("{point}: {other:?}"),
        }
        delete(&paths, lock(&paths), &request()).unwrap();
        assert_eq!(observe(&paths).unwrap(), FolderState::Absent, "{point}");
    }
}

#[cfg(feature = "crash-points")]
#[test]
fn a_delete_that_crashes_anywhere_can_be_finished_and_the_name_used_again() {
    let points = points("delete", create);
    assert!(points.len() >= 8, "{points:?}");
    for point in &points {
        let (root, paths) = home();
        create(&paths);
        let crash = [("MICROAGENT_TEST_CRASH_AT", point.as_str())];
        let exit = child("delete", &root.path().join("s"), &crash);
        assert_eq!(exit, microagent_os::process::Exit::Signal(6), "{point}");
        match observe(&paths).unwrap() {
            FolderState::Workspace => {
                delete(&paths, lock(&paths), &request()).unwrap();
            }
            FolderState::Leftover => assert!(sweep(&paths, lock(&paths)).unwrap(), "{point}"),
            other => panic!("{point}: {other:?}"),
        }
        assert_eq!(observe(&paths).unwrap(), FolderState::Absent, "{point}");
        create(&paths);
    }
}
