//! What no order may do: leave the root, follow a link, wait for a pipe, run a shell.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use trunkline::model::Observed;
use trunkline::plan::{Action, Precondition};
use trunkline::provider::{Outcome, Provider};

use super::stage::{Stage, done, file, shown, tree};

fn canary(folder: &Path) -> std::path::PathBuf {
    let canary = folder.join("canary");
    std::fs::create_dir(&canary).unwrap();
    std::fs::write(canary.join("a"), "untouched").unwrap();
    canary
}

fn untouched(canary: &Path) {
    assert_eq!(tree(canary).into_keys().collect::<Vec<_>>(), ["a"]);
    assert_eq!(std::fs::read_to_string(canary.join("a")).unwrap(), "untouched");
}

async fn refused(stage: &Stage, path: &str) -> String {
    let create = stage.order_of("x", Action::Create, Precondition::Absent, Some(&file(path, "evil")), path);
    let outcome = stage.carry_out(create).await;
    assert!(matches!(outcome, Outcome::Refused(_)), "{path}: {}", shown(&outcome));
    let delete = stage.order_of("x", Action::Delete, Precondition::Fingerprint(String::new()), None, path);
    let outcome = stage.carry_out(delete).await;
    assert!(matches!(outcome, Outcome::Refused(_)), "{path}: {}", shown(&outcome));
    match stage.observe("x", None, path).await {
        Observed::Unknown(reason) => reason,
        other => panic!("{path}: {other:?}"),
    }
}

#[tokio::test]
async fn paths_that_leave_the_root_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let canary = canary(folder.path());
    let root = folder.path().join("root");
    std::fs::create_dir(&root).unwrap();
    let stage = Stage::new(&root, "production");
    for path in [
        "/../canary/a",
        "../canary/a",
        "/etc/../../canary/a",
        "canary/a",
        "/",
        "",
        "/etc//a",
        "/./a",
        "/a\0b",
        "/a\nb",
        "/proc/self/mem",
        "/var/lib/trunkline/default/production/manifest.json",
    ] {
        refused(&stage, path).await;
    }
    untouched(&canary);
}

#[tokio::test]
async fn links_pipes_and_folders_in_the_way_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let canary = canary(folder.path());
    let root = folder.path().join("root");
    std::fs::create_dir_all(root.join("etc/folder")).unwrap();
    let stage = Stage::new(&root, "production");
    symlink(&canary, root.join("etc/parent")).unwrap();
    symlink("../../canary", root.join("etc/relative")).unwrap();
    symlink(canary.join("a"), root.join("etc/link")).unwrap();
    symlink(canary.join("new"), root.join("etc/dangling")).unwrap();
    std::fs::hard_link(canary.join("a"), root.join("etc/hard")).unwrap();
    let fifo = root.join("etc/fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for (path, what) in [
        ("/etc/parent/a", "`/etc/parent` is a symbolic link"),
        ("/etc/parent/new/deep", "`/etc/parent` is a symbolic link"),
        ("/etc/relative/a", "`/etc/relative` is a symbolic link"),
        ("/etc/link", "is a symbolic link"),
        ("/etc/dangling", "is a symbolic link"),
        ("/etc/hard", "2 hard links"),
        ("/etc/fifo", "is a named pipe"),
        ("/etc/fifo/a", "`/etc/fifo` is a named pipe"),
        ("/etc/folder", "is a folder"),
    ] {
        let begun = std::time::Instant::now();
        let reason = refused(&stage, path).await;
        assert!(reason.contains(what), "{path}: {reason}");
        assert!(begun.elapsed().as_secs() < 10, "{path} took {:?}", begun.elapsed());
    }
    untouched(&canary);
}

#[tokio::test]
async fn our_file_turned_into_a_link_is_not_written_through() {
    let folder = tempfile::tempdir().unwrap();
    let canary = canary(folder.path());
    let root = folder.path().join("root");
    std::fs::create_dir(&root).unwrap();
    let mut stage = Stage::new(&root, "production");
    stage.apply("x", &file("/etc/a", "one")).await;
    let order = stage.order("x", &file("/etc/a", "two")).await;
    std::fs::remove_file(stage.at("/etc/a")).unwrap();
    symlink(canary.join("a"), stage.at("/etc/a")).unwrap();
    let outcome = stage.carry_out(order).await;
    assert!(matches!(outcome, Outcome::Refused(_)), "{}", shown(&outcome));
    refused(&stage, "/etc/a").await;
    untouched(&canary);
}

/// A thread turns the parent into a link to the canary and back, as fast as it can, while orders are carried out.
#[tokio::test]
async fn a_parent_swapped_in_mid_flight_leads_nowhere_else() {
    const ROUNDS: usize = 1200;
    let folder = tempfile::tempdir().unwrap();
    let canary = canary(folder.path());
    let root = folder.path().join("root");
    std::fs::create_dir_all(root.join("srv/parent")).unwrap();
    std::fs::write(root.join("srv/parent/a"), "start").unwrap();
    let stage = Stage::new(&root, "production");

    let stop = Arc::new(AtomicBool::new(false));
    let swapper = std::thread::spawn({
        let (stop, root, canary) = (stop.clone(), root.clone(), canary.clone());
        move || {
            let (parent, other) = (root.join("srv/parent"), root.join("srv/other"));
            symlink(&canary, &other).unwrap();
            let mut swaps = 0_usize;
            while !stop.load(Ordering::Relaxed) {
                renameat_with(CWD, &parent, CWD, &other, RenameFlags::EXCHANGE).unwrap();
                std::thread::yield_now();
                swaps += 1;
            }
            swaps
        }
    });
    let (mut done, mut stopped) = (0, 0);
    for round in 0..ROUNDS {
        let wanted = file("/srv/parent/a", &round.to_string());
        let order = match stage.observe("a", Some(&wanted.spec), "/srv/parent/a").await {
            Observed::Present(present) => {
                let precondition = Precondition::Fingerprint(present.fingerprint.clone());
                stage.order_of("a", Action::Update, precondition, Some(&wanted), "/srv/parent/a")
            }
            Observed::Absent => stage.order_of("a", Action::Create, Precondition::Absent, Some(&wanted), "/srv/parent/a"),
            Observed::Unknown(_) => {
                stopped += 1;
                continue;
            }
        };
        match stage.carry_out(order).await {
            Outcome::Done(_) => done += 1,
            _ => stopped += 1,
        }
    }
    stop.store(true, Ordering::Relaxed);
    let swaps = swapper.join().unwrap();
    untouched(&canary);
    assert!(done > 0 && stopped > 0, "the race was not run: {done} done, {stopped} stopped, {swaps} swaps");
    assert!(swaps > 100, "{swaps} swaps");
}

