//! KV namespaces: made, listed, renamed, deleted.
//!
//! **Invariant:** a title names one namespace; a namespace that a serving Worker binds is not deleted.

use axum::extract::{Path, Query, State as Extracted};
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::record::{Account, Binding, State, fresh_hex};
use super::answer::{Answer, Paging, Refusal, ok, ok_with, page};
use super::{Ctx, Name, bound_by, nothing, parse, values};

/// Namespaces of one edge.
const LIMIT: usize = 1000;

fn namespace_json(account: &Account, id: &str, title: &str) -> Value {
    let mut shown = json!({ "id": id, "title": title, "supports_url_encoding": true });
    if let Some(place) = account.jurisdictions.get(id) {
        shown["jurisdiction"] = json!(place);
    }
    shown
}

/// The refusal where there is no such namespace.
pub(super) fn no_namespace(id: &str) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, 10013, format!("namespace not found: {id}"))
}

#[derive(Debug, Deserialize)]
pub(super) struct ListQuery {
    order: Option<String>,
    direction: Option<String>,
    page: Option<usize>,
    per_page: Option<usize>,
}

/// `GET namespaces`.
pub(super) async fn list(Extracted(plane): Ctx, Path(_account): Path<String>, Query(query): Query<ListQuery>) -> Answer {
    let state = plane.state();
    let mut namespaces: Vec<(&String, &String)> = state.account.namespaces.iter().collect();
    if query.order.as_deref() == Some("title") {
        namespaces.sort_by_key(|(_, title)| *title);
    }
    if query.direction.as_deref() == Some("desc") {
        namespaces.reverse();
    }
    let shown = namespaces.into_iter().map(|(id, title)| namespace_json(&state.account, id, title)).collect();
    let (shown, info) = page(shown, &Paging { page: query.page, per_page: query.per_page }, 20, 1000);
    ok_with(json!(shown), Some(info), StatusCode::OK)
}

#[derive(Debug, Deserialize)]
struct Titled {
    title: String,
    /// At creation alone.
    jurisdiction: Option<String>,
}

/// That a jurisdiction is one that there is.
pub(super) fn check_jurisdiction(named: Option<&str>) -> Result<(), Refusal> {
    match named {
        None | Some("eu" | "fedramp") => Ok(()),
        Some(other) => Err(Refusal::bad(10021, format!("a jurisdiction is `eu` or `fedramp`, not `{other}`"))),
    }
}

fn free_title(state: &State, title: &str, own_id: Option<&str>) -> Result<(), Refusal> {
    if title.is_empty() || title.len() > 512 {
        return Err(Refusal::bad(10021, "a namespace's title has 1 to 512 bytes"));
    }
    let taken = state.account.namespaces.iter().any(|(id, other)| other == title && Some(id.as_str()) != own_id);
    match taken {
        true => Err(Refusal::bad(10014, format!("a namespace with this account ID and title already exists: {title}"))),
        false => Ok(()),
    }
}

/// `POST namespaces`.
pub(super) async fn create(Extracted(plane): Ctx, Path(_account): Path<String>, body: Bytes) -> Answer {
    let Titled { title, jurisdiction } = parse(&body)?;
    check_jurisdiction(jurisdiction.as_deref())?;
    let edit = |state: &mut State| {
        free_title(state, &title, None)?;
        if state.account.namespaces.len() >= LIMIT {
            return Err(Refusal::bad(10021, format!("this edge keeps at most {LIMIT} namespaces")));
        }
        let id = fresh_hex();
        state.account_mut().namespaces.insert(id.clone(), title.clone());
        state.account_mut().jurisdictions.extend(jurisdiction.map(|place| (id.clone(), place)));
        Ok(namespace_json(&state.account, &id, &title))
    };
    ok(Box::pin(plane.change(edit)).await?)
}

/// `GET namespaces/{id}`.
pub(super) async fn show(Extracted(plane): Ctx, Path((_, id)): Name) -> Answer {
    let state = plane.state();
    ok(namespace_json(&state.account, &id, state.account.namespaces.get(&id).ok_or_else(|| no_namespace(&id))?))
}

/// `PUT namespaces/{id}`: another title.
pub(super) async fn rename(Extracted(plane): Ctx, Path((_, id)): Name, body: Bytes) -> Answer {
    let Titled { title, .. } = parse(&body)?;
    let edit = |state: &mut State| {
        if !state.account.namespaces.contains_key(&id) {
            return Err(no_namespace(&id));
        }
        free_title(state, &title, Some(&id))?;
        state.account_mut().namespaces.insert(id.clone(), title.clone());
        Ok(namespace_json(&state.account, &id, &title))
    };
    ok(Box::pin(plane.change(edit)).await?)
}

/// `DELETE namespaces/{id}`, with what is in it.
pub(super) async fn delete(Extracted(plane): Ctx, Path((_, id)): Name) -> Answer {
    let edit = |state: &mut State| {
        let binds = |binding: &Binding| matches!(binding, Binding::KvNamespace { namespace_id } if *namespace_id == id);
        if let Some(user) = bound_by(state, binds) {
            return Err(Refusal::bad(10037, format!("the namespace is bound by the Worker `{user}`")));
        }
        state.account_mut().jurisdictions.remove(&id);
        state.account_mut().namespaces.remove(&id).map(|_| ()).ok_or_else(|| no_namespace(&id))
    };
    Box::pin(plane.change(edit)).await?;
    // The id is never used again, so that keys that stay behind after a crash here are out of reach.
    if let Err(error) = Box::pin(values::clear(&plane, &id)).await {
        tracing::warn!(namespace = id, ?error, "Keys of a deleted KV namespace are left on disk.");
    }
    ok(nothing())
}
