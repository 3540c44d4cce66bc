//! Each rule of the planner by data: a first state is applied, the world or the definitions change, and the next plan
//! is looked at.

use std::collections::BTreeSet;

use trunkline::model::{DesiredState, Kind, Pending, Properties, SecretMark, Spec, Value};
use trunkline::plan::{Action, BlockReason, Cause, Change, Plan, Precondition, fields, pending, records, resolve_pending};

use super::sketch::{
    COMMIT, address, desired, file, key, kv, kv_binding, mark, revision, route, secret, state, text_binding, worker,
};
use super::world::{Keeper, World};

/// A Worker with a namespace, and a file: applied.
pub(super) fn applied() -> (World, Keeper, DesiredState) {
    let mut wanted = state();
    let mut api = worker("ads-api", "1");
    api.bindings = [
        ("LOG_LEVEL".to_owned(), text_binding("info")),
        ("SESSIONS".to_owned(), kv_binding("sessions")),
        ("STRIPE".to_owned(), secret("stripe-key")),
    ]
    .into();
    api.crons = ["*/5 * * * *".to_owned()].into();
    api.routes = [route("api.example.com/*")].into();
    let mut entry = desired(Spec::Worker(api));
    entry.depends_on = [key("kv.sessions@main")].into();
    entry.origin.fields.insert("bindings.LOG_LEVEL".into(), ("bases/ads/api.toml".into(), 3));
    wanted.resources.insert(key("worker.ads-api@main"), entry);
    wanted.resources.insert(key("kv.sessions@main"), desired(kv("sessions-production")));
    wanted.resources.insert(key("file.engine@fra1"), desired(Spec::File(file("/etc/engine.toml", "1"))));
    let mut world = World::default();
    let mut keeper = Keeper { marks: [("stripe-key".parse().unwrap(), mark("s1"))].into(), ..Keeper::default() };
    keeper.pass(&mut world, &wanted, None);
    assert_eq!(keeper.inventory.len(), 3);
    (world, keeper, wanted)
}

pub(super) fn api(wanted: &mut DesiredState) -> &mut trunkline::model::WorkerSpec {
    match &mut wanted.resources.get_mut(&key("worker.ads-api@main")).unwrap().spec {
        Spec::Worker(worker) => worker,
        _ => unreachable!(),
    }
}

pub(super) fn next(world: &World, keeper: &Keeper, wanted: &DesiredState) -> Plan {
    keeper.look(world, wanted).1
}

pub(super) fn only(plan: &Plan) -> &Change {
    assert_eq!(plan.changes.len(), 1, "{plan:#?}");
    assert!(plan.blocked.is_empty() && plan.orphaned.is_empty(), "{plan:#?}");
    &plan.changes[0]
}

pub(super) fn changed(change: &Change) -> Vec<String> {
    fields(change).iter().map(trunkline::plan::Difference::field).collect()
}

pub(super) fn touch(world: &mut World, kind: Kind, claim: &str, change: impl FnOnce(&mut Properties)) {
    let id = world.things.iter().find(|(_, t)| t.kind == kind && t.claim == claim).map(|(id, _)| *id).unwrap();
    world.touch(id, change);
}

pub(super) fn set(properties: &mut Properties, table: &str, item: &str, value: Option<Value>) {
    let Some(Value::Table(items)) = properties.get_mut(table) else { panic!("{table}") };
    match value {
        Some(value) => items.insert(item.to_owned(), value),
        None => items.remove(item),
    };
}

fn plain(text: &str) -> Value {
    Value::Table([("type".to_owned(), "plain_text".into()), ("text".to_owned(), text.into())].into())
}

pub(super) fn blocked(plan: &Plan, text: &str) -> BlockReason {
    plan.blocked.iter().find(|b| b.key == key(text)).unwrap_or_else(|| panic!("{text} is not blocked: {plan:#?}")).reason.clone()
}

#[test]
fn what_was_applied_needs_nothing() {
    let (world, keeper, wanted) = applied();
    assert!(next(&world, &keeper, &wanted).is_empty());
    let (seen, _) = keeper.look(&world, &wanted);
    assert!(records(&keeper.input(&wanted, &seen), &revision()).is_empty());
}

