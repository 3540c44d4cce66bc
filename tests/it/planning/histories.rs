//! Random histories: commits, other people's changes, unreachable targets, lost stores and crashes, in any order.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use trunkline::model::{DesiredState, InstanceKey, Kind, Properties, Spec, Value};

use super::sketch::{desired, file, key, kv, kv_binding, route, secret, service, state, text_binding, worker};
use super::world::{Crash, Moment, World};

#[derive(Debug, Clone)]
pub(super) struct WorkerSketch {
    name: &'static str,
    target: &'static str,
    script: Option<&'static str>,
    code: &'static str,
    var: Option<&'static str>,
    uses: Vec<&'static str>,
    calls: Vec<&'static str>,
    secret: bool,
    crons: Vec<&'static str>,
    routes: Vec<&'static str>,
    dated: bool,
    moved: Option<&'static str>,
    adopt: bool,
}

#[derive(Debug, Clone)]
pub(super) struct KvSketch {
    name: &'static str,
    target: &'static str,
    title: Option<&'static str>,
    moved: Option<&'static str>,
}

#[derive(Debug, Clone)]
pub(super) struct FileSketch {
    name: &'static str,
    path: &'static str,
    content: &'static str,
    owner: Option<&'static str>,
    moved: Option<&'static str>,
}

#[derive(Debug, Clone)]
pub(super) struct Commit {
    pub(super) workers: Vec<WorkerSketch>,
    pub(super) spaces: Vec<KvSketch>,
    pub(super) files: Vec<FileSketch>,
    pub(super) prune: bool,
    pub(super) retire: bool,
    pub(super) acknowledged: bool,
    pub(super) secret: &'static str,
}

/// What somebody else does, to the thing that `which` picks.
#[derive(Debug, Clone)]
pub(super) enum Meddling {
    Delete,
    AddBinding,
    AddCron,
    ChangeVar,
    ChangeDate,
    PutSecret,
    Make(Kind, &'static str, &'static str),
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Commit(Commit),
    Meddle(Meddling, usize),
    Pass { unreachable: Option<&'static str>, crash: Option<Crash> },
    LoseStore,
}

const MOMENTS: [Moment; 3] = [Moment::Effect, Moment::Owner, Moment::Record];
const NAMES: [&str; 3] = ["a", "b", "c"];
const SCRIPTS: [&str; 2] = ["x", "y"];

fn name() -> impl Strategy<Value = &'static str> {
    select(&NAMES[..])
}

fn target() -> impl Strategy<Value = &'static str> {
    prop_oneof![3 => Just("main"), 1 => Just("second")]
}

fn some_of(items: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
    subsequence(items, 0..=items.len())
}

fn maybe(items: &'static [&'static str]) -> impl Strategy<Value = Option<&'static str>> {
    prop::option::weighted(0.3, select(items))
}

fn a_worker() -> impl Strategy<Value = WorkerSketch> {
    let code = (name(), target(), maybe(&SCRIPTS), select(&["1", "2"][..]), maybe(&["info", "debug"]));
    let links = (some_of(&NAMES), some_of(&NAMES), any::<bool>());
    let rest = (some_of(&["1 * * * *", "2 * * * *"]), some_of(&["p/*", "q/*"]), any::<bool>(), maybe(&NAMES), any::<bool>());
    (code, links, rest).prop_map(
        |((name, target, script, code, var), (uses, calls, secret), (crons, routes, dated, moved, adopt))| WorkerSketch {
            name,
            target,
            script,
            code,
            var,
            uses,
            calls,
            secret,
            crons,
            routes,
            dated,
            moved,
            adopt,
        },
    )
}

fn a_commit() -> impl Strategy<Value = Commit> {
    let space = (name(), target(), maybe(&SCRIPTS), maybe(&NAMES)).prop_map(|(name, target, title, moved)| KvSketch {
        name,
        target,
        title,
        moved,
    });
    let file = (name(), select(&["/p", "/q", "/r"][..]), select(&["1", "2"][..]), maybe(&["root", "nginx"]), maybe(&NAMES))
        .prop_map(|(name, path, content, owner, moved)| FileSketch { name, path, content, owner, moved });
    let switches = (prop::bool::weighted(0.8), prop::bool::weighted(0.05), any::<bool>(), select(&["s1", "s2"][..]));
    (prop::collection::vec(a_worker(), 0..4), prop::collection::vec(space, 0..3), prop::collection::vec(file, 0..3), switches)
        .prop_map(|(workers, spaces, files, (prune, retire, acknowledged, secret))| Commit {
            workers,
            spaces,
            files,
            prune,
            retire,
            acknowledged,
            secret,
        })
}

pub(super) fn a_step() -> impl Strategy<Value = Step> {
    let make =
        (select(&[Kind::Worker, Kind::Kv][..]), target(), select(&["x", "y", "a-production", "b-production", "foreign"][..]));
    let meddling = prop_oneof![
        2 => Just(Meddling::Delete),
        1 => Just(Meddling::AddBinding),
        1 => Just(Meddling::AddCron),
        1 => Just(Meddling::ChangeVar),
        1 => Just(Meddling::ChangeDate),
        1 => Just(Meddling::PutSecret),
        2 => make.prop_map(|(kind, target, claim)| Meddling::Make(kind, target, claim)),
    ];
    let crash = prop::option::weighted(0.6, (0usize..4, select(&MOMENTS[..])).prop_map(|(at, moment)| Crash { at, moment }));
    let pass = (prop::option::weighted(0.2, select(&["main", "second", "fra1"][..])), crash);
    prop_oneof![
        6 => a_commit().prop_map(Step::Commit),
        3 => (meddling, 0usize..16).prop_map(|(meddling, which)| Step::Meddle(meddling, which)),
        6 => pass.prop_map(|(unreachable, crash)| Step::Pass { unreachable, crash }),
        1 => Just(Step::LoseStore),
    ]
}

