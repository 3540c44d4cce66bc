//! What the executor allows, whoever asks: the host's own say.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::model::{Kind, Properties, Value};

/// The limits of an executor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Every path is taken beneath this folder; `None` is `/`.
    pub root: Option<PathBuf>,
    /// Where manifests and replaced files are kept: used where `root` is `None`. Beneath a root they are in its own
    /// `var/lib/trunkline`.
    pub state: PathBuf,
    /// Files are allowed in and beneath these folders only, as seen from the root. An empty list allows nothing.
    pub allowed: Vec<String>,
    /// The kinds that are taken; `None` takes all.
    pub kinds: Option<BTreeSet<Kind>>,
    /// The engine of Docker, as `DOCKER_HOST` names it, where it is not Docker's own default.
    pub docker: Option<String>,
    /// What containers may ask for of all that gives them the host. An empty list allows none of it.
    pub containers: BTreeSet<String>,
}

/// Folders of a host from which the whole of it is reached.
const HOST_FOLDERS: [&str; 13] = [
    "/proc",
    "/sys",
    "/dev",
    "/boot",
    "/root",
    "/run",
    "/var/run",
    "/var/lib/docker",
    "/var/lib/trunkline",
    "/usr",
    "/bin",
    "/lib",
    "/etc/systemd",
];

/// Folders that are no danger below, and one as a whole.
const WHOLE_FOLDERS: [&str; 6] = ["/", "/etc", "/var", "/var/lib", "/home", "/opt"];

impl Policy {
    /// For the daemon's own machine: everything but the system's pseudo file systems and the state folder, and no container
    /// that has the host.
    pub fn local(root: Option<PathBuf>, state: PathBuf) -> Self {
        Self { root, state, allowed: vec!["/".to_owned()], kinds: None, docker: None, containers: BTreeSet::new() }
    }

    /// The state folder as seen from the root: no file of a definition lies there.
    pub(super) fn state_path(&self) -> String {
        match self.root {
            Some(_) => STATE_BENEATH_ROOT.to_owned(),
            None => self.state.to_string_lossy().into_owned(),
        }
    }

    /// Whether anything of `kind` may be changed.
    pub(super) fn takes(&self, kind: Kind) -> bool {
        self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind))
    }

    /// What a thing with these fields asks for and is not given.
    pub fn refuses(&self, kind: Kind, fields: &Properties) -> BTreeSet<&'static str> {
        match kind {
            Kind::Container => self.forbidden(fields),
            Kind::Compose => {
                let services = fields.get("services").and_then(Value::as_table).into_iter().flatten();
                let mut refused: BTreeSet<&'static str> = services
                    .filter_map(|(_, service)| service.as_table())
                    .flat_map(|service| self.forbidden(&as_container(service)))
                    .collect();
                // The host's own network is one by its name too.
                let networks = fields.get("networks").and_then(Value::as_table).into_iter().flatten();
                let is_host = |(key, network): (&String, &Value)| {
                    let said = |field: &str| network.as_table().and_then(|network| network.get(field));
                    let is_external = said("external") == Some(&Value::Bool(true)) && key == "host";
                    said("name").and_then(Value::as_text).map_or(is_external, |name| name == "host")
                };
                if networks.into_iter().any(is_host) && !self.containers.contains("host_network") {
                    refused.insert("host_network");
                }
                refused
            }
            _ => BTreeSet::new(),
        }
    }

    /// What a container with these fields asks for and is not given.
    pub fn forbidden(&self, fields: &Properties) -> BTreeSet<&'static str> {
        let is = |field: &str, word: &str| fields.get(field).and_then(Value::as_text) == Some(word);
        let any = |field: &str| matches!(fields.get(field), Some(Value::List(items)) if !items.is_empty());
        let mut asked = BTreeSet::new();
        let mut ask = |asks: bool, danger: &'static str| _ = asks && asked.insert(danger);
        ask(fields.get("privileged") == Some(&Value::Bool(true)), "privileged");
        ask(is("network", "host"), "host_network");
        ask(fields.contains_key("pid"), "host_pid");
        ask(any("cap_add"), "cap_add");
        ask(any("devices"), "devices");
        if let Some(Value::List(mounts)) = fields.get("mounts") {
            let binds = mounts
                .iter()
                .filter_map(Value::as_table)
                .filter(|mount| mount.get("type").and_then(Value::as_text) == Some("bind"));
            for source in binds.filter_map(|mount| mount.get("source").and_then(Value::as_text)) {
                let below =
                    |folder: &str| source == folder || source.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
                let is_socket = source.ends_with("docker.sock") || source.ends_with("containerd.sock");
                ask(is_socket, "docker_socket");
                ask(!is_socket && (WHOLE_FOLDERS.contains(&source) || HOST_FOLDERS.into_iter().any(below)), "host_folders");
            }
        }
        asked.into_iter().filter(|danger| !self.containers.contains(*danger)).collect()
    }
}

