//! The secrets of what an account keeps beside Workers, and the places to which builds and imports could bring them.

use base64::Engine as _;
use http::Method;
use serde_json::{Value, json};

use super::rig::Rig;
use super::search::random;
use crate::proxy::{Answer, Fault};

const ACCOUNT: &str = "0123456789abcdef0123456789abcdef";
const PRODUCTION: &str = "environments/production/production.toml";
const CHAIN: &str = include_str!("../cloudflare/client.pem");
const OTHER_CHAIN: &str = include_str!("../cloudflare/other.pem");
const FILE: &str = "/etc/engine/tunnel.env";

/// All that a build can see of processes, in a module that is uploaded, cached and recorded.
const BUILD: &str = "mkdir dist; cp workers/built/index.js dist; \
    { env; cat /proc/*/environ /proc/*/cmdline; cat /proc/self/mountinfo; } > dist/seen.txt 2>/dev/null; true";

/// An account beside the edge, with what has secrets; a Worker that is built.
pub(super) fn define(rig: &mut Rig) {
    let Rig { world, .. } = rig;
    let text = std::fs::read_to_string(world.path("clone").join(PRODUCTION)).unwrap();
    let more = format!(
        r#"
[cloudflare.main]
account_id = "{ACCOUNT}"
endpoint = "{}"
api_token = {{ secret = "edge-token" }}

[hyperdrive.db]
on = {{ targets = ["main"] }}
origin = {{ scheme = "postgres", host = "db.example.com", database = "ads", user = "ads", password = {{ secret = "db-password" }} }}

[mtls_certificate.client]
on = {{ targets = ["main"] }}
certificate = "certs/client.pem"
private_key = {{ secret = "client-key" }}

[tunnel.origin]

[file.tunnel]
path = "{FILE}"
template = "files/tunnel.env"
mode = "0640"

[worker.built]
on = {{ targets = ["local"] }}
build = {{ command = ["sh", "-c", {BUILD:?}], output = "dist", inputs = ["workers/built/**"], env = {{ MODE = "build" }} }}
"#,
        world.endpoint()
    );
    world.write(PRODUCTION, &(text + &more));
    world.write("files/tunnel.env", "TUNNEL_TOKEN={{ tunnel.origin.token }}\n");
    world.write("certs/client.pem", CHAIN);
    world.write("workers/built/index.js", "export default { fetch: () => new Response('built') };\n");
    // No key of either certificate: what a key has in common with its certificate is public, and would be found.
    let key = base64::engine::general_purpose::STANDARD.encode(random(48));
    let key = format!("-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n");
    rig.set("client-key", key.into_bytes());
}

/// Somebody rotates the token of the tunnel, twice: it reaches the file on the host, and is looked for everywhere else.
pub(super) async fn token(rig: &mut Rig) {
    look_for_token(rig).await;
    for _ in 0..2 {
        let secret = random(44);
        rig.plant("the secret of the tunnel", secret.as_bytes());
        let path = format!("cfd_tunnel/{}", tunnel(rig).await);
        call(rig, Method::PATCH, &path, Some(json!({ "tunnel_secret": secret }))).await;
        let before = std::fs::read(rig.world.host(FILE)).unwrap();
        let plan = rig.ran(&["plan"]);
        assert!(plan.status == 2 && plan.out.contains("tunnel.origin.token"), "{plan:?}");
        rig.ran(&["plan", "--output", "json"]);
        rig.ok(&["apply"]);
        assert_ne!(std::fs::read(rig.world.host(FILE)).unwrap(), before);
        look_for_token(rig).await;
    }
}

/// The token is what the file on the host holds.
async fn look_for_token(rig: &mut Rig) {
    let path = format!("cfd_tunnel/{}/token", tunnel(rig).await);
    let token = call(rig, Method::GET, &path, None).await.as_str().unwrap().to_owned();
    let text = format!("TUNNEL_TOKEN={token}\n");
    assert_eq!(std::fs::read_to_string(rig.world.host(FILE)).unwrap(), text);
    rig.plant("the token of the tunnel", token.as_bytes());
    rig.plant_file(text.as_bytes());
    let inside = base64::engine::general_purpose::STANDARD.decode(&token).unwrap();
    let inside: Value = serde_json::from_slice(&inside).unwrap();
    rig.plant("the secret inside of the token", inside["s"].as_str().unwrap().as_bytes());
}

