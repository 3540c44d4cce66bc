//! Generated definitions: applied, imported, and resolved again they come to the same.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::scene::{apply, desired, import_as, run};
use crate::converge::scene::ACCOUNT;
use crate::world::World;

#[derive(Debug, Clone)]
enum Written {
    Kv { title: String },
    R2 { name: String, infrequent: bool },
}

fn things() -> impl Strategy<Value = Vec<Written>> {
    let title = "[ -~äß€一]{0,40}".prop_map(|title| title.trim().to_owned());
    let kv = title.prop_map(|title| Written::Kv { title });
    let r2 =
        ("[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", any::<bool>()).prop_map(|(name, infrequent)| Written::R2 { name, infrequent });
    proptest::collection::vec(prop_oneof![kv, r2], 1..12)
}

/// The definitions of case `n`, each name once.
fn definitions(world: &World, n: usize, things: &[Written]) -> String {
    let mut text = format!(
        "[cloudflare.main]\naccount_id = \"{ACCOUNT}\"\nendpoint = {:?}\napi_token = {{ credential = \"cloudflare-token\" }}\n",
        world.endpoint()
    );
    let mut names = BTreeSet::new();
    for (index, thing) in things.iter().enumerate() {
        let (kind, name) = match thing {
            Written::Kv { title } => ("kv", format!("c{n}-{title}")),
            Written::R2 { name, .. } => ("r2", format!("c{n}-{name}")),
        };
        if !names.insert((kind, name.clone())) {
            continue;
        }
        let quoted = toml::Value::from(name);
        match thing {
            Written::Kv { .. } => writeln!(text, "[kv.t{index}]\ntitle = {quoted}").unwrap(),
            Written::R2 { infrequent, .. } => {
                let class = if *infrequent { "InfrequentAccess" } else { "Standard" };
                writeln!(text, "[r2.t{index}]\nname = {quoted}\nstorage_class = \"{class}\"").unwrap();
            }
        }
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_applied_is_imported_as_it_was_written() {
    let world = World::empty().await;
    world.write("trunkline.toml", "format = 1\n");
    let mut runner = TestRunner::new(Config { cases: 12, failure_persistence: None, ..Config::default() });
    let cases = std::cell::Cell::new(0);
    let outcome = runner.run(&things(), |things| {
        let n = cases.get();
        cases.set(n + 1);
        let (made, live) = (format!("made{n}"), format!("live{n}"));
        world.write(&format!("environments/{made}/all.toml"), &definitions(&world, n, &things));
        world.commit("A case");
        apply(&world);
        let ran = import_as(&world, &live, &["--filter", &format!("c{n}-*")]);
        prop_assert_eq!(ran.status, 0, "{:?}", ran);
        prop_assert!(!ran.err.contains("Not carried"), "{}", ran.err);
        prop_assert_eq!(desired(&world, &made), desired(&world, &live));
        // Whoever takes over the same has nothing to do; two environments that claim one thing are a fault.
        let (from, aside) = (world.path(&format!("clone/environments/{made}")), world.path("aside"));
        std::fs::rename(&from, &aside).unwrap();
        let plan = run(&world, &["plan", &live, "--worktree", world.path("clone").to_str().unwrap()]);
        prop_assert_eq!(plan.status, 0, "{}{}", plan.out, plan.err);
        std::fs::rename(&aside, &from).unwrap();
        std::fs::remove_dir_all(world.path(&format!("clone/environments/{live}"))).unwrap();
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    world.end().await;
}
