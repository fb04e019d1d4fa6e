//! A proxy as companies have them: clients name the host, it connects and passes bytes on.
//!
//! It speaks `CONNECT` for TLS and absolute addresses for plain HTTP. Every host leads to one address, so
//! that names which nobody else knows can be used.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};

/// A request as the proxy sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// `CONNECT`, `GET` and others.
    pub method: String,
    /// `host:port` of a tunnel, or a whole address.
    pub target: String,
    /// Its headers as they came.
    pub headers: Vec<String>,
}

impl Asked {
    /// The value of a header, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| {
            let (have, value) = line.split_once(':')?;
            have.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// A listening proxy. It ends with the test's process.
#[derive(Debug)]
pub struct ForwardProxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl ForwardProxy {
    /// Listens; whatever host is named, `upstream` is meant.
    pub fn start(upstream: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let noted = Arc::clone(&noted);
                // Who asks may go at any time; that is not this side's trouble.
                std::thread::spawn(move || drop(serve(connection, upstream, &noted)));
            }
        });
        Ok(Self { address, asked })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.clone()
    }
}

fn serve(client: TcpStream, upstream: SocketAddr, noted: &Mutex<Vec<Asked>>) -> Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let method = words.next().context("no method")?.to_owned();
    let target = words.next().context("no target")?.to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end() {
            "" => break,
            header => headers.push(header.to_owned()),
        }
    }
    let asked = Asked {
        method,
        target,
        headers,
    };
    noted
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(asked.clone());
    let mut server = TcpStream::connect(upstream)?;
    if asked.method == "CONNECT" {
        (&client).write_all(b"HTTP/1.1 200 Connected\r\n\r\n")?;
    } else {
        write!(
            server,
            "{} {} HTTP/1.1\r\n",
            asked.method,
            path(&asked.target)?
        )?;
        for header in &asked.headers {
            let name = header.split(':').next().unwrap_or_default();
            let ours = ["connection", "proxy-connection", "proxy-authorization"];
            if !ours.iter().any(|ours| name.eq_ignore_ascii_case(ours)) {
                write!(server, "{header}\r\n")?;
            }
        }
        server.write_all(b"connection: close\r\n\r\n")?;
    }
    let (mut back, mut to_client) = (server.try_clone()?, client);
    let backwards = std::thread::spawn(move || {
        let _ = std::io::copy(&mut back, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
    });
    let _ = std::io::copy(&mut reader, &mut server);
    let _ = server.shutdown(Shutdown::Write);
    let _ = backwards.join();
    Ok(())
}

/// What stands behind the host of a whole address.
fn path(target: &str) -> Result<&str> {
    let rest = target.strip_prefix("http://").context("no http address")?;
    Ok(rest.find('/').map_or("/", |at| &rest[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_what_stands_behind_the_host() {
        assert_eq!(
            path("http://registry.test:5000/v2/?a=b").unwrap(),
            "/v2/?a=b"
        );
        assert_eq!(path("http://registry.test").unwrap(), "/");
        path("/v2/").unwrap_err();
    }
}