#[test]
fn a_creation_waits_for_what_it_needs_and_leaves_its_id_open() {
    let (_, _, wanted) = applied();
    let plan = next(&World::default(), &Keeper::default(), &wanted);
    let order: Vec<_> = plan.changes.iter().map(|c| (c.action, c.key.to_string())).collect();
    let expected = ["kv.sessions@main", "worker.ads-api@main", "file.engine@fra1"];
    assert_eq!(order, expected.map(|text| (Action::Create, key(text).to_string())));
    let api = &plan.changes[1];
    assert_eq!(api.after_changes, [key("kv.sessions@main")].into());
    assert_eq!(api.precondition, Precondition::Absent);
    let open = Pending { address: address("kv.sessions"), attribute: "id".into(), target: None };
    let after = api.after.as_ref().unwrap();
    assert_eq!(pending(after), [&open]);

    let target = "main".parse().unwrap();
    assert_eq!(resolve_pending(after, &|_| None, &target), Err(Box::new(open)));
    let known = |asked: &_| (*asked == key("kv.sessions@main")).then(|| [("id".to_owned(), "abc".to_owned())].into());
    let resolved = resolve_pending(after, &known, &target).unwrap();
    let binding = resolved["bindings"].as_table().unwrap()["SESSIONS"].as_table().unwrap();
    assert_eq!(binding["namespace_id"], Value::text("abc"));
}

#[test]
fn a_commit_is_why_by_field_with_the_nearest_line() {
    let (world, keeper, mut wanted) = applied();
    api(&mut wanted).bindings.insert("LOG_LEVEL".into(), text_binding("debug"));
    api(&mut wanted).crons.clear();
    let plan = next(&world, &keeper, &wanted);
    let change = only(&plan);
    assert_eq!(changed(change), ["bindings.LOG_LEVEL.text", "crons.\"*/5 * * * *\""]);
    let cause = |path: &str, line| Cause::Definition { path: path.into(), line, commit: COMMIT.into() };
    assert_eq!(change.why[0].cause, cause("bases/ads/api.toml", 3));
    assert_eq!(change.why[1].cause, cause("environments/production/api.toml", 7));
    assert!(!change.is_drift_only());
}

#[test]
fn drift_is_told_from_a_commit_and_can_be_left() {
    let (mut world, keeper, mut wanted) = applied();
    touch(&mut world, Kind::Worker, "ads-api", |p| set(p, "bindings", "LOG_LEVEL", Some(plain("trace"))));
    let plan = next(&world, &keeper, &wanted);
    assert!(only(&plan).is_drift_only());
    assert!(plan.without_drift().is_empty());

    api(&mut wanted).crons.insert("0 * * * *".into());
    let plan = next(&world, &keeper, &wanted);
    let causes: Vec<_> = only(&plan).why.iter().map(|why| (why.field.as_str(), why.cause == Cause::Drift)).collect();
    assert_eq!(causes, [("bindings.LOG_LEVEL.text", true), ("crons.\"0 * * * *\"", false)]);
    assert_eq!(plan.without_drift(), plan, "a change that a commit explains is carried out as a whole");
}

#[test]
fn drift_that_a_commit_needs_healed_is_not_left() {
    let (mut world, keeper, mut wanted) = applied();
    world.things.retain(|_, thing| thing.kind != Kind::Kv);
    let deleted_by_hand = next(&world, &keeper, &wanted);
    assert!(deleted_by_hand.changes.iter().all(Change::is_drift_only), "{deleted_by_hand:#?}");
    assert_eq!(deleted_by_hand.changes.len(), 2, "the namespace, and the binding to its id");
    assert!(deleted_by_hand.without_drift().is_empty());
    api(&mut wanted).workers_dev = true;
    assert_eq!(next(&world, &keeper, &wanted).without_drift().changes.len(), 2);
}

