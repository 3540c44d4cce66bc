//! Every place of the schema in which text can stand, keys of tables among them.

use std::collections::BTreeSet;

use serde_json::Value;

/// Dotted paths from the top: `*` is any key of a table, `<key>` that key itself, `[]` an item of a list.
pub(super) fn fields(schema: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    Walk { defs: &schema["$defs"], found: &mut found }.walk(schema, "", &mut Vec::new());
    found
}

struct Walk<'a> {
    defs: &'a Value,
    found: &'a mut BTreeSet<String>,
}

impl Walk<'_> {
    fn walk(&mut self, node: &Value, path: &str, within: &mut Vec<String>) {
        if let Some(name) = node["$ref"].as_str().map(|reference| reference.rsplit('/').next().unwrap().to_owned()) {
            assert!(!within.contains(&name), "the schema holds itself at {path}");
            within.push(name.clone());
            self.walk(&self.defs[&name].clone(), path, within);
            within.pop();
        }
        for all in ["anyOf", "oneOf", "allOf"] {
            node[all].as_array().into_iter().flatten().for_each(|one| self.walk(one, path, within));
        }
        let sorts: Vec<&str> = node["type"].as_str().into_iter().chain(list(&node["type"])).collect();
        let composed = ["$ref", "anyOf", "oneOf", "allOf", "properties"].iter().any(|key| node.get(key).is_some());
        if sorts.contains(&"string") || node.get("const").is_some() || sorts.is_empty() && !composed {
            self.found.insert(path.to_owned());
        }
        for (key, value) in node["properties"].as_object().into_iter().flatten() {
            // The name of the schema for editors.
            if key != "$schema" {
                self.walk(value, &join(path, key), within);
            }
        }
        match &node["additionalProperties"] {
            Value::Bool(true) => self.found.extend([join(path, "<key>"), join(path, "*")]),
            value @ Value::Object(_) => {
                self.found.insert(join(path, "<key>"));
                self.walk(value, &join(path, "*"), within);
            }
            _ => {}
        }
        if node["items"].is_object() {
            self.walk(&node["items"], &join(path, "[]"), within);
        }
    }
}

fn list(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