async fn tunnel(rig: &Rig) -> String {
    let all = call(rig, Method::GET, "cfd_tunnel?is_deleted=false", None).await;
    all[0]["id"].as_str().unwrap().to_owned()
}

/// A call of somebody else.
async fn call(rig: &Rig, method: Method, path: &str, body: Option<Value>) -> Value {
    let url = format!("{}/accounts/{ACCOUNT}/{path}", rig.world.endpoint());
    let token = String::from_utf8(rig.value("edge-token")).unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = client.request(method, url).bearer_auth(token);
    if let Some(body) = body {
        request = request.json(&body);
    }
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["success"], true, "{path}: {answer}");
    answer["result"].clone()
}

/// The API repeats the password, the key, the token, where it refuses and where it does not.
pub(super) async fn refused_and_echoed(rig: &mut Rig) {
    let refusal = |status: u16, text: &str| {
        let errors = json!([{ "code": 2008, "message": text }]);
        let body = json!({ "success": false, "errors": errors, "messages": [], "result": null });
        Fault::AnswerBefore(Answer::body(status, &body.to_string()))
    };
    let success = |result: Value| {
        let body = json!({ "success": true, "errors": [], "messages": [], "result": result });
        Fault::AnswerBefore(Answer::body(200, &body.to_string()))
    };
    for round in 0..5 {
        rig.rotate();
        rig.world.commit("Another password");
        let password = String::from_utf8(rig.value("db-password")).unwrap();
        let echo = format!("cannot connect with {{\"origin\":{{\"password\":\"{password}\"}}}} as ads:{password}@db.example.com");
        let fault = match round {
            0 => refusal(400, &echo),
            1 => refusal(500, &echo),
            2 => Fault::AnswerBefore(Answer::body(502, &echo)),
            3 => Fault::AnswerAfter(Answer::body(200, &json!({ "success": true, "result": echo }).to_string())),
            _ => refusal(400, &password[3..17]),
        };
        rig.world.proxy.reset();
        rig.world.proxy.inject(Method::PATCH, "", 1, fault);
        let ran = rig.ran(&["apply"]);
        assert!(rig.world.proxy.writes().iter().any(|line| line.contains("hyperdrive")), "{round}: {ran:?}");
        assert!(round == 3 || ran.status == 1, "{round}: {ran:?}");
        rig.verbs_briefly();
        rig.world.proxy.reset();
        rig.ok(&["apply"]);
    }
    // An API that shows what it never should.
    let password = String::from_utf8(rig.value("db-password")).unwrap();
    let origin =
        json!({ "host": "other.example.com", "scheme": "postgres", "database": "ads", "user": "ads", "password": password });
    let shown = json!([{ "id": "0123456789abcdef0123456789abcdef", "name": "db-production", "origin": origin }]);
    rig.world.proxy.inject(Method::GET, "/hyperdrive/configs", 1, success(shown));
    rig.ran(&["plan"]);
    rig.world.proxy.reset();

    let key = String::from_utf8(rig.value("client-key")).unwrap();
    for (round, fault) in [
        refusal(400, &format!("bad key {key}")),
        refusal(500, &format!("{}", json!({ "private_key": key }))),
        refusal(400, key.lines().nth(1).unwrap()),
        Fault::AnswerBefore(Answer::body(502, &key)),
    ]
    .into_iter()
    .enumerate()
    {
        rig.world.write("certs/client.pem", OTHER_CHAIN);
        rig.world.commit("Another certificate");
        rig.world.proxy.reset();
        rig.world.proxy.inject(Method::POST, "/mtls_certificates", 1, fault);
        let ran = rig.ran(&["apply"]);
        assert!(ran.status == 1, "{round}: {ran:?}");
        assert!(rig.world.proxy.writes().iter().any(|line| line.ends_with("/mtls_certificates")), "{ran:?}");
        rig.verbs_briefly();
        rig.world.proxy.reset();
        rig.world.write("certs/client.pem", CHAIN);
        rig.world.commit("The same certificate");
        rig.ok(&["apply"]);
    }

    // The token comes in a form that nobody documented.
    let path = format!("cfd_tunnel/{}/token", tunnel(rig).await);
    let token = call(rig, Method::GET, &path, None).await.as_str().unwrap().to_owned();
    for result in [json!({ "token": token }), json!([token]), json!({ token.as_str(): true })] {
        rig.world.proxy.inject(Method::GET, "/token", 20, success(result));
        let ran = rig.ran(&["plan"]);
        assert!(format!("{}{}", ran.out, ran.err).contains("cannot be read"), "{ran:?}");
        rig.ran(&["apply"]);
        rig.world.proxy.reset();
    }
    rig.ok(&["apply"]);
}

