//! The channel over SSH against a real sshd on loopback: what travels, what it costs, and what is said when it does not.

use std::path::Path;

use trunkline::model::{Connect, Retry};
use trunkline::plan::{Action, Precondition};
use trunkline::provider::{Outcome, Provider, ProviderError, Query, chain};

use super::site::{Site, channels};
use super::sshd::Sshd;
use crate::host::stage::{Stage, VALUE, done, file, managed, shown};

fn stage(sshd: &Sshd, root: &Path) -> Stage {
    Stage::over(root, sshd.target(root), channels(&sshd.user_key()))
}

#[tokio::test]
async fn files_converge_are_seen_to_drift_and_go() {
    let (sshd, root) = (Sshd::start(), tempfile::tempdir().unwrap());
    let mut stage = stage(&sshd, root.path());
    let config = file("/etc/engine/it's a.conf", "port = 80\n").mode(0o600).validate(&["test", "-s", "{}"]);
    stage.apply("config", &config).await;
    assert_eq!((stage.read("/etc/engine/it's a.conf").as_str(), stage.mode("/etc/engine/it's a.conf")), ("port = 80\n", 0o600));

    let secret = file("/etc/engine/key", &format!("key = {}\n", trunkline::model::placeholder("db-password")));
    stage.apply("key", &secret.secret("db-password")).await;
    assert_eq!(stage.read("/etc/engine/key"), format!("key = {VALUE}\n"));

    stage.write("/etc/engine/it's a.conf", "port = 81\n");
    let observed = stage.observe("config", Some(&config.spec), &config.spec.path).await;
    assert!(observed.present().is_some_and(|present| present.marker.is_none()), "{observed:?}");
    stage.apply("config", &config).await;
    assert_eq!(stage.read("/etc/engine/it's a.conf"), "port = 80\n");

    for (name, path) in [("config", "/etc/engine/it's a.conf"), ("key", "/etc/engine/key")] {
        done(stage.carry_out(stage.deletion(name, path).await).await);
    }
    assert!(!stage.at("/etc/engine").exists(), "{:?}", managed(root.path()));
}

#[tokio::test]
async fn a_request_is_one_command_over_a_connection_that_stays() {
    let (sshd, root) = (Sshd::start(), tempfile::tempdir().unwrap());
    let stage = stage(&sshd, root.path());
    stage.observe("a", None, "/a").await;
    let (put, made) = (sshd.commands(), sshd.connections());
    assert_eq!((made, sshd.executors().len()), (1, 1));

    let orders: Vec<_> = (0..200)
        .map(|n| {
            let file = file(&format!("/srv/{n}"), &format!("{n}\n"));
            stage.order_of(&format!("f{n}"), Action::Create, Precondition::Absent, Some(&file), &file.spec.path)
        })
        .collect();
    let outcomes = stage.provider.carry_out(&orders).await;
    assert!(outcomes.into_iter().map(done).count() == 200);
    assert_eq!(sshd.commands() - put, 1, "an apply of many files");
    let lookup = |order: &trunkline::provider::Order| trunkline::provider::Lookup {
        claim: order.change.claim.clone(),
        spec: order.spec.clone(),
        owned: None,
    };
    let instances = orders.iter().map(|order| (order.change.key.clone(), lookup(order))).collect();
    let seen = stage.provider.observe(&Query { instances, ..Query::default() }).await.unwrap();
    assert_eq!(seen.values().filter(|observed| observed.present().is_some()).count(), 200);
    assert_eq!((sshd.commands() - put, sshd.connections()), (2, made), "a look at many files");
}

#[tokio::test]
async fn an_executor_that_is_gone_or_broken_is_put_there_anew_and_old_ones_go() {
    let (sshd, root) = (Sshd::start(), tempfile::tempdir().unwrap());
    let mut stage = stage(&sshd, root.path());
    stage.apply("a", &file("/a", "a")).await;
    let [path] = sshd.executors().try_into().unwrap();
    let whole = std::fs::read(&path).unwrap();
    for broken in [&b""[..], b"#!/bin/false\n", b"\x7fELF", &whole[..whole.len() / 2]] {
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, broken).unwrap();
        stage.apply("a", &file("/a", &format!("{}", broken.len()))).await;
        assert!(std::fs::read(&path).unwrap() == whole, "after {} bytes", broken.len());
    }
    for old in ["0", "1", "2", "3", "4"] {
        let name = format!("trunkline-{}", old.repeat(64));
        std::fs::write(path.with_file_name(name), "old").unwrap();
    }
    std::fs::write(path.with_file_name("not-ours"), "x").unwrap();
    std::fs::remove_file(&path).unwrap();
    stage.apply("a", &file("/a", "again")).await;
    let left = sshd.executors();
    assert!(left.contains(&path) && left.contains(&path.with_file_name("not-ours")) && left.len() == 4, "{left:?}");
}

