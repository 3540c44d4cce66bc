//! Create, update, heal, adopt, move, delete.

use std::os::unix::fs::MetadataExt;

use trunkline::model::{Content, Value};
use trunkline::plan::{Action, Precondition};
use trunkline::provider::{Outcome, Provider};

use super::stage::{Stage, done, file, managed, shown, tree};

#[tokio::test]
async fn a_file_is_made_changed_and_deleted_and_each_time_the_next_plan_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(folder.path(), "production");
    let path = "/etc/app/conf.d/a.toml";
    assert_eq!(stage.observe("a", None, path).await, trunkline::model::Observed::Absent);
    assert!(tree(folder.path()).is_empty(), "looking writes nothing");

    stage.apply("a", &file(path, "one").mode(0o640).owner("www-data", "33")).await;
    assert_eq!((stage.read(path).as_str(), stage.mode(path)), ("one", 0o640));
    let metadata = std::fs::metadata(stage.at(path)).unwrap();
    assert_eq!((metadata.uid(), metadata.gid()), (33, 33));
    assert_eq!((stage.mode("/etc/app"), stage.mode("/etc/app/conf.d")), (0o755, 0o755));

    let first = metadata.ino();
    stage.apply("a", &file(path, "two").mode(0o666)).await;
    let metadata = std::fs::metadata(stage.at(path)).unwrap();
    assert_eq!((metadata.uid(), metadata.gid(), stage.mode(path)), (33, 33, 0o666), "the owner stays, the umask does not count");
    assert_ne!(metadata.ino(), first, "a file is replaced, never written into");

    stage.apply("a", &file(path, "").mode(0o600)).await;
    assert_eq!(stage.read(path), "");

    done(stage.carry_out(stage.deletion("a", path).await).await);
    let left = managed(folder.path());
    assert!(!left.keys().any(|name| name.starts_with("etc")), "the folders that we made are gone: {left:?}");
}

#[tokio::test]
async fn applying_what_is_there_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(folder.path(), "production");
    stage.apply("a", &file("/etc/a", "one")).await;
    let before = std::fs::metadata(stage.at("/etc/a")).unwrap();
    stage.apply("a", &file("/etc/a", "one")).await;
    let after = std::fs::metadata(stage.at("/etc/a")).unwrap();
    assert_eq!((before.ino(), before.ctime_nsec()), (after.ino(), after.ctime_nsec()));
}

#[tokio::test]
async fn many_files_are_one_request() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(folder.path(), "production");
    let count = stage.provider.batch().min(300);
    let mut orders = Vec::new();
    for n in 0..count {
        orders.push(stage.order(&format!("f-{n}"), &file(&format!("/srv/{}/{n}", n % 7), &n.to_string())).await);
    }
    let outcomes = stage.provider.carry_out(&orders).await;
    assert_eq!(outcomes.len(), count);
    for (n, outcome) in outcomes.into_iter().enumerate() {
        done(outcome);
        assert_eq!(stage.read(&format!("/srv/{}/{n}", n % 7)), n.to_string());
    }
}

#[tokio::test]
async fn of_many_files_in_one_request_each_has_its_own_end() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(folder.path(), "production");
    let path = |n: usize| format!("/srv/{}/{n}", n % 3);
    // More than are open at once, the faulty ones on both sides of that.
    let (count, refused, taken) = (450, [5, 260], [100, 320]);
    let mut orders = Vec::new();
    for n in 0..count {
        let mut one = file(&path(n), &n.to_string());
        if refused.contains(&n) {
            one = one.validate(&["false"]);
        }
        orders.push(stage.order(&format!("f-{n}"), &one).await);
    }
    for n in taken {
        std::fs::create_dir_all(stage.at(&path(n)).parent().unwrap()).unwrap();
        std::fs::write(stage.at(&path(n)), "theirs").unwrap();
    }
    let outcomes = stage.provider.carry_out(&orders).await;
    for (n, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Outcome::Refused(_) => assert!(refused.contains(&n), "{n}"),
            Outcome::Conflict(_) => assert!(taken.contains(&n), "{n}"),
            Outcome::Done(_) => assert_eq!(stage.read(&path(n)), n.to_string()),
            other => panic!("{n}: {other:?}"),
        }
    }
    let left = managed(folder.path());
    assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Done(_))).count(), count - 4);
    let files = left.keys().filter(|name| name.starts_with("srv/") && name.matches('/').count() == 2).count();
    assert_eq!(files, count - 2, "a candidate is left");
    assert!(taken.iter().all(|n| stage.read(&path(*n)) == "theirs"));
}