/// The desired state that a sketch stands for; what the definitions would refuse is left out.
pub(super) fn resolved(commit: &Commit) -> DesiredState {
    let mut result = state();
    result.sync.prune = commit.prune;
    result.retire = commit.retire;
    let mut claims = BTreeSet::new();
    let mut add = |key: InstanceKey, entry: trunkline::model::Desired| {
        let claim = (key.target.clone(), key.address.kind, entry.spec.claim().to_owned());
        if !result.resources.contains_key(&key) && claims.insert(claim) {
            result.resources.insert(key, entry);
        }
    };
    let former = |kind: Kind, own: &str, moved: Option<&str>| {
        moved.filter(|moved| *moved != own).map(|moved| super::sketch::address(&format!("{kind}.{moved}")))
    };
    for sketch in &commit.spaces {
        let mut entry = desired(kv(&sketch.title.map_or(format!("{}-production", sketch.name), str::to_owned)));
        entry.claim_is_default = sketch.title.is_none();
        entry.moved_from = former(Kind::Kv, sketch.name, sketch.moved);
        add(key(&format!("kv.{}@{}", sketch.name, sketch.target)), entry);
    }
    for sketch in &commit.files {
        let mut spec = file(sketch.path, sketch.content);
        spec.owner = sketch.owner.map(str::to_owned);
        let mut entry = desired(Spec::File(spec));
        entry.moved_from = former(Kind::File, sketch.name, sketch.moved);
        add(key(&format!("file.{}@fra1", sketch.name)), entry);
    }
    let mut workers: Vec<_> = commit.workers.iter().collect();
    workers.sort_by_key(|sketch| std::cmp::Reverse(sketch.name));
    for sketch in workers {
        let mut spec = worker(&sketch.script.map_or(format!("{}-production", sketch.name), str::to_owned), sketch.code);
        spec.crons = sketch.crons.iter().map(|&cron| cron.to_owned()).collect();
        spec.routes = sketch.routes.iter().map(|pattern| route(pattern)).collect();
        spec.compatibility_date = sketch.dated.then(|| "2026-11-01".to_owned());
        spec.bindings.extend(sketch.var.map(|text| ("VAR".to_owned(), text_binding(text))));
        spec.bindings.extend(sketch.secret.then(|| ("SECRET".to_owned(), secret("stripe-key"))));
        let mut entry = desired(Spec::Worker(spec.clone()));
        for used in &sketch.uses {
            let needed = key(&format!("kv.{used}@{}", sketch.target));
            if result.resources.contains_key(&needed) {
                spec.bindings.insert(format!("KV_{used}"), kv_binding(used));
                entry.depends_on.insert(needed);
            }
        }
        for called in sketch.calls.iter().filter(|called| **called > sketch.name) {
            let needed = key(&format!("worker.{called}@{}", sketch.target));
            if let Some(other) = result.resources.get(&needed) {
                spec.bindings.insert(format!("SVC_{called}"), service(other.spec.claim()));
                entry.depends_on.insert(needed);
            }
        }
        entry.spec = Spec::Worker(spec);
        entry.claim_is_default = sketch.script.is_none();
        entry.moved_from = former(Kind::Worker, sketch.name, sketch.moved);
        entry.adopt = sketch.adopt;
        let own = key(&format!("worker.{}@{}", sketch.name, sketch.target));
        let claim = (own.target.clone(), own.address.kind, entry.spec.claim().to_owned());
        if !result.resources.contains_key(&own) && claims.insert(claim) {
            result.resources.insert(own, entry);
        }
    }
    result
}

fn table<'a>(properties: &'a mut Properties, name: &str) -> &'a mut Properties {
    let entry = properties.entry(name.to_owned()).or_insert_with(|| Value::Table(Properties::new()));
    match entry {
        Value::Table(table) => table,
        _ => unreachable!("a table"),
    }
}

pub(super) fn meddle(world: &mut World, meddling: &Meddling, which: usize) {
    let ids: Vec<u64> = world.things.keys().copied().collect();
    let picked = (!ids.is_empty()).then(|| ids[which % ids.len()]);
    let text = |text: &str| Value::Table([("type".to_owned(), "plain_text".into()), ("text".to_owned(), text.into())].into());
    match (meddling, picked) {
        (Meddling::Make(kind, target, claim), _) => {
            let target = target.parse().unwrap();
            if world.find(&target, *kind, claim).is_none() {
                let named = if *kind == Kind::Kv { "title" } else { "script" };
                world.make(&target, *kind, claim, [(named.to_owned(), Value::text(*claim))].into());
            }
        }
        (Meddling::Delete, Some(id)) => {
            world.things.remove(&id);
        }
        (change, Some(id)) if world.things[&id].kind == Kind::Worker => world.touch(id, |properties| match change {
            Meddling::AddBinding => _ = table(properties, "bindings").insert("FOREIGN".into(), text("theirs")),
            Meddling::AddCron => _ = table(properties, "crons").insert("9 9 * * *".into(), Value::Bool(true)),
            Meddling::ChangeVar => _ = table(properties, "bindings").insert("VAR".into(), text("drifted")),
            Meddling::ChangeDate => _ = properties.insert("compatibility_date".into(), Value::text("2020-01-01")),
            Meddling::PutSecret => {
                let mark = trunkline::model::SecretMark::Unknown;
                let value = [("type".to_owned(), "secret_text".into()), ("text".to_owned(), Value::Secret { mark })];
                table(properties, "bindings").insert("SECRET".into(), Value::Table(value.into()));
            }
            Meddling::Delete | Meddling::Make(..) => {}
        }),
        _ => {}
    }
}
