//! `[compose.<name>]`: a Docker Compose project on a host.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use schemars::JsonSchema;
use serde::Deserialize;

use super::compose_file::{self, Item, Key, Written};
use super::compose_service::{At, Checking, name};
use super::values::word;
use super::{HostedToml, Specs, Writing, compose_words as words, restart};
use crate::definition::limit;
use crate::definition::reading::Reading;
use crate::definition::selector::OnToml;
use crate::definition::written::SecretRefToml;
use crate::document::{Entries, Fault, Placed, did_you_mean, shown};
use crate::model::{Kind, Properties, ResourceName, Severity, TreeError, Value};

/// A project of Docker Compose: from a Compose file (`source`), or written here (`services`). It is read and checked as
/// containers are, and Docker Compose is given what was understood, nothing else. Images are there before anything stops; a
/// service is made anew when its definition changes; a project that does not come up is put back. Its volumes stay when it
/// goes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Compose")]
pub(in crate::definition) struct ComposeToml {
    /// Where it lives; every host unless said otherwise.
    on: Option<Placed<OnToml>>,
    /// The name of the project; its key unless said otherwise.
    project: Option<Placed<String>>,
    /// A Compose file of the repository, YAML or JSON. What it cannot say here is refused by name.
    source: Option<Placed<String>>,
    /// Its services by name, in the words of a Compose file.
    services: Option<Placed<Entries<Placed<serde_json::Value>>>>,
    /// Its networks by name, in the words of a Compose file.
    networks: Option<Placed<Entries<Placed<serde_json::Value>>>>,
    /// Its volumes by name, in the words of a Compose file.
    volumes: Option<Placed<Entries<Placed<serde_json::Value>>>>,
    /// Variables of services that are secrets: `{ web = { DB_PASSWORD = { secret = "db-password" } } }`. Everybody who may ask
    /// Docker can read them.
    secrets: Option<Placed<Entries<Placed<Variables>>>>,
    /// Whether it runs: `running` (the default) or `stopped`.
    state: Option<Placed<String>>,
    /// Files and secrets whose change starts all of it anew: `["file.proxy-config"]`.
    restart_on: Option<Placed<Vec<Placed<String>>>>,
    /// Take over a project of this name that is there and not ours.
    adopt: Option<bool>,
    /// Its former key, when it was renamed.
    moved: Option<Placed<ResourceName>>,
}

/// Variables that are secrets, by name.
type Variables = Entries<Placed<SecretRefToml>>;

type Part = Option<Placed<Entries<Placed<serde_json::Value>>>>;

impl HostedToml for ComposeToml {
    heads!(project);

    fn adopt(&self) -> bool {
        self.adopt.unwrap_or_default()
    }

    fn claim(&self, reading: &mut Reading<'_>, default: Placed<String>) -> Option<String> {
        let written = self.project.clone().unwrap_or(default);
        reading.check(written.place, words::project(&written.value))
    }

    fn specs(&self, writing: &mut Writing<'_, '_, '_>) -> Result<Specs, TreeError> {
        let mut project = match (&self.source, &self.services) {
            (Some(source), None) => self.file(writing, source)?,
            (None, Some(_)) => self.here(writing),
            (source, _) => {
                let message =
                    if source.is_some() { "`source` and `services` both say what it is" } else { "nothing says what it is" };
                let fault = Fault::new(writing.draft.key, message).label("in this table");
                if source.is_some() || !writing.reading.is_partial() {
                    writing.reading.fault(fault.hint("give it a Compose file by `source`, or write its `services` here"));
                }
                Project::default()
            }
        };
        let secrets = self.secrets(writing, &mut project);
        let state = word(writing, "state", self.state.as_ref(), &["running", "stopped"]);
        let some = |table: Properties| (!table.is_empty()).then_some(Value::Table(table));
        let fields = [
            ("services", Some(Value::Table(project.services))),
            ("networks", some(project.networks)),
            ("volumes", some(project.volumes)),
            ("state", Some(state)),
        ];
        let mut specs = writing.finish(Kind::Compose, fields);
        specs.values_mut().for_each(|spec| spec.secrets.extend(secrets.iter().cloned()));
        restart::inputs(writing, self.restart_on.as_ref(), &mut specs);
        Ok(specs)
    }
}

/// What a project is made of.
#[derive(Default)]
struct Project {
    services: Properties,
    networks: Properties,
    volumes: Properties,
    /// Where each service is written.
    places: BTreeMap<String, Range<usize>>,
}

impl ComposeToml {
    fn file(&self, writing: &mut Writing<'_, '_, '_>, source: &Placed<String>) -> Result<Project, TreeError> {
        let Some(path) = writing.reading.path(source) else { return Ok(Project::default()) };
        let Some((bytes, _)) = writing.reading.blob(&path, limit::TEMPLATE, source.place)? else { return Ok(Project::default()) };
        writing.tracing.whole_file("services", &path);
        let Ok(text) = std::str::from_utf8(&bytes) else {
            writing.reading.fault(Fault::new(source.place, "the file is not UTF-8").hint("a Compose file is text"));
            return Ok(Project::default());
        };
        let mut checking = Checking { writing, at: At::File(path) };
        for (field, part) in [("networks", &self.networks), ("volumes", &self.volumes)] {
            if let Some(part) = part {
                let fault = Fault::new(part.place, format!("`{field}` belongs to `services`"));
                checking.writing.reading.fault(fault.hint("write it into the Compose file"));
            }
        }
        match compose_file::read(text) {
            Ok(item) => Ok(checking.project(&item)),
            Err(unread) => {
                checking.tell(Severity::Error, unread.span, unread.message, Some(unread.hint.to_owned()));
                Ok(Project::default())
            }
        }
    }

