//! What is there: on the edge, on the host, in the records; and what must hold of it at any end of a stage.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};
use trunkline::record::{GenerationState, Note, OperationState};

use super::life::{ADOPTED, Life, Stage, production};

const ACCOUNT: &str = "/accounts/00000000000000000000000000000000";

/// Looks at everything past the proxy, asserts what must hold whatever happened, and returns what must be the same
/// whether or not something was killed on the way.
pub(super) async fn seen(life: &Life, stage: Stage) -> Value {
    let world = &life.world;
    let namespaces = namespaces(life).await;
    let workers = workers(life, &namespaces).await;
    let files = files(&world.path("host"));
    let inventory = life.store().inventory(&production()).unwrap();
    let owned: BTreeMap<String, &str> = inventory.iter().map(|(key, owned)| (key.to_string(), owned.claim.as_str())).collect();

    // Nothing twice, nothing that nobody owns, nothing owned that is not there.
    let titles: Vec<&String> = namespaces.values().collect();
    assert_eq!(titles.iter().collect::<BTreeSet<_>>().len(), titles.len(), "a namespace is there twice: {titles:?}");
    let there: BTreeSet<&str> = titles.into_iter().chain(workers.keys()).chain(files.keys()).map(String::as_str).collect();
    assert_eq!(there, owned.values().copied().collect::<BTreeSet<&str>>(), "what is there is not what is owned");
    records(life, stage);

    let mut answers = Vec::new();
    for host in ["api.example.com", "v2.example.com"] {
        answers.push(world.get(host, "/").await);
        // The data of the namespace outlives every kill: each end of a stage counts one more.
        answers.push(world.get(host, "/count").await);
    }
    json!({ "namespaces": namespaces.values().collect::<BTreeSet<_>>(), "workers": workers, "files": files, "owned": owned, "answers": answers })
}

/// Title by id.
async fn namespaces(life: &Life) -> BTreeMap<String, String> {
    let list = life.world.foreign("GET", &format!("{ACCOUNT}/storage/kv/namespaces?per_page=1000"), None).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    list.as_array().unwrap().iter().map(|namespace| (text(&namespace["id"]), text(&namespace["title"]))).collect()
}

async fn workers(life: &Life, namespaces: &BTreeMap<String, String>) -> BTreeMap<String, Value> {
    let world = &life.world;
    let get = |path: String| async move { world.foreign("GET", &path, None).await };
    let mut routes = Vec::new();
    for zone in get("/zones".to_owned()).await.as_array().unwrap() {
        let of_zone = get(format!("/zones/{}/workers/routes", zone["id"].as_str().unwrap())).await;
        routes.extend(of_zone.as_array().unwrap().iter().map(|route| (route["pattern"].clone(), route["script"].clone())));
    }
    let operations = operations(life);
    let owned = life.store().inventory(&production()).unwrap();
    let mut workers = BTreeMap::new();
    for script in get(format!("{ACCOUNT}/workers/scripts")).await.as_array().unwrap() {
        let name = script["id"].as_str().unwrap();
        let path = format!("{ACCOUNT}/workers/scripts/{name}");
        let versions = get(format!("{path}/versions?per_page=100")).await["items"].as_array().unwrap().clone();
        let deployments = get(format!("{path}/deployments")).await["deployments"].as_array().unwrap().clone();
        let deployed: Vec<&Value> = deployments.iter().map(|deployment| &deployment["versions"][0]["version_id"]).collect();
        for version in &versions {
            // Each was uploaded by an operation of the journal, none twice, and none is left over.
            let Some(operation) = version["annotations"]["workers/tag"].as_str() else {
                assert_eq!(name, ADOPTED, "nobody uploaded {version}");
                continue;
            };
            assert!(operations.contains_key(operation), "no record of {operation}, which uploaded {version}");
            assert!(
                deployed.contains(&&version["id"]),
                "{version} was uploaded and left, by an operation that is {:?}",
                operations[operation]
            );
        }
        // What was adopted has one version that somebody else uploaded: it counts as one more.
        let tags: BTreeSet<_> = versions.iter().map(|version| version["annotations"]["workers/tag"].to_string()).collect();
        assert_eq!(tags.len(), versions.len(), "an operation uploaded more than one version: {versions:?}");

        let active = get(format!("{path}/versions/{}", deployed[0].as_str().unwrap())).await;
        let operation = active["annotations"]["workers/tag"].as_str().unwrap();
        let owner = owned.values().find(|owned| owned.claim == name).unwrap_or_else(|| panic!("nobody owns {name}"));
        assert!(!owner.operation.is_empty() && operations.contains_key(&owner.operation), "{owner:?}, active {operation}");
        let mut bindings = active["resources"]["bindings"].clone();
        for binding in bindings.as_array_mut().unwrap() {
            if let Some(title) = binding["namespace_id"].as_str().map(|id| namespaces[id].clone()) {
                binding["namespace_id"] = json!(title);
            }
        }
        let mine: BTreeSet<String> =
            routes.iter().filter(|(_, script)| script == name).map(|(pattern, _)| pattern.to_string()).collect();
        let worker = json!({
            "tags": script["tags"],
            "bindings": bindings,
            "compatibility_date": active["resources"]["script_runtime"]["compatibility_date"],
            "crons": get(format!("{path}/schedules")).await["schedules"].as_array().unwrap().iter().map(|s| s["cron"].clone()).collect::<Vec<_>>(),
            "workers_dev": get(format!("{path}/subdomain")).await["enabled"],
            "routes": mine,
            "versions": versions.len(),
        });
        workers.insert(name.to_owned(), worker);
    }
    assert!(routes.iter().all(|(_, script)| workers.contains_key(script.as_str().unwrap_or_default())), "{routes:?}");
    workers
}

