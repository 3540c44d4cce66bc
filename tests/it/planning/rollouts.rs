//! Gradual versions: each rule by data, and what holds over every history of commits, delays, words and crashes.

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use trunkline::model::{DesiredState, Digest, Rollout, Spec, TRAFFIC, Value, canonical_digest, traffic};
use trunkline::plan::{Action, Cause, Change, Plan, RenderOptions, Rolling, render_text, to_json};

use super::rules::{api, next, only, touch};
use super::sketch::{desired, key, state, text_binding, worker};
use super::world::{Crash, Keeper, Moment, World};

const STEPS: [u8; 3] = [10, 50, 100];
const INTERVAL: i64 = 60;

/// A Worker that is rolled out, applied at all requests.
fn rolled() -> (World, Keeper, DesiredState) {
    let (mut world, mut keeper, mut wanted) = (World::default(), Keeper::default(), state());
    let mut spec = worker("ads-api", "1");
    spec.bindings = [("LOG_LEVEL".to_owned(), text_binding("info"))].into();
    wanted.resources.insert(key("worker.ads-api@main"), desired(Spec::Worker(spec)));
    keeper.pass(&mut world, &wanted, None);
    api(&mut wanted).rollout = Some(Box::new(Rollout { steps: STEPS.to_vec(), interval_seconds: 60, probe: None }));
    assert!(next(&world, &keeper, &wanted).is_empty(), "steps are no difference");
    (world, keeper, wanted)
}

fn level(wanted: &mut DesiredState, text: &str) {
    api(wanted).bindings.insert("LOG_LEVEL".to_owned(), text_binding(text));
}

fn digest(keeper: &Keeper, wanted: &mut DesiredState) -> Digest {
    let spec = Spec::Worker(api(wanted).clone());
    canonical_digest(&spec.properties(&keeper.marks))
}

fn later(world: &mut World, keeper: &mut Keeper, seconds: i64) {
    world.now += TimeDelta::seconds(seconds);
    keeper.steering.now = world.now;
}

fn shares(change: &Change) -> (u8, u8) {
    (traffic(change.before.as_ref().unwrap()), traffic(change.after.as_ref().unwrap()))
}

/// The shares of everything that was deployed, oldest first.
fn deployed(world: &World) -> Vec<u8> {
    world.deployments.iter().map(|(_, share)| *share).collect()
}

fn rolling(plan: &Plan) -> &Rolling {
    assert_eq!(plan.rolling.len(), 1, "{plan:#?}");
    &plan.rolling[0]
}

#[test]
fn a_changed_version_goes_up_step_by_step_as_each_is_due() {
    let (mut world, mut keeper, mut wanted) = rolled();
    let same = digest(&keeper, &mut wanted);
    level(&mut wanted, "debug");
    let planned = next(&world, &keeper, &wanted);
    let change = only(&planned);
    assert_eq!((change.action, shares(change)), (Action::Update, (0, 10)));
    assert!(change.why.iter().all(|why| matches!(why.cause, Cause::Definition { .. })), "{:?}", change.why);
    assert_ne!(change.desired, same);
    assert_eq!(change.desired, digest(&keeper, &mut wanted), "a share is no part of what is desired");
    assert_eq!((rolling(&planned).traffic, rolling(&planned).next), (10, 50));
    keeper.pass(&mut world, &wanted, None);
    for (waited, expected) in [(0, None), (59, None), (1, Some((10, 50))), (59, None), (1, Some((50, 100)))] {
        later(&mut world, &mut keeper, waited);
        let planned = next(&world, &keeper, &wanted);
        match expected {
            None => {
                assert!(planned.is_empty(), "{planned:#?}");
                let due = rolling(&planned).due.unwrap();
                assert!(due > world.now && due <= world.now + TimeDelta::seconds(INTERVAL), "{due}");
            }
            Some(expected) => {
                let change = only(&planned);
                assert_eq!(shares(change), expected);
                let fields: Vec<String> = trunkline::plan::fields(change).iter().map(|d| d.field()).collect();
                assert_eq!(fields, [TRAFFIC]);
                assert!(!change.is_drift_only(), "an environment that reports drift goes on");
                keeper.pass(&mut world, &wanted, None);
            }
        }
    }
    let planned = next(&world, &keeper, &wanted);
    assert!(planned.is_empty() && planned.rolling.is_empty(), "{planned:#?}");
    assert_eq!(deployed(&world), [100, 10, 50, 100]);
    assert!(!keeper.inventory[&key("worker.ads-api@main")].properties.contains_key(TRAFFIC));
}

