//! What PM2 is told to start: an application as its own JSON.
//!
//! Goes in: fields and the values of secrets, or an application that is there. Comes out: bytes for PM2's standard input.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value as Json};

use super::command::Process;
use super::{DEFINITION, OWNER, definition, is_made_from};
use crate::agent::{Fault, Payload, Wanted};
use crate::model::{Properties, Secret, Value};

/// PM2 takes what it reads at once, and no more: a pipe holds as much.
const MAX_BYTES: usize = 60 * 1024;

/// What of an application that is there it is started from again, as PM2 keeps it.
const KEPT: [&str; 31] = [
    "name",
    "namespace",
    "args",
    "node_args",
    "exec_interpreter",
    "exec_mode",
    "max_memory_restart",
    "min_uptime",
    "max_restarts",
    "restart_delay",
    "exp_backoff_restart_delay",
    "kill_timeout",
    "autorestart",
    "cron_restart",
    "watch",
    "ignore_watch",
    "watch_options",
    "merge_logs",
    "log_date_format",
    "log_type",
    "time",
    "wait_ready",
    "listen_timeout",
    "vizion",
    "treekill",
    "pmx",
    "instance_var",
    "increment_var",
    "stop_exit_codes",
    "source_map_support",
    "shutdown_with_message",
];

/// An application, its variables apart: they are never copied.
struct Application<'a> {
    settings: Map<String, Json>,
    variables: Vec<(&'a str, &'a str)>,
}

impl Serialize for Application<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Variables<'a>(&'a [(&'a str, &'a str)]);
        impl Serialize for Variables<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.iter().copied())
            }
        }
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in &self.settings {
            map.serialize_entry(key, value)?;
        }
        map.serialize_entry("env", &Variables(&self.variables))?;
        map.end()
    }
}

impl Application<'_> {
    fn payload(&self, name: &str) -> Result<Payload, Fault> {
        // The whole capacity at once: a vector that grows leaves copies behind that nobody wipes.
        let mut bytes = Vec::with_capacity(16 * MAX_BYTES);
        let written = serde_json::to_writer(&mut bytes, self);
        let long = bytes.len() > MAX_BYTES;
        let payload = Payload::new(Secret::new(bytes));
        if written.is_err() || long {
            return Err(Fault::new(format!("what PM2 is to be told of `{name}` has more than 60 KiB, which it does not take"))
                .hint("write long values to a `file`, and let the application read that"));
        }
        Ok(payload)
    }
}

/// What is wanted, as PM2 is told it; `stopped` for one that is not to run.
pub(super) fn wanted(wanted: &Wanted, name: &str, owner: &str, stopped: bool) -> Result<Payload, Fault> {
    let fields = &wanted.fields;
    let mut settings = Map::new();
    for (field, value) in fields.iter().filter(|(field, _)| is_made_from(field) && *field != "env" && *field != "name") {
        let key = match field.as_str() {
            "interpreter" => "exec_interpreter",
            "interpreter_args" => "node_args",
            field => field,
        };
        settings.extend(json(value).map(|value| (key.to_owned(), value)));
    }
    settings.insert("name".to_owned(), name.into());
    // Nothing of the version control around it is looked at.
    settings.insert("vizion".to_owned(), false.into());
    if stopped {
        settings.insert("autostart".to_owned(), false.into());
    }
    let digest = definition(fields);
    let mut variables = vec![(DEFINITION, digest.as_str()), (OWNER, owner)];
    for (name, value) in fields.get("env").and_then(Value::as_table).into_iter().flatten() {
        variables.push((name, variable(wanted, name, value)?));
    }
    Application { settings, variables }.payload(name)
}

fn variable<'a>(wanted: &'a Wanted, name: &str, value: &'a Value) -> Result<&'a str, Fault> {
    let Value::Secret { .. } = value else { return Ok(value.as_text().unwrap_or_default()) };
    let value = wanted.values.get(&format!("env/{name}"));
    let bytes = value.ok_or_else(|| Fault::new(format!("the value of the variable `{name}` did not come with the order")))?;
    std::str::from_utf8(bytes.expose()).ok().filter(|text| !text.contains('\0')).ok_or_else(|| {
        Fault::new(format!("the value of the variable `{name}` is no text")).hint("write it to a `file`, and let it read that")
    })
}

