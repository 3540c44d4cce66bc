//! What `ssh` says when there is no connection, as an operator needs it: what, where, and what to do now.
//!
//! `ssh` has one exit status for all of it, so its words are read; nothing but words for people and the time of the next
//! attempt depends on them.

use crate::model::{Retry, SshTarget};
use crate::provider::ProviderError;

/// The last lines on one line, without anything that a terminal would obey.
pub(super) fn tail(text: &str) -> String {
    let lines: Vec<&str> =
        text.lines().map(|line| line.trim_matches([' ', '\t', '\r', '@', '.'])).filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(4)..].join("; ");
    let fit = last.chars().map(|c| if unprintable(c) { '\u{fffd}' } else { c });
    fit.take(400).collect()
}

fn unprintable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Why `ssh` ended with 255.
pub(super) fn explain(target: &SshTarget, stderr: &str) -> ProviderError {
    let says = |words: &[&str]| words.iter().any(|word| stderr.contains(word));
    let host = &target.host;
    let user = target.user.as_deref().map_or_else(|| "the user".to_owned(), |user| format!("`{user}`"));
    let (message, hint, retry) = if says(&[
        "HOST IDENTIFICATION HAS CHANGED",
        "Host key verification failed",
        "no matching host key type",
    ]) {
        match target.host_key {
            Some(_) => (
                format!("{target} does not show the host key that is pinned: it may be another machine"),
                "if the machine was made anew, read its key at its console (`cat /etc/ssh/ssh_host_ed25519_key.pub`) and put it into \
                 `host_key`; else find out who answers there"
                    .to_owned(),
                Retry::Stalled,
            ),
            None => (
                format!("the host key of {target} is not known, or not the one that is known"),
                "put it into `host_key` of the host, as `/etc/ssh/ssh_host_ed25519_key.pub` there has it, or into the known hosts \
                 of the daemon (`known_hosts` under [hosts] in its settings)"
                    .to_owned(),
                Retry::Stalled,
            ),
        }
    } else if says(&["Permission denied (", "Too many authentication failures", "No supported authentication methods"]) {
        (
            format!("{target} takes no key of the daemon"),
            format!(
                "put the daemon's public key into the authorized keys of {user} there; `ssh -v {host}`, as the daemon's user, shows \
                 which keys are offered (`ssh_key` under [hosts] in its settings names one)"
            ),
            Retry::Stalled,
        )
    } else if says(&[
        "Bad configuration option",
        "Bad owner or permissions",
        "Can't open user config",
        "terminating, ",
        "No user exists for uid",
    ]) {
        (
            "the configuration of ssh on the daemon's machine has a fault".to_owned(),
            format!("try `ssh -G {host}` as the daemon's user"),
            Retry::Stalled,
        )
    } else if says(&["Could not resolve hostname", "Name or service not known"]) {
        (
            format!("the name `{host}` has no address"),
            "check it, and the name servers of the daemon's machine".to_owned(),
            Retry::Transient,
        )
    } else if says(&["Connection refused"]) {
        (format!("nothing answers at {target}"), "look whether sshd runs there, and at this port".to_owned(), Retry::Transient)
    } else if says(&["timed out", "No route to host", "Network is unreachable", "Timeout, server"]) {
        (
            format!("{target} cannot be reached"),
            "look whether the machine is on, and whether a firewall is between; `offline` of the host says what is done meanwhile".to_owned(),
            Retry::Transient,
        )
    } else {
        (
            format!("the connection to {target} broke"),
            format!("`ssh -v {host}`, as the daemon's user, says more"),
            Retry::Transient,
        )
    };
    let error = ProviderError::new(message, retry).hint(hint);
    let words = tail(stderr);
    if words.is_empty() { error } else { error.source(words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(host_key: bool, stderr: &str) -> ProviderError {
        let target = SshTarget {
            user: Some("deploy".to_owned()),
            host: "fra1".to_owned(),
            port: None,
            host_key: host_key.then(|| "ssh-ed25519 AAAA".to_owned()),
            elevate: false,
            state: "/var/lib/trunkline".into(),
        };
        explain(&target, stderr)
    }

    #[test]
    fn each_says_what_where_and_what_to_do() {
        for (words, part, stalled) in [
            ("Host key verification failed.", "not known", true),
            ("deploy@fra1: Permission denied (publickey).", "no key of the daemon", true),
            ("ssh: Could not resolve hostname fra1: Name or service not known", "no address", false),
            ("ssh: connect to host fra1 port 22: Connection refused", "nothing answers", false),
            ("ssh: connect to host fra1 port 22: Connection timed out", "cannot be reached", false),
            ("kex_exchange_identification: read: Connection reset by peer", "broke", false),
        ] {
            let error = explained(false, words);
            assert!(error.message.contains(part) && error.message.contains("fra1"), "{error}");
            assert_eq!(error.retry == Retry::Stalled, stalled, "{error}");
            assert!(error.hint.is_some() && error.source.is_some(), "{words}");
        }
        assert!(explained(true, "Host key verification failed.").hint.unwrap().contains("host_key"));
        let changed = "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.";
        assert!(explained(true, changed).message.contains("pinned"));
    }

    #[test]
    fn what_a_terminal_would_obey_is_not_repeated() {
        assert_eq!(tail("a\u{1b}[31m\r\n\n b "), "a\u{fffd}[31m; b");
        assert!(tail(&"x\n".repeat(9_000)).len() < 100);
    }
}
