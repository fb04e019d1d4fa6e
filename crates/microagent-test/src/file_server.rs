//! One file behind HTTP on loopback, by a server that does what networks and servers do: for each connection, in
//! order, a test says what happens to it.
//!
//! It speaks just enough HTTP/1.1: one request a connection. After the last step everything goes well.

use anyhow::{Context as _, Result};
use microagent_types::Sha256Hex;
use sha2::{Digest as _, Sha256};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// What happens to one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// What was asked for comes.
    Well,
    /// All of it comes, whatever part was asked for.
    Whole,
    /// The connection ends after so many bytes of the body.
    CutAfter(usize),
    /// Nothing more comes after so many bytes of the body, and the connection stays.
    StallAfter(usize),
    /// So many bytes are announced; none comes.
    Announce(u64),
    /// An answer with this status and nothing else.
    Status(u16),
    /// It leads to another address.
    Redirect(String),
}

/// A server; it ends with the test's process.
#[derive(Debug)]
pub struct FileServer {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    content: Vec<u8>,
    steps: VecDeque<Step>,
    ranges: Vec<Option<String>>,
    stalled: Vec<TcpStream>,
}

impl FileServer {
    /// Serves this content under every path.
    pub fn start(content: &[u8], steps: &[Step]) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port")?;
        let address = listener.local_addr().context("no address")?;
        let shared = Arc::new(Mutex::new(Shared {
            content: content.to_vec(),
            steps: steps.iter().cloned().collect(),
            ranges: Vec::new(),
            stalled: Vec::new(),
        }));
        let served = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that goes away is what some tests are about.
                let _ = answer(stream, &served);
            }
        });
        Ok(Self { address, shared })
    }

    /// The address of a file on it.
    pub fn url(&self) -> String {
        format!("http://{}/kernels/Image", self.address)
    }

    /// The SHA-256 of the content, in hexadecimal.
    pub fn sha256(&self) -> String {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let digest: [u8; 32] = Sha256::digest(&shared.content).into();
        Sha256Hex::from_bytes(digest).to_string()
    }

    /// What the connections until now have asked for, in order: the `Range`, if any.
    pub fn ranges(&self) -> Vec<Option<String>> {
        self.shared
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .ranges
            .clone()
    }
}

fn answer(mut stream: TcpStream, shared: &Mutex<Shared>) -> std::io::Result<()> {
    let range = read_range(&stream)?;
    let (step, content) = {
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.ranges.push(range.clone());
        let step = shared.steps.pop_front().unwrap_or(Step::Well);
        (step, shared.content.clone())
    };
    let from = match (&range, &step) {
        (_, Step::Whole) | (None, _) => 0,
        (Some(range), _) => first_byte(range),
    };
    let status = match &step {
        Step::Status(status) => *status,
        Step::Redirect(_) => 302,
        _ if from >= content.len() && from > 0 => 416,
        _ if from > 0 => 206,
        _ => 200,
    };
    let mut head = format!("HTTP/1.1 {status} Answer\r\nConnection: close\r\n");
    if let Step::Redirect(to) = &step {
        let _ = write!(head, "Location: {to}\r\n");
    }
    if !matches!(status, 200 | 206) {
        head += "Content-Length: 0\r\n\r\n";
        return stream.write_all(head.as_bytes());
    }
    let body = &content[from..];
    let announced = match step {
        Step::Announce(bytes) => bytes,
        _ => body.len() as u64,
    };
    if status == 206 {
        let (last, all) = (content.len() - 1, content.len());
        let _ = write!(head, "Content-Range: bytes {from}-{last}/{all}\r\n");
    }
    let _ = write!(head, "Content-Length: {announced}\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    match step {
        Step::CutAfter(bytes) => stream.write_all(&body[..bytes.min(body.len())]),
        Step::StallAfter(bytes) => {
            stream.write_all(&body[..bytes.min(body.len())])?;
            let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
            shared.stalled.push(stream);
            Ok(())
        }
        Step::Announce(_) => Ok(()),
        _ => stream.write_all(body),
    }
}

/// The `Range` of a request, which is read to the end of its head.
fn read_range(stream: &TcpStream) -> std::io::Result<Option<String>> {
    let mut range = None;
    for line in BufReader::new(stream).lines() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("range")
        {
            range = Some(value.trim().to_owned());
        }
    }
    Ok(range)
}

fn first_byte(range: &str) -> usize {
    let bytes = range.trim_start_matches("bytes=");
    let first = bytes.split('-').next().unwrap_or_default();
    first.parse().unwrap_or_default()
}
