//! `[container.<name>]`: a Docker container on a host.

use schemars::JsonSchema;
use serde::Deserialize;

use super::container_words as words;
use super::env::{EnvToml, environment};
use super::values::{flag, list, number, text, word};
use super::{HostedToml, Specs, Writing, restart};
use crate::definition::reading::Reading;
use crate::definition::scalar;
use crate::definition::scope::required;
use crate::definition::selector::OnToml;
use crate::document::{Entries, Fault, Placed};
use crate::model::{Kind, Properties, ResourceName, TreeError, Value};

/// A Docker container. Its image is there before anything stops; it is made anew when its definition changes, and starts
/// anew when something in `restart_on` does. Its volumes stay when it goes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Container")]
pub(in crate::definition) struct ContainerToml {
    /// Where it lives; every host unless said otherwise.
    on: Option<Placed<OnToml>>,
    /// Its name; its key unless said otherwise.
    name: Option<Placed<String>>,
    /// The image, best by its digest: `registry.example.com/ads-engine@sha256:…`.
    #[schemars(required)]
    image: Option<Placed<String>>,
    /// The program, where it is not the image's own.
    entrypoint: Option<Placed<String>>,
    /// What the program is given, one argument each.
    command: Option<Placed<Vec<Placed<String>>>>,
    /// Its environment: text, or `{ secret = "…" }`, which everybody who may ask Docker can read.
    env: Option<Placed<Entries<Placed<EnvToml>>>>,
    /// What is reached from outside: `127.0.0.1:8080:80`, `[address:]port:port of the container[/udp]`.
    ports: Option<Placed<Vec<Placed<String>>>>,
    /// What of the host is seen inside.
    mounts: Option<Placed<Vec<Placed<MountToml>>>>,
    /// The network: one of Docker's by name, `none`, or `host`, which the daemon has to allow.
    network: Option<Placed<String>>,
    /// When Docker starts it again: `unless-stopped` (the default), `always`, `on-failure` or `no`. One with `no` runs when
    /// it ended well.
    restart: Option<Placed<String>>,
    /// Whom it runs as: a name or a number, and `:` and a group.
    user: Option<Placed<String>>,
    /// The folder in which the program begins.
    workdir: Option<Placed<String>>,
    /// Labels besides those of ours.
    labels: Option<Placed<Entries<Placed<String>>>>,
    /// How much memory it may use, such as `512m`.
    memory: Option<Placed<String>>,
    /// How many processors it may use, such as `1.5`.
    cpus: Option<Placed<String>>,
    /// How many processes it may have.
    pids: Option<Placed<i64>>,
    /// Whether its own files cannot be written.
    read_only: Option<Placed<bool>>,
    /// Whether a small first process reaps the others.
    init: Option<Placed<bool>>,
    /// How many seconds it is given to stop; 10 unless said otherwise.
    stop_timeout: Option<Placed<i64>>,
    /// Rights that it loses, such as `ALL`.
    cap_drop: Option<Placed<Vec<Placed<String>>>>,
    /// Rights that it gets, such as `NET_ADMIN`, which the daemon has to allow.
    cap_add: Option<Placed<Vec<Placed<String>>>>,
    /// Devices that it gets, which the daemon has to allow.
    devices: Option<Placed<Vec<Placed<String>>>>,
    /// Whether it has every right on the host, which the daemon has to allow.
    privileged: Option<Placed<bool>>,
    /// `host`: it sees all processes, which the daemon has to allow.
    pid: Option<Placed<String>>,
    /// Whether it runs: `running` (the default) or `stopped`.
    state: Option<Placed<String>>,
    /// Files and secrets whose change starts it anew: `["file.engine-config"]`.
    restart_on: Option<Placed<Vec<Placed<String>>>>,
    /// Take over a container of this name that is there and not ours.
    adopt: Option<bool>,
    /// Its former key, when it was renamed.
    moved: Option<Placed<ResourceName>>,
}

/// Something of the host that is seen inside: exactly one of `volume`, `bind`, `tmpfs`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ContainerMount")]
struct MountToml {
    /// A volume of Docker's by name, made where it is not there.
    volume: Option<Placed<String>>,
    /// A path on the host.
    bind: Option<Placed<String>>,
    /// Memory: `true`.
    tmpfs: Option<Placed<bool>>,
    /// Where it is inside.
    #[schemars(required)]
    target: Option<Placed<String>>,
    /// Whether it cannot be written.
    read_only: Option<Placed<bool>>,
}

impl HostedToml for ContainerToml {
    heads!(name);

    fn adopt(&self) -> bool {
        self.adopt.unwrap_or_default()
    }

    fn claim(&self, reading: &mut Reading<'_>, default: Placed<String>) -> Option<String> {
        let written = self.name.clone().unwrap_or(default);
        reading.check(written.place, words::name(&written.value))
    }

