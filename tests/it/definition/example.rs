//! The example repository: free of faults, with an example of every kind, and a schema that is up to date.

use std::collections::BTreeSet;

use trunkline::definition::{environments, json_schema};
use trunkline::model::{Kind, TargetKind};

use super::{folder, rendered, repository, resolved};

#[test]
fn it_resolves_without_a_word() {
    let tree = folder(&repository().join("example-repo"), &[]);
    let (all, diagnostics) = environments(&tree).unwrap();
    assert_eq!(diagnostics, []);
    assert_eq!(all.iter().map(ToString::to_string).collect::<Vec<_>>(), ["production", "staging"]);
    for environment in all {
        let resolution = resolved(&tree, &environment.to_string());
        assert_eq!(rendered(&tree, &resolution), "");
        let desired = resolution.bundle.unwrap().desired;
        let kinds: BTreeSet<Kind> = desired.resources.keys().map(|key| key.address.kind).collect();
        // The example runs on edges and hosts: every kind that lives there has an example.
        let own = desired.targets.values().filter(|target| !matches!(target.kind, TargetKind::Cloudflare(_)));
        let takes = |kind: &Kind| own.clone().any(|target| target.kind.takes(*kind));
        assert_eq!(kinds, Kind::ALL.into_iter().filter(takes).collect(), "{environment}");
        let used = desired.used_secrets();
        assert_eq!(used, desired.secrets.keys().cloned().collect(), "{environment}: every secret is defined and used");
    }
}

#[test]
fn every_sort_of_target_has_an_example() {
    let tree = folder(&repository().join("example-repo"), &[]);
    let desired = resolved(&tree, "production").bundle.unwrap().desired;
    let has = |is: fn(&TargetKind) -> bool| desired.targets.values().any(|target| is(&target.kind));
    assert!(has(|kind| matches!(kind, TargetKind::Cloudflare(_))));
    assert!(has(|kind| matches!(kind, TargetKind::Edge(_))));
    assert!(has(|kind| matches!(kind, TargetKind::Host(_))));
    assert!(!desired.resources.keys().any(|key| key.address.name.as_str() == "scratch"), "production removes it");
}

#[test]
fn environments_share_no_name_at_any_target() {
    let tree = folder(&repository().join("example-repo"), &[]);
    let claims = |environment: &str| -> BTreeSet<(Kind, String)> {
        let desired = resolved(&tree, environment).bundle.unwrap().desired;
        // Several may want one package.
        let own = desired.resources.values().filter(|desired| !desired.spec.kind().is_shared());
        own.map(|desired| (desired.spec.kind(), desired.spec.claim().to_owned())).collect()
    };
    let (staging, production) = (claims("staging"), claims("production"));
    assert!(staging.is_disjoint(&production), "{:?}", staging.intersection(&production).collect::<Vec<_>>());
}

#[test]
fn its_schema_is_up_to_date() {
    let path = repository().join("example-repo/schema.json");
    let generated = serde_json::to_string_pretty(&json_schema()).unwrap() + "\n";
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, &generated).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == generated, "example-repo/schema.json is not what `trunkline schema` prints; UPDATE_EXPECT=1 rewrites it");
}

/// Every file names the schema for editors, by a path that leads to it.
#[test]
fn every_file_names_the_schema() {
    let root = repository().join("example-repo");
    let tree = folder(&root, &[]);
    let mut folders = vec![String::new()];
    let mut seen = 0;
    while let Some(path) = folders.pop() {
        for (name, entry) in trunkline::model::Tree::list(&tree, &path).unwrap().unwrap() {
            let child = if path.is_empty() { name } else { format!("{path}/{name}") };
            if entry.mode == trunkline::model::EntryMode::Folder {
                folders.push(child);
            } else if child.ends_with(".toml") && !child.starts_with("files/") {
                let text = std::fs::read_to_string(root.join(&child)).unwrap();
                let schema = text.lines().next().unwrap().strip_prefix("#:schema ").unwrap_or_else(|| panic!("{child}"));
                let file = root.join(&child).parent().unwrap().join(schema).canonicalize().unwrap();
                assert_eq!(file, root.join("schema.json").canonicalize().unwrap(), "{child}");
                seen += 1;
            }
        }
    }
    assert!(seen >= 10, "{seen}");
}

/// Writes `environments/*/secrets.toml` anew, with values that nobody can open: the identity is thrown away. Whoever
/// uses the example seals the values with a key of their own (`trunkline secrets set`), as the demo does.
#[test]
#[ignore = "rewrites the example's secrets; run by hand with --ignored when a secret is added"]
fn seal_the_example_secrets() {
    use std::fmt::Write as _;
    let secrets = [
        ("digest-key", "Under this value secrets are compared without being shown."),
        ("edge-token", "The token of the edge's API."),
        ("partner-key", "The key of a partner's API; a binding of worker.ads-api."),
        ("tunnel-token", "The token by which tunnel_connector.origin runs its tunnel."),
        ("database-password", "The ad engine's database; placed by files/engine.toml."),
    ];
    let recipient = age::x25519::Identity::generate().to_public();
    for environment in ["staging", "production"] {
        let mut text = "#:schema ../../schema.json\n# Encrypted values, written by `trunkline secrets set`. Those here \
                        are placeholders that nobody can open:\n# make a key with `trunkline secrets keygen` and set them anew.\n"
            .to_owned();
        for (name, comment) in secrets {
            let armored = age::encrypt_and_armor(&recipient, b"placeholder").unwrap();
            write!(text, "\n# {comment}\n[secret.{name}]\nage = \"\"\"\n{}\n\"\"\"\n", armored.trim()).unwrap();
        }
        std::fs::write(repository().join(format!("example-repo/environments/{environment}/secrets.toml")), text).unwrap();
    }
}
