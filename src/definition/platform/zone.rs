//! Names of the DNS: zones, and the hosts in them.

use crate::definition::scalar::Refused;
use crate::document::shown;
use crate::model::dns;

/// The name of a zone, in small letters.
pub(in crate::definition) fn zone(text: &str) -> Result<String, Refused> {
    let name = dns::name(text);
    if name.contains('.') && labels(&name, |label| is_label(label) && !label.contains('_')) {
        return Ok(name);
    }
    Err(Refused {
        message: format!("`{}` is not the name of a zone", shown(text)),
        hint: Some("write a domain, such as `example.com`".to_owned()),
    })
}

/// A host of `zone`, by its whole name, in small letters; its first label may be `*`.
pub(in crate::definition) fn host(text: &str, zone: &str) -> Result<String, Refused> {
    let name = dns::name(text);
    let bare = name.strip_prefix("*.").unwrap_or(&name);
    if !labels(bare, is_label) {
        let hint = format!("write the whole name, such as `api.{zone}`; letters beyond ASCII are written as `xn--…`");
        return Err(Refused { message: format!("`{}` is not the name of a host", shown(text)), hint: Some(hint) });
    }
    if bare != zone && !bare.ends_with(&format!(".{zone}")) {
        let message = format!("`{}` does not lie in the zone `{zone}`", shown(text));
        return Err(Refused { message, hint: Some(format!("write the whole name: it is `{zone}` or ends with `.{zone}`")) });
    }
    Ok(name)
}

fn labels(name: &str, sound: impl Fn(&str) -> bool) -> bool {
    (1..=253).contains(&name.len()) && name.split('.').all(sound)
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_lie_in_their_zone() {
        for good in
            ["example.com", "api.example.com", "API.Example.com.", "*.example.com", "_dmarc.example.com", "a.b.example.com"]
        {
            assert!(host(good, "example.com").is_ok(), "{good}");
        }
        for bad in [
            "",
            "api",
            "@",
            "example.org",
            "notexample.com",
            "a..example.com",
            "-a.example.com",
            "é.example.com",
            "a.*.example.com",
        ] {
            assert!(host(bad, "example.com").is_err(), "{bad}");
        }
        assert_eq!(zone("Example.COM.").as_deref(), Ok("example.com"));
        for bad in ["", "com", "a b.com", "example..com", "*.example.com"] {
            assert!(zone(bad).is_err(), "{bad}");
        }
    }
}
