//! The same account, changed by the real wrangler.

use std::path::Path;
use std::process::Stdio;

use trunkline::model::{Binding, Evidence, ModuleType, SecretMark, Spec, Value};
use trunkline::plan::Action;

use super::account::Account;
use super::world::{ACCOUNT, SECRET, TOKEN, World, installed, key, route, var, worker};

/// Runs wrangler against the account; gives what it printed.
async fn wrangler(world: &World, home: &Path, arguments: &[&str], input: &str) -> String {
    let mut child = tokio::process::Command::new("node")
        .arg(installed("wrangler/bin/wrangler.js"))
        .args(arguments)
        .current_dir(home)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .env("CLOUDFLARE_API_BASE_URL", format!("http://{}/client/v4", world.edge.api_addr()))
        .env("CLOUDFLARE_API_TOKEN", TOKEN)
        .env("CLOUDFLARE_ACCOUNT_ID", ACCOUNT)
        .env("WRANGLER_SEND_METRICS", "false")
        .env("CI", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("node is missing: install Node.js 20");
    let mut stdin = child.stdin.take().expect("a pipe");
    tokio::io::AsyncWriteExt::write_all(&mut stdin, input.as_bytes()).await.expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().await.expect("it ends");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "wrangler {arguments:?}: {text}");
    text
}

#[tokio::test]
async fn a_secret_and_a_namespace_that_wrangler_put_survive_our_update() {
    let mut world = World::start().await;
    let home = tempfile::tempdir().unwrap();
    let key = key("production/worker.api@main");
    let mut spec = worker("api");
    let source = "export default { fetch: (r, env) => new Response([env.LEVEL, env.STRIPE, env.THEIRS].join(' ')) }";
    world.module(&mut spec, "index.js", ModuleType::Esm, source);
    spec.bindings =
        [("LEVEL".to_owned(), var("info")), ("STRIPE".to_owned(), Binding::Secret { name: SECRET.0.parse().unwrap() })].into();
    spec.routes = [route("api.example.com/*")].into();
    let first = Spec::Worker(spec.clone());
    world.apply(Action::Create, &key, &first).await;
    assert_eq!(world.answer("api.example.com", "/").await, format!("info {} ", SECRET.1));

    wrangler(&world, home.path(), &["secret", "put", "THEIRS", "--name", "api"], "theirs").await;
    let present = world.present(&key, Some(&first), false).await;
    assert!(matches!(present.evidence, Evidence::DeepRead(_)), "the fingerprint moved");
    let bindings = present.properties["bindings"].as_table().unwrap();
    let unknown = Value::Secret { mark: SecretMark::Unknown };
    assert_eq!(bindings["STRIPE"].as_table().unwrap()["text"], unknown);
    assert!(bindings.contains_key("THEIRS"));

    spec.bindings.insert("LEVEL".into(), var("debug"));
    let second = Spec::Worker(spec.clone());
    let writes = world.apply(Action::Update, &key, &second).await;
    assert_eq!(writes.len(), 2, "{writes:?}");
    assert_eq!(world.answer("api.example.com", "/").await, format!("debug {} theirs", SECRET.1));

    // From the fingerprint alone, where the plan knows nothing of what is not ours.
    spec.bindings.insert("LEVEL".into(), var("trace"));
    let third = Spec::Worker(spec);
    assert_eq!(world.present(&key, Some(&third), false).await.evidence, Evidence::Fingerprint);
    world.apply(Action::Update, &key, &third).await;
    assert_eq!(world.answer("api.example.com", "/").await, format!("trace {} theirs", SECRET.1));
}

#[tokio::test]
async fn what_wrangler_deployed_over_ours_is_drift_and_is_put_right() {
    let mut world = World::start().await;
    let home = tempfile::tempdir().unwrap();
    let key = key("production/worker.api@main");
    let mut spec = worker("api");
    world.module(&mut spec, "index.js", ModuleType::Esm, "export default { fetch: () => new Response('ours') }");
    spec.routes = [route("api.example.com/*")].into();
    spec.workers_dev = true;
    let spec = Spec::Worker(spec);
    world.apply(Action::Create, &key, &spec).await;

    std::fs::write(home.path().join("other.js"), "export default { fetch: () => new Response('theirs') }").unwrap();
    let config = "name = \"api\"\nmain = \"other.js\"\ncompatibility_date = \"2026-11-01\"\n\n[vars]\nEXTRA = \"x\"\n";
    std::fs::write(home.path().join("wrangler.toml"), config).unwrap();
    wrangler(&world, home.path(), &["deploy"], "").await;
    assert_eq!(world.answer("api.example.com", "/").await, "theirs");

    let present = world.present(&key, Some(&spec), false).await;
    assert_eq!(present.properties["main_module"], "other.js".into());
    assert_eq!(present.owner, Some(key.address.clone()));
    assert_eq!(present.marker, None);
    let writes = world.apply(Action::Update, &key, &spec).await;
    assert_eq!(writes.len(), 2, "{writes:?}");
    assert_eq!(world.answer("api.example.com", "/").await, "ours");
    // Their var was never ours, so it stays; but for it, what is there is what is desired.
    let mut present = world.present(&key, Some(&spec), true).await;
    if let Some(Value::Table(bindings)) = present.properties.get_mut("bindings") {
        assert!(bindings.remove("EXTRA").is_some());
    }
    assert_eq!(present.properties, world.desired(&key, &spec));
}

#[tokio::test]
async fn a_migration_is_applied_by_one_of_us_and_seen_by_the_other() {
    let mut account = Account::start().await;
    let home = tempfile::tempdir().unwrap();
    let (first, second) = ("CREATE TABLE ads (id INTEGER PRIMARY KEY);", "INSERT INTO ads VALUES (1);");
    account.write("migrations/0001_init.sql", first);
    account.define("[d1.ads]\nmigrations = \"migrations\"\n");
    account.apply().await;
    std::fs::create_dir(home.path().join("migrations")).unwrap();
    std::fs::write(home.path().join("migrations/0001_init.sql"), first).unwrap();
    let id = account.attribute("d1.ads", "id");
    let config = format!("[[d1_databases]]\nbinding = \"DB\"\ndatabase_name = \"ads-p\"\ndatabase_id = \"{id}\"\n");
    std::fs::write(home.path().join("wrangler.toml"), config).unwrap();
    let listed = wrangler(&account.world, home.path(), &["d1", "migrations", "list", "ads-p", "--remote"], "").await;
    assert!(listed.contains("No migrations to apply"), "{listed}");

    std::fs::write(home.path().join("migrations/0002_row.sql"), second).unwrap();
    wrangler(&account.world, home.path(), &["d1", "migrations", "apply", "ads-p", "--remote"], "").await;
    account.write("migrations/0002_row.sql", second);
    account.assert_converged().await;
}
