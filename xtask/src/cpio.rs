//! A writer of `newc` cpio archives, the format of an initramfs.
//!
//! Tools of the system put today's times, the builder's ids and the host's inode numbers into an
//! archive, so that no two builds are equal. This one writes what it is given and zeros for the
//! rest: the same entries give the same bytes anywhere, and a device node needs no privilege.
//! Pure: entries in, bytes out. It must not read files, and it does not read archives.

use std::fmt;

/// The longest name that the format and the kernel take.
const NAME_BYTES_MAX: usize = 4096;
/// A file's length is eight hex digits.
const FILE_BYTES_MAX: u64 = 0xffff_ffff;
/// The kernel wants every header and every file to start at a multiple of this.
const ALIGNMENT: usize = 4;
const TRAILER: &str = "TRAILER!!!";

const TYPE_FILE: u32 = 0o100_000;
const TYPE_DIRECTORY: u32 = 0o040_000;
const TYPE_CHARACTER_DEVICE: u32 = 0o020_000;

/// What an entry is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Content<'a> {
    /// A folder; it must come before what is in it.
    Directory,
    /// A regular file with these bytes.
    File(&'a [u8]),
    /// A character device.
    CharacterDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
}

/// One entry of an archive. Owner and group are root, the time is the epoch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    /// The path in the archive, without a leading slash.
    pub(crate) name: &'a str,
    /// Permission bits.
    pub(crate) permissions: u32,
    /// What it is.
    pub(crate) content: Content<'a>,
}

/// An entry that the format can't hold.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CpioError {
    /// The name is empty, absolute, too long, has a zero byte or is the end mark.
    Name(String),
    /// The file is beyond 4 GiB.
    FileTooLong(String),
    /// More than the type and permission bits of a mode.
    Permissions(String),
}

impl fmt::Display for CpioError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(formatter, "`{name}` can't be a name in an initramfs"),
            Self::FileTooLong(name) => write!(formatter, "`{name}` is longer than 4 GiB"),
            Self::Permissions(name) => write!(formatter, "`{name}` has bits beyond 07777"),
        }
    }
}

impl std::error::Error for CpioError {}