fn json(value: &Value) -> Option<Json> {
    Some(match value {
        Value::Text(text) => text.as_str().into(),
        Value::Bool(flag) => (*flag).into(),
        Value::Integer(number) => (*number).into(),
        Value::List(items) => items.iter().filter_map(json).collect(),
        Value::Table(table) => Json::Object(fields(table)),
        _ => return None,
    })
}

fn fields(table: &Properties) -> Map<String, Json> {
    table.iter().filter_map(|(key, value)| Some((key.clone(), json(value)?))).collect()
}

/// An application that is there, as PM2 is to be told it if it has to come back; `stopped` where it does not run.
pub(super) fn former(own: &[Process], stopped: bool) -> Option<Result<Payload, Fault>> {
    let first = own.first()?;
    let mut settings: Map<String, Json> = KEPT
        .into_iter()
        .filter_map(|key| Some((key.to_owned(), first.at(key).filter(|value| !value.is_null())?.clone())))
        .collect();
    for (key, kept) in [
        ("script", "pm_exec_path"),
        ("cwd", "pm_cwd"),
        ("out_file", "pm_out_log_path"),
        ("error_file", "pm_err_log_path"),
        ("log_file", "pm_log_path"),
    ] {
        settings.extend(first.at(kept).filter(|value| value.is_string()).map(|value| (key.to_owned(), value.clone())));
    }
    settings.insert("instances".to_owned(), own.len().into());
    if stopped {
        settings.insert("autostart".to_owned(), false.into());
    }
    // What PM2 adds itself is added again.
    let own_ones = |name: &str| name == "unique_id" || name == first.name() || name.starts_with("PM2_");
    let there = first.at("env").and_then(Json::as_object).into_iter().flatten();
    let variables = there.filter(|(name, _)| !own_ones(name)).filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
    Some(Application { settings, variables: variables.collect() }.payload(first.name()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SecretMark;
    use std::collections::BTreeMap;

    fn read(payload: &Payload) -> Json {
        serde_json::from_slice(payload.expose()).unwrap()
    }

    #[test]
    fn what_is_declared_is_what_is_wanted_with_the_values_of_secrets() {
        let env = Value::table([("A", "b \"c\"".into()), ("KEY", Value::Secret { mark: SecretMark::Unknown })]);
        let fields = Properties::from([
            ("name".to_owned(), Value::text("root/api")),
            ("script".to_owned(), Value::text("/srv/api.js")),
            ("interpreter".to_owned(), Value::text("node")),
            ("instances".to_owned(), Value::Integer(2)),
            ("state".to_owned(), Value::text("running")),
            ("env".to_owned(), env),
        ]);
        let values = BTreeMap::from([("env/KEY".to_owned(), Payload::new(Secret::new(b"s3cr\"et".to_vec())))]);
        let mut order = Wanted { fields, contents: BTreeMap::new(), values };
        let declared = read(&wanted(&order, "api", "production/pm2.api", false).unwrap());
        assert_eq!(
            (&declared["name"], &declared["exec_interpreter"], &declared["instances"]),
            (&"api".into(), &"node".into(), &2.into())
        );
        assert_eq!((&declared["env"]["A"], &declared["env"]["KEY"]), (&"b \"c\"".into(), &"s3cr\"et".into()));
        assert_eq!(declared["env"][DEFINITION], definition(&order.fields));
        assert!(declared.get("state").is_none() && declared.get("autostart").is_none());
        assert_eq!(read(&wanted(&order, "api", "x", true).unwrap())["autostart"], false);
        order.values.insert("env/KEY".to_owned(), Payload::new(Secret::new(vec![b'x'; MAX_BYTES])));
        assert!(wanted(&order, "api", "x", false).is_err(), "too long");
        order.values.clear();
        assert!(wanted(&order, "api", "x", false).is_err());
    }

    #[test]
    fn what_is_there_can_come_back() {
        assert!(former(&[], false).is_none());
        let back = read(&former(&[Process::sample("api", "online"), Process::sample("api", "online")], true).unwrap().unwrap());
        assert_eq!((&back["name"], &back["instances"], &back["autostart"]), (&"api".into(), &2.into(), &false.into()));
        assert_eq!(back["env"]["A"], "b");
    }
}