/// A service of a project in the words of a container.
fn as_container(service: &Properties) -> Properties {
    let word = |field: &str| match field {
        "network_mode" => "network".to_owned(),
        "volumes" => "mounts".to_owned(),
        field => field.to_owned(),
    };
    service.iter().map(|(field, value)| (word(field), value.clone())).collect()
}

/// Where a root keeps its own state.
pub(super) const STATE_BENEATH_ROOT: &str = "/var/lib/trunkline";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DANGERS;

    #[test]
    fn what_gives_a_container_the_host_is_allowed_by_name_or_not_at_all() {
        let list = |word: &str| Value::List(vec![Value::text(word)]);
        let bind = |source: &str| {
            Value::List(vec![Value::table([("type", "bind".into()), ("source", source.into()), ("target", "/x".into())])])
        };
        let cases: [(&str, Value, &str); 11] = [
            ("privileged", Value::Bool(true), "privileged"),
            ("network", "host".into(), "host_network"),
            ("pid", "host".into(), "host_pid"),
            ("cap_add", list("SYS_ADMIN"), "cap_add"),
            ("devices", list("/dev/sda"), "devices"),
            ("mounts", bind("/var/run/docker.sock"), "docker_socket"),
            ("mounts", bind("/"), "host_folders"),
            ("mounts", bind("/etc"), "host_folders"),
            ("mounts", bind("/run/x"), "host_folders"),
            ("mounts", bind("/proc"), "host_folders"),
            ("mounts", bind("/var/lib/docker/volumes"), "host_folders"),
        ];
        let mut policy = Policy::local(None, "/var/lib/trunkline".into());
        for (field, value, danger) in cases {
            let fields = Properties::from([(field.to_owned(), value)]);
            policy.containers.clear();
            assert_eq!(policy.forbidden(&fields), [danger].into(), "{field}");
            policy.containers.insert(danger.to_owned());
            assert!(policy.forbidden(&fields).is_empty() && DANGERS.contains(&danger));
        }
        policy.containers.clear();
        for (field, value, danger) in [
            ("privileged", Value::Bool(true), "privileged"),
            ("network_mode", "host".into(), "host_network"),
            ("pid", "host".into(), "host_pid"),
            ("cap_add", list("SYS_ADMIN"), "cap_add"),
            ("devices", list("/dev/sda"), "devices"),
            ("volumes", bind("/var/run/docker.sock"), "docker_socket"),
            ("volumes", bind("/"), "host_folders"),
        ] {
            let services = Value::table([("good", Value::Table(Properties::new())), ("bad", Value::table([(field, value)]))]);
            let fields = Properties::from([("services".to_owned(), services)]);
            assert_eq!(policy.refuses(Kind::Compose, &fields), [danger].into(), "{field}");
        }
        let host = Value::table([("external", Value::Bool(true))]);
        let named = Value::table([("external", Value::Bool(true)), ("name", "host".into())]);
        for (key, network, refused) in [("host", host.clone(), true), ("x", named, true), ("x", host, false)] {
            let fields = Properties::from([("networks".to_owned(), Value::table([(key, network)]))]);
            assert_eq!(policy.refuses(Kind::Compose, &fields).contains("host_network"), refused, "{key}");
        }
        for (field, value) in [
            ("network", "backend".into()),
            ("mounts", bind("/etc/ads")),
            ("mounts", bind("/srv")),
            ("cap_add", Value::List(vec![])),
        ] {
            assert!(policy.forbidden(&Properties::from([(field.to_owned(), value)])).is_empty(), "{field}");
        }
    }
}