#[tokio::test]
async fn values_of_definitions_are_never_part_of_a_command() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    std::fs::create_dir(&root).unwrap();
    let mut stage = Stage::new(&root, "production");
    let canary = folder.path().join("planted");
    for (n, payload) in
        [";touch $C", "$(touch $C)", "`touch $C`", "|touch $C", "&&touch $C", "-rf", "${IFS}touch${IFS}$C", "'\"\\"]
            .iter()
            .enumerate()
    {
        let payload = payload.replace("$C", canary.to_str().unwrap()).replace('/', "\u{2215}");
        let path = format!("/srv/{payload}");
        stage.apply(&format!("x-{n}"), &file(&path, &payload).validate(&["test", "-f", "{}"])).await;
        let argv = ["test", payload.as_str(), "=", payload.as_str()];
        stage.apply(&format!("y-{n}"), &file(&format!("/srv/y-{n}"), "y").validate(&argv)).await;
        for owner in [payload.as_str(), "no-such-user"] {
            let order = stage.order("z", &file("/srv/z", "z").owner(owner, "root")).await;
            match stage.carry_out(order).await {
                Outcome::Refused(error) => assert!(error.hint.is_some(), "{error}"),
                other => panic!("{}", shown(&other)),
            }
        }
    }
    assert!(!canary.exists());
    assert_eq!(tree(folder.path()).into_keys().filter(|name| name.contains("planted") && !name.contains('\u{2215}')).count(), 0);
}

#[tokio::test]
async fn setuid_is_not_given() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(folder.path(), "production");
    for mode in [0o4755, 0o2755, 0o1777] {
        let order = stage.order("a", &file("/usr/a", "a").mode(mode)).await;
        let outcome = stage.carry_out(order).await;
        assert!(matches!(outcome, Outcome::Refused(_)), "{}", shown(&outcome));
    }
    assert!(!stage.at("/usr").exists());
}

#[tokio::test]
async fn a_host_without_its_root_is_an_error_and_not_an_empty_host() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(&folder.path().join("missing"), "production");
    let error = stage.provider.observe(&Default::default()).await.unwrap_err();
    assert!(error.to_string().contains("cannot be opened") && error.hint.is_some(), "{error}");
    let outcome = stage.carry_out(stage.order_of("a", Action::Create, Precondition::Absent, Some(&file("/a", "a")), "/a")).await;
    assert!(matches!(outcome, Outcome::Refused(_)), "{}", shown(&outcome));
    assert!(!folder.path().join("missing").exists());
}

#[tokio::test]
async fn a_broken_manifest_stops_everything_and_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(folder.path(), "production");
    stage.apply("a", &file("/etc/a", "one")).await;
    let manifest = "/var/lib/trunkline/default/production/manifest.json";
    let good = stage.read(manifest);
    for broken in ["", "{\"secret\":", "[]", &good.replace("\"format\": 2", "\"format\": 3")] {
        stage.write(manifest, broken);
        assert!(stage.provider.observe(&Default::default()).await.is_err());
        let order = stage.order_of("b", Action::Create, Precondition::Absent, Some(&file("/etc/b", "b")), "/etc/b");
        let outcome = stage.carry_out(order).await;
        assert!(matches!(outcome, Outcome::Refused(_)), "{}", shown(&outcome));
        assert_eq!(stage.read(manifest), broken);
    }
    stage.write(manifest, &good);
    stage.apply("a", &file("/etc/a", "two")).await;
}

#[tokio::test]
async fn a_lost_manifest_loses_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(folder.path(), "production");
    stage.apply("a", &file("/etc/a", "one")).await;
    std::fs::remove_dir_all(stage.at("/var/lib/trunkline")).unwrap();
    // Without a manifest it is not known to be ours: it is not deleted. The inventory knows it, so that it is changed.
    let outcome = stage.carry_out(stage.deletion("a", "/etc/a").await).await;
    assert!(matches!(outcome, Outcome::Conflict(_)), "{}", shown(&outcome));
    stage.apply("a", &file("/etc/a", "two")).await;
    done(stage.carry_out(stage.deletion("a", "/etc/a").await).await);
}

#[tokio::test]
async fn a_state_folder_that_others_can_write_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(folder.path(), "production");
    stage.apply("a", &file("/etc/a", "one")).await;
    for (command, argument) in [("chmod", "777"), ("chown", "33")] {
        assert!(
            std::process::Command::new(command).arg(argument).arg(stage.at("/var/lib/trunkline")).status().unwrap().success()
        );
        let error = stage.provider.observe(&Default::default()).await.unwrap_err();
        assert!(error.to_string().contains("others can write to it"), "{error}");
        assert!(std::process::Command::new("chmod").arg("700").arg(stage.at("/var/lib/trunkline")).status().unwrap().success());
    }
}
