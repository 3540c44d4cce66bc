//! Asks the rules of one set about one input.
//!
//! **Invariant:** whatever goes wrong is a denial: a fault in a rule, an answer of another shape than messages, a rule
//! that thinks for too long.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use regorus::{Engine, Value};
use serde::Deserialize;

use super::approve::Message;
use super::rules::{Complaint, Effect, RuleSet, complaint};

/// What the rules say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Opinion {
    pub(super) denials: BTreeSet<Message>,
    pub(super) warnings: BTreeSet<Message>,
}

/// What every rule of `rules` says to `input`.
pub(super) fn judge(rules: &RuleSet, input: &serde_json::Value) -> Opinion {
    let mut opinion = Opinion::default();
    if rules.judges.is_empty() {
        return opinion;
    }
    let mut engine = rules.engine.clone();
    engine.set_input(value(input));
    for rule in &rules.judges {
        match ask(&mut engine, &rule.name).and_then(|answer| messages(&rule.name, &answer)) {
            Ok(messages) => match rule.effect {
                Effect::Deny => opinion.denials.extend(messages),
                Effect::Warn => opinion.warnings.extend(messages),
            },
            Err(fault) => {
                opinion.denials.insert(broken(&rule.name, &fault));
            }
        }
    }
    opinion
}

/// A JSON value as the evaluator has it.
fn value(json: &serde_json::Value) -> Value {
    serde_json::from_value(json.clone()).expect("every JSON value is a Rego value")
}

/// The answer of the rule `name` (`trunkline.files.deny`), or what went wrong with its place.
pub(super) fn ask(engine: &mut Engine, name: &str) -> Result<Value, String> {
    // The evaluator is not ours, and the rules are anybody's who can open a pull request: a panic in it is a fault of the
    // rule. The engine is not used again where it holds a broken state, since every ask begins by clearing it.
    match catch_unwind(AssertUnwindSafe(|| engine.eval_rule(format!("data.{name}")))) {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            let text = error.to_string();
            let Complaint { place, message } = complaint(&text);
            Err(match place {
                Some((path, line, column)) => format!("{path}:{line}:{column}: {message}"),
                None => message.to_owned(),
            })
        }
        Err(_) => Err("the evaluator gave up on it".to_owned()),
    }
}

fn broken(rule: &str, fault: &str) -> Message {
    Message {
        rule: rule.to_owned(),
        message: format!("the rule cannot judge: {fault}"),
        address: None,
        hint: Some(
            "correct the rule; where the commit that does so is held by it, pin rules in the daemon's settings".to_owned(),
        ),
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Said {
    Text(String),
    Table { msg: String, address: Option<String>, hint: Option<String> },
}

fn messages(rule: &str, answer: &Value) -> Result<Vec<Message>, String> {
    let shape = || "its answer is not a set of texts or of objects with `msg`, `address` and `hint`".to_owned();
    match answer {
        Value::Undefined => Ok(Vec::new()),
        Value::Set(_) | Value::Array(_) => {
            let json = serde_json::to_value(answer).map_err(|_| shape())?;
            let said: Vec<Said> = serde_json::from_value(json).map_err(|_| shape())?;
            Ok(said.into_iter().map(|said| message(rule, said)).collect())
        }
        _ => Err(shape()),
    }
}

fn message(rule: &str, said: Said) -> Message {
    let rule = rule.to_owned();
    match said {
        Said::Text(message) => Message { rule, message, address: None, hint: None },
        Said::Table { msg, address, hint } => match address.as_deref().map(str::parse) {
            None => Message { rule, message: msg, address: None, hint },
            Some(Ok(address)) => Message { rule, message: msg, address: Some(address), hint },
            // Not an address, but still something that the rule wanted to say.
            Some(Err(_)) => Message { rule, message: format!("{}: {msg}", address.unwrap_or_default()), address: None, hint },
        },
    }
}
