//! Hyperdrive: databases that Workers reach with a connection string of their binding.
//!
//! The edge passes connections on; it neither pools nor caches.
//!
//! **Invariant:** a password goes in and never comes out.

use axum::extract::{Path, Query, State as Extracted};
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::plane::Plane;
use super::super::record::{Binding, Hyperdrive, State, fresh_hex, now};
use super::answer::{Answer, Paging, Refusal, ok, ok_with, page};
use super::{Ctx, Name, bound_by, nothing, parse};
use crate::model::Secret;

fn none(id: &str) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, 2001, format!("Hyperdrive config not found: {id}"))
}

fn shown(id: &str, config: &Hyperdrive) -> Value {
    json!({
        "id": id,
        "name": config.name,
        "created_on": config.created_on,
        "modified_on": config.modified_on,
        "origin": {
            "scheme": config.scheme,
            "host": config.host,
            "port": config.port,
            "database": config.database,
            "user": config.user,
        },
        "caching": if config.caching.is_null() { json!({ "disabled": false }) } else { config.caching.clone() },
        "mtls": config.mtls,
        "origin_connection_limit": config.connection_limit,
    })
}

#[derive(Deserialize)]
struct Wanted {
    name: Option<String>,
    #[serde(default)]
    origin: Origin,
    #[serde(default)]
    caching: Value,
    #[serde(default)]
    mtls: Value,
    origin_connection_limit: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Origin {
    scheme: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    database: Option<String>,
    user: Option<String>,
    password: Option<String>,
}

impl Wanted {
    /// The configuration that is wanted; what is not named stays as it is.
    fn config(self, plane: &Plane, before: Option<&Hyperdrive>) -> Result<Hyperdrive, Refusal> {
        let needed = |field: &str, value: Option<String>, before: Option<&String>| {
            let value = value.or_else(|| before.cloned()).filter(|value| !value.is_empty());
            value.ok_or_else(|| Refusal::bad(2010, format!("a Hyperdrive configuration has `{field}`")))
        };
        let scheme = self.origin.scheme.or_else(|| before.map(|b| b.scheme.clone())).unwrap_or_else(|| "postgres".to_owned());
        let default_port = match scheme.as_str() {
            "postgres" | "postgresql" => 5432,
            "mysql" => 3306,
            other => return Err(Refusal::bad(2010, format!("origin.scheme is `postgres` or `mysql`, not `{other}`"))),
        };
        let password = match (self.origin.password, before) {
            (Some(password), _) => plane.seal.seal_text(&Secret::new(password.into_bytes()))?,
            (None, Some(before)) => before.password.clone(),
            (None, None) => return Err(Refusal::bad(2010, "a Hyperdrive configuration has `origin.password`")),
        };
        let kept =
            |value: Value, before: Option<&Value>| if value.is_null() { before.cloned().unwrap_or_default() } else { value };
        Ok(Hyperdrive {
            name: needed("name", self.name, before.map(|b| &b.name))?,
            created_on: before.map_or_else(now, |b| b.created_on.clone()),
            modified_on: now(),
            host: needed("origin.host", self.origin.host, before.map(|b| &b.host))?,
            port: self.origin.port.or(before.map(|b| b.port)).unwrap_or(default_port),
            database: needed("origin.database", self.origin.database, before.map(|b| &b.database))?,
            user: needed("origin.user", self.origin.user, before.map(|b| &b.user))?,
            scheme,
            password,
            caching: kept(self.caching, before.map(|b| &b.caching)),
            mtls: kept(self.mtls, before.map(|b| &b.mtls)),
            connection_limit: self.origin_connection_limit.or(before.and_then(|b| b.connection_limit)),
        })
    }
}

fn free_name(state: &State, name: &str, own_id: Option<&str>) -> Result<(), Refusal> {
    let taken = state.account.hyperdrives.iter().any(|(id, other)| other.name == name && Some(id.as_str()) != own_id);
    match taken {
        true => Err(Refusal::new(StatusCode::CONFLICT, 2017, format!("a Hyperdrive configuration named {name} already exists"))),
        false => Ok(()),
    }
}

/// `GET configs`.
pub(super) async fn list(Extracted(plane): Ctx, Path(_account): Path<String>, Query(paging): Query<Paging>) -> Answer {
    let state = plane.state();
    let all = state.account.hyperdrives.iter().map(|(id, config)| shown(id, config)).collect();
    let (all, info) = page(all, &paging, 20, 100);
    ok_with(json!(all), Some(info), StatusCode::OK)
}

/// `POST configs`.
pub(super) async fn create(Extracted(plane): Ctx, Path(_account): Path<String>, body: Bytes) -> Answer {
    let config = parse::<Wanted>(&body)?.config(&plane, None)?;
    let edit = |state: &mut State| {
        free_name(state, &config.name, None)?;
        let id = fresh_hex();
        let answer = shown(&id, &config);
        state.account_mut().hyperdrives.insert(id, config);
        Ok::<_, Refusal>(answer)
    };
    ok(Box::pin(plane.change(edit)).await?)
}

/// `GET configs/{id}`.
pub(super) async fn show(Extracted(plane): Ctx, Path((_, id)): Name) -> Answer {
    let state = plane.state();
    ok(shown(&id, state.account.hyperdrives.get(&id).ok_or_else(|| none(&id))?))
}

/// `PUT` and `PATCH configs/{id}`: a password that is not named stays.
pub(super) async fn update(Extracted(plane): Ctx, Path((_, id)): Name, body: Bytes) -> Answer {
    let wanted: Wanted = parse(&body)?;
    let edit = |state: &mut State| {
        let before = state.account.hyperdrives.get(&id).ok_or_else(|| none(&id))?;
        let after = wanted.config(&plane, Some(before))?;
        free_name(state, &after.name, Some(&id))?;
        let answer = shown(&id, &after);
        state.account_mut().hyperdrives.insert(id.clone(), after);
        Ok::<_, Refusal>(answer)
    };
    ok(Box::pin(plane.change(edit)).await?)
}

/// `DELETE configs/{id}`.
pub(super) async fn delete(Extracted(plane): Ctx, Path((_, id)): Name) -> Answer {
    let edit = |state: &mut State| {
        if let Some(user) = bound_by(state, |binding| matches!(binding, Binding::Hyperdrive { id: bound } if *bound == id)) {
            return Err(Refusal::bad(2010, format!("the Hyperdrive configuration is bound by the Worker `{user}`")));
        }
        state.account_mut().hyperdrives.remove(&id).map(|_| ()).ok_or_else(|| none(&id))
    };
    Box::pin(plane.change(edit)).await?;
    ok(nothing())
}
