//! What we own stays owned until it is certainly gone, and goes only when somebody said so.

use http::Method;
use serde_json::json;

use super::scene::{PRODUCTION, changes, kv, namespace, plan, script};
use crate::proxy::{Answer, Fault};
use crate::world::World;

/// Takes the Worker out of the definitions, and everything that it alone uses.
fn without_worker(world: &World) {
    let text = world.production();
    let (from, to) = (text.find("[worker.api]").unwrap(), text.find("[file.engine]").unwrap());
    world.write(PRODUCTION, &format!("{}{}", &text[..from], &text[to..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failed_delete_left_stays_owned_and_goes_with_the_next_pass() {
    let faults = [
        // Certainly refused; not known; not known although it happened.
        (Fault::AnswerBefore(Answer::error(403, 10000)), true),
        (Fault::AnswerBefore(Answer::error(500, 10001)), true),
        (Fault::DropBefore, true),
        (Fault::DropAfter, false),
    ];
    let world = World::with_production().await;
    world.apply();
    for (fault, left) in faults {
        without_worker(&world);
        world.commit("Without the Worker");
        world.proxy.reset();
        // A call that was cut may be sent once more.
        world.proxy.inject(Method::DELETE, "/scripts/api-production", 2, fault.clone());
        let ran = world.trunkline(&["apply"]);
        assert_eq!(ran.status, 1, "{fault:?}: {ran:?}");
        let status = world.status("production");
        assert_eq!(status["reason"], "apply_failed", "{fault:?}: {status:#}");
        assert!(status["message"].as_str().unwrap().contains("delete production/worker.api@local"), "{status:#}");
        assert_eq!(status["owned"], 4, "{fault:?}: the inventory still holds it");
        world.proxy.reset();
        if left {
            assert_eq!(changes(&world), ["delete worker.api@local"], "{fault:?}");
        }
        world.apply();
        world.assert_converged();
        assert_eq!(world.status("production")["owned"], 3, "{fault:?}");
        let there = world.foreign("GET", &format!("/accounts/{}/workers/scripts", super::scene::ACCOUNT), None).await;
        assert_eq!(there, json!([]), "{fault:?}");
        world.write(PRODUCTION, &world.production());
        world.commit("With it again");
        world.apply();
        assert_eq!(world.get("api.example.com", "/").await.1, "hello with key");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_goes_only_when_a_commit_acknowledges_it_and_only_once() {
    let world = World::with_production().await;
    world.apply();
    assert_eq!(world.get("api.example.com", "/count").await.1, "1");
    let without = || {
        world.edit(PRODUCTION, "[kv.counts]\n\n", "");
        world.edit(PRODUCTION, "COUNTS = { kv = \"counts\" }\n", "");
    };
    let orphaned = |world: &World| {
        let orphaned = plan(world)["orphaned"].clone();
        let reason = orphaned[0]["reason"].as_str().unwrap_or_default().to_owned();
        assert!(reason.contains("Acknowledge: production/kv.counts delete"), "{orphaned:#}");
        let status = world.status("production");
        assert!(status["orphaned"][0].as_str().unwrap_or_default().contains("production/kv.counts@local"), "{status:#}");
    };
    without();
    world.commit("Without the counts");
    world.apply();
    world.assert_converged();
    orphaned(&world);
    let id = namespace(&world, "counts-production").await.unwrap();
    let keys = world.foreign("GET", &kv(&format!("/{id}/keys")), None).await;
    assert_eq!(keys[0]["name"], "count");

    // Words that are nearly right, and another's, change nothing.
    world.commit("Talk\n\nAcknowledge: production/kv.count delete\nAcknowledge: staging/kv.counts delete");
    world.apply();
    orphaned(&world);
    // A commit of its own that changes no file, and one after it; both before the daemon looks again.
    world.commit("The counts may go\n\nAcknowledge: production/kv.counts delete");
    world.write("README.md", "unrelated");
    world.commit("Unrelated");
    world.apply();
    world.assert_converged();
    assert_eq!(namespace(&world, "counts-production").await, None);
    assert_eq!(world.status("production")["orphaned"], json!([]));

    world.write(PRODUCTION, &world.production());
    world.commit("The counts are back");
    world.apply();
    assert_eq!(world.get("api.example.com", "/count").await.1, "1", "a new namespace");
    without();
    world.commit("Without them again");
    world.apply();
    orphaned(&world);
    assert!(namespace(&world, "counts-production").await.is_some(), "the word of then is used up");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_takes_an_acknowledgement_in_a_commit_of_its_own() {
    let world = World::with_production().await;
    world.edit(PRODUCTION, "COUNTS = { kv = \"counts\" }\n", "");
    world.commit("Unused");
    let _daemon = world.daemon();
    world.wait_ready("production", &world.head()).await;
    world.edit(PRODUCTION, "[kv.counts]\n\n", "");
    let commit = world.commit("Without the counts");
    world.wait_ready("production", &commit).await;
    assert!(namespace(&world, "counts-production").await.is_some());
    let commit = world.commit("The counts may go\n\nAcknowledge: production/kv.counts delete");
    world.wait_ready("production", &commit).await;
    assert_eq!(namespace(&world, "counts-production").await, None);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_left_the_definitions_is_pruned_unless_they_say_otherwise() {
    let world = World::with_production().await;
    world.apply();
    world.edit(PRODUCTION, "[edge.local]", "[environment.sync]\nprune = false\n\n[edge.local]");
    world.edit(PRODUCTION, "[file.motd]\npath = \"/etc/motd\"\ncontent = \"kept by trunkline\\n\"\n", "");
    world.commit("Without a message of the day");
    world.apply();
    world.assert_converged();
    assert!(world.host("/etc/motd").exists());
    assert_eq!(plan(&world)["orphaned"][0]["address"], "production/file.motd");

    world.edit(PRODUCTION, "prune = false", "prune = true");
    world.commit("Prune");
    assert_eq!(changes(&world), ["delete file.motd@origin"]);
    world.apply();
    world.assert_converged();
    assert!(!world.host("/etc/motd").exists());

    // One that is not there any more is forgotten.
    world.write(PRODUCTION, &world.production());
    world.commit("With it again");
    world.apply();
    without_worker(&world);
    let text = std::fs::read_to_string(world.path("clone").join(PRODUCTION)).unwrap();
    world.write(PRODUCTION, text.split("[file.motd]").next().unwrap());
    world.commit("Without message and Worker");
    std::fs::remove_file(world.host("/etc/motd")).unwrap();
    assert_eq!(changes(&world), ["delete worker.api@local"]);
    world.apply();
    world.assert_converged();
    assert_eq!(world.status("production")["owned"], 2);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_a_person_edited_is_not_deleted_and_nothing_else_waits_for_it() {
    let world = World::with_production().await;
    world.apply();
    let (motd, engine) = (world.host("/etc/motd"), world.host("/etc/engine/engine.conf"));
    std::fs::write(&motd, "edited").unwrap();
    world.edit(PRODUCTION, "[file.motd]\npath = \"/etc/motd\"\ncontent = \"kept by trunkline\\n\"\n", "");
    world.edit(PRODUCTION, "GREETING = \"hello\"", "GREETING = \"good evening\"");
    world.commit("Without a message of the day");
    assert_eq!(changes(&world), ["update worker.api@local"]);
    world.apply();
    world.assert_converged();
    assert_eq!(world.get("api.example.com", "/").await.1, "good evening with key");
    assert_eq!(std::fs::read_to_string(&motd).unwrap(), "edited");
    let status = world.status("production");
    let orphan = status["orphaned"][0].as_str().unwrap();
    assert!(orphan.contains("file.motd") && orphan.contains("edited since it was applied"), "{orphan}");
    // As we left it, it goes; so would it be forgotten if somebody deleted it.
    std::fs::write(&motd, "kept by trunkline\n").unwrap();
    assert_eq!(changes(&world), ["delete file.motd@origin"]);
    world.apply();
    assert!(!motd.exists());

    // The same where a file is to stand elsewhere; here it holds a secret, and nobody compares its bytes.
    std::fs::write(&engine, "edited").unwrap();
    world.edit(PRODUCTION, "/etc/engine/engine.conf", "/etc/other.conf");
    world.commit("Elsewhere");
    let blocked = plan(&world)["blocked"].clone();
    assert!(blocked[0]["message"].as_str().unwrap().contains("edited since it was applied"), "{blocked:#}");
    assert_eq!(world.trunkline(&["apply"]).status, 1);
    assert_eq!(std::fs::read_to_string(&engine).unwrap(), "edited");
    assert!(!world.host("/etc/other.conf").exists());
    std::fs::remove_file(&engine).unwrap();
    world.apply();
    world.assert_converged();
    assert!(world.host("/etc/other.conf").exists());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_keeps_the_thing() {
    let world = World::with_production().await;
    world.apply();
    assert_eq!(world.get("api.example.com", "/count").await.1, "1");
    let id = namespace(&world, "counts-production").await;
    let versions = world.foreign("GET", &script("api-production", "/versions"), None).await["items"][0]["id"].clone();
    let inode = |path: &str| std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(world.host(path)).unwrap());
    let motd = inode("/etc/motd");

    world.edit(PRODUCTION, "[kv.counts]", "[kv.tallies]\nmoved = \"counts\"");
    world.edit(PRODUCTION, "{ kv = \"counts\" }", "{ kv = \"tallies\" }");
    world.edit(PRODUCTION, "[worker.api]", "[worker.front]\nmoved = \"api\"");
    world.edit(PRODUCTION, "[worker.api.bindings]", "[worker.front.bindings]");
    world.edit(PRODUCTION, "[file.motd]", "[file.message]\nmoved = \"motd\"");
    world.commit("Better names");
    assert_eq!(changes(&world), ["move file.message@origin", "move kv.tallies@local", "move worker.front@local"]);
    world.proxy.reset();
    world.apply();
    world.assert_converged();
    assert_eq!(world.proxy.writes(), [format!("PATCH /client/v4{}", script("api-production", "/script-settings"))]);
    assert_eq!(namespace(&world, "counts-production").await, id);
    assert_eq!(world.foreign("GET", &script("api-production", "/versions"), None).await["items"][0]["id"], versions);
    assert_eq!(world.get("api.example.com", "/count").await.1, "2", "the same data");
    assert_eq!(inode("/etc/motd"), motd);
    assert_eq!(world.status("production")["owned"], 4);

    // The word may stay or go; both are nothing to do, and the former names are forgotten.
    for name in ["counts", "api", "motd"] {
        world.edit(PRODUCTION, &format!("\nmoved = \"{name}\""), "");
    }
    world.commit("The names have settled");
    world.proxy.reset();
    world.apply();
    world.assert_converged();
    assert_eq!(world.proxy.writes(), [""; 0]);
    world.end().await;
}