#[test]
fn a_delay_however_long_skips_no_step() {
    let (mut world, mut keeper, mut wanted) = rolled();
    level(&mut wanted, "debug");
    keeper.pass(&mut world, &wanted, None);
    later(&mut world, &mut keeper, 1_000_000);
    keeper.inventory.clear();
    keeper.pass(&mut world, &wanted, None);
    keeper.pass(&mut world, &wanted, None);
    assert_eq!(deployed(&world), [100, 10, 50], "the second pass is not due");
    // A clock at the target that goes ahead of ours.
    world.now -= TimeDelta::seconds(500_000);
    keeper.steering.now = world.now;
    assert_eq!(rolling(&next(&world, &keeper, &wanted)).due, Some(world.now + TimeDelta::seconds(INTERVAL)));
}

#[test]
fn it_goes_on_from_what_is_live() {
    let (mut world, mut keeper, mut wanted) = rolled();
    level(&mut wanted, "debug");
    keeper.pass(&mut world, &wanted, None);
    let id = *world.things.iter().find(|(_, thing)| thing.claim == "ads-api").unwrap().0;
    let serial = world.serial + 1;
    world.serial = serial;
    let thing = world.things.get_mut(&id).unwrap();
    thing.properties.insert(TRAFFIC.to_owned(), Value::Integer(33));
    thing.serial = serial;
    assert!(next(&world, &keeper, &wanted).is_empty(), "not due");
    later(&mut world, &mut keeper, INTERVAL);
    assert_eq!(shares(only(&next(&world, &keeper, &wanted))), (33, 50));
}

#[test]
fn a_revert_in_the_middle_is_at_once_and_so_is_a_rollback() {
    let (mut world, mut keeper, mut wanted) = rolled();
    let before = wanted.clone();
    level(&mut wanted, "debug");
    keeper.pass(&mut world, &wanted, None);
    let planned = next(&world, &keeper, &before);
    assert_eq!(shares(only(&planned)), (10, 100));
    assert!(planned.rolling.is_empty());
    keeper.pass(&mut world, &before, None);
    assert!(next(&world, &keeper, &before).is_empty());

    level(&mut wanted, "trace");
    keeper.steering.at_once = true;
    let planned = next(&world, &keeper, &wanted);
    assert_eq!((only(&planned).after.as_ref().unwrap().get(TRAFFIC), planned.rolling.len()), (None, 0));
}

#[test]
fn a_commit_in_the_middle_begins_anew_beside_the_version_that_has_most() {
    let (mut world, mut keeper, mut wanted) = rolled();
    let first = digest(&keeper, &mut wanted);
    level(&mut wanted, "debug");
    keeper.pass(&mut world, &wanted, None);
    level(&mut wanted, "trace");
    assert_eq!(shares(only(&next(&world, &keeper, &wanted))), (0, 10));
    keeper.pass(&mut world, &wanted, None);
    let thing = world.things.values().find(|thing| thing.claim == "ads-api").unwrap();
    assert_eq!(thing.split.as_ref().unwrap().0, Some(first));
    assert_eq!(deployed(&world), [100, 10, 10]);
}

#[test]
fn what_drifted_from_all_requests_comes_back_to_all_of_them() {
    let (mut world, keeper, wanted) = rolled();
    touch(&mut world, trunkline::model::Kind::Worker, "ads-api", |properties| {
        super::rules::set(properties, "bindings", "LOG_LEVEL", None);
    });
    let planned = next(&world, &keeper, &wanted);
    assert!(only(&planned).is_drift_only() && !only(&planned).after.as_ref().unwrap().contains_key(TRAFFIC), "{planned:#?}");
}

