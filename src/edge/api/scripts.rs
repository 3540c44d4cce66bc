//! Workers as such: list, upload, download, delete.
//!
//! **Invariant:** an upload that does not start changes nothing, and the Worker that runs keeps running.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, Query, Request, State as Extracted};
use axum::response::{IntoResponse as _, Response};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::super::record::{Binding, Deployment, Queue, Script, Share, State, Subdomain, Version, fresh_hex, fresh_uuid, now};
use super::answer::{Answer, Refusal, ok};
use super::routes::route_json;
use super::upload::{self, Basis};
use super::{Ctx, FlagQuery, Flags, Name, migrations, nothing, show, source_of};

/// `GET scripts`: all, in one page.
pub(super) async fn list(Extracted(plane): Ctx, Query(filter): Query<TagFilter>) -> Answer {
    let state = plane.state();
    // `?tags=a:yes,b:no`: those that have `a` and have not `b`.
    let wanted: Vec<(String, bool)> = filter
        .tags
        .iter()
        .flat_map(|tags| tags.split(','))
        .filter_map(|tag| tag.rsplit_once(':'))
        .map(|(tag, yes)| (tag.to_owned(), yes != "no"))
        .collect();
    let fits = |script: &Script| wanted.iter().all(|(tag, yes)| script.tags.contains(tag) == *yes);
    let mut routes: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for (id, route) in &state.account.routes {
        routes.entry(route.script.as_deref().unwrap_or_default()).or_default().push(route_json(id, route));
    }
    let show = |script: &Arc<Script>| {
        let mut shown = show::script(script);
        shown["routes"] = json!(routes.remove(script.name.as_str()).unwrap_or_default());
        shown
    };
    let shown: Vec<Value> = state.scripts.values().filter(|script| fits(script)).map(show).collect();
    ok(shown)
}

/// The query of the list.
#[derive(Debug, serde::Deserialize)]
pub(super) struct TagFilter {
    tags: Option<String>,
}

/// `PUT scripts/{n}`: a new version that serves at once; the Worker is made if need be.
pub(super) async fn put(
    Extracted(plane): Ctx,
    Path((_, name)): Name,
    Query(flags): FlagQuery,
    headers: HeaderMap,
    request: Request,
) -> Answer {
    if !is_script_name(&name) {
        return Err(Refusal::bad(10016, "a Worker's name has 1 to 63 characters: small letters, digits, `-` and `_`"));
    }
    let source = source_of(&headers);
    let before = plane.state().scripts.get(&name).and_then(|script| script.latest().cloned());
    let upload = Box::pin(upload::read(&plane, request, before.as_deref())).await?;
    let edit = |state: &mut State| {
        let existing = state.scripts.get(&name).cloned();
        let mut script = existing.map_or_else(|| new_script(&name), |script| Script::clone(&script));
        // Classes first: the bindings of the same upload may name them.
        let outcome = migrations::apply(state, &mut script, &upload.metadata)?;
        let declared = outcome.reconciliation.is_some();
        let basis = Basis { plane: &plane, state, script: Some(&script), name: &name, strict: flags.strict(), declared };
        let version = Arc::new(upload::version(&basis, &upload, &source, "upload")?);
        apply_unversioned(&mut script, &upload.metadata);
        deploy_alone(&mut script, version, &source);
        state.scripts.insert(name.clone(), Arc::new(script));
        Ok::<_, Refusal>(outcome)
    };
    let since = std::time::Instant::now();
    let outcome = Box::pin(plane.change(edit)).await?;
    plane.free_objects(outcome.freed).await;
    let state = plane.state();
    let script = state.scripts.get(&name).ok_or_else(|| Refusal::no_worker(&name))?;
    let mut shown = show::script(script);
    shown["startup_time_ms"] = json!(since.elapsed().as_millis());
    if let Some(reconciliation) = outcome.reconciliation {
        shown["exports_reconciliation"] = reconciliation;
    }
    shown["entry_point"] = json!(upload.main_module);
    // wrangler puts the hyphens back and calls it the version's id.
    shown["deployment_id"] = json!(script.latest().map(|version| version.id.replace('-', "")));
    ok(shown)
}

