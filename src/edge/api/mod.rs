//! The Workers part of Cloudflare's REST API (v4), under `/client/v4`.
//!
//! Goes in: calls with the edge's bearer token. Comes out: the envelopes that wrangler, Cloudflare's SDKs and our own
//! provider expect. The edge has one account, called by any 32 hex digits.
//!
//! **Invariant:** every call that changes something runs to its end, also when its caller hangs up; every body is bounded.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post, put};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::plane::Plane;
use super::stand_in::{self, StandIn};
use crate::model::{Digest, Secret};

mod account;
pub(super) mod answer;
mod assets;
mod bindings;
mod certificates;
mod consumers;
mod d1;
mod deployments;
mod domains;
mod durable;
mod faults;
mod hyperdrive;
mod import;
mod kv;
mod messages;
mod migrations;
mod objects;
mod queues;
mod r2;
pub(super) mod routes;
mod scripts;
mod secrets;
mod services;
mod settings;
mod show;
mod sql;
mod store;
mod upload;
mod values;
mod versions;
mod workers;

use answer::Refusal;
use faults::Faults;

/// The plane, as handlers get it.
type Ctx = State<Arc<Plane>>;

/// Most calls carry little.
const JSON_LIMIT: usize = 1024 * 1024;
/// All parts of an upload together.
const UPLOAD_LIMIT: usize = 64 * 1024 * 1024;
/// The manifest of a site.
const MANIFEST_LIMIT: usize = 32 * 1024 * 1024;
/// A KV value and its metadata, in a form.
const VALUE_LIMIT: usize = 26 * 1024 * 1024;
/// A bulk write of KV.
const BULK_LIMIT: usize = 100 * 1024 * 1024;
/// Statements of one call to D1.
const SQL_LIMIT: usize = 16 * 1024 * 1024;
/// For how long calls in hand may go on after the stop.
const DRAIN: Duration = Duration::from_secs(30);

/// Serves the API until the token is cancelled, then lets calls in hand finish.
pub(super) async fn serve(listener: TcpListener, plane: Arc<Plane>, token: Secret, also: Also, stop: CancellationToken) {
    let app = router(plane, &token, &also);
    let signal = stop.clone();
    let serving = axum::serve(listener, app).with_graceful_shutdown(async move { signal.cancelled().await });
    tokio::select! {
        served = async { serving.await } => {
            if let Err(error) = served {
                tracing::error!(%error, "The API has stopped.");
            }
        }
        () = async { stop.cancelled().await; tokio::time::sleep(DRAIN).await; } => {}
    }
}

/// What an edge has only where it was started so.
pub(super) struct Also {
    /// The calls of tests.
    pub(super) faults: bool,
    /// The records of what cannot run here.
    pub(super) stand_in: Option<Arc<StandIn>>,
}

fn router(plane: Arc<Plane>, token: &Secret, also: &Also) -> Router {
    let mut api = Router::new()
        .route("/user", get(account::user))
        .route("/user/tokens/verify", get(account::verify))
        .route("/memberships", get(account::memberships))
        .route("/accounts", get(account::accounts))
        .route("/accounts/{account}", get(account::account))
        .route("/accounts/{account}/tokens/verify", get(account::verify))
        .route("/d1-uploads/{token}", put(import::upload).layer(DefaultBodyLimit::max(SQL_LIMIT)))
        .route("/zones", get(routes::zones))
        .route("/zones/{zone}", get(routes::zone))
        .route("/zones/{zone}/workers/routes", get(routes::list).post(routes::create))
        .route("/zones/{zone}/workers/routes/{route}", get(routes::show).put(routes::update).delete(routes::delete))
        .nest("/accounts/{account}/workers", workers_routes())
        .nest("/accounts/{account}/storage/kv/namespaces", kv_routes())
        .route("/accounts/{account}/hyperdrive/configs", get(hyperdrive::list).post(hyperdrive::create))
        .route(
            "/accounts/{account}/hyperdrive/configs/{config}",
            get(hyperdrive::show).put(hyperdrive::update).patch(hyperdrive::update).delete(hyperdrive::delete),
        )
        .route("/accounts/{account}/connectivity/directory/services", get(services::list).post(services::create))
        .route(
            "/accounts/{account}/connectivity/directory/services/{service}",
            get(services::show).put(services::update).delete(services::delete),
        )
        .route("/accounts/{account}/mtls_certificates", get(certificates::list).post(certificates::create))
        .route("/accounts/{account}/mtls_certificates/{certificate}", get(certificates::show).delete(certificates::delete))
        .nest("/accounts/{account}/d1/database", d1_routes())
        .nest("/accounts/{account}/queues", queue_routes())
        .nest("/accounts/{account}/r2/buckets", r2_routes())
        .merge(also.stand_in.as_ref().map_or_else(domain_routes, stand_in::routes))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown);
    let faults = also.faults.then(Faults::default).map(Arc::new);
    if let Some(faults) = &faults {
        api = api.layer(middleware::from_fn_with_state(Arc::clone(faults), faults::inject));
    }
    let mut app = Router::new().nest("/client/v4", api).fallback(unknown);
    if let Some(faults) = faults {
        app = app.merge(faults::routes(faults)).route("/__cron", post(faults::cron));
        app = also.stand_in.iter().fold(app, |app, kept| app.merge(stand_in::knobs(kept)));
    }
    let digest = Digest::of(token.expose().trim_ascii());
    app.layer(DefaultBodyLimit::max(JSON_LIMIT))
        .layer(middleware::from_fn(account_form))
        .layer(middleware::from_fn_with_state(digest, authenticate))
        .layer(middleware::from_fn(to_the_end))
        .with_state(plane)
}

