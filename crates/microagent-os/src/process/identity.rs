//! What makes a process the recorded one.
//!
//! Values only; they are read from the system in the platform file, and from records by `state`.
//! A pid alone identifies nobody, so no public function takes one.

use std::fmt;

/// Bytes of the textual parts that are accepted from a record.
const TEXT_BYTES_MAX: usize = 64;

/// A recorded identity that can't be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}")]
pub struct InvalidIdentity {
    /// What it should have been.
    pub what: &'static str,
    /// What was found.
    pub text: String,
}

macro_rules! opaque_text {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub struct $type(String);

        impl $type {
            /// From its recorded text: 1 to 64 letters, digits, dots and dashes.
            pub fn from_recorded(text: &str) -> Result<Self, InvalidIdentity> {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-';
                if (1..=TEXT_BYTES_MAX).contains(&text.len()) && text.bytes().all(plain) {
                    return Ok(Self(text.to_owned()));
                }
                let text = text.chars().take(TEXT_BYTES_MAX).collect();
                Err(InvalidIdentity { what: $what, text })
            }

            /// The text to record.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

opaque_text!(
    /// When a process started, in the unit of its host; only equality means something.
    StartTime,
    "a process start time"
);
opaque_text!(
    /// One boot of the host.
    HostBootId,
    "a host boot id"
);

/// A pid namespace, by the inode of its file in `/proc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PidNamespace(u64);

impl PidNamespace {
    /// From its recorded number.
    pub fn from_recorded(inode: u64) -> Self {
        Self(inode)
    }

    /// The number to record.
    pub fn inode(self) -> u64 {
        self.0
    }
}

/// A process, by pid and start time. Holding one proves nothing about whether it still lives.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProcessIdentity {
    pid: u32,
    start_time: StartTime,
}

impl ProcessIdentity {
    /// From a record. Pid 0 and pids that no kernel gives are refused.
    pub fn from_recorded(pid: u32, start_time: StartTime) -> Result<Self, InvalidIdentity> {
        if pid == 0 || i32::try_from(pid).is_err() {
            return Err(InvalidIdentity {
                what: "a process id",
                text: pid.to_string(),
            });
        }
        Ok(Self { pid, start_time })
    }

    /// The pid, for records and messages.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The start time, for records.
    pub fn start_time(&self) -> &StartTime {
        &self.start_time
    }
}

impl fmt::Display for ProcessIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.pid)
    }
}
