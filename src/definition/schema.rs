//! The JSON Schema for editors.

use schemars::schema_for;

use crate::model::Kind;

use super::written::{EnvironmentToml, FleetToml, RepositoryToml};

/// The JSON Schema (2020-12) of every TOML file of a configuration repository: environments and bases, the fleet, and
/// `trunkline.toml`. One schema serves them all, since their top-level keys differ; which of them a file may hold is
/// checked by [`super::resolve()`]. Generated from the types that files are decoded into.
pub fn json_schema() -> serde_json::Value {
    let mut whole = schema_for!(EnvironmentToml).to_value();
    for part in [schema_for!(FleetToml).to_value(), schema_for!(RepositoryToml).to_value()] {
        for section in ["properties", "$defs"] {
            let Some(entries) = part.get(section).and_then(|v| v.as_object()).cloned() else { continue };
            if let Some(all) = whole.get_mut(section).and_then(|v| v.as_object_mut()) {
                all.extend(entries);
            }
        }
    }
    ignore(&mut whole);
    if let Some(root) = whole.as_object_mut() {
        root.insert("title".into(), "Trunkline definitions".into());
        root.insert("description".into(), "A TOML file of a configuration repository of Trunkline.".into());
    }
    whole
}

/// What every resource of the platform has besides the keys of its kind; taken out of a table before it is decoded.
fn ignore(whole: &mut serde_json::Value) {
    for kind in Kind::ALL.into_iter().filter(|kind| !kind.is_of_hosts()) {
        let reference = &whole["properties"][kind.as_str()]["additionalProperties"]["$ref"];
        let Some(name) = reference.as_str().and_then(|text| text.strip_prefix("#/$defs/")).map(str::to_owned) else { continue };
        if let Some(keys) = whole["$defs"][&name]["properties"].as_object_mut() {
            let key = serde_json::json!({
                "description": "Fields, such as `bindings.LOG_LEVEL`, that are left as they are once it is there.",
                "type": ["array", "null"],
                "items": { "type": "string" }
            });
            keys.insert("ignore".to_owned(), key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::written::{ENVIRONMENT_KEYS, LATER_KEYS};

    #[test]
    fn the_keys_that_are_read_are_those_of_the_schema() {
        let schema = schema_for!(EnvironmentToml).to_value();
        let mut keys: Vec<_> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        let mut read = ENVIRONMENT_KEYS.to_vec();
        read.sort_unstable();
        assert_eq!(keys, read);
        // A key of that name may stand deeper, for something else: containers mount volumes.
        let whole = json_schema();
        let tables = ["Environment", "Worker", "Host", "Edge", "Cloudflare", "File"].map(|name| &whole["$defs"][name]);
        let read = |key: &str| [&whole].into_iter().chain(tables).any(|table| table["properties"].get(key).is_some());
        assert!(read("worker") && read("compatibility_date"));
        for later in LATER_KEYS {
            assert!(!read(later.key), "{} is supported now", later.key);
        }
    }

    #[test]
    fn one_schema_covers_all_files() {
        let schema = json_schema();
        for key in ["environment", "worker", "host", "format", "policies"] {
            assert!(schema["properties"].get(key).is_some(), "{key}");
        }
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["$defs"]["Worker"]["additionalProperties"], false);
        for kind in ["Worker", "Kv", "R2"] {
            assert_eq!(schema["$defs"][kind]["properties"]["ignore"]["items"]["type"], "string", "{kind}");
        }
        assert!(schema["$defs"]["File"]["properties"].get("ignore").is_none());
        for reference in ["SecretReference", "Binding", "Route", "On", "Drift"] {
            assert!(schema["$defs"].get(reference).is_some(), "{reference}");
        }
        let token = &schema["$defs"]["Edge"]["properties"]["api_token"]["oneOf"];
        assert!(token[0]["properties"].get("secret").is_some() && token[1]["properties"].get("credential").is_some());
        assert_eq!(schema["$defs"]["Route"]["required"], serde_json::json!(["pattern", "zone_name"]));
    }
}
