//! Extended attributes that travel: those of users, access lists, and the capabilities of programs.

use std::os::fd::BorrowedFd;

use rustix::fs::XattrFlags;

use crate::choices::AttributeChoice;

/// Largest list of names and largest value, as the kernel has them.
const BYTES_MAX: usize = 64 << 10;

fn travels(name: &[u8]) -> bool {
    name.starts_with(b"user.")
        || name == b"security.capability"
        || name == b"system.posix_acl_access"
        || name == b"system.posix_acl_default"
}

/// Those of an open file; none where the file system has none.
pub(crate) fn read(file: BorrowedFd<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut names = vec![0; BYTES_MAX];
    let Ok(count) = rustix::fs::flistxattr(file, &mut names[..]) else {
        return Vec::new();
    };
    names.truncate(count);
    let mut value = vec![0; if names.is_empty() { 0 } else { BYTES_MAX }];
    names
        .split(|byte| *byte == 0)
        .filter(|name| travels(name))
        .filter_map(|name| {
            let count = rustix::fs::fgetxattr(file, name, &mut value[..]).ok()?;
            Some((name.to_vec(), value[..count].to_vec()))
        })
        .collect()
}

/// Sets them on an open file; gives the names that could not be set.
pub(crate) fn write(
    file: BorrowedFd<'_>,
    attributes: &[(Vec<u8>, Vec<u8>)],
    choice: AttributeChoice,
) -> Vec<String> {
    attributes
        .iter()
        .filter(|(name, _)| travels(name))
        .filter(|(name, _)| choice == AttributeChoice::All || name.starts_with(b"user."))
        .filter(|(name, value)| {
            rustix::fs::fsetxattr(file, name.as_slice(), value, XattrFlags::empty()).is_err()
        })
        .map(|(name, _)| name.escape_ascii().to_string())
        .collect()
}
