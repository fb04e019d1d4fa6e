//! What an answer of the Host Compute Service means to us.

use microagent_supervisor::backend::BackendErrorKind;

/// The call is under way; its end comes by notification.
const PENDING: u32 = 0xc037_0103;
const NOT_FOUND: u32 = 0xc037_010e;
const STOPPED: u32 = 0xc037_0110;
const INVALID_STATE: u32 = 0xc037_0105;
const TIMED_OUT: u32 = 0xc037_0109;
const ACCESS_DENIED: u32 = 0x8007_0005;
const OUT_OF_MEMORY: u32 = 0x8007_000e;
const ALREADY_EXISTS: u32 = 0xc037_010f;
/// Of the Host Compute Network.
const NETWORK_NOT_FOUND: u32 = 0x803b_0001;
const ENDPOINT_NOT_FOUND: u32 = 0x803b_0002;
const NETWORK_ALREADY_EXISTS: u32 = 0x803b_0010;

/// What came of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Done,
    /// Its end is told later.
    Pending,
    /// It failed, which means this.
    Failed(BackendErrorKind),
}

/// The meaning of a code.
pub fn answer(code: u32) -> Answer {
    match code {
        PENDING => Answer::Pending,
        code if code & 0x8000_0000 == 0 => Answer::Done,
        NOT_FOUND | NETWORK_NOT_FOUND | ENDPOINT_NOT_FOUND => {
            Answer::Failed(BackendErrorKind::NotFound)
        }
        ALREADY_EXISTS | NETWORK_ALREADY_EXISTS => Answer::Failed(BackendErrorKind::Conflict),
        TIMED_OUT => Answer::Failed(BackendErrorKind::Timeout),
        ACCESS_DENIED => Answer::Failed(BackendErrorKind::Denied),
        OUT_OF_MEMORY => Answer::Failed(BackendErrorKind::Resource),
        INVALID_STATE | STOPPED => Answer::Failed(BackendErrorKind::Failed),
        _ => Answer::Failed(BackendErrorKind::Failed),
    }
}

/// The meaning of a code when a system is to end: one that has ended or is not there is no failure.
pub fn answer_to_end(code: u32) -> Answer {
    match code {
        NOT_FOUND | STOPPED => Answer::Done,
        other => answer(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_under_way_is_no_failure() {
        assert_eq!(answer(0), Answer::Done);
        assert_eq!(answer(PENDING), Answer::Pending);
        let denied = Answer::Failed(BackendErrorKind::Denied);
        assert_eq!(answer(ACCESS_DENIED), denied);
    }

    #[test]
    fn ending_what_has_ended_is_success_and_starting_it_is_none() {
        for code in [NOT_FOUND, STOPPED] {
            assert_eq!(answer_to_end(code), Answer::Done);
            assert!(matches!(answer(code), Answer::Failed(_)));
        }
        assert!(matches!(answer_to_end(INVALID_STATE), Answer::Failed(_)));
    }
}