fn workers_routes() -> Router<Arc<Plane>> {
    let script = Router::new()
        .route("/", get(scripts::content).put(scripts::put).delete(scripts::delete).layer(DefaultBodyLimit::max(UPLOAD_LIMIT)))
        .route("/content/v2", get(scripts::content))
        .route("/settings", get(settings::get).patch(settings::patch).layer(DefaultBodyLimit::max(UPLOAD_LIMIT)))
        .route("/script-settings", get(settings::get_script).patch(settings::patch_script))
        .route("/versions", get(versions::list).post(versions::create).layer(DefaultBodyLimit::max(UPLOAD_LIMIT)))
        .route("/versions/{version}", get(versions::show))
        .route("/deployments", get(deployments::list).post(deployments::create))
        .route("/deployments/{deployment}", get(deployments::show))
        .route("/schedules", get(workers::schedules).put(workers::put_schedules))
        .route("/subdomain", get(workers::subdomain).post(workers::put_subdomain).delete(workers::delete_subdomain))
        .route("/secrets", get(secrets::list).put(secrets::put))
        .route("/secrets/{secret}", get(secrets::show).delete(secrets::delete))
        .route("/secrets-bulk", axum::routing::patch(secrets::bulk))
        .route("/assets-upload-session", post(assets::session).layer(DefaultBodyLimit::max(MANIFEST_LIMIT)))
        .route("/routes", put(routes::replace));
    Router::new()
        .route("/scripts", get(scripts::list))
        .nest("/scripts/{script}", script)
        .route("/services/{script}", get(workers::service).delete(scripts::delete))
        .route("/workers", get(workers::list))
        .route("/workers/{script}", get(workers::show))
        .route("/assets/upload", post(assets::upload).layer(DefaultBodyLimit::max(UPLOAD_LIMIT)))
        .route("/durable_objects/namespaces", get(durable::list))
        .route("/durable_objects/namespaces/{namespace}/objects", get(durable::objects))
        .route("/subdomain", get(workers::account_subdomain))
        .route("/account-settings", get(workers::account_settings))
}

/// Custom domains, which lead requests here; where something stands in for Cloudflare's records, it has them.
fn domain_routes() -> Router<Arc<Plane>> {
    Router::new()
        .route("/accounts/{account}/workers/domains", get(domains::list).put(domains::put))
        .route("/accounts/{account}/workers/domains/{domain}", get(domains::show).delete(domains::delete))
        .route("/accounts/{account}/workers/domains/records/{domain}", get(domains::show))
        .route("/accounts/{account}/workers/scripts/{script}/domains/records", put(domains::put_records))
        .route("/accounts/{account}/workers/scripts/{script}/domains/changeset", post(domains::changeset))
}

fn kv_routes() -> Router<Arc<Plane>> {
    Router::new()
        .route("/", get(kv::list).post(kv::create))
        .route("/{namespace}", get(kv::show).put(kv::rename).delete(kv::delete))
        .route("/{namespace}/keys", get(values::keys))
        .route(
            "/{namespace}/values/{key}",
            get(values::get).put(values::put).delete(values::delete).layer(DefaultBodyLimit::max(VALUE_LIMIT)),
        )
        .route("/{namespace}/metadata/{key}", get(values::metadata))
        .route("/{namespace}/bulk", put(values::bulk_put).delete(values::bulk_delete).layer(DefaultBodyLimit::max(BULK_LIMIT)))
        .route("/{namespace}/bulk/delete", post(values::bulk_delete).layer(DefaultBodyLimit::max(BULK_LIMIT)))
        .route("/{namespace}/bulk/get", post(values::bulk_get))
}

fn d1_routes() -> Router<Arc<Plane>> {
    Router::new()
        .route("/", get(d1::list).post(d1::create))
        .route("/{database}", get(d1::show).patch(d1::update).put(d1::update).delete(d1::delete))
        .route("/{database}/query", post(d1::query).layer(DefaultBodyLimit::max(SQL_LIMIT)))
        .route("/{database}/raw", post(d1::raw).layer(DefaultBodyLimit::max(SQL_LIMIT)))
        .route("/{database}/import", post(import::import))
        .route("/{database}/export", post(d1::not_here))
        .route("/{database}/time_travel/bookmark", get(d1::not_here))
        .route("/{database}/time_travel/restore", post(d1::not_here))
}

