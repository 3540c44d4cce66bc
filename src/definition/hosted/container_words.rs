//! The scalars of containers.
//!
//! **Invariant:** what passes is one word of Docker's command line and no more: no comma where Docker takes a list, no line
//! where it takes a file of lines.

use crate::definition::scalar::{Refused, refuse};
use crate::document::{is_deceptive, shown};

/// The name of a container, a volume or a network.
pub(super) fn name(text: &str) -> Result<String, Refused> {
    let begins = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    let letters = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    if begins && text.len() <= 128 && text.bytes().all(letters) && !text.contains(".trunkline-") {
        return Ok(text.to_owned());
    }
    refuse(format!("`{}` is not a name that Docker takes", shown(text)), "names are made of letters, digits, `_`, `.` and `-`")
}

/// A reference to an image.
pub(super) fn image(text: &str) -> Result<String, Refused> {
    let begins = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    let letters = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'/' | b':' | b'@');
    if begins && text.len() <= 512 && text.bytes().all(letters) {
        return Ok(text.to_owned());
    }
    refuse(format!("`{}` is not an image", shown(text)), "write it as `registry.example.com/ads-engine@sha256:…`")
}

/// Whether it can only ever mean one image.
pub(super) fn is_pinned(text: &str) -> bool {
    let digest = text.strip_prefix("sha256:").or_else(|| text.split_once("@sha256:").map(|(_, digest)| digest));
    digest.is_some_and(|digest| digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// An argument of a program: anything but what no argument can hold.
pub(super) fn argument(text: &str) -> Result<String, Refused> {
    if !text.contains('\0') && text.len() <= 64 * 1024 {
        return Ok(text.to_owned());
    }
    refuse("this cannot be an argument".to_owned(), "an argument holds no NUL, and at most 64 KiB")
}

/// Text of one line.
pub(super) fn line(text: &str) -> Result<String, Refused> {
    if !text.chars().any(char::is_control) && text.len() <= 64 * 1024 {
        return Ok(text.to_owned());
    }
    refuse("this has several lines, or holds a control character".to_owned(), "put it into a `file`, and mount that")
}

/// The name of a variable.
pub(super) fn variable(text: &str) -> Result<String, Refused> {
    let begins = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if begins && text.len() <= 255 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Ok(text.to_owned());
    }
    refuse(format!("`{}` is not the name of a variable", shown(text)), "names are made of letters, digits and `_`")
}

/// The name of a label.
pub(super) fn label(text: &str) -> Result<String, Refused> {
    let letters = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'/');
    let ours = text.starts_with("trunkline.");
    if !text.is_empty() && text.len() <= 255 && text.bytes().all(letters) && !ours {
        return Ok(text.to_owned());
    }
    refuse(
        format!("`{}` cannot be the name of a label", shown(text)),
        "letters, digits, `.`, `-`, `_` and `/`; `trunkline.` is ours",
    )
}

/// `[address:]port:port[/udp]`, in full: an address of its own is always said.
pub(super) fn port(text: &str) -> Result<String, Refused> {
    let hint = "such as `127.0.0.1:8080:80` or `53:53/udp`";
    let refused = || refuse(format!("`{}` does not say what is reached where", shown(text)), hint);
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let Some((outside, inside)) = ports.rsplit_once(':') else { return refused() };
    let (address, outside) = outside.rsplit_once(':').unwrap_or(("0.0.0.0", outside));
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    let number = |port: &str| port.parse::<u16>().ok().filter(|number| *number != 0 && !port.starts_with(['+', '0']));
    match (bare.parse::<core::net::IpAddr>(), number(outside), number(inside), protocol) {
        (Ok(core::net::IpAddr::V4(address)), Some(outside), Some(inside), "tcp" | "udp") => {
            Ok(format!("{address}:{outside}:{inside}/{protocol}"))
        }
        (Ok(core::net::IpAddr::V6(address)), Some(outside), Some(inside), "tcp" | "udp") => {
            Ok(format!("[{address}]:{outside}:{inside}/{protocol}"))
        }
        _ => refused(),
    }
}

