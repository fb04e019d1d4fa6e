#![allow(
    clippy::disallowed_methods,
    reason = "a test makes its files as anybody would"
)]

use super::{DownloadError, KernelUrl, Patience, Watch, fetch};
use microagent_test::file_server::{FileServer, Step};
use microagent_types::Sha256Hex;
use sha2::{Digest as _, Sha256};
use std::path::Path;
use std::time::Duration;

const PATIENCE: Patience = Patience {
    read: Duration::from_secs(20),
    tries_max: 3,
    pause_first: Duration::from_millis(1),
};

/// Asks for an end once so many bytes are there.
#[derive(Default)]
struct Watcher {
    seen: Vec<(u64, Option<u64>)>,
    cancel_at: Option<u64>,
}

impl Watch for Watcher {
    fn at(&mut self, done_bytes: u64, total_bytes: Option<u64>) {
        self.seen.push((done_bytes, total_bytes));
    }

    fn is_cancelled(&self) -> bool {
        let there = self.seen.last().map_or(0, |(done, _)| *done);
        self.cancel_at.is_some_and(|at| there >= at)
    }
}

fn content() -> Vec<u8> {
    (0..200_000_u32).flat_map(u32::to_le_bytes).collect()
}

fn sum(content: &[u8]) -> Sha256Hex {
    Sha256Hex::from_bytes(Sha256::digest(content).into())
}

fn url(server: &FileServer) -> KernelUrl {
    server.url().parse().unwrap()
}

/// What came; the files that are left in the folder afterwards.
fn fetched(
    folder: &Path,
    server: &FileServer,
    expected: Sha256Hex,
) -> Result<Vec<u8>, DownloadError> {
    let fetched = fetch(
        folder,
        &url(server),
        expected,
        PATIENCE,
        &mut Watcher::default(),
    )?;
    Ok(std::fs::read(fetched.path()).unwrap())
}

fn parts(folder: &Path) -> usize {
    let names = std::fs::read_dir(folder).unwrap().flatten();
    names
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(".part-"))
        .count()
}

#[test]
fn a_connection_that_breaks_is_taken_up_where_it_broke() {
    let folder = tempfile::tempdir().unwrap();
    let content = content();
    let steps = [Step::CutAfter(1_000), Step::CutAfter(300_000)];
    let server = FileServer::start(&content, &steps).unwrap();
    let came = fetched(folder.path(), &server, sum(&content)).unwrap();
    assert_eq!(came, content);
    let ranges = server.ranges();
    assert_eq!(
        ranges,
        [
            None,
            Some("bytes=1000-".to_owned()),
            Some("bytes=301000-".to_owned())
        ]
    );
    assert_eq!(parts(folder.path()), 0, "nothing is left of it");
}

#[test]
fn the_next_call_goes_on_where_the_last_one_gave_up() {
    let folder = tempfile::tempdir().unwrap();
    let content = content();
    let steps = [
        Step::CutAfter(5_000),
        Step::Status(503),
        Step::Status(503),
        Step::Well,
    ];
    let server = FileServer::start(&content, &steps).unwrap();
    let error = fetched(folder.path(), &server, sum(&content)).unwrap_err();
    assert!(
        matches!(error, DownloadError::Status { status: 503, .. }),
        "{error}"
    );
    assert_eq!(parts(folder.path()), 1);
    let came = fetched(folder.path(), &server, sum(&content)).unwrap();
    assert_eq!(came, content);
    assert_eq!(
        server.ranges().last().unwrap().as_deref(),
        Some("bytes=5000-")
    );
}

#[test]
fn a_server_without_ranges_sends_all_of_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let content = content();
    let steps = [Step::CutAfter(5_000), Step::Whole];
    let server = FileServer::start(&content, &steps).unwrap();
    let came = fetched(folder.path(), &server, sum(&content)).unwrap();
    assert_eq!(came, content);
}

#[test]
fn a_whole_part_that_was_never_installed_is_taken_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let content = content();
    let expected = sum(&content);
    std::fs::write(folder.path().join(format!(".part-{expected}")), &content).unwrap();
    let server = FileServer::start(&content, &[]).unwrap();
    assert_eq!(fetched(folder.path(), &server, expected).unwrap(), content);
}

