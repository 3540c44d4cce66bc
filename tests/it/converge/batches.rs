//! Hosts in batches: the next begin when those before them are done, and where one fails they do not.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::json;

use super::scene::{changes, plan};
use crate::world::World;

const PRODUCTION: &str = "environments/production/production.toml";
const HOSTS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Looks at what it is given after a while, and notes when.
const CHECK: &str = "#!/bin/sh\necho \"begin $1\" >>LOG\nsleep 0.2\necho \"end $1\" >>LOG\ngrep -q good \"$1\"\n";

/// Six hosts, each a folder, and a file on all of them that is checked before it is in place; on `bad` hosts it is refused.
async fn world(sync: &str, bad: &[&str]) -> World {
    let world = World::empty().await;
    world.write("trunkline.toml", "format = 1\n");
    world.write("files/word", "{{ vars.greeting }}, a {{ host.vars.word }} host\n");
    let check = world.path("check");
    std::fs::write(&check, CHECK.replace("LOG", world.path("checks").to_str().unwrap())).unwrap();
    std::fs::set_permissions(&check, std::fs::Permissions::from_mode(0o755)).unwrap();
    HOSTS.iter().for_each(|host| std::fs::create_dir_all(world.path("hosts").join(host)).unwrap());
    fleet(&world, bad, &[]);
    define(&world, sync, "hello");
    world.commit("Six hosts");
    world
}

/// `away` are hosts that cannot be reached, each with what is done meanwhile.
fn fleet(world: &World, bad: &[&str], away: &[(&str, &str)]) {
    let table = |host: &&str| {
        let word = if bad.contains(host) { "bad" } else { "good" };
        let connect = match away.iter().find(|(name, _)| name == host) {
            Some((_, offline)) => format!("connect = \"ssh://root@127.0.0.1:1\"\noffline = \"{offline}\"\n"),
            None => format!("connect = \"local\"\nroot = {:?}\n", world.path("hosts").join(host)),
        };
        format!("[host.{host}]\n{connect}vars = {{ word = \"{word}\" }}\n\n")
    };
    world.write("fleet/hosts.toml", &HOSTS.iter().map(table).collect::<String>());
}

fn define(world: &World, sync: &str, greeting: &str) {
    let check = world.path("check");
    world.write(
        PRODUCTION,
        &format!(
            "[environment]\n\n[environment.sync]\n{sync}\n\n[file.word]\npath = \"/etc/word\"\ntemplate = \"files/word\"\nvars = {{ greeting = \"{greeting}\" }}\nvalidate = [{check:?}, \"{{}}\"]\n"
        ),
    );
}

/// The hosts whose file has this greeting.
fn greeted(world: &World, greeting: &str) -> Vec<&'static str> {
    let has = |host: &&&str| {
        let text = std::fs::read_to_string(world.path("hosts").join(host).join("etc/word")).unwrap_or_default();
        text.starts_with(&format!("{greeting}, "))
    };
    HOSTS.iter().filter(has).copied().collect()
}

/// What the checks noted since the last time, `begin a` or `end a`.
fn noted(world: &World) -> Vec<String> {
    let path = world.path("checks");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let _ = std::fs::remove_file(&path);
    let host = |line: &str| {
        let (word, file) = line.split_once(' ').unwrap();
        let hosts = world.path("hosts");
        let rest = std::path::Path::new(file).strip_prefix(hosts).unwrap().to_str().unwrap().to_owned();
        format!("{word} {}", rest.split('/').next().unwrap())
    };
    text.lines().map(host).collect()
}

