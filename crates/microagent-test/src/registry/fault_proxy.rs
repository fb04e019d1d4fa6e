//! A proxy in front of a registry, or a server of its own, that does what networks and servers do:
//! it cuts, stalls, corrupts, truncates, redirects and refuses, as the test says for each request.
//!
//! It speaks just enough HTTP/1.1: one request a connection, bodies held in memory.

use anyhow::{Context, Result};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET` and others.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// What came with it.
    pub body: String,
}

impl Request {
    /// The value of a header, its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(have, _)| have == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether a layer or a configuration is asked for.
    pub fn is_blob(&self) -> bool {
        self.path.contains("/blobs/")
    }
}

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: it is passed on.
    None,
    /// It is passed on without its `Authorization`.
    WithoutAuthorization,
    /// The connection ends after so many bytes of the body.
    CutAfter(usize),
    /// Nothing more comes after so many bytes of the body, and the connection stays.
    StallAfter(usize),
    /// One byte of the body is another one.
    Corrupt(usize),
    /// The body is shorter, and its length says so.
    Truncate(usize),
    /// More follows than was promised elsewhere.
    Extend(usize),
    /// The range that was asked for is not heard.
    WholeBody,
    /// The answer does not come from the registry.
    Answer {
        /// Its status.
        status: u16,
        /// Its headers.
        headers: Vec<(String, String)>,
        /// Its body.
        body: String,
    },
}

impl Fault {
    /// An answer with a status alone.
    pub fn status(status: u16) -> Self {
        Self::Answer {
            status,
            headers: Vec::new(),
            body: String::new(),
        }
    }

    /// An answer that leads elsewhere.
    pub fn redirect(to: impl Into<String>) -> Self {
        Self::Answer {
            status: 307,
            headers: vec![("Location".to_owned(), to.into())],
            body: String::new(),
        }
    }
}

type Script = dyn Fn(&Request) -> Fault + Send + Sync;

/// A listening proxy. It ends with the test's process.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl FaultProxy {
    /// Listens in front of `upstream`; `script` says what becomes of each request.
    pub fn start(
        upstream: SocketAddr,
        script: impl Fn(&Request) -> Fault + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let script: Arc<Script> = Arc::new(script);
        let noted = Arc::clone(&seen);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (script, seen) = (Arc::clone(&script), Arc::clone(&noted));
                // Who asks may go at any time; that is not this side's trouble.
                std::thread::spawn(move || drop(serve(connection, upstream, &*script, &seen)));
            }
        });
        Ok(Self { address, seen })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The reference of something behind it.
    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// What was asked so far.
    pub fn seen(&self) -> Vec<Request> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn serve(
    connection: TcpStream,
    upstream: SocketAddr,
    script: &Script,
    seen: &Mutex<Vec<Request>>,
) -> Result<()> {
    let mut reader = BufReader::new(connection);
    let request = read_request(&mut reader)?;
    let mut client = reader.into_inner();
    seen.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(request.clone());
    let fault = script(&request);
    if let Fault::Answer {
        status,
        headers,
        body,
    } = fault
    {
        write_head(&mut client, status, &headers, body.len())?;
        client.write_all(body.as_bytes())?;
        return Ok(());
    }
    let (status, headers, mut body) = ask(upstream, &request, &fault)?;
    let len = body.len();
    match fault {
        Fault::CutAfter(bytes) | Fault::StallAfter(bytes) => {
            write_head(&mut client, status, &headers, len)?;
            client.write_all(&body[..bytes.min(len)])?;
            client.flush()?;
            if matches!(fault, Fault::StallAfter(_)) {
                // Until the other side has had enough.
                let _ = client.read(&mut [0]);
            }
            return Ok(());
        }
        Fault::Corrupt(at) if len > 0 => body[at % len] ^= 0x55,
        Fault::Truncate(bytes) => body.truncate(bytes),
        Fault::Extend(bytes) => body.resize(len + bytes, 0),
        _ => {}
    }
    write_head(&mut client, status, &headers, body.len())?;
    client.write_all(&body)?;
    Ok(())
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Result<Request> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let method = words.next().context("no method")?.to_owned();
    let path = words.next().context("no path")?.to_owned();
    let headers = read_headers(reader)?;
    let len = length(&headers);
    let mut body = vec![0; len];
    reader.read_exact(&mut body)?;
    Ok(Request {
        method,
        path,
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

fn read_headers(reader: &mut impl BufRead) -> Result<Vec<(String, String)>> {
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            return Ok(headers);
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

fn length(headers: &[(String, String)]) -> usize {
    let found = headers.iter().find(|(name, _)| name == "content-length");
    found.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
}

type Answer = (u16, Vec<(String, String)>, Vec<u8>);

/// Passes the request on and reads the whole answer.
fn ask(upstream: SocketAddr, request: &Request, fault: &Fault) -> Result<Answer> {
    let mut server = TcpStream::connect(upstream)?;
    write!(server, "{} {} HTTP/1.1\r\n", request.method, request.path)?;
    for (name, value) in &request.headers {
        let dropped = match name.as_str() {
            "host" | "connection" | "content-length" => true,
            "authorization" => *fault == Fault::WithoutAuthorization,
            "range" => *fault == Fault::WholeBody,
            _ => false,
        };
        if !dropped {
            write!(server, "{name}: {value}\r\n")?;
        }
    }
    write!(server, "host: {upstream}\r\nconnection: close\r\n\r\n")?;
    let mut reader = BufReader::new(server);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line
        .split_whitespace()
        .nth(1)
        .and_then(|word| word.parse().ok())
        .context("no status")?;
    let headers = read_headers(&mut reader)?;
    let mut body = Vec::new();
    reader.read_to_end(&mut body)?;
    if let Some((_, value)) = headers.iter().find(|(name, _)| name == "content-length") {
        body.truncate(value.parse()?);
    }
    Ok((status, headers, body))
}

fn write_head(
    client: &mut TcpStream,
    status: u16,
    headers: &[(String, String)],
    len: usize,
) -> Result<()> {
    let mut head = format!("HTTP/1.1 {status} Said\r\ncontent-length: {len}\r\n");
    for (name, value) in headers {
        if !matches!(
            name.as_str(),
            "content-length" | "connection" | "transfer-encoding"
        ) {
            head.extend([name, ": ", value, "\r\n"]);
        }
    }
    head.push_str("connection: close\r\n\r\n");
    client.write_all(head.as_bytes())?;
    Ok(())
}