/// A build fails, and prints all that it sees.
pub(super) fn builds(rig: &mut Rig) {
    let modules = rig.world.path("data/builds");
    assert!(modules.read_dir().unwrap().next().is_some(), "nothing is in the cache of builds");
    rig.world.edit(PRODUCTION, "2>/dev/null; true", "2>/dev/null; cat dist/seen.txt; cat dist/seen.txt >&2; false");
    rig.world.commit("A build that fails");
    let ran = rig.ran(&["apply"]);
    assert!(ran.status == 1 && format!("{}{}", ran.out, ran.err).contains("MODE=build"), "{ran:?}");
    rig.verbs_briefly();
    rig.world.git(&["revert", "--no-edit", "HEAD"]);
    rig.world.git(&["push", "--quiet"]);
    rig.ok(&["apply"]);
}

/// An import of the account that was filled, and of a project that keeps secrets beside and in its file.
pub(super) fn imported(rig: &mut Rig) {
    let credentials = rig.world.path("credentials");
    std::fs::create_dir(&credentials).unwrap();
    std::fs::write(credentials.join("cloudflare-token"), rig.value("edge-token")).unwrap();
    rig.keep_out(&["credentials/cloudflare-token"]);
    let (endpoint, out) = (rig.world.endpoint(), rig.world.path("imported").display().to_string());
    let credentials = credentials.display().to_string();
    std::fs::create_dir(&out).unwrap();
    let arguments =
        ["import", "cloudflare", "--endpoint", &endpoint, "--account", ACCOUNT, "--environment", "live", "--out", &out];
    let echo = Answer::body(400, &format!("Authorization: Bearer {}", String::from_utf8(rig.value("edge-token")).unwrap()));
    rig.world.proxy.inject(Method::GET, "", 1, Fault::AnswerBefore(echo));
    rig.ran_with(&arguments, &[("CREDENTIALS_DIRECTORY", &credentials)]);
    rig.world.proxy.reset();
    let ran = rig.ran_with(&[&arguments[..], &["--force"]].concat(), &[("CREDENTIALS_DIRECTORY", &credentials)]);
    assert!(ran.out.contains("environments/live/"), "{ran:?}");
    let all: String = walk(std::path::Path::new(&out)).iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    assert!(all.contains("db.example.com"), "the database was not imported: {ran:?}");

    let project = rig.world.path("project");
    std::fs::create_dir_all(project.join("shop")).unwrap();
    let (local, dev) = (random(24), random(24));
    rig.plant("the password of a local database", local.as_bytes());
    rig.plant("a variable of development", dev.as_bytes());
    let file = json!({
        "name": "shop", "main": "index.js", "compatibility_date": "2026-11-01",
        "hyperdrive": [{ "binding": "PG", "id": "57b7076f58be42419276f058a8968187", "localConnectionString": format!("postgres://ads:{local}@localhost/ads") }],
    });
    std::fs::write(project.join("shop/wrangler.json"), file.to_string()).unwrap();
    std::fs::write(project.join("shop/.dev.vars"), format!("API_KEY={dev}\n")).unwrap();
    std::fs::write(project.join("shop/index.js"), "export default {};\n").unwrap();
    rig.keep_out(&["project/shop/wrangler.json", "project/shop/.dev.vars"]);
    let (file, out) = (project.join("shop/wrangler.json").display().to_string(), rig.world.path("project").display().to_string());
    for output in ["text", "json"] {
        let ran = rig.ran(&["import", "wrangler", &file, "--out", &out, "--output", output, "--force"]);
        assert_eq!(ran.status, 0, "{ran:?}");
    }
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    entries.flat_map(|entry| if entry.path().is_dir() { walk(&entry.path()) } else { vec![entry.path()] }).collect()
}
