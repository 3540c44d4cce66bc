//! Every field of every definition that can hold text, with what a shell, systemd, `ssh`, apt, Docker, a path, a template or a
//! terminal would take for more than text (THREATS X1 to X4): it is refused where it stands, or reaches the machine as exactly
//! one argument, or exactly the content.
//!
//! The fields are those of the schema; one for which there is no place here fails by name. What is accepted is written down in
//! `tests/cases/payloads.txt`, so that a field that comes to take more is seen; `UPDATE_EXPECT=1` rewrites it.

mod fields;
mod judge;
mod list;
mod machine;
mod places;
mod ssh;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Mutex;

use judge::{Judge, Verdict, holds, names};
use list::{Form, HOLE, Payload, payloads};
use places::{Place, places};
use trunkline::model::Bundle;

/// Fields of the schema in which no text at all is legitimate: numbers, of which it does not say so, and `ignore` of kinds
/// without a field that can be left as it is.
const NEVER: [&str; 5] = [
    "dispatch_namespace.*.ignore.[]",
    "kv.*.ignore.[]",
    "mtls_certificate.*.ignore.[]",
    "worker.*.observability.head_sampling_rate",
    "worker.*.observability.logs.head_sampling_rate",
];

#[test]
fn every_field_that_can_hold_text_has_a_place_in_which_it_is_legitimate() {
    let mut fields = fields::fields(&trunkline::definition::json_schema());
    for never in NEVER {
        assert!(fields.remove(never), "{never} is not in the schema");
    }
    assert!(fields.len() > 300, "only {} fields", fields.len());
    let places = places();
    let missing: Vec<&String> = fields.iter().filter(|field| !places.contains_key(*field)).collect();
    assert!(missing.is_empty(), "fields of the schema without a place in tests/it/payloads/places: {missing:#?}");
    // What is within a service of Compose is in the words of a Compose file, which the schema leaves open.
    let is_within = |place: &str| place.starts_with("compose.*.services.*.");
    let unknown: Vec<&String> = places.keys().filter(|place| !fields.contains(*place) && !is_within(place)).collect();
    assert!(unknown.is_empty(), "places of fields that the schema does not have: {unknown:#?}");
    let mut judge = Judge::new();
    let mut wrong = Vec::new();
    for (field, Place { file, text }) in places {
        let text = text.replace(HOLE, "").replace("KEY", "key");
        match judge.of(file, &text) {
            Ok(Verdict::Accepted(_)) => {}
            Ok(Verdict::Refused) => wrong.push(format!("{field} is refused: {text}")),
            Err(why) => wrong.push(format!("{field}: {why}: {text}")),
        }
    }
    assert!(wrong.is_empty(), "places that are not legitimate:\n{}", wrong.join("\n"));
}

/// Whether what was accepted is in the state as it is; some of it is not there as text.
fn is_there((field, is_unchanged): (&str, bool), value: &str, accepted: &(Bundle, String)) -> bool {
    match field {
        // A word of systemd's, with `%` and `$` doubled; a test of its own looks at what becomes of it there.
        "unit.*.vars.*" => true,
        // Only what a template makes of it is there.
        "host.*.vars.*" => true,
        // What a base brings, or does not: the paths of its files and the names of resources are found.
        "environment.extends.[]" | "environment.remove.[]" => true,
        // The files that are found by it are there.
        "worker.*.modules.[]" | "worker.*.build.inputs.[]" => true,
        // A number, or one of a closed list.
        "environment.sync.batch"
        | "environment.sync.interval"
        | "environment.sync.drift"
        | "worker.*.rollout.interval"
        | "worker.*.exports.*.state" => true,
        // Parts of it are: a name and an address, the lines of an armor, the sort of a key and the key.
        "host.*.connect" => {
            names(&accepted.0, value.trim_start_matches("ssh://deploy@"))
                || holds(accepted, value.trim_start_matches("ssh://deploy@"))
        }
        "secret.*.age" | "host.*.host_key" => true,
        field if field.ends_with(".vars.<key>") => true,
        field if field.ends_with(".<key>") || field.ends_with(".moved") => names(&accepted.0, value) || holds(accepted, value),
        // Nothing was put in.
        _ if is_unchanged => true,
        // A word of a unit that we write, where systemd reads `$$` as `$`.
        "edge_runtime.*.registry" => holds(accepted, &value.trim_end_matches('/').replace('$', "$$")),
        // One final dot, or slash, means nothing.
        field if field.ends_with("zone") || field.ends_with("zone_name") || field.ends_with("endpoint") => {
            holds(accepted, value) || holds(accepted, value.trim_end_matches(['.', '/']))
        }
        // Within an account.
        "pm2.*.name" => holds(accepted, &format!("root/{value}")),
        // A name and what it is; a volume and where.
        "compose.*.services.*.environment.[]" | "compose.*.services.*.volumes.[]" => {
            value.split_once(['=', ':']).is_some_and(|(name, value)| holds(accepted, name) && holds(accepted, value))
        }
        // Text in quotes is what is in them.
        "dns.*.content" => holds(accepted, value) || holds(accepted, value.trim_matches('"')),
        _ => holds(accepted, value) || names(&accepted.0, value),
    }
}

