//! Rules in Rego, read and checked: what a plan is judged by.
//!
//! Rego v1 as Open Policy Agent has it, by regorus. A file `*.rego` holds a package at or below `trunkline`; its rules
//! `deny`, `warn` and `violation` judge, and so do `deny_…`, `warn_…`, `violation_…`, as conftest has it. Files
//! `*_test.rego` hold tests and never judge.
//!
//! **Invariant:** a rule reads its input and nothing else: no clock, no chance, no network, no machine. What would is
//! refused when the rules are read, and again, whatever the spelling, when it is called.

use std::num::NonZeroU32;
use std::time::Duration;

use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, Value};

use super::ratchet::RuleFiles;
use super::token::{Sort, Token, outer_names, tokens, uses};
use crate::model::{Diagnostic, Digest, canonical_digest};

/// Functions that read something besides their arguments, and what to use instead.
const IMPURE: [(&str, u8, &str); 6] = [
    ("time.now_ns", 0, "use `input.now_ns`, or `input.now` for the text"),
    ("http.send", 1, "put what the rule needs into the rule's own file"),
    ("net.lookup_ip_addr", 1, "put what the rule needs into the rule's own file"),
    ("opa.runtime", 0, "put what the rule needs into the rule's own file"),
    ("rand.intn", 2, "a rule gives the same answer each time"),
    ("uuid.rfc4122", 1, "a rule gives the same answer each time"),
];

/// The longest list that a rule may ask for at once.
const LONGEST_RANGE: u64 = 100_000;

/// For how long all the rules of a set may think, in seconds; each has an equal part, but never less than half a second.
const THINKING_SECONDS: u32 = 4;

/// What a rule's messages do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Effect {
    Deny,
    Warn,
}

impl Effect {
    fn of(name: &str) -> Option<Self> {
        match name.split('_').next()? {
            "deny" | "violation" => Some(Self::Deny),
            "warn" => Some(Self::Warn),
            _ => None,
        }
    }
}

/// A rule that judges.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Judge {
    /// Its package and name, `trunkline.files.deny`.
    pub(super) name: String,
    pub(super) effect: Effect,
}

/// Rules that were read and found sound.
#[derive(Debug, Clone)]
pub struct RuleSet {
    pub(super) engine: Engine,
    pub(super) judges: Vec<Judge>,
    digest: Digest,
}

impl RuleSet {
    /// Reads the rules of `files`, by path. What is not named `*.rego` is passed over, and so are tests.
    ///
    /// # Errors
    /// Every fault of every file, where each stands: not UTF-8, not Rego v1, a package outside `trunkline`, a function
    /// that reads the clock, chance, the network or the machine.
    pub fn compile(files: &RuleFiles) -> Result<Self, Vec<Diagnostic>> {
        let mut faults = Vec::new();
        let sources: Vec<Source> =
            files.iter().filter(|(path, _)| is_rule_file(path)).filter_map(|f| source(f, &mut faults)).collect();
        let (mut engine, modules) = read(&sources, &mut faults);
        let judges = modules.iter().flat_map(|module| judges(&engine, module)).collect::<std::collections::BTreeSet<_>>();
        if faults.is_empty()
            && let Err(error) = engine.eval_bool_query("true".to_owned(), false)
        {
            // Only here does the evaluator look at the modules as a whole: unsafe variables, conflicts, recursion.
            faults.push(diagnostic(&error.to_string(), &sources));
        }
        if !faults.is_empty() {
            faults.sort();
            return Err(faults);
        }
        limit(&mut engine, judges.len());
        Ok(Self { engine, judges: judges.into_iter().collect(), digest: digest(files) })
    }

    /// The digest over the paths and contents of the files that judge: equal digests, equal rules.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How many rules judge.
    pub fn len(&self) -> usize {
        self.judges.len()
    }

    /// Whether no rule judges.
    pub fn is_empty(&self) -> bool {
        self.judges.is_empty()
    }
}

/// The digest over what judges among `files`.
pub(super) fn digest(files: &RuleFiles) -> Digest {
    let counted: Vec<_> =
        files.iter().filter(|(path, _)| is_rule_file(path)).map(|(path, bytes)| (path, Digest::of(bytes))).collect();
    canonical_digest(&counted)
}