async fn refused(sshd: &Sshd, root: &Path, key: &Path, change: impl FnOnce(&mut trunkline::model::SshTarget)) -> ProviderError {
    let mut target = sshd.target(root);
    let Connect::Ssh(ssh) = &mut target.connect else { unreachable!() };
    change(ssh);
    let stage = Stage::over(root, target, channels(key));
    let order = stage.order_of("a", Action::Create, Precondition::Absent, Some(&file("/a", "a")), "/a");
    let outcome = stage.carry_out(order).await;
    // Certain: nothing was sent.
    assert!(matches!(outcome, Outcome::Refused(_)), "{}", shown(&outcome));
    stage.provider.observe(&Query::default()).await.unwrap_err()
}

#[tokio::test]
async fn each_way_of_having_no_connection_says_what_where_and_what_to_do() {
    let (sshd, root) = (Sshd::start(), tempfile::tempdir().unwrap());
    let (root, user, other) = (root.path(), sshd.user_key(), sshd.folder.path().join("other"));
    let mut seen = Vec::new();
    let mut told = |error: ProviderError, part: &str, retry: Retry| {
        let (line, hint) = (chain(&error), error.hint.clone().unwrap_or_default());
        assert!(format!("{line} ({hint})").contains(part), "{part}: {line} ({hint})");
        assert_eq!(error.retry, retry, "{line}");
        seen.push(line);
    };
    let pinned = refused(&sshd, root, &user, |ssh| ssh.host_key = Some(sshd.public("other"))).await;
    told(pinned, "host key that is pinned", Retry::Stalled);
    told(refused(&sshd, root, &user, |ssh| ssh.host_key = None).await, "is not known", Retry::Stalled);
    told(refused(&sshd, root, &other, |_| {}).await, "authorized keys", Retry::Stalled);
    told(refused(&sshd, root, &user, |ssh| ssh.port = Some(1)).await, "look whether sshd runs there", Retry::Transient);
    told(
        refused(&sshd, root, &user, |ssh| ssh.host = "no.such.host.invalid".to_owned()).await,
        "has no address",
        Retry::Transient,
    );
    let file = root.join("file");
    std::fs::write(&file, "").unwrap();
    let state = refused(&sshd, root, &user, |ssh| ssh.state = file.join("x")).await;
    told(state, "cannot be put on", Retry::Transient);
    assert_eq!(sshd.executors().len(), 0, "{seen:?}");
}

#[test]
fn a_connection_lost_in_mid_apply_is_settled_and_seen_before_anything_is_done_again() {
    let (sshd, root) = (Sshd::start(), tempfile::tempdir().unwrap());
    let site = Site::new(&sshd.user_key());
    let fleet = format!(
        "[host.web]\nconnect = \"ssh://{}@127.0.0.1:{}\"\nhost_key = \"{}\"\nstate = {:?}\nroot = {:?}\n",
        sshd.user(),
        sshd.port,
        sshd.public("host"),
        sshd.state(),
        root.path(),
    );
    site.write("fleet/web.toml", &fleet);
    let once = root.path().join("runs");
    let production = format!(
        "[file.first]\npath = \"/first\"\ncontent = \"1\"\n[file.slow]\npath = \"/slow\"\ncontent = \"s\"\n\
         validate = [\"sh\", \"-c\", \"echo run >> {}; sleep 4; test -s {{}}\"]\n",
        once.display()
    );
    site.write("environments/production.toml", &production);
    site.commit("Two files, one of them slow");
    let mut apply = site.start(&["apply"]);
    for _ in 0..600 {
        if once.exists() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(site.kill_connections() >= 1);
    assert!(!apply.wait().unwrap().success());
    let condition = site.condition();
    assert!(condition.starts_with("Reconciling") && condition.contains("was lost while its executor was at work"), "{condition}");
    // Nobody says that it was not done: the journal holds both as open.
    let status = site.run(&["status", "--output", "json"]).out;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["environments"][0]["unresolved"].as_array().map(Vec::len), Some(2), "{status}");
    // The executor went on to its end by itself; what it did is found, not done again.
    let slow = || std::fs::read_to_string(root.path().join("slow")).unwrap_or_default();
    for _ in 0..1200 {
        if slow() == "s" {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(slow(), "s");
    site.apply();
    assert_eq!(std::fs::read_to_string(&once).unwrap(), "run\n");
    assert!(site.condition().starts_with("Ready"), "{}", site.condition());
    assert_eq!(site.run(&["plan"]).status, Some(0));
}
