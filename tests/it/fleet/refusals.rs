//! Real hosts that do not let us: the words that an operator gets.

use std::path::Path;

use trunkline::model::{Connect, HostTarget, Retry, SshTarget};
use trunkline::plan::{Action, Precondition};
use trunkline::provider::host::Channels;
use trunkline::provider::{Outcome, Provider, ProviderError, Query, chain};

use super::bed::{Host, user_key};
use super::site::channels;
use crate::host::stage::{Stage, done, file};

fn target(host: &Host, user: &str, elevate: bool) -> HostTarget {
    let ssh = SshTarget {
        user: Some(user.to_owned()),
        host: host.address.to_string(),
        port: None,
        host_key: Some(host.key.clone()),
        elevate,
        state: "/var/lib/trunkline".into(),
    };
    HostTarget { connect: Connect::Ssh(ssh), root: None, offline: Default::default() }
}

fn stage(target: HostTarget, channels: &Channels) -> Stage {
    Stage::over(Path::new("/"), target, channels.clone())
}

async fn told(target: HostTarget, part: &str) -> ProviderError {
    let error = stage(target, &channels(&user_key())).provider.observe(&Query::default()).await.unwrap_err();
    let line = format!("{} ({})", chain(&error), error.hint.clone().unwrap_or_default());
    assert!(line.contains(part), "{part}: {line}");
    error
}

#[tokio::test]
async fn sudo_is_used_where_it_is_asked_for_and_its_refusal_is_told() {
    let host = Host::lease();
    let mut deploy = stage(target(&host, "deploy", true), &channels(&user_key()));
    deploy.apply("a", &file("/etc/engine.conf", "by deploy").owner("root", "root").mode(0o600)).await;
    assert_eq!(host.run(&["stat", "-c", "%U %a", "/etc/engine.conf"]), "root 600");
    done(deploy.carry_out(deploy.deletion("a", "/etc/engine.conf").await).await);

    let refused = told(target(&host, "plain", true), "may not become root").await;
    assert!(refused.retry == Retry::Stalled && refused.hint.unwrap().contains("sudoers.d"));
    host.run(&["rm", "-rf", "/var/lib/trunkline"]);
    told(target(&host, "plain", false), "`become = true`").await;
    host.run(&["rm", "/usr/bin/sudo"]);
    told(target(&host, "deploy", true), "there is no sudo").await;
}

#[tokio::test]
async fn a_full_disk_a_talking_shell_and_a_new_key_are_told_as_such() {
    let host = Host::lease();
    let root = || target(&host, "root", false);
    host.run(&["mkdir", "-m", "0700", "/var/lib/trunkline"]);
    host.run(&["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "none", "/var/lib/trunkline"]);
    let full = told(root(), "make room").await;
    assert!(full.retry == Retry::Transient && chain(&full).contains("No space left"), "{full:?}");
    let names = host.run(&["find", "/var/lib/trunkline", "-type", "f"]);
    assert_eq!(names, "", "what was half sent is not left");
    host.run(&["umount", "/var/lib/trunkline"]);

    host.write("/root/.bashrc", "echo welcome to the engine room");
    told(root(), "speaks before the executor does: `welcome to").await;
    host.run(&["rm", "/root/.bashrc"]);

    host.run(&["sh", "-c", "rm /etc/ssh/host; ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/host; systemctl restart ssh"]);
    let changed = told(root(), "host key that is pinned").await;
    assert_eq!(changed.retry, Retry::Stalled);
}

#[tokio::test]
async fn a_connection_that_died_while_it_was_kept_is_made_anew() {
    let host = Host::lease();
    let channels = channels(&user_key());
    let mut stage = stage(target(&host, "root", false), &channels);
    stage.apply("a", &file("/etc/a", "a")).await;
    host.restart();
    stage.apply("a", &file("/etc/a", "b")).await;
    host.run(&["pkill", "-KILL", "-f", "sshd: root"]);
    stage.apply("a", &file("/etc/a", "c")).await;
    host.restart_unseen();
    stage.apply("a", &file("/etc/a", "d")).await;
    assert_eq!(host.read("/etc/a"), "d");
}

#[tokio::test]
async fn a_cable_that_is_cut_in_mid_apply_leaves_the_outcome_open_until_it_is_seen() {
    let host = Host::lease();
    let stage = stage(target(&host, "root", false), &channels(&user_key()));
    stage.observe("slow", None, "/etc/slow").await;
    let slow = file("/etc/slow", "s").validate(&["sh", "-c", "touch /begun; sleep 3; test -s {}"]);
    let order = stage.order_of("slow", Action::Create, Precondition::Absent, Some(&slow), "/etc/slow");
    let marker = order.marker.clone();
    let cut = async {
        while !host.try_run(&["test", "-e", "/begun"]).status.success() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        host.plug(false);
    };
    let (outcome, ()) = tokio::join!(stage.carry_out(order), cut);
    assert!(matches!(&outcome, Outcome::Unknown(error) if error.retry == Retry::Transient), "{outcome:?}");
    assert!(stage.provider.settle() >= std::time::Duration::from_secs(60), "what was sent may still arrive");
    let away = stage.provider.observe(&Query::default()).await.unwrap_err();
    assert_eq!(away.retry, Retry::Transient, "{away}");
    host.plug(true);
    let observed = stage.observe("slow", Some(&slow.spec), "/etc/slow").await;
    assert_eq!(observed.present().and_then(|present| present.marker.clone()), Some(marker), "{observed:?}");
}
