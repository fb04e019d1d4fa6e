//! Accepts sessions: one thread each, counted and bounded.
//!
//! `vhost-device-vsock` 0.3.0 numbers the host's dials from zero and stops for good at a number that it takes
//! to be in use, which is any port that the guest has dialled: after 1024 of them that of the control
//! connection. It forgets such a port when any connection to it ends, so one that is opened and closed again
//! on the way there keeps the guest within reach.

use crate::context::Context;
use crate::session::serve;
use crate::vsock::{self, Listener, pause};
use microagent_types::VsockPort;
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
/// Dials of the host after which the control port is passed.
const PASS_EVERY: u32 = 256;

/// Accepts for as long as the guest lives.
pub(crate) fn run(listener: &Listener, context: &Arc<Context>) {
    loop {
        match listener.accept() {
            Ok(Some((socket, host_port))) => {
                open(socket, context);
                if is_on_the_way(host_port) {
                    pass_control_port();
                }
            }
            Ok(None) => {}
            Err(_) => pause(ACCEPT_PAUSE),
        }
    }
}

/// Whether it is time to make the device forget the control port: more than once, since the guest may have
/// dialled it again in between. Other devices number from beyond it.
fn is_on_the_way(host_port: u32) -> bool {
    host_port < VsockPort::CONTROL.get() && host_port % PASS_EVERY == PASS_EVERY - 1
}

fn pass_control_port() {
    // The host closes a second control connection as soon as it sees it.
    let _ = Builder::new()
        .stack_size(SESSION_STACK_BYTES)
        .spawn(|| vsock::dial_once(VsockPort::CONTROL.get()).map(drop));
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

#[cfg(test)]
mod tests {
    use super::is_on_the_way;

    #[test]
    fn the_control_port_is_passed_before_it_is_reached_and_never_after() {
        let passes: Vec<u32> = (0..5000).filter(|&port| is_on_the_way(port)).collect();
        assert_eq!(passes, [255, 511, 767, 1023]);
        assert!(!is_on_the_way(1 << 30));
    }
}
