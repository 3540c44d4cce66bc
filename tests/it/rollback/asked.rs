//! What can be asked for: by the first digits of a recorded revision, with and without a daemon; and what cannot.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{FILE, assert_greets, good_and_bad, greet, history, roll_back, wait_held};
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_running_daemon_rolls_back_at_once_and_the_record_says_so() {
    let (world, good, bad) = good_and_bad().await;
    let mut daemon = world.daemon();
    world.wait_ready("production", &bad).await;
    world.proxy.reset();
    let ran = roll_back(&world, &good[..7]);
    let expected = [
        &bad[..7],
        &good[..7],
        "rollback generation 3: 0 created, 1 updated, 0 deleted",
        "quarantined until changed: production/worker.api",
    ];
    for part in expected {
        assert!(ran.out.contains(part), "{part}: {ran:?}");
    }
    assert_greets(&world, "hello").await;
    assert_eq!(world.proxy.writes().len(), 2, "a version and its deployment: {:?}", world.proxy.writes());
    let held = wait_held(&world, &bad).await;
    let wanted = format!("held: production/worker.api still as in main@sha1:{}, which was rolled back by ada", &bad[..7]);
    assert!(held.starts_with(&wanted) && held.contains("`trunkline resume production`"), "{held}");
    let status = world.status("production");
    assert_eq!(status["applied"], format!("main@sha1:{good}").as_str());
    assert_eq!(status["quarantined"], serde_json::json!(["production/worker.api"]));
    assert_eq!((&status["generation"]["kind"], &status["generation"]["number"]), (&Value::from("rollback"), &Value::from(3)));

    let lines = history(&world);
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].contains("#3    rollback main@sha1:") && lines[0].contains(&good[..7]), "{lines:?}");
    let generations: Value = serde_json::from_str(&world.trunkline(&["history", "production", "--output", "json"]).out).unwrap();
    assert_eq!(generations["generations"][0]["generation"]["kind"], "rollback");
    assert_eq!(daemon.terminate(), 0, "{}", world.log());

    // In Git as well: on the commit that runs again, and as the ref of what runs.
    let remote = world.path("remote.git");
    let notes = world.git_in(&remote, &["notes", "--ref=trunkline", "show", &good]);
    let notes: Vec<Value> = notes.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| notes.iter().find(|note| note["kind"] == kind).unwrap();
    assert_eq!((notes.len(), &of("apply")["generation"], &of("rollback")["generation"]), (2, &1.into(), &3.into()));
    let applied = world.git_in(&remote, &["rev-parse", "refs/trunkline/applied/default/production"]);
    assert_eq!(applied.trim(), good);

    // The same head is held in the plan too, and by an apply.
    let planned = world.trunkline(&["plan"]);
    assert_eq!(planned.status, 1, "{planned:?}");
    assert!(planned.err.contains("this plan would not be applied: held: production/worker.api still as in"), "{planned:?}");
    world.proxy.reset();
    let applied = world.trunkline(&["apply"]);
    assert!(applied.status == 1 && applied.out.contains("held: production/worker.api still as in"), "{applied:?}");
    assert_eq!(world.proxy.writes(), [""; 0]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_daemon_the_command_does_it_itself_and_it_survives_a_restart() {
    let (world, good, bad) = good_and_bad().await;
    roll_back(&world, &format!("main@sha1:{}", &good[..10]));
    assert_greets(&world, "hello").await;
    for _ in 0..2 {
        let mut daemon = world.daemon();
        wait_held(&world, &bad).await;
        tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
        assert_greets(&world, "hello").await;
        daemon.kill();
    }
    assert_eq!(history(&world).len(), 3);
    // The one before what runs needs no name; a second time there is none left.
    let ran = world.trunkline(&["rollback", "production"]);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.err.contains("before what runs") && ran.err.contains("  hint: "), "{ran:?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_rolled_back_to_is_told_and_nothing_changes() {
    let world = World::with_production().await;
    let first = world.head();
    world.apply();
    let refused = |arguments: &[&str], says: &[&str]| {
        let ran = world.trunkline(arguments);
        println!("-----\n{}", ran.err);
        assert_eq!((ran.status, ran.out.as_str()), (1, ""), "{ran:?}");
        for part in says {
            assert!(ran.err.contains(part), "{part}: {ran:?}");
        }
    };
    refused(&["rollback", "production"], &["nothing was applied in production before what runs", "  hint: "]);
    refused(&["rollback", "production", "--to", &first], &["is what runs in production already"]);
    refused(&["rollback", "staging"], &["staging has no recorded generation", "  hint: "]);

    greet(&world, "hello", "second");
    world.commit("Second");
    world.apply();
    world.proxy.reset();
    let unknown = ["deadbeef", "HEAD~1", "main", "", "zzzz", "'; DROP TABLE generation", "../../x"];
    for daemon in [false, true] {
        let mut daemon = daemon.then(|| world.daemon());
        if daemon.is_some() {
            world.wait_ready("production", &world.head()).await;
        }
        for to in unknown {
            refused(
                &["rollback", "production", "--to", to],
                &["no applied generation of production is of revision", "  hint: `trunkline history production`"],
            );
        }
        refused(&["rollback", "production", "--to", &world.head()], &["is what runs in production already"]);
        if let Some(daemon) = &mut daemon {
            assert_eq!(daemon.terminate(), 0, "{}", world.log());
        }
    }
    assert_greets(&world, "second").await;
    assert_eq!(world.proxy.writes(), [""; 0]);
    assert_eq!(history(&world).len(), 2);
    world.assert_converged();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn digits_that_fit_two_recorded_revisions_are_refused() {
    let world = World::with_production().await;
    world.apply();
    // A chain so long that two of its commits begin with the same four digits.
    let text = std::fs::read_to_string(world.path("clone").join(FILE)).unwrap();
    let mut stream = String::new();
    for n in 0..2_000 {
        let text = text.replace("GREETING = \"hello\"", &format!("GREETING = \"{n}\""));
        let from = if n == 0 { "from refs/heads/main^0\n" } else { "" };
        stream += &format!("commit refs/heads/chain\ncommitter Ada <ada@example.com> {n} +0000\ndata 1\nx\n{from}");
        stream += &format!("M 100644 inline {FILE}\ndata {}\n{text}\n", text.len());
    }
    let mut import = Command::new("git")
        .args(["fast-import", "--quiet"])
        .current_dir(world.path("clone"))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    import.stdin.take().unwrap().write_all(stream.as_bytes()).unwrap();
    assert!(import.wait().unwrap().success());
    let chain = world.git(&["rev-list", "--reverse", "main..chain"]);
    let chain: Vec<&str> = chain.lines().collect();
    let alike = |at: usize| chain[..at].iter().find(|earlier| earlier[..4] == chain[at][..4]);
    let (first, second) = (1..chain.len()).find_map(|at| Some((*alike(at)?, chain[at]))).expect("two that begin alike");
    for id in [first, second] {
        world.git(&["push", "--quiet", "origin", &format!("{id}:refs/heads/main")]);
        world.apply();
    }
    for (digits, says) in [(4, "is the beginning of more than one recorded revision"), (3, "no applied generation")] {
        let ran = world.trunkline(&["rollback", "production", "--to", &first[..digits]]);
        println!("{}", ran.err);
        assert_eq!((ran.status, ran.out.as_str()), (1, ""), "{ran:?}");
        assert!(ran.err.contains(says) && ran.err.contains("digits"), "{ran:?}");
    }
    assert_eq!(history(&world).len(), 3);
    roll_back(&world, first);
    assert_greets(&world, &chain.iter().position(|id| *id == first).unwrap().to_string()).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_is_judged_by_the_rules_of_now() {
    let world = World::with_production().await;
    let open = world.head();
    world.apply();
    world.edit(FILE, "mode = \"0640\"", "mode = \"0600\"");
    world.write(
        "policies/mode.rego",
        r#"package trunkline.mode

deny contains {"address": resource.address, "msg": sprintf("mode %s in a %s", [resource.properties.mode, input.kind])} if {
	some resource in input.desired.resources
	resource.kind == "file"
	resource.properties.mode == "0640"
}
"#,
    );
    world.commit("Closed, and kept so by a rule");
    world.apply();
    world.proxy.reset();
    let ran = world.trunkline(&["rollback", "production", "--to", &open]);
    println!("{}", ran.err);
    assert_eq!((ran.status, ran.out.as_str()), (1, ""), "{ran:?}");
    assert!(ran.err.contains("denied: production/file.engine: mode 0640 in a rollback"), "{ran:?}");
    assert_eq!(world.proxy.writes(), [""; 0]);
    assert_eq!(history(&world).len(), 2);
    let mode = std::os::unix::fs::PermissionsExt::mode(&world.host("/etc/engine/engine.conf").metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(world.status("production")["quarantined"], serde_json::json!([]), "nothing was rolled back");
    world.assert_converged();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_those_of_the_revision() {
    let world = World::with_production().await;
    let good = world.head();
    world.apply();
    world.set_secret("production", "password", "a bad password");
    let bad = world.commit("A bad password");
    world.apply();
    let engine = || std::fs::read_to_string(world.host("/etc/engine/engine.conf")).unwrap();
    assert_eq!(engine(), "greeting = hello\npassword = a bad password\n");
    let mut daemon = world.daemon();
    world.wait_ready("production", &bad).await;
    let ran = roll_back(&world, &good);
    assert!(!format!("{ran:?}").contains("password-of-the-file") && !format!("{ran:?}").contains("a bad password"), "{ran:?}");
    assert_eq!(engine(), "greeting = hello\npassword = password-of-the-file\n");
    let held = wait_held(&world, &bad).await;
    assert!(held.contains("production/file.engine"), "{held}");
    // The same value, sealed anew, is the same fault; another one is not.
    world.set_secret("production", "password", "a bad password");
    let same = world.commit("The bad password, sealed anew");
    wait_held(&world, &same).await;
    assert_eq!(engine(), "greeting = hello\npassword = password-of-the-file\n");
    world.set_secret("production", "password", "a better password");
    let better = world.commit("A better password");
    world.wait_ready("production", &better).await;
    assert_eq!(engine(), "greeting = hello\npassword = a better password\n");
    assert_eq!(daemon.terminate(), 0, "{}", world.log());
    world.end().await;
}
