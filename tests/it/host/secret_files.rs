//! Files whose templates use secrets.

use std::sync::Arc;

use trunkline::model::{Digest, SecretMark, Spec, Value, placeholder};
use trunkline::plan::{Action, Precondition};
use trunkline::provider::{Outcome, Provider};

use super::stage::{File, Stage, VALUE, done, file, opener, shown};

fn with_secret(path: &str) -> File {
    let text = format!("password = \"{}\"\n", placeholder("db-password"));
    file(path, &text).mode(0o640).owner("root", "www-data").secret("db-password")
}

/// What must never be anywhere but in the file and in what is kept of it.
fn tells(text: &str) -> bool {
    let content = format!("password = \"{VALUE}\"\n");
    text.contains(VALUE) || [VALUE, &content].iter().any(|bytes| text.contains(&Digest::of(bytes.as_bytes()).to_string()))
}

#[tokio::test]
async fn the_value_is_in_the_file_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(folder.path(), "production");
    let wanted = with_secret("/etc/app/db.toml");
    let receipt = stage.apply("db", &wanted).await;
    assert_eq!(stage.read("/etc/app/db.toml"), format!("password = \"{VALUE}\"\n"));
    assert_eq!(stage.mode("/etc/app/db.toml"), 0o640);
    let Value::Table(secrets) = &receipt.properties["secrets"] else { panic!("{receipt:?}") };
    assert!(matches!(&secrets["db-password"], Value::Secret { mark: SecretMark::Hmac(_) }));

    let manifest = "/var/lib/trunkline/default/production/manifest.json";
    assert!(!stage.read(manifest).contains(VALUE));
    assert_eq!(stage.mode(manifest), 0o600);
    let observed = stage.observe("db", Some(&wanted.spec), "/etc/app/db.toml").await;
    for text in [format!("{receipt:?}"), serde_json::to_string(&observed).unwrap()] {
        assert!(!tells(&text), "{text}");
    }
    assert!(tells(&stage.read("/etc/app/db.toml")), "the control: the file itself tells");
    // The fingerprint goes into plans and the inventory: it must not be a digest that can be guessed at.
    let metadata =
        format!("{} {} 640 0 33", Digest::of(stage.read("/etc/app/db.toml").as_bytes()), stage.read("/etc/app/db.toml").len());
    assert_ne!(receipt.fingerprint, Digest::of(metadata.as_bytes()).to_string());
}

#[tokio::test]
async fn a_changed_file_with_secrets_says_only_that_it_changed() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(folder.path(), "production");
    let wanted = with_secret("/etc/db.toml");
    stage.apply("db", &wanted).await;
    let edited = format!("password = \"{VALUE}\"\n# edited");
    stage.write("/etc/db.toml", &edited);
    let observed = stage.observe("db", Some(&wanted.spec), "/etc/db.toml").await;
    let present = observed.present().unwrap();
    assert_eq!(present.properties["content"], Value::text("modified"));
    let Value::Table(secrets) = &present.properties["secrets"] else { panic!("{observed:?}") };
    assert_eq!(secrets["db-password"], Value::Secret { mark: SecretMark::Unknown });
    let text = serde_json::to_string(&observed).unwrap();
    assert!(!text.contains(&Digest::of(edited.as_bytes()).to_string()), "{text}");
    stage.apply("db", &wanted).await;

    // Also where the secret has left the definition meanwhile.
    stage.write("/etc/db.toml", &edited);
    stage.apply("db", &file("/etc/db.toml", "no password").mode(0o640).owner("root", "www-data")).await;
    // And where the file was never ours.
    stage.write("/etc/other.toml", &edited);
    let foreign = with_secret("/etc/other.toml");
    let observed = stage.observe("other", Some(&foreign.spec), "/etc/other.toml").await;
    let present = observed.present().unwrap();
    assert_eq!(present.properties["content"], Value::text("foreign"));
    let adopt = Precondition::Fingerprint(present.fingerprint.clone());
    done(stage.carry_out(stage.order_of("other", Action::Adopt, adopt, Some(&foreign), "/etc/other.toml")).await);
}

#[tokio::test]
async fn a_new_value_is_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(folder.path(), "production");
    let wanted = with_secret("/etc/db.toml");
    stage.apply("db", &wanted).await;
    let values = [("db-password", "rotated-canary-99"), ("digest-key", "0123456789abcdef")];
    let rotated = Arc::new(opener(&stage.environment, &values));
    let owned = stage.owned.clone();
    let mut stage = Stage::with_secrets(folder.path(), stage.environment, rotated);
    stage.owned = owned;
    let observed = stage.observe("db", Some(&wanted.spec), "/etc/db.toml").await;
    let desired = Spec::File(wanted.spec.clone()).properties(&stage.marks(&wanted.spec));
    assert_ne!(observed.present().unwrap().properties, desired);
    stage.apply("db", &wanted).await;
    assert_eq!(stage.read("/etc/db.toml"), "password = \"rotated-canary-99\"\n");
}

#[tokio::test]
async fn a_secret_that_cannot_be_opened_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(folder.path(), "production");
    let wanted = with_secret("/etc/db.toml");
    stage.apply("db", &wanted).await;
    // Sealed for another environment.
    let elsewhere = Arc::new(opener(&"staging".parse().unwrap(), &[("digest-key", "k")]));
    let broken = Stage::with_secrets(folder.path(), stage.environment.clone(), elsewhere);
    let orders = [broken.order("db", &wanted).await, broken.order("plain", &file("/etc/plain", "plain")).await];
    let outcomes = broken.provider.carry_out(&orders).await;
    assert!(matches!(&outcomes[0], Outcome::Refused(error) if error.hint.is_some()), "{}", shown(&outcomes[0]));
    assert!(matches!(&outcomes[1], Outcome::Done(_)), "{}", shown(&outcomes[1]));
    assert_eq!(stage.read("/etc/db.toml"), format!("password = \"{VALUE}\"\n"), "nothing is blanked");
}

#[tokio::test]
async fn the_candidate_is_never_more_open_than_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(folder.path(), "production");
    let seen = folder.path().join("seen");
    let script = format!("stat -c '%a %U' \"$1\" > {}", seen.display());
    let wanted = with_secret("/etc/db.toml").mode(0o644).validate(&["sh", "-c", &script, "sh", "{}"]);
    stage.apply("db", &wanted).await;
    assert_eq!(std::fs::read_to_string(seen).unwrap(), "600 root\n");
}

#[tokio::test]
async fn a_validate_command_cannot_tell_the_value() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(folder.path(), "production");
    for script in ["cat \"$1\"; false", "base64 \"$1\" >&2; false"] {
        let wanted = with_secret("/etc/db.toml").validate(&["sh", "-c", script, "sh", "{}"]);
        let outcome = stage.carry_out(stage.order("db", &wanted).await).await;
        let text = shown(&outcome);
        assert!(text.starts_with("refused") && text.contains("withheld"), "{text}");
        assert!(!tells(&text) && !text.contains("cGFzc3dvcmQ"), "{text}");
    }
    assert!(!stage.at("/etc").exists());
}
