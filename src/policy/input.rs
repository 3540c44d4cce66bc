//! What a rule sees, as JSON: the `input` of Rego. Its shape is documented in `policies/README.md` and is part of what
//! people write against: fields are added, never renamed.
//!
//! **Invariant:** no secret value; what stands for one is a mark.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use super::approve::Request;
use crate::model::{
    Connect, Desired, DesiredState, EnvironmentId, HostTarget, InstanceKey, Properties, SshTarget, Target, TargetKind, Value,
};
use crate::plan::{BlockReason, Blocked, Change, Orphan, Plan, Precondition, holds_data};

/// The input for one request.
pub(super) fn input(request: &Request<'_>) -> Json {
    let Request { plan, desired, rules, kind, now, budget, owned, acknowledged } = request;
    json!({
        "kind": kind.as_str(),
        "now": now.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        "now_ns": now.timestamp_nanos_opt(),
        "environment": environment(&plan.environment),
        "rules": { "from": rules.from() },
        "owned": owned,
        "budget": budget,
        "acknowledged": acknowledged,
        "plan": plan_input(plan),
        "desired": desired_input(desired),
    })
}

fn environment(id: &EnvironmentId) -> Json {
    json!({ "id": id, "tenant": id.tenant, "name": id.environment })
}

fn instance(key: &InstanceKey) -> Json {
    json!({ "key": key, "address": key.address, "kind": key.address.kind, "name": key.address.name, "target": key.target })
}

fn with(base: Json, more: Json) -> Json {
    match (base, more) {
        (Json::Object(mut base), Json::Object(more)) => {
            base.extend(more);
            Json::Object(base)
        }
        (base, _) => base,
    }
}

fn plan_input(plan: &Plan) -> Json {
    // Rules see shares as the property `traffic` of a change; when a step is due is no matter of theirs.
    let Plan { environment: _, changes, orphaned, blocked, rolling: _, batches: _, warnings: _ } = plan;
    json!({
        "digest": plan.digest(),
        "changes": changes.iter().map(change_input).collect::<Vec<_>>(),
        "orphaned": orphaned.iter().map(|Orphan { key, claim, reason }| {
            with(instance(key), json!({ "claim": claim, "reason": reason }))
        }).collect::<Vec<_>>(),
        "blocked": blocked.iter().map(|Blocked { key, reason }| {
            let (reason, message) = match reason {
                BlockReason::Unknown(message) => ("unknown", message.clone()),
                BlockReason::NotOurs(message) => ("not_ours", message.clone()),
                BlockReason::Dependency(on) => ("dependency", on.to_string()),
            };
            with(instance(key), json!({ "reason": reason, "message": message }))
        }).collect::<Vec<_>>(),
    })
}

fn change_input(change: &Change) -> Json {
    // Taken apart without `..`: a new field does not compile until somebody decides whether rules see it.
    let Change {
        key,
        action,
        claim,
        from,
        before,
        after,
        foreign,
        precondition,
        after_changes: _,
        depends_on,
        desired: _,
        reversal,
        why: _,
    } = change;
    let seen = match precondition {
        Precondition::Absent => "absent",
        Precondition::Fingerprint(_) => "present",
    };
    let more = json!({
        "action": action,
        "claim": claim,
        "from": from,
        "before": before,
        "after": after,
        "fields": fields(before.as_ref(), after.as_ref()),
        "foreign": foreign,
        "seen": seen,
        "depends_on": depends_on,
        "holds_data": holds_data(key.address.kind, before.as_ref().or(after.as_ref()).unwrap_or(&Properties::new())),
        "reversal": reversal,
    });
    with(instance(key), more)
}

/// The dotted paths of the values that differ.
fn fields(before: Option<&Properties>, after: Option<&Properties>) -> BTreeSet<String> {
    let none = Properties::new();
    let mut found = BTreeSet::new();
    differing("", before.unwrap_or(&none), after.unwrap_or(&none), &mut found);
    found
}

fn differing(prefix: &str, before: &Properties, after: &Properties, found: &mut BTreeSet<String>) {
    let none = Properties::new();
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in names {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match (before.get(name), after.get(name)) {
            (old, new) if old == new => {}
            (Some(Value::Table(old)), Some(Value::Table(new))) => differing(&path, old, new, found),
            (Some(Value::Table(only)), None) | (None, Some(Value::Table(only))) if !only.is_empty() => {
                differing(&path, &none, only, found);
            }
            _ => {
                found.insert(path);
            }
        }
    }
}

fn desired_input(desired: &DesiredState) -> Json {
    let DesiredState { environment: _, description, retire, sync, digest_key: _, targets, resources, secrets, policies: _ } =
        desired;
    json!({
        "description": description,
        "retire": retire,
        "sync": sync,
        "targets": targets.iter().map(|(name, target)| (name.as_str(), target_input(target))).collect::<BTreeMap<_, _>>(),
        "resources": resources.iter().map(|(key, desired)| (key.to_string(), resource_input(key, desired))).collect::<BTreeMap<_, _>>(),
        "secrets": secrets.keys().collect::<Vec<_>>(),
    })
}

fn target_input(target: &Target) -> Json {
    let Target { region, labels, kind } = target;
    let own = match kind {
        TargetKind::Cloudflare(target) => {
            json!({ "type": "cloudflare", "endpoint": target.endpoint, "account_id": target.account_id })
        }
        TargetKind::Edge(target) => json!({ "type": "edge", "endpoint": target.endpoint, "account_id": target.account_id }),
        TargetKind::Host(target) => {
            let HostTarget { connect, root, offline } = target;
            let base = json!({ "type": "host", "connect": connect.as_str(), "root": root, "offline": offline });
            match connect {
                Connect::Local | Connect::Agent { .. } => base,
                Connect::Ssh(SshTarget { user, host, port, host_key, elevate, state: _ }) => {
                    let more = json!({ "user": user, "address": host, "port": port, "host_key": host_key, "become": elevate });
                    with(base, more)
                }
            }
        }
    };
    with(json!({ "region": region, "labels": labels }), own)
}

fn resource_input(key: &InstanceKey, desired: &Desired) -> Json {
    let Desired { spec, depends_on, moved_from, adopt, claim_is_default: _, ignore, origin } = desired;
    let more = json!({
        "claim": spec.claim(),
        "properties": spec.properties(&BTreeMap::new()),
        "depends_on": depends_on,
        "moved_from": moved_from,
        "adopt": adopt,
        "ignore": ignore,
        "origin": { "path": origin.path, "line": origin.line },
    });
    with(instance(key), more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_the_leaves_that_differ() {
        let table = |text: &str| serde_json::from_str::<Properties>(text).unwrap();
        let before = table(r#"{"a":"1","b":{"c":"1","d":"1"},"e":{"f":"1"},"same":{"x":true},"list":["a"]}"#);
        let after = table(r#"{"a":"2","b":{"c":"1","d":"2"},"g":{"h":{"i":"1"}},"same":{"x":true},"list":["a","b"]}"#);
        let found: Vec<String> = fields(Some(&before), Some(&after)).into_iter().collect();
        assert_eq!(found, ["a", "b.d", "e.f", "g.h.i", "list"]);
    }
}
