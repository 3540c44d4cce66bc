//! The plan as people and machines see it: whole pages.

use std::collections::BTreeMap;
use std::sync::Arc;

use trunkline::model::{Contents, Digest, Kind, SecretMark, Spec, Value};
use trunkline::plan::{RenderOptions, render_text, to_json};

use super::sketch::{address, desired, file, key, kv, kv_binding, mark, secret, state, text_binding, worker};
use super::world::{Keeper, World};

fn contents(texts: &[&str]) -> Contents {
    texts.iter().map(|text| (Digest::of(text.as_bytes()), Arc::from(text.as_bytes()))).collect()
}

/// One of everything that a plan can show.
fn scene() -> (trunkline::plan::Plan, Contents) {
    let (old, new) = ("line 1\nline 2\nline 3\n", "line 1\nline two \u{1b}[31m\nline 3\n");
    let mut wanted = state();
    let mut api = worker("ads-api", old);
    api.bindings = [
        ("LOG_LEVEL".to_owned(), text_binding("info")),
        ("STRIPE".to_owned(), secret("stripe-key")),
        ("OTHER".to_owned(), secret("other-key")),
    ]
    .into();
    wanted.resources.insert(key("worker.ads-api@main"), desired(Spec::Worker(api.clone())));
    wanted.resources.insert(key("kv.sessions@main"), desired(kv("sessions-production")));
    wanted.resources.insert(key("kv.archive@main"), desired(kv("archive-production")));
    wanted.resources.insert(key("file.gone@fra1"), desired(Spec::File(file("/etc/gone", old))));
    let mut world = World::default();
    let marks =
        |stripe: &str| [("stripe-key", stripe), ("other-key", "o")].map(|(name, text)| (name.parse().unwrap(), mark(text)));
    let mut keeper = Keeper { marks: marks("s1").into(), acknowledged: [address("kv.sessions")].into(), ..Keeper::default() };
    keeper.pass(&mut world, &wanted, None);
    let id = world.find(&"main".parse().unwrap(), Kind::Worker, "ads-api").unwrap();
    world.touch(id, |properties| {
        properties.insert("workers_dev".into(), Value::Bool(true));
        let Some(Value::Table(bindings)) = properties.get_mut("bindings") else { panic!() };
        bindings.insert("THEIRS".into(), Value::Table(BTreeMap::new()));
    });
    keeper.marks = marks("s2").into();
    wanted.resources.clear();
    api.bindings.insert("LOG_LEVEL".into(), text_binding("debug"));
    api.modules.get_mut("index.js").unwrap().content = trunkline::model::Content::of(new.as_bytes());
    wanted.resources.insert(key("worker.ads-api@main"), desired(Spec::Worker(api)));
    let mut edge = worker("edge", old);
    edge.bindings.insert("CACHE".into(), kv_binding("cache"));
    let mut edge = desired(Spec::Worker(edge));
    edge.depends_on = [key("kv.cache@second")].into();
    wanted.resources.insert(key("worker.edge@second"), edge);
    wanted.resources.insert(key("kv.cache@second"), desired(kv("cache")));
    wanted.resources.insert(key("file.motd@fra1"), desired(Spec::File(file("/etc/motd", new))));
    world.make(&"second".parse().unwrap(), Kind::Kv, "taken", BTreeMap::new());
    wanted.resources.insert(key("kv.taken@second"), desired(kv("taken")));
    (keeper.look(&world, &wanted).1, contents(&[old, new]))
}

fn page(plan: &trunkline::plan::Plan, contents: &Contents, colour: bool) -> String {
    render_text(plan, &|digest| contents.get(digest).cloned(), &RenderOptions { colour, ..RenderOptions::default() })
}

#[test]
fn a_plan_is_a_page() {
    let (plan, contents) = scene();
    assert_eq!(page(&plan, &contents, false), include_str!("plan.txt"));
}

#[test]
fn colour_adds_nothing_but_colour() {
    let (plan, contents) = scene();
    let mut coloured = page(&plan, &contents, true);
    assert!(coloured.contains("\u{1b}[31m"));
    for code in ["\u{1b}[31m", "\u{1b}[32m", "\u{1b}[33m", "\u{1b}[2m", "\u{1b}[0m"] {
        coloured = coloured.replace(code, "");
    }
    assert_eq!(coloured, page(&plan, &contents, false));
}

#[test]
fn no_mark_and_no_control_character_comes_out() {
    let (plan, contents) = scene();
    let (text, json) = (page(&plan, &contents, false), to_json(&plan).to_string());
    for secret in ["s1", "s2", "o"] {
        let SecretMark::Hmac(mark) = mark(secret) else { panic!() };
        assert!(serde_json::to_string(&plan).unwrap().contains(&mark) || secret == "o", "the plan itself holds {secret}");
        assert!(!text.contains(&mark[..8]) && !json.contains(&mark[..8]), "a mark came out");
    }
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'));
}

#[test]
fn what_is_large_or_no_text_is_bounded() {
    let mut wanted = state();
    let long: String = (0..1000).map(|n| format!("{n}\n")).collect();
    let wide = "x".repeat(5000);
    let binary = "\0\u{1}";
    let huge = "y\n".repeat(100_000);
    for (number, text) in [long.as_str(), &wide, binary, &huge].into_iter().enumerate() {
        wanted.resources.insert(key(&format!("file.f{number}@fra1")), desired(Spec::File(file(&format!("/f{number}"), text))));
    }
    let (_, plan) = Keeper::default().look(&World::default(), &wanted);
    let text = page(&plan, &contents(&[&long, &wide, binary, &huge]), false);
    assert!(text.contains("… 940 more lines") && text.contains("(binary)") && text.contains("(too large to be shown)"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() < 220) && text.lines().count() < 120);
    let without = render_text(&plan, &|_| None, &RenderOptions::default());
    assert!(without.contains("sha256:"), "{without}");
}

#[test]
fn machines_get_version_one() {
    let (plan, _) = scene();
    let json = to_json(&plan);
    assert_eq!(json["version"], 1);
    assert_eq!(json["environment"], "production");
    assert_eq!(json["digest"], plan.digest().to_string());
    let summary =
        serde_json::json!({ "create": 3, "update": 1, "adopt": 0, "move": 0, "delete": 2, "orphaned": 1, "blocked": 1 });
    assert_eq!(json["summary"], summary);
    let update = json["changes"].as_array().unwrap().iter().find(|c| c["action"] == "update").unwrap();
    assert_eq!(update["address"], "production/worker.ads-api");
    assert_eq!(update["reversible"], "with_loss");
    let field = |name: &str| update["fields"].as_array().unwrap().iter().find(|f| f["field"] == name).unwrap().clone();
    assert_eq!(field("bindings.LOG_LEVEL.text")["after"], "debug");
    assert_eq!(field("bindings.STRIPE.text")["after"], serde_json::json!({ "$secret": "changed" }));
    assert_eq!(update["foreign"], serde_json::json!({ "bindings": ["THEIRS"] }));
    let delete = json["changes"].as_array().unwrap().iter().find(|c| c["kind"] == "kv" && c["action"] == "delete").unwrap();
    assert_eq!((&delete["reversible"], &delete["after"]), (&"no".into(), &serde_json::Value::Null));
}

#[test]
fn an_empty_plan_says_so() {
    let (_, plan) = Keeper::default().look(&World::default(), &state());
    assert_eq!(page(&plan, &Contents::new(), false), "Plan for production\n\nNothing to do.\n");
}
