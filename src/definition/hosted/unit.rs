//! `[unit.<name>]`: a systemd unit on a host.

use schemars::JsonSchema;
use serde::Deserialize;

use super::unit_text::UnitText;
use super::{HostedToml, Specs, Writing, restart};
use crate::definition::body::{Body, Head, Text};
use crate::definition::reading::Reading;
use crate::definition::scalar::{Refused, refuse};
use crate::definition::selector::OnToml;
use crate::definition::template::Values;
use crate::document::{Entries, Fault, Placed, shown};
use crate::model::{HostedSpec, Kind, ResourceName, TargetName, TreeError, Value};

/// A systemd unit: its text by at most one of `source`, `template`, `content`. Without a text it is one that a package
/// brings, of which only `enabled`, `state` and `restart_on` are seen to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Unit")]
pub(in crate::definition) struct UnitToml {
    /// Where it lives; every host unless said otherwise.
    on: Option<Placed<OnToml>>,
    /// The name of its file, such as `ads-report.timer`; its key and `.service` unless said otherwise.
    name: Option<Placed<String>>,
    /// A file of the repository, byte for byte.
    source: Option<Placed<String>>,
    /// A template of the repository; it sees `environment`, `tenant`, `target` and `vars`. A value is a part of its line, and of
    /// one word in `Exec…=` and `Environment=`; no `%` or `$` in it means anything to systemd.
    template: Option<Placed<String>>,
    /// The text itself.
    content: Option<Placed<String>>,
    /// What the template sees as `vars`.
    vars: Option<Entries<Placed<serde_json::Value>>>,
    /// Whether it starts with the machine; true where its text has a section `[Install]`, unless said otherwise.
    enabled: Option<Placed<bool>>,
    /// Whether it runs: `running` where its text has a section `[Install]`, unless said otherwise; without one, another unit
    /// starts it. A unit of `Type=oneshot` runs when its last run succeeded.
    state: Option<Placed<StateToml>>,
    /// Files and secrets whose change starts it anew, as a change of its own text does: `["file.engine-config"]`.
    restart_on: Option<Placed<Vec<Placed<String>>>>,
    /// Take over a unit of this name that is there and not ours.
    adopt: Option<bool>,
    /// Its former key, when it was renamed.
    moved: Option<Placed<ResourceName>>,
}

/// Whether a unit runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "UnitState")]
enum StateToml {
    /// It runs, or its last run succeeded.
    Running,
    /// It does not run.
    Stopped,
}

impl HostedToml for UnitToml {
    heads!(name);

    fn adopt(&self) -> bool {
        // Of a unit that a package brings nothing is overwritten.
        let brought = self.source.is_none() && self.template.is_none() && self.content.is_none();
        brought || self.adopt.unwrap_or_default()
    }

    fn claim(&self, reading: &mut Reading<'_>, default: Placed<String>) -> Option<String> {
        let named = self.name.clone();
        let written = named.unwrap_or_else(|| Placed { value: format!("{}.service", default.value), place: default.place });
        reading.check(written.place, unit_name(&written.value))
    }

    fn specs(&self, writing: &mut Writing<'_, '_, '_>) -> Result<Specs, TreeError> {
        let draft = writing.draft;
        for (field, place) in [
            ("content", self.content.as_ref().map(|written| written.place)),
            ("enabled", self.enabled.as_ref().map(|written| written.place)),
            ("state", self.state.as_ref().map(|written| written.place)),
        ] {
            writing.trace(field, place);
        }
        let text = Text {
            head: Head::of(Kind::Unit, draft),
            source: self.source.as_ref(),
            template: self.template.as_ref(),
            content: self.content.as_ref(),
            vars: self.vars.as_ref(),
            values: Values::InUnit,
        };
        let mut specs = writing.finish(Kind::Unit, []);
        if text.is_absent() {
            self.brought(writing, &mut specs);
        } else {
            let bodies = text.bodies(writing.reading, writing.scope, (writing.tracing, writing.contents))?;
            specs.retain(|target, _| bodies.contains_key(target));
            for (target, body) in bodies {
                self.own(writing, (target, body), &mut specs);
            }
        }
        restart::inputs(writing, self.restart_on.as_ref(), &mut specs);
        Ok(specs)
    }
}

impl UnitToml {
    /// A unit that a package brings.
    fn brought(&self, writing: &mut Writing<'_, '_, '_>, specs: &mut Specs) {
        let key = writing.draft.key;
        if self.enabled.is_none() && self.state.is_none() && self.restart_on.is_none() && !writing.reading.is_partial() {
            let message = "nothing is said of this unit";
            writing.reading.fault(Fault::new(key, message).label("in this table").hint(
                "give its text by `source`, `template` or `content`; or, for one that a package brings, `state`, `enabled` or `restart_on`",
            ));
        }
        for spec in specs.values_mut() {
            self.add(spec, None);
        }
    }

