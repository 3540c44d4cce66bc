//! What a Compose file says, checked and in one form: services, networks and volumes as Docker Compose takes them.
//!
//! **Invariant:** every key is one of those here, and every other is refused by name; what passes means to Docker Compose
//! what it means here, with nothing of the machine's environment or files in it.

use std::ops::Range;

use super::compose_file::{Item, Key, Written};
use super::container_words as words;
use super::values::Check;
use super::{Writing, compose_words};
use crate::definition::scalar::{Refused, refuse};
use crate::document::{Fault, Place, did_you_mean, shown};
use crate::model::{Diagnostic, Properties, Severity, Value};

/// Where what is read stands.
pub(super) enum At {
    /// In a file of the repository.
    File(String),
    /// In the definition itself, at a key.
    Table(Place),
}

/// Checks items, and tells their faults.
pub(super) struct Checking<'w, 'a, 'r, 't> {
    pub(super) writing: &'w mut Writing<'a, 'r, 't>,
    pub(super) at: At,
}

type Entries<'i> = Option<&'i [(Key, Item)]>;

impl Checking<'_, '_, '_, '_> {
    pub(super) fn tell(&mut self, severity: Severity, span: Range<usize>, message: impl Into<String>, hint: Option<String>) {
        match &self.at {
            At::File(path) => {
                let mut diagnostic = Diagnostic::error(path.clone(), Some(span), message);
                diagnostic.severity = severity;
                diagnostic.hint = hint;
                self.writing.reading.push(diagnostic);
            }
            At::Table(place) => {
                let fault = Fault::new(*place, message).maybe_hint(hint);
                match severity {
                    Severity::Error => self.writing.reading.fault(fault),
                    Severity::Warning => self.writing.reading.warn(fault),
                }
            }
        }
    }

    fn fault(&mut self, span: &Range<usize>, message: impl Into<String>, hint: &str) {
        self.tell(Severity::Error, span.clone(), message, Some(hint.to_owned()));
    }

    fn check<T>(&mut self, item: &Item, checked: Result<T, Refused>) -> Option<T> {
        checked.map_err(|Refused { message, hint }| self.tell(Severity::Error, item.span.clone(), message, hint)).ok()
    }

    fn expected(&mut self, key: &str, item: &Item, what: &str) {
        if what.starts_with(item.sort()) {
            return self.fault(&item.span, format!("`{key}` is out of bounds"), &format!("write {what}"));
        }
        self.fault(&item.span, format!("`{key}` is {}, not {what}", item.sort()), &format!("write {what}"));
    }

