//! What holds of every plan, over random histories: commits, other people's changes, unreachable targets, lost stores
//! and crashes, in any order.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use trunkline::model::{DesiredState, InstanceKey, Kind, Observed, ObservedState, Properties, Value};
use trunkline::plan::{Action, Change, Plan, plan, to_json};

use super::histories::{Meddling, Step, a_step, meddle, resolved};
use super::sketch::{mark, state};
use super::world::{Crash, Keeper, World};

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
    // What was taken over or moved carries the owner's mark, wherever that was cut short.
    for (key, owned) in keeper.inventory.iter().filter(|(key, _)| key.address.kind == Kind::Worker) {
        let id = world.find(&key.target, key.address.kind, &owned.claim).unwrap();
        assert_eq!(world.things[&id].owner.as_ref(), Some(&key.address), "{:#?}", world.things[&id]);
    }
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
