//! Whether a change can be taken back, and what is lost by it.
//!
//! Goes in: what is changed, and its definition. Comes out: a [`Reversal`].
//!
//! To take back is to go back to the revision before, as a merged revert or a rollback does: what Git and the recorded
//! bundle hold comes back, data does not.
//!
//! **Invariant:** pure, and never too kind: what cannot be told to be reversible is not called so.

use serde::{Deserialize, Serialize};

use super::change::{Action, Cause, Why};
use super::compare::differences;
use crate::model::{Kind, Migration, Properties, Spec, Value};

/// Whether a change can be taken back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reversibility {
    /// The revision before restores what was there.
    #[default]
    Reversible,
    /// It restores what the definitions say, and something besides is lost.
    WithLoss,
    /// It does not restore it: a person acknowledges such a change by name.
    OneWay,
}

/// The verdict on a change, with its reasons.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reversal {
    /// The gravest of the reasons.
    pub verdict: Reversibility,
    /// Why, for people; none for what is reversible.
    pub reasons: Vec<String>,
}

impl Reversal {
    fn add(&mut self, verdict: Reversibility, reason: impl Into<String>) {
        self.verdict = self.verdict.max(verdict);
        self.reasons.push(reason.into());
    }
}

/// Whether deleting an instance with these properties destroys data that Git does not hold.
pub fn holds_data(kind: Kind, properties: &Properties) -> bool {
    let has_classes = || ["migration_tag", "exports"].iter().any(|field| properties.contains_key(*field));
    kind.holds_data() || kind == Kind::Worker && has_classes()
}

/// What the verdict follows from.
pub(super) struct Evidence<'a> {
    pub kind: Kind,
    pub action: Action,
    pub before: &'a Properties,
    pub after: &'a Properties,
    /// The definition; `None` for a delete.
    pub spec: Option<&'a Spec>,
    pub why: &'a [Why],
}

/// The verdict.
pub(super) fn reversal(evidence: &Evidence<'_>) -> Reversal {
    let mut found = Reversal::default();
    match evidence.action {
        Action::Delete => deleted(evidence, &mut found),
        Action::Create => {}
        Action::Update | Action::Adopt | Action::Move => {
            match evidence.kind {
                Kind::Worker => worker(evidence, &mut found),
                Kind::D1 => database(evidence, &mut found),
                _ => {}
            }
            let drifted = evidence.action == Action::Update && evidence.why.iter().any(|why| why.cause == Cause::Drift);
            if evidence.action == Action::Adopt && differences(evidence.before, evidence.after).is_empty() {
                // Nothing is overwritten: it is only ours from now on.
            } else if evidence.action == Action::Adopt {
                found.add(Reversibility::WithLoss, "what somebody else put there is overwritten, and no revision holds it");
            } else if drifted {
                found.add(
                    Reversibility::WithLoss,
                    "what somebody else changed at the target is overwritten, and no revision holds it",
                );
            }
        }
    }
    found
}

fn deleted(evidence: &Evidence<'_>, found: &mut Reversal) {
    if evidence.kind == Kind::Worker && holds_data(evidence.kind, evidence.before) {
        return found.add(Reversibility::OneWay, "the data of its Durable Objects is destroyed");
    }
    match evidence.kind {
        kind if kind.holds_data() => found.add(Reversibility::OneWay, "the data in it is destroyed"),
        Kind::Worker => {
            found.add(Reversibility::WithLoss, "its versions and deployments are forgotten; it is made again from the bundle");
        }
        Kind::Tunnel => {
            found.add(Reversibility::WithLoss, "a new one has another id and another token, and its connectors must take it");
        }
        Kind::Hyperdrive | Kind::VpcService | Kind::MtlsCertificate | Kind::DispatchNamespace => {
            found.add(Reversibility::WithLoss, "a new one has another id");
        }
        Kind::Container => {
            found
                .add(Reversibility::WithLoss, "what it wrote into its own files, and its log, is gone with it; its volumes stay");
        }
        Kind::Compose => {
            found.add(
                Reversibility::WithLoss,
                "what its containers wrote into their own files, and their logs, are gone; its volumes stay",
            );
        }
        Kind::Pm2 => found.add(Reversibility::WithLoss, "how often it was restarted, and since when it runs, is forgotten"),
        Kind::Package => found.add(Reversibility::WithLoss, "what is installed again may be another version"),
        Kind::Domain => found.add(Reversibility::WithLoss, "its certificate is issued again"),
        _ => {}
    }
}

