//! Durable Objects: which classes a Worker owns, changed by migrations or by declared exports.
//!
//! Goes in: `migrations` of an upload, which are steps from one tag to the next, or `exports`, which are the whole set.
//! Comes out: the Worker with its classes, and the ids whose objects are to go. Objects are kept under an id that stays
//! when a class gets another name or another Worker.
//!
//! **Invariant:** nothing is deleted here; what is freed goes after the change is durable.

use std::collections::BTreeMap;

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::record::{Objects, Script, State, fresh_hex};
use super::answer::Refusal;
use super::upload::Metadata;

/// What an upload has changed of a Worker's classes.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// The ids of objects that nobody owns any more.
    pub(super) freed: Vec<String>,
    /// What became of declared exports; `None` where none were.
    pub(super) reconciliation: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Migrations {
    old_tag: Option<String>,
    new_tag: Option<String>,
    steps: Vec<Step>,
    #[serde(flatten)]
    only: Step,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
struct Step {
    new_classes: Vec<String>,
    new_sqlite_classes: Vec<String>,
    renamed_classes: Vec<Renamed>,
    deleted_classes: Vec<String>,
    transferred_classes: Vec<Transferred>,
}

#[derive(Debug, Clone, Deserialize)]
struct Renamed {
    from: String,
    to: String,
}

#[derive(Debug, Clone, Deserialize)]
struct Transferred {
    from: String,
    from_script: String,
    to: String,
}

#[derive(Debug, Deserialize)]
struct Export {
    #[serde(default = "durable_object")]
    r#type: String,
    storage: Option<String>,
    state: Option<String>,
    renamed_to: Option<String>,
}

fn durable_object() -> String {
    "durable-object".to_owned()
}

/// Whether a value says anything.
fn present(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => true,
    }
}

/// Applies what an upload says of classes. `script` is the Worker as it will be; it is not yet in the state.
pub(super) fn apply(state: &mut State, script: &mut Script, metadata: &Metadata) -> Result<Outcome, Refusal> {
    match (present(&metadata.migrations), present(&metadata.exports)) {
        (true, true) => Err(Refusal::bad(10021, "an upload has either `migrations` or `exports`, not both")),
        (true, false) => migrate(state, script, &metadata.migrations),
        (false, true) => reconcile(script, &metadata.exports),
        (false, false) => Ok(Outcome::default()),
    }
}

/// For a version that does not serve yet: exports may add classes, and nothing may take any away.
pub(super) fn apply_to_version(script: &mut Script, metadata: &Metadata) -> Result<Outcome, Refusal> {
    if present(&metadata.migrations) {
        let message = "migrations must be fully applied: upload and deploy the Worker in one (`wrangler deploy`)";
        return Err(Refusal::bad(10211, message));
    }
    if !present(&metadata.exports) {
        return Ok(Outcome::default());
    }
    let before = script.objects.clone();
    let outcome = reconcile(script, &metadata.exports)?;
    let kept = before.iter().all(|(class, objects)| script.objects.get(class) == Some(objects));
    match kept {
        true => Ok(outcome),
        false => {
            Err(Refusal::bad(100_402, "exports that delete or rename a class are deployed in one: use `PUT`, not a version"))
        }
    }
}

fn migrate(state: &mut State, script: &mut Script, migrations: &Value) -> Result<Outcome, Refusal> {
    let migrations: Migrations = serde_json::from_value(migrations.clone())
        .map_err(|error| Refusal::bad(10021, format!("the migrations cannot be read: {error}")))?;
    if let Some(expected) = &migrations.old_tag
        && Some(expected) != script.migration_tag.as_ref()
    {
        let current = script.migration_tag.as_deref().unwrap_or_default();
        let message =
            format!("Actor migration tag precondition failed; expected tag '{expected}', but the Worker has '{current}'");
        return Err(Refusal::new(StatusCode::PRECONDITION_FAILED, 10079, message));
    }
    let mut outcome = Outcome::default();
    let steps = if migrations.steps.is_empty() { vec![migrations.only] } else { migrations.steps };
    for step in steps {
        take_step(state, script, step, &mut outcome)?;
    }
    if migrations.new_tag.is_some() {
        script.migration_tag = migrations.new_tag;
    }
    Ok(outcome)
}

