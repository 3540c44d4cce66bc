//! Faults of the definitions: told with file, line, column and caret, by `check` and by the daemon alike.

use super::{assert_production_untouched, assert_says, assert_staging_goes_on, turn_staging, two_environments, wait_refused};
use crate::world::World;

const FILE: &str = "environments/production/production.toml";

/// A fault, and what has to be said of it.
struct Case {
    what: &'static str,
    make: fn(&World),
    says: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        what: "broken TOML",
        make: |world| world.edit(FILE, "[file.motd]", "[file.motd"),
        says: &["environments/production/production.toml:27:11", "[file.motd", "^"],
    },
    Case {
        what: "an unknown key",
        make: |world| world.edit(FILE, "compatibility_date", "compatability_date"),
        says: &["production.toml:12:1", "unknown key `compatability_date`", "^^^^^", "did you mean `compatibility_date`"],
    },
    Case {
        what: "a cycle",
        make: |world| {
            world.edit(FILE, "KEY = { secret = \"key\" }", "KEY = { secret = \"key\" }\nLOOP = { service = \"loop\" }");
            world.write(
                "environments/production/loop.toml",
                "[worker.loop]\nmain = \"workers/api/index.js\"\ncompatibility_date = \"2026-11-01\"\nbindings = { API = { service = \"api\" } }\n",
            );
        },
        says: &[
            "these Workers need each other: worker.api -> worker.loop -> worker.api",
            "loop.toml:4:32",
            "^^^^^",
            "remove one",
        ],
    },
    Case {
        what: "a missing source file",
        make: |world| world.edit(FILE, "workers/api/index.js", "workers/api/indx.js"),
        says: &["production.toml:11:8", "workers/api/indx.js", "^"],
    },
    Case {
        what: "two files with one address",
        make: |world| {
            world.write("environments/production/second.toml", "[file.motd]\npath = \"/etc/second\"\ncontent = \"x\"\n");
        },
        says: &["second.toml:1", "file.motd", "production.toml:27", "^"],
    },
    Case {
        what: "a secret that is not there",
        make: |world| world.edit(FILE, "{ secret = \"key\" }", "{ secret = \"kye\" }"),
        says: &["production.toml:19", "kye", "^"],
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_is_told_with_its_place_and_nothing_of_its_environment_changes() {
    let world = two_environments().await;
    let mut daemon = world.daemon();
    let good = world.head();
    world.wait_ready("production", &good).await;
    world.wait_ready("staging", &good).await;
    for (turn, case) in CASES.iter().enumerate() {
        println!("===== {}", case.what);
        world.proxy.reset();
        (case.make)(&world);
        turn_staging(&world, turn + 1);
        let checked = world.trunkline(&["check", world.path("clone").to_str().unwrap()]);
        assert_eq!((checked.status, checked.out.as_str()), (1, ""), "{checked:?}");
        assert_says(&checked.err, case.says);
        let planned = world.trunkline(&["plan", "--worktree", world.path("clone").to_str().unwrap()]);
        assert_eq!(planned.status, 1, "{planned:?}");
        assert_says(&planned.err, case.says);

        let commit = world.commit(case.what);
        let message = wait_refused(&world, &commit, "invalid_definition").await;
        assert_says(&message, case.says);
        assert_staging_goes_on(&world, &commit, turn + 1).await;
        assert_production_untouched(&world).await;
        let status = world.status("production");
        assert_eq!(status["condition"], "Stalled");
        assert_eq!(status["generation"]["number"], 1, "{status}");

        // What is wrong goes away with the commit that takes it back; only staging has anything new.
        world.git(&["checkout", "--quiet", &good, "--", "environments/production"]);
        for extra in ["loop", "second"] {
            let _ = std::fs::remove_file(world.path(&format!("clone/environments/production/{extra}.toml")));
        }
        let mended = world.commit("Mend it");
        world.wait_ready("production", &mended).await;
        assert_production_untouched(&world).await;
    }
    assert_eq!(daemon.terminate(), 0, "{}", world.log());
    world.assert_converged();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_that_left_the_repository_is_held_and_not_deleted() {
    let world = two_environments().await;
    let mut daemon = world.daemon();
    let good = world.head();
    world.wait_ready("production", &good).await;
    world.wait_ready("staging", &good).await;
    world.proxy.reset();
    world.git(&["rm", "-r", "--quiet", "environments/production"]);
    turn_staging(&world, 1);
    let commit = world.commit("Production goes");
    let message = wait_refused(&world, &commit, "definition_missing").await;
    assert_says(&message, &["production is not defined at", "nothing is deleted", "retire = true"]);
    assert_staging_goes_on(&world, &commit, 1).await;
    assert_production_untouched(&world).await;
    assert_eq!(daemon.terminate(), 0, "{}", world.log());

    let planned = world.trunkline(&["plan"]);
    assert_says(&planned.err, &["production is not defined at", "nothing is deleted"]);
    let applied = world.trunkline(&["apply"]);
    assert_eq!(applied.status, 1, "{applied:?}");
    assert_says(&applied.out, &["production is not defined at"]);
    assert_production_untouched(&world).await;

    world.git(&["revert", "--no-edit", "HEAD"]);
    world.git(&["push", "--quiet"]);
    world.apply();
    assert_production_untouched(&world).await;
    world.end().await;
}
