//! The scalars of Compose projects, besides those of containers.

use std::collections::BTreeMap;

use super::container_words as words;
use crate::definition::scalar::{Refused, host_path, refuse};
use crate::document::shown;
use crate::model::{Properties, Value};

/// What can be said of a service.
pub(super) const SERVICE_KEYS: [&str; 27] = [
    "image",
    "command",
    "entrypoint",
    "environment",
    "ports",
    "volumes",
    "networks",
    "depends_on",
    "restart",
    "user",
    "working_dir",
    "labels",
    "mem_limit",
    "cpus",
    "pids_limit",
    "read_only",
    "init",
    "stop_grace_period",
    "cap_drop",
    "cap_add",
    "devices",
    "privileged",
    "pid",
    "network_mode",
    "healthcheck",
    "tmpfs",
    "extra_hosts",
];

/// The name of a project. Source: `compose-go`, `NormalizeProjectName`.
pub(super) fn project(text: &str) -> Result<String, Refused> {
    let begins = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let letters = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    if begins && text.len() <= 60 && text.bytes().all(letters) {
        return Ok(text.to_owned());
    }
    refuse(
        format!("`{}` is not a name for a project", shown(text)),
        "names are made of a-z, digits, `-` and `_`, and begin with a letter or a digit",
    )
}

fn one_of(text: &str, what: &str, known: &[&str]) -> Result<String, Refused> {
    if known.contains(&text) {
        return Ok(text.to_owned());
    }
    let known: Vec<String> = known.iter().map(|word| format!("`{word}`")).collect();
    refuse(format!("`{}` is no {what} that is known here", shown(text)), format!("write one of {}", known.join(", ")))
}

pub(super) fn restart(text: &str) -> Result<String, Refused> {
    one_of(text, "word for when it starts again", &["no", "always", "unless-stopped", "on-failure"])
}

pub(super) fn condition(text: &str) -> Result<String, Refused> {
    one_of(text, "condition", &["service_started", "service_healthy", "service_completed_successfully"])
}

pub(super) fn network_mode(text: &str) -> Result<String, Refused> {
    one_of(text, "mode of a network", &["none", "bridge", "host"])
}

pub(super) fn host_word(text: &str) -> Result<String, Refused> {
    one_of(text, "word for whose processes it sees", &["host"])
}

pub(super) fn driver(text: &str) -> Result<String, Refused> {
    one_of(text, "driver", &["bridge"])
}

pub(super) fn mount_type(text: &str) -> Result<String, Refused> {
    one_of(text, "sort of mount", &["volume", "bind", "tmpfs"])
}

/// A label that is neither ours nor Docker Compose's.
pub(super) fn label(text: &str) -> Result<String, Refused> {
    if text.starts_with("com.docker.compose.") {
        return refuse(format!("the label `{}` is Docker Compose's own", shown(text)), "give it another name");
    }
    words::label(text)
}

/// A length of time, such as `1m30s`.
pub(super) fn duration(text: &str) -> Result<String, Refused> {
    let mut rest = text;
    let mut last = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let unit = ["ms", "h", "m", "s"].into_iter().find(|unit| rest[digits..].starts_with(unit));
        let place = match unit {
            Some("h") => 1,
            Some("m") => 2,
            Some("s") => 3,
            _ => 4,
        };
        let Some(unit) = unit.filter(|_| (1..=6).contains(&digits) && place > last) else { break };
        (rest, last) = (&rest[digits + unit.len()..], place);
    }
    if rest.is_empty() && !text.is_empty() {
        return Ok(text.to_owned());
    }
    refuse(format!("`{}` is no length of time", shown(text)), "such as `30s` or `1m30s`")
}

/// The name of a host in `extra_hosts`.
pub(super) fn host(text: &str) -> Result<String, Refused> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if !text.is_empty() && text.len() <= 253 && text.bytes().all(good) && !text.starts_with('-') {
        return Ok(text.to_owned());
    }
    refuse(format!("`{}` is no name of a host", shown(text)), "such as `db.internal:10.0.0.5`")
}

/// `extra_hosts` as a list.
pub(super) fn hosts(pairs: &Value) -> Value {
    let pairs: BTreeMap<&String, &str> =
        pairs.as_table().into_iter().flatten().filter_map(|(name, value)| Some((name, value.as_text()?))).collect();
    Value::List(pairs.into_iter().map(|(name, address)| Value::text(format!("{name}:{address}"))).collect())
}

/// `volume:/inside[:ro]` or `/of/the/host:/inside[:ro]`.
pub(super) fn mount(text: &str) -> Result<Properties, Refused> {
    let hint = "such as `data:/var/lib/app` or `/srv/app:/srv/app:ro`";
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, read_only) = match parts.as_slice() {
        [source, target] => (*source, *target, false),
        [source, target, "ro"] => (*source, *target, true),
        [source, target, "rw"] => (*source, *target, false),
        _ => return refuse(format!("`{}` does not say what is mounted where", shown(text)), hint),
    };
    let sort = if source.starts_with('/') { "bind" } else { "volume" };
    let mut table = Properties::from([
        ("type".to_owned(), Value::text(sort)),
        ("source".to_owned(), Value::text(source)),
        ("target".to_owned(), Value::text(target)),
    ]);
    if read_only {
        table.insert("read_only".to_owned(), Value::Bool(true));
    }
    long_mount(table)
}

/// A mount in its long form.
pub(super) fn long_mount(table: Properties) -> Result<Properties, Refused> {
    let text = |field: &str| table.get(field).and_then(Value::as_text);
    let hint = "give `type`, `target`, and `source` but for `tmpfs`; a path of the host is absolute";
    let Some(target) = text("target") else { return refuse("this mount has no `target`", hint) };
    words::inside(target)?;
    match (text("type"), text("source")) {
        (Some("volume"), Some(source)) if !source.starts_with(['.', '~', '/']) => drop(words::name(source)?),
        (Some("bind"), Some("/")) => {}
        (Some("bind"), Some(source)) => drop(host_path(source).and_then(|path| words::inside(&path))?),
        (Some("tmpfs"), None) => {}
        (_, Some(source)) => {
            return refuse(format!("`{}` is neither a volume nor an absolute path of the host", shown(source)), hint);
        }
        _ => return refuse("what is mounted is not said", hint),
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_one_word_of_docker_compose() {
        for good in ["10s", "1m30s", "500ms", "2h"] {
            assert!(duration(good).is_ok(), "{good}");
        }
        for bad in ["", "10", "s", "1s1m", "-1s", "1d", "1.5s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        for good in ["data:/data", "/srv:/srv:ro", "/:/host", "a:/b:rw"] {
            assert!(mount(good).is_ok(), "{good}");
        }
        for bad in ["data", "./x:/x", "~/x:/x", "../x:/x", "/a/../b:/x", "a:/b:z", "a:b", "a:/b:ro,z", "/a:/b:/c:/d"] {
            assert!(mount(bad).is_err(), "{bad}");
        }
        for bad in ["", "Ads", "-x", "a/b", "a.b", "a b"] {
            assert!(project(bad).is_err(), "{bad}");
        }
        assert!(project("ads-2").is_ok() && label("com.docker.compose.project").is_err() && label("trunkline.x").is_err());
        assert!(host("db").is_ok() && host("a b").is_err() && network_mode("container:x").is_err() && restart("yes").is_err());
    }
}
