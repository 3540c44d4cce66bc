//! What the things of an account are called in the definitions.

use std::collections::{BTreeMap, BTreeSet};

use super::super::key::key;
use super::section;
use crate::model::{Address, EnvironmentId, EnvironmentName, Kind, Properties, Value};
use crate::provider::cloudflare::Survey;

/// Keys of tables, each once in its section.
pub(super) struct Names {
    /// By kind and the API's id.
    by_id: BTreeMap<(&'static str, String), String>,
    /// By kind and name at the target, where that is unique.
    by_claim: BTreeMap<(&'static str, String), String>,
    /// Workers that refer to each other, by name: a circle of references is no definition.
    edges: BTreeMap<String, BTreeSet<String>>,
}

impl Names {
    /// The keys of everything that was found.
    pub(super) fn of(survey: &Survey, environment: &EnvironmentName) -> Self {
        let mut names = Self { by_id: BTreeMap::new(), by_claim: BTreeMap::new(), edges: BTreeMap::new() };
        let mut taken: BTreeSet<(&str, String)> = BTreeSet::new();
        // A key that a mark on the thing names was its key before, and is not for another.
        let marked = |owner: &Option<Address>| {
            let ours = |owner: &&Address| owner.environment == EnvironmentId::of_default(environment.clone());
            owner.as_ref().filter(ours).map(|owner| owner.name.to_string())
        };
        let things = survey.things.iter().map(|thing| {
            let wanted = wanted(thing.kind, &thing.claim, &thing.properties, environment);
            (thing.kind, thing.id.as_str(), thing.claim.as_str(), marked(&thing.owner), wanted)
        });
        let workers = survey.workers.iter().map(|worker| {
            let wanted = wanted(Kind::Worker, &worker.script, &worker.properties, environment);
            (Kind::Worker, worker.script.as_str(), worker.script.as_str(), marked(&worker.owner), wanted)
        });
        let mut all: Vec<_> = things.chain(workers).filter(|(kind, ..)| section(*kind) == kind.as_str()).collect();
        all.sort_by_key(|(_, _, _, marked, _)| marked.is_none());
        for (kind, id, claim, marked, wanted) in all {
            let kind = kind.as_str();
            let key = one(&taken, kind, &marked.unwrap_or(wanted));
            taken.insert((kind, key.clone()));
            names.by_claim.entry((kind, claim.to_owned())).or_insert_with(|| key.clone());
            names.by_id.insert((kind, id.to_owned()), key);
        }
        names
    }

    /// The key of the thing with this id.
    pub(super) fn of_id(&self, kind: &'static str, id: &str) -> Option<&str> {
        self.by_id.get(&(kind, id.to_owned())).map(String::as_str)
    }

    /// The key of the thing that is called so.
    pub(super) fn of_claim(&self, kind: &'static str, claim: &str) -> Option<&str> {
        self.by_claim.get(&(kind, claim.to_owned())).map(String::as_str)
    }

    /// The key of the Worker `to`, for a reference of the Worker `from`; `None` where it was not found, or refers to `from`
    /// itself by the references that there are.
    pub(super) fn refer(&mut self, from: &str, to: &str) -> Option<String> {
        let key = self.of_claim("worker", to)?.to_owned();
        if from == to || self.reaches(to, from) {
            return None;
        }
        self.edges.entry(from.to_owned()).or_default().insert(to.to_owned());
        Some(key)
    }

    fn reaches(&self, from: &str, to: &str) -> bool {
        let (mut seen, mut next) = (BTreeSet::from([from]), vec![from]);
        while let Some(at) = next.pop() {
            if at == to {
                return true;
            }
            let further = self.edges.get(at).into_iter().flatten().map(String::as_str);
            next.extend(further.filter(|name| seen.insert(name)).collect::<Vec<_>>());
        }
        false
    }
}

/// What a person would call it.
fn wanted(kind: Kind, claim: &str, properties: &Properties, environment: &EnvironmentName) -> String {
    let text = |field: &str| properties.get(field).and_then(Value::as_text).unwrap_or_default();
    let name = match kind {
        Kind::Dns => format!("{} {}", text("name"), text("type")),
        Kind::CacheRule => Some(text("description")).filter(|text| !text.is_empty()).unwrap_or("rule").to_owned(),
        // As definitions name what they do not name.
        _ => claim.strip_suffix(&format!("-{environment}")).unwrap_or(claim).to_owned(),
    };
    key(&name)
}

fn one(taken: &BTreeSet<(&str, String)>, kind: &'static str, wanted: &str) -> String {
    let numbered = (2..).map(|n: u64| {
        let end = format!("-{n}");
        let begin: String = wanted.chars().take(63 - end.len()).collect();
        format!("{}{end}", begin.trim_end_matches('-'))
    });
    let mut keys = std::iter::once(wanted.to_owned()).chain(numbered);
    keys.find(|key| !taken.contains(&(kind, key.clone()))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::cloudflare::Surveyed;

    fn thing(kind: Kind, id: &str, claim: &str) -> Surveyed {
        Surveyed { kind, id: id.to_owned(), claim: claim.to_owned(), properties: Properties::new(), owner: None }
    }

    #[test]
    fn each_thing_has_a_key_of_its_own() {
        let mut marked = thing(Kind::Kv, "4", "whatever");
        marked.owner = Some("production/kv.ads".parse().unwrap());
        let long = "x".repeat(80);
        let things = vec![
            thing(Kind::Kv, "1", "ads-production"),
            thing(Kind::Kv, "2", "Ads!"),
            thing(Kind::R2, "3", "ads"),
            marked,
            thing(Kind::Kv, "5", &long),
            thing(Kind::Kv, "6", &format!("{long}y")),
        ];
        let names = Names::of(&Survey { things, ..Survey::default() }, &"production".parse().unwrap());
        let keys = ["1", "2", "4", "5", "6"].map(|id| names.of_id("kv", id).unwrap().to_owned());
        assert_eq!(keys[..3], ["ads-2", "ads-3", "ads"]);
        assert!(keys.iter().all(|key| key.parse::<crate::model::ResourceName>().is_ok()) && keys[3] != keys[4], "{keys:?}");
        assert_eq!(names.of_id("r2", "3"), Some("ads"));
        assert_eq!(names.of_claim("kv", "Ads!"), Some("ads-3"));
    }
}
