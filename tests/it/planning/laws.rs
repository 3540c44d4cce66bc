//! What holds of every plan, over random histories: commits, other people's changes, unreachable targets, lost stores
//! and crashes, in any order.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use trunkline::model::{DesiredState, InstanceKey, Kind, Observed, ObservedState, Properties, Spec, Value};
use trunkline::plan::{Action, Change, Plan, plan, to_json};

use super::sketch::{desired, file, key, kv, kv_binding, mark, route, secret, service, state, text_binding, worker};
use super::world::{Crash, Keeper, World};

#[derive(Debug, Clone)]
struct WorkerSketch {
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
struct KvSketch {
    name: &'static str,
    target: &'static str,
    title: Option<&'static str>,
    moved: Option<&'static str>,
}

#[derive(Debug, Clone)]
struct FileSketch {
    name: &'static str,
    path: &'static str,
    content: &'static str,
    owner: Option<&'static str>,
    moved: Option<&'static str>,
}

#[derive(Debug, Clone)]
struct Commit {
    workers: Vec<WorkerSketch>,
    spaces: Vec<KvSketch>,
    files: Vec<FileSketch>,
    prune: bool,
    retire: bool,
    acknowledged: bool,
    secret: &'static str,
}

/// What somebody else does, to the thing that `which` picks.
#[derive(Debug, Clone)]
enum Meddling {
    Delete,
    AddBinding,
    AddCron,
    ChangeVar,
    ChangeDate,
    PutSecret,
    Make(Kind, &'static str, &'static str),
}

#[derive(Debug, Clone)]
enum Step {
    Commit(Commit),
    Meddle(Meddling, usize),
    Pass { unreachable: Option<&'static str>, crash: Option<Crash> },
    LoseStore,
}

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

fn a_step() -> impl Strategy<Value = Step> {
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
    let crash = prop::option::weighted(0.6, (0usize..4, any::<bool>()).prop_map(|(at, after_effect)| Crash { at, after_effect }));
    let pass = (prop::option::weighted(0.2, select(&["main", "second", "fra1"][..])), crash);
    prop_oneof![
        6 => a_commit().prop_map(Step::Commit),
        3 => (meddling, 0usize..16).prop_map(|(meddling, which)| Step::Meddle(meddling, which)),
        6 => pass.prop_map(|(unreachable, crash)| Step::Pass { unreachable, crash }),
        1 => Just(Step::LoseStore),
    ]
}

/// The desired state that a sketch stands for; what the definitions would refuse is left out.
fn resolved(commit: &Commit) -> DesiredState {
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

fn meddle(world: &mut World, meddling: &Meddling, which: usize) {
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

/// The items of a thing that others added.
fn foreign_items(properties: &Properties) -> BTreeSet<String> {
    ["bindings", "crons"]
        .into_iter()
        .filter_map(|name| properties.get(name)?.as_table())
        .flat_map(|table| table.keys().cloned())
        .filter(|item| item == "FOREIGN" || item == "9 9 * * *")
        .collect()
}

fn nothing_on_unknown(planned: &Plan, observed: &ObservedState) {
    for change in &planned.changes {
        let former = change.from.as_ref().map_or(change.key.clone(), |from| from.on(change.key.target.clone()));
        let seen = [&former, &change.key]
            .into_iter()
            .any(|key| matches!(observed.get(key), Some(Observed::Present(_) | Observed::Absent)));
        assert!(seen, "{} {} on an unknown observation", change.action.as_str(), change.key);
    }
}

fn deletes_are_owned(planned: &Plan, keeper: &Keeper) {
    for change in planned.changes.iter().filter(|change| change.action == Action::Delete) {
        let owned = keeper.inventory.get(&change.key).unwrap_or_else(|| panic!("{} is not owned", change.key));
        assert_eq!(owned.claim, change.claim);
    }
}

fn nothing_foreign_in_before(planned: &Plan, desired: &DesiredState, keeper: &Keeper) {
    for change in &planned.changes {
        for item in ["FOREIGN", "9 9 * * *"] {
            for side in [&change.before, &change.after].into_iter().flatten() {
                let holds = |name: &str| side.get(name).and_then(Value::as_table).is_some_and(|t| t.contains_key(item));
                assert!(!holds("bindings") && !holds("crons"), "{item} is foreign in {change:#?}\n{desired:#?}\n{keeper:#?}");
            }
        }
    }
}

fn in_order(planned: &Plan, keeper: &Keeper) {
    let place = |key: &InstanceKey, delete: bool| {
        planned.changes.iter().position(|change| change.key == *key && (change.action == Action::Delete) == delete)
    };
    for (here, change) in planned.changes.iter().enumerate() {
        for needed in &change.after_changes {
            assert!(planned.changes[..here].iter().any(|c| c.key == *needed), "{needed} does not stand before {}", change.key);
        }
        if change.action == Action::Delete {
            continue;
        }
        for needed in &change.depends_on {
            if let Some(there) = place(needed, false) {
                assert!(there < here, "{} stands before {needed}", change.key);
                assert!(change.after_changes.contains(needed));
            }
        }
        let Some(deleted) = place(&change.key, true) else { continue };
        assert!(deleted < here, "the replacement of {} comes too early", change.key);
    }
    let deleted: BTreeMap<&InstanceKey, usize> =
        planned.changes.iter().enumerate().filter(|(_, c)| c.action == Action::Delete).map(|(n, c)| (&c.key, n)).collect();
    // Pure prunes only: a name that is taken in the same plan goes first.
    let taken = |change: &Change| {
        planned.changes.iter().any(|c| {
            c.action != Action::Delete
                && c.claim == change.claim
                && c.key.target == change.key.target
                && c.key.address.kind == change.key.address.kind
        })
    };
    for (user, owned) in &keeper.inventory {
        for needed in &owned.depends_on {
            if let (Some(&first), Some(&then)) = (deleted.get(user), deleted.get(needed))
                && !planned.changes.iter().any(|change| change.action == Action::Delete && taken(change))
                && place(needed, false).is_none()
            {
                assert!(first < then, "{needed} is deleted before {user}, which uses it");
            }
        }
    }
}

fn history(steps: &[Step]) -> (usize, usize) {
    let mut world = World::default();
    let mut keeper = Keeper { marks: [("stripe-key".parse().unwrap(), mark("s1"))].into(), ..Keeper::default() };
    let mut wanted = state();
    let (mut changes, mut recovered) = (0, 0);
    let all = ["a", "b", "c"].map(|name| super::sketch::address(&format!("kv.{name}")));
    for step in steps {
        match step {
            Step::Commit(commit) => {
                wanted = resolved(commit);
                keeper.marks = [("stripe-key".parse().unwrap(), mark(commit.secret))].into();
                keeper.acknowledged = if commit.acknowledged { all.clone().into() } else { BTreeSet::new() };
            }
            Step::Meddle(meddling, which) => {
                // The one thing that cannot be told: a namespace carries no mark, so that one which somebody makes
                // while an intent of ours to make it is open counts as ours. It takes the same title at that moment.
                let confuses =
                    matches!(meddling, Meddling::Make(Kind::Kv, _, title) if keeper.attempts.iter().any(|a| a.claim == *title));
                if !confuses {
                    meddle(&mut world, meddling, *which);
                }
            }
            Step::LoseStore => {
                keeper.inventory.clear();
                keeper.attempts.clear();
            }
            Step::Pass { unreachable, crash } => {
                world.unreachable = unreachable.iter().map(|target| target.parse().unwrap()).collect();
                recovered += keeper.attempts.len();
                changes += checked_pass(&mut world, &mut keeper, &wanted, *crash);
            }
        }
    }
    // Left alone, it converges: what a pass leaves to do waits only for something that it freed.
    world.unreachable.clear();
    for _ in 0..4 {
        changes += checked_pass(&mut world, &mut keeper, &wanted, None);
    }
    let (_, last) = keeper.look(&world, &wanted);
    assert!(last.is_empty(), "it does not converge: {last:#?}\n{wanted:#?}");
    // No orphan: every thing is in the inventory, or was never ours, or was ours before the store was lost.
    if !steps.iter().any(|step| matches!(step, Step::LoseStore)) {
        for (id, thing) in world.things.iter().filter(|(_, thing)| thing.touched_by_us) {
            let owned = keeper.inventory.iter().any(|(key, owned)| {
                key.target == thing.target
                    && key.address.kind == thing.kind
                    && (owned.claim == thing.claim || owned.attributes.get("id") == Some(&format!("id-{id}")))
            });
            assert!(owned, "{thing:#?} is an orphan");
        }
    }
    (changes, recovered)
}

fn checked_pass(world: &mut World, keeper: &mut Keeper, wanted: &DesiredState, crash: Option<Crash>) -> usize {
    keeper.settle(world, wanted);
    let (observed, planned) = keeper.look(world, wanted);
    let again = plan(&keeper.input(wanted, &observed));
    assert_eq!(serde_json::to_vec(&planned).unwrap(), serde_json::to_vec(&again).unwrap());
    assert_eq!(planned.digest(), again.digest());
    assert_eq!(to_json(&planned).to_string(), to_json(&again).to_string());
    nothing_on_unknown(&planned, &observed.observed);
    deletes_are_owned(&planned, keeper);
    nothing_foreign_in_before(&planned, wanted, keeper);
    in_order(&planned, keeper);

    let unreachable = world.unreachable.clone();
    let before = world.things.clone();
    let owned_before = keeper.inventory.clone();
    keeper.learn(wanted, &observed);
    keeper.apply(world, &planned, crash);
    for (id, thing) in &world.things {
        let had = before.get(id).map(|thing| foreign_items(&thing.properties)).unwrap_or_default();
        assert!(had.is_subset(&foreign_items(&thing.properties)), "an item of others was lost: {had:?} {planned:#?}");
    }
    for (id, thing) in before.iter().filter(|(_, thing)| !thing.touched_by_us) {
        // A thing of others is touched only where a definition takes it over, or where it stands in the place of one
        // that we own and that somebody deleted.
        let taken_over = |c: &Change| {
            let place = c.from.as_ref().map_or(c.key.clone(), |from| from.on(c.key.target.clone()));
            c.action == Action::Adopt
                || c.action != Action::Delete && owned_before.get(&place).is_some_and(|o| o.claim == thing.claim)
        };
        let same = |c: &&Change| c.key.target == thing.target && c.key.address.kind == thing.kind && c.claim == thing.claim;
        if !planned.changes.iter().filter(same).any(taken_over) {
            assert_eq!(world.things.get(id), Some(thing), "a thing of others was touched: {planned:#?}");
        }
    }
    for (id, thing) in &before {
        if unreachable.contains(&thing.target) {
            assert_eq!(world.things.get(id), Some(thing), "{} is unreachable", thing.target);
        }
    }
    if crash.is_none() && planned.blocked.is_empty() && keeper.attempts.is_empty() {
        let (_, next) = keeper.look(world, wanted);
        assert!(next.is_empty(), "the plan after the apply is not empty: {next:#?}\nafter {planned:#?}\n{wanted:#?}");
    }
    planned.changes.len()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_laws_hold_over_every_history(steps in prop::collection::vec(a_step(), 1..14)) {
        history(&steps);
    }
}

#[test]
fn the_histories_reach_what_they_are_for() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let (mut changes, mut recovered) = (0, 0);
    for _ in 0..200 {
        let steps = prop::collection::vec(a_step(), 1..14).new_tree(&mut runner).unwrap().current();
        let (more, attempts) = history(&steps);
        changes += more;
        recovered += attempts;
    }
    assert!(changes > 500 && recovered > 40, "{changes} changes, {recovered} attempts recovered");
}
