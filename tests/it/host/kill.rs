//! A killed executor. The validate command of an order copies the whole host while the order is carried out: the copy is
//! what a host looks like whose executor was killed at that instant.

use std::path::{Path, PathBuf};

use trunkline::model::{Marker, placeholder};
use trunkline::plan::{Action, Precondition};

use super::stage::{File, Stage, done, file, managed};

/// Carries out `wanted` and returns the copy of the host that was made meanwhile, with the order's marker.
async fn killed(folder: &Path, stage: &Stage, name: &str, wanted: File) -> (PathBuf, Marker) {
    let copy = folder.join(format!("copy-{}", uuid::Uuid::now_v7()));
    let script = format!("cp -a {} {}", stage.root.display(), copy.display());
    let order = stage.order(name, &wanted.validate(&["sh", "-c", &script])).await;
    let marker = order.marker.clone();
    done(stage.carry_out(order).await);
    assert!(copy.exists());
    (copy, marker)
}

fn candidates(root: &Path) -> Vec<String> {
    managed(root).into_keys().filter(|name| name.ends_with(".trunkline")).collect()
}

fn secret_file(path: &str) -> File {
    file(path, &format!("p={}", placeholder("db-password"))).mode(0o600).secret("db-password")
}

/// As a new daemon on the copied host, with the same identity and inventory.
fn after(stage: &Stage, copy: &Path) -> Stage {
    let mut after = Stage::with_secrets(copy, stage.environment.clone(), stage.secrets.clone());
    after.owned = stage.owned.clone();
    after
}

#[tokio::test]
async fn killed_before_the_rename_nothing_happened_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    std::fs::create_dir(&root).unwrap();
    let mut stage = Stage::new(&root, "production");
    for (name, wanted) in [("plain", file("/srv/deep/plain", "one")), ("secret", secret_file("/srv/secret"))] {
        let path = wanted.spec.path.clone();
        let (copy, _) = killed(folder.path(), &stage, name, wanted.clone()).await;
        assert_eq!(candidates(&copy).len(), 1, "the control: a candidate was there");
        let mut after = after(&stage, &copy);
        assert_eq!(after.observe(name, Some(&wanted.spec), &path).await, trunkline::model::Observed::Absent);
        assert_eq!(candidates(&copy), [""; 0], "a look cleans up");
        assert!(!copy.join("srv/deep").exists(), "and removes the folder that was made for it");
        after.apply(name, &wanted).await;
        std::fs::remove_dir_all(stage.at("/srv")).unwrap();
    }

    stage.apply("update", &file("/etc/a", "old")).await;
    let (copy, _) = killed(folder.path(), &stage, "update", file("/etc/a", "new")).await;
    let mut after = after(&stage, &copy);
    assert_eq!(candidates(&copy).len(), 1);
    // Without a look: the next apply cleans up as well.
    let other = file("/etc/other", "other");
    done(after.carry_out(after.order_of("other", Action::Create, Precondition::Absent, Some(&other), "/etc/other")).await);
    assert_eq!(candidates(&copy), [""; 0]);
    assert_eq!(after.read("/etc/a"), "old");
    after.apply("update", &file("/etc/a", "new")).await;
}

#[tokio::test]
async fn killed_after_the_rename_the_file_is_ours_with_its_marker() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    std::fs::create_dir(&root).unwrap();
    let mut stage = Stage::new(&root, "production");
    stage.apply("update", &file("/etc/update", "old")).await;
    let cases = [
        ("plain", file("/srv/deep/plain", "one").mode(0o600)),
        ("secret", secret_file("/srv/secret")),
        ("update", file("/etc/update", "new").mode(0o600)),
    ];
    for (name, wanted) in cases {
        let path = wanted.spec.path.clone();
        let (copy, marker) = killed(folder.path(), &stage, name, wanted.clone()).await;
        // What the executor would have done next.
        let [candidate] = &candidates(&copy)[..] else { panic!("one candidate") };
        std::fs::rename(copy.join(candidate), copy.join(path.trim_start_matches('/'))).unwrap();

        let mut after = after(&stage, &copy);
        let observed = after.observe(name, Some(&wanted.spec), &path).await;
        let present = observed.present().unwrap();
        assert_eq!(present.marker, Some(marker.clone()), "the journal finds its operation");
        assert_eq!(present.owner, Some(after.key(name).address));
        let desired = trunkline::model::Spec::File(wanted.spec.clone()).properties(&after.marks(&wanted.spec));
        assert_eq!(present.properties, desired);

        // The same operation again, with the precondition of its plan, is done without a write.
        let mut again = after.order_of(name, Action::Create, Precondition::Absent, Some(&wanted), &path);
        again.marker = marker;
        let receipt = done(after.carry_out(again).await);
        assert_eq!(receipt.fingerprint, present.fingerprint);
        after.apply(name, &wanted).await;
        done(after.carry_out(after.deletion(name, &path).await).await);
        assert_eq!(copy.join("srv/deep").exists(), name != "plain", "the folder goes with the only file in it");
    }
}

#[tokio::test]
async fn a_candidate_of_somebody_else_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(folder.path(), "production");
    let foreign = "/etc/.a.0190a0b0-0000-7000-8000-000000000000.trunkline";
    stage.write(foreign, "somebody's");
    stage.apply("a", &file("/etc/a", "one")).await;
    done(stage.carry_out(stage.deletion("a", "/etc/a").await).await);
    assert_eq!(stage.read(foreign), "somebody's");
}

#[tokio::test]
async fn a_delete_that_was_carried_out_but_not_recorded_is_settled() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(folder.path(), "production");
    stage.apply("a", &file("/srv/deep/a", "one")).await;
    // The manifest with the intent, as it stood before the file went.
    let manifest = stage.at("/var/lib/trunkline/default/production/manifest.json");
    let mut json: serde_json::Value = serde_json::from_slice(&std::fs::read(&manifest).unwrap()).unwrap();
    let key = stage.key("a").to_string();
    let operation = uuid::Uuid::now_v7().to_string();
    json["pending"][&key] = serde_json::json!({
        "operation": operation, "path": "/srv/deep/a", "wanted": null, "from": null, "old": null, "folders": [], "replaced": [],
    });
    std::fs::write(&manifest, json.to_string()).unwrap();
    let still = stage.observe("a", None, "/srv/deep/a").await;
    assert!(still.present().is_some_and(|present| present.owner.is_some()), "not carried out: still ours");

    std::fs::write(&manifest, json.to_string()).unwrap();
    std::fs::remove_file(stage.at("/srv/deep/a")).unwrap();
    assert_eq!(stage.observe("a", None, "/srv/deep/a").await, trunkline::model::Observed::Absent);
    assert!(!stage.at("/srv").exists(), "the folders went with it");
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(&manifest).unwrap()).unwrap();
    assert_eq!(json["files"].as_object().unwrap().len(), 0);
}