fn take_step(state: &mut State, script: &mut Script, step: Step, outcome: &mut Outcome) -> Result<(), Refusal> {
    let name = script.name.clone();
    let new = step.new_classes.into_iter().map(|class| (class, false));
    for (class, sqlite) in new.chain(step.new_sqlite_classes.into_iter().map(|class| (class, true))) {
        free(script, &class, "new-class")?;
        script.objects.insert(class, Objects { id: fresh_hex(), sqlite });
    }
    for Renamed { from, to } in step.renamed_classes {
        free(script, &to, "rename-class")?;
        let objects = script.objects.remove(&from).ok_or_else(|| no_class("rename-class", &from, &name))?;
        script.objects.insert(to, objects);
    }
    for class in step.deleted_classes {
        let objects = script.objects.remove(&class).ok_or_else(|| no_class("delete-class", &class, &name))?;
        outcome.freed.push(objects.id);
    }
    for Transferred { from, from_script, to } in step.transferred_classes {
        free(script, &to, "transfer-class")?;
        let giver = state.script_mut(&from_script).ok_or_else(|| Refusal::no_worker(&from_script))?;
        let objects = giver.objects.remove(&from).ok_or_else(|| no_class("transfer-class", &from, &from_script))?;
        script.objects.insert(to, objects);
    }
    Ok(())
}

fn free(script: &Script, class: &str, step: &str) -> Result<(), Refusal> {
    if class.is_empty() {
        return Err(Refusal::bad(10021, format!("a {step} migration names no class")));
    }
    match script.objects.contains_key(class) {
        false => Ok(()),
        true => {
            let message = format!(
                "Cannot apply {step} migration to class '{class}' that is already depended on by existing Durable Objects"
            );
            Err(Refusal::bad(10074, message))
        }
    }
}

fn no_class(step: &str, class: &str, script: &str) -> Refusal {
    let message = format!("Cannot apply {step} migration to class '{class}': the Worker `{script}` has no such Durable Objects");
    Refusal::bad(10070, message)
}

