//! The verb: where files go, what is never overwritten, what the exit status says.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The program in an empty environment.
fn trunkline(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
    let output = command.args(arguments).env_clear().env("HOME", folder).current_dir(folder).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

const FILE: &str = r#"{ // a comment
  "name": "api", "main": "index.js", "compatibility_date": "2026-11-01",
  "hyperdrive": [{ "binding": "PG", "id": "57b7076f58be42419276f058a8968187" }],
}"#;

fn project(root: &Path, folder: &str) {
    std::fs::create_dir_all(root.join(folder)).unwrap();
    std::fs::write(root.join(folder).join("wrangler.jsonc"), FILE).unwrap();
    std::fs::write(root.join(folder).join("index.js"), "export default { fetch: () => new Response('api') };\n").unwrap();
}

#[test]
fn what_is_written_passes_check_and_is_never_overwritten() {
    let root = tempfile::tempdir().unwrap();
    project(root.path(), "workers/api");
    let import = ["import", "wrangler", "workers/api/wrangler.jsonc"];
    let (status, out, err) = trunkline(root.path(), &import);
    assert_eq!(status, 0, "{err}");
    assert_eq!(
        out.lines().collect::<Vec<_>>(),
        ["trunkline.toml", "environments/production/targets.toml", "environments/production/api.toml"]
    );
    assert!(err.contains("workers/api/wrangler.jsonc:3: hyperdrive: the file knows its id only"), "{err}");
    assert!(err.contains("trunkline secrets set"), "{err}");
    let (status, out, err) = trunkline(root.path(), &["check"]);
    assert_eq!((status, out.contains("production: 1 instance(s), no faults")), (0, true), "{err}");

    let file = root.path().join("environments/production/api.toml");
    std::fs::write(&file, "# mine\n").unwrap();
    let (status, out, err) = trunkline(root.path(), &import);
    assert_eq!((status, out.as_str()), (1, ""), "{err}");
    assert!(err.contains("there already is environments/production/api.toml") && err.contains("--force"), "{err}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "# mine\n");
    let (status, out, err) = trunkline(root.path(), &["import", "wrangler", "workers/api/wrangler.jsonc", "--force"]);
    // Targets and settings are there: they are the repository's, and stay.
    assert_eq!((status, out.as_str()), (0, "environments/production/api.toml\n"), "{err}");
    assert!(std::fs::read_to_string(&file).unwrap().contains("[worker.api]"));
}

#[test]
fn a_file_outside_of_the_repository_is_imported_and_its_sources_are_said() {
    let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    project(elsewhere.path(), "shop");
    let file = elsewhere.path().join("shop/wrangler.jsonc").display().to_string();
    let arguments = ["import", "wrangler", &file, "--environment", "staging", "--output", "json"];
    let (status, out, err) = trunkline(root.path(), &arguments);
    assert_eq!(status, 0, "{err}");
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["version"], 1);
    assert_eq!(document["files"][2]["path"], "environments/staging/api.toml");
    assert_eq!(document["left"][0]["key"], "hyperdrive");
    let asked = document["fill_in"].as_array().unwrap();
    assert!(
        asked.iter().any(|remark| remark["reason"].as_str().unwrap().contains("copy the folder of this file to workers/api/"))
    );
    std::fs::create_dir_all(root.path().join("workers")).unwrap();
    std::fs::rename(elsewhere.path().join("shop"), root.path().join("workers/api")).unwrap();
    let (status, _, err) = trunkline(root.path(), &["check"]);
    assert_eq!(status, 0, "{err}");
}

#[test]
fn where_nothing_can_be_carried_nothing_is_written_and_the_status_says_so() {
    let root = tempfile::tempdir().unwrap();
    let cases = [
        ("broken.json", "{ \"name\": }", "broken.json:1: invalid JSON"),
        ("nothing.toml", "frobnicate = 1\n", "frobnicate: there is no `main`"),
        ("nomain.toml", "name = 'x'\nminify = true\n", "minify: there is no `main`"),
    ];
    for (name, text, says) in cases {
        std::fs::write(root.path().join(name), text).unwrap();
        let (status, out, err) = trunkline(root.path(), &["import", "wrangler", name]);
        assert_eq!((status, out.as_str()), (1, ""), "{name}: {err}");
        assert!(err.contains(says), "{name}: {err}");
    }
    let (status, _, err) = trunkline(root.path(), &["import", "wrangler", "none.toml"]);
    assert!(status == 1 && err.contains("there is no such file"), "{err}");
    assert!(!root.path().join("environments").exists() && !root.path().join("trunkline.toml").exists());
}