/// Asserts that the checks of each batch were over before those of the next began.
fn in_turn(noted: &[String], batches: &[&[&str]]) {
    let mut rest = noted;
    for batch in batches {
        let (now, later) = rest.split_at(2 * batch.len());
        let mut now = now.to_vec();
        now.sort();
        let words = ["begin", "end"].iter().flat_map(|word| batch.iter().map(move |host| format!("{word} {host}")));
        assert_eq!(now, words.collect::<Vec<_>>(), "{noted:?}");
        rest = later;
    }
    assert!(rest.is_empty(), "{noted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_hosts_begin_when_those_before_them_are_done() {
    let world = world("batch = 2", &[]).await;
    let shown = plan(&world);
    assert_eq!(shown["batches"], json!([["a", "b"], ["c", "d"], ["e", "f"]]));
    let text = world.trunkline(&["plan"]).out;
    assert!(text.contains("  1. a, b\n  2. c, d\n  3. e, f\n"), "{text}");
    world.apply();
    in_turn(&noted(&world), &[&["a", "b"], &["c", "d"], &["e", "f"]]);
    world.assert_converged();

    // A share of the hosts; and which of them make a batch does not hang on what there is to do.
    define(&world, "batch = \"50%\"", "good day");
    world.commit("Halves");
    assert_eq!(plan(&world)["batches"], json!([["a", "b", "c"], ["d", "e", "f"]]));
    world.apply();
    in_turn(&noted(&world), &[&["a", "b", "c"], &["d", "e", "f"]]);
    for host in ["b", "c", "f"] {
        std::fs::write(world.path("hosts").join(host).join("etc/word"), "edited").unwrap();
    }
    assert_eq!(plan(&world)["batches"], json!([["b", "c"], ["f"]]));
    world.apply();
    in_turn(&noted(&world), &[&["b", "c"], &["f"]]);

    // Without batches there is nothing to tell.
    define(&world, "interval = \"5m\"", "good evening");
    world.commit("At once");
    assert_eq!(plan(&world)["batches"], json!([]));
    world.apply();
    assert_eq!(greeted(&world, "good evening"), HOSTS);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_one_fails_the_later_ones_are_left_and_say_why() {
    let world = world("batch = 2", &["c"]).await;
    for _ in 0..2 {
        let ran = world.trunkline(&["apply"]);
        let said = format!("{}{}", ran.out, ran.err);
        assert_eq!(ran.status, 1, "{said}");
        assert!(said.contains("`e`, `f`: left as they are, in a later batch than production/file.word@c"), "{said}");
        // None of a later batch moves up beside the one that fails, however often it is tried.
        assert_eq!(greeted(&world, "hello"), ["a", "b", "d"]);
        assert!(plan(&world)["batches"] == json!([["c"], ["e", "f"]]));
    }
    noted(&world);
    fleet(&world, &[], &[]);
    world.commit("What was wrong with it");
    world.apply();
    in_turn(&noted(&world), &[&["c"], &["e", "f"]]);
    world.assert_converged();

    // What comes back is what was before, in the same turn.
    define(&world, "batch = 2", "good day");
    world.commit("Another");
    world.apply();
    in_turn(&noted(&world), &[&["a", "b"], &["c", "d"], &["e", "f"]]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_between_two_batches_goes_on_where_it_was() {
    let world = world("batch = 2", &[]).await;
    let mut command: Command = world.command(&["apply"]);
    // Both of the first batch are recorded by then, and nothing of the second is begun.
    command.env("TRUNKLINE_BOUNDARIES", world.path("boundaries")).env("TRUNKLINE_KILL_AT", "before_intent#3");
    assert!(command.output().unwrap().status.code().is_none(), "it was killed");
    assert_eq!(greeted(&world, "hello"), ["a", "b"]);
    in_turn(&noted(&world), &[&["a", "b"]]);
    assert_eq!(changes(&world), ["c", "d", "e", "f"].map(|host| format!("create file.word@{host}")));
    world.apply();
    in_turn(&noted(&world), &[&["c", "d"], &["e", "f"]]);
    world.assert_converged();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_cannot_be_reached_holds_nobody_unless_it_is_to() {
    let world = world("batch = 2", &[]).await;
    for (offline, status, reached) in
        [("fail", 1, &[][..]), ("wait", 1, &["a", "c", "d", "e", "f"]), ("skip", 0, &["a", "c", "d", "e", "f"])]
    {
        define(&world, "batch = 2", offline);
        fleet(&world, &[], &[("b", offline)]);
        world.commit(offline);
        let ran = world.trunkline(&["apply"]);
        assert_eq!(ran.status, status, "{offline}: {ran:?}");
        assert_eq!(greeted(&world, offline), reached, "{offline}: {ran:?}");
        let noted = noted(&world);
        if reached.is_empty() {
            assert!(noted.is_empty(), "{noted:?}");
        } else {
            in_turn(&noted, &[&["a"], &["c", "d"], &["e", "f"]]);
        }
    }
    world.end().await;
}
