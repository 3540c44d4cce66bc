//! Whose path it is, however many environments share the host.

use trunkline::plan::{Action, Precondition};
use trunkline::provider::Outcome;

use super::stage::{Stage, done, file, shown};

const CLAIMS: &str = "/var/lib/trunkline/.claims";

/// What `stage` gets when it wants to have `path`, whatever is there.
async fn taken(stage: &Stage, path: &str) -> Outcome {
    let observed = stage.observe("wanted", None, path).await;
    let precondition = observed.present().map_or(Precondition::Absent, |p| Precondition::Fingerprint(p.fingerprint.clone()));
    stage.carry_out(stage.order_of("wanted", Action::Update, precondition, Some(&file(path, "taken")), path)).await
}

#[tokio::test]
async fn what_was_applied_before_there_were_claims_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let (mut production, staging) = (Stage::new(folder.path(), "production"), Stage::new(folder.path(), "acme/staging"));
    production.apply("a", &file("/etc/a", "production")).await;
    production.apply("b", &file("/etc/b", "production")).await;
    std::fs::remove_dir_all(production.at(CLAIMS)).unwrap();
    let observed = staging.observe("a", None, "/etc/a").await;
    assert_eq!(observed.present().unwrap().owner, Some(production.key("a").address), "also where only a look is taken");
    let outcome = taken(&staging, "/etc/a").await;
    assert!(matches!(&outcome, Outcome::Conflict(m) if m.contains("`production`")), "{}", shown(&outcome));
    // Made from the manifests, for all paths.
    assert_eq!(std::fs::read_dir(staging.at(CLAIMS)).unwrap().count(), 2);
    let outcome = taken(&staging, "/etc/b").await;
    assert!(matches!(outcome, Outcome::Conflict(_)), "{}", shown(&outcome));
}

#[tokio::test]
async fn a_path_that_was_given_up_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let (mut production, staging) = (Stage::new(folder.path(), "production"), Stage::new(folder.path(), "acme/staging"));
    production.apply("a", &file("/etc/a", "production")).await;
    let claim = std::fs::read_dir(production.at(CLAIMS)).unwrap().next().unwrap().unwrap();
    assert_eq!(std::fs::read_link(claim.path()).unwrap().to_str(), Some("default/production"));
    done(production.carry_out(production.deletion("a", "/etc/a").await).await);
    assert_eq!(std::fs::read_dir(production.at(CLAIMS)).unwrap().count(), 0);
    // As a crash leaves it: the manifest no longer has the path, and the link is still there.
    std::os::unix::fs::symlink("default/production", claim.path()).unwrap();
    done(taken(&staging, "/etc/a").await);
    assert_eq!(std::fs::read_link(claim.path()).unwrap().to_str(), Some("acme/staging"));
    let outcome = taken(&production, "/etc/a").await;
    assert!(matches!(&outcome, Outcome::Conflict(m) if m.contains("`acme/staging`")), "{}", shown(&outcome));
}

#[tokio::test]
async fn a_broken_manifest_of_another_environment_stops_only_what_it_may_have() {
    let folder = tempfile::tempdir().unwrap();
    let (mut production, mut staging) = (Stage::new(folder.path(), "production"), Stage::new(folder.path(), "staging"));
    production.apply("a", &file("/etc/a", "production")).await;
    production.write("/var/lib/trunkline/default/production/manifest.json", "{");
    staging.apply("b", &file("/etc/b", "staging")).await;
    let order = staging.order_of("a", Action::Create, Precondition::Absent, Some(&file("/etc/a", "staging")), "/etc/a");
    let outcome = staging.carry_out(order).await;
    assert!(matches!(&outcome, Outcome::Refused(_)), "{}", shown(&outcome));
    assert_eq!(production.read("/etc/a"), "production");
}
