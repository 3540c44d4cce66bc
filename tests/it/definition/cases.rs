//! Data cases: `tests/cases/definition/<name>/` is a repository, and `expected.txt` what is said of it: for each
//! environment its diagnostics as people see them, or what it resolves to; and what several of them claim. `UPDATE_EXPECT=1` rewrites them.

use std::fmt::Write;

use trunkline::definition::{Cache, contested, environments, resolve};
use trunkline::document::render;
use trunkline::model::{MemoryTree, Tree};

use super::{folder, rendered, repository};

fn outcome(tree: &MemoryTree) -> String {
    let (all, diagnostics) = environments(tree).unwrap();
    let mut text = render(&diagnostics, &|path| tree.read(path, 10_000_000).ok().flatten(), false);
    let mut states = Vec::new();
    for environment in all {
        let resolution = resolve(tree, &environment, &mut Cache::new()).unwrap();
        let faulty = resolution.diagnostics.iter().any(|d| d.severity == trunkline::model::Severity::Error);
        assert_eq!(resolution.bundle.is_none(), faulty, "a bundle exists if and only if there is no error");
        assert!(resolution.diagnostics.is_sorted());
        writeln!(text, "== {environment}: {}", if faulty { "faults" } else { "resolved" }).unwrap();
        text.push_str(&rendered(tree, &resolution));
        if let Some(bundle) = resolution.bundle {
            for (key, desired) in &bundle.desired.resources {
                let properties = serde_json::to_string(&desired.spec.properties(&Default::default())).unwrap();
                let needs = desired.depends_on.iter().map(|key| format!(" needs {key}")).collect::<String>();
                writeln!(text, "{key}{needs} {properties}").unwrap();
            }
            states.push(bundle.desired);
        }
    }
    let read = |path: &str| tree.read(path, 10_000_000).ok().flatten();
    let contested = contested(&states.iter().collect::<Vec<_>>(), &read);
    if !contested.is_empty() {
        text.push_str("== contested\n");
        text.push_str(&render(&contested, &read, false));
    }
    text
}

#[test]
fn each_case_is_said_what_is_expected() {
    let cases = repository().join("tests/cases/definition");
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut names: Vec<_> = std::fs::read_dir(&cases).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    assert!(names.len() >= 30, "{} cases", names.len());
    let mut failed = Vec::new();
    for case in names {
        let tree = folder(&case, &["expected.txt"]);
        let actual = outcome(&tree);
        let file = case.join("expected.txt");
        if update {
            std::fs::write(&file, &actual).unwrap();
            continue;
        }
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        if actual != expected {
            failed.push(format!("--- {}\n{}", case.display(), similar::TextDiff::from_lines(&expected, &actual).unified_diff()));
        }
    }
    assert!(failed.is_empty(), "{} cases differ (UPDATE_EXPECT=1 rewrites them)\n{}", failed.len(), failed.join("\n"));
}
