//! One session: its first frame names a service, which then owns the connection.

use crate::connection::{Connection, Incoming};
use crate::context::{Context, NotAdmitted};
use crate::service::{
    ANSWER_LIMIT, LINGER_LIMIT, Refusal, clock, exec, files, forward, refuse, shell, sync,
};
use microagent_wire::fault::FaultKind;
use microagent_wire::frame::{Frame, FrameKind};
use microagent_wire::generation::GENERATION_MIN;
use microagent_wire::guest::service::{
    Service, ServiceAnswer, ServiceRequest, ServiceRequestError, SessionOutput,
};
use microagent_wire::limits::GUEST_FORWARDS_MAX;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// How long the first frame may take.
const FIRST_FRAME_LIMIT: Duration = Duration::from_secs(5);

/// Serves one connection of the host, on any stream socket, to its end. Never fails: whatever goes
/// wrong is said to the host, or the host is gone.
pub fn serve(socket: impl Into<OwnedFd>, context: &Context) {
    let Ok(mut connection) = Connection::new(socket) else {
        return;
    };
    let _counted = context.connections.admit(u32::MAX);
    let Incoming::Frame(frame) = connection.next(FIRST_FRAME_LIMIT) else {
        return;
    };
    let service = match request(frame.kind, &frame.payload) {
        Ok(request) => request.service,
        Err(refusal) => return refuse(connection, refusal),
    };
    let (count, max, what) = match service {
        Service::Forward { .. } => (&context.forwards, GUEST_FORWARDS_MAX, "connections"),
        _ => (&context.sessions, context.sessions_max, "sessions"),
    };
    let refusal = match count.admit(max) {
        Ok(_open) => return dispatch(connection, context, service),
        Err(NotAdmitted::Full) => Refusal::new(
            FaultKind::Resource,
            format!("the guest serves {max} {what} already"),
        ),
        Err(NotAdmitted::Ending) => Refusal::new(FaultKind::WrongState, "the guest is ending"),
    };
    refuse(connection, refusal);
}

fn request(kind: FrameKind, payload: &[u8]) -> Result<ServiceRequest, Refusal> {
    let usage = |message: String| Refusal::new(FaultKind::Usage, message);
    if kind != FrameKind::Control {
        return Err(usage("a session begins with a request".to_owned()));
    }
    match ServiceRequest::parse(payload) {
        Ok(request) if request.generation < GENERATION_MIN => Err(Refusal::new(
            FaultKind::Unsupported,
            format!("generation {} is too old", request.generation),
        )),
        Ok(request) => Ok(request),
        Err(error @ ServiceRequestError::UnknownService(_)) => {
            Err(Refusal::new(FaultKind::Unsupported, error.to_string()))
        }
        Err(ServiceRequestError::Malformed(error)) => {
            Err(usage(format!("the request names no service: {error}")))
        }
    }
}

fn dispatch(connection: Connection, context: &Context, service: Service) {
    if context.maintenance && needs_more_than_disks(&service) {
        let message = "the workspace is booted for its files alone";
        return refuse(connection, Refusal::new(FaultKind::WrongState, message));
    }
    match service {
        Service::Exec(request) => exec::serve(connection, context, &request),
        Service::Shell(request) => shell::serve(connection, context, &request),
        Service::Forward { port, host } => forward::serve(connection, context, port, host),
        Service::Sync {} => sync::serve(connection),
        Service::Clock { time_unix_us } => clock::serve(connection, context, time_unix_us),
        Service::Ping { nonce } => ping(connection, nonce),
        Service::Read {
            path,
            archive,
            follow_links,
            limit_bytes,
        } => {
            let request = files::ReadRequest {
                path,
                archive,
                follow_links,
                limit_bytes,
            };
            files::read(connection, context, &request);
        }
        Service::Write {
            path,
            archive,
            mode,
            owner,
            keep_owner,
            parents,
        } => {
            let request = files::WriteRequest {
                path,
                archive,
                mode,
                owner,
                keep_owner,
                parents,
            };
            files::write(connection, context, &request);
        }
        Service::List { path, depth, limit } => {
            files::list(connection, context, &path, depth, limit);
        }
        Service::Stat { path, follow_links } => files::stat(connection, &path, follow_links),
    }
}

/// What a boot without processes and network does not have.
fn needs_more_than_disks(service: &Service) -> bool {
    matches!(
        service,
        Service::Exec(_) | Service::Shell(_) | Service::Forward { .. } | Service::Clock { .. }
    )
}

fn ping(mut connection: Connection, nonce: String) {
    connection.queue_frame(&Frame::control(&ServiceAnswer::accepted()));
    let pong = SessionOutput::Pong {
        nonce,
        uptime_ms: crate::clock::uptime_ms(),
    };
    connection.send_frame(&Frame::control(&pong), ANSWER_LIMIT);
    connection.linger(LINGER_LIMIT);
}