#[tokio::test]
async fn drift_is_seen_per_field_and_healed() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(folder.path(), "production");
    let wanted = file("/etc/a", "one").mode(0o640).owner("root", "root");
    let applied = stage.apply("a", &wanted).await;

    stage.write("/etc/a", "edited by hand");
    std::os::unix::fs::chown(stage.at("/etc/a"), Some(33), None).unwrap();
    std::process::Command::new("chmod").args(["4755"]).arg(stage.at("/etc/a")).status().unwrap();
    let observed = stage.observe("a", Some(&wanted.spec), "/etc/a").await;
    let present = observed.present().unwrap();
    assert_eq!(present.properties["content"], Value::from(Content::of(b"edited by hand")));
    assert_eq!(present.properties["mode"], Value::text("4755"));
    assert_eq!(present.properties["owner"], Value::text("www-data"));
    assert_eq!(present.properties["group"], Value::text("root"));
    assert_ne!(present.fingerprint, applied.fingerprint);
    assert_eq!(present.marker, None, "no operation of ours left it so");

    stage.apply("a", &wanted).await;
    assert_eq!((stage.read("/etc/a").as_str(), stage.mode("/etc/a")), ("one", 0o640));
    std::fs::remove_file(stage.at("/etc/a")).unwrap();
    stage.apply("a", &wanted).await;
}

#[tokio::test]
async fn each_of_content_mode_and_owner_changes_the_fingerprint() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(folder.path(), "production");
    let wanted = file("/etc/a", "one");
    let mut seen = vec![stage.apply("a", &wanted).await.fingerprint];
    for command in [["chmod", "600"], ["chown", "33"], ["chgrp", "33"], ["truncate", "-s1"]] {
        assert!(std::process::Command::new(command[0]).arg(command[1]).arg(stage.at("/etc/a")).status().unwrap().success());
        let now = stage.observe("a", Some(&wanted.spec), "/etc/a").await.present().unwrap().fingerprint.clone();
        assert!(!seen.contains(&now), "{command:?}");
        seen.push(now);
    }
}

#[tokio::test]
async fn what_changed_since_the_plan_is_a_conflict_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(folder.path(), "production");
    stage.apply("a", &file("/etc/a", "one")).await;
    let order = stage.order("a", &file("/etc/a", "two")).await;
    stage.write("/etc/a", "edited by hand");
    let outcome = stage.carry_out(order).await;
    assert!(matches!(outcome, Outcome::Conflict(_)), "{}", shown(&outcome));
    assert_eq!(stage.read("/etc/a"), "edited by hand");

    let order = stage.order("b", &file("/etc/b", "two")).await;
    stage.write("/etc/b", "came first");
    let outcome = stage.carry_out(order).await;
    assert!(matches!(outcome, Outcome::Conflict(_)), "{}", shown(&outcome));
    assert_eq!(stage.read("/etc/b"), "came first");
}

#[tokio::test]
async fn a_foreign_file_is_left_alone_until_it_is_adopted() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(folder.path(), "production");
    stage.write("/etc/a", "foreign");
    let wanted = file("/etc/a", "ours");
    let observed = stage.observe("a", Some(&wanted.spec), "/etc/a").await;
    assert_eq!(observed.present().unwrap().owner, None);

    let create = stage.order_of("a", Action::Create, Precondition::Absent, Some(&wanted), "/etc/a");
    let outcome = stage.carry_out(create).await;
    assert!(matches!(outcome, Outcome::Conflict(_)), "{}", shown(&outcome));
    let deletion = stage.deletion("a", "/etc/a").await;
    let outcome = stage.carry_out(deletion).await;
    assert!(matches!(outcome, Outcome::Conflict(_)), "{}", shown(&outcome));
    assert_eq!(stage.read("/etc/a"), "foreign");

    let fingerprint = observed.present().unwrap().fingerprint.clone();
    let adopt = stage.order_of("a", Action::Adopt, Precondition::Fingerprint(fingerprint), Some(&wanted), "/etc/a");
    done(stage.carry_out(adopt).await);
    assert_eq!(stage.read("/etc/a"), "ours");
    assert!(pre_images(&stage).contains(&"foreign".to_owned()), "what was replaced is kept");
}

#[tokio::test]
async fn what_is_deleted_must_be_as_we_left_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(folder.path(), "production");
    stage.apply("a", &file("/srv/app/a", "one")).await;
    stage.write("/srv/app/a", "edited by hand");
    // The plan saw the edit, and the fingerprint is that of the edited file.
    let outcome = stage.carry_out(stage.deletion("a", "/srv/app/a").await).await;
    assert!(matches!(outcome, Outcome::Conflict(_)), "{}", shown(&outcome));
    assert_eq!(stage.read("/srv/app/a"), "edited by hand");

    stage.apply("a", &file("/srv/app/a", "two")).await;
    stage.write("/srv/app/foreign", "not ours");
    done(stage.carry_out(stage.deletion("a", "/srv/app/a").await).await);
    assert_eq!(stage.read("/srv/app/foreign"), "not ours");
    assert!(pre_images(&stage).contains(&"two".to_owned()));
    // Deleting what is gone is done.
    done(stage.carry_out(stage.deletion("a", "/srv/app/a").await).await);
}

