//! Docker Compose, by its command line, and the containers of projects.
//!
//! **Invariant:** a project is given on the standard input; neither a file nor the environment of the machine says anything.
//! No word of Docker Compose that holds the value of a secret goes into a fault.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::container::docker::{Inspected, docker, inspect};
use crate::agent::call::Call;
use crate::agent::{Fault, Payload, Policy};

const PROJECT: &str = "com.docker.compose.project";
const SERVICE: &str = "com.docker.compose.service";
/// What Docker Compose made has it, and to what has none it is blind.
const MADE: &str = "com.docker.compose.config-hash";

/// The containers of a project, by service.
pub(super) type Containers = BTreeMap<String, Vec<Inspected>>;

/// The containers of `projects`, those that were started for once aside.
pub(super) fn containers(policy: &Policy, projects: &BTreeSet<&str>) -> Result<BTreeMap<String, Containers>, Fault> {
    let (of_projects, made) = (format!("label={PROJECT}"), format!("label={MADE}"));
    let format = format!("{{{{.Label \"{PROJECT}\"}}}} {{{{.Label \"com.docker.compose.oneoff\"}}}} {{{{.Names}}}}");
    let call = docker(policy)
        .with(["container", "ls", "--all", "--no-trunc", "--filter", &of_projects, "--filter", &made])
        .with(["--format", &format]);
    let listed = call.succeed("Docker cannot be asked about the projects").map_err(|fault| Fault { transient: true, ..fault })?;
    let mut names: BTreeMap<&str, &str> = BTreeMap::new();
    for line in listed.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let (project, name) = match words.as_slice() {
            [project, once, name] if *once != "True" => (*project, *name),
            _ => continue,
        };
        // The other names are those that links give it.
        if let Some(name) = name.split(',').find(|name| !name.contains('/')).filter(|_| projects.contains(project)) {
            names.insert(name, project);
        }
    }
    let mut found: BTreeMap<String, Containers> = BTreeMap::new();
    for (name, inspected) in inspect(policy, names.keys().copied())? {
        let service = inspected.label(SERVICE).unwrap_or_default().to_owned();
        if let Some(project) = names.get(name.as_str()) {
            found.entry((*project).to_owned()).or_default().entry(service).or_default().push(inspected);
        }
    }
    Ok(found)
}

/// Docker Compose on this host, for one project.
pub(super) struct Client<'a> {
    policy: &'a Policy,
    pub(super) project: &'a str,
    /// The program of its own, where it is no plugin of Docker's.
    alone: bool,
}

impl<'a> Client<'a> {
    /// Looks for Docker Compose 2: as a plugin, or as a program of its own.
    pub(super) fn find(policy: &'a Policy, project: &'a str) -> Result<Self, Fault> {
        for alone in [false, true] {
            let client = Self { policy, project, alone };
            let called = client.program().with(["version", "--short"]).run();
            let version = called.ok().filter(|called| called.status.success()).map(|called| called.out);
            let major = version.and_then(|version| version.trim().trim_start_matches('v').split('.').next()?.parse::<u32>().ok());
            if major.is_some_and(|major| major >= 2) {
                return Ok(client);
            }
        }
        Err(Fault::new("there is no Docker Compose 2 on this host; nothing was stopped").hint(
            "install it there: the package `docker-compose-plugin` of Docker's own repository, `docker-compose-v2` of Ubuntu, `docker-compose` of Debian 13; or its program as `/usr/local/lib/docker/cli-plugins/docker-compose`",
        ))
    }

    fn program(&self) -> Call {
        match self.alone {
            false => docker(self.policy).with(["compose"]),
            true => {
                let call = Call::new("docker-compose").variable("HOME", "/root");
                match &self.policy.docker {
                    Some(engine) => call.variable("DOCKER_HOST", engine),
                    None => call,
                }
            }
        }
    }

    /// Tells Docker Compose something about the project that is `declared`.
    pub(super) fn tell(&self, declared: &Payload, secrets: &[&[u8]], words: &[&str], what: &str) -> Result<(), Fault> {
        let head = ["--ansi=never", "--project-directory=/", "--env-file=/dev/null", "--file=-"];
        let call = self.program().with(head).with([format!("--project-name={}", self.project)]).with(words.iter().copied());
        let call = call.variable("COMPOSE_DISABLE_ENV_FILE", "true").variable("COMPOSE_PROGRESS", "quiet");
        let call = call.input(declared.clone()).patience(Duration::from_secs(4_000));
        let mut called = call.run().map_err(|not_called| not_called.fault("docker", what))?;
        if called.status.success() {
            return Ok(());
        }
        let tells = |words: &str| secrets.iter().any(|secret| holds(words, secret));
        if tells(&called.err) || tells(&called.out) {
            (called.err, called.out) = ("what it says holds the value of a secret".to_owned(), String::new());
        }
        Err(called.fault(what))
    }
}

/// Whether `words` hold a secret, as it is or as JSON writes it.
fn holds(words: &str, secret: &[u8]) -> bool {
    let Ok(secret) = std::str::from_utf8(secret) else { return true };
    let written = zeroize::Zeroizing::new(serde_json::to_string(secret).unwrap_or_default());
    let inner = written.trim_matches('"');
    secret.len() >= 4 && (words.contains(secret) || words.contains(inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_hold_a_secret_are_known() {
        assert!(holds("invalid: a\"b-4711", b"a\"b-4711") && holds("invalid: a\\\"b-4711", b"a\"b-4711"));
        assert!(!holds("port is already allocated", b"value") && holds("x", b"\xff"));
    }
}
