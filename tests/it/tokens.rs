//! The token of a tunnel, from the API that gives it into the file of the host that runs the tunnel, and nowhere else.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use http::Method;
use serde_json::{Value, json};

use crate::proxy::{Answer, Fault};
use crate::world::{TOKEN, World};

const ACCOUNT: &str = "0123456789abcdef0123456789abcdef";
const PRODUCTION: &str = "environments/production/production.toml";
const FILE: &str = "/etc/cloudflared/tunnel.env";

const DEFINITIONS: &str = r#"
[tunnel.edge]

[file.tunnel]
path = "/etc/cloudflared/tunnel.env"
template = "files/tunnel.env"
mode = "0600"
"#;

/// An account with a tunnel, and a host that is to run it; committed, not applied.
async fn world() -> World {
    let world = World::empty().await;
    world.write("trunkline.toml", "format = 1\n");
    world.write("fleet/hosts.toml", &format!("[host.origin]\nconnect = \"local\"\nroot = {:?}\n", world.path("host")));
    world.write("environments/production/secrets.toml", "");
    world.write("files/tunnel.env", "TUNNEL_TOKEN={{ tunnel.edge.token }}\n");
    let head = format!(
        "[environment]\ndigest_key = {{ secret = \"digest-key\" }}\n\n[cloudflare.main]\naccount_id = \"{ACCOUNT}\"\nendpoint = \"{}\"\napi_token = {{ secret = \"edge-token\" }}\n",
        world.endpoint()
    );
    world.write(PRODUCTION, &format!("{head}{DEFINITIONS}"));
    world.set_secret("production", "edge-token", TOKEN);
    world.commit("A tunnel");
    world
}

/// The id of the tunnel, as the account has it.
async fn id(world: &World) -> String {
    let all = world.foreign("GET", &format!("/accounts/{ACCOUNT}/cfd_tunnel?is_deleted=false"), None).await;
    all[0]["id"].as_str().unwrap().to_owned()
}

/// Its token, as the account gives it.
async fn token(world: &World) -> String {
    let path = format!("/accounts/{ACCOUNT}/cfd_tunnel/{}/token", id(world).await);
    world.foreign("GET", &path, None).await.as_str().unwrap().to_owned()
}

/// Somebody changes the secret of the tunnel, and so its token.
async fn rotate(world: &World) {
    let path = format!("/accounts/{ACCOUNT}/cfd_tunnel/{}", id(world).await);
    world.foreign("PATCH", &path, Some(json!({ "tunnel_secret": "A".repeat(44) }))).await;
}

fn on_host(world: &World) -> String {
    std::fs::read_to_string(world.host(FILE)).unwrap()
}

/// The changes of a plan, and all that it said.
fn planned(world: &World) -> (Vec<Value>, String) {
    let ran = world.trunkline(&["plan", "--output", "json"]);
    let document: Value = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    let changes = document["plans"][0]["plan"]["changes"].as_array().unwrap().clone();
    let text = world.trunkline(&["plan"]);
    (changes, format!("{}{}{}{}", ran.out, ran.err, text.out, text.err))
}

fn names(changes: &[Value]) -> Vec<String> {
    let name = |change: &Value| {
        let address = change["address"].as_str().unwrap().split('/').next_back().unwrap().to_owned();
        format!("{} {address}", change["action"].as_str().unwrap())
    };
    changes.iter().map(name).collect()
}

