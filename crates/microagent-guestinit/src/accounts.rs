//! Users and groups, from the guest's own `/etc/passwd` and `/etc/group`.
//!
//! Pure: the bytes of the two files come in. The C library's name services are never called: they
//! would load code from the image into PID 1. Lines that make no sense are skipped, as every other
//! reader of these files does.

use std::fmt;

/// The `USER` of a command: `NAME|UID[:GROUP|GID]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserSpec<'a> {
    user: &'a str,
    group: Option<&'a str>,
}

impl<'a> UserSpec<'a> {
    /// Splits the text; an empty user is root, an empty group is none.
    pub fn new(text: &'a str) -> Self {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
            None => (text, None),
        };
        let user = if user.is_empty() { "0" } else { user };
        Self { user, group }
    }
}

/// Who a process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
    /// The user's name; the number when there is no entry.
    pub name: String,
    /// The home folder; `/` when there is no entry.
    pub home: String,
    /// The login shell, when the entry names one.
    pub shell: Option<String>,
}

/// A name that the guest does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnknownAccount {
    /// No such user.
    User(String),
    /// No such group.
    Group(String),
}

impl fmt::Display for UnknownAccount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(formatter, "the guest has no user `{name}`"),
            Self::Group(name) => write!(formatter, "the guest has no group `{name}`"),
        }
    }
}

impl std::error::Error for UnknownAccount {}

struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
    shell: &'a str,
}

struct GroupEntry<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

fn passwd_entries(bytes: &[u8]) -> impl Iterator<Item = PasswdEntry<'_>> {
    lines(bytes).filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let home = fields.nth(1).unwrap_or("");
        let shell = fields.next().unwrap_or("");
        (!name.is_empty()).then_some(PasswdEntry {
            name,
            uid,
            gid,
            home,
            shell,
        })
    })
}

fn group_entries(bytes: &[u8]) -> impl Iterator<Item = GroupEntry<'_>> {
    lines(bytes).filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let gid = fields.nth(1)?.parse().ok()?;
        let members = fields.next().unwrap_or("");
        (!name.is_empty()).then_some(GroupEntry { name, gid, members })
    })
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &str> {
    bytes
        .split(|byte| *byte == b'\n')
        .filter_map(|line| std::str::from_utf8(line).ok())
        .map(|line| line.trim_end_matches('\r'))
        .filter(|line| !line.starts_with('#'))
}

/// Finds the account. A name wins over a number; a number needs no entry; a group that is named
/// takes the place of all the groups that the user is a member of.
///
/// # Errors
/// When a name, user or group, has no entry.
pub fn resolve(spec: UserSpec<'_>, passwd: &[u8], group: &[u8]) -> Result<Account, UnknownAccount> {
    let number = spec.user.parse::<u32>().ok();
    let entry = passwd_entries(passwd)
        .find(|entry| entry.name == spec.user)
        .or_else(|| passwd_entries(passwd).find(|entry| Some(entry.uid) == number));
    let mut account = match (entry, number) {
        (Some(entry), _) => Account {
            uid: entry.uid,
            gid: entry.gid,
            groups: memberships(entry.name, group),
            name: entry.name.to_owned(),
            home: Some(entry.home)
                .filter(|home| !home.is_empty())
                .unwrap_or("/")
                .to_owned(),
            shell: Some(entry.shell)
                .filter(|shell| !shell.is_empty())
                .map(str::to_owned),
        },
        (None, Some(uid)) => Account {
            uid,
            gid: 0,
            groups: Vec::new(),
            name: spec.user.to_owned(),
            home: "/".to_owned(),
            shell: None,
        },
        (None, None) => return Err(UnknownAccount::User(spec.user.to_owned())),
    };
    if let Some(name) = spec.group {
        account.gid = group_id(name, group)?;
        account.groups = Vec::new();
    }
    Ok(account)
}

/// Most further groups of a process, the kernel's own bound.
const GROUPS_MAX: usize = 65_536;

fn memberships(user: &str, group: &[u8]) -> Vec<u32> {
    group_entries(group)
        .filter(|entry| entry.members.split(',').any(|member| member == user))
        .map(|entry| entry.gid)
        .take(GROUPS_MAX)
        .collect()
}

fn group_id(name: &str, group: &[u8]) -> Result<u32, UnknownAccount> {
    group_entries(group)
        .find(|entry| entry.name == name)
        .map(|entry| entry.gid)
        .or_else(|| name.parse().ok())
        .ok_or_else(|| UnknownAccount::Group(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{UnknownAccount, UserSpec, resolve};

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/bash\n# note\nbad line\n\
        ada:x:1000:1001::/home/ada:/bin/sh\n7:x:70:71::/seven:\n\xff\xfe\nlast:x:5:6:::";
    const GROUP: &[u8] = b"root:x:0:\nwheel:x:10:ada,root\nada:x:1001:\naudio:x:29:bob,ada\n";

    fn of(text: &str) -> Result<super::Account, UnknownAccount> {
        resolve(UserSpec::new(text), PASSWD, GROUP)
    }

    #[test]
    fn a_name_has_its_home_shell_and_groups() {
        let ada = of("ada").unwrap();
        assert_eq!((ada.uid, ada.gid), (1000, 1001));
        assert_eq!(ada.groups, [10, 29]);
        assert_eq!(ada.home, "/home/ada");
        assert_eq!(ada.shell.as_deref(), Some("/bin/sh"));
    }

    #[test]
    fn a_number_is_the_same_account_and_needs_none() {
        assert_eq!(of("1000").unwrap(), of("ada").unwrap());
        let stranger = of("4242").unwrap();
        assert_eq!((stranger.uid, stranger.gid), (4242, 0));
        assert_eq!(stranger.home, "/");
        assert_eq!(stranger.name, "4242");
        assert!(stranger.groups.is_empty());
    }

    #[test]
    fn a_name_that_looks_like_a_number_wins() {
        assert_eq!(of("7").unwrap().uid, 70);
        assert_eq!(of("7").unwrap().shell, None);
    }

    #[test]
    fn a_named_group_replaces_all_others() {
        let ada = of("ada:audio").unwrap();
        assert_eq!(ada.gid, 29);
        assert!(ada.groups.is_empty());
        assert_eq!(of("ada:777").unwrap().gid, 777);
        assert_eq!(of("ada:").unwrap(), of("ada").unwrap());
    }

    #[test]
    fn nobody_named_is_root() {
        assert_eq!(of("").unwrap().uid, 0);
        assert_eq!(of(":audio").unwrap().gid, 29);
    }

    #[test]
    fn unknown_names_are_refused_and_named() {
        assert_eq!(of("bob"), Err(UnknownAccount::User("bob".into())));
        assert_eq!(of("ada:nope"), Err(UnknownAccount::Group("nope".into())));
        assert_eq!(of("bad line"), Err(UnknownAccount::User("bad line".into())));
    }

    #[test]
    fn an_image_without_accounts_still_has_root() {
        let root = resolve(UserSpec::new("0"), b"", b"").unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert!(resolve(UserSpec::new("root"), b"", b"").is_err());
    }

    #[test]
    fn a_short_last_line_is_read() {
        let last = of("last").unwrap();
        assert_eq!((last.uid, last.gid, last.home.as_str()), (5, 6, "/"));
    }
}