    fn here(&self, writing: &mut Writing<'_, '_, '_>) -> Project {
        let mut top = Vec::new();
        let mut at = writing.draft.key;
        for (field, part) in [("services", &self.services), ("networks", &self.networks), ("volumes", &self.volumes)] {
            let Part::Some(Placed { place, value: Entries(entries) }) = part else { continue };
            writing.trace(field, Some(*place));
            if field == "services" {
                at = *place;
            }
            let entry = |(key, item): &(Placed<String>, Placed<serde_json::Value>)| {
                (Key { span: 0..0, name: key.value.clone() }, Item::of_json(&item.value))
            };
            let item = Item { span: 0..0, value: Written::Table(entries.iter().map(entry).collect()) };
            top.push((Key { span: 0..0, name: field.to_owned() }, item));
        }
        let item = Item { span: 0..0, value: Written::Table(top) };
        Checking { writing, at: At::Table(at) }.project(&item)
    }

    /// Where secrets stand among the fields.
    fn secrets(&self, writing: &mut Writing<'_, '_, '_>, project: &mut Project) -> Vec<(String, ResourceName)> {
        let mut secrets = Vec::new();
        let Some(Placed { place, value: Entries(services) }) = &self.secrets else { return secrets };
        writing.trace("secrets", Some(*place));
        for (service, Placed { value: Entries(variables), .. }) in services {
            let known: Vec<String> = project.services.keys().cloned().collect();
            let Some(Value::Table(fields)) = project.services.get_mut(&service.value) else {
                if !known.is_empty() {
                    let hint = did_you_mean(&service.value, known.iter().map(String::as_str));
                    let fault = Fault::new(service.place, format!("there is no service `{}`", shown(&service.value)));
                    writing.reading.fault(fault.maybe_hint(hint));
                }
                continue;
            };
            for (variable, Placed { value: SecretRefToml::Secret(secret), .. }) in variables {
                let Some(name) = writing.reading.check(variable.place, super::container_words::variable(&variable.value)) else {
                    continue;
                };
                writing.scope.secret(writing.reading, secret);
                let environment = fields.entry("environment".to_owned()).or_insert_with(|| Value::Table(Properties::new()));
                if environment.as_table().is_some_and(|table| table.contains_key(&name)) {
                    let fault = Fault::new(variable.place, format!("the variable `{name}` has a value already"));
                    writing.reading.fault(fault.hint("remove it from the environment of the service"));
                }
                secrets.push((format!("services/{}/environment/{name}", service.value), secret.value.clone()));
            }
        }
        secrets
    }
}

impl Checking<'_, '_, '_, '_> {
    fn project(&mut self, item: &Item) -> Project {
        const KEYS: [&str; 3] = ["services", "networks", "volumes"];
        let mut project = Project::default();
        let Some(top) = self.table("the file", item) else { return project };
        for (key, item) in top {
            let sort = key.name.as_str();
            if !KEYS.contains(&sort) {
                // It says nothing any more, and many files have it.
                if sort != "version" {
                    self.refuse_key(key, "a project", &KEYS);
                }
                continue;
            }
            let Some(entries) = self.table(sort, item) else { continue };
            for (key, item) in entries {
                if let Err(refused) = name(&key.name) {
                    self.tell(Severity::Error, key.span.clone(), refused.message, refused.hint);
                    continue;
                }
                let (table, fields) = match sort {
                    "services" => (&mut project.services, self.service(key, item)),
                    "networks" => (&mut project.networks, self.part(sort, key, item)),
                    _ => (&mut project.volumes, self.part(sort, key, item)),
                };
                if sort == "services" {
                    project.places.insert(key.name.clone(), key.span.clone());
                }
                table.extend(fields.map(|fields| (key.name.clone(), Value::Table(fields))));
            }
            if sort == "services" && entries.is_empty() {
                self.tell(Severity::Error, key.span.clone(), "the project has no service", Some("add one".to_owned()));
            }
        }
        if !top.iter().any(|(key, _)| key.name == "services") {
            self.tell(Severity::Error, item.span.clone(), "the project has no `services`", Some("add them".to_owned()));
        }
        self.references(&project);
        project
    }

    /// What services name has to be there.
    fn references(&mut self, project: &Project) {
        let mut missing: BTreeSet<(&str, String, &str)> = BTreeSet::new();
        for (service, fields) in &project.services {
            let Some(fields) = fields.as_table() else { continue };
            for on in fields.get("depends_on").and_then(Value::as_table).into_iter().flatten().map(|(on, _)| on) {
                if !project.services.contains_key(on) {
                    missing.insert((service, on.clone(), "services"));
                }
            }
            if let Some(Value::List(networks)) = fields.get("networks") {
                for network in networks.iter().filter_map(Value::as_text) {
                    if network != "default" && !project.networks.contains_key(network) {
                        missing.insert((service, network.to_owned(), "networks"));
                    }
                }
            }
            if let Some(Value::List(mounts)) = fields.get("volumes") {
                for mount in mounts.iter().filter_map(Value::as_table) {
                    let text = |field: &str| mount.get(field).and_then(Value::as_text);
                    if let (Some("volume"), Some(source)) = (text("type"), text("source"))
                        && !project.volumes.contains_key(source)
                    {
                        missing.insert((service, source.to_owned(), "volumes"));
                    }
                }
            }
        }
        for (service, name, sort) in missing {
            let message = format!("the service `{service}` names `{name}`, which is not among the `{sort}` of the project");
            let place = project.places.get(service).cloned().unwrap_or_default();
            self.tell(Severity::Error, place, message, Some(format!("add it to `{sort}`")));
        }
    }
}
