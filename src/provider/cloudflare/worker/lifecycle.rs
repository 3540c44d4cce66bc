//! The life of a Worker's classes of Durable Objects: migrations and declared exports.
//!
//! Goes in: an order, and how far the live Worker came. Comes out: what an upload says of its classes.
//!
//! **Invariant:** only an upload that is deployed at once can say it, so such a change is never gradual. The step that was
//! applied last is named in it: where somebody else went on from there, the API refuses.

use serde_json::{Value as Json, json};

use crate::model::{Migration, Properties, Retry, Spec, Value};
use crate::provider::{Order, ProviderError};

use super::super::collection::object;

/// Whether the classes change.
pub(super) fn changes(before: &Properties, after: &Properties) -> bool {
    ["migration_tag", "exports"].iter().any(|field| after.contains_key(*field) && before.get(*field) != after.get(*field))
}

/// `migrations` of an upload: the steps after `live`, the one that was applied last. `None` where there is none to take.
///
/// # Errors
/// Where `live` is no step of the definition: what happened since cannot be told.
pub(super) fn migrations(order: &Order, live: Option<&str>) -> Result<Option<Json>, ProviderError> {
    let Some(Spec::Worker(worker)) = &order.spec else { return Ok(None) };
    let Some(last) = worker.migrations.last() else { return Ok(None) };
    let live = live.filter(|tag| !tag.is_empty());
    let from = match live {
        None => 0,
        Some(tag) => match worker.migrations.iter().position(|step| step.tag == tag) {
            Some(at) => at + 1,
            None => {
                let message = format!("Worker `{}` is at migration `{tag}`, which its definition does not have", worker.script);
                let hint = "add the steps that were applied to `migrations`, or correct their tags";
                return Err(ProviderError::new(message, Retry::Stalled).hint(hint));
            }
        },
    };
    let steps: Vec<Json> = worker.migrations[from..].iter().map(|Migration { steps, .. }| Json::Object(object(steps))).collect();
    if steps.is_empty() {
        return Ok(None);
    }
    let mut body = json!({ "new_tag": last.tag, "steps": steps });
    if let Some(tag) = live {
        body["old_tag"] = json!(tag);
    }
    Ok(Some(body))
}

/// `exports` of an upload; `None` where the definition declares none.
pub(super) fn exports(after: &Properties) -> Option<Json> {
    after.get("exports").and_then(Value::as_table).map(|exports| Json::Object(object(exports)))
}
