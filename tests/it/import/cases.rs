//! Data cases: `tests/cases/import/<name>/` is a repository with one file of wrangler, and `expected.txt` what becomes of
//! it: the definitions, and every remark. `UPDATE_EXPECT=1` rewrites them.

use std::fmt::Write;

use trunkline::definition::{Cache, environments, resolve};
use trunkline::document::render;
use trunkline::import::{Imported, Input, wrangler};
use trunkline::model::{MemoryTree, Severity, Tree};

use crate::definition::folder;

fn read(tree: &MemoryTree, path: &str) -> Option<std::sync::Arc<[u8]>> {
    tree.read(path, 10_000_000).ok().flatten()
}

/// Where the file of wrangler is.
fn find(tree: &MemoryTree, folder: &str) -> Option<String> {
    for (name, _) in tree.list(folder).unwrap().unwrap_or_default() {
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        let found = if name.starts_with("wrangler.") { Some(path) } else { find(tree, &path) };
        if found.is_some() {
            return found;
        }
    }
    None
}

fn imported(tree: &MemoryTree) -> Imported {
    let path = find(tree, "").unwrap();
    let bytes = read(tree, &path).unwrap();
    let input = Input {
        shown: &path,
        bytes: &bytes,
        path: Some(&path),
        environment: None,
        read: &|path| read(tree, path),
        folder: &|path| tree.list(path).ok().flatten().is_some(),
    };
    wrangler(&input).unwrap()
}

fn outcome(tree: &mut MemoryTree) -> String {
    let imported = imported(tree);
    let mut text = String::new();
    for file in &imported.files {
        writeln!(text, "== {}\n{}", file.path, file.text).unwrap();
        tree.insert(&file.path, &file.text);
    }
    for (head, remarks) in [("not carried", &imported.left), ("to fill in or look at", &imported.fill_in)] {
        writeln!(text, "== {head}").unwrap();
        for remark in remarks {
            writeln!(text, "{}:{}: {}: {}", remark.path, remark.line, remark.key, remark.reason).unwrap();
        }
    }
    text
}

/// What is made must have no faults, and must come to something in each environment.
fn assert_sound(tree: &MemoryTree, case: &str) {
    let (all, diagnostics) = environments(tree).unwrap();
    assert!(diagnostics.is_empty() && !all.is_empty(), "{case}: {diagnostics:?}");
    let mut states = Vec::new();
    for environment in all {
        let resolution = resolve(tree, &environment, &mut Cache::new()).unwrap();
        let faulty = resolution.diagnostics.iter().any(|d| d.severity == Severity::Error);
        let text = render(&resolution.diagnostics, &|path| read(tree, path), false);
        assert!(!faulty && resolution.bundle.is_some(), "{case}, {environment}:\n{text}");
        states.extend(resolution.bundle.map(|bundle| bundle.desired));
    }
    let contested = trunkline::definition::contested(&states.iter().collect::<Vec<_>>(), &|path| read(tree, path));
    assert!(contested.is_empty(), "{case}: {contested:?}");
}

#[test]
fn each_file_becomes_what_is_expected_and_passes_check() {
    let cases = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/import");
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut names: Vec<_> = std::fs::read_dir(&cases).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    assert!(names.len() >= 12, "{} cases", names.len());
    let mut failed = Vec::new();
    for case in names {
        let mut tree = folder(&case, &["expected.txt"]);
        let actual = outcome(&mut tree);
        let file = case.join("expected.txt");
        if update {
            std::fs::write(&file, &actual).unwrap();
        }
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        if actual != expected {
            failed.push(format!("--- {}\n{}", case.display(), similar::TextDiff::from_lines(&expected, &actual).unified_diff()));
        }
        assert_sound(&tree, &case.display().to_string());
    }
    assert!(failed.is_empty(), "{} cases differ (UPDATE_EXPECT=1 rewrites them)\n{}", failed.len(), failed.join("\n"));
}

