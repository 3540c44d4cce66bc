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
    logins: Vec<Login>,
}

/// Somebody who can run programs here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Absolute.
    pub(super) home: String,
}

impl Accounts {
    /// Reads `etc/passwd` and `etc/group` beneath `root`, or else those of the machine.
    pub(super) fn read(root: &Root) -> Self {
        let passwd = text(root, "passwd");
        Self { users: parse(&passwd), groups: parse(&text(root, "group")), logins: logins(&passwd) }
    }

    /// Somebody by name, who has a home.
    pub(super) fn login(&self, name: &str) -> Result<Login, Fault> {
        let login = self.logins.iter().find(|login| login.name == name).cloned();
        login.ok_or_else(|| {
            let name = name.escape_debug();
            Fault::new(format!("there is no account `{name}` on this host that has a home"))
                .hint(format!("make it first, such as by `useradd --create-home {name}`"))
        })
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

/// Those with a home, whose paths are taken as they are.
fn logins(text: &str) -> Vec<Login> {
    let entry = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, _, home, ..] = fields.as_slice() else { return None };
        let home = home.trim_end_matches('/');
        let plain = home.starts_with('/') && !home.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '$' | '%'));
        let login = Login { name: (*name).to_owned(), uid: uid.parse().ok()?, gid: gid.parse().ok()?, home: home.to_owned() };
        (plain && !name.is_empty()).then_some(login)
    };
    text.lines().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_user_is_called_by_the_word_of_the_definition() {
        let users = parse("root:x:0:0::/root:/bin/sh\nwww-data:x:33:33::/:/bin/sh\n+::::\nbroken\n");
        let logins =
            logins("root:x:0:0::/root:/bin/sh\nwww-data:x:33:33::/:/bin/sh\ndeploy:x:1000:1001:a:/home/deploy/:/bin/sh\n");
        let accounts = Accounts { users, groups: parse("www-data:x:33:\n"), logins };
        let home = |name: &str| accounts.login(name).map(|login| (login.uid, login.gid, login.home));
        assert_eq!(home("deploy").unwrap(), (1000, 1001, "/home/deploy".to_owned()));
        assert!(home("www-data").is_err() && home("nobody-here").is_err() && home("0").is_err());
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