/// Brings the classes to those declared. A class that is there and not declared is a fault: it is deleted or renamed by
/// name only.
fn reconcile(script: &mut Script, exports: &Value) -> Result<Outcome, Refusal> {
    let failed = |message: String| Refusal::bad(100_402, format!("exports reconciliation failed: {message}"));
    let exports: BTreeMap<String, Export> = serde_json::from_value(exports.clone())
        .map_err(|error| Refusal::bad(10021, format!("the exports cannot be read: {error}")))?;
    let mut outcome = Outcome::default();
    let (mut created, mut deleted, mut renamed, mut removable) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let is_object = |export: &Export| export.r#type == "durable-object";
    // Renames first: a new name that is declared as live is not created then.
    for (class, export) in exports.iter().filter(|(_, export)| is_object(export)) {
        match (export.state.as_deref(), &export.renamed_to) {
            (Some("renamed"), Some(to)) => match script.objects.remove(class) {
                Some(_) if script.objects.contains_key(to) => {
                    return Err(failed(format!("`{class}` cannot be renamed to `{to}`, which has objects of its own")));
                }
                Some(objects) => {
                    script.objects.insert(to.clone(), objects);
                    renamed.push(json!({ "from": class, "to": to }));
                }
                None => removable.push(class.clone()),
            },
            (Some("renamed"), None) => return Err(failed(format!("`{class}` is renamed and does not say to what"))),
            (Some("deleted"), _) => match script.objects.remove(class) {
                Some(objects) => {
                    outcome.freed.push(objects.id);
                    deleted.push(class.clone());
                }
                None => removable.push(class.clone()),
            },
            (None | Some("live" | "created"), _) => {}
            (Some(other), _) => return Err(failed(format!("`{class}` has the state `{other}`, which this edge does not know"))),
        }
    }
    for (class, export) in
        exports.iter().filter(|(_, export)| is_object(export) && export.state.as_deref().is_none_or(|state| state == "created"))
    {
        let sqlite = export.storage.as_deref().unwrap_or("sqlite") == "sqlite";
        match script.objects.get(class) {
            Some(objects) if objects.sqlite != sqlite => {
                return Err(failed(format!("the storage of `{class}` cannot be changed once it is made")));
            }
            Some(_) => {}
            None => {
                script.objects.insert(class.clone(), Objects { id: fresh_hex(), sqlite });
                created.push(class.clone());
            }
        }
    }
    let undeclared = |class: &&String| {
        let named = exports.iter().any(|(name, export)| {
            (name == *class && export.state.as_deref().is_none_or(|state| state == "created"))
                || (export.state.is_some() && export.renamed_to.as_ref() == Some(*class))
        });
        !named
    };
    if let Some(class) = script.objects.keys().find(undeclared) {
        return Err(failed(format!("`{class}` has objects and is not among the exports; declare it as deleted or renamed")));
    }
    outcome.reconciliation = Some(json!({
        "created": created, "updated": [], "deleted": deleted, "renamed": renamed, "transferred": [], "transfer_pending": [],
        "removable_entries": removable, "warnings": [], "info": [],
    }));
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::super::scripts::new_script;
    use super::*;

    fn applied(script: &mut Script, metadata: Value) -> Result<Outcome, Refusal> {
        let metadata: Metadata = serde_json::from_value(metadata).unwrap();
        apply(&mut State::default(), script, &metadata)
    }

    #[test]
    fn objects_keep_their_id_over_a_rename_and_lose_it_with_their_class() {
        let mut script = new_script("app");
        let new = json!({ "migrations": { "new_tag": "v1", "steps": [{ "new_sqlite_classes": ["A"], "new_classes": ["B"] }] } });
        applied(&mut script, new.clone()).unwrap();
        let id = script.objects["A"].id.clone();
        assert!(applied(&mut script, new).is_err(), "the class is there");
        let wrong = json!({ "migrations": { "old_tag": "v0", "new_tag": "v2", "deleted_classes": ["A"] } });
        assert!(applied(&mut script, wrong).is_err(), "the tag is another");
        let rename =
            json!({ "migrations": { "old_tag": "v1", "new_tag": "v2", "renamed_classes": [{ "from": "A", "to": "C" }] } });
        applied(&mut script, rename).unwrap();
        assert_eq!((script.objects["C"].id.as_str(), script.migration_tag.as_deref()), (id.as_str(), Some("v2")));
        let delete = json!({ "migrations": { "old_tag": "v2", "new_tag": "v3", "deleted_classes": ["C"] } });
        assert_eq!(applied(&mut script, delete).unwrap().freed, [id]);
        assert!(script.objects.contains_key("B"));
    }

    #[test]
    fn a_class_that_is_transferred_takes_its_objects_along() {
        let (mut giver, mut taker) = (new_script("giver"), new_script("taker"));
        applied(&mut giver, json!({ "migrations": { "new_tag": "v1", "new_sqlite_classes": ["A"] } })).unwrap();
        let id = giver.objects["A"].id.clone();
        let mut state = State::default();
        state.scripts.insert("giver".into(), std::sync::Arc::new(giver));
        let transfer = json!({ "transferred_classes": [{ "from": "A", "from_script": "giver", "to": "B" }] });
        let metadata: Metadata = serde_json::from_value(json!({ "migrations": transfer })).unwrap();
        apply(&mut state, &mut taker, &metadata).unwrap();
        assert_eq!((taker.objects["B"].id.as_str(), state.scripts["giver"].objects.len()), (id.as_str(), 0));
        assert!(apply(&mut state, &mut taker, &metadata).is_err(), "it is gone from there");
    }

    #[test]
    fn declared_exports_are_the_whole_set() {
        let mut script = new_script("app");
        let object = json!({ "type": "durable-object", "storage": "sqlite" });
        let first = applied(&mut script, json!({ "exports": { "A": object } })).unwrap();
        assert_eq!(first.reconciliation.unwrap()["created"], json!(["A"]));
        let id = script.objects["A"].id.clone();
        assert!(applied(&mut script.clone(), json!({ "exports": { "B": object } })).is_err(), "A is not declared");
        let renamed = json!({ "exports": { "A": { "state": "renamed", "renamed_to": "B" }, "B": object } });
        applied(&mut script, renamed.clone()).unwrap();
        assert_eq!(script.objects["B"].id, id);
        // The same once more changes nothing and says what may be left out.
        assert_eq!(applied(&mut script, renamed).unwrap().reconciliation.unwrap()["removable_entries"], json!(["A"]));
        let deleted = applied(&mut script, json!({ "exports": { "B": { "state": "deleted" } } })).unwrap();
        assert_eq!((deleted.freed, script.objects.len()), (vec![id], 0));
    }
}
