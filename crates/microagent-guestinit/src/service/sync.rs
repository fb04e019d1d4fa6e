//! The `sync` service: everything written so far is on the disks when it answers.

use super::{ANSWER_LIMIT, LINGER_LIMIT};
use crate::clock::{Moment, whole_ms};
use crate::connection::Connection;
use microagent_wire::frame::Frame;
use microagent_wire::guest::service::{ServiceAnswer, SessionDone, SessionOutput};

/// Writes back every mount. Whoever waits has a deadline; the kernel's writing has none.
pub(crate) fn serve(mut connection: Connection) {
    connection.send_frame(&Frame::control(&ServiceAnswer::accepted()), ANSWER_LIMIT);
    let begun = Moment::now();
    rustix::fs::sync();
    let done = SessionDone {
        duration_ms: Some(whole_ms(begun.elapsed())),
        ..SessionDone::default()
    };
    connection.send_frame(&Frame::control(&SessionOutput::Done(done)), ANSWER_LIMIT);
    connection.linger(LINGER_LIMIT);
}
