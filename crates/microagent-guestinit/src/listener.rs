//! Accepts sessions: one thread each, counted and bounded.

use crate::context::Context;
use crate::session::serve;
use crate::vsock::{Listener, pause};
use microagent_wire::limits::GUEST_FORWARDS_MAX;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

/// A session's stack. It parses one message and polls; output waits on the heap.
const SESSION_STACK_BYTES: usize = 256 << 10;
/// Threads beyond what may be admitted, for those that are being refused.
const REFUSALS_MAX: u32 = 16;
/// After an accept that failed for want of memory or descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts for as long as the guest lives.
pub(crate) fn run(listener: &Listener, context: &Arc<Context>) {
    loop {
        match listener.accept() {
            Ok(Some(socket)) => open(socket, context),
            Ok(None) => {}
            Err(_) => pause(ACCEPT_PAUSE),
        }
    }
}

fn open(socket: OwnedFd, context: &Arc<Context>) {
    let threads_max = context.sessions_max + GUEST_FORWARDS_MAX + REFUSALS_MAX;
    if context.connections.open() >= threads_max {
        return;
    }
    let context = Arc::clone(context);
    // Without a thread the connection closes, and the host hears that.
    let _ = Builder::new()
        .stack_size(SESSION_STACK_BYTES)
        .spawn(move || serve(socket, &context));
}
