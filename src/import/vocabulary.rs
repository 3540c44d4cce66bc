//! The words that the definitions have, from their own schema.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::definition;

/// Kinds with their keys, and the sorts of bindings.
pub(super) struct Vocabulary {
    kinds: BTreeMap<String, BTreeSet<String>>,
    bindings: BTreeSet<String>,
}

impl Vocabulary {
    /// That of this version.
    pub(super) fn current() -> Self {
        Self::of(&definition::json_schema())
    }

    fn of(schema: &Value) -> Self {
        let mut kinds = BTreeMap::new();
        for (kind, section) in schema["properties"].as_object().into_iter().flatten() {
            kinds.insert(kind.clone(), keys(schema, &section["additionalProperties"], 0));
        }
        Self { kinds, bindings: keys(schema, &schema["$defs"]["Binding"], 0) }
    }

    pub(super) fn has_kind(&self, kind: &str) -> bool {
        self.kinds.contains_key(kind)
    }

    pub(super) fn has_key(&self, kind: &str, key: &str) -> bool {
        self.kinds.get(kind).is_some_and(|keys| keys.contains(key))
    }

    pub(super) fn has_binding(&self, sort: &str) -> bool {
        self.bindings.contains(sort)
    }
}

/// The keys of a table, in whatever way the schema says so.
fn keys(schema: &Value, part: &Value, depth: usize) -> BTreeSet<String> {
    if depth > 8 {
        return BTreeSet::new();
    }
    let own = part["properties"].as_object().into_iter().flatten().map(|(key, _)| key.clone());
    let referred = part["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")).map(|name| &schema["$defs"][name]);
    let choices = ["oneOf", "anyOf", "allOf"].into_iter().flat_map(|word| part[word].as_array().into_iter().flatten());
    own.chain(referred.into_iter().chain(choices).flat_map(|part| keys(schema, part, depth + 1))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_definitions_have_is_known() {
        let words = Vocabulary::current();
        assert!(words.has_kind("worker") && words.has_kind("kv") && !words.has_kind("wrangler"));
        assert!(words.has_key("worker", "build") && words.has_key("kv", "title") && !words.has_key("kv", "build"));
        assert!(words.has_binding("kv") && words.has_binding("script") && !words.has_binding("route"));
    }

    #[test]
    fn choices_and_references_are_followed() {
        let schema = serde_json::json!({
            "properties": { "r2": { "additionalProperties": { "anyOf": [{ "$ref": "#/$defs/R2" }, { "type": "null" }] } } },
            "$defs": { "R2": { "properties": { "name": {} } }, "Binding": { "oneOf": [{ "properties": { "r2": {} } }] } },
        });
        let words = Vocabulary::of(&schema);
        assert!(words.has_key("r2", "name") && words.has_binding("r2") && !words.has_binding("kv"));
    }
}
