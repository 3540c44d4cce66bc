//! Every field that the API takes is covered by a key of a definition or refused by name; `docs/kinds.md` says which.
//! `UPDATE_EXPECT=1` rewrites the page.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::Value;
use trunkline::definition::{Cache, Field, How, fields, json_schema, resolve};
use trunkline::model::{EnvironmentId, Kind, MemoryTree};

use super::repository;

type Fields = BTreeMap<String, BTreeSet<String>>;

/// The API's own lists.
fn of_api() -> Fields {
    let text = std::fs::read_to_string(repository().join("tests/cases/api/fields.toml")).unwrap();
    let tables: BTreeMap<String, BTreeMap<String, Vec<String>>> = toml::from_str(&text).unwrap();
    tables.into_iter().map(|(kind, lists)| (kind, lists.into_values().flatten().collect())).collect()
}

fn of_table() -> Fields {
    let mut fields = Fields::new();
    for line in trunkline::definition::fields() {
        let new = fields.entry(line.kind.to_string()).or_default().insert(line.field.to_owned());
        assert!(new, "{} of {} stands twice", line.field, line.kind);
    }
    fields
}

/// The table of the schema in which a kind is defined.
fn table_of(kind: Kind) -> &'static str {
    match kind {
        Kind::QueueConsumer => "queue",
        kind => kind.as_str(),
    }
}

/// What the schema says of a dotted key.
fn property<'a>(schema: &'a Value, table: &str, key: &str) -> Option<&'a Value> {
    let resolved = |value: &'a Value| -> &'a Value {
        let mut value = value;
        loop {
            let next = value.get("additionalProperties").filter(|v| v.is_object());
            let next = next.or_else(|| value.get("items"));
            let next = next.or_else(|| value.get("anyOf").and_then(|all| all.get(0)));
            let target = value.get("$ref").and_then(Value::as_str).map(|path| path.rsplit('/').next().unwrap());
            match (target, next) {
                (Some(name), _) => value = &schema["$defs"][name],
                (None, Some(next)) if value.get("properties").is_none() => value = next,
                _ => return value,
            }
        }
    };
    let start = resolved(schema["properties"].get(table)?);
    key.split('.').try_fold(start, |at, key| resolved(at).get("properties")?.get(key))
}

#[test]
fn every_field_of_the_api_is_decided_about() {
    assert_eq!(of_table(), of_api());
}

#[test]
fn every_key_that_covers_a_field_is_one_of_the_schema() {
    let schema = json_schema();
    for Field { kind, field, how, shown } in fields() {
        match how {
            How::Key(key) => assert!(property(&schema, table_of(*kind), key).is_some(), "{kind}: {key} of {field}"),
            How::Refused(_) => assert!(property(&schema, table_of(*kind), field).is_none(), "{kind}: {field} is a key"),
            How::Given(_) => {}
        }
        let Some(shown) = shown.filter(|_| *kind != Kind::QueueConsumer) else { continue };
        assert!(property(&schema, table_of(*kind), shown.key).is_some(), "{kind}: {} of {}", shown.key, shown.property);
    }
    assert!(property(&schema, "queue", "consumer.nonsense").is_none());
}

/// The kinds of hosts, which no API has lists of: their keys, as the schema describes them.
fn of_hosts() -> String {
    let schema = json_schema();
    let mut page = String::from(
        "\n# Kinds of hosts\n\nTheir keys, as the schema describes them. Each is observed field by field, checked before anything stops, and put back\nwhere a change of it does not come up; what a change replaces is kept on the host.\n",
    );
    for kind in Kind::ALL {
        let Some(goes) = kind.when_it_goes() else { continue };
        let reference = schema["properties"][kind.as_str()]["additionalProperties"]["$ref"].as_str().unwrap();
        let table = &schema["$defs"][reference.rsplit('/').next().unwrap()];
        let described = |value: &Value| value["description"].as_str().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        write!(page, "\n## `{kind}`\n\n{}\n\nWhen it is no longer defined: {goes}.\n\n| key | |\n|---|---|\n", described(table))
            .unwrap();
        for (key, value) in table["properties"].as_object().unwrap() {
            writeln!(page, "| `{key}` | {} |", described(value).replace('|', "\\|")).unwrap();
        }
    }
    page
}

#[test]
fn every_field_that_cannot_be_given_is_refused_by_name_with_the_reason() {
    let environment = EnvironmentId::of_default("p".parse().unwrap());
    for field in fields() {
        let How::Refused(reason) = field.how else { continue };
        let mut tree = MemoryTree::default();
        tree.insert("trunkline.toml", "format = 1\n");
        let table = table_of(field.kind);
        tree.insert("environments/p.toml", format!("[{table}.a]\n{} = 1\n", field.name()));
        let found = resolve(&tree, &environment, &mut Cache::new()).unwrap();
        let message = format!("`{}` is not supported by this version", field.name());
        let hint = match reason {
            "not yet" => "remove it, or use a version of trunkline that has it".to_owned(),
            reason => format!("remove it: {reason}"),
        };
        let said = |d: &trunkline::model::Diagnostic| d.message == message && d.hint.as_ref() == Some(&hint);
        assert!(found.diagnostics.iter().any(said), "{table}: {message} ({hint}): {:#?}", found.diagnostics);
    }
}

#[test]
fn the_page_of_kinds_says_so() {
    let mut page = String::from(
        "# Kinds and fields\n\nWhich fields of Cloudflare's API a definition can give, and which are refused by name. Made from the table that a\ntest holds to the API's own lists of fields; `UPDATE_EXPECT=1 cargo test definition::coverage` rewrites it.\n",
    );
    let mut last = None;
    for Field { kind, field, how, shown: _ } in fields() {
        if last != Some(*kind) {
            write!(page, "\n## `{kind}`\n\n| field of the API | in `[{}.<name>]` |\n|---|---|\n", table_of(*kind)).unwrap();
            last = Some(*kind);
        }
        match how {
            How::Key(key) => writeln!(page, "| `{field}` | `{key}` |").unwrap(),
            How::Given(what) => writeln!(page, "| `{field}` | always {what} |").unwrap(),
            How::Refused(reason) => writeln!(page, "| `{field}` | refused: {reason} |").unwrap(),
        }
    }
    page.push_str(&of_hosts());
    let file = repository().join("docs/kinds.md");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap_or_default(), page);
}
