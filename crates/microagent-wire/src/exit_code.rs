//! What a process of ours returns, and why.

use crate::fault::FaultKind;

/// Done.
pub const DONE: u8 = 0;
/// Failed.
pub const FAILED: u8 = 1;
/// What was typed can't be understood.
pub const USAGE: u8 = 2;
/// Failed, and the same command may succeed later (`EX_TEMPFAIL` of sysexits.h).
pub const RETRYABLE: u8 = 75;
/// A deadline passed, as timeout(1) says it.
pub const TIMED_OUT: u8 = 124;
/// `run`, `exec`: microagent itself failed, as docker-run(1) says it.
pub const OURS: u8 = 125;
/// The guest found the command and can't execute it.
pub const NOT_EXECUTABLE: u8 = 126;
/// The guest did not find the command.
pub const NOT_FOUND_IN_GUEST: u8 = 127;
/// Ctrl-C ended it.
pub const INTERRUPTED: u8 = 130;
/// The reader of stdout went away.
pub const CLOSED_PIPE: u8 = 141;

/// The code of a command that failed with a fault of this kind.
pub const fn of_kind(kind: FaultKind) -> u8 {
    match kind {
        FaultKind::Usage => USAGE,
        FaultKind::Busy | FaultKind::Unavailable => RETRYABLE,
        FaultKind::Timeout => TIMED_OUT,
        FaultKind::Interrupted => INTERRUPTED,
        FaultKind::NotFound
        | FaultKind::Conflict
        | FaultKind::WrongState
        | FaultKind::Denied
        | FaultKind::Unsupported
        | FaultKind::Resource
        | FaultKind::Integrity
        | FaultKind::Guest
        | FaultKind::Backend
        | FaultKind::Internal => FAILED,
    }
}

/// The code of `run` and `exec` when microagent, not the guest's command, failed.
pub const fn of_kind_in_session(kind: FaultKind) -> u8 {
    match kind {
        FaultKind::Usage => USAGE,
        FaultKind::Interrupted => INTERRUPTED,
        _ => OURS,
    }
}

/// The code of something that signal `number` ended.
pub const fn of_signal(number: u8) -> u8 {
    128u8.wrapping_add(number)
}

#[cfg(test)]
mod tests {
    use super::{of_kind, of_kind_in_session, of_signal};
    use crate::fault::FaultKind;

    #[test]
    fn the_codes_are_the_published_ones() {
        let codes: Vec<u8> = FaultKind::ALL.into_iter().map(of_kind).collect();
        assert_eq!(codes, [2, 1, 1, 1, 75, 75, 124, 1, 1, 1, 1, 1, 1, 130, 1]);
        assert_eq!(of_kind_in_session(FaultKind::Busy), 125);
        assert_eq!(of_kind_in_session(FaultKind::Usage), 2);
        assert_eq!(of_signal(15), 143);
    }
}
