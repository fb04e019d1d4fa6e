//! The `clock` service: the host's time becomes the guest's.

use super::{ANSWER_LIMIT, LINGER_LIMIT, Refusal, refuse};
use crate::clock::step_to;
use crate::connection::Connection;
use crate::context::{ClockAccess, Context};
use microagent_wire::fault::FaultKind;
use microagent_wire::frame::Frame;
use microagent_wire::guest::service::{ServiceAnswer, SessionDone, SessionOutput};

/// Sets the clock and says by how much it moved.
pub(crate) fn serve(mut connection: Connection, context: &Context, time_unix_us: u64) {
    if context.clock == ClockAccess::Refused {
        let message = "the clock of this guest is not its own";
        return refuse(connection, Refusal::new(FaultKind::Denied, message));
    }
    match step_to(time_unix_us) {
        Ok(stepped_ms) => {
            connection.queue_frame(&Frame::control(&ServiceAnswer::accepted()));
            let done = SessionDone {
                stepped_ms: Some(stepped_ms),
                ..SessionDone::default()
            };
            connection.send_frame(&Frame::control(&SessionOutput::Done(done)), ANSWER_LIMIT);
            connection.linger(LINGER_LIMIT);
        }
        Err(error) => {
            let refusal = Refusal::new(FaultKind::Denied, "the clock can't be set");
            refuse(connection, refusal.with_errno(error.raw_os_error()));
        }
    }
}
