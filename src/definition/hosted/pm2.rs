//! `[pm2.<name>]`: an application that PM2 runs on a host.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use super::env::{EnvToml, environment};
use super::values::{flag, list, number, text, word};
use super::{HostedToml, Specs, Writing, pm2_words as words, restart};
use crate::definition::reading::Reading;
use crate::definition::scope::required;
use crate::definition::selector::OnToml;
use crate::document::{Entries, Fault, Placed};
use crate::model::{Kind, ResourceName, TreeError, Value};

/// An application that PM2 runs. Its script, folder and interpreter are there before anything stops; it is started anew when
/// its definition or something in `restart_on` changes, and has to stay up, or the former one is put back. PM2's list is
/// saved after each change, so that `pm2 resurrect` brings it back. Applications that are not defined are left alone.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Pm2")]
pub(in crate::definition) struct Pm2Toml {
    /// Where it lives; every host unless said otherwise.
    on: Option<Placed<OnToml>>,
    /// What PM2 calls it; its key unless said otherwise.
    name: Option<Placed<String>>,
    /// The account whose PM2 it is, by its name: with the daemon at that account's `~/.pm2`; `root` unless said otherwise.
    user: Option<Placed<String>>,
    /// The program `pm2`, where it is neither `/usr/local/bin/pm2` nor `/usr/bin/pm2`. `node` is looked for beside it first.
    pm2: Option<Placed<String>>,
    /// What is run: an absolute path.
    #[schemars(required)]
    script: Option<Placed<String>>,
    /// What it is given, one argument each.
    args: Option<Placed<Vec<Placed<String>>>>,
    /// The folder in which it begins; that of the script unless said otherwise.
    cwd: Option<Placed<String>>,
    /// What runs the script: `node` (the default), `none` for a script that runs by itself, or an absolute path.
    interpreter: Option<Placed<String>>,
    /// What the interpreter is given before the script, one argument each.
    interpreter_args: Option<Placed<Vec<Placed<String>>>>,
    /// How many of it run: a number, 1 unless said otherwise, or `max`, one for each processor.
    instances: Option<Placed<InstancesToml>>,
    /// `fork` (the default), or `cluster`, in which several share their ports and `restart_on` reloads them one by one.
    exec_mode: Option<Placed<String>>,
    /// Its environment: text, or `{ secret = "…" }`, which its account can read, and PM2 keeps in its list.
    env: Option<Placed<Entries<Placed<EnvToml>>>>,
    /// It is started anew when it uses more memory than this, such as `512M`.
    max_memory_restart: Option<Placed<String>>,
    /// How long it must run to have come up, in milliseconds; 1000 unless said otherwise.
    min_uptime: Option<Placed<i64>>,
    /// After how many runs shorter than that PM2 gives up; 16 unless said otherwise.
    max_restarts: Option<Placed<i64>>,
    /// How long PM2 waits before it starts it again, in milliseconds.
    restart_delay: Option<Placed<i64>>,
    /// The same for the first time, and longer each time after.
    exp_backoff_restart_delay: Option<Placed<i64>>,
    /// How long it is given to stop, in milliseconds; 1600 unless said otherwise.
    kill_timeout: Option<Placed<i64>>,
    /// Whether PM2 starts it again when it ends; true unless said otherwise. One with `false` stands as it should when it
    /// ended well.
    autorestart: Option<Placed<bool>>,
    /// When it is started anew besides: a cron expression of five fields, in the host's time.
    cron_restart: Option<Placed<String>>,
    /// Whether it is started anew when a file in its folder changes.
    watch: Option<Placed<bool>>,
    /// Where its output goes, an absolute path; into `~/.pm2/logs` unless said otherwise.
    out_file: Option<Placed<String>>,
    /// Where its error output goes, likewise.
    error_file: Option<Placed<String>>,
    /// Whether several instances write into one file.
    merge_logs: Option<Placed<bool>>,
    /// Whether each line of the log begins with the time.
    time: Option<Placed<bool>>,
    /// Whether it says itself that it is ready, by `process.send('ready')`.
    wait_ready: Option<Placed<bool>>,
    /// How long PM2 waits for that, in milliseconds; 3000 unless said otherwise.
    listen_timeout: Option<Placed<i64>>,
    /// Whether it runs: `running` (the default) or `stopped`.
    state: Option<Placed<String>>,
    /// Files and secrets whose change starts it anew: `["file.api-config"]`.
    restart_on: Option<Placed<Vec<Placed<String>>>>,
    /// Take over an application of this name that is there and not ours.
    adopt: Option<bool>,
    /// Its former key, when it was renamed.
    moved: Option<Placed<ResourceName>>,
}

/// How many of it run.
#[derive(Debug)]
enum InstancesToml {
    Number(i64),
    Word(String),
}

impl<'de> Deserialize<'de> for InstancesToml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Instances;
        impl Visitor<'_> for Instances {
            type Value = InstancesToml;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or `max`")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<InstancesToml, E> {
                Ok(InstancesToml::Word(text.to_owned()))
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<InstancesToml, E> {
                Ok(InstancesToml::Number(number))
            }
        }
        deserializer.deserialize_any(Instances)
    }
}

impl JsonSchema for InstancesToml {
    fn schema_name() -> Cow<'static, str> {
        "Pm2Instances".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "A number, or `max`.", "anyOf": [{ "type": "integer" }, { "const": "max" }] })
    }
}

impl HostedToml for Pm2Toml {
    heads!(name);

