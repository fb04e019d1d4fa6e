//! In the framework's place where there is none: the same functions, and the wrong host.

use std::rc::Rc;

use tokio::sync::mpsc;

use crate::calls::{Framework, Machine, SerialEnds};
use crate::config::{COMPONENT, MachinePlan};
use crate::events::{CallError, FrameworkEvent};
use crate::host::{Findings, WrongHost};

/// The framework of this host: none.
pub fn of_this_host() -> Box<dyn Framework> {
    Box::new(Absent)
}

struct Absent;

impl Framework for Absent {
    fn look(&self) -> Result<Findings, WrongHost> {
        Err(WrongHost)
    }

    /// Nobody comes here, since a host that is wrong is refused before; if somebody did, nothing is made.
    fn make(
        &self,
        _plan: &MachinePlan,
        _serial: SerialEnds,
        _events: mpsc::Sender<FrameworkEvent>,
    ) -> Result<Rc<dyn Machine>, CallError> {
        Err(CallError {
            domain: COMPONENT.to_owned(),
            code: 0,
            text: WrongHost.to_string(),
        })
    }
}
