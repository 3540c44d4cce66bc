//! How a host is reached: `local`, or an address of SSH.
//!
//! **Invariant:** what is taken here goes to `ssh` as arguments and to a login shell on the other side. So neither user nor
//! host begins with a hyphen, and every character of them is of a short list: none that `ssh`, its configuration (`%h`,
//! `ProxyCommand`) or a shell reads as anything but itself.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::scalar::{Refused, refuse};
use crate::document::shown;

const HINT: &str = "write `local`, the daemon's own machine, `ssh://user@host:port` (user and port may be left out), or `agent`, a host \
                    that enrolled under this name";

/// What `connect` says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Way {
    Local,
    Agent,
    Ssh { user: Option<String>, host: String, port: Option<u16> },
}

pub(super) fn connect(text: &str) -> Result<Way, Refused> {
    if text == "local" {
        return Ok(Way::Local);
    }
    if text == "agent" {
        return Ok(Way::Agent);
    }
    let Some(rest) = text.strip_prefix("ssh://") else {
        return refuse(format!("`{}` is no way to reach a host", shown(text)), HINT);
    };
    let whole = || format!("`{}` is no address of SSH", shown(text));
    let (user, rest) = match rest.rsplit_once('@') {
        Some((user, rest)) => (Some(user), rest),
        None => (None, rest),
    };
    if let Some(user) = user.filter(|user| !is_user(user)) {
        let hint = "a user has letters, digits, `_`, `-` and `.`, begins with a letter or `_`, and brings no password";
        return refuse(format!("`{}` is no user", shown(user)), hint);
    }
    let (host, port) = match rest.strip_prefix('[') {
        Some(rest) => {
            let Some((address, after)) = rest.split_once(']') else { return refuse(whole(), HINT) };
            if !is_ipv6(address) {
                return refuse(format!("`{}` is no address of IPv6", shown(address)), HINT);
            }
            (address, after)
        }
        None => rest.split_at(rest.find(':').unwrap_or(rest.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(digits) => match digits.parse::<u16>() {
            Ok(port @ 1..) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(port),
            _ => return refuse(format!("`{}` is no port", shown(digits)), "a port is a number from 1 to 65535"),
        },
        None if port.is_empty() => None,
        None => return refuse(whole(), HINT),
    };
    if !host.contains(':') && !is_host(host) {
        return refuse(
            format!("`{}` is no host", shown(host)),
            "write a name of the DNS, an address, or a name that `ssh` knows",
        );
    }
    Ok(Way::Ssh { user: user.map(str::to_owned), host: host.to_owned(), port })
}

fn is_user(text: &str) -> bool {
    let first = |b: u8| b.is_ascii_alphabetic() || b == b'_';
    let rest = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    text.len() <= 32 && text.bytes().next().is_some_and(first) && text.bytes().all(rest)
}

fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// By its characters and their number; whether it is one is found out by `ssh`.
fn is_ipv6(text: &str) -> bool {
    let groups: Vec<&str> = text.split(':').collect();
    let whole = groups.len() == 8 || text.contains("::") && groups.len() <= 9;
    whole && groups.len() >= 3 && groups.iter().all(|group| group.len() <= 4 && group.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// A public key as `ssh-keyscan` and the files of a host have it; a comment goes.
pub(super) fn host_key(text: &str) -> Result<String, Refused> {
    const SORTS: [&str; 5] = ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"];
    let hint = "write what `ssh-keyscan -t ed25519 HOST` prints after the name, checked against `/etc/ssh/ssh_host_ed25519_key.pub` \
                on the host";
    let mut words = text.split_ascii_whitespace();
    let (Some(sort), Some(key)) = (words.next(), words.next()) else {
        return refuse(format!("`{}` is no public key of a host", shown(text)), hint);
    };
    if !SORTS.contains(&sort) {
        return refuse(format!("`{}` is no sort of host key", shown(sort)), format!("one of {}", SORTS.join(", ")));
    }
    match STANDARD.decode(key) {
        Ok(bytes) if is_whole(&bytes, sort) && !text.contains(['\n', '\r']) => Ok(format!("{sort} {key}")),
        _ => refuse("this is no public key of a host, or only a part of one", hint),
    }
}

/// Whether the bytes are a whole key: strings, each after its length, of which the first is the sort. Source: RFC 4253, 6.6.
fn is_whole(mut bytes: &[u8], sort: &str) -> bool {
    let mut strings = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some((string, rest)) = rest.split_at_checked(length) else { return false };
        strings.push(string);
        bytes = rest;
    }
    bytes.is_empty() && strings.len() > 1 && strings[0] == sort.as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ssh(user: Option<&str>, host: &str, port: Option<u16>) -> Result<Way, Refused> {
        Ok(Way::Ssh { user: user.map(str::to_owned), host: host.to_owned(), port })
    }

    #[test]
    fn ways_to_a_host() {
        assert_eq!(connect("local"), Ok(Way::Local));
        assert_eq!(connect("ssh://deploy@fra1.example.com"), ssh(Some("deploy"), "fra1.example.com", None));
        assert_eq!(connect("ssh://fra1"), ssh(None, "fra1", None));
        assert_eq!(connect("ssh://root@10.0.0.5:2222"), ssh(Some("root"), "10.0.0.5", Some(2222)));
        assert_eq!(connect("ssh://_a.b-c@[2001:db8::1]:22"), ssh(Some("_a.b-c"), "2001:db8::1", Some(22)));
        assert_eq!(connect("ssh://[::1]"), ssh(None, "::1", None));
    }

    #[test]
    fn what_ssh_or_a_shell_would_read_as_more_than_a_name_is_refused() {
        for bad in [
            "ssh://-oProxyCommand=touch%20x",
            "ssh://-oProxyCommand=x@host",
            "ssh://-host",
            "ssh://a.-b",
            "ssh://user@-h",
            "ssh://-u@host",
            "ssh://host;id",
            "ssh://host$(id)",
            "ssh://`id`@host",
            "ssh://a b@host",
            "ssh://host name",
            "ssh://user:password@host",
            "ssh://u@v@host",
            "ssh://host:22:22",
            "ssh://host:0",
            "ssh://host:65536",
            "ssh://host:+22",
            "ssh://host:",
            "ssh://host/path",
            "ssh://host?x",
            "ssh://%h",
            "ssh://%r@host",
            "ssh://host\n",
            "ssh://h\u{202e}",
            "ssh://[fe80::1%eth0]",
            "ssh://[::1",
            "ssh://[::1]x",
            "ssh://2001:db8::1",
            "ssh://",
            "ssh://@host",
            "ssh://user@",
            "ssh://host..name",
            "SSH://host",
            "ssh:host",
            "host",
            "",
            "agent://fra1",
        ] {
            assert!(connect(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_of_hosts() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAyV3NS3RY41i2z+G5EV9Iz14kL6BQQE275Yol3+sOeV";
        assert_eq!(host_key(key).as_deref(), Ok(key));
        assert_eq!(host_key(&format!("{key} root@fra1")).as_deref(), Ok(key));
        let body = key.split(' ').nth(1).unwrap();
        for bad in [
            "",
            "ssh-ed25519",
            body,
            &format!("ssh-rsa {body}"),
            &format!("ssh-dss {body}"),
            &format!("* {key}"),
            &format!("@cert-authority {key}"),
            &format!("{key}\n* {key}"),
            &key[..40],
            &key.replace('C', "*"),
        ] {
            assert!(host_key(bad).is_err(), "{bad}");
        }
    }
}
