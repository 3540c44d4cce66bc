//! What things of the platform are called, and where they are: the scalars of these kinds.

use crate::definition::scalar::{Refused, refuse};
use crate::document::{is_deceptive, shown};

/// A name of a-z, 0-9, `-` and, where `underscores` says so, `_`; at most `most` of them.
pub(super) fn name(text: &str, what: &str, (most, underscores): (usize, bool)) -> Result<String, Refused> {
    let edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let inner = |b: &u8| edge(b) || *b == b'-' || underscores && *b == b'_';
    if (1..=most).contains(&bytes.len())
        && bytes.iter().all(inner)
        && bytes.first().is_some_and(edge)
        && bytes.last().is_some_and(edge)
    {
        return Ok(text.to_owned());
    }
    let marks = if underscores { ", `-` and `_`" } else { " and `-`" };
    refuse(
        format!("`{}` is not a name for a {what}", shown(text)),
        format!("names have 1 to {most} of a-z, 0-9{marks}, and begin and end with a letter or a digit"),
    )
}

/// A name for people: any text of one line.
pub(super) fn title(text: &str, what: &str, most: usize) -> Result<String, Refused> {
    if text.is_empty() || text.chars().count() > most || text.chars().any(is_deceptive) || text.trim() != text {
        return refuse(
            format!("`{}` is not a name for a {what}", shown(text)),
            format!("write 1 to {most} characters, without control characters or spaces at the ends"),
        );
    }
    Ok(text.to_owned())
}

/// A database's, a user's or a table's name: any text of one line without quotes.
pub(super) fn word(text: &str) -> Result<String, Refused> {
    let clean = |c: char| !is_deceptive(c) && !c.is_whitespace() && !matches!(c, '"' | '\'' | '`' | '\\');
    if (1..=128).contains(&text.len()) && text.chars().all(clean) {
        return Ok(text.to_owned());
    }
    refuse(format!("`{}` cannot be used here", shown(text)), "write 1 to 128 characters, without spaces and quotes")
}

/// An identifier of SQL.
pub(super) fn identifier(text: &str) -> Result<String, Refused> {
    let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if first && text.len() <= 63 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Ok(text.to_owned());
    }
    refuse(
        format!("`{}` is not a name for a table", shown(text)),
        "names are made of letters, digits and `_`, such as `d1_migrations`",
    )
}

/// Whether it is a name of the DNS.
fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (1..=253).contains(&text.len()) && text.split('.').all(label)
}

/// A host: a name of the DNS, or an address.
pub(super) fn host(text: &str) -> Result<String, Refused> {
    if text.parse::<core::net::IpAddr>().is_ok() || is_domain(text) && !text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Ok(text.to_owned());
    }
    refuse(format!("`{}` is no host", shown(text)), "write a name in lower case, or an address, without a scheme and a port")
}

/// An address, as people write it.
pub(super) fn address(text: &str) -> Result<String, Refused> {
    match text.parse::<core::net::IpAddr>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => refuse(format!("`{}` is no IP address", shown(text)), "such as `10.0.0.2` or `fd00::2`"),
    }
}

/// A host name of an ingress rule; its first label may be `*`.
pub(in crate::definition) fn hostname(text: &str) -> Result<String, Refused> {
    let bare = text.strip_prefix("*.").unwrap_or(text);
    if bare.contains('.') && is_domain(bare) {
        return Ok(text.to_owned());
    }
    refuse(format!("`{}` is no host name", shown(text)), "such as `api.example.com` or `*.example.com`")
}

/// Where an ingress rule leads. Source: developers.cloudflare.com, "Ingress rules: supported protocols".
pub(in crate::definition) fn service(text: &str) -> Result<String, Refused> {
    const SCHEMES: [&str; 7] = ["http://", "https://", "tcp://", "ssh://", "rdp://", "smb://", "unix:/"];
    let status = text.strip_prefix("http_status:").and_then(|code| code.parse::<u16>().ok());
    let leads = SCHEMES.iter().any(|scheme| text.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()));
    let clean = text.bytes().all(|b| b.is_ascii_graphic()) && text.len() <= 1_000 && !text.contains('@');
    let known = leads || text.starts_with("unix+tls:/") || status.is_some_and(|code| (100..=599).contains(&code));
    if clean && (known || matches!(text, "hello_world" | "bastion")) {
        return Ok(text.to_owned());
    }
    refuse(
        format!("`{}` is no service that a tunnel leads to", shown(text)),
        "such as `http://localhost:8080`, `ssh://localhost:22`, `unix:/run/app.sock` or `http_status:404`",
    )
}

/// The path of an ingress rule: a regular expression.
pub(in crate::definition) fn path(text: &str) -> Result<String, Refused> {
    if (1..=1_000).contains(&text.len()) && !text.chars().any(is_deceptive) {
        return Ok(text.to_owned());
    }
    refuse(format!("`{}` is no path", shown(text)), "write a regular expression, such as `^/v1/` or `\\.png$`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let queue = |text: &str| name(text, "queue", (63, false));
        assert!(queue("clicks-production").is_ok() && queue("a").is_ok());
        for bad in ["", "-a", "a-", "A", "a_b", "a b", &"a".repeat(64)] {
            assert!(queue(bad).is_err(), "{bad}");
        }
        assert!(name("a_b", "database", (64, true)).is_ok());
        assert!(title("My tunnel", "tunnel", 100).is_ok() && title(" a", "tunnel", 100).is_err());
        assert!(identifier("d1_migrations").is_ok() && identifier("a\"b").is_err() && identifier("1a").is_err());
        assert!(word("ads").is_ok() && word("a'b").is_err() && word("").is_err());
    }

    #[test]
    fn hosts() {
        for good in ["db.example.com", "localhost", "10.0.0.5", "fd00::2", "engine_1.internal"] {
            assert!(host(good).is_ok(), "{good}");
        }
        for bad in ["", "https://a.b", "a.b:80", "10.0.0.256", "A.example.com", "a..b", "-a.b", "a b"] {
            assert!(host(bad).is_err(), "{bad}");
        }
        assert!(hostname("*.example.com").is_ok() && hostname("example").is_err() && hostname("*").is_err());
        assert!(address("10.0.0.2").is_ok() && address("resolver.example.com").is_err());
    }

    #[test]
    fn services() {
        for good in ["http://localhost:8080", "ssh://10.0.0.1:22", "unix:/run/a.sock", "http_status:503", "hello_world"] {
            assert!(service(good).is_ok(), "{good}");
        }
        for bad in ["", "localhost:8080", "http://", "http_status:9999", "https://user:secret@a", "http://a b"] {
            assert!(service(bad).is_err(), "{bad}");
        }
        assert!(path("^/v1/").is_ok() && path("").is_err());
    }
}
