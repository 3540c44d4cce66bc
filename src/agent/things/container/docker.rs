//! Docker, by its command line.
//!
//! **Invariant:** what a definition says is one argument, after its option and `=`, or after `--`. The values of secrets reach
//! the client on its standard input.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value as Json;

use crate::agent::call::Call;
use crate::agent::{Fault, Policy};

/// What Docker says of a container.
#[derive(Debug, Clone)]
pub(in crate::agent::things) struct Inspected(Json);

impl Inspected {
    fn at(&self, path: &str) -> &Json {
        self.0.pointer(path).unwrap_or(&Json::Null)
    }

    /// The value of a label.
    pub(in crate::agent::things) fn label(&self, name: &str) -> Option<&str> {
        self.at("/Config/Labels").get(name).and_then(Json::as_str)
    }

    /// The value of a variable that it was made with.
    pub(in crate::agent::things) fn variable(&self, name: &str) -> Option<&str> {
        let variables = self.at("/Config/Env").as_array().into_iter().flatten().filter_map(Json::as_str);
        variables.filter_map(|entry| entry.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// The image as it was asked for.
    pub(in crate::agent::things) fn image(&self) -> &str {
        self.at("/Config/Image").as_str().unwrap_or_default()
    }

    /// When Docker starts it again.
    pub(in crate::agent::things) fn restart(&self) -> &str {
        match self.at("/HostConfig/RestartPolicy/Name").as_str() {
            None | Some("") => "no",
            Some(name) => name,
        }
    }

    /// Its limit of memory in bytes; 0 for none.
    pub(in crate::agent::things) fn memory(&self) -> u64 {
        self.at("/HostConfig/Memory").as_u64().unwrap_or(0)
    }

    /// Its limit of processors, in thousandths of millionths; 0 for none.
    pub(in crate::agent::things) fn nano_cpus(&self) -> f64 {
        self.at("/HostConfig/NanoCpus").as_f64().unwrap_or(0.0)
    }

    /// Where it stands, in one word.
    pub(in crate::agent::things) fn state(&self) -> &'static str {
        match self.at("/State/Status").as_str().unwrap_or_default() {
            "running" => "running",
            "paused" => "paused",
            "restarting" => "failing",
            "exited" | "dead" if self.exit() != 0 && !self.was_told_to_stop() => "failed",
            _ => "stopped",
        }
    }

    /// How it ended.
    pub(in crate::agent::things) fn exit(&self) -> i64 {
        self.at("/State/ExitCode").as_i64().unwrap_or(0)
    }

    /// Ended by a signal, as `docker stop` ends what does not listen.
    fn was_told_to_stop(&self) -> bool {
        matches!(self.exit(), 137 | 143)
    }

    /// Whether it has run, and ended by itself, and well.
    pub(in crate::agent::things) fn has_ended_well(&self) -> bool {
        self.at("/State/Status") == "exited" && self.exit() == 0
    }

    /// `starting`, `healthy` or `unhealthy`, for one that is probed.
    pub(in crate::agent::things) fn health(&self) -> Option<&str> {
        self.at("/State/Health/Status").as_str()
    }

    /// Tells one run from the next.
    pub(in crate::agent::things) fn run(&self) -> String {
        let text = |path: &str| self.at(path).as_str().unwrap_or_default().to_owned();
        format!("{} {} {}", text("/Id"), text("/State/StartedAt"), self.at("/RestartCount"))
    }
}

/// The client, for the engine that the host's policy names.
pub(in crate::agent::things) fn docker(policy: &Policy) -> Call {
    let call = Call::new("docker").variable("HOME", "/root");
    match &policy.docker {
        Some(engine) => call.variable("DOCKER_HOST", engine),
        None => call,
    }
}

/// What Docker says of each of `names` that is there, by one call.
pub(in crate::agent::things) fn inspect<'a>(
    policy: &Policy,
    names: impl IntoIterator<Item = &'a str>,
) -> Result<BTreeMap<String, Inspected>, Fault> {
    let names: Vec<&str> = names.into_iter().collect();
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let what = "Docker cannot be asked about the containers";
    let call = docker(policy).with(["container", "inspect", "--format", "{{json .}}", "--"]).with(names.iter().copied());
    let called = call.run().map_err(|not_called| not_called.fault("docker", what))?;
    let found: BTreeMap<String, Inspected> = called
        .out
        .lines()
        .filter_map(|line| serde_json::from_str::<Json>(line).ok())
        .filter_map(|json| Some((json["Name"].as_str()?.trim_start_matches('/').to_owned(), Inspected(json))))
        .collect();
    // It ends with 1 where one is not there, and says so for each; whatever else it says is a fault.
    let unknown = called.err.lines().filter(|line| !line.trim().is_empty()).any(|line| !line.to_lowercase().contains("no such"));
    if !called.status.success() && (unknown || called.err.trim().is_empty()) {
        return Err(Fault { transient: true, ..called.fault(what) });
    }
    // An id, or the beginning of one, would be found by Docker too: only names count.
    Ok(found.into_iter().filter(|(name, _)| names.contains(&name.as_str())).collect())
}

/// Carries out a verb that says nothing of use.
pub(in crate::agent::things) fn verb(policy: &Policy, words: &[&str], names: &[&str], what: &str) -> Result<(), Fault> {
    let call = docker(policy).with(words.iter().copied()).with(["--"]).with(names.iter().copied());
    call.patience(Duration::from_secs(4_000)).succeed(what).map(drop)
}

/// Sees to it that an image is there.
pub(in crate::agent::things) fn image(policy: &Policy, name: &str) -> Result<(), Fault> {
    let there = docker(policy).with(["image", "inspect", "--format", "{{.Id}}", "--", name]).run();
    if there.is_ok_and(|called| called.status.success()) {
        return Ok(());
    }
    let call = docker(policy).with(["image", "pull", "--quiet", "--", name]).patience(Duration::from_secs(30 * 60));
    let fault =
        |fault: Fault| fault.hint("nothing was stopped; the host must reach the registry, and be logged in to it as root");
    call.succeed(&format!("the image `{name}` is not there, and cannot be had")).map(drop).map_err(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_container_stands_is_one_word() {
        let of = |state: &str| Inspected(serde_json::from_str(&format!("{{\"State\":{state}}}")).unwrap());
        for (state, word) in [
            (r#"{"Status":"running"}"#, "running"),
            (r#"{"Status":"restarting","ExitCode":1}"#, "failing"),
            (r#"{"Status":"exited","ExitCode":1}"#, "failed"),
            (r#"{"Status":"exited","ExitCode":0}"#, "stopped"),
            (r#"{"Status":"exited","ExitCode":137}"#, "stopped"),
            (r#"{"Status":"created"}"#, "stopped"),
            (r#"{"Status":"paused"}"#, "paused"),
        ] {
            assert_eq!(of(state).state(), word, "{state}");
        }
        assert!(of(r#"{"Status":"exited","ExitCode":0}"#).has_ended_well());
        assert!(!of(r#"{"Status":"created","ExitCode":0}"#).has_ended_well());
    }
}
