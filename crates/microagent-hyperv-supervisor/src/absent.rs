//! In the services' place where there are none: the same functions, and the wrong host.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use microagent_types::AbsPath;
use tokio::sync::mpsc;

use crate::calls::{CallError, Host, Listening, Progress, Sockets, System};
use crate::events::Notification;
use crate::host::{Findings, WrongHost};

/// What a call answers that is not there: `E_NOTIMPL`.
const NOT_HERE: u32 = 0x8000_4001;

/// The services of this host: none.
pub fn of_this_host() -> Arc<dyn Host> {
    Arc::new(Absent)
}

/// Hyper-V sockets of this host: none.
pub fn sockets() -> Arc<dyn Sockets> {
    Arc::new(Absent)
}

struct Absent;

/// Nobody comes here, since a host that is wrong is refused before; if somebody did, nothing is made.
fn absent<T>(call: &'static str) -> Result<T, CallError> {
    Err(CallError {
        call,
        code: NOT_HERE,
        detail: WrongHost.to_string(),
    })
}

impl Host for Absent {
    fn look(&self) -> Result<Findings, WrongHost> {
        Err(WrongHost)
    }

    fn grant_access(&self, _system: &str, _path: &AbsPath) -> Result<(), CallError> {
        absent("GrantVmAccess")
    }

    fn create(
        &self,
        _id: &str,
        _document: &str,
        _told: mpsc::Sender<Notification>,
    ) -> Result<(Arc<dyn System>, Progress), CallError> {
        absent("HcsCreateComputeSystem")
    }

    fn open(&self, _id: &str) -> Result<Arc<dyn System>, CallError> {
        absent("HcsOpenComputeSystem")
    }

    fn find_network(&self, _id: &str) -> Result<(), CallError> {
        absent("HcnOpenNetwork")
    }

    fn create_network(&self, _id: &str, _settings: &str) -> Result<(), CallError> {
        absent("HcnCreateNetwork")
    }

    fn create_endpoint(
        &self,
        _network: &str,
        _id: &str,
        _settings: &str,
    ) -> Result<String, CallError> {
        absent("HcnCreateEndpoint")
    }

    fn delete_endpoint(&self, _id: &str) -> Result<(), CallError> {
        absent("HcnDeleteEndpoint")
    }
}

impl Sockets for Absent {
    fn dial(&self, _runtime_id: &str, _port: u32, _limit: Duration) -> io::Result<TcpStream> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn listen(&self, _runtime_id: &str, _port: u32) -> io::Result<Arc<dyn Listening>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