#[tokio::test]
async fn a_move_keeps_the_file_and_a_new_path_leaves_no_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(folder.path(), "production");
    let wanted = file("/etc/a", "one");
    stage.apply("old", &wanted).await;
    let inode = std::fs::metadata(stage.at("/etc/a")).unwrap().ino();
    let present = stage.observe("new", Some(&wanted.spec), "/etc/a").await;
    let fingerprint = present.present().unwrap().fingerprint.clone();
    let mut order = stage.order_of("new", Action::Move, Precondition::Fingerprint(fingerprint), Some(&wanted), "/etc/a");
    order.change.from = Some(stage.key("old").address);
    done(stage.carry_out(order).await);
    assert_eq!(std::fs::metadata(stage.at("/etc/a")).unwrap().ino(), inode);
    let present = stage.observe("new", Some(&wanted.spec), "/etc/a").await;
    assert_eq!(present.present().unwrap().owner, Some(stage.key("new").address));

    stage.apply("new", &file("/srv/deep/b", "one")).await;
    assert!(!stage.at("/etc").exists() || !stage.at("/etc/a").exists());
    assert_eq!(stage.read("/srv/deep/b"), "one");
}

#[tokio::test]
async fn ten_generations_are_kept_for_the_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(folder.path(), "production");
    for n in 0..15 {
        stage.apply("a", &file("/etc/a", &format!("version {n}"))).await;
    }
    let kept = pre_images(&stage);
    assert_eq!(kept, (4..14).map(|n| format!("version {n}")).collect::<Vec<_>>());
    // A link has no mode of its own; the folder around the claims has.
    for (name, mode) in tree(&stage.at("/var/lib/trunkline")).into_iter().filter(|(name, _)| !name.starts_with(".claims/")) {
        assert_eq!(mode & 0o077, 0, "{name} has mode {mode:04o}");
    }
    assert_eq!(stage.mode("/var/lib/trunkline"), 0o700);
}

#[tokio::test]
async fn two_environments_on_one_host_never_touch_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let mut production = Stage::new(folder.path(), "production");
    let mut staging = Stage::new(folder.path(), "acme/staging");
    production.apply("a", &file("/etc/shared/a", "production")).await;
    staging.apply("b", &file("/etc/shared/b", "staging")).await;

    let wanted = file("/etc/shared/a", "staging");
    let observed = staging.observe("a", Some(&wanted.spec), "/etc/shared/a").await;
    let present = observed.present().unwrap();
    assert_eq!(present.owner, Some(production.key("a").address));
    assert_eq!(present.marker, None);
    for action in [Action::Update, Action::Adopt] {
        let precondition = Precondition::Fingerprint(present.fingerprint.clone());
        let outcome = staging.carry_out(staging.order_of("a", action, precondition, Some(&wanted), "/etc/shared/a")).await;
        assert!(matches!(&outcome, Outcome::Conflict(m) if m.contains("`production`")), "{}", shown(&outcome));
    }
    let outcome = staging.carry_out(staging.deletion("a", "/etc/shared/a").await).await;
    assert!(matches!(outcome, Outcome::Conflict(_)), "{}", shown(&outcome));
    assert_eq!(production.read("/etc/shared/a"), "production");

    // The folder that one made stays while the other needs it.
    done(production.carry_out(production.deletion("a", "/etc/shared/a").await).await);
    assert_eq!(staging.read("/etc/shared/b"), "staging");
    done(staging.carry_out(staging.deletion("b", "/etc/shared/b").await).await);
}

#[tokio::test]
async fn a_failed_validation_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(folder.path(), "production");
    let checked = |text: &str| file("/etc/app/a", text).validate(&["grep", "-q", "good", "{}"]);
    let order = stage.order("a", &checked("bad")).await;
    let outcome = stage.carry_out(order).await;
    assert!(matches!(outcome, Outcome::Refused(_)), "{}", shown(&outcome));
    assert!(!stage.at("/etc").exists(), "no folder is left behind either: {:?}", managed(folder.path()));

    stage.apply("a", &checked("good")).await;
    let order = stage.order("a", &checked("bad")).await;
    let outcome = stage.carry_out(order).await;
    assert!(shown(&outcome).contains("did not pass `grep`"), "{}", shown(&outcome));
    assert_eq!(stage.read("/etc/app/a"), "good");
    let names: Vec<String> = managed(folder.path()).into_keys().filter(|name| name.contains(".trunkline")).collect();
    assert!(names.is_empty(), "{names:?}");
    // A command that changes its file does not get it in.
    let order = stage.order("a", &file("/etc/app/a", "good 2").validate(&["sed", "-i", "s/2/3/", "{}"])).await;
    let outcome = stage.carry_out(order).await;
    assert!(matches!(outcome, Outcome::Refused(_)), "{}", shown(&outcome));
    assert_eq!(stage.read("/etc/app/a"), "good");
}

