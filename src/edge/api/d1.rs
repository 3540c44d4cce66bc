//! D1: databases made, listed, changed, deleted, and asked.
//!
//! The databases are where the Workers' bindings find them, in the store that the runtime keeps. One call is one
//! transaction.
//!
//! **Invariant:** a name is one database's; a database that a serving Worker binds is not deleted.

use axum::extract::{Path, Query, State as Extracted};
use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::plane::Plane;
use super::super::record::{Binding, Database, State, now};
use super::super::runtime::store::DATABASE_HEADER;
use super::answer::{Answer, Paging, Refusal, ok, ok_with, page};
use super::store::Call;
use super::{Ctx, Name, bound_by, nothing, parse, sql};

/// Databases of one edge.
const LIMIT: usize = 5000;

fn no_database(id: &str) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, 7404, format!("The database {id} could not be found"))
}

fn shown(id: &str, database: &Database) -> Value {
    let mut shown = json!({
        "uuid": id,
        "name": database.name,
        "created_at": database.created_at,
        "version": "production",
        "read_replication": { "mode": database.read_replication },
    });
    if let Some(jurisdiction) = &database.jurisdiction {
        shown["jurisdiction"] = json!(jurisdiction);
    }
    if let Some(hint) = &database.primary_location_hint {
        shown["primary_location_hint"] = json!(hint);
        shown["running_in_region"] = json!(hint.to_ascii_uppercase());
    }
    shown
}

#[derive(Debug, Deserialize)]
pub(super) struct ListQuery {
    name: Option<String>,
    page: Option<usize>,
    per_page: Option<usize>,
}

/// `GET database`: `name` is a part of the name.
pub(super) async fn list(Extracted(plane): Ctx, Path(_account): Path<String>, Query(query): Query<ListQuery>) -> Answer {
    let state = plane.state();
    let fits = |database: &&Database| query.name.as_ref().is_none_or(|name| database.name.contains(name));
    let found = state.account.databases.iter().filter(|(_, database)| fits(database));
    let found = found.map(|(id, database)| shown(id, database)).collect();
    let (found, info) = page(found, &Paging { page: query.page, per_page: query.per_page }, 100, 10_000);
    ok_with(json!(found), Some(info), StatusCode::OK)
}

#[derive(Debug, Deserialize)]
struct Wanted {
    name: String,
    primary_location_hint: Option<String>,
    jurisdiction: Option<String>,
    read_replication: Option<Replication>,
}

#[derive(Debug, Deserialize)]
struct Replication {
    mode: String,
}

impl Replication {
    fn checked(self) -> Result<String, Refusal> {
        match self.mode.as_str() {
            "auto" | "disabled" => Ok(self.mode),
            other => Err(Refusal::bad(7400, format!("read_replication.mode is `auto` or `disabled`, not `{other}`"))),
        }
    }
}

/// `POST database`.
pub(super) async fn create(Extracted(plane): Ctx, Path(_account): Path<String>, body: Bytes) -> Answer {
    let wanted: Wanted = parse(&body)?;
    let is_name = |name: &str| name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_ ".contains(&b));
    if wanted.name.trim().is_empty() || !is_name(&wanted.name) {
        return Err(Refusal::bad(7400, "a database's name has 1 to 64 letters, digits, `-`, `_` or blanks"));
    }
    let one_of = |field: &str, value: &Option<String>, all: &[&str]| match value.as_deref() {
        Some(value) if !all.contains(&value) => Err(Refusal::bad(7400, format!("{field} is one of {}", all.join(", ")))),
        _ => Ok(()),
    };
    one_of("primary_location_hint", &wanted.primary_location_hint, &["weur", "eeur", "apac", "oc", "wnam", "enam"])?;
    one_of("jurisdiction", &wanted.jurisdiction, &["eu", "fedramp"])?;
    let read_replication = wanted.read_replication.map_or(Ok("disabled".to_owned()), Replication::checked)?;
    let database = Database {
        name: wanted.name,
        created_at: now(),
        primary_location_hint: wanted.primary_location_hint,
        jurisdiction: wanted.jurisdiction,
        read_replication,
    };
    let edit = |state: &mut State| {
        if state.account.databases.values().any(|other| other.name == database.name) {
            return Err(Refusal::bad(7502, "A database with that name already exists"));
        }
        if state.account.databases.len() >= LIMIT {
            return Err(Refusal::bad(7406, format!("this edge keeps at most {LIMIT} databases")));
        }
        // wrangler tells an id from a name by the form of a UUID of version 4.
        let id = uuid_v4();
        let answer = shown(&id, &database);
        state.account_mut().databases.insert(id, database);
        Ok(answer)
    };
    let mut answer = Box::pin(plane.change(edit)).await?;
    answer["file_size"] = json!(0);
    answer["num_tables"] = json!(0);
    ok(answer)
}