    /// A unit with a text of its own.
    fn own(
        &self,
        writing: &mut Writing<'_, '_, '_>,
        (target, Body { content, secrets, tokens }): (TargetName, Body),
        specs: &mut Specs,
    ) {
        let place = [&self.source, &self.template, &self.content].into_iter().flatten().next().map(|written| written.place);
        let place = place.unwrap_or(writing.draft.key);
        if !secrets.is_empty() || !tokens.is_empty() {
            let what = if secrets.is_empty() { "the token of a tunnel" } else { "a secret" };
            let message = format!("{what} cannot stand in a unit: everybody on the host can read it");
            let hint = "write it to a file of mode 0600, and name that in `LoadCredential=` or `EnvironmentFile=`";
            writing.reading.fault(Fault::new(place, message).hint(hint));
            return;
        }
        let Some(spec) = specs.get_mut(&target) else { return };
        let bytes = writing.contents.get(&content.sha256).cloned().unwrap_or_default();
        let text = match UnitText::parse(&bytes, &spec.claim) {
            Ok(text) => text,
            Err(refused) => {
                writing.reading.fault(Fault::new(place, refused.message).maybe_hint(refused.hint));
                return;
            }
        };
        if let Some(enabled) = self.enabled.as_ref().filter(|enabled| enabled.value && !text.has("Install")) {
            let message = "this unit has no section `[Install]`, so that nothing says when it is to start";
            writing.reading.fault(Fault::new(enabled.place, message).hint("add one, such as `WantedBy=multi-user.target`"));
        }
        spec.fields.insert("content".to_owned(), content.into());
        self.add(spec, Some(&text));
    }

    fn add(&self, spec: &mut HostedSpec, text: Option<&UnitText>) {
        let installs = text.is_some_and(|text| text.has("Install"));
        let enabled = self.enabled.as_ref().map(|enabled| enabled.value).or(installs.then_some(true));
        // Without the section there is nothing that could be enabled.
        if let Some(enabled) = enabled.filter(|_| installs || text.is_none()) {
            spec.fields.insert("enabled".to_owned(), Value::Bool(enabled));
        }
        let state = self.state.as_ref().map(|state| state.value).or(installs.then_some(StateToml::Running));
        if let Some(state) = state {
            let word = if state == StateToml::Running { "running" } else { "stopped" };
            spec.fields.insert("state".to_owned(), Value::text(word));
        }
    }
}

/// The sorts of unit that are managed.
const SORTS: [&str; 4] = ["service", "socket", "timer", "path"];

/// What a machine cannot do without, and what reaches it: a commit neither stops nor rewrites it.
const RESERVED: [&str; 7] = ["systemd-", "dbus", "ssh.", "sshd.", "getty@", "user@", "trunkline"];

/// The name of a unit: no path, no option, no specifier.
pub(super) fn unit_name(text: &str) -> Result<String, Refused> {
    let hint = "write a name such as `ads-engine.service`: letters, digits, `-`, `_` and `.`, and one of `.service`, `.socket`, `.timer`, `.path`";
    let (stem, sort) = text.rsplit_once('.').unwrap_or((text, ""));
    let letters = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'@');
    let begins = stem.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    let one_instance = match stem.split_once('@') {
        None => true,
        Some((name, instance)) => !name.is_empty() && !instance.is_empty() && !instance.contains('@'),
    };
    if !SORTS.contains(&sort) || !begins || !one_instance || !stem.bytes().all(letters) || text.len() > 200 {
        return refuse(format!("`{}` is not the name of a unit that can be managed", shown(text)), hint);
    }
    if let Some(reserved) = RESERVED.iter().find(|reserved| text.starts_with(**reserved)) {
        return refuse(
            format!("`{text}` is one of the system's own: names that begin with `{reserved}` are left alone"),
            "give it a name of your own",
        );
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_units_lead_nowhere_else() {
        for good in ["ads-engine.service", "a_b.1.timer", "worker@1.service", "x.socket", "x.path"] {
            assert!(unit_name(good).is_ok(), "{good}");
        }
        for bad in [
            "../../x.service",
            "x",
            "x.mount",
            "-x.service",
            ".service",
            "x/y.service",
            "x y.service",
            "x\n.service",
            "%i.service",
            "x.service.wants/y.service",
            "ssh.service",
            "sshd.service",
            "systemd-journald.service",
            "dbus.socket",
            "trunkline.service",
            "x@.service",
            "@1.service",
            "x@1@2.service",
            "x\\x2d.service",
            "",
        ] {
            assert!(unit_name(bad).is_err(), "{bad:?}");
        }
    }
}
