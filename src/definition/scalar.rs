//! The scalars: what is written as text and means something narrower. Each check says what is expected.

use crate::document::shown;
use crate::model::{Batch, Route};

/// Why a scalar is refused: the message, and what to write instead.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

pub(super) fn refuse<T>(message: impl Into<String>, hint: impl Into<String>) -> Result<T, Refused> {
    Err(Refused { message: message.into(), hint: Some(hint.into()) })
}

/// The longest interval: thirty days.
const MAX_INTERVAL: u64 = 30 * 86_400;

/// `1m` to seconds.
pub(super) fn interval(text: &str) -> Result<u64, Refused> {
    let hint = "write a whole number and `s`, `m`, `h` or `d`, such as `1m`";
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        _ => return refuse(format!("`{}` is not an interval", shown(text)), hint),
    };
    let digits = &text[..text.len() - 1];
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return refuse(format!("`{}` is not an interval", shown(text)), hint);
    }
    match digits.parse::<u64>().ok().and_then(|n| n.checked_mul(unit)) {
        Some(0) => refuse("an interval is at least one second", hint),
        Some(seconds) if seconds <= MAX_INTERVAL => Ok(seconds),
        _ => refuse(format!("the interval `{}` is longer than 30 days", shown(text)), hint),
    }
}

/// `2` or `"25%"` to how many hosts are changed at a time.
pub(super) fn batch(written: &serde_json::Value) -> Result<Batch, Refused> {
    let number = |number: u64| u32::try_from(number).ok().filter(|number| *number > 0);
    let percent = |text: &str| number(text.strip_suffix('%').filter(|digits| !digits.starts_with('+'))?.parse().ok()?);
    let batch = match written {
        serde_json::Value::Number(written) => written.as_u64().and_then(number).map(Batch::Hosts),
        serde_json::Value::String(text) => percent(text).filter(|percent| *percent <= 100).map(Batch::Percent),
        _ => None,
    };
    batch.map_or_else(
        || {
            refuse(
                "this is no number of hosts, and no share of them",
                "write a whole number from 1, or a share such as `\"25%\"`",
            )
        },
        Ok,
    )
}

/// `0640` to permission bits.
pub(super) fn mode(text: &str) -> Result<u32, Refused> {
    let hint = "write three or four octal digits, such as `0640`";
    let octal = matches!(text.len(), 3 | 4) && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
    match u32::from_str_radix(text, 8) {
        Ok(bits) if octal && bits <= 0o777 => Ok(bits),
        Ok(_) if octal => refuse(format!("the mode `{text}` sets setuid, setgid or sticky, which is refused"), hint),
        _ => refuse(format!("`{}` is not a mode", shown(text)), hint),
    }
}

/// A day of the calendar, `YYYY-MM-DD`.
pub(super) fn date(text: &str) -> Result<String, Refused> {
    let digits = |range: std::ops::Range<usize>| text.as_bytes()[range].iter().all(u8::is_ascii_digit);
    let form = text.len() == 10 && text.is_ascii() && &text[4..5] == "-" && &text[7..8] == "-";
    if !(form && digits(0..4) && digits(5..7) && digits(8..10)) {
        return refuse(format!("`{}` is not a date", shown(text)), "write it as `YYYY-MM-DD`, such as `2026-11-01`");
    }
    match chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => refuse(format!("`{text}` is not a day of the calendar"), "write it as `YYYY-MM-DD`, such as `2026-11-01`"),
    }
}

/// A compatibility flag, such as `nodejs_compat`.
pub(super) fn flag(text: &str) -> Result<String, Refused> {
    let good =
        !text.is_empty() && text.len() <= 100 && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b':'));
    if good {
        Ok(text.to_owned())
    } else {
        refuse(
            format!("`{}` is not a compatibility flag", shown(text)),
            "flags are made of a-z, 0-9 and `_`, such as `nodejs_compat`",
        )
    }
}

/// The name under which a Worker's code sees a var or a resource.
pub(super) fn binding_name(text: &str) -> Result<(), Refused> {
    let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    let rest = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if first && rest && text.len() <= 255 {
        return Ok(());
    }
    refuse(
        format!("`{}` is not a name for a binding", shown(text)),
        "write a JavaScript identifier: letters, digits and `_`, such as `LOG_LEVEL`",
    )
}

/// A Worker's name at the target.
pub(super) fn script_name(text: &str) -> Result<String, Refused> {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let good = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'));
    if text.len() > 63 {
        return refuse(format!("the Worker's name `{}` has more than 63 characters", shown(text)), "give it a shorter `name`");
    }
    if good && edge(text.bytes().next()) && edge(text.bytes().last()) {
        return Ok(text.to_owned());
    }
    refuse(
        format!("`{}` is not a name for a Worker", shown(text)),
        "names are made of a-z, 0-9, `-` and `_`, and begin and end with a letter or a digit",
    )
}

