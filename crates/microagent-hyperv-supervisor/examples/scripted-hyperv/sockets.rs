//! Hyper-V sockets that are Unix sockets: what the guest may dial lies in the run folder, so that a test can
//! be the guest.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use microagent_hyperv_supervisor::calls::{Listening, Sockets};
use microagent_test::fake_guest::{Script, serve_session};

/// The port of the guest's services.
const SERVICE: u32 = 1025;

/// The run folder of each system, and what its guest does.
#[derive(Default)]
pub(crate) struct Scripted {
    systems: Mutex<BTreeMap<String, (PathBuf, Script)>>,
}

impl Scripted {
    pub(crate) fn add(&self, runtime_id: &str, folder: PathBuf, script: Script) {
        let mut systems = self.systems.lock().unwrap();
        systems.insert(runtime_id.to_owned(), (folder, script));
    }

    pub(crate) fn socket(&self, runtime_id: &str, port: u32) -> PathBuf {
        let systems = self.systems.lock().unwrap();
        systems[runtime_id].0.join(format!("vsock.sock_{port}"))
    }
}

/// Whatever carries it, it is read and written like a TCP connection.
fn connection(stream: UnixStream) -> TcpStream {
    TcpStream::from(OwnedFd::from(stream))
}

impl Sockets for Scripted {
    fn dial(&self, runtime_id: &str, port: u32, _limit: Duration) -> io::Result<TcpStream> {
        if port != SERVICE {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let script = self.systems.lock().unwrap()[runtime_id].1;
        let (ours, theirs) = UnixStream::pair()?;
        std::thread::spawn(move || drop(serve_session(script, theirs)));
        Ok(connection(ours))
    }

    fn listen(&self, runtime_id: &str, port: u32) -> io::Result<Arc<dyn Listening>> {
        let path = self.socket(runtime_id, port);
        Ok(Arc::new(Port {
            listener: UnixListener::bind(&path)?,
            path,
            closed: AtomicBool::new(false),
        }))
    }
}

struct Port {
    listener: UnixListener,
    path: PathBuf,
    closed: AtomicBool,
}

impl Listening for Port {
    fn accept(&self) -> io::Result<TcpStream> {
        let (stream, _) = self.listener.accept()?;
        if self.closed.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(connection(stream))
    }

    fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        // Whoever waits in `accept` is woken.
        drop(UnixStream::connect(&self.path));
        drop(std::fs::remove_file(&self.path));
    }
}
