//! Durable Objects as the account has them: their classes, and which objects there are.
//!
//! **Invariant:** nothing is changed here; classes come and go with the Worker that owns them.

use axum::extract::{Path, Query, State as Extracted};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Answer, Paging, Refusal, ok_with, page};
use super::{Ctx, Name};

/// `GET workers/durable_objects/namespaces`.
pub(super) async fn list(Extracted(plane): Ctx, Query(paging): Query<Paging>) -> Answer {
    let state = plane.state();
    let mut found: Vec<Value> = Vec::new();
    for script in state.scripts.values() {
        for (class, objects) in &script.objects {
            let name = format!("{}_{class}", script.name);
            found.push(json!({
                "id": objects.id, "name": name, "class": class, "script": script.name, "use_sqlite": objects.sqlite,
            }));
        }
    }
    let (found, info) = page(found, &paging, 20, 1000);
    ok_with(json!(found), Some(info), StatusCode::OK)
}

#[derive(Debug, Deserialize)]
pub(super) struct Objects {
    limit: Option<usize>,
    cursor: Option<String>,
}

/// `GET workers/durable_objects/namespaces/{id}/objects`: those that have stored something.
pub(super) async fn objects(Extracted(plane): Ctx, Path((_, id)): Name, Query(query): Query<Objects>) -> Answer {
    if plane.state().objects(&id).is_none() {
        return Err(Refusal::new(StatusCode::NOT_FOUND, 10066, format!("there are no Durable Objects with the id {id}")));
    }
    let mut ids = plane.stored_objects(&id).await?;
    ids.sort();
    if let Some(cursor) = query.cursor.filter(|cursor| !cursor.is_empty()) {
        ids.retain(|id| *id > cursor);
    }
    let limit = query.limit.unwrap_or(1000).clamp(10, 10_000);
    let more = ids.len() > limit;
    ids.truncate(limit);
    let cursor = if more { ids.last().cloned().unwrap_or_default() } else { String::new() };
    let info = json!({ "count": ids.len(), "cursor": cursor });
    let shown: Vec<Value> = ids.into_iter().map(|id| json!({ "id": id, "hasStoredData": true })).collect();
    ok_with(json!(shown), Some(info), StatusCode::OK)
}
