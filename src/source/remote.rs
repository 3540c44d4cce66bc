//! Where the configuration repository is: a checked text that is safe to hand to `git`.
//!
//! Goes in: what the operator wrote. Comes out: a [`Remote`] of one of four forms, or why it is none.
//!
//! **Invariant:** no form can name a program, an option or a password: no transport helpers (`ext::`, `fd::`), no leading
//! `-`, no userinfo in https. Our own parser decides, since git resolves `https:///evil.example/x` to the host `evil.example`.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How a remote is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A repository on this machine.
    Path,
    /// HTTPS.
    Https,
    /// HTTP, to a loopback address only.
    Http,
    /// SSH, as a URL or as `user@host:path`.
    Ssh,
}

impl Transport {
    /// What git calls it in `GIT_ALLOW_PROTOCOL`.
    pub(super) fn protocol(self) -> &'static str {
        match self {
            Self::Path => "file",
            Self::Https => "https",
            Self::Http => "http",
            Self::Ssh => "ssh",
        }
    }
}

/// The configuration repository: `https://host/path`, `ssh://user@host/path`, `user@host:path`, or an absolute path.
/// Contains no secret, so it may be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Remote {
    text: String,
    transport: Transport,
}

impl Remote {
    /// The text, as given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// How it is reached.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// The folder, where the repository is on this machine: what a watch can look at.
    pub fn path(&self) -> Option<&Path> {
        matches!(self.transport, Transport::Path).then(|| Path::new(self.text.as_str()))
    }
}

/// Why a text is no remote. Never repeats a text that may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// The text is empty or longer than 2,048 bytes.
    #[error("a remote has between 1 and 2048 bytes")]
    Length,
    /// A control character, white space, or a character that cannot be in a URL.
    #[error("a remote cannot contain {0:?}")]
    Character(char),
    /// The text begins with `-`, and git would take it as an option.
    #[error("a remote, its host and its path cannot begin with `-`")]
    Option,
    /// A scheme or a transport helper that is not allowed.
    #[error("`{0}` is not allowed; a remote is https://, ssh://, user@host:path or an absolute path")]
    Scheme(String),
    /// Plain HTTP to another machine.
    #[error("http:// is allowed to a loopback address only")]
    PlainHttp,
    /// A user or a password in an https URL, or a password in an ssh URL.
    #[error("a remote cannot hold credentials; https asks the askpass program for them")]
    Credentials,
    /// The host or the port is missing or is not one.
    #[error("the remote's host is missing or is not a host name")]
    Host,
    /// The path is missing, or is no path.
    #[error("the remote's path is missing or is not a path")]
    Path,
    /// A path from the current folder.
    #[error("`{0}` is no URL; a path must be absolute")]
    Relative(String),
}

impl FromStr for Remote {
    type Err = RemoteError;
    fn from_str(text: &str) -> Result<Self, RemoteError> {
        if text.is_empty() || text.len() > 2048 {
            return Err(RemoteError::Length);
        }
        if let Some(character) = text.chars().find(|c| super::names::unprintable(*c)) {
            return Err(RemoteError::Character(character));
        }
        if text.starts_with('-') {
            return Err(RemoteError::Option);
        }
        let transport = if text.starts_with('/') {
            Transport::Path
        } else if let Some((scheme, rest)) = text.split_once("://") {
            url(scheme, rest)?
        } else {
            scp(text)?
        };
        Ok(Self { text: text.to_owned(), transport })
    }
}

fn url(scheme: &str, rest: &str) -> Result<Transport, RemoteError> {
    let transport = match scheme {
        "https" => Transport::Https,
        "http" => Transport::Http,
        "ssh" => Transport::Ssh,
        other => return Err(RemoteError::Scheme(format!("{}://", shown(other)))),
    };
    url_characters(rest)?;
    let (authority, path) = rest.split_once('/').ok_or(RemoteError::Path)?;
    let (user, address) = match authority.rsplit_once('@') {
        Some((user, address)) => (Some(user), address),
        None => (None, authority),
    };
    match (transport, user) {
        (Transport::Ssh, Some(user)) if !user.contains(':') => user_name(user)?,
        (_, Some(_)) => return Err(RemoteError::Credentials),
        (_, None) => {}
    }
    let (host, port) = split_port(address)?;
    host_name(host)?;
    if port.is_some_and(|port| !port.parse::<u16>().is_ok_and(|port| port > 0)) {
        return Err(RemoteError::Host);
    }
    if transport == Transport::Http && !matches!(host, "127.0.0.1" | "[::1]" | "localhost") {
        return Err(RemoteError::PlainHttp);
    }
    if path.is_empty() || path.contains(['?', '#']) || encodes_control(path) {
        return Err(RemoteError::Path);
    }
    Ok(transport)
}