#[tokio::test]
async fn what_changes_while_an_order_is_carried_out_is_a_conflict_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(folder.path(), "production");
    stage.apply("a", &file("/etc/a", "one")).await;
    for (name, path) in [("a", "/etc/a"), ("new", "/etc/new")] {
        // The validate command runs between the check of the precondition and the rename.
        let script = format!("echo edited > {}", stage.at(path).display());
        let order = stage.order(name, &file(path, "two").validate(&["sh", "-c", &script])).await;
        let outcome = stage.carry_out(order).await;
        assert!(matches!(outcome, Outcome::Conflict(_)), "{path}: {}", shown(&outcome));
        assert_eq!(stage.read(path), "edited\n");
    }
    let left: Vec<String> = managed(folder.path()).into_keys().filter(|name| name.starts_with("etc/")).collect();
    assert_eq!(left, ["etc/a", "etc/new"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_environments_that_want_one_path_at_once_one_gets_it() {
    let folder = tempfile::tempdir().unwrap();
    let (production, staging) = (Stage::new(folder.path(), "production"), Stage::new(folder.path(), "staging"));
    for n in 0..30 {
        let path = format!("/etc/{n}");
        let order = |stage: &Stage| {
            stage.order_of(
                &format!("f-{n}"),
                Action::Create,
                Precondition::Absent,
                Some(&file(&path, &stage.environment.to_string())),
                &path,
            )
        };
        let outcomes = tokio::join!(production.carry_out(order(&production)), staging.carry_out(order(&staging)));
        let (winner, loser) = match &outcomes {
            (Outcome::Done(_), loser) => ("production", loser),
            (loser, Outcome::Done(_)) => ("staging", loser),
            (one, other) => panic!("{} / {}", shown(one), shown(other)),
        };
        assert!(matches!(loser, Outcome::Conflict(m) if m.contains(winner)), "{}", shown(loser));
        assert_eq!(production.read(&path), winner);
    }
}

#[tokio::test]
async fn without_a_root_paths_are_those_of_the_machine_and_the_state_is_where_it_was_said() {
    let folder = tempfile::tempdir().unwrap().keep().canonicalize().unwrap();
    let mut stage = Stage::new(&folder, "production");
    stage.provider = trunkline::provider::host::connect(trunkline::provider::host::Options {
        target: trunkline::model::HostTarget {
            connect: trunkline::model::Connect::Local,
            root: None,
            offline: Default::default(),
        },
        environment: stage.environment.clone(),
        secrets: stage.secrets.clone(),
        agents: None,
        epoch: 1,
        heals: true,
        state: folder.join("state/deep"),
        channels: Default::default(),
        docker: None,
        containers: std::collections::BTreeSet::new(),
    })
    .unwrap();
    let path = folder.join("srv/a");
    let path = path.to_str().unwrap();
    stage.apply("a", &file(path, "one").validate(&["test", "-s", "{}"])).await;
    assert_eq!(std::fs::read_to_string(path).unwrap(), "one");
    assert!(folder.join("state/deep/default/production/manifest.json").exists());
    let inside = folder.join("state/deep/evil");
    let order = stage.order_of("b", Action::Create, Precondition::Absent, Some(&file("/x", "x")), "/x");
    let mut evil = order.clone();
    evil.spec = Some(trunkline::model::Spec::File(file(inside.to_str().unwrap(), "x").spec));
    let outcome = stage.carry_out(evil).await;
    assert!(matches!(outcome, Outcome::Refused(_)), "{}", shown(&outcome));
    done(stage.carry_out(stage.deletion("a", path).await).await);
    assert_eq!(managed(&folder).into_keys().filter(|name| name.starts_with("srv")).count(), 0);
    std::fs::remove_dir_all(folder).unwrap();
}

/// The bytes of all replaced files, sorted.
fn pre_images(stage: &Stage) -> Vec<String> {
    let folder = stage.at("/var/lib/trunkline/default/production/preimages");
    let texts = std::fs::read_dir(folder).unwrap().map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap());
    let mut texts: Vec<String> = texts.collect();
    texts.sort_by_key(|text| (text.len(), text.clone()));
    texts
}
