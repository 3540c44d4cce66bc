//! A small account that speaks the REST API, until the edge is in the tree.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::Router;
use axum::extract::{Multipart, Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use serde_json::{Value, json};

#[derive(Default)]
struct Script {
    modified: u64,
    tags: Vec<String>,
    enabled: bool,
    crons: Vec<String>,
    versions: Vec<Version>,
    deployments: Vec<Value>,
}

#[derive(Clone)]
struct Version {
    id: String,
    metadata: Value,
    bindings: Vec<Value>,
    modules: Vec<(String, String, Vec<u8>)>,
}

#[derive(Default)]
struct Account {
    clock: u64,
    scripts: BTreeMap<String, Script>,
    namespaces: BTreeMap<String, String>,
    routes: BTreeMap<String, (String, String, Option<String>)>,
}

type Shared = Arc<Mutex<Account>>;

#[expect(clippy::needless_pass_by_value, reason = "answers are made in place")]
fn ok(result: Value) -> Response {
    Json(json!({"success":true,"errors":null,"messages":[],"result":result})).into_response()
}

fn no(status: u16, code: u32) -> Response {
    let body = Json(json!({"success":false,"errors":[{"code":code,"message":"refused"}],"messages":[],"result":null}));
    (http::StatusCode::from_u16(status).unwrap(), body).into_response()
}

impl Account {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
}

fn etag(version: &Version) -> String {
    trunkline::model::canonical_digest(&version.modules).to_string()
}

async fn upload(body: &mut Multipart) -> (Value, Vec<(String, String, Vec<u8>)>) {
    let (mut metadata, mut modules) = (Value::Null, Vec::new());
    while let Some(field) = body.next_field().await.unwrap() {
        let (name, kind) = (field.name().unwrap().to_owned(), field.content_type().unwrap_or_default().to_owned());
        let bytes = field.bytes().await.unwrap();
        if name == "metadata" {
            metadata = serde_json::from_slice(&bytes).unwrap();
        } else {
            modules.push((name, kind, bytes.to_vec()));
        }
    }
    (metadata, modules)
}

fn version(script: &Script, clock: u64, metadata: Value, modules: Vec<(String, String, Vec<u8>)>) -> Option<Version> {
    let empty = Vec::new();
    let latest = script.versions.last().map_or(&empty, |v| &v.bindings);
    let mut bindings = Vec::new();
    for binding in metadata["bindings"].as_array().unwrap() {
        if binding["type"] == "inherit" {
            let from = script.versions.iter().find(|v| binding["version_id"] == v.id.as_str()).map_or(latest, |v| &v.bindings);
            bindings.push(from.iter().find(|b| b["name"] == binding["name"])?.clone());
        } else {
            bindings.push(binding.clone());
        }
    }
    let keep = metadata["keep_bindings"].as_array().cloned().unwrap_or_default();
    for binding in latest {
        if keep.contains(&binding["type"]) && !bindings.iter().any(|b| b["name"] == binding["name"]) {
            bindings.push(binding.clone());
        }
    }
    Some(Version { id: format!("v{clock}"), metadata, bindings, modules })
}

fn shown(version: &Version) -> Value {
    let mut bindings = version.bindings.clone();
    for binding in &mut bindings {
        if binding["type"] == "secret_text" {
            binding.as_object_mut().unwrap().remove("text");
        }
    }
    json!({"id":version.id,"annotations":version.metadata["annotations"],"resources":{"bindings":bindings,
        "script":{"etag":etag(version)},
        "script_runtime":{"compatibility_date":version.metadata["compatibility_date"].as_str().unwrap_or("2021-11-02"),
            "compatibility_flags":version.metadata["compatibility_flags"]}}})
}

async fn put_script(State(s): State<Shared>, Path((_, name)): Path<(String, String)>, mut body: Multipart) -> Response {
    let (metadata, modules) = upload(&mut body).await;
    let mut account = s.lock().unwrap();
    let clock = account.tick();
    let script = account.scripts.entry(name).or_default();
    script.tags = serde_json::from_value(metadata["tags"].clone()).unwrap_or_default();
    let Some(made) = version(script, clock, metadata, modules) else { return no(400, 10057) };
    script.deployments.insert(0, json!({"id":format!("d{clock}"),"versions":[{"version_id":made.id,"percentage":100}]}));
    script.versions.push(made);
    script.modified = clock;
    ok(json!({"id":"x"}))
}

async fn post_version(State(s): State<Shared>, Path((_, name)): Path<(String, String)>, mut body: Multipart) -> Response {
    let (metadata, modules) = upload(&mut body).await;
    let mut account = s.lock().unwrap();
    let clock = account.tick();
    let Some(script) = account.scripts.get_mut(&name) else { return no(404, 10007) };
    let Some(made) = version(script, clock, metadata, modules) else { return no(400, 10057) };
    let answer = shown(&made);
    script.versions.push(made);
    ok(answer)
}

async fn post_deployment(State(s): State<Shared>, Path((_, name)): Path<(String, String)>, Json(body): Json<Value>) -> Response {
    let mut account = s.lock().unwrap();
    let clock = account.tick();
    let Some(script) = account.scripts.get_mut(&name) else { return no(404, 10007) };
    script.modified = clock;
    script.deployments.insert(0, json!({"id":format!("d{clock}"),"versions":body["versions"]}));
    ok(script.deployments[0].clone())
}

async fn script_part(State(s): State<Shared>, Path((_, name, part)): Path<(String, String, String)>) -> Response {
    let account = s.lock().unwrap();
    let Some(script) = account.scripts.get(&name) else { return no(404, 10007) };
    match part.as_str() {
        "deployments" => ok(json!({"deployments":script.deployments})),
        "versions" => ok(json!({"items":script.versions.iter().rev().map(shown).collect::<Vec<_>>()})),
        "schedules" => ok(json!({"schedules":script.crons.iter().map(|c| json!({"cron":c})).collect::<Vec<_>>()})),
        "subdomain" => ok(json!({"enabled":script.enabled,"previews_enabled":true})),
        _ => no(404, 7003),
    }
}

async fn versions(state: State<Shared>, Path((account, name)): Path<(String, String)>) -> Response {
    script_part(state, Path((account, name, "versions".to_owned()))).await
}

async fn deployments(state: State<Shared>, Path((account, name)): Path<(String, String)>) -> Response {
    script_part(state, Path((account, name, "deployments".to_owned()))).await
}

async fn write_part(
    State(s): State<Shared>,
    Path((_, name, part)): Path<(String, String, String)>,
    Json(body): Json<Value>,
) -> Response {
    let mut account = s.lock().unwrap();
    let clock = account.tick();
    let Some(script) = account.scripts.get_mut(&name) else { return no(404, 10007) };
    script.modified = clock;
    match part.as_str() {
        "schedules" => script.crons = body.as_array().unwrap().iter().map(|c| c["cron"].as_str().unwrap().to_owned()).collect(),
        "subdomain" => script.enabled = body["enabled"].as_bool().unwrap(),
        "script-settings" => script.tags = serde_json::from_value(body["tags"].clone()).unwrap(),
        _ => return no(404, 7003),
    }
    ok(json!({}))
}

async fn get_version(State(s): State<Shared>, Path((_, name, id)): Path<(String, String, String)>) -> Response {
    let account = s.lock().unwrap();
    let found = account.scripts.get(&name).and_then(|s| s.versions.iter().find(|v| v.id == id));
    found.map_or_else(|| no(404, 10007), |v| ok(shown(v)))
}

async fn content(
    State(s): State<Shared>,
    Path((_, name)): Path<(String, String)>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let account = s.lock().unwrap();
    let version = account.scripts[&name].versions.iter().find(|v| v.id == query["version"]).unwrap();
    let mut body = Vec::new();
    for (name, kind, bytes) in &version.modules {
        let head = format!(
            "--B\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\nContent-Type: {kind}\r\n\r\n"
        );
        body.extend([head.as_bytes(), bytes, b"\r\n"].concat());
    }
    body.extend(b"--B--\r\n");
    let main = version.metadata["main_module"].as_str().unwrap().to_owned();
    ([("content-type", "multipart/form-data; boundary=B".to_owned()), ("cf-entrypoint", main)], body).into_response()
}

async fn scripts(State(s): State<Shared>) -> Response {
    let account = s.lock().unwrap();
    let items = account.scripts.iter().map(
        |(name, s)| json!({"id":name,"etag":etag(s.versions.last().unwrap()),"modified_on":s.modified.to_string(),"tags":s.tags}),
    );
    ok(items.collect())
}

async fn delete_script(State(s): State<Shared>, Path((_, name)): Path<(String, String)>) -> Response {
    let gone = s.lock().unwrap().scripts.remove(&name);
    if gone.is_some() { ok(json!(null)) } else { no(404, 10007) }
}

async fn namespaces(State(s): State<Shared>, Query(query): Query<BTreeMap<String, usize>>) -> Response {
    let account = s.lock().unwrap();
    let (page, size) = (query["page"], query["per_page"].min(2));
    let all: Vec<Value> = account.namespaces.iter().map(|(id, title)| json!({"id":id,"title":title})).collect();
    let items: Vec<_> = all.iter().skip((page - 1) * size).take(size).cloned().collect();
    let info = json!({"page":page,"per_page":size,"count":items.len(),"total_count":all.len()});
    Json(json!({"success":true,"errors":[],"messages":null,"result":items,"result_info":info})).into_response()
}

async fn make_namespace(State(s): State<Shared>, Json(body): Json<Value>) -> Response {
    let mut account = s.lock().unwrap();
    let title = body["title"].as_str().unwrap().to_owned();
    if account.namespaces.values().any(|t| *t == title) {
        return no(400, 10014);
    }
    let id = format!("{:032x}", account.tick());
    account.namespaces.insert(id.clone(), title.clone());
    ok(json!({"id":id,"title":title}))
}

async fn rename_namespace(State(s): State<Shared>, Path((_, id)): Path<(String, String)>, Json(body): Json<Value>) -> Response {
    s.lock().unwrap().namespaces.insert(id, body["title"].as_str().unwrap().to_owned());
    ok(json!({}))
}

async fn delete_namespace(State(s): State<Shared>, Path((_, id)): Path<(String, String)>) -> Response {
    if s.lock().unwrap().namespaces.remove(&id).is_some() { ok(json!(null)) } else { no(404, 10013) }
}

async fn zones(Query(query): Query<BTreeMap<String, String>>) -> Response {
    ok(json!([{"id":format!("zone-{}", query["name"].replace('.', "-")),"name":query["name"]}]))
}

async fn routes(State(s): State<Shared>, Path(zone): Path<String>) -> Response {
    let account = s.lock().unwrap();
    let found = account.routes.iter().filter(|(_, (z, _, _))| *z == zone);
    ok(found.map(|(id, (_, pattern, script))| json!({"id":id,"pattern":pattern,"script":script})).collect())
}

async fn make_route(State(s): State<Shared>, Path(zone): Path<String>, Json(body): Json<Value>) -> Response {
    let mut account = s.lock().unwrap();
    let id = format!("r{}", account.tick());
    let text = |key: &str| body[key].as_str().map(str::to_owned);
    account.routes.insert(id.clone(), (zone, text("pattern").unwrap(), text("script")));
    ok(json!({"id":id}))
}

async fn delete_route(State(s): State<Shared>, Path((_, id)): Path<(String, String)>) -> Response {
    if s.lock().unwrap().routes.remove(&id).is_some() { ok(json!({})) } else { no(404, 10019) }
}

async fn authorized(request: axum::extract::Request, next: axum::middleware::Next) -> Response {
    match request.headers().get("authorization") {
        Some(value) if value == "Bearer edge-token" => next.run(request).await,
        _ => no(401, 10000),
    }
}

/// Starts one on a free loopback port.
pub(super) async fn start() -> SocketAddr {
    let script = "/accounts/{a}/workers/scripts/{n}";
    let kv = "/accounts/{a}/storage/kv/namespaces";
    let api = Router::new()
        .route("/accounts/{a}/workers/scripts", get(scripts))
        .route(script, put(put_script).delete(delete_script))
        .route(&format!("{script}/versions"), post(post_version).get(versions))
        .route(&format!("{script}/deployments"), post(post_deployment).get(deployments))
        .route(&format!("{script}/{{p}}"), get(script_part).put(write_part).post(write_part).patch(write_part))
        .route(&format!("{script}/versions/{{v}}"), get(get_version))
        .route(&format!("{script}/content/v2"), get(content))
        .route(kv, get(namespaces).post(make_namespace))
        .route(&format!("{kv}/{{id}}"), put(rename_namespace).delete(delete_namespace))
        .route("/zones", get(zones))
        .route("/zones/{z}/workers/routes", get(routes).post(make_route))
        .route("/zones/{z}/workers/routes/{r}", delete(delete_route))
        .fallback(|| async { no(404, 7003) })
        .layer(axum::middleware::from_fn(authorized))
        .with_state(Shared::default());
    let app = Router::new().nest("/client/v4", api);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}