#[test]
fn what_others_added_is_no_difference_and_is_named_to_be_kept() {
    let (mut world, keeper, mut wanted) = applied();
    touch(&mut world, Kind::Worker, "ads-api", |p| {
        set(p, "bindings", "THEIRS", Some(plain("x")));
        set(p, "crons", "9 9 * * *", Some(Value::Bool(true)));
        set(p, "routes", "their.example.com/*", Some(Value::Table(Properties::new())));
        p.insert("limits".into(), Value::Integer(50));
    });
    assert!(next(&world, &keeper, &wanted).is_empty());
    api(&mut wanted).workers_dev = true;
    let plan = next(&world, &keeper, &wanted);
    assert_eq!(changed(only(&plan)), ["workers_dev"]);
    let foreign = |items: &[&str]| items.iter().map(|&item| item.to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(
        only(&plan).foreign,
        [("bindings", foreign(&["THEIRS"])), ("crons", foreign(&["9 9 * * *"])), ("routes", foreign(&["their.example.com/*"]))]
            .map(|(table, items)| (table.to_owned(), items))
            .into()
    );
}

#[test]
fn code_and_flags_are_one_thing_so_that_an_addition_is_drift() {
    let (mut world, keeper, wanted) = applied();
    touch(&mut world, Kind::Worker, "ads-api", |p| {
        set(p, "modules", "evil.js", Some(plain("x")));
        set(p, "compatibility_flags", "nodejs_compat", Some(Value::Bool(true)));
    });
    let plan = next(&world, &keeper, &wanted);
    assert_eq!(changed(only(&plan)), ["compatibility_flags.nodejs_compat", "modules.\"evil.js\""]);
    assert!(only(&plan).foreign.is_empty());
}

#[test]
fn what_leaves_a_definition_is_removed_and_what_it_never_said_is_not() {
    let (world, keeper, mut wanted) = applied();
    api(&mut wanted).compatibility_date = None;
    api(&mut wanted).bindings.remove("LOG_LEVEL");
    let plan = next(&world, &keeper, &wanted);
    assert_eq!(changed(only(&plan)), ["bindings.LOG_LEVEL", "compatibility_date"]);
    // `usage_model` is what the server adds by itself.
    assert!(!only(&plan).before.as_ref().unwrap().contains_key("usage_model"));
}

#[test]
fn an_owner_that_leaves_a_definition_is_left_as_it_is() {
    let (mut world, mut keeper, mut wanted) = applied();
    let mut engine = file("/etc/engine.toml", "1");
    engine.owner = Some("nginx".into());
    wanted.resources.insert(key("file.engine@fra1"), desired(Spec::File(engine)));
    keeper.pass(&mut world, &wanted, None);
    wanted.resources.insert(key("file.engine@fra1"), desired(Spec::File(file("/etc/engine.toml", "1"))));
    assert!(next(&world, &keeper, &wanted).is_empty());
}

#[test]
fn secrets_are_compared_by_mark_or_not_at_all() {
    let name: trunkline::model::ResourceName = "stripe-key".parse().unwrap();
    let (mut world, mut keeper, wanted) = applied();
    keeper.marks.insert(name.clone(), mark("s2"));
    assert_eq!(changed(only(&next(&world, &keeper, &wanted))), ["bindings.STRIPE.text"]);
    keeper.marks.clear();
    assert!(next(&world, &keeper, &wanted).is_empty(), "without an identity a secret is never changed");
    touch(&mut world, Kind::Worker, "ads-api", |p| {
        let value = [("type".to_owned(), "secret_text".into()), ("text".to_owned(), Value::Secret { mark: SecretMark::Unknown })];
        set(p, "bindings", "STRIPE", Some(Value::Table(value.into())));
    });
    assert!(next(&world, &keeper, &wanted).is_empty());
    keeper.marks.insert(name, mark("s1"));
    let plan = next(&world, &keeper, &wanted);
    assert_eq!(changed(only(&plan)), ["bindings.STRIPE.text"], "what somebody may have overwritten is set again");
    assert!(only(&plan).is_drift_only());
    touch(&mut world, Kind::Worker, "ads-api", |p| set(p, "bindings", "STRIPE", None));
    keeper.marks.clear();
    assert_eq!(changed(only(&next(&world, &keeper, &wanted))), ["bindings.STRIPE"], "that it is missing can be told");
}

#[test]
fn nothing_is_planned_on_the_unknown_nor_for_what_needs_it() {
    let (mut world, keeper, mut wanted) = applied();
    wanted.resources.remove(&key("file.engine@fra1"));
    world.unreachable = ["main", "fra1"].map(|target| target.parse().unwrap()).into();
    let plan = next(&world, &keeper, &wanted);
    assert!(plan.is_empty());
    assert_eq!(blocked(&plan, "kv.sessions@main"), BlockReason::Unknown("connection refused".into()));
    assert_eq!(blocked(&plan, "file.engine@fra1"), BlockReason::Unknown("connection refused".into()));

    // Only the namespace is unknown: the Worker waits for it.
    world.unreachable.clear();
    api(&mut wanted).workers_dev = true;
    let (mut seen, _) = keeper.look(&world, &wanted);
    seen.observed.remove(&key("kv.sessions@main"));
    let plan = trunkline::plan::plan(&keeper.input(&wanted, &seen));
    assert_eq!(blocked(&plan, "worker.ads-api@main"), BlockReason::Dependency(key("kv.sessions@main")));
    assert!(plan.changes.iter().all(|change| change.action == Action::Delete));
}

#[test]
fn the_digest_is_that_of_what_is_done_and_the_desired_digest_that_of_what_is_meant() {
    let (world, keeper, mut wanted) = applied();
    api(&mut wanted).workers_dev = true;
    let (seen, plan) = keeper.look(&world, &wanted);
    let reviewed = trunkline::plan::plan(&trunkline::plan::Input { commit: "worktree", ..keeper.input(&wanted, &seen) });
    assert_ne!(plan, reviewed);
    assert_eq!(plan.digest(), reviewed.digest());
    // The id of the namespace is known here, and is not where nothing was ever applied.
    let elsewhere = next(&World::default(), &Keeper { marks: keeper.marks.clone(), ..Keeper::default() }, &wanted);
    let there = elsewhere.changes.iter().find(|c| c.key == only(&plan).key).unwrap();
    assert_eq!(there.desired, only(&plan).desired);
    assert_ne!(there.after, only(&plan).after);
}