/// The bytes of an archive with these entries, in this order.
pub(crate) fn archive(entries: &[Entry<'_>]) -> Result<Vec<u8>, CpioError> {
    let mut bytes = Vec::new();
    for (index, entry) in (1..).zip(entries) {
        check(entry)?;
        let (kind, links, data, device) = match entry.content {
            Content::Directory => (TYPE_DIRECTORY, 2, &[][..], (0, 0)),
            Content::File(data) => (TYPE_FILE, 1, data, (0, 0)),
            Content::CharacterDevice { major, minor } => {
                (TYPE_CHARACTER_DEVICE, 1, &[][..], (major, minor))
            }
        };
        append(
            &mut bytes,
            &Header {
                inode: index,
                mode: kind | entry.permissions,
                links,
                device,
            },
            entry.name,
            data,
        );
    }
    let end = Header {
        inode: 0,
        mode: 0,
        links: 1,
        device: (0, 0),
    };
    append(&mut bytes, &end, TRAILER, &[]);
    Ok(bytes)
}

struct Header {
    inode: u32,
    mode: u32,
    links: u32,
    device: (u32, u32),
}

fn check(entry: &Entry<'_>) -> Result<(), CpioError> {
    let name = entry.name;
    let bad_name = name.is_empty()
        || name.starts_with('/')
        || name.contains('\0')
        || name.len() >= NAME_BYTES_MAX
        || name == TRAILER;
    if bad_name {
        return Err(CpioError::Name(name.to_owned()));
    }
    if entry.permissions & !0o7777 != 0 {
        return Err(CpioError::Permissions(name.to_owned()));
    }
    match entry.content {
        Content::File(data) if data.len() as u64 > FILE_BYTES_MAX => {
            Err(CpioError::FileTooLong(name.to_owned()))
        }
        _ => Ok(()),
    }
}

fn append(bytes: &mut Vec<u8>, header: &Header, name: &str, data: &[u8]) {
    let fields = [
        header.inode as usize,
        header.mode as usize,
        0, // user
        0, // group
        header.links as usize,
        0, // time
        data.len(),
        0, // device that the entry was on, major
        0, // and minor
        header.device.0 as usize,
        header.device.1 as usize,
        name.len() + 1,
        0, // checksum, unused in this format
    ];
    bytes.extend_from_slice(b"070701");
    for field in fields {
        bytes.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(0);
    pad(bytes);
    bytes.extend_from_slice(data);
    pad(bytes);
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    fn sample() -> [Entry<'static>; 3] {
        [
            Entry {
                name: "dev",
                permissions: 0o755,
                content: Content::Directory,
            },
            Entry {
                name: "dev/console",
                permissions: 0o600,
                content: Content::CharacterDevice { major: 5, minor: 1 },
            },
            Entry {
                name: "init",
                permissions: 0o755,
                content: Content::File(b"hello"),
            },
        ]
    }

    #[test]
    fn one_file_gives_these_bytes() {
        let bytes = archive(&sample()[2..]).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(
            text,
            concat!(
                "070701000000010000",
                "81ed",
                "00000000",
                "00000000",
                "00000001",
                "00000000",
                "00000005",
                "00000000",
                "00000000",
                "00000000",
                "00000000",
                "00000005",
                "00000000",
                "init\0",
                "\0",
                "hello\0\0\0",
                "0707010000000000000000",
                "00000000",
                "00000000",
                "00000001",
                "00000000",
                "00000000",
                "00000000",
                "00000000",
                "00000000",
                "00000000",
                "0000000b",
                "00000000",
                "TRAILER!!!\0",
                "\0\0\0"
            )
        );
    }

    #[test]
    fn everything_starts_at_a_multiple_of_four() {
        for length in 0..9 {
            let data = vec![7; length];
            let entry = Entry {
                content: Content::File(&data),
                ..sample()[2]
            };
            assert_eq!(archive(&[entry]).unwrap().len() % ALIGNMENT, 0);
        }
    }

    #[test]
    fn the_same_entries_give_the_same_bytes() {
        assert_eq!(archive(&sample()).unwrap(), archive(&sample()).unwrap());
    }

    #[test]
    fn names_that_the_kernel_would_misread_are_refused() {
        for name in ["", "/init", "a\0b", TRAILER, &"n".repeat(NAME_BYTES_MAX)] {
            let entry = Entry {
                name,
                ..sample()[2]
            };
            assert_eq!(
                archive(&[entry]).unwrap_err(),
                CpioError::Name(name.to_owned())
            );
        }
        let longest = "n".repeat(NAME_BYTES_MAX - 1);
        let entry = Entry {
            name: &longest,
            ..sample()[2]
        };
        archive(&[entry]).unwrap();
    }

    #[test]
    fn type_bits_among_the_permissions_are_refused() {
        let entry = Entry {
            permissions: 0o10_0755,
            ..sample()[2]
        };
        assert_eq!(
            archive(&[entry]).unwrap_err(),
            CpioError::Permissions("init".to_owned())
        );
    }

    #[test]
    fn the_system_s_cpio_reads_it() {
        let mut child = Command::new("cpio")
            .args(["--list", "--verbose", "--numeric-uid-gid", "--quiet"])
            .env("TZ", "UTC")
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("`cpio` is installed by `cargo xtask setup`");
        let bytes = archive(&sample()).unwrap();
        child.stdin.take().unwrap().write_all(&bytes).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let listing = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<Vec<&str>> = listing
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(lines[0][0], "drwxr-xr-x");
        assert_eq!(lines[1][..1], ["crw-------"]);
        assert!(
            listing.contains("5,   1 Jan  1  1970 dev/console"),
            "{listing}"
        );
        assert_eq!(
            lines[2],
            ["-rwxr-xr-x", "1", "0", "0", "5", "Jan", "1", "1970", "init"]
        );
    }
}