fn is_rule_file(path: &str) -> bool {
    path.ends_with(".rego") && !is_test_file(path)
}

pub(super) fn is_test_file(path: &str) -> bool {
    path.ends_with("_test.rego")
}

/// A file as text.
pub(super) struct Source<'a> {
    pub(super) path: &'a str,
    text: &'a str,
    tokens: Vec<Token<'a>>,
}

pub(super) fn source<'a>(
    (path, bytes): (&'a String, &'a std::sync::Arc<[u8]>),
    faults: &mut Vec<Diagnostic>,
) -> Option<Source<'a>> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(Source { path, text, tokens: tokens(text) }),
        Err(error) => {
            let at = error.valid_up_to();
            faults.push(Diagnostic::error(path, Some(at..at), "the file is not UTF-8"));
            None
        }
    }
}

/// A file that the evaluator took.
pub(super) struct Module<'a> {
    pub(super) path: &'a str,
    /// Such as `trunkline.files`.
    pub(super) package: String,
    tokens: &'a [Token<'a>],
}

impl Module<'_> {
    /// The rules of the file whose names satisfy `wanted`.
    pub(super) fn rules(&self, engine: &Engine, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        outer_names(self.tokens, wanted)
            .into_iter()
            .filter(|name| {
                let rule = format!("data.{}.{name}", self.package);
                // An error here is a name that the evaluator cannot classify: asking for it later shows why.
                engine.has_declared_rule_rooted_at(self.path, &rule).unwrap_or(true)
            })
            .map(str::to_owned)
            .collect()
    }
}

/// An engine with every source that can be read, and what it took; the rest are `faults`.
pub(super) fn read<'a>(sources: &'a [Source<'a>], faults: &mut Vec<Diagnostic>) -> (Engine, Vec<Module<'a>>) {
    let mut engine = guarded();
    let mut modules = Vec::new();
    for source in sources {
        for (function, _, instead) in IMPURE {
            faults.extend(uses(&source.tokens, function).into_iter().map(|span| {
                Diagnostic::error(source.path, Some(span), format!("a rule cannot call `{function}`")).hint(instead)
            }));
        }
        if let Err(error) = engine.add_policy(source.path.to_owned(), source.text.to_owned()) {
            faults.push(diagnostic(&error.to_string(), sources));
            continue;
        }
        match package(&engine) {
            Some(package) => modules.push(Module { path: source.path, package, tokens: &source.tokens }),
            None => {
                let span = source.tokens.iter().find(|t| t.sort == Sort::Name && t.text == "package").map(|t| t.span.clone());
                let message = "the package is neither `trunkline` nor below it, so its rules would judge nothing";
                faults.push(Diagnostic::error(source.path, span, message).hint("name it like `package trunkline.files`"));
            }
        }
    }
    (engine, modules)
}

/// The package of the file that was added last, where it is one that can judge.
fn package(engine: &Engine) -> Option<String> {
    let components = engine.get_policy_package_components().ok()?.pop()?.components;
    let plain = |name: &String| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    (components.first()? == "trunkline" && components.iter().all(plain)).then(|| components.join("."))
}

fn judges(engine: &Engine, module: &Module<'_>) -> Vec<Judge> {
    let rules = module.rules(engine, |name| Effect::of(name).is_some());
    rules
        .into_iter()
        .filter_map(|name| Some(Judge { effect: Effect::of(&name)?, name: format!("{}.{name}", module.package) }))
        .collect()
}

/// Why a function that a rule called has no answer.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(String);

/// An engine whose rules can neither reach out nor ask for endless lists. The evaluator looks for extensions before its
/// own functions, so that these stand in their place.
fn guarded() -> Engine {
    let mut engine = Engine::new();
    engine.set_gather_prints(true);
    for (function, arguments, instead) in IMPURE {
        let refuse = move |_: Vec<Value>| Err(Refused(format!("a rule cannot call `{function}`: {instead}")).into());
        extend(&mut engine, function, arguments, refuse);
    }
    extend(&mut engine, "numbers.range", 2, |arguments| Ok(range(&arguments, 1)?));
    extend(&mut engine, "numbers.range_step", 3, |arguments| {
        let step = arguments[2].as_u64().ok().filter(|step| *step > 0);
        Ok(range(&arguments, step.ok_or_else(|| Refused("the step of a range is a whole number above 0".to_owned()))?)?)
    });
    engine
}

