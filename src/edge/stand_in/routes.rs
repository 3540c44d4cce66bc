//! Which call is answered where.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, post, put};
use axum::{Extension, Router};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::super::api::answer::{Answer, ok};
use super::super::api::parse;
use super::super::plane::Plane;
use super::{Kept, StandIn, dispatch, dns, domains, purge, rulesets, tunnels, zones};

/// The modules of a Worker, in a form.
const UPLOAD_LIMIT: usize = 64 * 1024 * 1024;

/// The calls of the stand-in, below `/client/v4`.
pub(in crate::edge) fn routes(kept: &Arc<StandIn>) -> Router<Arc<Plane>> {
    Router::new()
        .route("/zones", post(zones::create))
        .route("/zones/{zone}", delete(zones::delete).patch(zones::edit))
        .route("/zones/{zone}/dns_records", get(dns::list).post(dns::create))
        .route("/zones/{zone}/dns_records/batch", post(dns::batch))
        .route("/zones/{zone}/dns_records/{record}", get(dns::show).put(dns::update).patch(dns::edit).delete(dns::delete))
        .route("/zones/{zone}/purge_cache", post(purge::purge))
        .route("/zones/{zone}/invalidate_cache", post(purge::invalidate))
        .merge(ruleset_routes())
        .nest("/accounts/{account}", account_routes())
        .layer(Extension(Arc::clone(kept)))
}

fn ruleset_routes() -> Router<Arc<Plane>> {
    let below = |router: Router<Arc<Plane>>, owner: &str| {
        let path = |rest: &str| format!("{owner}/rulesets{rest}");
        router
            .route(&path(""), get(rulesets::list).post(rulesets::create))
            .route(&path("/phases/{phase}/entrypoint"), get(rulesets::entrypoint).put(rulesets::put_entrypoint))
            .route(&path("/{ruleset}"), get(rulesets::show).put(rulesets::update).delete(rulesets::delete))
            .route(&path("/{ruleset}/rules"), post(rulesets::add_rule))
            .route(&path("/{ruleset}/rules/{rule}"), axum::routing::patch(rulesets::edit_rule).delete(rulesets::delete_rule))
    };
    below(below(Router::new(), "/zones/{zone}"), "/accounts/{account}")
}

fn account_routes() -> Router<Arc<Plane>> {
    let namespace = "/workers/dispatch/namespaces/{namespace}";
    let script = format!("{namespace}/scripts/{{script}}");
    Router::new()
        .route("/workers/domains", get(domains::list).put(domains::put))
        .route("/workers/domains/{domain}", get(domains::show).delete(domains::delete))
        .route("/workers/domains/records", get(domains::list))
        .route("/workers/domains/records/{domain}", get(domains::show).delete(domains::delete))
        .route("/workers/scripts/{script}/domains/records", put(domains::replace))
        .route("/workers/scripts/{script}/domains/changeset", post(domains::changeset))
        .route("/cfd_tunnel", get(tunnels::list).post(tunnels::create))
        .route("/cfd_tunnel/{tunnel}", get(tunnels::show).patch(tunnels::edit).delete(tunnels::delete))
        .route("/cfd_tunnel/{tunnel}/token", get(tunnels::token))
        .route("/cfd_tunnel/{tunnel}/configurations", get(tunnels::configuration).put(tunnels::configure))
        .route("/cfd_tunnel/{tunnel}/connections", get(tunnels::connections).delete(tunnels::disconnect))
        .route("/workers/dispatch/namespaces", get(dispatch::list).post(dispatch::create))
        .route(namespace, get(dispatch::show).delete(dispatch::delete))
        .route(
            &script,
            get(dispatch::script)
                .put(dispatch::put_script)
                .delete(dispatch::delete_script)
                .layer(DefaultBodyLimit::max(UPLOAD_LIMIT)),
        )
        .route(&format!("{script}/settings"), get(dispatch::script))
}

#[derive(Debug, Deserialize)]
struct Lag {
    delay_ms: u64,
}

/// Test-only calls: `POST /__lists {"delay_ms"}` makes lists lag, `GET /__purges` tells what was purged.
pub(in crate::edge) fn knobs(kept: &Arc<StandIn>) -> Router<Arc<Plane>> {
    Router::new().route("/__lists", post(lists)).route("/__purges", get(purge::recorded)).layer(Extension(Arc::clone(kept)))
}

async fn lists(Extension(kept): Kept, body: Bytes) -> Answer {
    let Lag { delay_ms } = parse(&body)?;
    kept.lag(Duration::from_millis(delay_ms));
    ok(json!(null))
}
