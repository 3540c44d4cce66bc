//! Whose a thing is, what it is called, and what became of what was never seen: each rule by data.

use trunkline::model::{Kind, Properties, Spec, Value};
use trunkline::plan::{Action, BlockReason, inherit_claims, records, recover};

use super::rules::{api, applied, blocked, next, only, set, touch};
use super::sketch::{address, desired, key, kv, revision, service, state, worker};
use super::world::{Crash, Keeper, Moment, World};

#[test]
fn what_is_there_and_not_ours_is_taken_over_only_where_the_definition_says_so() {
    let mut wanted = state();
    wanted.resources.insert(key("worker.ads-api@main"), desired(Spec::Worker(worker("ads-api", "1"))));
    let mut world = World::default();
    let theirs = [
        ("script".to_owned(), Value::text("ads-api")),
        ("crons".to_owned(), Value::Table([("9 9 * * *".to_owned(), Value::Bool(true))].into())),
    ];
    let id = world.make(&"main".parse().unwrap(), Kind::Worker, "ads-api", theirs.into());
    let mut keeper = Keeper::default();
    let BlockReason::NotOurs(message) = blocked(&next(&world, &keeper, &wanted), "worker.ads-api@main") else { panic!() };
    assert!(message.contains("`adopt = true`"), "{message}");

    wanted.resources.get_mut(&key("worker.ads-api@main")).unwrap().adopt = true;
    world.things.get_mut(&id).unwrap().owner = Some("staging/worker.ads-api".parse().unwrap());
    let BlockReason::NotOurs(message) = blocked(&next(&world, &keeper, &wanted), "worker.ads-api@main") else { panic!() };
    assert!(message.contains("`staging/worker.ads-api`"), "{message}");

    world.things.get_mut(&id).unwrap().owner = None;
    let plan = next(&world, &keeper, &wanted);
    assert_eq!(only(&plan).action, Action::Adopt);
    assert_eq!(only(&plan).foreign["crons"], ["9 9 * * *".to_owned()].into());
    keeper.pass(&mut world, &wanted, None);
    assert!(next(&world, &keeper, &wanted).is_empty());
}

#[test]
fn a_lost_store_is_rebuilt_from_marks_without_a_change() {
    let (world, mut keeper, mut wanted) = applied();
    wanted.resources.remove(&key("worker.ads-api@main"));
    let lost = std::mem::take(&mut keeper.inventory);
    let (seen, plan) = keeper.look(&world, &wanted);
    assert!(plan.is_empty());
    let learnt = records(&keeper.input(&wanted, &seen), &revision());
    // A namespace carries no mark: it is blocked until somebody says `adopt = true`.
    assert_eq!(plan.blocked.len(), 1);
    assert_eq!(learnt.recorded, [(key("file.engine@fra1"), lost[&key("file.engine@fra1")].clone())]);
}

#[test]
fn what_leaves_the_definitions_is_pruned_after_its_users_and_data_only_when_acknowledged() {
    let (mut world, mut keeper, mut wanted) = applied();
    wanted.resources.clear();
    let plan = next(&world, &keeper, &wanted);
    assert_eq!(
        plan.changes.iter().map(|c| c.key.clone()).collect::<Vec<_>>(),
        [key("worker.ads-api@main"), key("file.engine@fra1")]
    );
    assert_eq!(
        plan.orphaned[0].reason,
        "it holds data; a commit with the trailer `Acknowledge: production/kv.sessions delete` deletes it"
    );
    keeper.acknowledged.insert(address("kv.sessions"));
    let plan = next(&world, &keeper, &wanted);
    assert_eq!(plan.changes[0].key, key("worker.ads-api@main"));
    assert_eq!((plan.changes[1].action, &plan.changes[1].key), (Action::Delete, &key("kv.sessions@main")));
    assert_eq!(plan.changes[1].after_changes, [key("worker.ads-api@main")].into());
    wanted.sync.prune = false;
    let plan = next(&world, &keeper, &wanted);
    assert!(plan.is_empty() && plan.orphaned.len() == 3);
    wanted.retire = true;
    keeper.pass(&mut world, &wanted, None);
    assert!(world.things.is_empty() && keeper.inventory.is_empty());
}

#[test]
fn what_is_still_used_is_kept() {
    let (world, mut keeper, mut wanted) = applied();
    keeper.acknowledged.insert(address("kv.sessions"));
    wanted.resources.clear();
    // The Worker is not what was applied, and cannot be deleted: it goes on using the namespace.
    let mut world = world;
    touch(&mut world, Kind::Worker, "ads-api", |_| {});
    world.things.values_mut().filter(|t| t.kind == Kind::Worker).for_each(|t| t.owner = None);
    let plan = next(&world, &keeper, &wanted);
    assert_eq!(plan.changes.len(), 1, "only the file: {plan:#?}");
    assert_eq!(plan.orphaned[0].reason, "`production/worker.ads-api@main` still uses it");
    assert!(plan.orphaned[1].reason.contains("carries no mark of ours"), "{plan:#?}");
}

