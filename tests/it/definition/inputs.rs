//! What a resolution reads, and that it reads no more.

use trunkline::definition::{Cache, resolve};
use trunkline::model::{Inputs, MemoryTree, canonical_digest};

use super::{resolved, small};

#[test]
fn only_what_was_read_counts() {
    let tree = small();
    let inputs = resolved(&tree, "p").inputs;
    let same = |changed: &MemoryTree| {
        let unchanged = inputs.unchanged(changed).unwrap();
        assert_eq!(unchanged, resolved(changed, "p").inputs.id() == inputs.id());
        unchanged
    };
    for (path, text) in [
        ("README.md", "new"),
        ("w/api/README.md", "a comment only"),
        ("w/other/i.js", "another Worker"),
        ("environments/q/a.toml", "[kv.other]"),
        ("bases/c/x.toml", "[kv.other]"),
        ("policies/base_test.rego", "package changed"),
    ] {
        let mut changed = tree.clone();
        changed.insert(path, text);
        assert!(same(&changed), "{path} is not read");
    }
    for (path, text) in [
        ("trunkline.toml", "format = 1 # comment"),
        ("environments/p/b.toml", "[kv.x]"),
        ("environments/p/c.toml", "[kv.x]"),
        ("bases/b/kv.toml", "[kv.sessions]"),
        ("fleet/b.toml", ""),
        ("fleet/a.toml", "[host.a]\nconnect = 'local'"),
        ("w/api/i.js", "export default 1"),
        ("w/api/lib/x.js", "export const x = 2"),
        ("w/api/lib/y.js", "a new module"),
        ("f.tmpl", "changed"),
        ("g", "changed"),
        ("policies/base.rego", "package changed"),
        ("policies/more.rego", "package more"),
        ("environments/p.toml", "appears"),
    ] {
        let mut changed = tree.clone();
        changed.insert(path, text);
        assert!(!same(&changed), "{path} is read");
    }
}

#[test]
fn the_same_tree_gives_the_same_bytes_whatever_is_cached() {
    let tree = small();
    let mut cache = Cache::new();
    let environment = "p".parse().unwrap();
    let first = resolve(&tree, &environment, &mut cache).unwrap();
    let again = resolve(&tree, &environment, &mut cache).unwrap();
    let fresh = resolved(&tree, "p");
    for other in [&again, &fresh] {
        assert_eq!(first.bundle, other.bundle);
        assert_eq!(first.diagnostics, other.diagnostics);
        assert_eq!(first.inputs, other.inputs);
    }
    let digest = |bundle: &Option<trunkline::model::Bundle>| canonical_digest(&bundle.as_ref().unwrap().desired);
    assert_eq!(digest(&first.bundle), digest(&fresh.bundle));
}

#[test]
fn a_commit_that_changes_one_file_parses_one_file_and_reads_one() {
    let mut tree = small();
    for index in 0..200 {
        tree.insert(&format!("environments/p/kv-{index}.toml"), format!("[kv.k{index}]\n"));
    }
    let mut cache = Cache::new();
    let environment = "p".parse().unwrap();
    resolve(&tree, &environment, &mut cache).unwrap();
    assert_eq!(cache.parsed(), 205);
    let (parsed, read) = (cache.parsed(), cache.read());
    tree.insert("environments/p/kv-7.toml", "[kv.seven]\n");
    let resolution = resolve(&tree, &environment, &mut cache).unwrap();
    assert!(resolution.bundle.is_some());
    assert_eq!((cache.parsed() - parsed, cache.read() - read), (1, 1));
    resolve(&tree, &environment, &mut cache).unwrap();
    assert_eq!((cache.parsed() - parsed, cache.read() - read), (1, 1));
}

#[test]
fn every_byte_that_desired_state_names_is_in_the_bundle_and_no_other() {
    let bundle = resolved(&small(), "p").bundle.unwrap();
    let named: std::collections::BTreeSet<_> = bundle
        .desired
        .resources
        .values()
        .flat_map(|desired| desired.spec.contents())
        .chain(bundle.desired.policies.values().copied())
        .map(|content| content.sha256)
        .collect();
    assert_eq!(named, bundle.contents.keys().copied().collect());
}

#[test]
fn an_origin_names_file_and_line_of_every_field() {
    let mut tree = small();
    tree.insert("bases/b/worker.toml", "[worker.api]\nvars = { C = 'base' }\ntriggers = { crons = ['* * * * *'] }\n");
    let bundle = resolved(&tree, "p").bundle.unwrap();
    let desired = &bundle.desired.resources[&"p/worker.api@e".parse().unwrap()];
    let origin = &desired.origin;
    assert_eq!((origin.path.as_str(), origin.line), ("environments/p/b.toml", 4));
    let field = |name: &str| origin.fields.get(name).map(|(path, line)| (path.as_str(), *line));
    assert_eq!(field("bindings.A"), Some(("environments/p/b.toml", 7)));
    assert_eq!(field("bindings.C"), Some(("bases/b/worker.toml", 2)));
    assert_eq!(field("crons"), Some(("bases/b/worker.toml", 3)));
    assert_eq!(field("modules.lib/x.js"), Some(("w/api/lib/x.js", 1)));
    let file = &bundle.desired.resources[&"p/file.f@a".parse().unwrap()];
    assert_eq!(file.origin.fields["content"], ("f.tmpl".to_owned(), 1));
    let _: &Inputs = &resolved(&tree, "p").inputs;
}