fn queue_routes() -> Router<Arc<Plane>> {
    let consumer = get(consumers::show).put(consumers::update).patch(consumers::update).delete(consumers::delete);
    Router::new()
        .route("/", get(queues::list).post(queues::create))
        .route("/{queue}", get(queues::show).patch(queues::update).put(queues::update).delete(queues::delete))
        .route("/{queue}/consumers", get(consumers::list).post(consumers::create))
        .route("/{queue}/consumers/{consumer}", consumer)
        .route("/{queue}/metrics", get(queues::metrics))
        .route("/{queue}/purge", get(queues::purged).post(queues::purge))
        .route("/{queue}/messages", post(messages::send))
        .route("/{queue}/messages/batch", post(messages::send_batch))
        .route("/{queue}/messages/pull", post(messages::pull))
        .route("/{queue}/messages/ack", post(messages::acknowledge))
}

fn r2_routes() -> Router<Arc<Plane>> {
    // Objects stream: what bounds them is R2's own limit.
    let object = get(objects::get).put(objects::put).delete(objects::delete).layer(DefaultBodyLimit::disable());
    Router::new()
        .route("/", get(r2::list).post(r2::create))
        .route("/{bucket}", get(r2::show).patch(r2::update).delete(r2::delete))
        // Of what else a bucket has at Cloudflare there is none here, and none is made.
        .route("/{bucket}/{*setting}", get(r2::setting).put(r2::no_setting).post(r2::no_setting).delete(r2::no_setting))
        .route("/{bucket}/objects", get(objects::list))
        .route("/{bucket}/objects/{*key}", object)
}

/// The name of a Worker that serves with a binding that fits.
fn bound_by(state: &super::record::State, fits: impl Fn(&super::record::Binding) -> bool) -> Option<String> {
    let binds = |script: &super::record::Script| script.serving().iter().any(|(v, _)| v.bindings.values().any(&fits));
    state.scripts.values().find(|script| binds(script)).map(|script| script.name.clone())
}

async fn unknown(request: Request) -> Refusal {
    Refusal::no_route(request.uri().path())
}

/// Compares the bearer token, in a time that says nothing about it.
async fn authenticate(State(expected): State<Digest>, request: Request, next: Next) -> Response {
    // An upload of assets or of SQL carries a token of its own, which the call itself looks at.
    let path = request.uri().path();
    let of_assets = path.starts_with("/client/v4/accounts/") && path.ends_with("/workers/assets/upload");
    if of_assets || path.starts_with("/client/v4/d1-uploads/") {
        return next.run(request).await;
    }
    let header = request.headers().get("authorization").map(http::HeaderValue::as_bytes).unwrap_or_default();
    let presented = match header.split_at_checked(7) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token.trim_ascii(),
        _ => b"",
    };
    // Digests have one length, so that the comparison does not tell the token's.
    let equal = Digest::of(presented).as_bytes().ct_eq(expected.as_bytes());
    if !presented.is_empty() && bool::from(equal) {
        return next.run(request).await;
    }
    Refusal::new(StatusCode::UNAUTHORIZED, 10000, "Authentication error").into_response()
}

/// Refuses what is no account id before anything looks at it.
async fn account_form(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let account = path.strip_prefix("/client/v4/accounts/").and_then(|rest| rest.split('/').next());
    if account.is_some_and(|id| id.len() != 32 || !id.bytes().all(|b| b.is_ascii_hexdigit())) {
        return Refusal::no_route(path).into_response();
    }
    next.run(request).await
}

/// Runs the call in a task of its own: a caller that hangs up does not stop it half-way.
async fn to_the_end(request: Request, next: Next) -> Response {
    match tokio::spawn(next.run(request)).await {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(%error, "A call of the API ended in a panic.");
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, 10013, "the edge has a fault; see its log").into_response()
        }
    }
}

/// Path parameters: the account, which is not looked at, and one name.
type Name = Path<(String, String)>;
/// Path parameters: the account and two names.
type Names = Path<(String, String, String)>;

/// A body as JSON.
pub(super) fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    serde_json::from_slice(body)
        .map_err(|error| Refusal::bad(10026, format!("the body is not the JSON that is expected: {error}")))
}

/// Which tool is calling, as `last_deployed_from` and `source` have it.
fn source_of(headers: &HeaderMap) -> String {
    let agent = headers.get("user-agent").and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    if agent.to_ascii_lowercase().starts_with("wrangler") { "wrangler".to_owned() } else { "api".to_owned() }
}

/// The query of an upload or a deletion.
#[derive(Debug, Default, serde::Deserialize)]
struct Flags {
    bindings_inherit: Option<String>,
    force: Option<String>,
}

impl Flags {
    fn strict(&self) -> bool {
        self.bindings_inherit.as_deref() == Some("strict")
    }

    fn forced(&self) -> bool {
        self.force.as_deref() == Some("true")
    }
}

type FlagQuery = Query<Flags>;

/// Nothing, as the wire has it.
fn nothing() -> Value {
    json!(null)
}