/// What is accepted, with the state; what is refused; or what is wrong with how it is refused.
type Judged = Result<Option<(String, Rc<(Bundle, String)>)>, String>;

/// Of each payload, all at once where they can be told apart.
fn judged<'a>(judge: &mut Judge, place: &Place, form: Form, payloads: &[&'a Payload]) -> Vec<(&'a Payload, Judged)> {
    if let Some((accepted, state)) = judge.together(place, form, payloads) {
        let state = state.map(|state| Rc::new(*state));
        let one = |(at, payload): (usize, &&'a Payload)| {
            let value = accepted.get(&at).zip(state.as_ref());
            (*payload, Ok(value.map(|(value, state)| (value.clone(), Rc::clone(state)))))
        };
        return payloads.iter().enumerate().map(one).collect();
    }
    let mut one = |payload: &&'a Payload| {
        let judged = judge.verdict(place, form, payload).map(|(value, verdict)| match verdict {
            Verdict::Refused => None,
            Verdict::Accepted(state) => Some((value, Rc::new(*state))),
        });
        (*payload, judged)
    };
    payloads.iter().map(&mut one).collect()
}

/// What is read for all kinds by the same code is tried with everything in one of them.
fn is_tried(field: &str, payload: &str) -> bool {
    let (kind, rest) = field.split_once('.').unwrap_or((field, ""));
    let is_shared = rest.starts_with("*.on.") || matches!(rest, "*.moved" | "*.ignore.[]" | "<key>");
    let some = ["substitution", "exec-line", "NUL", "right-to-left", "short-option", "parent", "space", "empty"];
    !is_shared || matches!(kind, "file" | "tunnel") || some.contains(&payload)
}

#[test]
fn a_payload_is_refused_where_it_stands_or_taken_as_it_is() {
    let places: Vec<(String, Place)> = places().into_iter().collect();
    let payloads = payloads();
    let next = Mutex::new(places.iter());
    let (said, wrong) = (Mutex::new(BTreeMap::new()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                let mut judge = Judge::new();
                loop {
                    let Some((field, place)) = next.lock().unwrap().next() else { return };
                    let mut accepted: BTreeMap<Form, Vec<&str>> = BTreeMap::new();
                    for form in Form::BOTH {
                        let tried: Vec<&Payload> = payloads.iter().filter(|payload| is_tried(field, payload.name)).collect();
                        for (payload, judged) in judged(&mut judge, place, form, &tried) {
                            let is_unchanged = form == Form::Within && payload.text.is_empty();
                            let fault = match judged {
                                Ok(None) => continue,
                                Ok(Some((value, state))) => {
                                    accepted.entry(form).or_default().push(payload.name);
                                    if is_there((field, is_unchanged), &value, &state) {
                                        continue;
                                    }
                                    format!("it is accepted, and is nowhere as it is: {value:.200}")
                                }
                                Err(fault) => fault,
                            };
                            wrong.lock().unwrap().push(format!("{field}, {}, {form:?}: {fault}", payload.name));
                        }
                    }
                    said.lock().unwrap().insert(field, accepted);
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    let names: Vec<&str> = payloads.iter().map(|payload| payload.name).collect();
    let page = page(&said.into_inner().unwrap(), &names);
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/payloads.txt");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    let differences = similar::TextDiff::from_lines(&expected, &page);
    assert!(page == expected, "another set is accepted (UPDATE_EXPECT=1 rewrites it):\n{}", differences.unified_diff());
}

/// What each field accepts: all of it where that is less to say than what it refuses.
fn page(said: &BTreeMap<&String, BTreeMap<Form, Vec<&str>>>, names: &[&str]) -> String {
    let mut page = String::from("What each field accepts of tests/it/payloads/list.rs, alone and within what it may hold.\n");
    for (field, accepted) in said {
        writeln!(page, "{field}").unwrap();
        for form in Form::BOTH {
            let taken = accepted.get(&form).map(Vec::as_slice).unwrap_or_default();
            let left: Vec<&str> = names.iter().copied().filter(|name| is_tried(field, name) && !taken.contains(name)).collect();
            let form = if form == Form::Alone { "alone" } else { "within" };
            match (taken.len(), left.len()) {
                (0, _) => {}
                (_, 0) => writeln!(page, "  {form}: all").unwrap(),
                (taken, left_out) if left_out < taken => writeln!(page, "  {form}: all but {}", left.join(" ")).unwrap(),
                _ => writeln!(page, "  {form}: {}", taken.join(" ")).unwrap(),
            }
        }
    }
    page
}
