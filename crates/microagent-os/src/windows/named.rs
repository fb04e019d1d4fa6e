//! Pipes of a tokio loop.

use std::io;
use std::os::windows::io::{IntoRawHandle as _, OwnedHandle};
use std::path::Path;

use tokio::net::windows::named_pipe::{NamedPipeServer, ServerOptions};

use super::pipes::Instance;
use super::security::Private;

/// Takes a server's end into the loop.
pub(crate) fn adopt(pipe: OwnedHandle) -> io::Result<NamedPipeServer> {
    // SAFETY: the handle is that of an overlapped pipe, and ownership goes with it.
    unsafe { NamedPipeServer::from_raw_handle(pipe.into_raw_handle()) }
}

/// Makes a server's end that is closed to other users and other machines.
pub(crate) fn create(name: &Path, instance: Instance) -> io::Result<NamedPipeServer> {
    let private = Private::new()?;
    let mut attributes = private.attributes();
    let mut options = ServerOptions::new();
    options
        .first_pipe_instance(instance == Instance::First)
        .reject_remote_clients(true);
    // SAFETY: the attributes and what they lead to outlive the call.
    unsafe { options.create_with_security_attributes_raw(name, (&raw mut attributes).cast()) }
}