/// A KV namespace's title.
pub(super) fn title(text: &str) -> Result<String, Refused> {
    if text.is_empty() || text.len() > 512 || text.chars().any(crate::document::is_deceptive) || text.trim() != text {
        return refuse(
            format!("`{}` is not a title for a KV namespace", shown(text)),
            "write 1 to 512 characters, without control characters or spaces at the ends",
        );
    }
    Ok(text.to_owned())
}

/// An R2 bucket's name. Source: developers.cloudflare.com/r2/buckets/create-buckets.
pub(super) fn bucket_name(text: &str) -> Result<String, Refused> {
    let edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let sound = (3..=63).contains(&bytes.len())
        && bytes.iter().all(|b| edge(b) || *b == b'-')
        && bytes.first().is_some_and(edge)
        && bytes.last().is_some_and(edge);
    if sound {
        return Ok(text.to_owned());
    }
    refuse(
        format!("`{}` is not a name for a bucket", shown(text)),
        "names have 3 to 63 of a-z, 0-9 and `-`, and begin and end with a letter or a digit",
    )
}

/// 32 hex digits.
pub(super) fn account_id(text: &str) -> Result<String, Refused> {
    if text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(text.to_owned());
    }
    refuse(format!("`{}` is not an account id", shown(text)), "an account id is 32 hex digits, in lower case")
}

/// A region or the value of a label.
pub(super) fn label(text: &str) -> Result<String, Refused> {
    let good = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if good && !text.is_empty() && text.len() <= 63 {
        return Ok(text.to_owned());
    }
    refuse(format!("`{}` is not a label", shown(text)), "labels are made of letters, digits, `-`, `_` and `.`, at most 63")
}

/// A user or a group: a name or a number.
pub(super) fn account(text: &str) -> Result<String, Refused> {
    let number = !text.is_empty() && text.len() <= 10 && text.bytes().all(|b| b.is_ascii_digit());
    let name = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_')
        && text.len() <= 32
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'));
    if name || number && text.parse::<u32>().is_ok_and(|id| id != u32::MAX) {
        return Ok(text.to_owned());
    }
    refuse(format!("`{}` is not a user or a group", shown(text)), "write a name such as `www-data` or a number")
}

/// A path on a host: absolute and normalized.
pub(super) fn host_path(text: &str) -> Result<String, Refused> {
    let hint = "write an absolute path without `.`, `..`, `//` or a final slash";
    if !text.starts_with('/') {
        return refuse(format!("`{}` is not an absolute path", shown(text)), hint);
    }
    if text.chars().any(crate::document::is_deceptive) {
        return refuse(format!("the path `{}` contains a control or invisible character", shown(text)), hint);
    }
    if text[1..].split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        return refuse(format!("the path `{}` is not normalized", shown(text)), hint);
    }
    if text.len() > 4_000 || text.split('/').any(|part| part.len() > 255) {
        return refuse(
            format!("the path `{}` is too long", shown(text)),
            "a path has at most 4,000 bytes, each of its parts 255",
        );
    }
    Ok(text.to_owned())
}

/// Checks that a route's pattern lies in its zone.
pub(super) fn route(pattern: &str, zone: &str) -> Result<Route, Refused> {
    let domain = |text: &str| {
        text.contains('.')
            && text.len() <= 253
            && text.split('.').all(|l| {
                !l.is_empty()
                    && l.len() <= 63
                    && !l.starts_with('-')
                    && !l.ends_with('-')
                    && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            })
    };
    if !domain(zone) {
        return refuse(
            format!("`{}` is not the name of a zone", shown(zone)),
            "write a domain in lower case, such as `example.com`",
        );
    }
    let rest = pattern.strip_prefix("https://").or_else(|| pattern.strip_prefix("http://")).unwrap_or(pattern);
    let host = rest.split('/').next().unwrap_or_default();
    let bare = host.strip_prefix("*.").or_else(|| host.strip_prefix('*')).unwrap_or(host);
    let clean = pattern.bytes().all(|b| b.is_ascii_graphic()) && !pattern.contains(['?', '#']);
    if !clean || !domain(bare) {
        return refuse(
            format!("`{}` is not the pattern of a route", shown(pattern)),
            format!("write a host and a path, such as `api.{zone}/*`"),
        );
    }
    if bare != zone && !bare.ends_with(&format!(".{zone}")) {
        return refuse(
            format!("the pattern `{}` does not lie in the zone `{zone}`", shown(pattern)),
            format!("the host of the pattern must be `{zone}` or end with `.{zone}`"),
        );
    }
    Ok(Route { pattern: pattern.to_owned(), zone_name: zone.to_owned() })
}