/// A user, and a group after `:`.
pub(super) fn user(text: &str) -> Result<String, Refused> {
    let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    crate::definition::scalar::account(user)?;
    group.map(crate::definition::scalar::account).transpose()?;
    Ok(text.to_owned())
}

/// A path as it stands in a list of Docker's.
pub(super) fn inside(text: &str) -> Result<String, Refused> {
    let clean = !text.chars().any(|c| is_deceptive(c) || matches!(c, ',' | '"' | ':'));
    if text.starts_with('/') && clean && text.len() <= 4_000 && !text.split('/').any(|part| part == "..") {
        return Ok(text.to_owned());
    }
    refuse(
        format!("`{}` is not a path that can be mounted", shown(text)),
        "write an absolute path without `..`, `,`, `:` and `\"`",
    )
}

/// Bytes, with `k`, `m` or `g`.
pub(super) fn memory(text: &str) -> Result<String, Refused> {
    let digits = text.strip_suffix(['k', 'm', 'g']).unwrap_or_default();
    if !digits.is_empty() && digits.len() <= 6 && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0') {
        return Ok(text.to_owned());
    }
    refuse(format!("`{}` is no amount of memory", shown(text)), "a whole number and `k`, `m` or `g`, such as `512m`")
}

/// A number of processors.
pub(super) fn cpus(text: &str) -> Result<String, Refused> {
    let form = text.len() <= 6 && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match text.parse::<f64>() {
        Ok(number) if form && number > 0.0 && number <= 1024.0 => Ok(text.to_owned()),
        _ => refuse(format!("`{}` is no number of processors", shown(text)), "such as `\"1.5\"`"),
    }
}

/// A capability, such as `NET_ADMIN`.
pub(super) fn capability(text: &str) -> Result<String, Refused> {
    let letters = |b: u8| b.is_ascii_uppercase() || b == b'_';
    if !text.is_empty() && text.len() <= 40 && text.bytes().all(letters) && !text.starts_with("CAP_") {
        return Ok(text.to_owned());
    }
    refuse(format!("`{}` is no capability", shown(text)), "write it in upper case without `CAP_`, such as `NET_ADMIN` or `ALL`")
}

/// A device of the host.
pub(super) fn device(text: &str) -> Result<String, Refused> {
    let path = inside(text)?;
    if path.starts_with("/dev/") {
        return Ok(path);
    }
    refuse(format!("`{}` is no device", shown(text)), "such as `/dev/net/tun`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_one_word_and_no_option() {
        for bad in ["-x", "", "a b", "a,b", "../x", "x.trunkline-next", "--privileged"] {
            assert!(name(bad).is_err() && image(bad).is_err() || bad == "x.trunkline-next" && name(bad).is_err(), "{bad}");
        }
        for bad in ["/a,readonly", "relative", "/a\"b", "/a/../b", "/a:b", "/a\nb"] {
            assert!(inside(bad).is_err(), "{bad}");
        }
        for bad in ["1", "80:80/sctp", "0:80", "x:1:2", "127.0.0.1:80", "80:+80", "127.0.0.1:080:80", "99999:1"] {
            assert!(port(bad).is_err(), "{bad}");
        }
        assert_eq!(port("8080:80").as_deref(), Ok("0.0.0.0:8080:80/tcp"));
        assert_eq!(port("[::1]:53:53/udp").as_deref(), Ok("[::1]:53:53/udp"));
        for bad in ["A=B", "1A", "", "A-B", "A\nB"] {
            assert!(variable(bad).is_err(), "{bad}");
        }
        for bad in ["net_admin", "CAP_NET_ADMIN", "ALL,X", ""] {
            assert!(capability(bad).is_err(), "{bad}");
        }
        for bad in ["0", "-1", "nan", "1e9", "1,5", ""] {
            assert!(cpus(bad).is_err(), "{bad}");
        }
        assert!(cpus("1.5").is_ok() && memory("512m").is_ok() && memory("512").is_err() && memory("0m").is_err());
        assert!(line("a\nB=c").is_err() && user("1000:1000").is_ok() && user("a b").is_err() && device("/etc/x").is_err());
        assert!(is_pinned(&format!("x@sha256:{}", "a".repeat(64))) && !is_pinned("nginx:1.27"));
    }
}