/// `DELETE scripts/{n}` and `DELETE services/{n}`: the Worker with its routes. Refused while another Worker that serves
/// binds it, unless forced.
pub(super) async fn delete(Extracted(plane): Ctx, Path((_, name)): Name, Query(flags): Query<Flags>) -> Answer {
    let edit = |state: &mut State| {
        if !state.scripts.contains_key(&name) {
            return Err(Refusal::no_worker(&name));
        }
        if let Some(user) = state.scripts.values().find(|script| script.name != name && binds(script, &name))
            && !flags.forced()
        {
            let message = format!("the Worker `{}` has a binding to `{name}`; `force=true` deletes it all the same", user.name);
            return Err(Refusal::bad(10064, message));
        }
        let removed = state.scripts.remove(&name);
        let consumes = |queue: &Queue| queue.consumer.as_ref().is_some_and(|consumer| consumer.script.as_ref() == Some(&name));
        if state.account.queues.values().any(consumes) {
            let queues = state.account_mut().queues.values_mut();
            queues.filter(|queue| consumes(queue)).for_each(|queue| queue.consumer = None);
        }
        if state.account.routes.values().any(|route| route.script.as_deref() == Some(&name)) {
            state.account_mut().routes.retain(|_, route| route.script.as_deref() != Some(&name));
        }
        if state.account.domains.values().any(|domain| domain.service == name) {
            state.account_mut().domains.retain(|_, domain| domain.service != name);
        }
        let freed = removed.iter().flat_map(|script| script.objects.values().map(|objects| objects.id.clone()));
        Ok(freed.collect::<Vec<String>>())
    };
    let freed = Box::pin(plane.change(edit)).await?;
    plane.free_objects(freed).await;
    ok(nothing())
}

fn binds(script: &Script, target: &str) -> bool {
    let bindings = script.serving().into_iter().flat_map(|(version, _)| version.bindings.values());
    bindings.into_iter().any(|binding| match binding {
        Binding::Service { service, .. } => service == target,
        Binding::DurableObjectNamespace { script_name, .. } => script_name.as_deref() == Some(target),
        _ => false,
    })
}

/// `GET scripts/{n}` and `content/v2`: the modules of the version that serves, as a form.
pub(super) async fn content(Extracted(plane): Ctx, Path((_, name)): Name) -> Result<Response, Refusal> {
    let state = plane.state();
    let script = state.scripts.get(&name).ok_or_else(|| Refusal::no_worker(&name))?;
    let version = script.principal().or(script.latest()).ok_or_else(|| Refusal::no_worker(&name))?;
    let boundary = fresh_hex();
    let mut body = Vec::new();
    for module in &version.modules {
        let quoted = module.name.replace(['"', '\r', '\n'], "_");
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{quoted}\"; filename=\"{quoted}\"\r\nContent-Type: {}\r\n\r\n",
            module.content_type
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(&plane.blob(module.sha256).await?);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    let mut response = (StatusCode::OK, body).into_response();
    let headers = [
        (CONTENT_TYPE, format!("multipart/form-data; boundary={boundary}")),
        (HeaderName::from_static("cf-entrypoint"), version.main_module.clone()),
        (HeaderName::from_static("etag"), version.etag.clone()),
    ];
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

/// A Worker without a version.
pub(super) fn new_script(name: &str) -> Script {
    Script {
        name: name.to_owned(),
        tag: fresh_hex(),
        created_on: now(),
        modified_on: now(),
        tags: Vec::new(),
        logpush: false,
        observability: json!({ "enabled": false }),
        tail_consumers: json!([]),
        subdomain: Subdomain::default(),
        schedules: Vec::new(),
        versions: Vec::new(),
        deployments: Vec::new(),
        last_deployed_from: String::new(),
        migration_tag: None,
        objects: BTreeMap::new(),
    }
}

/// Takes over what metadata says of the Worker itself and not of a version.
pub(super) fn apply_unversioned(script: &mut Script, metadata: &upload::Metadata) {
    if let Some(tags) = &metadata.tags {
        script.tags.clone_from(tags);
    }
    if let Some(logpush) = metadata.logpush {
        script.logpush = logpush;
    }
    if let Some(observability) = &metadata.observability {
        script.observability = observability.clone();
    }
    if let Some(consumers) = &metadata.tail_consumers {
        script.tail_consumers = consumers.clone();
    }
}

/// Adds a version and lets it serve alone.
pub(super) fn deploy_alone(script: &mut Script, version: Arc<Version>, source: &str) {
    let mut annotations = version.annotations.clone();
    annotations.remove("workers/tag");
    let share = Share { version_id: version.id.clone(), percentage: 100.0 };
    script.versions.push(version);
    let deployment =
        Deployment { id: fresh_uuid(), created_on: now(), source: source.to_owned(), versions: vec![share], annotations };
    deploy(script, deployment);
}

/// Makes a deployment the active one.
pub(super) fn deploy(script: &mut Script, deployment: Deployment) {
    script.modified_on.clone_from(&deployment.created_on);
    script.last_deployed_from.clone_from(&deployment.source);
    script.deployments.insert(0, deployment);
    script.forget_old();
}

/// Whether a text can name a Worker. It is a file's name as well.
fn is_script_name(name: &str) -> bool {
    (1..=63).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}
