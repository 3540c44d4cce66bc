//! Users and groups of a host, by its own files: those of the root where it has them, else those of the machine.

use std::fs::File;
use std::io::Read;

use rustix::fs::{Mode, OFlags, openat};

use super::Fault;
use super::beneath::Root;

const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// The users and groups.
pub(super) struct Accounts {
    users: Vec<(String, u32)>,
    groups: Vec<(String, u32)>,
}

impl Accounts {
    /// Reads `etc/passwd` and `etc/group` beneath `root`, or else those of the machine.
    pub(super) fn read(root: &Root) -> Self {
        Self { users: parse(&text(root, "passwd")), groups: parse(&text(root, "group")) }
    }

    /// The number of a user, given by name or number.
    pub(super) fn uid(&self, owner: &str) -> Result<u32, Fault> {
        number(&self.users, owner, "user", "passwd")
    }

    /// The number of a group, given by name or number.
    pub(super) fn gid(&self, group: &str) -> Result<u32, Fault> {
        number(&self.groups, group, "group", "group")
    }

    /// What to call the user `uid`: as `wanted` does where that is the same user.
    pub(super) fn user(&self, uid: u32, wanted: Option<&str>) -> String {
        word(&self.users, uid, wanted)
    }

    /// What to call the group `gid`: as `wanted` does where that is the same group.
    pub(super) fn group(&self, gid: u32, wanted: Option<&str>) -> String {
        word(&self.groups, gid, wanted)
    }
}

fn lookup(entries: &[(String, u32)], wanted: &str) -> Option<u32> {
    // A name of digits only is taken as a number, as chown(1) would not: such names are refused by useradd.
    let number = || wanted.parse().ok().filter(|&number| number != u32::MAX);
    entries.iter().find(|(name, _)| name == wanted).map(|(_, number)| *number).or_else(number)
}

fn number(entries: &[(String, u32)], wanted: &str, what: &str, file: &str) -> Result<u32, Fault> {
    lookup(entries, wanted).ok_or_else(|| {
        let wanted = wanted.escape_debug();
        Fault::new(format!("there is no {what} `{wanted}` on this host"))
            .hint(format!("make it first, or give its number; names are looked up in /etc/{file} of the host"))
    })
}

fn word(entries: &[(String, u32)], number: u32, wanted: Option<&str>) -> String {
    if let Some(wanted) = wanted.filter(|wanted| lookup(entries, wanted) == Some(number)) {
        return wanted.to_owned();
    }
    let name = entries.iter().find(|(_, other)| *other == number).map(|(name, _)| name.clone());
    name.unwrap_or_else(|| number.to_string())
}

fn text(root: &Root, name: &str) -> String {
    let read = |file: File| {
        let mut bytes = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut bytes).ok().map(|_| String::from_utf8_lossy(&bytes).into_owned())
    };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let folder = root.folder(&["etc".to_owned()]).ok().flatten();
    let beneath = folder.and_then(|folder| openat(folder, name, flags, Mode::empty()).ok()).map(File::from);
    let beneath = beneath.filter(|file| file.metadata().is_ok_and(|metadata| metadata.is_file()));
    beneath.or_else(|| File::open(format!("/etc/{name}")).ok()).and_then(read).unwrap_or_default()
}

/// `name:password:number:…`, one a line.
fn parse(text: &str) -> Vec<(String, u32)> {
    let entry = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        Some((name.to_owned(), fields.nth(1)?.parse().ok()?))
    };
    text.lines().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_user_is_called_by_the_word_of_the_definition() {
        let users = parse("root:x:0:0::/root:/bin/sh\nwww-data:x:33:33::/:/bin/sh\n+::::\nbroken\n");
        let accounts = Accounts { users, groups: parse("www-data:x:33:\n") };
        assert_eq!(accounts.uid("www-data").unwrap(), 33);
        assert_eq!(accounts.uid("33").unwrap(), 33);
        assert_eq!(accounts.uid("1234").unwrap(), 1234);
        assert_eq!(accounts.user(33, Some("33")), "33");
        assert_eq!(accounts.user(33, Some("root")), "www-data");
        assert_eq!(accounts.user(1234, None), "1234");
        assert_eq!(accounts.group(33, None), "www-data");
        for bad in ["nobody-here", "4294967295", "-1", ""] {
            let fault = accounts.uid(bad).unwrap_err();
            assert!(fault.hint.is_some() && !fault.transient, "{fault}");
        }
    }
}