#[test]
fn what_is_gone_is_forgotten_without_a_change() {
    let (mut world, keeper, mut wanted) = applied();
    wanted.resources.remove(&key("file.engine@fra1"));
    world.things.retain(|_, thing| thing.kind != Kind::File);
    let (seen, plan) = keeper.look(&world, &wanted);
    assert!(plan.is_empty() && plan.orphaned.is_empty());
    assert_eq!(records(&keeper.input(&wanted, &seen), &revision()).forgotten, [key("file.engine@fra1")]);
}

#[test]
fn a_move_keeps_the_thing_and_its_name() {
    let (mut world, mut keeper, mut wanted) = applied();
    let mut entry = wanted.resources.remove(&key("worker.ads-api@main")).unwrap();
    let Spec::Worker(spec) = &mut entry.spec else { panic!() };
    spec.script = "public-api-production".into();
    entry.claim_is_default = true;
    entry.moved_from = Some(address("worker.ads-api"));
    wanted.resources.insert(key("worker.public-api@main"), entry);
    let mut caller = desired(Spec::Worker(worker("caller", "1")));
    let Spec::Worker(spec) = &mut caller.spec else { panic!() };
    spec.bindings.insert("API".into(), service("public-api-production"));
    caller.depends_on = [key("worker.public-api@main")].into();
    wanted.resources.insert(key("worker.caller@main"), caller);

    let settled = inherit_claims(&wanted, &keeper.inventory).into_owned();
    assert_eq!(settled.resources[&key("worker.public-api@main")].spec.claim(), "ads-api");
    let plan = next(&world, &keeper, &wanted);
    let [moved, made] = &plan.changes[..] else { panic!("{plan:#?}") };
    assert_eq!(
        (moved.action, &moved.key, &moved.from),
        (Action::Move, &key("worker.public-api@main"), &Some(address("worker.ads-api")))
    );
    assert_eq!(moved.before, moved.after);
    let called = &made.after.as_ref().unwrap()["bindings"].as_table().unwrap()["API"].as_table().unwrap()["service"];
    assert_eq!(*called, Value::text("ads-api"));
    let things = world.things.len();
    keeper.pass(&mut world, &wanted, None);
    assert_eq!(world.things.len(), things + 1, "only the caller is new");
    // The definition may forget its former name afterwards: the thing keeps the one it has.
    wanted.resources.get_mut(&key("worker.public-api@main")).unwrap().moved_from = None;
    assert!(next(&world, &keeper, &wanted).is_empty());
}

#[test]
fn another_name_replaces_a_worker_and_renames_a_namespace() {
    let (mut world, mut keeper, mut wanted) = applied();
    api(&mut wanted).script = "ads".into();
    wanted.resources.insert(key("kv.sessions@main"), desired(kv("people")));
    let plan = next(&world, &keeper, &wanted);
    let told: Vec<_> = plan.changes.iter().map(|c| (c.action, c.key.address.kind, c.claim.as_str())).collect();
    assert_eq!(
        told,
        [(Action::Update, Kind::Kv, "people"), (Action::Delete, Kind::Worker, "ads-api"), (Action::Create, Kind::Worker, "ads")]
    );
    assert!(plan.changes[2].after_changes.contains(&key("worker.ads-api@main")));

    let taken = world.make(&"main".parse().unwrap(), Kind::Worker, "ads", Properties::new());
    let told = next(&world, &keeper, &wanted);
    assert!(!told.changes.iter().any(|c| c.action == Action::Delete), "nothing goes before its new name is free");
    assert!(matches!(blocked(&told, "worker.ads-api@main"), BlockReason::NotOurs(_)));
    world.things.remove(&taken);
    let (mut seen, _) = keeper.look(&world, &wanted);
    seen.successors.clear();
    let told = trunkline::plan::plan(&keeper.input(&wanted, &seen));
    assert!(matches!(blocked(&told, "worker.ads-api@main"), BlockReason::Unknown(_)));

    keeper.pass(&mut world, &wanted, None);
    assert!(next(&world, &keeper, &wanted).is_empty());
}

#[test]
fn a_name_is_given_up_before_it_is_taken() {
    let (mut world, mut keeper, mut wanted) = applied();
    let entry = wanted.resources.remove(&key("worker.ads-api@main")).unwrap();
    wanted.resources.insert(key("worker.a@main"), entry);
    let plan = next(&world, &keeper, &wanted);
    let told: Vec<_> = plan.changes.iter().map(|c| (c.action, c.key.clone())).collect();
    assert_eq!(told, [(Action::Delete, key("worker.ads-api@main")), (Action::Create, key("worker.a@main"))]);
    assert_eq!(plan.changes[1].after_changes, [key("worker.ads-api@main")].into());

    wanted.sync.prune = false;
    let BlockReason::NotOurs(message) = blocked(&next(&world, &keeper, &wanted), "worker.a@main") else { panic!() };
    assert!(message.contains("`moved = \"ads-api\"`"), "{message}");
    wanted.sync.prune = true;
    keeper.pass(&mut world, &wanted, None);
    assert!(next(&world, &keeper, &wanted).is_empty());
}