#[test]
fn a_definition_without_a_rollout_ends_one_that_is_under_way() {
    let (mut world, mut keeper, mut wanted) = rolled();
    level(&mut wanted, "debug");
    keeper.pass(&mut world, &wanted, None);
    api(&mut wanted).rollout = None;
    assert_eq!(shares(only(&next(&world, &keeper, &wanted))), (10, 100));
}

#[test]
fn what_cannot_be_gradual_is_said_as_text_and_json() {
    let said = |planned: &Plan, text: &str| {
        let page = render_text(planned, &|_| None, &RenderOptions::default());
        assert!(page.contains(&format!("! worker.ads-api on main: {text}")), "{page}");
        let json = to_json(planned);
        assert_eq!(json["warnings"][0]["address"], "production/worker.ads-api");
        assert!(json["warnings"][0]["message"].as_str().unwrap().starts_with(text), "{json:#}");
    };
    let (mut world, mut keeper, mut wanted) = rolled();
    said(
        &next(&World::default(), &Keeper { marks: keeper.marks.clone(), ..Keeper::default() }, &wanted),
        "a first upload cannot",
    );
    let step = trunkline::model::Migration { tag: "v1".into(), steps: [("new_classes".into(), Value::List(vec![]))].into() };
    api(&mut wanted).migrations = vec![step];
    let planned = next(&world, &keeper, &wanted);
    said(&planned, "a change of Durable Object classes cannot be gradual");
    assert!(!only(&planned).after.as_ref().unwrap().contains_key(TRAFFIC));
    keeper.pass(&mut world, &wanted, None);
    let planned = next(&world, &keeper, &wanted);
    assert!(planned.is_empty() && planned.warnings.is_empty(), "what runs is no warning: {planned:#?}");
    // What is to come is said as well.
    level(&mut wanted, "debug");
    let planned = next(&world, &keeper, &wanted);
    let page = render_text(&planned, &|_| None, &RenderOptions::default());
    assert!(page.contains("+ traffic = 10") && page.contains("  worker.ads-api on main: 10 %, 50 % from "), "{page}");
    assert_eq!(to_json(&planned)["rolling"][0]["next"], 50);
}

#[test]
fn what_people_say_counts_for_what_they_said_it_of() {
    let (mut world, mut keeper, mut wanted) = rolled();
    level(&mut wanted, "debug");
    let address = key("worker.ads-api@main").address;
    keeper.steering.paused.insert(Some(address), "by ada".to_owned());
    keeper.pass(&mut world, &wanted, None);
    later(&mut world, &mut keeper, INTERVAL * 10);
    let planned = next(&world, &keeper, &wanted);
    assert!(planned.is_empty(), "{planned:#?}");
    assert_eq!((rolling(&planned).due, rolling(&planned).paused.as_deref()), (None, Some("by ada")));
    // A step by hand while it is paused; and a word for another version, which counts for nothing.
    let mine = digest(&keeper, &mut wanted);
    keeper.steering.promoted.insert(key("worker.ads-api@main"), (Digest::of(b"another"), 90));
    assert!(next(&world, &keeper, &wanted).is_empty());
    keeper.steering.promoted.insert(key("worker.ads-api@main"), (mine, 70));
    assert_eq!(shares(only(&next(&world, &keeper, &wanted))), (10, 70));
    keeper.pass(&mut world, &wanted, None);
    assert!(next(&world, &keeper, &wanted).is_empty(), "it was followed once");
    keeper.steering.paused.clear();
    keeper.steering.paused.insert(None, "by bob".to_owned());
    assert!(next(&world, &keeper, &wanted).is_empty());
}

/// What happens in a history.
#[derive(Debug, Clone)]
enum Event {
    Commit(u8),
    Wait(i64),
    Pause(bool),
    Promote(u8),
    Pass(Option<Moment>),
    LoseStore,
}

