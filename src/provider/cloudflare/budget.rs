//! What an answer says of how much may still be called.
//!
//! Goes in: the headers of an answer. Comes out: budgets, and how long a refusal is to be waited for.
//!
//! Facts: Cloudflare sends `Ratelimit: "default";r=50;t=30` with every answer (r calls are left in the next t seconds),
//! `Ratelimit-Policy: "burst";q=100;w=60` (q calls in w seconds), both lists of structured fields (RFC 9651), and
//! `Retry-After` in seconds with 429; after an excess every call is refused for five minutes (API reference, limits). The
//! names in the two headers are not always the same.

use std::time::Duration;

use http::HeaderMap;

/// How much is left of one policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Budget {
    /// How many calls are left.
    pub(super) left: u64,
    /// For how long these have to last.
    pub(super) reset: Duration,
    /// How many calls there are in all, where it is said.
    pub(super) quota: Option<u64>,
}

/// An item of a list of structured fields: its name, and those of its parameters that are whole numbers.
type Item = (String, Vec<(String, u64)>);

/// What is left, by policy; what cannot be read is not there.
pub(super) fn budgets(headers: &HeaderMap) -> Vec<Budget> {
    let policies = items(headers, "ratelimit-policy");
    let number = |item: &Item, key: &str| item.1.iter().find(|(name, _)| name == key).map(|(_, number)| *number);
    let limits = items(headers, "ratelimit");
    let budgets = limits.iter().filter_map(|item| {
        let of_that_name = policies.iter().find(|policy| policy.0 == item.0);
        // One limit and one policy belong together, whatever they are called.
        let policy = of_that_name.or(policies.first().filter(|_| policies.len() == 1 && limits.len() == 1));
        let left = number(item, "r")?;
        let reset = Duration::from_secs(number(item, "t").unwrap_or(1));
        Some(Budget { left, reset, quota: policy.and_then(|policy| number(policy, "q")) })
    });
    budgets.collect()
}

/// How long the server asks to be left alone.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = chrono::DateTime::parse_from_rfc2822(text).ok()?;
    Some((at.to_utc() - chrono::Utc::now()).to_std().unwrap_or_default())
}

fn items(headers: &HeaderMap, name: &str) -> Vec<Item> {
    let texts = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| split(text, ',')).filter_map(item).collect()
}

fn item(text: &str) -> Option<Item> {
    let mut parts = split(text, ';').into_iter();
    let name = parts.next()?.trim().trim_matches('"').to_owned();
    let parameters = parts.filter_map(|part| {
        let (key, value) = part.split_once('=')?;
        Some((key.trim().to_owned(), value.trim().parse().ok()?))
    });
    Some((name, parameters.collect()))
}

/// `text` at each `separator` that does not stand within quotes.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    let mut split = |character: char| {
        let was_escaped = std::mem::take(&mut escaped);
        match character {
            '\\' if quoted && !was_escaped => escaped = true,
            '"' if !was_escaped => quoted = !quoted,
            _ => {}
        }
        character == separator && !quoted
    };
    text.split(|character: char| split(character)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(limit: &str, policy: &str) -> Vec<(u64, u64, Option<u64>)> {
        let fields = [("ratelimit", limit), ("ratelimit-policy", policy)];
        let headers = fields
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        budgets(&headers).into_iter().map(|b| (b.left, b.reset.as_secs(), b.quota)).collect()
    }

    #[test]
    fn budgets_are_read_as_the_documentation_writes_them() {
        assert_eq!(read("\"default\";r=50;t=30", "\"burst\";q=100;w=60"), [(50, 30, Some(100))]);
        assert_eq!(read("\"a\";r=3;t=9, \"b\" ; r=0 ; t=4", "\"b\";q=7;w=1,\"a\";w=1;q=8"), [(3, 9, Some(8)), (0, 4, Some(7))]);
        assert_eq!(read("\"a\";r=3;t=9, \"b\";r=1;t=4", "\"c\";q=7;w=1"), [(3, 9, None), (1, 4, None)]);
        assert_eq!(read("\"a;r=0, \\\"\";r=5;t=2", ""), [(5, 2, None)]);
        assert_eq!(read("default;r=5", ""), [(5, 1, None)]);
    }

    #[test]
    fn what_is_no_budget_is_none() {
        for text in
            ["", "\"default\"", "\"default\";t=30", "\"default\";r=many;t=30", "\"default\";r=-1;t=3", ";;;", "\"", ",r=1"]
        {
            assert_eq!(read(text, text), [], "{text}");
        }
    }
}
