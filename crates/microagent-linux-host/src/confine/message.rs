//! What the monitor and the process that will be the VMM say to each other before it is.
//!
//! Both are ours and of one version, and the VMM's program runs only afterwards. A message is a
//! 4-byte length and words that each end in a zero byte, which no path and no argument contains.
//! Pure; bounded all the same, since a bug must not become an allocation.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use microagent_supervisor::backend::ConfinementPart;

/// Bytes of a message's words: a command line with every path at its longest fits.
pub const MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// Bytes of the length before them.
pub const LENGTH_BYTES: usize = 4;

/// The word for a tap.
const TAP: &str = "tap";

/// What the monitor wants set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// An empty folder of the host where the root is put together.
    pub mount_point: PathBuf,
    /// What the root holds, in order.
    pub entries: Vec<Entry>,
    /// Whether its network gets a tap, whose other side the monitor wants.
    pub tap: bool,
}

/// One thing in the VMM's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// Where it is on the host; for a link, where it points.
    pub source: PathBuf,
    /// Where it is in the root, absolute.
    pub target: PathBuf,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A file or folder of the host, to be read.
    ReadOnly,
    /// A file or folder of the host, to be written.
    ReadWrite,
    /// A device of the host.
    Device,
    /// A symbolic link.
    Link,
    /// An empty file over what is there, so that it can be neither reached nor replaced.
    Mask,
}

impl EntryKind {
    const ALL: [Self; 5] = [
        Self::ReadOnly,
        Self::ReadWrite,
        Self::Device,
        Self::Link,
        Self::Mask,
    ];

    const fn word(self) -> &'static str {
        match self {
            Self::ReadOnly => "ro",
            Self::ReadWrite => "rw",
            Self::Device => "dev",
            Self::Link => "link",
            Self::Mask => "mask",
        }
    }
}

/// What was set up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// The parts that hold now.
    pub holds: Vec<ConfinementPart>,
    /// The parts that could not be had, and why.
    pub missing: Vec<(ConfinementPart, String)>,
    /// Whether there is a tap, or why not; none when nobody wanted one. The descriptor of its other
    /// side follows the message.
    pub tap: Option<Result<(), String>>,
}

/// What to become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Become {
    /// The program.
    pub program: PathBuf,
    /// Its working folder.
    pub working_folder: PathBuf,
    /// The numbers of the descriptors that it keeps, beside the three streams.
    pub descriptors: Vec<i32>,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

/// A message that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the words before the VMM's start can't be read")]
pub struct Unreadable;

#[cfg(unix)]
mod bytes {
    use super::{OsStr, OsString};
    use std::os::unix::ffi::{OsStrExt, OsStringExt};

    pub(super) fn of(word: &OsStr) -> &[u8] {
        word.as_bytes()
    }

    pub(super) fn to_word(bytes: &[u8]) -> OsString {
        OsString::from_vec(bytes.to_vec())
    }
}

#[cfg(not(unix))]
mod bytes {
    use super::{OsStr, OsString};

    /// These messages are only sent on Linux; words that are not text do not arise elsewhere.
    pub(super) fn of(word: &OsStr) -> &[u8] {
        word.to_str().unwrap_or_default().as_bytes()
    }

    pub(super) fn to_word(bytes: &[u8]) -> OsString {
        String::from_utf8_lossy(bytes).into_owned().into()
    }
}

/// The whole message: length and words.
fn encode<'a>(words: impl IntoIterator<Item = &'a OsStr>) -> Vec<u8> {
    let mut body = Vec::new();
    for word in words {
        body.extend_from_slice(bytes::of(word));
        body.push(0);
    }
    let length = u32::try_from(body.len()).expect("a message is far below 4 GiB");
    let mut message = length.to_be_bytes().to_vec();
    message.extend(body);
    message
}

/// The length of the words that follow.
pub fn body_length(length: [u8; LENGTH_BYTES]) -> Result<usize, Unreadable> {
    usize::try_from(u32::from_be_bytes(length))
        .ok()
        .filter(|length| *length <= MESSAGE_BYTES_MAX)
        .ok_or(Unreadable)
}

fn decode(body: &[u8]) -> Result<Vec<OsString>, Unreadable> {
    match body {
        [] => Ok(Vec::new()),
        [.., 0] => Ok(body[..body.len() - 1]
            .split(|byte| *byte == 0)
            .map(bytes::to_word)
            .collect()),
        _ => Err(Unreadable),
    }
}

impl Setup {
    /// As a message.
    pub fn encode(&self) -> Vec<u8> {
        let tap = if self.tap { TAP } else { "" };
        let mut words = vec![self.mount_point.as_os_str(), OsStr::new(tap)];
        for entry in &self.entries {
            words.push(OsStr::new(entry.kind.word()));
            words.push(entry.source.as_os_str());
            words.push(entry.target.as_os_str());
        }
        encode(words)
    }