    pub(super) fn table<'i>(&mut self, key: &str, item: &'i Item) -> Entries<'i> {
        match &item.value {
            Written::Table(entries) => Some(entries),
            Written::Null => Some(&[]),
            _ => {
                self.expected(key, item, "a table");
                None
            }
        }
    }

    /// Text in which nothing is replaced by something of the machine's: `$$` is `$`.
    fn plain(&mut self, item: &Item) -> Option<String> {
        let text = match &item.value {
            Written::Text(text) | Written::Number(text) => text.clone(),
            Written::Bool(flag) => flag.to_string(),
            _ => return None,
        };
        let rest = text.replace("$$", "");
        if rest.contains('$') {
            let message = format!("`{}` takes something from the environment of the machine", shown(&text));
            self.fault(&item.span, message, "write the value itself, a secret by the key `secrets`, and `$$` for a dollar sign");
            return None;
        }
        Some(text.replace("$$", "$"))
    }

    fn text(&mut self, key: &str, item: &Item, check: Check) -> Option<Value> {
        if matches!(item.value, Written::Null | Written::List(_) | Written::Table(_)) {
            self.expected(key, item, "text");
            return None;
        }
        let text = self.plain(item)?;
        self.check(item, check(&text)).map(Value::Text)
    }

    fn flag(&mut self, key: &str, item: &Item) -> Option<Value> {
        match item.value {
            Written::Bool(flag) => flag.then_some(Value::Bool(true)),
            _ => {
                self.expected(key, item, "`true` or `false`");
                None
            }
        }
    }

    fn number(&mut self, key: &str, item: &Item, most: i64) -> Option<Value> {
        let number = match &item.value {
            Written::Number(number) => number.parse::<i64>().ok().filter(|number| (1..=most).contains(number)),
            _ => None,
        };
        if number.is_none() {
            self.expected(key, item, &format!("a number from 1 to {most}"));
        }
        number.map(Value::Integer)
    }

    /// A list, or one that is written as one text.
    fn list(&mut self, key: &str, item: &Item, check: Check) -> Option<Value> {
        let items = match &item.value {
            Written::List(items) => items.as_slice(),
            Written::Text(_) if key == "tmpfs" => std::slice::from_ref(item),
            _ => {
                self.expected(key, item, "a list");
                return None;
            }
        };
        let items: Vec<Value> = items.iter().filter_map(|item| self.text(key, item, check)).collect();
        (!items.is_empty()).then_some(Value::List(items))
    }

    /// A command: a list, or words without anything that a shell would read.
    fn command(&mut self, key: &str, item: &Item) -> Option<Value> {
        let Written::Text(_) = &item.value else { return self.list(key, item, words::argument) };
        let text = self.plain(item)?;
        if text.contains(['"', '\'', '\\', '\n', '`']) || text.trim().is_empty() {
            self.fault(&item.span, format!("`{key}` has quotes in it"), "write it as a list, one argument each");
            return None;
        }
        Some(Value::List(text.split_whitespace().map(Value::text).collect()))
    }

    /// A table, or a list of `name=value`.
    fn pairs(&mut self, key: &str, item: &Item, name: Check, separator: char) -> Option<Value> {
        let mut pairs: Vec<(String, Option<String>, &Item)> = Vec::new();
        match &item.value {
            Written::Table(entries) => {
                for (key, item) in entries {
                    match &item.value {
                        Written::Null => pairs.push((key.name.clone(), None, item)),
                        Written::List(_) | Written::Table(_) => self.expected(&key.name, item, "text"),
                        _ => pairs.extend(self.plain(item).map(|value| (key.name.clone(), Some(value), item))),
                    }
                }
            }
            Written::List(items) => {
                for item in items {
                    let Some(text) = self.plain(item) else { continue };
                    let (name, value) =
                        text.split_once(separator).map_or((text.as_str(), None), |(name, value)| (name, Some(value)));
                    pairs.push((name.to_owned(), value.map(str::to_owned), item));
                }
            }
            _ => {
                self.expected(key, item, "a table");
                return None;
            }
        }
        let mut table = Properties::new();
        for (text, value, item) in pairs {
            let Some(name) = self.check(item, name(&text)) else { continue };
            let Some(value) = value else {
                let message = format!("`{}` of `{key}` has no value here: it would come from the machine", shown(&text));
                self.fault(&item.span, message, "write its value, or a secret by the key `secrets`");
                continue;
            };
            let value = self.check(item, words::line(&value));
            table.extend(value.map(|value| (name, Value::Text(value))));
        }
        (!table.is_empty()).then_some(Value::Table(table))
    }

    pub(super) fn refuse_key(&mut self, key: &Key, of: &str, known: &[&str]) {
        let hint = match key.name.as_str() {
            "build" => "build the image elsewhere, and name it by its digest".to_owned(),
            "env_file" | "secrets" | "configs" => {
                "write variables here, secrets by the key `secrets` of the definition".to_owned()
            }
            "extends" | "include" => "write it out here: other files are not read".to_owned(),
            "container_name" => "remove it: Docker Compose names the containers".to_owned(),
            "name" => "say it by the key `project` of the definition".to_owned(),
            name => did_you_mean(name, known.iter().copied()).unwrap_or_else(|| {
                let known: Vec<String> = known.iter().map(|key| format!("`{key}`")).collect();
                format!("the keys of {of} are {}", known.join(", "))
            }),
        };
        self.fault(&key.span, format!("`{}` is not supported in {of}", shown(&key.name)), &hint);
    }

    /// One service.
    pub(super) fn service(&mut self, name: &Key, item: &Item) -> Option<Properties> {
        let entries = self.table(&name.name, item)?;
        let mut fields = Properties::new();
        for (key, item) in entries {
            let field = key.name.as_str();
            let value = match field {
                "image" => self.image(item),
                "command" | "entrypoint" => self.command(field, item),
                "environment" => self.pairs(field, item, words::variable, '='),
                "labels" => self.pairs(field, item, compose_words::label, '='),
                "extra_hosts" => self.pairs(field, item, compose_words::host, ':').map(|pairs| compose_words::hosts(&pairs)),
                "ports" => self.list(field, item, words::port),
                "volumes" => self.mounts(item),
                "networks" => self.names(field, item),
                "depends_on" => self.depends_on(item),
                "restart" => self.text(field, item, compose_words::restart),
                "user" => self.text(field, item, words::user),
                "working_dir" => self.text(field, item, words::inside),
                "mem_limit" => self.text(field, item, words::memory),
                "cpus" => self.text(field, item, words::cpus),
                "pids_limit" => self.number(field, item, 4_000_000),
                "read_only" | "init" | "privileged" => self.flag(field, item),
                "stop_grace_period" => self.text(field, item, compose_words::duration),
                "cap_drop" | "cap_add" => self.list(field, item, words::capability),
                "devices" => self.list(field, item, words::device),
                "pid" => self.text(field, item, compose_words::host_word),
                "network_mode" => self.text(field, item, compose_words::network_mode),
                "healthcheck" => self.healthcheck(item),
                "tmpfs" => self.list(field, item, words::inside),
                _ => {
                    self.refuse_key(key, "a service", &compose_words::SERVICE_KEYS);
                    None
                }
            };
            fields.extend(value.map(|value| (field.to_owned(), value)));
        }
        if !entries.iter().any(|(key, _)| key.name == "image") {
            self.fault(
                &name.span,
                format!("the service `{}` has no `image`", shown(&name.name)),
                "name the image, best by its digest",
            );
        }
        Some(fields)
    }

    fn image(&mut self, item: &Item) -> Option<Value> {
        let image = self.text("image", item, words::image)?;
        if !image.as_text().is_some_and(words::is_pinned) {
            let message = "a tag can come to mean another image, and nothing here would change";
            let hint = "name the image by its digest: `…@sha256:…`";
            self.tell(Severity::Warning, item.span.clone(), message, Some(hint.to_owned()));
        }
        Some(image)
    }

    /// Names, as a list or as the keys of a table with nothing in them.
    fn names(&mut self, key: &str, item: &Item) -> Option<Value> {
        let Written::Table(entries) = &item.value else { return self.list(key, item, words::name) };
        let mut names = Vec::new();
        for (key, item) in entries {
            if item.value != Written::Null {
                self.fault(
                    &item.span,
                    format!("nothing can be said of the network `{}` here", shown(&key.name)),
                    "leave it empty",
                );
            }
            names.push(Value::text(&key.name));
        }
        Some(Value::List(names))
    }

    fn depends_on(&mut self, item: &Item) -> Option<Value> {
        let on = |condition: &str| Value::table([("condition", condition.into())]);
        let mut table = Properties::new();
        match &item.value {
            Written::List(items) => {
                for item in items {
                    let name = self.text("depends_on", item, words::name)?;
                    table.extend(name.as_text().map(|name| (name.to_owned(), on("service_started"))));
                }
            }
            _ => {
                for (service, item) in self.table("depends_on", item)? {
                    let mut condition = None;
                    for (key, item) in self.table(&service.name, item)? {
                        match key.name.as_str() {
                            "condition" => condition = self.text("condition", item, compose_words::condition),
                            _ => self.refuse_key(key, "`depends_on`", &["condition"]),
                        }
                    }
                    let condition = condition.as_ref().and_then(Value::as_text).unwrap_or("service_started");
                    table.insert(service.name.clone(), on(condition));
                }
            }
        }
        Some(Value::Table(table))
    }

    fn healthcheck(&mut self, item: &Item) -> Option<Value> {
        const KEYS: [&str; 7] = ["test", "interval", "timeout", "start_period", "start_interval", "retries", "disable"];
        let mut table = Properties::new();
        for (key, item) in self.table("healthcheck", item)? {
            let field = key.name.as_str();
            let value = match field {
                "test" if matches!(item.value, Written::Text(_)) => {
                    let text = self.text(field, item, words::argument)?;
                    Some(Value::List(vec!["CMD-SHELL".into(), text]))
                }
                "test" => self.list(field, item, words::argument),
                "interval" | "timeout" | "start_period" | "start_interval" => self.text(field, item, compose_words::duration),
                "retries" => self.number(field, item, 1_000),
                "disable" => self.flag(field, item),
                _ => {
                    self.refuse_key(key, "`healthcheck`", &KEYS);
                    None
                }
            };
            table.extend(value.map(|value| (field.to_owned(), value)));
        }
        Some(Value::Table(table))
    }

    fn mounts(&mut self, item: &Item) -> Option<Value> {
        let Written::List(items) = &item.value else {
            self.expected("volumes", item, "a list");
            return None;
        };
        let mut mounts = Vec::new();
        for item in items {
            let mount = match &item.value {
                Written::Table(entries) => self.long_mount(item, entries),
                _ => {
                    let text = self.plain(item)?;
                    self.check(item, compose_words::mount(&text))
                }
            };
            mounts.extend(mount.map(Value::Table));
        }
        Some(Value::List(mounts))
    }

    fn long_mount(&mut self, item: &Item, entries: &[(Key, Item)]) -> Option<Properties> {
        let mut table = Properties::new();
        for (key, item) in entries {
            let field = key.name.as_str();
            let value = match field {
                "type" => self.text(field, item, compose_words::mount_type),
                "source" | "target" => self.text(field, item, words::line),
                "read_only" => self.flag(field, item),
                _ => {
                    self.refuse_key(key, "a mount", &["type", "source", "target", "read_only"]);
                    None
                }
            };
            table.extend(value.map(|value| (field.to_owned(), value)));
        }
        self.check(item, compose_words::long_mount(table))
    }

    /// A network or a volume of the project.
    pub(super) fn part(&mut self, sort: &str, key: &Key, item: &Item) -> Option<Properties> {
        let network = sort == "networks";
        let known: &[&str] = if network { &["name", "external", "internal", "driver"] } else { &["name", "external"] };
        let mut table = Properties::new();
        for (key, item) in self.table(&key.name, item)? {
            let field = key.name.as_str();
            let value = match field {
                "name" => self.text(field, item, words::name),
                "external" => self.flag(field, item),
                "internal" if network => self.flag(field, item),
                "driver" if network => self.text(field, item, compose_words::driver),
                _ => {
                    let of = if network { "a network" } else { "a volume" };
                    self.refuse_key(key, of, known);
                    None
                }
            };
            table.extend(value.map(|value| (field.to_owned(), value)));
        }
        Some(table)
    }
}

/// A name of a service, a network or a volume in a file.
pub(super) fn name(text: &str) -> Result<String, Refused> {
    if text.len() <= 60 {
        return words::name(text);
    }
    refuse(format!("the name `{}` is too long", shown(text)), "at most 60 characters")
}
