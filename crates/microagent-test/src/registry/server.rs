//! Debian's `docker-registry`, started for one test and ended with it.

use crate::image::Tool;
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Who may use a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Anybody,
    /// [`Registry::USER`] with [`Registry::PASSWORD`].
    Password,
}

/// A certificate authority that nobody trusts but the test that asks for it.
#[derive(Debug)]
pub struct TestAuthority {
    folder: PathBuf,
}

impl TestAuthority {
    /// Makes one, and a certificate for 127.0.0.1, `localhost` and `registry.test`.
    pub fn make(folder: &Path) -> Result<Self> {
        let openssl = |arguments: &[&str]| {
            Tool::new("openssl")
                .within(folder)
                .args(arguments.iter().copied())
                .ok()
        };
        let key = [
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ];
        let mut authority = vec!["req", "-x509", "-days", "30", "-subj", "/CN=Test authority"];
        authority.extend(key);
        authority.extend(["-keyout", "ca.key", "-out", "ca.pem"]);
        openssl(&authority)?;
        let mut request = vec!["req", "-subj", "/CN=localhost"];
        request.extend(key);
        request.extend(["-keyout", "server.key", "-out", "server.csr"]);
        openssl(&request)?;
        let names = "subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:registry.test\nextendedKeyUsage=serverAuth\n";
        std::fs::write(folder.join("names"), names)?;
        openssl(&[
            "x509",
            "-req",
            "-in",
            "server.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "30",
            "-extfile",
            "names",
            "-out",
            "server.pem",
        ])?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// The file that makes it trusted.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }
}

/// A running registry. Dropping it ends it.
#[derive(Debug)]
pub struct Registry {
    address: SocketAddr,
    access: Access,
    scheme: &'static str,
    child: Child,
}

impl Registry {
    /// Who may use one that asks.
    pub const USER: &str = "tester";
    /// The password of [`Self::USER`].
    pub const PASSWORD: &str = "opensesame";
    /// Of [`Self::PASSWORD`].
    const BCRYPT: &str = "$2y$05$abcdefghijklmnopqrstuuQbLfdQZSxZ9gjhA5V9o8Tyc6aQRO0Qi";

    /// Whether this host has the programs that this needs; the first that is missing otherwise.
    pub fn missing_program() -> Option<&'static str> {
        ["docker-registry", "skopeo", "openssl"]
            .into_iter()
            .find(|program| !Tool::is_here(program))
    }

    /// Starts one whose data lie in `folder`, and returns when it listens.
    pub fn start(folder: &Path, access: Access, tls: Option<&TestAuthority>) -> Result<Self> {
        let address = free_port()?;
        let mut http = serde_json::json!({"addr": address.to_string()});
        if let Some(authority) = tls {
            http["tls"] = serde_json::json!({
                "certificate": authority.folder.join("server.pem"),
                "key": authority.folder.join("server.key"),
            });
        }
        let mut config = serde_json::json!({
            "version": "0.1",
            "log": {"level": "info"},
            "storage": {"filesystem": {"rootdirectory": folder.join("data")}},
            "http": http,
        });
        if access == Access::Password {
            let path = folder.join("htpasswd");
            std::fs::write(&path, format!("{}:{}\n", Self::USER, Self::BCRYPT))?;
            config["auth"] = serde_json::json!({"htpasswd": {"realm": "test", "path": path}});
        }
        // JSON is YAML too.
        let file = folder.join("registry.yml");
        std::fs::write(&file, serde_json::to_vec(&config)?)?;
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start docker-registry")?;
        let stderr = child.stderr.take().context("its stderr was asked for")?;
        let mut lines = BufReader::new(stderr).lines();
        let mut said = String::new();
        loop {
            match lines.next() {
                Some(Ok(line)) if line.contains("listening on") => break,
                Some(Ok(line)) => said = format!("{said}{line}\n"),
                _ => {
                    let _ = child.wait();
                    bail!("docker-registry did not begin to listen:\n{said}");
                }
            }
        }
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self {
            address,
            access,
            scheme: if tls.is_some() { "https" } else { "http" },
            child,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The reference of something in it.
    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// Puts an image of another tool's into it: `source` as `skopeo` has it.
    pub fn fill(&self, source: &str, name: &str) -> Result<()> {
        let mut tool = Tool::new("skopeo").args([
            "copy",
            "--insecure-policy",
            "--quiet",
            "--all",
            "--dest-tls-verify=false",
        ]);
        if self.access == Access::Password {
            tool = tool.arg("--dest-creds");
            tool = tool.arg(format!("{}:{}", Self::USER, Self::PASSWORD));
        }
        tool.arg(source)
            .arg(format!("docker://{}", self.reference(name)))
            .ok()
            .with_context(|| format!("cannot fill the {} registry", self.scheme))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It has nothing to lose.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody has at this moment.
fn free_port() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?)
}
