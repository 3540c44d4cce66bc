//! `trunkline secrets`, and what a changed, missing or unreadable secret does.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use http::Method;
use serde_json::Value;

use crate::world::{Ran, World};

/// `secrets set` with `value` on standard input.
fn set(world: &World, arguments: &[&str], value: &[u8]) -> Ran {
    let clone = world.path("clone");
    let mut command = world.command(&["secrets", "set", "--folder", clone.to_str().unwrap()]);
    let mut child = command.args(arguments).stdin(Stdio::piped()).spawn().unwrap();
    // One that refuses its arguments reads nothing.
    let _ = child.stdin.take().unwrap().write_all(value);
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { status: output.status.code().unwrap(), out: text(&output.stdout), err: text(&output.stderr) }
}

fn list(world: &World, arguments: &[&str]) -> Ran {
    let clone = world.path("clone");
    world.trunkline(&[&["secrets", "list", "--folder", clone.to_str().unwrap()], arguments].concat())
}

fn read(world: &World, path: &str) -> String {
    std::fs::read_to_string(world.path("clone").join(path)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn keygen_makes_an_identity_once_for_its_owner_only() {
    let world = World::empty().await;
    let path = world.path("new");
    let ran = world.trunkline(&["secrets", "keygen", path.to_str().unwrap()]);
    assert_eq!((ran.status, ran.out.trim().starts_with("age1")), (0, true), "{ran:?}");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("AGE-SECRET-KEY-1") && text.contains(ran.out.trim()));
    assert!(!format!("{}{}", ran.out, ran.err).contains("AGE-SECRET-KEY"), "{ran:?}");

    let again = world.trunkline(&["secrets", "keygen", path.to_str().unwrap()]);
    assert_eq!((again.status, again.out.as_str()), (1, ""), "{again:?}");
    assert!(again.err.contains("never overwritten"), "{again:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "it was overwritten");
    // Nor through a link that leads nowhere yet.
    std::os::unix::fs::symlink(world.path("elsewhere"), world.path("link")).unwrap();
    assert_eq!(world.trunkline(&["secrets", "keygen", world.path("link").to_str().unwrap()]).status, 1);
    assert!(!world.path("elsewhere").exists());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn set_refuses_what_would_blank_or_expose_a_value() {
    let world = World::with_production().await;
    let path = "environments/production/secrets.toml";
    let before = read(&world, path);
    let plugin = "age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t";
    let open = world.path("open");
    std::fs::copy(world.path("identity"), &open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o640)).unwrap();
    let large = vec![b'x'; 64 * 1024 + 1];
    for (arguments, value, said) in [
        (&["production", "key"][..], &b""[..], "is empty"),
        (&["production", "key"], b"\n", "is empty"),
        (&["production", "key"], &large, "more than 65536 bytes"),
        (&["production", "key", "--recipient", plugin], b"hunter2-of-the-test", "plugin"),
        (&["production", "key", "--recipient", "hunter3-no-recipient"], b"hunter2-of-the-test", "a recipient is"),
        (&["production", "key", "--identity", open.to_str().unwrap()], b"hunter2-of-the-test", "chmod 600"),
        (&["production", "key", "--identity", "/nowhere"], b"hunter2-of-the-test", "cannot be read"),
        (&["nowhere", "key"], b"hunter2-of-the-test", "does not define the environment nowhere"),
        (&["production", "Not A Name"], b"hunter2-of-the-test", "invalid value"),
    ] {
        let ran = set(&world, arguments, value);
        assert!([1, 64].contains(&ran.status) && ran.err.contains(said), "{arguments:?}: {ran:?}");
        assert!(!format!("{ran:?}").contains("hunter2"), "{ran:?}");
        assert_eq!(read(&world, path), before, "{arguments:?} changed the file");
    }
    // A value is no argument: the verb takes none.
    let ran = set(&world, &["production", "key", "hunter2-of-the-test"], b"");
    assert_eq!(ran.status, 64, "{ran:?}");
    assert_eq!(read(&world, path), before);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn set_replaces_one_value_and_leaves_the_rest_of_the_file() {
    let world = World::with_production().await;
    let path = "environments/production/secrets.toml";
    let text = format!("# of the payments team\n{}", read(&world, path).replace("[secret.key]", "[secret.key] # rotated yearly"));
    world.write(path, &text);
    let ran = set(&world, &["production", "key"], b"another-key");
    assert_eq!((ran.status, ran.out.as_str()), (0, ""), "{ran:?}");
    let now = read(&world, path);
    assert_ne!(now, text);
    let without_values = |text: &str| text.lines().filter(|line| !is_armor(line)).collect::<Vec<_>>().join("\n");
    assert_eq!(without_values(&now), without_values(&text));
    for kept in ["password", "edge-token", "digest-key"] {
        let value = |text: &str| text.parse::<toml::Table>().unwrap()["secret"][kept]["age"].clone();
        assert_eq!(value(&now), value(&text), "{kept}");
    }
    // A secret stays in the file where it stands, whichever that is.
    world.write("environments/production/more.toml", "# elsewhere\n[secret.other]\nage = \"x\"\n");
    assert_eq!(set(&world, &["production", "other"], b"value").status, 0);
    assert!(read(&world, "environments/production/more.toml").contains("BEGIN AGE"));
    assert!(!read(&world, path).contains("secret.other"));
    world.end().await;
}

fn is_armor(line: &str) -> bool {
    line.len() <= 64 && !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte))
}

#[tokio::test(flavor = "multi_thread")]
async fn set_makes_the_digest_key_that_the_environment_names() {
    let world = World::empty().await;
    world.write("trunkline.toml", "format = 1\n");
    world.write("environments/staging.toml", "[environment]\ndigest_key = { secret = \"marks\" }\n");
    let ran = set(&world, &["staging", "key"], b"value");
    assert!(ran.status == 0 && ran.err.contains("secret.marks, the digest key of staging, is made"), "{ran:?}");
    let first = read(&world, "environments/staging.toml");
    assert_eq!(first.matches("BEGIN AGE").count(), 2, "{first}");
    let ran = set(&world, &["staging", "key"], b"another");
    assert!(ran.status == 0 && !ran.err.contains("is made"), "a digest key is made once: {ran:?}");
    let value = |text: &str| text.parse::<toml::Table>().unwrap()["secret"]["marks"]["age"].clone();
    assert_eq!(value(&read(&world, "environments/staging.toml")), value(&first));
    // Given by hand, it is what was given.
    world.write("environments/other.toml", "[environment]\ndigest_key = { secret = \"marks\" }\n");
    let ran = set(&world, &["other", "marks"], b"0123456789abcdef0123456789abcdef");
    assert!(ran.status == 0 && !ran.err.contains("is made"), "{ran:?}");
    assert_eq!(read(&world, "environments/other.toml").matches("BEGIN AGE").count(), 1);
    // Where none is named, it says what that means.
    world.write("environments/plain.toml", "[environment]\n");
    let ran = set(&world, &["plain", "key"], b"value");
    assert!(ran.status == 0 && ran.err.contains("digest_key = {"), "{ran:?}");
    assert_eq!(list(&world, &[]).status, 0, "{:?}", list(&world, &[]));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn list_says_what_opens_and_never_a_value() {
    let world = World::with_production().await;
    let other = world.path("other");
    assert_eq!(world.trunkline(&["secrets", "keygen", other.to_str().unwrap()]).status, 0);
    let rows = |ran: &Ran| -> Vec<Value> {
        let document: Value = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        assert_eq!(document["version"], 1);
        document["secrets"].as_array().unwrap().clone()
    };
    let json = list(&world, &["--output", "json"]);
    assert_eq!(json.status, 0, "{json:?}");
    let names: Vec<&str> = ["digest-key", "edge-token", "key", "password"].into();
    assert_eq!(rows(&json).iter().map(|row| row["secret"]["name"].as_str().unwrap()).collect::<Vec<_>>(), names);
    assert!(rows(&json).iter().all(|row| row["state"] == "opens"), "{json:?}");
    assert_eq!(rows(&json)[0]["secret"]["digest_key"], true);
    assert_eq!(rows(&json)[1]["secret"]["token_of"][0], "local");
    let text = list(&world, &[]);
    assert_eq!((text.status, text.out.lines().count()), (0, 4), "{text:?}");

    let foreign = list(&world, &["--identity", other.to_str().unwrap(), "--output", "json"]);
    assert_eq!(foreign.status, 1, "{foreign:?}");
    assert!(rows(&foreign).iter().all(|row| row["state"].as_str().unwrap().contains("cannot be decrypted")), "{foreign:?}");
    let clone = world.path("clone");
    let output =
        world.command(&["secrets", "list", "--folder", clone.to_str().unwrap()]).env_remove("TRUNKLINE_IDENTITY").output();
    let none = String::from_utf8(output.unwrap().stdout).unwrap();
    assert_eq!(none.matches("not tried (no identity)").count(), 4, "{none}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_secret_is_a_change_once_without_its_value() {
    let world = World::with_production().await;
    world.apply();
    world.assert_converged();
    assert_eq!(set(&world, &["production", "key"], b"next-key-of-the-worker").status, 0);
    assert_eq!(set(&world, &["production", "password"], b"next-password-of-the-file").status, 0);
    // The same value sealed anew is no change.
    assert_eq!(set(&world, &["production", "edge-token"], crate::world::TOKEN.as_bytes()).status, 0);
    world.commit("Other values");

    let (text, json) = (world.trunkline(&["plan"]), world.trunkline(&["plan", "--output", "json"]));
    assert_eq!((text.status, json.status), (2, 2), "{text:?}");
    let document: Value = serde_json::from_str(&json.out).unwrap();
    let changes = document["plans"][0]["plan"]["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 2, "{changes:#?}");
    for change in changes {
        assert_eq!(change["action"], "update");
        let fields = change["fields"].as_array().unwrap();
        assert_eq!(fields.len(), 1, "{change:#}");
        let secrets = [&fields[0]["before"], &fields[0]["after"]].map(|value| value.to_string());
        assert!(secrets[0].contains("present") && secrets[1].contains("changed"), "{change:#}");
    }
    for printed in [&text.out, &json.out] {
        for value in ["next-key", "key-of-the", "next-password", "password-of-the"] {
            assert!(!printed.contains(value), "{printed}");
        }
        // No word of 64 hex digits is there that is not the digest of bytes or of the plan, and no mark.
        let store = std::fs::read(world.path("data/store.sqlite3")).unwrap();
        for mark in marks(&store) {
            assert!(!printed.contains(&mark[..12]), "a mark is shown: {mark}\n{printed}");
        }
    }

    world.proxy.reset();
    world.apply();
    let uploads = world.proxy.writes().iter().filter(|line| line.ends_with("/versions")).count();
    assert_eq!((uploads, world.proxy.writes().len()), (1, 2), "{:?}", world.proxy.writes());
    let file = std::fs::read_to_string(world.host("/etc/engine/engine.conf")).unwrap();
    assert_eq!(file, "greeting = hello\npassword = next-password-of-the-file\n");
    world.assert_converged();
    world.proxy.reset();
    world.apply();
    assert!(world.proxy.writes().is_empty(), "{:?}", world.proxy.writes());
    world.end().await;
}

/// The marks in a store: what stands behind `"hmac":"`.
fn marks(store: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(store);
    let marks: Vec<String> = text
        .match_indices("\"hmac\":\"")
        .filter_map(|(at, found)| text.get(at + found.len()..at + found.len() + 64))
        .map(str::to_owned)
        .collect();
    assert!(!marks.is_empty(), "the store holds no mark, so this shows nothing");
    marks
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_identity_nothing_is_applied_or_blanked() {
    let world = World::with_production().await;
    world.apply();
    let file = std::fs::read(world.host("/etc/engine/engine.conf")).unwrap();
    world.edit("environments/production/production.toml", "greeting = \"hello\"", "greeting = \"good evening\"");
    world.edit("environments/production/production.toml", "GREETING = \"hello\"", "GREETING = \"good evening\"");
    world.commit("Greet");
    world.proxy.reset();
    for verb in ["plan", "apply"] {
        let output = world.command(&[verb]).env_remove("TRUNKLINE_IDENTITY").output().unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(1), "{verb}: {text}");
        assert!(text.contains("no identity is configured") && text.contains("`secret.key`"), "{verb}: {text}");
    }
    assert_eq!(world.proxy.writes(), Vec::<String>::new());
    assert_eq!(std::fs::read(world.host("/etc/engine/engine.conf")).unwrap(), file);
    let status = world.status("production");
    assert_eq!((&status["condition"], &status["reason"]), (&"Stalled".into(), &"secret".into()), "{status:#}");
    assert_eq!(status["generation"]["number"], 1);
    world.apply();
    world.assert_converged();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_does_not_open_stalls_its_environment_only() {
    let world = World::with_production().await;
    // Staging beside production, on the same host; its secret is production's ciphertext, copied.
    world.write("files/staging.conf", "password = {{ secret(\"password\") }}\n");
    world.write(
        "environments/staging/staging.toml",
        "[environment]\n\n[file.engine]\npath = \"/etc/staging.conf\"\ntemplate = \"files/staging.conf\"\nmode = \"0640\"\n",
    );
    assert_eq!(set(&world, &["staging", "password"], b"password-of-staging").status, 0);
    world.commit("Staging");
    let daemon = world.daemon();
    world.wait_ready("staging", &world.head()).await;
    world.wait_ready("production", &world.head()).await;
    assert_eq!(std::fs::read_to_string(world.host("/etc/staging.conf")).unwrap(), "password = password-of-staging\n");

    let good = read(&world, "environments/staging/secrets.toml");
    let production = read(&world, "environments/production/secrets.toml");
    let copied = production.parse::<toml::Table>().unwrap()["secret"]["password"]["age"].as_str().unwrap().to_owned();
    let broken = good.replacen("YWdl", "YWdm", 1);
    assert_ne!(broken, good);
    for (index, (text, said)) in [
        (format!("[secret.password]\nage = \"\"\"\n{copied}\"\"\"\n"), "was sealed for another place"),
        (broken, "cannot be decrypted"),
    ]
    .into_iter()
    .enumerate()
    {
        world.write("environments/staging/secrets.toml", &text);
        world.edit("environments/production/production.toml", "vars = { GREETING", &format!("# {index}\nvars = {{ GREETING"));
        let greeting = format!("GREETING = \"greeting {index}\"");
        let path = "environments/production/production.toml";
        let old = read(&world, path)
            .lines()
            .find_map(|line| line.strip_prefix("vars = { ")?.strip_suffix(" }").map(str::to_owned))
            .unwrap();
        world.edit(path, &old, &greeting);
        let commit = world.commit("Greet, with a secret that does not open");
        world.wait_ready("production", &commit).await;
        let status = world.wait("staging", |status| status["condition"] == "Stalled").await;
        assert!(status["message"].as_str().unwrap().contains(said), "{status:#}");
        assert_eq!(world.get("api.example.com", "/").await.1, format!("greeting {index} with key"));
        assert_eq!(std::fs::read_to_string(world.host("/etc/staging.conf")).unwrap(), "password = password-of-staging\n");
        world.write("environments/staging/secrets.toml", &good);
        let commit = world.commit("The secret as it was");
        world.wait_ready("staging", &commit).await;
    }
    drop(daemon);
    let deletes = world.proxy.calls().iter().filter(|call| call.method == Method::DELETE).count();
    assert_eq!(deletes, 0);
    world.end().await;
}