    /// From a message's words.
    pub fn decode(body: &[u8]) -> Result<Self, Unreadable> {
        let words = decode(body)?;
        let [mount_point, tap, rest @ ..] = words.as_slice() else {
            return Err(Unreadable);
        };
        let entries = rest.chunks(3).map(|words| match words {
            [kind, source, target] => Ok(Entry {
                kind: EntryKind::ALL
                    .into_iter()
                    .find(|known| kind == known.word())
                    .ok_or(Unreadable)?,
                source: source.into(),
                target: target.into(),
            }),
            _ => Err(Unreadable),
        });
        Ok(Self {
            mount_point: mount_point.into(),
            entries: entries.collect::<Result<_, _>>()?,
            tap: tap == TAP,
        })
    }
}

impl Report {
    /// Nothing could be had, for one reason.
    pub fn nothing(reason: &str) -> Self {
        let parts = [
            ConfinementPart::UserNamespace,
            ConfinementPart::MountNamespace,
            ConfinementPart::IpcNamespace,
            ConfinementPart::NetworkNamespace,
            ConfinementPart::PrivateRoot,
        ];
        Self {
            holds: Vec::new(),
            missing: parts.map(|part| (part, reason.to_owned())).into(),
            tap: None,
        }
    }

    /// As a message.
    pub fn encode(&self) -> Vec<u8> {
        let mut words = Vec::new();
        for part in &self.holds {
            words.extend([OsStr::new(part.as_str()), OsStr::new("")]);
        }
        for (part, reason) in &self.missing {
            words.extend([OsStr::new(part.as_str()), OsStr::new(reason)]);
        }
        if let Some(tap) = &self.tap {
            let reason = tap.as_ref().err().map_or("", String::as_str);
            words.extend([OsStr::new(TAP), OsStr::new(reason)]);
        }
        encode(words)
    }

    /// From a message's words.
    pub fn decode(body: &[u8]) -> Result<Self, Unreadable> {
        let mut report = Self::default();
        for words in decode(body)?.chunks(2) {
            let [part, reason] = words else {
                return Err(Unreadable);
            };
            let reason = reason.to_string_lossy().into_owned();
            if part == TAP {
                report.tap = Some(if reason.is_empty() {
                    Ok(())
                } else {
                    Err(reason)
                });
                continue;
            }
            let part = ConfinementPart::ALL
                .into_iter()
                .find(|known| part == known.as_str())
                .ok_or(Unreadable)?;
            if reason.is_empty() {
                report.holds.push(part);
            } else {
                report.missing.push((part, reason));
            }
        }
        Ok(report)
    }
}

impl Become {
    /// As a message.
    pub fn encode(&self) -> Vec<u8> {
        let numbers: Vec<String> = self.descriptors.iter().map(i32::to_string).collect();
        let numbers = numbers.join(",");
        let mut words = vec![
            self.program.as_os_str(),
            self.working_folder.as_os_str(),
            OsStr::new(&numbers),
        ];
        words.extend(self.arguments.iter().map(OsString::as_os_str));
        encode(words)
    }

    /// From a message's words.
    pub fn decode(body: &[u8]) -> Result<Self, Unreadable> {
        let words = decode(body)?;
        let [program, working_folder, numbers, arguments @ ..] = words.as_slice() else {
            return Err(Unreadable);
        };
        let numbers = numbers.to_str().ok_or(Unreadable)?;
        let descriptors = numbers
            .split(',')
            .filter(|number| !number.is_empty())
            .map(|number| number.parse().map_err(|_| Unreadable));
        Ok(Self {
            program: program.into(),
            working_folder: working_folder.into(),
            descriptors: descriptors.collect::<Result<_, _>>()?,
            arguments: arguments.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn body(message: &[u8]) -> &[u8] {
        let (length, body) = message.split_at(LENGTH_BYTES);
        assert_eq!(body_length(length.try_into().unwrap()), Ok(body.len()));
        body
    }

    #[test]
    fn what_was_said_is_what_is_heard() {
        let setup = Setup {
            mount_point: "/w/run/jail".into(),
            entries: EntryKind::ALL
                .into_iter()
                .map(|kind| Entry {
                    kind,
                    source: "/a b".into(),
                    target: "/vm/x".into(),
                })
                .collect(),
            tap: true,
        };
        assert_eq!(Setup::decode(body(&setup.encode())), Ok(setup));
        for tap in [
            None,
            Some(Ok(())),
            Some(Err("no `/dev/net/tun`".to_owned())),
        ] {
            let report = Report {
                holds: vec![ConfinementPart::MountNamespace],
                missing: vec![(ConfinementPart::UserNamespace, "not here".to_owned())],
                tap,
            };
            assert_eq!(Report::decode(body(&report.encode())), Ok(report));
        }
        for descriptors in [vec![], vec![3, 4]] {
            let what = Become {
                program: "/usr/bin/x".into(),
                working_folder: "/run".into(),
                descriptors,
                arguments: vec!["".into(), "-a".into(), "b c\n".into()],
            };
            assert_eq!(Become::decode(body(&what.encode())), Ok(what));
        }
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused() {
        let length = |bytes: usize| u32::try_from(bytes).unwrap().to_be_bytes();
        assert!(body_length(length(MESSAGE_BYTES_MAX)).is_ok());
        assert!(body_length(length(MESSAGE_BYTES_MAX + 1)).is_err());
    }

    proptest! {
        #[test]
        fn noise_is_read_or_refused(noise in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Setup::decode(&noise);
            let _ = Report::decode(&noise);
            let _ = Become::decode(&noise);
        }
    }
}