    fn specs(&self, writing: &mut Writing<'_, '_, '_>) -> Result<Specs, TreeError> {
        let hint = "write the image, best by its digest: `registry.example.com/ads-engine@sha256:…`";
        let draft = writing.draft;
        required(writing.reading, (draft.key, &draft.dropped), "image", self.image.as_ref(), hint);
        if let Some(image) = self.image.as_ref().filter(|image| !words::is_pinned(&image.value)) {
            let message = "a tag can come to mean another image, and nothing here would change";
            writing.reading.warn(Fault::new(image.place, message).hint("name the image by its digest: `…@sha256:…`"));
        }
        let mut secrets = Vec::new();
        let env = self.env.as_ref().map(|env| {
            writing.trace("env", Some(env.place));
            environment(writing, &env.value, &mut secrets)
        });
        let mounts = self.mounts.as_ref().map(|mounts| {
            writing.trace("mounts", Some(mounts.place));
            Value::List(mounts.value.iter().filter_map(|written| mount(writing, written)).collect())
        });
        let labels = self.labels.as_ref().map(|labels| {
            writing.trace("labels", Some(labels.place));
            let mut table = Properties::new();
            for (key, value) in &labels.value.0 {
                let name = writing.reading.check(key.place, words::label(&key.value));
                let line = writing.reading.check(value.place, words::line(&value.value));
                table.extend(name.zip(line).map(|(name, line)| (name, Value::Text(line))));
            }
            Value::Table(table)
        });
        const RESTARTS: [&str; 4] = ["unless-stopped", "always", "on-failure", "no"];
        const STATES: [&str; 2] = ["running", "stopped"];
        let fields = [
            ("image", text(writing, "image", self.image.as_ref(), words::image)),
            ("entrypoint", text(writing, "entrypoint", self.entrypoint.as_ref(), words::argument)),
            ("command", list(writing, "command", self.command.as_ref(), words::argument)),
            ("env", env),
            ("ports", list(writing, "ports", self.ports.as_ref(), words::port)),
            ("mounts", mounts),
            ("network", text(writing, "network", self.network.as_ref(), words::name)),
            ("restart", Some(word(writing, "restart", self.restart.as_ref(), &RESTARTS))),
            ("user", text(writing, "user", self.user.as_ref(), words::user)),
            ("workdir", text(writing, "workdir", self.workdir.as_ref(), words::inside)),
            ("labels", labels),
            ("memory", text(writing, "memory", self.memory.as_ref(), words::memory)),
            ("cpus", text(writing, "cpus", self.cpus.as_ref(), words::cpus)),
            ("pids", number(writing, "pids", self.pids.as_ref(), 4_000_000)),
            ("read_only", flag(writing, "read_only", self.read_only.as_ref())),
            ("init", flag(writing, "init", self.init.as_ref())),
            ("stop_timeout", number(writing, "stop_timeout", self.stop_timeout.as_ref(), 3_600)),
            ("cap_drop", list(writing, "cap_drop", self.cap_drop.as_ref(), words::capability)),
            ("cap_add", list(writing, "cap_add", self.cap_add.as_ref(), words::capability)),
            ("devices", list(writing, "devices", self.devices.as_ref(), words::device)),
            ("privileged", flag(writing, "privileged", self.privileged.as_ref())),
            ("pid", self.pid.as_ref().map(|pid| word(writing, "pid", Some(pid), &["host"]))),
            ("state", Some(word(writing, "state", self.state.as_ref(), &STATES))),
        ];
        let mut specs = writing.finish(Kind::Container, fields);
        specs.values_mut().for_each(|spec| spec.secrets.extend(secrets.iter().cloned()));
        restart::inputs(writing, self.restart_on.as_ref(), &mut specs);
        Ok(specs)
    }
}

fn mount(writing: &mut Writing<'_, '_, '_>, Placed { place, value: written }: &Placed<MountToml>) -> Option<Value> {
    let MountToml { volume, bind, tmpfs, target, read_only } = written;
    let hint = "where it is inside, such as `/var/lib/app`";
    let none = std::collections::BTreeSet::new();
    let target = required(writing.reading, (*place, &none), "target", target.as_ref(), hint)?;
    let target = writing.reading.check(target.place, words::inside(&target.value))?;
    let mut table = Properties::from([("target".to_owned(), Value::Text(target))]);
    match (volume, bind, tmpfs.as_ref().filter(|tmpfs| tmpfs.value)) {
        (Some(volume), None, None) => {
            let name = writing.reading.check(volume.place, words::name(&volume.value))?;
            table.extend([("type".to_owned(), "volume".into()), ("source".to_owned(), Value::Text(name))]);
        }
        (None, Some(bind), None) => {
            let path = if bind.value == "/" { Ok("/".to_owned()) } else { scalar::host_path(&bind.value) };
            let path = writing.reading.check(bind.place, path.and_then(|path| words::inside(&path)))?;
            table.extend([("type".to_owned(), "bind".into()), ("source".to_owned(), Value::Text(path))]);
        }
        (None, None, Some(_)) => drop(table.insert("type".to_owned(), "tmpfs".into())),
        _ => {
            let hint = "give it exactly one of `volume`, `bind` and `tmpfs = true`";
            writing.reading.fault(Fault::new(*place, "what is mounted is not said, or said twice").hint(hint));
            return None;
        }
    }
    if read_only.as_ref().is_some_and(|read_only| read_only.value) {
        table.insert("read_only".to_owned(), Value::Bool(true));
    }
    Some(Value::Table(table))
}