fn uuid_v4() -> String {
    let mut bytes = *uuid::Uuid::now_v7().as_bytes();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    uuid::Uuid::from_bytes(bytes).to_string()
}

/// The id of a database, given by id or by name.
pub(super) fn find(state: &State, id_or_name: &str) -> Result<String, Refusal> {
    if state.account.databases.contains_key(id_or_name) {
        return Ok(id_or_name.to_owned());
    }
    let named = state.account.databases.iter().find(|(_, database)| database.name == id_or_name);
    named.map(|(id, _)| id.clone()).ok_or_else(|| no_database(id_or_name))
}

/// `GET database/{id}`, with its size where the store runs.
pub(super) async fn show(Extracted(plane): Ctx, Path((_, id)): Name) -> Answer {
    let state = plane.state();
    let id = find(&state, &id)?;
    let mut answer = shown(&id, &state.account.databases[&id]);
    let count = "SELECT count(*) AS n FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~' \
                 AND name NOT LIKE '~_cf~_%' ESCAPE '~'";
    if let Ok(results) = run(&plane, &id, &[json!({ "sql": count, "params": [] })], false).await {
        answer["num_tables"] = results[0]["results"][0]["n"].clone();
        answer["file_size"] = results[0]["meta"]["size_after"].clone();
    }
    ok(answer)
}

#[derive(Debug, Deserialize)]
struct Change {
    read_replication: Option<Replication>,
}

/// `PATCH` and `PUT database/{id}`.
pub(super) async fn update(Extracted(plane): Ctx, Path((_, id)): Name, body: Bytes) -> Answer {
    let change: Change = parse(&body)?;
    let mode = change.read_replication.map(Replication::checked).transpose()?;
    let edit = |state: &mut State| {
        let id = find(state, &id)?;
        let database = state.account_mut().databases.get_mut(&id).ok_or_else(|| no_database(&id))?;
        if let Some(mode) = mode {
            database.read_replication = mode;
        }
        Ok::<_, Refusal>(shown(&id, database))
    };
    ok(Box::pin(plane.change(edit)).await?)
}

/// `DELETE database/{id}`, with what is in it.
pub(super) async fn delete(Extracted(plane): Ctx, Path((_, id)): Name) -> Answer {
    let edit = |state: &mut State| {
        let id = find(state, &id)?;
        if let Some(user) = bound_by(state, |binding| matches!(binding, Binding::D1 { database_id } if *database_id == id)) {
            return Err(Refusal::bad(7400, format!("the database is bound by the Worker `{user}`")));
        }
        state.account_mut().databases.remove(&id);
        Ok(id)
    };
    let id = Box::pin(plane.change(edit)).await?;
    let drop = Call::new(Method::POST, "/__drop", (DATABASE_HEADER, &id));
    if let Err(error) = drop.ask(&plane).await {
        // The id is never used again, so that what stays behind is out of reach.
        tracing::warn!(database = id, ?error, "The file of a deleted database is left on disk.");
    }
    ok(nothing())
}

/// `POST database/{id}/query`: rows as objects.
pub(super) async fn query(Extracted(plane): Ctx, Path((_, id)): Name, body: Bytes) -> Answer {
    answer(&plane, &id, &body, false).await
}