/// An ASCII-armored age file, by its shape only; opening it is the room `secrets`' work.
pub(super) fn armor(text: &str) -> Result<String, Refused> {
    const BEGIN: &str = "-----BEGIN AGE ENCRYPTED FILE-----";
    const END: &str = "-----END AGE ENCRYPTED FILE-----";
    let hint = "write the value with `trunkline secrets set`";
    let body = text.trim().strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END));
    let Some(body) = body else {
        return refuse("this is not an ASCII-armored age file", hint);
    };
    let base64 = body.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'\n' | b'\r'));
    if body.trim().is_empty() || !base64 {
        return refuse("the armor of this age file is damaged", hint);
    }
    Ok(format!("{}\n", text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals() {
        assert_eq!(interval("1m"), Ok(60));
        assert_eq!(interval("30d"), Ok(2_592_000));
        for bad in ["", "s", "0s", "-1", "-1s", "1y", "1", "1e30s", "1.5m", "31d", "99999999999999999999s", "1 m", "1µ", "é"] {
            assert!(interval(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn modes() {
        assert_eq!((mode("0640"), mode("644")), (Ok(0o640), Ok(0o644)));
        for bad in ["4755", "1777", "0888", "64", "00644", "", "rw-r--r--", "+644"] {
            assert!(mode(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn dates_and_flags() {
        assert!(date("2026-11-01").is_ok());
        for bad in ["2026-02-30", "2026-1-01", "26-11-01", "2026-11-01T00", "2026/11/01", "é26-11-01", "+026-11-01"] {
            assert!(date(bad).is_err(), "{bad}");
        }
        assert!(flag("nodejs_compat").is_ok() && flag("nodejs-compat").is_err());
    }

    #[test]
    fn batches() {
        let of = |text: &str| batch(&serde_json::from_str(text).unwrap());
        assert_eq!(
            (of("2"), of("\"25%\""), of("\"100%\"")),
            (Ok(Batch::Hosts(2)), Ok(Batch::Percent(25)), Ok(Batch::Percent(100)))
        );
        for bad in ["0", "-1", "1.5", "\"0%\"", "\"101%\"", "\"2\"", "\"+5%\"", "\"%\"", "true", "[1]", "4294967296"] {
            assert!(of(bad).is_err(), "{bad}");
        }
        assert_eq!([0, 1, 7, 8].map(|hosts| Batch::Percent(25).size(hosts)), [1, 1, 1, 2]);
        assert_eq!((Batch::Hosts(3).size(2), Batch::Percent(100).size(9)), (3, 9));
    }

    #[test]
    fn paths_on_hosts() {
        assert!(host_path("/etc/ads-engine/config.toml").is_ok());
        for bad in ["etc/x", "/", "/etc//x", "/etc/../x", "/etc/x/", "/etc/./x", "/etc/\u{7}x", "/etc/\u{202e}x", ""] {
            assert!(host_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn routes_lie_in_their_zone() {
        for good in ["api.example.com/*", "example.com/*", "*.example.com/x", "*example.com/*", "https://a.b.example.com/*"] {
            assert!(route(good, "example.com").is_ok(), "{good}");
        }
        for bad in ["api.example.org/*", "notexample.com/*", "", "/x", "exa mple.com/*", "api.*.example.com/*"] {
            assert!(route(bad, "example.com").is_err(), "{bad}");
        }
        assert!(route("localhost/*", "localhost").is_err());
    }

    #[test]
    fn names() {
        assert!(script_name("ads-api_2").is_ok() && account("www-data").is_ok() && account("0").is_ok());
        for bad in ["", "-a", "a-", "A", "a.b", &"a".repeat(64)] {
            assert!(script_name(bad).is_err(), "{bad}");
        }
        assert!(
            binding_name("_a9").is_ok()
                && binding_name("9a").is_err()
                && binding_name("a-b").is_err()
                && binding_name("").is_err()
        );
        assert!(account("4294967295").is_err() && account("Root").is_err() && account("a b").is_err());
    }

    #[test]
    fn armors_have_a_shape() {
        let good = "-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n-----END AGE ENCRYPTED FILE-----";
        assert_eq!(armor(good), Ok(format!("{good}\n")));
        for bad in
            ["", "secret", "-----BEGIN AGE ENCRYPTED FILE-----\n-----END AGE ENCRYPTED FILE-----", &good.replace("YWdl", "Y*dl")]
        {
            assert!(armor(bad).is_err(), "{bad}");
        }
    }
}
