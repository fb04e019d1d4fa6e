use super::*;
use std::os::unix::fs::{PermissionsExt, symlink};

#[test]
fn a_file_of_exactly_the_limit_is_read_and_one_byte_more_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    std::fs::write(&path, b"12345").unwrap();
    assert_eq!(read_bounded(&path, 5).unwrap(), b"12345");
    assert!(read_bounded(&path, 4).unwrap_err().is_too_large());
}

#[test]
fn an_endless_file_ends_at_the_limit() {
    assert!(
        read_bounded(Path::new("/dev/zero"), 100_000)
            .unwrap_err()
            .is_too_large()
    );
}

#[test]
fn a_new_file_is_private_whatever_the_umask_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    let file = create_new(&path).unwrap();
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(
        create_new(&path).unwrap_err().kind(),
        io::ErrorKind::AlreadyExists
    );
}

#[test]
fn a_link_in_place_of_our_file_is_not_opened_for_writing() {
    let folder = tempfile::tempdir().unwrap();
    let victim = folder.path().join("victim");
    std::fs::write(&victim, b"mine").unwrap();
    symlink(&victim, folder.path().join("log")).unwrap();
    assert!(open_append(&folder.path().join("log")).is_err());
    assert!(open_or_create(&folder.path().join("log")).is_err());
    assert!(open_append(&victim).is_ok());
}

#[test]
fn removal_takes_the_link_and_leaves_what_it_points_to() {
    let folder = tempfile::tempdir().unwrap();
    let outside = folder.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("kept"), b"kept").unwrap();
    let tree = folder.path().join("tree");
    std::fs::create_dir_all(tree.join("a/b")).unwrap();
    std::fs::write(tree.join("a/b/file"), vec![1u8; 100_000]).unwrap();
    symlink(&outside, tree.join("a/link")).unwrap();
    let freed = remove_tree(&tree).unwrap();
    assert!(freed >= 100_000, "{freed}");
    assert!(!is_present(&tree));
    assert_eq!(std::fs::read(outside.join("kept")).unwrap(), b"kept");
    assert_eq!(remove_tree(&tree).unwrap(), 0);
}

#[test]
fn removal_of_a_link_does_not_enter_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("d")).unwrap();
    std::fs::write(folder.path().join("d/kept"), b"").unwrap();
    symlink("d", folder.path().join("l")).unwrap();
    remove_tree(&folder.path().join("l")).unwrap();
    assert!(is_present(&folder.path().join("d/kept")));
    symlink("d", folder.path().join("l")).unwrap();
    assert!(empty_folder(&folder.path().join("l")).is_err());
}

#[test]
fn emptying_keeps_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("run/x")).unwrap();
    empty_folder(&folder.path().join("run")).unwrap();
    assert!(list(&folder.path().join("run")).unwrap().is_empty());
}

#[test]
fn a_taken_name_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("a"), folder.path().join("b"));
    std::fs::write(&from, b"new").unwrap();
    std::fs::write(&to, b"old").unwrap();
    assert_eq!(
        rename_new(&from, &to).unwrap_err().kind(),
        io::ErrorKind::AlreadyExists
    );
    assert_eq!(std::fs::read(&to).unwrap(), b"old");
    rename(&from, &to).unwrap();
    assert_eq!(std::fs::read(&to).unwrap(), b"new");
}

#[test]
fn a_hole_occupies_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    let file = create_new(&path).unwrap();
    set_length(&file, &path, 1 << 30).unwrap();
    assert!(allocated_bytes(&path).unwrap() < 1 << 20);
    assert!(space(&path).unwrap().total_bytes > 0);
    assert_eq!(network_file_system(&path).unwrap(), None);
}

#[test]
fn a_listing_is_sorted_and_says_what_each_name_is() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("b"), b"").unwrap();
    std::fs::create_dir(folder.path().join("a")).unwrap();
    symlink("nowhere", folder.path().join("c")).unwrap();
    let kinds: Vec<_> = list(folder.path())
        .unwrap()
        .into_iter()
        .map(|entry| entry.kind)
        .collect();
    assert_eq!(kinds, [FileKind::Folder, FileKind::File, FileKind::Link]);
}

#[test]
fn an_unnamed_file_leaves_no_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = create_unnamed(folder.path()).unwrap();
    write_all_at(&file, b"spool", 10).unwrap();
    let mut bytes = [0u8; 5];
    read_exact_at(&file, &mut bytes, 10).unwrap();
    assert_eq!(&bytes, b"spool");
    assert!(list(folder.path()).unwrap().is_empty());
}

#[test]
fn removal_stops_at_a_mount_and_leaves_what_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let mount = folder.path().join("tree/mount");
    std::fs::create_dir_all(&mount).unwrap();
    // In namespaces of its own, so that it needs no privilege and leaves nothing mounted. Where
    // those can't be had, the script says so.
    let script = r#"
        mount -t tmpfs none "$1/tree/mount" && touch "$1/tree/mount/kept" || exit 77
        "$2" --exact fs::tests::removal_inside_the_mount_namespace --nocapture || exit 1
        test -e "$1/tree/mount/kept"
    "#;
    let program = crate::process::current_executable().unwrap();
    let spawn = crate::process::Spawn::new("/usr/bin/unshare")
        .arguments([
            "--user",
            "--map-root-user",
            "--mount",
            "/bin/sh",
            "-c",
            script,
            "sh",
        ])
        .argument(folder.path())
        .argument(program)
        .variable("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .variable("MOUNT_TREE", folder.path().join("tree"));
    let limits = crate::process::Conversation {
        limit: std::time::Duration::from_secs(30),
        stdout_bytes_max: 10_000,
        stderr_bytes_max: 10_000,
    };
    let reply = limits.hold(spawn, Vec::new()).unwrap();
    let stderr = String::from_utf8_lossy(&reply.stderr);
    let without_namespaces = stderr.contains("unshare") || reply.exit.shell_code() == 77;
    assert!(reply.exit.is_success() || without_namespaces, "{stderr}");
    if without_namespaces {
        println!("this host gives no namespace to mount in: {stderr}");
    }
}

#[test]
fn removal_inside_the_mount_namespace() {
    if let Some(tree) = std::env::var_os("MOUNT_TREE") {
        let error = remove_tree(Path::new(&tree)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::CrossesDevices);
    }
}
