use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::fs;

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_socket_is_private_and_knows_its_peer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = listen(&path).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut client = connect(&path, PATIENCE).unwrap();
    let (mut server, peer) = listener.accept().unwrap();
    assert!(peer.is_own_user());
    assert_eq!(peer.pid, Some(std::process::id()));
    client.write_all(b"hi").unwrap();
    client.shut_down().unwrap();
    let mut text = String::new();
    server.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hi");
}

#[test]
fn a_taken_name_is_in_use_and_a_dead_one_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    assert_eq!(
        connect(&path, PATIENCE).unwrap_err().kind(),
        io::ErrorKind::NotFound
    );
    let listener = listen(&path).unwrap();
    assert_eq!(listen(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    drop(listener);
    assert_eq!(
        connect(&path, PATIENCE).unwrap_err().kind(),
        io::ErrorKind::ConnectionRefused
    );
}

#[test]
fn a_server_that_never_accepts_is_given_up_at_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let _listener = listen(&path).unwrap();
    let mut held = Vec::new();
    loop {
        match connect(&path, Duration::from_millis(20)) {
            Ok(stream) => held.push(stream),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                break;
            }
        }
        assert!(held.len() < 10_000);
    }
}

#[test]
fn a_path_of_the_limit_works_and_one_byte_more_is_named_too_long() {
    let folder = tempfile::tempdir().unwrap();
    let room = SOCKET_PATH_BYTES_MAX - folder.path().as_os_str().len() - 1;
    let just = folder.path().join("s".repeat(room));
    let _listener = listen(&just).unwrap();
    connect(&just, PATIENCE).unwrap();
    let over = folder.path().join("s".repeat(room + 1));
    assert!(matches!(
        listen(&over),
        Err(SocketError::PathTooLong { .. })
    ));
    assert!(matches!(
        connect(&over, PATIENCE),
        Err(SocketError::PathTooLong { .. })
    ));
}

#[test]
fn a_deep_folder_is_reached_through_an_alias_that_can_be_made_again() {
    let root = tempfile::tempdir().unwrap();
    let deep = root.path().join("d".repeat(200)).join("run");
    std::fs::create_dir_all(&deep).unwrap();
    let aliases = root.path().join("a");
    let alias = short_alias(&aliases, "0123456789abcdef", &deep).unwrap();
    let _listener = listen(&alias.join("monitor.sock")).unwrap();
    assert!(remove_alias(&alias).unwrap());
    assert!(!remove_alias(&alias).unwrap());
    let alias = short_alias(&aliases, "0123456789abcdef", &deep).unwrap();
    connect(&alias.join("monitor.sock"), PATIENCE).unwrap();
    assert!(deep.join("monitor.sock").symlink_metadata().is_ok());
}

#[test]
fn an_alias_that_leads_elsewhere_is_replaced_and_an_open_folder_refused() {
    let root = tempfile::tempdir().unwrap();
    let aliases = root.path().join("a");
    short_alias(&aliases, "x", Path::new("/elsewhere")).unwrap();
    let alias = short_alias(&aliases, "x", root.path()).unwrap();
    assert_eq!(fs::read_link(&alias).unwrap(), root.path());
    std::fs::set_permissions(&aliases, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(
        short_alias(&aliases, "x", root.path()),
        Err(AliasError::Folder(PrivateFolderError::OpenToOthers { .. }))
    ));
}

#[test]
fn a_runtime_folder_that_is_not_ours_is_passed_over() {
    let root = tempfile::tempdir().unwrap();
    std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(
        alias_folder(Some(root.path())),
        root.path().join("microagent")
    );
    std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(alias_folder(Some(root.path())).starts_with("/tmp"));
    assert!(alias_folder(None).starts_with("/tmp"));
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn a_loop_accepts_and_knows_the_peer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = listen(&path).unwrap().into_async().unwrap();
    let client = connect(&path, PATIENCE).unwrap();
    let (server, peer) = listener.accept().await.unwrap();
    assert!(peer.is_own_user());
    client.shut_down().unwrap();
    server.readable().await.unwrap();
    assert_eq!(server.try_read(&mut [0; 1]).unwrap(), 0);
}