fn an_event() -> impl Strategy<Value = Event> {
    let moment = prop_oneof![Just(Moment::Effect), Just(Moment::Record)];
    prop_oneof![
        2 => (0..3u8).prop_map(Event::Commit),
        3 => (0..90i64).prop_map(Event::Wait),
        1 => any::<bool>().prop_map(Event::Pause),
        1 => (1..=100u8).prop_map(Event::Promote),
        6 => prop::option::of(moment).prop_map(Event::Pass),
        1 => Just(Event::LoseStore),
    ]
}

/// What one version came to, deployment by deployment.
#[derive(Default)]
struct Seen {
    live: Option<(Option<Digest>, u8, DateTime<Utc>)>,
    /// Digest of the version before the live one.
    former: Option<Digest>,
    deployments: usize,
}

impl Seen {
    /// Checks what a pass deployed: at most one deployment, and none that is more than one step away.
    fn check(&mut self, world: &World, keeper: &Keeper) {
        let new = &world.deployments[self.deployments..];
        assert!(new.len() <= 1, "{new:?}");
        self.deployments = world.deployments.len();
        let Some((version, share)) = new.first().copied() else { return };
        let steering = &keeper.steering;
        let (live, had, since) = self.live.unwrap_or_default();
        let promoted = steering.promoted.get(&key("worker.ads-api@main"));
        if live == version && had < 100 {
            let said = promoted.is_some_and(|(digest, to)| Some(*digest) == version && *to == share);
            let step = STEPS.into_iter().find(|step| *step > had) == Some(share);
            let due = world.now - since >= TimeDelta::seconds(INTERVAL) && steering.paused.is_empty();
            assert!(said || step && due, "{had} -> {share} after {}: {:?}", world.now - since, steering);
        } else {
            let reverted = had < 100 && self.former == version && share == 100;
            assert!(share == STEPS[0] || reverted, "{version:?} begins at {share}: {:?}", world.deployments);
        }
        let split = world.things.values().find(|thing| thing.claim == "ads-api").and_then(|thing| thing.split);
        self.former = split.and_then(|(former, _)| former);
        self.live = Some((version, share, world.now));
    }
}

fn history(events: &[Event]) -> usize {
    let (mut world, mut keeper, mut wanted) = rolled();
    let mut seen = Seen { deployments: world.deployments.len(), ..Seen::default() };
    seen.live = world.deployments.last().map(|(version, share)| (*version, *share, world.now));
    for event in events {
        match event {
            Event::Commit(text) => level(&mut wanted, &text.to_string()),
            Event::Wait(seconds) => later(&mut world, &mut keeper, *seconds),
            Event::Pause(true) => drop(keeper.steering.paused.insert(None, "by ada".to_owned())),
            Event::Pause(false) => keeper.steering.paused.clear(),
            Event::Promote(to) => {
                let digest = digest(&keeper, &mut wanted);
                keeper.steering.promoted.insert(key("worker.ads-api@main"), (digest, *to));
            }
            Event::LoseStore => {
                keeper.inventory.clear();
                keeper.attempts.clear();
            }
            Event::Pass(crash) => {
                keeper.pass(&mut world, &wanted, crash.map(|moment| Crash { at: 0, moment }));
                seen.check(&world, &keeper);
            }
        }
    }
    keeper.steering.paused.clear();
    for _ in 0..8 {
        later(&mut world, &mut keeper, INTERVAL);
        keeper.pass(&mut world, &wanted, None);
        seen.check(&world, &keeper);
    }
    let planned = next(&world, &keeper, &wanted);
    assert!(planned.is_empty() && planned.rolling.is_empty(), "it does not come to all requests: {planned:#?}");
    world.deployments.len()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_history_makes_a_version_jump(events in prop::collection::vec(an_event(), 1..30)) {
        history(&events);
    }
}

#[test]
fn the_histories_of_versions_reach_what_they_are_for() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut one = || history(&prop::collection::vec(an_event(), 1..30).new_tree(&mut runner).unwrap().current());
    let deployments: usize = (0..100).map(|_| one()).sum();
    assert!(deployments > 400, "{deployments}");
}