fn extend(engine: &mut Engine, function: &str, arguments: u8, body: impl regorus::Extension + 'static) {
    engine.add_extension(function.to_owned(), arguments, Box::new(body)).expect("each name is added once, to a new engine");
}

fn range(arguments: &[Value], step: u64) -> Result<Value, Refused> {
    let whole = |value: &Value| value.as_i64().map_err(|_| Refused("the ends of a range are whole numbers".to_owned()));
    let (from, to) = (whole(&arguments[0])?, whole(&arguments[1])?);
    let count = (from.abs_diff(to) / step).saturating_add(1);
    if count > LONGEST_RANGE {
        return Err(Refused(format!("a range has at most {LONGEST_RANGE} numbers, not {count}")));
    }
    // Every number lies between the two ends, so neither sum overflows.
    let number =
        |n: u64| if to >= from { from.saturating_add_unsigned(n * step) } else { from.saturating_sub_unsigned(n * step) };
    Ok(Value::from((0..count).map(|n| Value::from(number(n))).collect::<Vec<_>>()))
}

/// Bounds how long each of `rules` rules may take.
pub(super) fn limit(engine: &mut Engine, rules: usize) {
    let parts = u32::try_from(rules).unwrap_or(u32::MAX).clamp(1, THINKING_SECONDS * 2);
    engine.set_execution_timer_config(ExecutionTimerConfig {
        limit: Duration::from_secs(u64::from(THINKING_SECONDS)) / parts,
        check_interval: NonZeroU32::new(64).expect("64 is not 0"),
    });
}

/// What the evaluator says, taken apart: it writes `--> path:line:column`, the line, a caret, and `error: message`.
pub(super) struct Complaint<'a> {
    pub(super) place: Option<(&'a str, usize, usize)>,
    pub(super) message: &'a str,
}

pub(super) fn complaint(text: &str) -> Complaint<'_> {
    let place = text.lines().find_map(|line| {
        let mut parts = line.strip_prefix("--> ")?.rsplitn(3, ':');
        let (column, line) = (parts.next()?.trim().parse().ok()?, parts.next()?.parse().ok()?);
        Some((parts.next()?, line, column))
    });
    let message = text.rsplit_once("error: ").map_or(text, |(_, message)| message).trim();
    Complaint { place, message }
}

pub(super) fn diagnostic(text: &str, sources: &[Source<'_>]) -> Diagnostic {
    let Complaint { place, message } = complaint(text);
    let Some((path, line, column)) = place else {
        let path = sources.first().map_or("", |source| source.path);
        return Diagnostic::error(path, None, message);
    };
    let span = sources.iter().find(|source| source.path == path).and_then(|source| offset(source.text, line, column));
    Diagnostic::error(path, span.map(|at| at..at), message)
}

/// The byte at which the character `column` of `line` begins, both from 1.
fn offset(text: &str, line: usize, column: usize) -> Option<usize> {
    let start: usize = text.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum();
    let rest = text.get(start..)?.lines().next().unwrap_or_default();
    let within = rest.char_indices().nth(column.saturating_sub(1)).map_or(rest.len(), |(at, _)| at);
    Some(start + within)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_evaluator_itself_has_no_clock_no_chance_and_no_network() {
        // Past the scan for names, as a spelling that it does not know would be.
        for (function, arguments, _) in IMPURE {
            let call = format!("{function}({})", vec!["1"; usize::from(arguments)].join(", "));
            let mut engine = guarded();
            engine.add_policy("x.rego".to_owned(), format!("package trunkline\nx := {call}")).unwrap();
            let error = engine.eval_rule("data.trunkline.x".to_owned()).unwrap_err().to_string();
            assert!(complaint(&error).message.starts_with("a rule cannot call"), "{call}: {error}");
        }
    }
}
