//! What the framework tells of a machine, and what each of it means now.
//!
//! Pure: events in, at most one end out. The framework tells the same end in several ways (its delegate,
//! the answer to a stop, sometimes both), and tells of a lost network as often as it tries to begin it;
//! the supervisor must hear of each once. It must not wait or call anything.

use microagent_supervisor::backend::{Severs, VmEvent, VmExit};

/// The network in events and reports. There is no process behind it.
pub const NETWORK: &str = "network attachment";
/// Whose errors carry numbers of the operating system.
const POSIX_DOMAIN: &str = "NSPOSIXErrorDomain";
/// Whose errors carry numbers of `VZErrorCode`.
const FRAMEWORK_DOMAIN: &str = "VZErrorDomain";
/// Darwin's numbers for a peer that resets or refuses a connection.
const ECONNRESET: i64 = 54;
const ECONNREFUSED: i64 = 61;

/// An `NSError`, as far as anybody reads it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text} ({domain} {code})")]
pub struct CallError {
    /// `domain`.
    pub domain: String,
    /// `code`.
    pub code: i64,
    /// `localizedDescription`, and the reason when there is one.
    pub text: String,
}

/// What a failed call means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing listens on the port that was dialled.
    NobodyListens,
    /// Machines, memory or space are exhausted.
    Exhausted,
    /// The framework of this system cannot do it.
    NotHere,
    /// Anything else.
    Failed,
}

impl CallError {
    /// What it means.
    pub fn meaning(&self) -> Meaning {
        match (self.domain.as_str(), self.code) {
            (POSIX_DOMAIN, ECONNRESET | ECONNREFUSED) => Meaning::NobodyListens,
            // VZErrorVirtualMachineLimitExceeded, VZErrorOutOfDiskSpace.
            (FRAMEWORK_DOMAIN, 6 | 8) => Meaning::Exhausted,
            // VZErrorNotSupported.
            (FRAMEWORK_DOMAIN, 10) => Meaning::NotHere,
            _ => Meaning::Failed,
        }
    }
}

/// What happens to a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameworkEvent {
    /// `guestDidStopVirtualMachine:`: the guest switched its machine off.
    GuestStopped,
    /// `virtualMachine:didStopWithError:`.
    StoppedWithError(CallError),
    /// A stop that we asked for succeeded; the delegate does not tell of it.
    Stopped,
    /// A kill did nothing within its time, so the monitor ends, and the machine in it.
    GivenUp,
    /// A stop that we asked for failed.
    StopFailed(CallError),
    /// `virtualMachine:networkDevice:attachmentWasDisconnectedWithError:`.
    NetworkLost(CallError),
}

/// What is still to be told of one machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Life {
    ended: bool,
    network_is_gone: bool,
}

impl Life {
    /// What the supervisor hears of it; none when it has heard already or need not.
    pub fn take(&mut self, event: &FrameworkEvent) -> Option<VmEvent> {
        if self.ended {
            return None;
        }
        match event {
            FrameworkEvent::GuestStopped => Some(self.end(VmExit {
                code: Some(0),
                ..VmExit::default()
            })),
            FrameworkEvent::StoppedWithError(_)
            | FrameworkEvent::Stopped
            | FrameworkEvent::GivenUp => Some(self.end(VmExit::default())),
            // It lives on; whoever asked waits for the end and goes further.
            FrameworkEvent::StopFailed(_) => None,
            FrameworkEvent::NetworkLost(_) => {
                let is_news = !self.network_is_gone;
                self.network_is_gone = true;
                is_news.then_some(VmEvent::HelperEnded {
                    name: NETWORK,
                    severs: Severs::Network,
                })
            }
        }
    }

    /// The network is cut on purpose: its loss is no news.
    pub fn cut_network(&mut self) {
        self.network_is_gone = true;
    }

    /// Whether the machine is no more.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    fn end(&mut self, exit: VmExit) -> VmEvent {
        self.ended = true;
        VmEvent::Ended(exit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(domain: &str, code: i64) -> CallError {
        CallError {
            domain: domain.to_owned(),
            code,
            text: "it failed".to_owned(),
        }
    }

    fn ended(code: Option<i32>) -> VmEvent {
        VmEvent::Ended(VmExit {
            code,
            ..VmExit::default()
        })
    }

    #[test]
    fn an_end_is_told_once_however_often_the_framework_tells_it() {
        let ends = [
            (FrameworkEvent::GuestStopped, Some(0)),
            (FrameworkEvent::Stopped, None),
            (FrameworkEvent::GivenUp, None),
            (
                FrameworkEvent::StoppedWithError(error(FRAMEWORK_DOMAIN, 1)),
                None,
            ),
        ];
        for (first, code) in &ends {
            for (second, _) in &ends {
                let mut life = Life::default();
                assert_eq!(life.take(first), Some(ended(*code)));
                assert!(life.has_ended());
                assert_eq!(life.take(second), None, "{first:?}, then {second:?}");
            }
        }
    }

    #[test]
    fn a_stop_that_failed_is_no_end() {
        let mut life = Life::default();
        let failed = FrameworkEvent::StopFailed(error(FRAMEWORK_DOMAIN, 4));
        assert_eq!(life.take(&failed), None);
        assert!(!life.has_ended());
        assert_eq!(
            life.take(&FrameworkEvent::GuestStopped),
            Some(ended(Some(0)))
        );
    }

    #[test]
    fn a_lost_network_is_told_once_and_a_cut_one_never() {
        let lost = FrameworkEvent::NetworkLost(error(FRAMEWORK_DOMAIN, 7));
        let mut life = Life::default();
        assert!(matches!(
            life.take(&lost),
            Some(VmEvent::HelperEnded {
                severs: Severs::Network,
                ..
            })
        ));
        assert_eq!(life.take(&lost), None);
        let mut life = Life::default();
        life.cut_network();
        assert_eq!(life.take(&lost), None);
        assert_eq!(life.take(&FrameworkEvent::Stopped), Some(ended(None)));
    }

    #[test]
    fn errors_have_the_meaning_that_their_domain_gives_them() {
        let meaning = |domain, code| error(domain, code).meaning();
        assert_eq!(meaning(POSIX_DOMAIN, 54), Meaning::NobodyListens);
        assert_eq!(meaning(POSIX_DOMAIN, 61), Meaning::NobodyListens);
        assert_eq!(meaning(POSIX_DOMAIN, 60), Meaning::Failed);
        assert_eq!(meaning(FRAMEWORK_DOMAIN, 54), Meaning::Failed);
        assert_eq!(meaning(FRAMEWORK_DOMAIN, 6), Meaning::Exhausted);
        assert_eq!(meaning(FRAMEWORK_DOMAIN, 10), Meaning::NotHere);
    }
}