/// `POST database/{id}/raw`: rows as arrays.
pub(super) async fn raw(Extracted(plane): Ctx, Path((_, id)): Name, body: Bytes) -> Answer {
    answer(&plane, &id, &body, true).await
}

async fn answer(plane: &Plane, id: &str, body: &Bytes, raw: bool) -> Answer {
    let id = find(&plane.state(), id)?;
    let queries = queries(parse(body)?)?;
    ok(Box::pin(run(plane, &id, &queries, raw)).await?)
}

#[derive(Debug, Deserialize)]
struct Asked {
    sql: Option<String>,
    params: Option<Vec<Value>>,
    batch: Option<Vec<One>>,
}

#[derive(Debug, Deserialize)]
struct One {
    sql: String,
    params: Option<Vec<Value>>,
}

/// The statements of a call, each on its own: an answer has a result for each.
pub(super) fn queries(asked: Value) -> Result<Vec<Value>, Refusal> {
    let malformed = |error: serde_json::Error| Refusal::bad(7400, format!("the query cannot be read: {error}"));
    let all: Vec<One> = match asked {
        Value::Array(_) => serde_json::from_value(asked).map_err(malformed)?,
        _ => {
            let asked: Asked = serde_json::from_value(asked).map_err(malformed)?;
            match (asked.sql, asked.batch) {
                (Some(sql), None) => vec![One { sql, params: asked.params }],
                (None, Some(batch)) => batch,
                _ => return Err(Refusal::bad(7400, "a query has either `sql` or `batch`")),
            }
        }
    };
    let mut queries = Vec::new();
    for One { sql, params } in all {
        let params = params.unwrap_or_default();
        let statements = sql::split(&sql);
        if statements.len() > 1 && !params.is_empty() {
            return Err(Refusal::bad(7400, "`params` go with one statement; give several as `batch`"));
        }
        queries.extend(statements.iter().map(|sql| json!({ "sql": sql, "params": params })));
    }
    match queries.is_empty() {
        true => Err(Refusal::bad(7400, "No SQL statements detected.")),
        false => Ok(queries),
    }
}

/// Runs statements in one transaction; a result for each.
pub(super) async fn run(plane: &Plane, id: &str, queries: &[Value], raw: bool) -> Result<Value, Refusal> {
    let target = if raw { "/execute?resultsFormat=ROWS_AND_COLUMNS" } else { "/query" };
    let call = Call { body: json!(queries).to_string().into(), ..Call::new(Method::POST, target, (DATABASE_HEADER, id)) };
    let told = call.ask(plane).await?;
    let answer: Value = serde_json::from_slice(&told.body).unwrap_or_default();
    match answer {
        Value::Array(_) => Ok(answer),
        other => {
            let said = other["error"].as_str().unwrap_or("the store gave no answer");
            Err(Refusal::bad(7500, said.to_owned()))
        }
    }
}

/// What the API says of calls that need Cloudflare's own storage.
pub(super) async fn not_here() -> Refusal {
    Refusal::bad(7400, "this edge has no export or time travel of D1: read with `query`, and copy `kv/do` with the edge stopped")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_statements_have_a_result_each() {
        let sqls = |asked: Value| queries(asked).map(|all| all.iter().map(|q| q["sql"].as_str().unwrap().to_owned()).collect());
        let two: Result<Vec<String>, Refusal> = sqls(json!({ "sql": "SELECT 1; SELECT 2;" }));
        assert_eq!(two.unwrap(), ["SELECT 1", "SELECT 2"]);
        let batch: Result<Vec<String>, Refusal> =
            sqls(json!({ "batch": [{ "sql": "SELECT ?", "params": [1] }, { "sql": "SELECT 2" }] }));
        assert_eq!(batch.unwrap().len(), 2);
        for wrong in [json!({ "sql": "SELECT ?; SELECT 1", "params": [1] }), json!({ "sql": "-- nothing" }), json!({})] {
            assert!(queries(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_id_has_the_form_that_wrangler_knows() {
        assert_eq!(uuid_v4().as_bytes()[14], b'4');
    }
}
