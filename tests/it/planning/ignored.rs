//! `ignore`: what is left as it is, whoever changes it.

use trunkline::model::{Kind, Properties, Value};
use trunkline::plan::Action;

use super::rules::{api, applied, changed, next, only, set, touch};
use super::sketch::{key, text_binding};
use super::world::{Keeper, World};

fn plain(text: &str) -> Value {
    Value::Table([("type".to_owned(), "plain_text".into()), ("text".to_owned(), text.into())].into())
}

#[test]
fn an_ignored_field_is_neither_drift_nor_changed_by_an_apply() {
    let (mut world, mut keeper, mut wanted) = applied();
    worker_of(&mut wanted).ignore = ["bindings.LOG_LEVEL", "compatibility_date", "crons"].map(str::to_owned).into();
    touch(&mut world, Kind::Worker, "ads-api", |p| {
        set(p, "bindings", "LOG_LEVEL", Some(plain("trace")));
        set(p, "crons", "1 2 3 4 *", Some(Value::Bool(true)));
        p.insert("compatibility_date".to_owned(), "2020-01-01".into());
    });
    assert!(next(&world, &keeper, &wanted).is_empty());

    // Something else changes: what is ignored stays, and a definition of it changes nothing.
    api(&mut wanted).bindings.insert("LOG_LEVEL".into(), text_binding("debug"));
    api(&mut wanted).bindings.insert("NEW".into(), text_binding("new"));
    api(&mut wanted).crons.clear();
    let plan = next(&world, &keeper, &wanted);
    let fields = changed(only(&plan));
    assert!(!fields.is_empty() && fields.iter().all(|field| field.starts_with("bindings.NEW")), "{fields:?}");
    let foreign = &only(&plan).foreign;
    assert!(foreign["bindings"].contains("LOG_LEVEL") && foreign["crons"].contains("1 2 3 4 *"), "{foreign:?}");
    keeper.pass(&mut world, &wanted, None);
    let live = &world.things.values().find(|thing| thing.kind == Kind::Worker).unwrap().properties;
    assert_eq!(live["bindings"].as_table().unwrap()["LOG_LEVEL"], plain("trace"));
    assert_eq!(live["compatibility_date"], Value::text("2020-01-01"));
    assert!(next(&world, &keeper, &wanted).is_empty());

    // Somebody takes it away altogether: it is not put back. Without `ignore` it is.
    touch(&mut world, Kind::Worker, "ads-api", |p: &mut Properties| {
        set(p, "bindings", "LOG_LEVEL", None);
        p.remove("compatibility_date");
    });
    assert!(next(&world, &keeper, &wanted).is_empty());
    worker_of(&mut wanted).ignore.clear();
    let fields = changed(only(&next(&world, &keeper, &wanted)));
    assert!(fields.iter().any(|field| field.starts_with("bindings.LOG_LEVEL")), "{fields:?}");
    assert!(fields.contains(&"compatibility_date".to_owned()), "{fields:?}");
}

#[test]
fn what_is_made_is_what_the_definition_says() {
    let (_, _, mut wanted) = applied();
    worker_of(&mut wanted).ignore = ["bindings".to_owned(), "workers_dev".to_owned()].into();
    let plan = next(&World::default(), &Keeper::default(), &wanted);
    let made = plan.changes.iter().find(|change| change.key == key("worker.ads-api@main")).unwrap();
    assert_eq!(made.action, Action::Create);
    assert!(made.after.as_ref().unwrap()["bindings"].as_table().unwrap().contains_key("LOG_LEVEL"));
}

fn worker_of(wanted: &mut trunkline::model::DesiredState) -> &mut trunkline::model::Desired {
    wanted.resources.get_mut(&key("worker.ads-api@main")).unwrap()
}