/// How far each operation of the journal came.
fn operations(life: &Life) -> BTreeMap<String, OperationState> {
    let store = life.store();
    let generations = store.generations(&production(), usize::MAX).unwrap();
    let operations = generations.iter().flat_map(|generation| store.operations(&production(), generation.number).unwrap());
    operations.map(|operation| (operation.id, operation.state)).collect()
}

/// The files of the host but those of the executor: mode and content by path. Nothing temporary is anywhere.
fn files(root: &Path) -> BTreeMap<String, Value> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let shown = format!("/{}", entry.path().strip_prefix(root).unwrap().display());
            let name = entry.file_name().into_string().unwrap();
            assert!(!name.starts_with('.') || matches!(name.as_str(), ".lock" | ".claims"), "{shown} was left");
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else if !shown.starts_with("/var/lib/trunkline/") {
                let mode = entry.metadata().unwrap().permissions().mode() & 0o7777;
                let content = std::fs::read_to_string(entry.path()).unwrap();
                files.insert(shown, json!([format!("{mode:04o}"), content]));
            } else if name == "manifest.json" {
                let manifest: Value = serde_json::from_slice(&std::fs::read(entry.path()).unwrap()).unwrap();
                assert_eq!(manifest["pending"], json!({}), "an intent was left on the host");
            }
        }
    }
    files
}

/// Journal, generations and Git tell one story, and it has an end.
fn records(life: &Life, stage: Stage) {
    let world = &life.world;
    let database = rusqlite::Connection::open(world.path("data/store.sqlite3")).unwrap();
    let check: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    drop(database);

    let store = life.store();
    let unresolved = store.unresolved(&production()).unwrap();
    assert!(unresolved.is_empty(), "{unresolved:?}");
    let mut generations = store.generations(&production(), usize::MAX).unwrap();
    let ran = world.trunkline(&["history", "--limit", "1000", "--output", "json"]);
    let history: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(history["generations"].as_array().unwrap().len(), generations.len(), "{ran:?}");
    for row in history["generations"].as_array().unwrap() {
        assert!(row["generation"]["state"] != "applying" && row["generation"]["finished_at"].is_string(), "{row}");
    }
    generations.reverse();
    let runs = if stage == Stage::Rollback { &life.commits[0] } else { life.commits.last().unwrap() };
    let newest = generations.last().unwrap();
    assert_eq!((newest.state, &newest.revision.commit), (GenerationState::Applied, runs));
    for pair in generations.windows(2) {
        assert_eq!(pair[1].previous, Some(pair[0].hash()), "the chain is broken after generation {}", pair[0].number);
    }
    let remote = world.path("remote.git");
    for generation in &generations {
        let note = serde_json::to_string(&serde_json::to_value(Note::of(generation).unwrap()).unwrap()).unwrap();
        let notes = world.git_in(&remote, &["notes", "--ref=trunkline", "show", &generation.revision.commit]);
        assert!(notes.lines().any(|line| line == note), "the remote has no note of {generation:?}:\n{notes}");
    }
    let applied = world.git_in(&remote, &["rev-parse", "refs/trunkline/applied/default/production"]);
    assert_eq!(applied.trim(), runs);
    let branches = world.git_in(&remote, &["for-each-ref", "--format=%(refname)", "refs/heads/trunkline"]);
    let proposals = usize::from(!matches!(stage, Stage::First | Stage::Change));
    assert_eq!(branches.lines().count(), proposals, "{branches}");
    if stage != Stage::Rollback {
        world.assert_converged();
    }
}

/// What is in one and not in the other, line by line.
pub(super) fn difference(wanted: &Value, found: &Value) -> String {
    let [wanted, found] = [wanted, found].map(|value| serde_json::to_string_pretty(value).unwrap());
    similar::TextDiff::from_lines(&wanted, &found).unified_diff().header("undisturbed", "killed").to_string()
}