#[test]
fn what_has_another_sum_is_removed_whoever_sent_it() {
    let folder = tempfile::tempdir().unwrap();
    let expected = sum(b"another");
    let server = FileServer::start(&content(), &[]).unwrap();
    let error = fetched(folder.path(), &server, expected).unwrap_err();
    assert!(matches!(error, DownloadError::Sum { .. }), "{error}");
    assert_eq!(parts(folder.path()), 0);
    // A part that something else got into is not held against the next call.
    let content = content();
    let expected = sum(&content);
    std::fs::write(folder.path().join(format!(".part-{expected}")), "else").unwrap();
    let error = fetched(folder.path(), &server, expected).unwrap_err();
    assert!(matches!(error, DownloadError::Sum { .. }), "{error}");
    assert_eq!(fetched(folder.path(), &server, expected).unwrap(), content);
}

#[test]
fn what_is_announced_as_larger_than_any_kernel_is_refused_before_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let server = FileServer::start(b"small", &[Step::Announce((256 << 20) + 1)]).unwrap();
    let error = fetched(folder.path(), &server, sum(b"small")).unwrap_err();
    assert!(matches!(error, DownloadError::TooLarge { .. }), "{error}");
    // And just not.
    let server = FileServer::start(b"small", &[Step::Announce(256 << 20)]).unwrap();
    assert_eq!(
        fetched(folder.path(), &server, sum(b"small")).unwrap(),
        b"small"
    );
}

#[test]
fn a_refusal_is_final_and_a_redirect_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let content = content();
    let server = FileServer::start(&content, &[Step::Status(404), Step::Well]).unwrap();
    let error = fetched(folder.path(), &server, sum(&content)).unwrap_err();
    assert!(matches!(error, DownloadError::Status { status: 404, .. }));
    assert_eq!(server.ranges().len(), 1, "it is asked once");
    let to = Step::Redirect(server.url());
    let other = FileServer::start(b"", &[to]).unwrap();
    let came = fetched(folder.path(), &other, sum(&content)).unwrap();
    assert_eq!(came, content);
}

#[test]
fn an_end_that_is_asked_for_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let content = content();
    let server = FileServer::start(&content, &[Step::StallAfter(10_000)]).unwrap();
    let mut watcher = Watcher {
        cancel_at: Some(1),
        ..Watcher::default()
    };
    let expected = sum(&content);
    let ended = fetch(
        folder.path(),
        &url(&server),
        expected,
        PATIENCE,
        &mut watcher,
    );
    assert!(matches!(ended, Err(DownloadError::Cancelled)), "{ended:?}");
    assert_eq!(parts(folder.path()), 0);
    assert_eq!(watcher.seen[0].1, Some(content.len() as u64));
}

#[test]
fn one_that_stalls_is_given_up_and_two_at_once_are_one() {
    let folder = tempfile::tempdir().unwrap();
    let content = content();
    let stall = Step::StallAfter(10);
    let server = FileServer::start(&content, &[stall.clone(), stall.clone(), stall]).unwrap();
    let short = Patience {
        read: Duration::from_millis(20),
        ..PATIENCE
    };
    let expected = sum(&content);
    let ended = fetch(
        folder.path(),
        &url(&server),
        expected,
        short,
        &mut Watcher::default(),
    );
    assert!(
        matches!(ended, Err(DownloadError::Broken { .. })),
        "{ended:?}"
    );
    let held = fetch(
        folder.path(),
        &url(&server),
        expected,
        PATIENCE,
        &mut Watcher::default(),
    );
    let held = held.unwrap();
    let second = fetched(folder.path(), &server, expected).unwrap_err();
    assert!(matches!(second, DownloadError::Busy), "{second}");
    drop(held);
    fetched(folder.path(), &server, expected).unwrap();
}

#[test]
fn an_address_shows_no_secrets_and_has_a_scheme_that_is_known() {
    let url: KernelUrl = "https://me:s3cret@example.test:8443/k/Image?token=t#f"
        .parse()
        .unwrap();
    assert_eq!(url.shown(), "https://example.test:8443/k/Image");
    for text in [
        "ftp://example.test/x",
        "/x",
        "example.test",
        "file:///x",
        "",
    ] {
        assert!(text.parse::<KernelUrl>().is_err(), "{text}");
    }
}
