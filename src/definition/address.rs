//! The addresses that definitions name: of APIs, registries and probes.

use super::scalar::{Refused, refuse};
use crate::document::shown;

/// An API's address, without a final slash.
pub(super) fn endpoint(text: &str) -> Result<String, Refused> {
    let hint = "write an address such as `https://edge.fra.example.com/client/v4`";
    address(text, hint, ("a token would cross the network in the clear", "put the token into `api_token`"))
}

/// The address of a registry of npm, without a final slash.
pub(super) fn registry(text: &str) -> Result<String, Refused> {
    let hint = "write an address such as `https://registry.npmjs.org`";
    address(text, hint, ("a program would cross the network in the clear", hint))
}

/// An address by https, or of this machine; what is wrong with one that is neither, and what to do about a password in it.
fn address(text: &str, hint: &str, (clear, password): (&str, &str)) -> Result<String, Refused> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let clean =
        text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}'));
    let Some(rest) = rest.filter(|_| clean) else {
        return refuse(format!("`{}` is not an http or https address", shown(text)), hint);
    };
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.is_empty() || rest.contains(['?', '#', '%']) {
        return refuse(format!("`{}` is not the address of an API", shown(text)), hint);
    }
    if authority.contains('@') {
        return refuse("an address with a user name or a password in it is refused", password);
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    if host.is_empty() || port.is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0)) {
        return refuse(format!("`{}` has no valid host and port", shown(text)), hint);
    }
    let local = matches!(host, "localhost" | "[::1]") || host.starts_with("127.");
    if text.starts_with("http://") && !local {
        return refuse(clear, "use `https://`, or a loopback address");
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// The URL of a probe.
pub(super) fn probe_url(text: &str) -> Result<String, Refused> {
    let hint = "write a URL such as `https://api.example.com/health`";
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let authority = rest.and_then(|rest| rest.split(['/', '?']).next()).unwrap_or_default();
    let clean = text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b'<' | b'>' | b'`' | b'#'));
    if authority.is_empty() || !clean || text.len() > 2_000 {
        return refuse(format!("`{}` is not an http or https URL", shown(text)), hint);
    }
    if authority.contains('@') {
        return refuse("a URL with a user name or a password in it is refused", hint);
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(registry("https://registry.npmjs.org/").as_deref(), Ok("https://registry.npmjs.org"));
        assert!(registry("http://127.0.0.1:4873").is_ok() && registry("http://npm.example.com").is_err());
        assert_eq!(endpoint("https://e.example.com/client/v4/").as_deref(), Ok("https://e.example.com/client/v4"));
        assert!(endpoint("http://127.0.0.1:8787/client/v4").is_ok() && endpoint("http://[::1]:1/").is_ok());
        for bad in [
            "http://e.example.com",
            "https://",
            "https:///x",
            "https://u:p@h/x",
            "ftp://h",
            "https://h/%0a",
            "https://h:0",
            "https://h:99999",
            "http://127.0.0.1:x/",
        ] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
    }
}
