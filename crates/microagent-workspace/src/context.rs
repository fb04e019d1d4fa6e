//! What every use case needs to know and none of them decides: where records live, which supervisor
//! speaks, who asks.

use microagent_boot::search_path::SearchPath;
use microagent_types::{AbsPath, BackendName};
use microagent_wire::supervisor::request::{Channel, Initiator};
use std::io;
use std::path::{Path, PathBuf};

/// Settings of one program's use of the library. Making one touches nothing.
#[derive(Debug, Clone)]
pub struct Context {
    /// Where workspaces, images and kernels live. Made, private to its owner, when something is
    /// written.
    pub state_dir: AbsPath,
    /// The backend where one is chosen; the best of this host when none.
    pub backend: Option<BackendName>,
    /// The supervisor executable in place of the one that is found.
    pub supervisor: Option<PathBuf>,
    /// Who asks; recorded in every event.
    pub initiator: Initiator,
    /// Where the parts of this installation are.
    pub search_path: SearchPath,
}

impl Context {
    /// A context for a program that embeds the library, with the parts found beside it.
    ///
    /// # Errors
    /// When the system does not tell which executable runs.
    pub fn new(state_dir: AbsPath) -> io::Result<Self> {
        Ok(Self {
            state_dir,
            backend: None,
            supervisor: None,
            initiator: Initiator {
                channel: Channel::Library,
                subject: None,
            },
            search_path: SearchPath::of_this_program()?,
        })
    }

    /// A context for a program that lies elsewhere than the installation: the parts are found beside this
    /// `microagent` command, for example `/usr/bin/microagent`. Whether it is there shows at the first use.
    pub fn of_installation(command: &Path, state_dir: AbsPath) -> Self {
        Self {
            state_dir,
            backend: None,
            supervisor: None,
            initiator: Initiator {
                channel: Channel::Library,
                subject: None,
            },
            search_path: SearchPath::beside(command),
        }
    }
}
