//! What an operator relies on: the daemon and the verbs beside it, when the remote, the definitions or the last apply let them
//! down.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::world::{Daemon, World};

const PRODUCTION: &str = "environments/production/production.toml";

/// A daemon that reaches its remote by an ssh that hangs for as long as the file `hang` is there.
fn daemon_by_ssh(world: &World) -> Daemon {
    let ssh = world.path("ssh");
    let hang = world.path("hang");
    let script =
        format!("#!/bin/sh\nwhile [ -e '{}' ]; do sleep 0.1; done\nfor last; do :; done\nexec sh -c \"$last\"\n", hang.display());
    std::fs::write(&ssh, script).unwrap();
    std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755)).unwrap();
    let settings = world.path("daemon.toml");
    std::fs::write(&settings, format!("[repository]\nssh_command = [{:?}]\n", ssh)).unwrap();
    world.daemon_with(|command| {
        command
            .env("TRUNKLINE_CONFIG", &settings)
            .env("TRUNKLINE_REMOTE", format!("ssh://git@remote.example.com{}", world.path("remote.git").display()));
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_hangs_delays_neither_a_rollback_nor_the_end() {
    let world = World::with_production().await;
    let good = world.head();
    let mut daemon = daemon_by_ssh(&world);
    world.wait_ready("production", &good).await;
    world.edit(PRODUCTION, "GREETING = \"hello\"", "GREETING = \"bad\"");
    let bad = world.commit("A bad one");
    world.wait_ready("production", &bad).await;

    std::fs::write(world.path("hang"), "").unwrap();
    // Longer than the poll interval: a fetch is under way, and hangs.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let begun = Instant::now();
    let ran = world.trunkline(&["rollback", "production", "--to", &good[..8]]);
    assert_eq!(ran.status, 0, "{ran:?}\n{}", world.log());
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert!(ran.out.contains("is not pushed: the remote does not answer"), "{}", ran.out);
    assert_eq!(world.get("api.example.com", "/").await.1, "hello with key");
    world.wait("production", |status| status["reason"] == "quarantined").await;

    let begun = Instant::now();
    assert_eq!(daemon.terminate(), 0, "{}", world.log());
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());

    // With the remote back, the record of all three generations comes to it.
    std::fs::remove_file(world.path("hang")).unwrap();
    let _daemon = daemon_by_ssh(&world);
    world.wait("production", |status| status["published"] == true).await;
    world.git(&["fetch", "--quiet", "origin", "refs/notes/trunkline:refs/notes/trunkline"]);
    let notes = world.git(&["log", "--notes=trunkline"]);
    assert_eq!(notes.matches("\"environment\":\"production\"").count(), 3, "{notes}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_from_a_failed_apply_goes_to_what_ran_before_it() {
    let world = World::with_production().await;
    let ran = world.trunkline(&["rollback", "production"]);
    assert!(ran.status == 1 && ran.err.contains("has no recorded generation"), "{ran:?}");
    world.apply();
    let good = world.head();
    let ran = world.trunkline(&["rollback", "production"]);
    assert!(ran.status == 1 && ran.err.contains("nothing was applied in production before what runs"), "{ran:?}");

    world.edit(PRODUCTION, "GREETING = \"hello\"", "GREETING = \"bad\"");
    world.edit(PRODUCTION, "content = \"kept by", "validate = [\"/bin/false\", \"{candidate}\"]\ncontent = \"no longer kept by");
    world.commit("Half of it fails");
    assert_eq!(world.trunkline(&["apply"]).status, 1);
    assert_eq!(world.get("api.example.com", "/").await.1, "bad with key", "the other half was carried out");
    let ran = world.trunkline(&["rollback", "production"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.out.contains(&good[..7]), "{ran:?}");
    assert_eq!(world.get("api.example.com", "/").await.1, "hello with key");
    let ran = world.trunkline(&["apply"]);
    assert!(ran.status == 1 && ran.out.contains("quarantined"), "{ran:?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_is_not_held_by_the_budget_of_deletions() {
    let world = World::with_production().await;
    world.apply();
    let text = std::fs::read_to_string(world.path("clone").join(PRODUCTION)).unwrap();
    let more: String = (0..8).map(|n| format!("\n[file.extra-{n}]\npath = \"/etc/extra/{n}\"\ncontent = \"{n}\"\n")).collect();
    world.write(PRODUCTION, &format!("{text}{more}"));
    world.commit("Eight files more");
    world.apply();
    assert!(world.host("/etc/extra/7").exists());
    let ran = world.trunkline(&["rollback", "production"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(!world.host("/etc/extra/7").exists());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_in_a_commit_that_changes_nothing_counts() {
    let world = World::with_production().await;
    let _daemon = world.daemon();
    world.edit(PRODUCTION, "[worker.api.bindings]\nCOUNTS = { kv = \"counts\" }\n", "[worker.api.bindings]\n");
    let both = world.commit("The Worker no longer counts");
    world.wait_ready("production", &both).await;
    world.edit(PRODUCTION, "[kv.counts]\n", "");
    let without = world.commit("Nor is the namespace needed");
    let status = world.wait_ready("production", &without).await;
    assert_eq!(status["orphaned"].as_array().unwrap().len(), 1, "{status}");
    world.commit("Let it go\n\nAcknowledge: production/kv.counts delete");
    world.wait("production", |status| status["condition"] == "Ready" && status["orphaned"] == serde_json::json!([])).await;
    let left = world.foreign("GET", "/accounts/00000000000000000000000000000000/storage/kv/namespaces", None).await;
    assert_eq!(left, serde_json::json!([]));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_repository_does_not_let_a_rewritten_history_in() {
    let world = World::with_production().await;
    world.apply();
    let before = world.head();
    std::fs::remove_dir_all(world.path("data/repository.git")).unwrap();
    world.edit(PRODUCTION, "GREETING = \"hello\"", "GREETING = \"from another history\"");
    world.git(&["commit", "--quiet", "--all", "--amend", "--message", "Rewritten"]);
    world.git(&["push", "--quiet", "--force"]);
    for _ in 0..2 {
        let ran = world.trunkline(&["apply"]);
        assert!(ran.status == 1 && ran.err.contains("was rewritten") && ran.err.contains(&before[..12]), "{ran:?}");
    }
    assert_eq!(world.get("api.example.com", "/").await.1, "hello with key");
    let ran = world.trunkline(&["resume", "production"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    world.apply();
    assert_eq!(world.get("api.example.com", "/").await.1, "from another history with key");
    // The preview has a repository of its own, and must not be stuck in the old history.
    world.assert_converged();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_do_not_compile_are_not_recorded() {
    let world = World::with_production().await;
    world.apply();
    world.write("policies/broken.rego", "package trunkline.broken\n\ndeny contains {\n");
    world.commit("A rule with a fault, and nothing else");
    let ran = world.trunkline(&["apply"]);
    assert!(ran.status == 1 && ran.out.contains("denied"), "{ran:?}");
    world.write("policies/broken.rego", "package trunkline.broken\n\ndeny contains \"never\" if false\n");
    world.edit(PRODUCTION, "GREETING = \"hello\"", "GREETING = \"mended\"");
    world.commit("Mended");
    world.apply();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_beside_a_daemon_ends_when_every_environment_was_looked_at() {
    let world = World::with_production().await;
    // Nobody wakes it but the verb.
    std::fs::write(world.path("quiet.toml"), "[repository]\nwatch = false\n").unwrap();
    let log = std::fs::File::create(world.path("daemon.log")).unwrap();
    let mut command = world.command(&["run", "--poll", "1h"]);
    command.stdout(Stdio::null()).stderr(log).env("TRUNKLINE_CONFIG", world.path("quiet.toml"));
    let _daemon = Daemon(command.spawn().unwrap());
    world.wait_ready("production", &world.head()).await;
    world.write("environments/mistake.toml", "[kv.x]\nnonsense = 1\n");
    world.commit("An environment that cannot be read");
    let ran = world.trunkline(&["apply", "mistake"]);
    assert!(ran.status == 1 && ran.out.contains("invalid_definition"), "{ran:?}");
    std::fs::remove_file(world.path("clone/environments/mistake.toml")).unwrap();
    // Drift, which only a look at the live world shows.
    std::fs::remove_file(world.host("/etc/motd")).unwrap();
    world.commit("Never mind");
    let ran = world.trunkline(&["apply"]);
    assert_eq!(ran.status, 0, "{ran:?}\n{}", world.log());
    assert!(world.host("/etc/motd").exists());
    assert_eq!(world.trunkline(&["status"]).status, 0);

    std::fs::rename(world.path("remote.git"), world.path("away.git")).unwrap();
    let ran = world.trunkline(&["apply"]);
    assert!(ran.status == 1 && ran.err.contains("nothing is applied"), "{ran:?}");
    let mode = std::fs::metadata(world.path("data/control.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_environments_cannot_own_one_thing() {
    let world = World::with_production().await;
    world.apply();
    let target = format!("[edge.here]\nendpoint = \"{}\"\napi_token = {{ secret = \"edge-token\" }}\n", world.endpoint());
    let kv = "\n[kv.mine]\ntitle = \"counts-production\"\nadopt = true\n";
    let file = "\n[file.motd]\npath = \"/etc/motd\"\ncontent = \"theirs\\n\"\n";
    let section = "[environment]\ndigest_key = { secret = \"digest-key\" }\n";
    world.write("environments/staging/staging.toml", &format!("{section}{target}{kv}{file}"));
    world.write("environments/staging/secrets.toml", "");
    world.set_secret("staging", "edge-token", crate::world::TOKEN);
    let clone = world.path("clone");
    let ran = world.trunkline(&["check", clone.to_str().unwrap()]);
    assert_eq!(ran.status, 1, "{ran:?}");
    for expected in [
        "`production/kv.counts` and `staging/kv.mine` both claim the kv `counts-production`",
        "`production/file.motd` and `staging/file.motd` both claim the path `/etc/motd`",
        "environments/staging/staging.toml:7:1",
    ] {
        assert!(ran.err.contains(expected), "{expected}: {}", ran.err);
    }

    // Merged all the same: the first owner keeps both.
    world.commit("A second owner");
    let ran = world.trunkline(&["apply"]);
    assert!(ran.status == 1 && ran.out.contains("production: Ready"), "{ran:?}");
    assert!(ran.out.contains("belongs to production/kv.counts@local"), "{ran:?}");
    world.edit("environments/staging/staging.toml", kv, "");
    world.commit("Only the file");
    let ran = world.trunkline(&["apply"]);
    assert!(ran.status == 1 && ran.out.contains("staging: Stalled"), "{ran:?}");
    assert_eq!(std::fs::read_to_string(world.host("/etc/motd")).unwrap(), "kept by trunkline\n");
    assert_eq!(world.trunkline(&["plan", "production"]).status, 0);
    world.end().await;
}
