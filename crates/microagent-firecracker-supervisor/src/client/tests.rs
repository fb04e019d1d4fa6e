//! The client against sockets that answer well, badly, or not at all.
#![allow(
    clippy::disallowed_methods,
    reason = "the other side of the socket is a plain thread"
)]

use std::future::Future;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use super::*;
use crate::sample::spec;

const TEST_LIMIT: Duration = Duration::from_secs(20);

/// A client whose every call is answered with these bytes.
fn answered(answer: &'static [u8], test: impl AsyncFnOnce(ApiClient)) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("api.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let server = std::thread::spawn(move || serve(&listener, answer));
    in_loop(async {
        test(ApiClient::connect(socket).await.unwrap()).await;
    });
    server.join().unwrap();
}

fn with_document(status: &str, document: &str) -> &'static [u8] {
    let length = document.len();
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{document}");
    answer.leak().as_bytes()
}

fn serve(listener: &UnixListener, answer: &[u8]) -> Vec<u8> {
    let (mut stream, _) = listener.accept().unwrap();
    let mut heard = Vec::new();
    let mut chunk = [0u8; 4096];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return heard,
            Ok(read) => heard.extend_from_slice(&chunk[..read]),
        }
        if stream.write_all(answer).is_err() {
            return heard;
        }
        if answer.is_empty() {
            hold(&mut stream);
        }
    }
}

/// Keeps the connection open without a word.
fn hold(stream: &mut UnixStream) {
    let _ = stream.read_to_end(&mut Vec::new());
}

fn in_loop(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(TEST_LIMIT, test).await.unwrap();
    });
}

#[test]
fn calls_go_one_after_another_over_one_connection() {
    answered(b"HTTP/1.1 204 No Content\r\n\r\n", async |client| {
        for call in crate::config::calls(&spec(), "1.10.0".parse().unwrap()) {
            assert_eq!(client.call(&call).await.unwrap(), b"");
        }
    });
}

#[test]
fn a_refusal_is_told_in_its_own_words() {
    let document = r#"{"fault_message":"No such\nkernel."}"#;
    answered(with_document("400 Bad Request", document), async |client| {
        let error = client.call(&Call::start()).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "Firecracker refused `PUT /actions`: No such kernel."
        );
    });
}

#[test]
fn the_version_is_read_and_anything_else_is_none() {
    let answer =
        b"HTTP/1.1 200 OK\r\nContent-Length: 32\r\n\r\n{\"firecracker_version\":\"1.15.1\"} ";
    answered(answer, async |client| {
        assert_eq!(client.version().await.unwrap().to_string(), "1.15.1");
    });
    answered(with_document("200 OK", "{}"), async |client| {
        let error = client.version().await.unwrap_err();
        assert!(matches!(error, ApiError::NoVersion(_)));
    });
}

#[test]
fn a_start_that_takes_long_is_not_given_up_by_the_monitor_before_its_own_limit() {
    assert!(START_LIMIT < microagent_supervisor::backend::RUN_LIMIT);
}

#[test]
fn a_vmm_that_does_not_answer_is_given_up() {
    answered(b"", async |client| {
        let error = client.call(&Call::pause()).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "Firecracker did not answer `PATCH /vm` within 2000 ms"
        );
    });
}

#[test]
fn an_answer_without_end_is_cut_off() {
    let answer = with_document("200 OK", &"x".repeat(100_000));
    answered(answer, async |client| {
        let error = client.call(&Call::version()).await.unwrap_err();
        assert!(matches!(error, ApiError::TooLong { .. }), "{error}");
    });
}

#[test]
fn garbage_and_an_early_end_break_the_connection() {
    for answer in [&b"no http at all\r\n\r\n"[..], b"HTTP/1.1 204"] {
        answered(answer, async |client| {
            let error = client.call(&Call::pause()).await.unwrap_err();
            assert!(
                matches!(error, ApiError::Broken { .. } | ApiError::Silent { .. }),
                "{error}"
            );
        });
    }
}

#[test]
fn a_socket_that_never_comes_is_named() {
    in_loop(async {
        tokio::time::pause();
        let error = ApiClient::connect(Path::new("/nowhere/api.sock").to_owned())
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "Firecracker did not listen on `/nowhere/api.sock` within 5000 ms"
        );
    });
}
