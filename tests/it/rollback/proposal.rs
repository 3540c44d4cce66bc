//! The revert, as a commit for people to merge.

use super::{assert_greets, good_and_bad, greet, history, roll_back, wait_held};
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_merged_git_revert_is_simply_applied() {
    let (world, good, bad) = good_and_bad().await;
    let mut daemon = world.daemon();
    world.wait_ready("production", &bad).await;
    world.git(&["revert", "--no-edit", "HEAD"]);
    world.git(&["push", "--quiet"]);
    let reverted = world.head();
    let status = world.wait_ready("production", &reverted).await;
    assert_eq!(status["generation"]["kind"], "apply");
    assert_eq!(status["quarantined"], serde_json::json!([]));
    assert_greets(&world, "hello").await;
    // What runs is what the first revision was, under another name.
    let ran = world.trunkline(&["rollback", "production", "--to", &good]);
    assert!(ran.status == 1 && ran.err.contains("is what runs in production already"), "{ran:?}");
    assert_eq!(daemon.terminate(), 0, "{}", world.log());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proposed_revert_holds_what_production_reads_and_lifts_the_quarantine_when_it_is_merged() {
    let world = World::with_production().await;
    // Staging shares a base with production.
    world.write("bases/shared/shared.toml", "[file.shared]\npath = \"/etc/shared\"\ncontent = \"good\\n\"\n");
    world.edit("environments/production/production.toml", "[environment]\n", "[environment]\nextends = [\"bases/shared\"]\n");
    world.write(
        "environments/staging/staging.toml",
        "[environment]\nextends = [\"bases/shared\"]\n\n[file.shared]\npath = \"/etc/staging/shared\"\n\n[file.own]\npath = \"/etc/staging/own\"\ncontent = \"1\\n\"\n",
    );
    let good = world.commit("A shared base");
    world.apply();
    greet(&world, "hello", "bad");
    world.edit("bases/shared/shared.toml", "good", "bad");
    world.edit("environments/staging/staging.toml", "1\\n", "2\\n");
    world.write("README.md", "Nobody reads this but people.\n");
    let bad = world.commit("Bad, in several files");
    let mut daemon = world.daemon();
    world.wait_ready("production", &bad).await;
    world.wait_ready("staging", &bad).await;
    assert_eq!(std::fs::read_to_string(world.host("/etc/staging/shared")).unwrap(), "bad\n");

    let ran = roll_back(&world, &good);
    let branch = format!("trunkline/revert-production-{}", &bad[..7]);
    assert!(ran.out.contains(&format!("the revert waits on branch {branch} for people to merge")), "{ran:?}");
    assert!(ran.out.contains("the same files are read by staging"), "{ran:?}");
    wait_held(&world, &bad).await;
    assert_eq!(std::fs::read_to_string(world.host("/etc/shared")).unwrap(), "good\n");
    assert_eq!(std::fs::read_to_string(world.host("/etc/staging/shared")).unwrap(), "bad\n", "staging goes on");

    world.git(&["fetch", "--quiet", "origin", &branch]);
    let message = world.git(&["log", "-1", "--format=%B", "FETCH_HEAD"]);
    println!("-----\n{message}");
    for part in [
        format!("Revert production to main@sha1:{}", &good[..7]),
        format!("rolled back from main@sha1:{}", &bad[..7]),
        "  bases/shared/shared.toml\n  environments/production/production.toml\n".to_owned(),
        "The same files are read by: staging".to_owned(),
    ] {
        assert!(message.contains(&part), "{part:?}: {message}");
    }
    assert_eq!(world.git(&["log", "-1", "--format=%P", "FETCH_HEAD"]).trim(), bad);
    let changed = world.git(&["diff", "--name-only", "HEAD", "FETCH_HEAD"]);
    assert_eq!(
        changed, "bases/shared/shared.toml\nenvironments/production/production.toml\n",
        "staging's own file and the README stay"
    );
    assert_eq!(world.git(&["diff", &good, "FETCH_HEAD", "--", "bases", "environments/production"]), "");

    world.git(&["merge", "--quiet", "--no-ff", "--no-edit", "FETCH_HEAD"]);
    world.git(&["push", "--quiet"]);
    let merged = world.head();
    let status = world.wait_ready("production", &merged).await;
    assert_eq!(status["quarantined"], serde_json::json!([]));
    assert_eq!(history(&world).len(), 3, "what is merged is what ran already");
    world.wait_ready("staging", &merged).await;
    assert_eq!(std::fs::read_to_string(world.host("/etc/staging/shared")).unwrap(), "good\n");
    assert_eq!(std::fs::read_to_string(world.host("/etc/staging/own")).unwrap(), "2\n");
    assert_greets(&world, "hello").await;
    assert_eq!(daemon.terminate(), 0, "{}", world.log());
    world.assert_converged();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_revert_is_whole_though_commits_came_between_and_the_last_apply_failed() {
    let (world, good, _) = good_and_bad().await;
    world.write("environments/staging.toml", "[file.own]\npath = \"/etc/staging/own\"\ncontent = \"1\\n\"\n");
    world.commit("Another environment, of no concern to production");
    world.apply();
    // A second bad commit, the apply of which fails half-way.
    world.write("workers/api/index.js", "export default {\n  fetch() { return new Response(; }\n};\n");
    world.write("environments/staging.toml", "[file.own]\npath = \"/etc/staging/own\"\ncontent = \"2\\n\"\n");
    let bad = world.commit("A script that does not parse");
    assert_eq!(world.trunkline(&["apply"]).status, 1);
    roll_back(&world, &good);
    assert_greets(&world, "hello").await;
    let branch = format!("trunkline/revert-production-{}", &bad[..7]);
    world.git(&["fetch", "--quiet", "origin", &branch]);
    let changed = world.git(&["diff", "--name-only", "HEAD", "FETCH_HEAD"]);
    assert_eq!(changed, "environments/production/production.toml\nworkers/api/index.js\n", "what production reads, and no more");
    world.git(&["merge", "--quiet", "FETCH_HEAD"]);
    world.git(&["push", "--quiet"]);
    world.apply();
    world.assert_converged();
    assert_greets(&world, "hello").await;
    assert_eq!(std::fs::read_to_string(world.host("/etc/staging/own")).unwrap(), "2\n");
    world.end().await;
}