#[test]
fn an_outcome_that_was_never_seen_is_told_by_its_mark() {
    let (mut world, mut keeper, mut wanted) = applied();
    api(&mut wanted).crons.clear();
    keeper.pass(&mut world, &wanted, Some(Crash { at: 0, moment: Moment::Record }));
    let attempts = keeper.attempts.clone();
    let seen = world.observed_by(&keeper, &wanted, &attempts);
    let told = |seen: &super::world::Seen| recover(&attempts, &seen.observed, &keeper.inventory)[&attempts[0].operation].clone();
    let Some(trunkline::plan::Resolution::Happened(owned)) = told(&seen) else { panic!() };
    assert_eq!((&owned.operation, &owned.desired), (&attempts[0].operation, &attempts[0].desired));
    // Cut short half-way: the cron of before is still there, and stays known as ours.
    let mut half = seen.clone();
    let Some(trunkline::model::Observed::Present(present)) = half.observed.get_mut(&key("worker.ads-api@main")) else { panic!() };
    set(&mut present.properties, "crons", "*/5 * * * *", Some(Value::Bool(true)));
    let Some(trunkline::plan::Resolution::Happened(owned)) = told(&half) else { panic!() };
    assert!(owned.properties["crons"].as_table().unwrap().contains_key("*/5 * * * *"));
    world.unreachable = ["main".parse().unwrap()].into();
    assert_eq!(told(&world.observed_by(&keeper, &wanted, &attempts)), None);
    world.unreachable.clear();
    touch(&mut world, Kind::Worker, "ads-api", |_| {});
    assert_eq!(told(&world.observed_by(&keeper, &wanted, &attempts)), Some(trunkline::plan::Resolution::NotSeen));
}

#[test]
fn what_is_made_anew_and_not_recorded_is_found_under_its_name() {
    let (mut world, mut keeper, wanted) = applied();
    // The inventory still knows the namespace that somebody deleted by its id; the new one has another.
    world.things.retain(|_, thing| thing.kind != Kind::Kv);
    keeper.pass(&mut world, &wanted, Some(Crash { at: 0, moment: Moment::Record }));
    assert_eq!(keeper.attempts[0].action, Action::Create);
    keeper.pass(&mut world, &wanted, None);
    assert_eq!(world.things.values().filter(|thing| thing.kind == Kind::Kv).count(), 1);
    assert!(next(&world, &keeper, &wanted).is_empty());
}

#[test]
fn an_adoption_that_was_cut_short_before_its_owners_mark_is_carried_out_again() {
    for store_is_lost in [false, true] {
        let mut wanted = state();
        let mut entry = desired(Spec::Worker(worker("ads-api", "1")));
        entry.adopt = true;
        wanted.resources.insert(key("worker.ads-api@main"), entry);
        let mut world = World::default();
        let id = world.make(&"main".parse().unwrap(), Kind::Worker, "ads-api", Properties::new());
        let mut keeper = Keeper::default();
        keeper.pass(&mut world, &wanted, Some(Crash { at: 0, moment: Moment::Owner }));
        assert_eq!((&world.things[&id].owner, world.things[&id].marker.is_some()), (&None, true));
        if store_is_lost {
            keeper = Keeper::default();
        }
        let (_, plan) = keeper.pass(&mut world, &wanted, None);
        assert_eq!(only(&plan).action, Action::Adopt);
        assert_eq!(only(&plan).before, only(&plan).after, "the version is there: only the mark is missing");
        assert_eq!(world.things[&id].owner, Some(address("worker.ads-api")));
        assert!(next(&world, &keeper, &wanted).is_empty());
    }
}

#[test]
fn a_move_that_was_cut_short_before_its_owners_mark_is_carried_out_again() {
    for store_is_lost in [false, true] {
        let (mut world, mut keeper, mut wanted) = applied();
        let mut entry = wanted.resources.remove(&key("worker.ads-api@main")).unwrap();
        entry.moved_from = Some(address("worker.ads-api"));
        let Spec::Worker(spec) = &mut entry.spec else { panic!() };
        spec.compatibility_date = Some("2026-12-01".to_owned());
        wanted.resources.insert(key("worker.public-api@main"), entry);
        keeper.pass(&mut world, &wanted, Some(Crash { at: 0, moment: Moment::Owner }));
        let owner = |world: &World| world.things.values().find(|thing| thing.kind == Kind::Worker).unwrap().owner.clone();
        assert_eq!(owner(&world), Some(address("worker.ads-api")));
        if store_is_lost {
            keeper.inventory.remove(&key("worker.ads-api@main"));
            keeper.attempts.clear();
        }
        let (_, plan) = keeper.pass(&mut world, &wanted, None);
        assert_eq!((only(&plan).action, &only(&plan).from), (Action::Move, &Some(address("worker.ads-api"))));
        assert_eq!(owner(&world), Some(address("worker.public-api")));
        assert!(next(&world, &keeper, &wanted).is_empty());
    }
}