    fn adopt(&self) -> bool {
        self.adopt.unwrap_or_default()
    }

    /// Each account has a PM2 of its own: a name says nothing without it.
    fn claim(&self, reading: &mut Reading<'_>, default: Placed<String>) -> Option<String> {
        let written = self.name.clone().unwrap_or(default);
        let name = reading.check(written.place, words::name(&written.value));
        let user = match &self.user {
            Some(user) => reading.check(user.place, words::user(&user.value)),
            None => Some("root".to_owned()),
        };
        Some(format!("{}/{}", user?, name?))
    }

    fn specs(&self, writing: &mut Writing<'_, '_, '_>) -> Result<Specs, TreeError> {
        let draft = writing.draft;
        let hint = "write what is run, such as `/srv/api/server.js`";
        required(writing.reading, (draft.key, &draft.dropped), "script", self.script.as_ref(), hint);
        let mut secrets = Vec::new();
        let env = self.env.as_ref().map(|env| {
            writing.trace("env", Some(env.place));
            for (key, _) in &env.value.0 {
                writing.reading.check(key.place, words::variable(&key.value));
            }
            environment(writing, &env.value, &mut secrets)
        });
        let script = text(writing, "script", self.script.as_ref(), words::path);
        let cwd = text(writing, "cwd", self.cwd.as_ref(), words::path)
            .or_else(|| script.as_ref().and_then(Value::as_text).map(|script| Value::text(words::folder(script))));
        let autorestart = self.autorestart.as_ref().and_then(|written| {
            writing.trace("autorestart", Some(written.place));
            (!written.value).then_some(Value::Bool(false))
        });
        let interpreter = text(writing, "interpreter", self.interpreter.as_ref(), words::interpreter);
        let exec_mode = word(writing, "exec_mode", self.exec_mode.as_ref(), &["fork", "cluster"]);
        if let Some((mode, written)) = self.exec_mode.as_ref().zip(self.interpreter.as_ref())
            && mode.value == "cluster"
            && written.value != "node"
        {
            let fault = Fault::new(mode.place, "only Node.js itself runs in a cluster");
            writing.reading.fault(fault.hint("remove `interpreter`, or write `exec_mode = \"fork\"`"));
        }
        const STATES: [&str; 2] = ["running", "stopped"];
        // A day, in milliseconds.
        const DAY: i64 = 86_400_000;
        let fields = [
            ("pm2", text(writing, "pm2", self.pm2.as_ref(), words::path)),
            ("script", script),
            ("args", list(writing, "args", self.args.as_ref(), words::argument)),
            ("cwd", cwd),
            ("interpreter", interpreter.or_else(|| Some("node".into()))),
            ("interpreter_args", list(writing, "interpreter_args", self.interpreter_args.as_ref(), words::argument)),
            ("instances", Some(instances(writing, self.instances.as_ref()))),
            ("exec_mode", Some(exec_mode)),
            ("env", env),
            ("max_memory_restart", text(writing, "max_memory_restart", self.max_memory_restart.as_ref(), words::memory)),
            ("min_uptime", number(writing, "min_uptime", self.min_uptime.as_ref(), DAY)),
            ("max_restarts", number(writing, "max_restarts", self.max_restarts.as_ref(), 1_000_000)),
            ("restart_delay", number(writing, "restart_delay", self.restart_delay.as_ref(), DAY)),
            (
                "exp_backoff_restart_delay",
                number(writing, "exp_backoff_restart_delay", self.exp_backoff_restart_delay.as_ref(), DAY),
            ),
            ("kill_timeout", number(writing, "kill_timeout", self.kill_timeout.as_ref(), 3_600_000)),
            ("autorestart", autorestart),
            ("cron_restart", text(writing, "cron_restart", self.cron_restart.as_ref(), words::cron)),
            ("watch", flag(writing, "watch", self.watch.as_ref())),
            ("out_file", text(writing, "out_file", self.out_file.as_ref(), words::path)),
            ("error_file", text(writing, "error_file", self.error_file.as_ref(), words::path)),
            ("merge_logs", flag(writing, "merge_logs", self.merge_logs.as_ref())),
            ("time", flag(writing, "time", self.time.as_ref())),
            ("wait_ready", flag(writing, "wait_ready", self.wait_ready.as_ref())),
            ("listen_timeout", number(writing, "listen_timeout", self.listen_timeout.as_ref(), 600_000)),
            ("state", Some(word(writing, "state", self.state.as_ref(), &STATES))),
        ];
        writing.trace("name", self.user.as_ref().map(|user| user.place));
        let mut specs = writing.finish(Kind::Pm2, fields);
        specs.values_mut().for_each(|spec| spec.secrets.extend(secrets.iter().cloned()));
        restart::inputs(writing, self.restart_on.as_ref(), &mut specs);
        Ok(specs)
    }
}

fn instances(writing: &mut Writing<'_, '_, '_>, written: Option<&Placed<InstancesToml>>) -> Value {
    let Some(Placed { place, value }) = written else { return Value::Integer(1) };
    writing.trace("instances", Some(*place));
    match value {
        InstancesToml::Number(number) if (1..=256).contains(number) => Value::Integer(*number),
        InstancesToml::Word(word) if word == "max" => "max".into(),
        _ => {
            let fault = Fault::new(*place, "this is no number of instances");
            writing.reading.fault(fault.hint("write a number from 1 to 256, or `\"max\"`"));
            Value::Integer(1)
        }
    }
}
