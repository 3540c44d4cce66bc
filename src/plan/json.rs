//! The plan as JSON, for machines: version 1.
//!
//! ```text
//! { "version": 1, "environment": "production", "digest": "<64 hex digits>",
//!   "changes": [{
//!     "address": "production/worker.ads-api", "target": "main", "kind": "worker",
//!     "action": "create|update|delete|adopt|move", "claim": "<name at the target>", "from": "<former address>"|null,
//!     "reversible": "yes|with_loss|no", "irreversible_because": ["…"], "drift": true|false,
//!     "before": {…}|null, "after": {…}|null,                 properties, by name
//!     "fields": [{ "field": "bindings.LOG_LEVEL.text", "before": …|null, "after": …|null }],
//!     "foreign": { "bindings": ["NAME"] },                   what is there, not ours, and stays
//!     "precondition": "absent" | { "fingerprint": "…" },
//!     "after_changes": ["production/kv.sessions@main"],
//!     "why": [{ "field": "…", "cause": "definition", "path": "…", "line": 1, "commit": "…" }
//!           | { "field": "…", "cause": "drift|no_longer_defined|retired" }] }],
//!   "orphaned": [{ "address", "target", "claim", "reason" }],
//!   "blocked": [{ "address", "target", "reason": "unknown|not_ours|dependency", "message" }],
//!   "rolling": [{ "address", "target", "traffic": 10, "next": 50, "due": "…"|null, "paused": "…"|null }],
//!                                                          versions without all requests, after the changes
//!   "batches": [["fra-1", "fra-2"], ["fra-3"]],            the hosts with changes, where they are not changed at once
//!   "warnings": [{ "address", "target", "message" }],
//!   "summary": { "create": 0, "update": 0, "adopt": 0, "move": 0, "delete": 0, "orphaned": 0, "blocked": 0 } }
//! ```
//!
//! Changes stand in the order in which they are carried out. A secret is `{"$secret": "present|changed|set again|not
//! comparable"}`, bytes are `{"$content": {"sha256": "…", "size": 3}}`, a value not known yet is `{"$pending":
//! {"address": "…", "attribute": "id"}}`. Fields may be added within a version; none changes its meaning.
//!
//! **Invariant:** no secret and no mark of one comes out.

use serde_json::{Value as Json, json};

use super::change::{Action, BlockReason, Cause, Change, Plan, Precondition, Why};
use super::planner::fields;
use super::reversal::Reversibility;
use super::rollout::{Rolling, Warning};
use super::secrecy::{masked, masked_pair};
use crate::model::{Properties, Value};

/// The plan as the JSON of this module's documentation.
pub fn to_json(plan: &Plan) -> Json {
    let count = |action: Action| plan.changes.iter().filter(|change| change.action == action).count();
    let orphaned: Vec<Json> = plan
        .orphaned
        .iter()
        .map(|o| json!({ "address": o.key.address, "target": o.key.target, "claim": o.claim, "reason": o.reason }))
        .collect();
    let blocked: Vec<Json> = plan
        .blocked
        .iter()
        .map(|b| {
            let (reason, message) = match &b.reason {
                BlockReason::Unknown(message) => ("unknown", message.clone()),
                BlockReason::NotOurs(message) => ("not_ours", message.clone()),
                BlockReason::Dependency(key) => ("dependency", key.to_string()),
            };
            json!({ "address": b.key.address, "target": b.key.target, "reason": reason, "message": message })
        })
        .collect();
    let rolling = plan.rolling.iter().map(|Rolling { key, traffic, next, due, paused }| {
        let (address, target) = (&key.address, &key.target);
        json!({ "address": address, "target": target, "traffic": traffic, "next": next, "due": due, "paused": paused })
    });
    let warnings = plan
        .warnings
        .iter()
        .map(|Warning { key, message }| json!({ "address": key.address, "target": key.target, "message": message }));
    json!({
        "version": 1,
        "environment": plan.environment,
        "digest": plan.digest(),
        "changes": plan.changes.iter().map(change).collect::<Vec<_>>(),
        "orphaned": orphaned,
        "blocked": blocked,
        "rolling": rolling.collect::<Vec<_>>(),
        "batches": plan.batches,
        "warnings": warnings.collect::<Vec<_>>(),
        "summary": {
            "create": count(Action::Create),
            "update": count(Action::Update),
            "adopt": count(Action::Adopt),
            "move": count(Action::Move),
            "delete": count(Action::Delete),
            "orphaned": plan.orphaned.len(),
            "blocked": plan.blocked.len(),
        },
    })
}

fn change(change: &Change) -> Json {
    let nothing = Properties::new();
    let (before, after) = (change.before.as_ref(), change.after.as_ref());
    let (shown_before, shown_after) = masked(before.unwrap_or(&nothing), after.unwrap_or(&nothing), &secret);
    let fields: Vec<Json> = fields(change)
        .iter()
        .map(|difference| {
            let (before, after) = masked_pair(difference.before.as_ref(), difference.after.as_ref(), &secret);
            json!({ "field": difference.field(), "before": before, "after": after })
        })
        .collect();
    json!({
        "address": change.key.address,
        "target": change.key.target,
        "kind": change.key.address.kind,
        "action": change.action.as_str(),
        "claim": change.claim,
        "from": change.from,
        "reversible": reversible(change),
        "irreversible_because": change.reversal.reasons,
        "drift": change.is_drift_only(),
        "before": before.map(|_| shown_before),
        "after": after.map(|_| shown_after),
        "fields": fields,
        "foreign": change.foreign,
        "precondition": match &change.precondition {
            Precondition::Absent => json!("absent"),
            Precondition::Fingerprint(fingerprint) => json!({ "fingerprint": fingerprint }),
        },
        "after_changes": change.after_changes,
        "why": change.why.iter().map(why).collect::<Vec<_>>(),
    })
}

fn secret(word: &'static str) -> Value {
    Value::Table([("$secret".to_owned(), Value::text(word))].into())
}

/// Whether going back to the revision before restores what was there.
fn reversible(change: &Change) -> &'static str {
    match change.reversal.verdict {
        Reversibility::Reversible => "yes",
        Reversibility::WithLoss => "with_loss",
        Reversibility::OneWay => "no",
    }
}

fn why(why: &Why) -> Json {
    let field = &why.field;
    match &why.cause {
        Cause::Definition { path, line, commit } => {
            json!({ "field": field, "cause": "definition", "path": path, "line": line, "commit": commit })
        }
        Cause::Drift => json!({ "field": field, "cause": "drift" }),
        Cause::NoLongerDefined => json!({ "field": field, "cause": "no_longer_defined" }),
        Cause::Retired => json!({ "field": field, "cause": "retired" }),
    }
}
