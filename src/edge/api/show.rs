//! The wire's shapes of Workers, versions, deployments and bindings.
//!
//! Goes in: records. Comes out: JSON, with the fields that wrangler and the SDKs read.
//!
//! **Invariant:** a secret is shown by name and type only.

use serde_json::{Value, json};

use super::super::record::{Binding, Deployment, Script, Version};

/// Who is named as author: the edge knows one caller.
pub(super) const AUTHOR: &str = "edge@localhost";

/// A Worker, in the list and as the answer to an upload.
pub(super) fn script(script: &Script) -> Value {
    let active = script.principal().or(script.latest());
    json!({
        "id": script.name,
        "tag": script.tag,
        "tags": script.tags,
        "etag": active.map(|version| version.etag.clone()),
        "created_on": script.created_on,
        "modified_on": script.modified_on,
        "handlers": handlers(),
        "named_handlers": [],
        "has_assets": active.is_some_and(|version| version.assets.is_some()),
        "has_modules": active.is_none_or(|version| !version.modules.is_empty()),
        "migration_tag": script.migration_tag,
        "exports": active.map(|version| version.exports.clone()),
        "last_deployed_from": script.last_deployed_from,
        "logpush": script.logpush,
        "observability": script.observability,
        "tail_consumers": script.tail_consumers,
        "placement": active.map(|version| version.placement.clone()),
        "compatibility_date": active.map(|version| version.compatibility_date.clone()),
        "compatibility_flags": active.map(|version| version.compatibility_flags.clone()),
        "usage_model": active.map(|version| version.usage_model.clone()),
    })
}

/// Which handlers a Worker exports. The edge does not look into the code; `fetch` is what it routes to.
fn handlers() -> Value {
    json!(["fetch"])
}

/// A version, in full.
pub(super) fn version(version: &Version) -> Value {
    let mut shown = version_item(version);
    shown["startup_time_ms"] = version.startup_time_ms.into();
    shown["resources"] = json!({
        "bindings": bindings(version),
        "script": {
            "etag": version.etag,
            "handlers": handlers(),
            "named_handlers": [],
            "last_deployed_from": version.source,
        },
        "script_runtime": {
            "compatibility_date": version.compatibility_date,
            "compatibility_flags": version.compatibility_flags,
            "limits": version.limits,
            "usage_model": version.usage_model,
            "placement": version.placement,
        },
    });
    if let Some(assets) = &version.assets {
        shown["resources"]["assets"] = json!({ "config": assets.config });
    }
    if let Some(exports) = version.exports.as_object() {
        // Those that say how an export ended are not shown.
        let is_live = |export: &Value| !matches!(export["state"].as_str(), Some("deleted" | "renamed" | "transferred"));
        let live = exports.iter().filter(|(_, export)| is_live(export));
        let live: Value = live.map(|(name, export)| (name.clone(), export.clone())).collect();
        shown["resources"]["script_runtime"]["exports"] = live;
    }
    shown
}

/// A version, in a list.
pub(super) fn version_item(version: &Version) -> Value {
    json!({
        "id": version.id,
        "number": version.number,
        "annotations": version.annotations,
        "metadata": {
            "created_on": version.created_on,
            "modified_on": version.created_on,
            "source": version.source,
            "author_id": "edge",
            "author_email": AUTHOR,
            "has_preview": false,
        },
    })
}

/// A deployment.
pub(super) fn deployment(deployment: &Deployment) -> Value {
    let versions: Vec<Value> =
        deployment.versions.iter().map(|s| json!({ "version_id": s.version_id, "percentage": s.percentage })).collect();
    json!({
        "id": deployment.id,
        "created_on": deployment.created_on,
        "source": deployment.source,
        "strategy": "percentage",
        "versions": versions,
        "annotations": deployment.annotations,
        "author_email": AUTHOR,
    })
}

/// A version's bindings.
pub(super) fn bindings(version: &Version) -> Vec<Value> {
    version.bindings.iter().map(|(name, value)| binding(name, value)).collect()
}

/// One binding; of a secret, its name and type.
pub(super) fn binding(name: &str, binding: &Binding) -> Value {
    let mut shown = match binding {
        Binding::SecretText { .. } => json!({ "type": binding.kind() }),
        // What is stored of the others is what a client gave.
        _ => serde_json::to_value(binding).unwrap_or_default(),
    };
    shown["name"] = json!(name);
    match binding {
        Binding::Service { environment: None, .. } => shown["environment"] = json!("production"),
        // The older name of the same thing, which wrangler reads.
        Binding::D1 { database_id } => shown["id"] = json!(database_id),
        _ => {}
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_shown_without_its_value() {
        let secret = Binding::SecretText { sealed: "c2VhbGVk".into(), mark: "mark".into() };
        assert_eq!(binding("KEY", &secret), json!({ "name": "KEY", "type": "secret_text" }));
    }
}
