//! What a rollback took back: held by name, until it changes or a person says so.

use super::{FILE, assert_greets, good_and_bad, greet, history, roll_back, wait_held};

#[tokio::test(flavor = "multi_thread")]
async fn an_unrelated_commit_is_held_and_one_that_changes_the_fault_rolls_forward() {
    let (world, good, bad) = good_and_bad().await;
    let mut daemon = world.daemon();
    world.wait_ready("production", &bad).await;
    roll_back(&world, &good);
    wait_held(&world, &bad).await;

    world.edit(FILE, "kept by trunkline", "an unrelated change");
    let unrelated = world.commit("Unrelated");
    let held = wait_held(&world, &unrelated).await;
    assert!(held.contains("held: production/worker.api still as in"), "{held}");
    assert!(!held.contains("motd"), "{held}");
    assert_greets(&world, "hello").await;
    assert_eq!(std::fs::read_to_string(world.host("/etc/motd")).unwrap(), "kept by trunkline\n");

    greet(&world, "bad", "better");
    let fixed = world.commit("A fix");
    let status = world.wait_ready("production", &fixed).await;
    assert_eq!(status["quarantined"], serde_json::json!([]), "the quarantine has done its work");
    assert_greets(&world, "better").await;
    assert_eq!(std::fs::read_to_string(world.host("/etc/motd")).unwrap(), "an unrelated change\n");
    assert_eq!(status["generation"]["number"], 4);
    assert_eq!(daemon.terminate(), 0, "{}", world.log());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_lifts_it() {
    for with_daemon in [true, false] {
        let (world, good, bad) = good_and_bad().await;
        let mut daemon = with_daemon.then(|| world.daemon());
        if with_daemon {
            world.wait_ready("production", &bad).await;
        }
        roll_back(&world, &good);
        let ran = world.trunkline(&["resume", "production"]);
        assert_eq!(ran.status, 0, "{ran:?}");
        println!("{}", ran.out);
        assert!(ran.out.contains("production") && ran.out.contains("quarantine") && ran.out.contains(&bad[..7]), "{ran:?}");
        match &mut daemon {
            Some(daemon) => {
                world.wait_ready("production", &bad).await;
                assert_eq!(daemon.terminate(), 0, "{}", world.log());
            }
            None => drop(world.apply()),
        }
        assert_greets(&world, "bad").await;
        assert_eq!(history(&world).len(), 4);
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fix_that_is_denied_does_not_let_the_fault_back_in() {
    let (world, good, _) = good_and_bad().await;
    world.write(
        "policies/words.rego",
        r#"package trunkline.words

deny contains {"address": resource.address, "msg": "no such word"} if {
	some resource in input.desired.resources
	resource.properties.bindings.GREETING.text == "unspeakable"
}
"#,
    );
    world.commit("A rule");
    world.apply();
    roll_back(&world, &good);
    greet(&world, "bad", "unspeakable");
    world.commit("A fix that the rule denies");
    let ran = world.trunkline(&["apply"]);
    assert!(ran.status == 1 && ran.out.contains("no such word"), "{ran:?}");
    world.git(&["revert", "--no-edit", "HEAD"]);
    world.git(&["push", "--quiet"]);
    let ran = world.trunkline(&["apply"]);
    assert!(ran.status == 1 && ran.out.contains("held: production/worker.api still as in"), "{ran:?}");
    assert_greets(&world, "hello").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_that_came_or_went_is_a_fault_like_one_that_changed() {
    let (world, good, _) = good_and_bad().await;
    greet(&world, "bad", "hello");
    world.edit(
        FILE,
        "[file.motd]\npath = \"/etc/motd\"\ncontent = \"kept by trunkline\\n\"\n",
        "[file.other]\npath = \"/etc/other\"\ncontent = \"came\\n\"\n",
    );
    world.commit("One goes, one comes");
    world.apply();
    assert!(!world.host("/etc/motd").exists() && world.host("/etc/other").exists());
    roll_back(&world, &good);
    assert!(world.host("/etc/motd").exists() && !world.host("/etc/other").exists());
    let ran = world.trunkline(&["apply"]);
    assert!(ran.status == 1 && ran.out.contains("held: production/file.motd, production/file.other still as in"), "{ran:?}");
    assert!(world.host("/etc/motd").exists() && !world.host("/etc/other").exists());
    world.end().await;
}