fn scp(text: &str) -> Result<Transport, RemoteError> {
    let Some((address, path)) = text.split_once(':').filter(|(address, _)| !address.contains('/')) else {
        return Err(RemoteError::Relative(shown(text)));
    };
    if path.starts_with(':') {
        return Err(RemoteError::Scheme(format!("{}::", shown(address))));
    }
    url_characters(text)?;
    let host = match address.rsplit_once('@') {
        Some((user, host)) => {
            user_name(user)?;
            host
        }
        None => address,
    };
    host_name(host)?;
    // `user:password@host:path`, which ssh would take for the host `user`.
    if path.split('/').next().is_some_and(|first| first.contains('@')) {
        return Err(RemoteError::Credentials);
    }
    match path.chars().next() {
        None => Err(RemoteError::Path),
        Some('-') => Err(RemoteError::Option),
        Some(_) => Ok(Transport::Ssh),
    }
}

fn url_characters(text: &str) -> Result<(), RemoteError> {
    let bad =
        |c: &char| !c.is_ascii_graphic() || matches!(c, '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}' | '\'' | '$' | ';');
    text.chars().find(bad).map_or(Ok(()), |c| Err(RemoteError::Character(c)))
}

fn split_port(address: &str) -> Result<(&str, Option<&str>), RemoteError> {
    if let Some(rest) = address.strip_prefix('[') {
        let end = rest.find(']').ok_or(RemoteError::Host)?;
        let (host, tail) = address.split_at(end + 2);
        return match tail.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if tail.is_empty() => Ok((host, None)),
            None => Err(RemoteError::Host),
        };
    }
    Ok(address.split_once(':').map_or((address, None), |(host, port)| (host, Some(port))))
}

fn host_name(host: &str) -> Result<(), RemoteError> {
    if host.starts_with('-') {
        return Err(RemoteError::Option);
    }
    let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let good = match inner {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.len() <= 253
                && host.split('.').all(|label| !label.is_empty() && !label.starts_with('-'))
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        }
    };
    if good { Ok(()) } else { Err(RemoteError::Host) }
}

fn user_name(user: &str) -> Result<(), RemoteError> {
    if user.contains(':') {
        return Err(RemoteError::Credentials);
    }
    if user.starts_with('-') {
        return Err(RemoteError::Option);
    }
    let good = !user.is_empty() && user.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    if good { Ok(()) } else { Err(RemoteError::Host) }
}

/// Whether a percent-encoding of the path stands for a control character: `%0a` has split credential lines before.
fn encodes_control(path: &str) -> bool {
    path.match_indices('%').any(|(at, _)| match path.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
        Some(byte) => byte < 0x20 || byte == 0x7f,
        None => true,
    })
}

fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_default).collect()
}

impl TryFrom<String> for Remote {
    type Error = RemoteError;
    fn try_from(text: String) -> Result<Self, RemoteError> {
        text.parse()
    }
}

impl From<Remote> for String {
    fn from(remote: Remote) -> String {
        remote.text
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_forms_are_taken() {
        for (text, transport) in [
            ("https://git.example.com/ads/config.git", Transport::Https),
            ("https://git.example.com:8443/ads/config.git", Transport::Https),
            ("http://127.0.0.1:3000/config.git", Transport::Http),
            ("http://[::1]:3000/config.git", Transport::Http),
            ("ssh://git@git.example.com:2222/ads/config.git", Transport::Ssh),
            ("ssh://git.example.com/~/config.git", Transport::Ssh),
            ("git@git.example.com:ads/config.git", Transport::Ssh),
            ("fra1:config.git", Transport::Ssh),
            ("/srv/git/config.git", Transport::Path),
            ("/srv/a path/config:x.git", Transport::Path),
        ] {
            let remote: Remote = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!((remote.as_str(), remote.transport()), (text, transport));
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "ext::sh -c touch /x",
            "ext::sh",
            "fd::0",
            "file:///etc",
            "git://host/x",
            "ftp://host/x",
            "HTTPS://host/x",
            "http://example.com/x",
            "http://127.0.0.1.example.com/x",
            "http://localhost@evil.example/x",
            "ssh://-oProxyCommand=touch/x",
            "ssh://user@-oProxyCommand=x/x",
            "ssh://-l@host/x",
            "-oProxyCommand=x@host:path",
            "user@-oProxyCommand=x:path",
            "host:-path",
            "host:",
            "--upload-pack=touch /x",
            "--upload-pack=x",
            "https:///evil.example/x",
            "https://a%0ahost=evil/x",
            "https://host/a%0ab",
            "https://host/a%0",
            "https://user@host/x",
            "https://user:password@host/x",
            "ssh://user:password@host/x",
            "user:password@host:x",
            "https://host",
            "https://host/",
            "https://host/x?y",
            "https://host/x#y",
            "https://host:0/x",
            "https://host:99999/x",
            "https://host:/x",
            "https://..host/x",
            "https://[::1/x",
            "https://[zz]/x",
            "https://host/$(id)",
            "https://host/a\nb",
            "/srv/a\nb",
            "/srv/\u{202e}b",
            "relative/path",
            "./relative",
            "../relative",
        ] {
            assert!(text.parse::<Remote>().is_err(), "{text:?} was accepted");
        }
        assert!("a".repeat(3000).parse::<Remote>().is_err());
    }

    #[test]
    fn an_error_never_repeats_a_password() {
        for text in ["https://user:hunter2@host/x", "ssh://user:hunter2@host/x", "https://hunter2@host/x", "user:hunter2@host:x"]
        {
            assert!(!text.parse::<Remote>().unwrap_err().to_string().contains("hunter2"));
        }
    }
}