fn worker(evidence: &Evidence<'_>, found: &mut Reversal) {
    let Evidence { before, after, .. } = evidence;
    if let Some(Spec::Worker(spec)) = evidence.spec
        && before.get("migration_tag") != after.get("migration_tag")
    {
        let applied = before.get("migration_tag").and_then(Value::as_text);
        let from = applied.and_then(|tag| spec.migrations.iter().position(|step| step.tag == tag)).map_or(0, |at| at + 1);
        for step in &spec.migrations[from..] {
            migration(step, found);
        }
    }
    let exports = |side: &Properties| side.get("exports").and_then(Value::as_table).cloned().unwrap_or_default();
    let (old, new) = (exports(before), exports(after));
    for (name, export) in &new {
        let state = export.as_table().and_then(|fields| fields.get("state")).and_then(Value::as_text);
        match state.filter(|_| old.get(name) != Some(export)) {
            Some("deleted") => {
                found.add(Reversibility::OneWay, format!("the data of Durable Object class `{name}` is destroyed"));
            }
            Some("renamed" | "transferred" | "expecting-transfer") => {
                found.add(Reversibility::OneWay, format!("the platform does not take class `{name}` back to where it was"));
            }
            _ => {}
        }
    }
    if secrets_differ(before, after) {
        found.add(
            Reversibility::WithLoss,
            "a secret changes: going back sets the former value in a new version, since the platform refuses to deploy an old one over it (10220)",
        );
    }
}

fn migration(step: &Migration, found: &mut Reversal) {
    let deleted = step.deleted();
    if !deleted.is_empty() {
        found.add(Reversibility::OneWay, format!("migration `{}` destroys the data of {}", step.tag, deleted.join(", ")));
    } else if step.steps.contains_key("renamed_classes") || step.steps.contains_key("transferred_classes") {
        found.add(
            Reversibility::OneWay,
            format!("migration `{}` moves classes, and the platform does not go back before it", step.tag),
        );
    }
}

fn secrets_differ(before: &Properties, after: &Properties) -> bool {
    differences(before, after).iter().any(|difference| {
        difference.path.first().is_some_and(|field| field == "bindings")
            && [&difference.before, &difference.after].iter().all(|side| is_secret(side.as_ref()))
    })
}

fn is_secret(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Secret { .. }) => true,
        Some(Value::Table(fields)) => fields.values().any(|value| matches!(value, Value::Secret { .. })),
        _ => false,
    }
}

fn database(evidence: &Evidence<'_>, found: &mut Reversal) {
    let names = |side: &Properties| side.get("migrations").and_then(Value::as_table).cloned().unwrap_or_default();
    let applied = names(evidence.before);
    let new: Vec<String> = names(evidence.after).into_keys().filter(|name| !applied.contains_key(name)).collect();
    if !new.is_empty() {
        found.add(Reversibility::OneWay, format!("what {} does to the data is not undone by a revert", new.join(", ")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{PlatformSpec, WorkerSpec};

    fn of(kind: Kind, action: Action, before: &Properties, after: &Properties, spec: Option<&Spec>) -> Reversal {
        reversal(&Evidence { kind, action, before, after, spec, why: &[] })
    }

    fn steps(tag: &str, steps: &[(&str, &str)]) -> Migration {
        let steps = steps.iter().map(|(field, class)| ((*field).to_owned(), Value::List(vec![Value::text(*class)]))).collect();
        Migration { tag: tag.into(), steps }
    }

    #[test]
    fn a_migration_is_judged_by_the_steps_that_are_left() {
        let worker = WorkerSpec {
            migrations: vec![steps("v1", &[("deleted_classes", "Old")]), steps("v2", &[("new_sqlite_classes", "Room")])],
            ..WorkerSpec::default()
        };
        let spec = Spec::Worker(worker);
        let tag = |tag: &str| Properties::from([("migration_tag".to_owned(), Value::text(tag))]);
        let of = |before: &Properties| of(Kind::Worker, Action::Update, before, &tag("v2"), Some(&spec));
        assert_eq!(of(&tag("v1")), Reversal::default());
        let first = of(&Properties::new());
        assert_eq!(first.verdict, Reversibility::OneWay);
        assert!(first.reasons[0].contains("Old"), "{first:?}");
    }

    #[test]
    fn what_holds_data_is_not_deleted_twice() {
        let none = Properties::new();
        for (kind, verdict) in
            [(Kind::Kv, Reversibility::OneWay), (Kind::Worker, Reversibility::WithLoss), (Kind::File, Reversibility::Reversible)]
        {
            assert_eq!(of(kind, Action::Delete, &none, &none, None).verdict, verdict, "{kind}");
        }
        let classes = Properties::from([("migration_tag".to_owned(), Value::text("v1"))]);
        assert_eq!(of(Kind::Worker, Action::Delete, &classes, &none, None).verdict, Reversibility::OneWay);
    }

    #[test]
    fn a_new_migration_of_a_database_is_one_way_and_its_first_ones_are_not() {
        let migrations = |names: &[&str]| {
            let names = names.iter().map(|name| ((*name).to_owned(), Value::Bool(true))).collect();
            Properties::from([("migrations".to_owned(), Value::Table(names))])
        };
        let spec = Spec::Platform(PlatformSpec::new(Kind::D1, "ads"));
        let (one, two) = (migrations(&["1.sql"]), migrations(&["1.sql", "2.sql"]));
        let update = of(Kind::D1, Action::Update, &one, &two, Some(&spec));
        assert_eq!((update.verdict, update.reasons.len()), (Reversibility::OneWay, 1));
        assert!(update.reasons[0].contains("2.sql"));
        assert_eq!(of(Kind::D1, Action::Create, &Properties::new(), &two, Some(&spec)), Reversal::default());
    }
}