/// Whether a text is in a file beneath `folder`.
fn holds(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).unwrap().flatten().any(|entry| {
        let (path, sort) = (entry.path(), entry.file_type().unwrap());
        let bytes = if sort.is_file() { std::fs::read(&path).unwrap_or_default() } else { Vec::new() };
        (sort.is_dir() && holds(&path, text)) || bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_a_tunnel_reaches_the_file_of_a_host_in_the_apply_that_makes_the_tunnel() {
    let world = world().await;
    let (changes, said) = planned(&world);
    assert_eq!(names(&changes), ["create tunnel.edge", "create file.tunnel"], "{said}");
    assert!(said.contains("tunnel.edge.token"), "{said}");
    let ran = world.apply();
    let token = token(&world).await;
    assert_eq!(on_host(&world), format!("TUNNEL_TOKEN={token}\n"));
    assert_eq!(world.host(FILE).metadata().unwrap().permissions().mode() & 0o7777, 0o600);
    assert!(!format!("{}{}", ran.out, ran.err).contains(&token));
    for folder in ["data", "remote.git", "clone", "edge"] {
        assert!(!holds(&world.path(folder), &token), "the token is in {folder}");
    }
    world.assert_converged();
    // A pass that changes nothing writes nothing, and records nothing new of the tunnel.
    world.proxy.reset();
    world.apply();
    assert_eq!(world.proxy.writes(), [""; 0]);

    // It lasts as long as its tunnel: the file goes first.
    let text = std::fs::read_to_string(world.path("clone").join(PRODUCTION)).unwrap();
    world.write(PRODUCTION, text.strip_suffix(DEFINITIONS).unwrap());
    world.commit("Neither\n\nAcknowledge: production delete-budget");
    let (changes, _) = planned(&world);
    assert_eq!(names(&changes), ["delete file.tunnel", "delete tunnel.edge"]);
    world.apply();
    assert!(!world.host(FILE).exists());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_rotated_is_drift_of_the_file_and_is_put_right() {
    let world = world().await;
    world.apply();
    let old = token(&world).await;
    rotate(&world).await;
    let new = token(&world).await;
    assert_ne!(old, new);
    let (changes, said) = planned(&world);
    assert_eq!(names(&changes), ["update file.tunnel"], "{said}");
    assert!(said.contains("drift") && said.contains("changed"), "{said}");
    assert!(!said.contains(&old) && !said.contains(&new), "{said}");
    world.apply();
    assert_eq!(on_host(&world), format!("TUNNEL_TOKEN={new}\n"));
    world.assert_converged();
    // Nothing goes back and forth: what stands for the token is that of the new one everywhere.
    world.apply();
    world.assert_converged();

    // A tunnel that somebody deleted is made again, and its file with it, in one apply.
    let path = format!("/accounts/{ACCOUNT}/cfd_tunnel/{}", id(&world).await);
    world.foreign("DELETE", &path, None).await;
    let (changes, said) = planned(&world);
    assert_eq!(names(&changes), ["create tunnel.edge", "update file.tunnel"], "{said}");
    world.apply();
    let other = token(&world).await;
    assert!(other != new && on_host(&world) == format!("TUNNEL_TOKEN={other}\n"));
    world.assert_converged();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_cannot_be_read_leaves_the_file_as_it_is_and_says_so() {
    let world = world().await;
    let denied = || Fault::AnswerBefore(Answer::error(403, 10000));
    world.proxy.inject(Method::GET, "/token", 50, denied());
    let ran = world.trunkline(&["apply"]);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(format!("{}{}", ran.out, ran.err).contains("needs the token of production/tunnel.edge@main"), "{ran:?}");
    assert!(!world.host(FILE).exists());
    world.proxy.reset();
    world.apply();
    let good = on_host(&world);
    rotate(&world).await;
    world.proxy.inject(Method::GET, "/token", 50, denied());
    let ran = world.trunkline(&["apply"]);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(format!("{}{}", ran.out, ran.err).contains("its token, which hosts use, cannot be read"), "{ran:?}");
    assert_eq!(on_host(&world), good);
    world.proxy.reset();
    world.apply();
    assert_ne!(on_host(&world), good);
    world.assert_converged();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_no_file_uses_is_not_asked_for() {
    let world = world().await;
    world.write("files/tunnel.env", "TUNNEL_TOKEN=\n");
    world.commit("No token");
    world.apply();
    world.assert_converged();
    let asked: Vec<String> = world.proxy.calls().iter().map(crate::proxy::Call::line).collect();
    assert!(
        asked.iter().any(|line| line.contains("cfd_tunnel")) && !asked.iter().any(|line| line.contains("/token")),
        "{asked:?}"
    );
    world.end().await;
}
