//! What the compute service tells of a system, and what each of it means now.
//!
//! Pure: notifications in, at most one end out. It must not wait or call anything.

use microagent_supervisor::backend::{VmEvent, VmExit};

use crate::api::SystemExit;

/// A notification, as the service's callback gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// Which.
    pub kind: Kind,
    /// The answer of what has ended.
    pub status: u32,
    /// A document, for some.
    pub data: String,
}

/// Which notification it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `HcsNotificationSystemExited`.
    Exited,
    /// `HcsNotificationSystemCreateCompleted`.
    CreateCompleted,
    /// `HcsNotificationSystemStartCompleted`.
    StartCompleted,
    /// `HcsNotificationServiceDisconnect`: the service itself is gone.
    ServiceGone,
    /// Ours: the system is still there after it was killed, and goes with the handle that we hold.
    GivenUp,
    /// Any other.
    Other(u32),
}

impl Kind {
    /// From the service's number.
    pub const fn from_number(number: u32) -> Self {
        match number {
            0x1 => Self::Exited,
            0x2 => Self::CreateCompleted,
            0x3 => Self::StartCompleted,
            0x0100_0000 => Self::ServiceGone,
            other => Self::Other(other),
        }
    }

    /// Whether a system is no more after it.
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Exited | Self::ServiceGone | Self::GivenUp)
    }
}

/// What is still to be told of one system.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Life {
    ended: bool,
}

impl Life {
    /// What the supervisor hears of it; none when it has heard already or need not.
    pub fn take(&mut self, notification: &Notification) -> Option<VmEvent> {
        if self.ended || !notification.kind.is_end() {
            return None;
        }
        self.ended = true;
        let exit = match notification.kind {
            Kind::Exited => exit_of(&notification.data),
            _ => VmExit::default(),
        };
        Some(VmEvent::Ended(exit))
    }

    /// Whether the system is no more.
    pub fn has_ended(&self) -> bool {
        self.ended
    }
}

/// A system that its guest switched off has ended in order.
fn exit_of(data: &str) -> VmExit {
    let exit = SystemExit::from_json(data);
    VmExit {
        code: exit.is_graceful().then_some(0),
        ..VmExit::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notification(kind: Kind, data: &str) -> Notification {
        Notification {
            kind,
            status: 0,
            data: data.to_owned(),
        }
    }

    fn ended(code: Option<i32>) -> VmEvent {
        VmEvent::Ended(VmExit {
            code,
            ..VmExit::default()
        })
    }

    #[test]
    fn an_end_is_told_once_however_often_the_service_tells_it() {
        let graceful = r#"{"Status":0,"ExitType":"GracefulExit"}"#;
        let ends = [
            (notification(Kind::Exited, graceful), Some(0)),
            (notification(Kind::Exited, ""), None),
            (notification(Kind::ServiceGone, ""), None),
            (notification(Kind::GivenUp, ""), None),
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
    fn only_a_graceful_exit_has_a_code() {
        for data in [
            r#"{"Status":-1070137082,"ExitType":"UnexpectedExit"}"#,
            r#"{"Status":0,"ExitType":"ForcedExit"}"#,
            r#"{"Status":0}"#,
            "torn {",
        ] {
            let mut life = Life::default();
            assert_eq!(
                life.take(&notification(Kind::Exited, data)),
                Some(ended(None))
            );
        }
    }

    #[test]
    fn what_is_no_end_is_none() {
        let mut life = Life::default();
        for number in [2, 3, 4, 0xa, 0xd, 0x10000] {
            let kind = Kind::from_number(number);
            assert_eq!(life.take(&notification(kind, "")), None);
        }
        assert!(!life.has_ended());
        assert_eq!(Kind::from_number(1), Kind::Exited);
        assert_eq!(Kind::from_number(0x0100_0000), Kind::ServiceGone);
    }
}
