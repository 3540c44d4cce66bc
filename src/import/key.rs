//! Keys of tables, made from what things are called elsewhere.

/// A name of a table of definitions: that of a DNS label.
pub(super) fn key(text: &str) -> String {
    let mut key = String::new();
    for c in text.chars().map(|c| c.to_ascii_lowercase()) {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            key.push(c);
        } else if !key.is_empty() && !key.ends_with('-') {
            key.push('-');
        }
    }
    key.truncate(63);
    let key = key.trim_end_matches('-');
    if key.is_empty() { "x".to_owned() } else { key.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_labels() {
        for (text, expected) in
            [("SESSIONS", "sessions"), ("my_KV.store", "my-kv-store"), ("--", "x"), ("Ünï", "n"), ("a--b", "a-b")]
        {
            assert_eq!(key(text), expected, "{text}");
            assert!(expected.parse::<crate::model::ResourceName>().is_ok());
        }
        assert!(key(&"a_".repeat(60)).parse::<crate::model::ResourceName>().is_ok());
    }
}