/// A key that is neither carried nor named would be lost in silence.
#[test]
fn no_key_is_lost() {
    let keys = [
        "name",
        "main",
        "compatibility_date",
        "compatibility_flags",
        "workers_dev",
        "preview_urls",
        "vars",
        "triggers",
        "placement",
        "limits",
        "observability",
        "assets",
        "migrations",
        "tail_consumers",
        "logpush",
        "services",
        "durable_objects",
        "analytics_engine_datasets",
        "ratelimits",
        "version_metadata",
        "ai",
        "browser",
        "kv_namespaces",
        "r2_buckets",
        "d1_databases",
        "dispatch_namespaces",
        "routes",
        "route",
        "queues",
        "hyperdrive",
        "vpc_services",
        "vpc_networks",
        "mtls_certificates",
        "secrets",
        "workflows",
        "containers",
        "pipelines",
        "vectorize",
        "send_email",
        "images",
        "unsafe",
        "previews",
        "cache",
        "never_heard_of",
    ];
    for key in keys {
        // Wrong in its sort for most of them: what is wrong is named as well.
        let text = format!("{{ \"name\": \"w\", \"main\": \"i.js\", \"{key}\": \"value-of-the-key\" }}");
        let text =
            if matches!(key, "name" | "main") { text.replace(&format!("\"{key}\": \"{}\",", &key[..1]), "") } else { text };
        let read = |path: &str| (path == "w/i.js").then(|| b"export default {}".as_slice().into());
        let input = Input {
            shown: "f",
            bytes: text.as_bytes(),
            path: Some("w/wrangler.json"),
            environment: None,
            read: &read,
            folder: &|_| true,
        };
        let imported = wrangler(&Input { shown: "w/wrangler.json", ..input }).unwrap();
        let named = imported.left.iter().chain(&imported.fill_in).any(|remark| remark.key.starts_with(key));
        let carried = imported.files.iter().any(|file| file.text.contains("value-of-the-key"));
        assert!(named || carried, "`{key}` is lost: {imported:?}");
    }
}

#[test]
fn what_cannot_be_read_is_an_error_with_its_line() {
    let read = |_: &str| None;
    for (name, text, says) in [
        ("wrangler.jsonc", "{\n  \"name\": \"x\"\n  \"main\": 1\n}", "wrangler.jsonc:2: invalid JSON"),
        ("wrangler.toml", "name = \"x\"\nmain = \n", "wrangler.toml:2: invalid TOML"),
        ("wrangler.json", "", "says nothing"),
        ("wrangler.json", "{ \"$schema\": \"x\" }", "says nothing"),
        ("wrangler.yaml", "name: x", "no file of wrangler"),
        ("wrangler.json", "\u{0}\u{1}", "invalid JSON"),
    ] {
        let input = Input { shown: name, bytes: text.as_bytes(), path: None, environment: None, read: &read, folder: &|_| true };
        let error = wrangler(&input).unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
    let input = Input {
        shown: "wrangler.json",
        bytes: b"{\"a\": \"\xff\"}",
        path: None,
        environment: None,
        read: &read,
        folder: &|_| true,
    };
    assert!(wrangler(&input).unwrap_err().to_string().contains("not UTF-8"));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() })]

    /// Whatever the file says, there is an answer, and what it writes is TOML.
    #[test]
    fn nothing_makes_it_panic(
        key in "[a-z_]{1,12}|vars|kv_namespaces|routes|env|queues|d1_databases|services|assets|durable_objects|name|main",
        value in "[\\[\\]{}:,\"a-z0-9/*._ -]{0,40}|\\[\\{\"binding\":\"[A-Z\"-é]{0,4}\",\"id\":\"[a-f\"\n]{0,4}\"\\}\\]",
    ) {
        let text = format!("{{\"name\":\"w\",\"main\":\"a.js\",\"{key}\":{value}}}");
        let read = |_: &str| Some(b"export default {}".as_slice().into());
        let input = Input { shown: "wrangler.json", bytes: text.as_bytes(), path: Some("w/wrangler.json"), environment: None, read: &read, folder: &|_| true };
        if let Ok(imported) = wrangler(&input) {
            for file in imported.files {
                proptest::prop_assert!(file.text.parse::<toml::Table>().is_ok(), "{}", file.text);
            }
        }
    }
}
