//! The plan as text: for terminals and pull requests.
//!
//! Goes in: a plan, and the bytes that it names as far as they are at hand. Comes out: text, destructive changes
//! first.
//!
//! **Invariant:** colour is never the only sign; no secret, no mark of one, and no control character comes out.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::change::{Action, BlockReason, Cause, Change, Plan, Why};
use super::content::{Sign, lines, of_bytes};
use super::planner::fields;
use super::reversal::Reversibility;
use super::rollout::Rolling;
use super::secrecy::masked;
use super::toml::{items, key, plain};
use crate::model::{Content, Digest, InstanceKey, Properties, Value};

/// How a plan is rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RenderOptions {
    /// With ANSI colours.
    pub colour: bool,
    /// How many lines around each difference of a file or a module are shown.
    pub context: usize,
    /// How many lines of each difference of a file or a module are shown at most.
    pub content_lines: usize,
}

impl Default for RenderOptions {
    fn default() -> Self {
        Self { colour: false, context: 3, content_lines: 60 }
    }
}

/// The plan as text, with a final newline. `contents` gives the bytes of a digest; where it has none, the digest
/// alone is shown.
pub fn render_text(plan: &Plan, contents: &dyn Fn(&Digest) -> Option<Arc<[u8]>>, options: &RenderOptions) -> String {
    let mut page = Page { out: String::new(), colour: options.colour };
    page.line("", &format!("Plan for {}", plan.environment));
    let (destructive, others): (Vec<_>, Vec<_>) = plan.changes.iter().partition(|change| change.action == Action::Delete);
    let deleted: BTreeSet<&InstanceKey> = destructive.iter().map(|change| &change.key).collect();
    let made: BTreeSet<&InstanceKey> = others.iter().map(|change| &change.key).collect();
    for change in destructive.iter().chain(&others) {
        let replaced = deleted.contains(&change.key) && made.contains(&change.key);
        render_change(&mut page, change, replaced, contents, options);
    }
    if !plan.orphaned.is_empty() {
        page.line("", "\nNo longer defined, and kept:");
        for orphan in &plan.orphaned {
            page.line(YELLOW, &format!("! {} (`{}`): {}", instance(&orphan.key), plain(&orphan.claim), plain(&orphan.reason)));
        }
    }
    if !plan.blocked.is_empty() {
        page.line("", "\nBlocked:");
        for blocked in &plan.blocked {
            page.line(YELLOW, &format!("! {}: {}", instance(&blocked.key), plain(&reason(&blocked.reason))));
        }
    }
    if !plan.warnings.is_empty() {
        page.line("", "\nTo know:");
        for warning in &plan.warnings {
            page.line(YELLOW, &format!("! {}: {}", instance(&warning.key), plain(&warning.message)));
        }
    }
    if !plan.batches.is_empty() {
        page.line("", "\nHosts in batches, each begun when the one before is done:");
        for (at, hosts) in plan.batches.iter().enumerate() {
            let hosts = hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            page.line("", &format!("  {}. {hosts}", at + 1));
        }
    }
    if !plan.rolling.is_empty() {
        page.line("", "\nStill rolling out then:");
        plan.rolling.iter().for_each(|rolling| page.line("", &format!("  {}", rolled(rolling))));
    }
    page.line("", &format!("\n{}", summary(plan)));
    page.out
}

const RED: &str = "\u{1b}[31m";
const GREEN: &str = "\u{1b}[32m";
const YELLOW: &str = "\u{1b}[33m";
const FAINT: &str = "\u{1b}[2m";
const RESET: &str = "\u{1b}[0m";

struct Page {
    out: String,
    colour: bool,
}

impl Page {
    fn line(&mut self, colour: &str, text: &str) {
        let text = text.trim_end_matches(' ');
        if self.colour && !colour.is_empty() {
            let blank = text.len() - text.trim_start_matches('\n').len();
            self.out.push_str(&format!("{}{colour}{}{RESET}\n", &text[..blank], &text[blank..]));
        } else {
            self.out.push_str(&format!("{text}\n"));
        }
    }

    fn diff(&mut self, indent: &str, lines: Vec<(Sign, String)>) {
        for (sign, text) in lines {
            let (sign, colour) = match sign {
                Sign::Gone => ('-', RED),
                Sign::New => ('+', GREEN),
                Sign::Both => (' ', ""),
            };
            self.line(colour, &format!("  {sign} {indent}{text}"));
        }
    }
}

fn instance(key: &InstanceKey) -> String {
    format!("{} on {}", key.address.local(), key.target)
}

fn render_change(
    page: &mut Page,
    change: &Change,
    replaced: bool,
    contents: &dyn Fn(&Digest) -> Option<Arc<[u8]>>,
    options: &RenderOptions,
) {
    let (sign, colour) = match change.action {
        Action::Delete => ('-', RED),
        Action::Create => ('+', GREEN),
        Action::Update => ('~', YELLOW),
        Action::Adopt => ('<', YELLOW),
        Action::Move => ('>', YELLOW),
    };
    let mut header = format!("\n{sign} {} {}", change.action.as_str(), instance(&change.key));
    if let Some(from) = &change.from {
        header.push_str(&format!(", formerly {}", from.local()));
    }
    match change.action {
        Action::Delete if change.reversal.verdict == Reversibility::OneWay => header.push_str(", AND THE DATA IN IT"),
        Action::Delete if replaced => header.push_str(&format!(", `{}`, to replace it", plain(&change.claim))),
        Action::Create if replaced => header.push_str(&format!(", `{}`, in its place", plain(&change.claim))),
        _ => {}
    }
    page.line(colour, &header);
    for why in &change.why {
        page.line(FAINT, &format!("    {}", because(why)));
    }
    let word = match change.reversal.verdict {
        Reversibility::Reversible | Reversibility::WithLoss => "with loss",
        Reversibility::OneWay => "ONE WAY",
    };
    for reason in &change.reversal.reasons {
        page.line(YELLOW, &format!("    {word}: {}", plain(reason)));
    }
    render_foreign(page, change);
    let nothing = Properties::new();
    let sides = (change.before.as_ref().unwrap_or(&nothing), change.after.as_ref().unwrap_or(&nothing));
    let (before, after) = masked(sides.0, sides.1, &|word| match word {
        "present" => Value::text("(secret)"),
        word => Value::Text(format!("(secret, {word})")),
    });
    render_properties(page, &before, &after);
    render_contents(page, change, contents, options);
}

fn render_foreign(page: &mut Page, change: &Change) {
    let items: Vec<String> = change
        .foreign
        .iter()
        .flat_map(|(table, items)| items.iter().map(|item| format!("{}.{}", key(table), key(item))))
        .collect();
    if !items.is_empty() {
        let word = if change.action == Action::Delete { "goes with it" } else { "stays as it is" };
        page.line(FAINT, &format!("    not ours, {word}: {}", items.join(", ")));
    }
}

fn because(why: &Why) -> String {
    let cause = match &why.cause {
        Cause::Definition { path, line, commit } => {
            let commit = commit.get(..7).filter(|_| commit.len() == 40).unwrap_or(commit);
            format!("{}:{line} at {}", plain(path), plain(commit))
        }
        Cause::Drift if why.field.is_empty() => "it was deleted at the target since it was applied (drift)".to_owned(),
        Cause::Drift => "changed at the target since it was applied (drift)".to_owned(),
        Cause::NoLongerDefined => "no longer defined".to_owned(),
        Cause::Retired => "the environment is retired".to_owned(),
    };
    if why.field.is_empty() { cause } else { format!("{}: {cause}", plain(&why.field)) }
}

/// Scalars first, then table by table: so that the name of a table stands above its lines.
fn render_properties(page: &mut Page, before: &Properties, after: &Properties) {
    let scalars =
        |side: &Properties| side.iter().filter(|(_, v)| v.as_table().is_none()).map(|(k, v)| (k.clone(), v.clone())).collect();
    page.diff("", lines(&items(&scalars(before)), &items(&scalars(after)), 0).into_iter().filter(real).collect());
    let tables: BTreeSet<&String> =
        before.iter().chain(after).filter(|(_, value)| value.as_table().is_some()).map(|(name, _)| name).collect();
    for name in tables {
        let table = |side: &Properties| side.get(name).and_then(Value::as_table).map(items).unwrap_or_default();
        let found: Vec<_> = lines(&table(before), &table(after), 0).into_iter().filter(real).collect();
        if !found.is_empty() {
            page.line("", &format!("    [{}]", key(name)));
            page.diff("", found);
        }
    }
}

/// Lines without context are told apart by their signs: what stands between groups says nothing.
fn real(line: &(Sign, String)) -> bool {
    line.0 != Sign::Both
}

fn render_contents(page: &mut Page, change: &Change, contents: &dyn Fn(&Digest) -> Option<Arc<[u8]>>, options: &RenderOptions) {
    for (path, before, after) in changed_contents(change) {
        let bytes = |side: Option<Content>| match side {
            None => Some(Arc::from([])),
            Some(content) => contents(&content.sha256),
        };
        // What is deleted is in Git; showing it would only make the plan longer.
        if after.is_none() {
            continue;
        }
        let (Some(old), Some(new)) = (bytes(before), bytes(after)) else { continue };
        page.line("", &format!("    {}:", plain(&path)));
        page.diff("  ", of_bytes(&old, &new, options.context, options.content_lines));
    }
}

fn changed_contents(change: &Change) -> Vec<(String, Option<Content>, Option<Content>)> {
    fn walk(
        path: &str,
        before: Option<&Value>,
        after: Option<&Value>,
        found: &mut Vec<(String, Option<Content>, Option<Content>)>,
    ) {
        let content = |side: Option<&Value>| match side {
            Some(Value::Content { content }) => Some(*content),
            _ => None,
        };
        match (content(before), content(after)) {
            (None, None) => {}
            (before, after) => return found.push((path.to_owned(), before, after)),
        }
        let items = |side: Option<&Value>| side.and_then(Value::as_table).cloned().unwrap_or_default();
        let (before, after) = (items(before), items(after));
        for name in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
            walk(&format!("{path}.{}", key(name)), before.get(name), after.get(name), found);
        }
    }
    let mut found = Vec::new();
    for difference in fields(change) {
        walk(&difference.field(), difference.before.as_ref(), difference.after.as_ref(), &mut found);
    }
    found
}

fn reason(reason: &BlockReason) -> String {
    match reason {
        BlockReason::Unknown(message) => format!("its state is unknown: {message}"),
        BlockReason::NotOurs(message) => message.clone(),
        BlockReason::Dependency(key) => format!("it needs {}, which is blocked", instance(key)),
    }
}

fn rolled(rolling: &Rolling) -> String {
    let Rolling { key, traffic, next, due, paused } = rolling;
    let then = match (paused, due) {
        (Some(paused), _) => format!("paused {}", plain(paused)),
        (None, Some(due)) => format!("{next} % from {}", due.format("%Y-%m-%dT%H:%M:%SZ")),
        (None, None) => format!("{next} % next"),
    };
    format!("{}: {traffic} %, {then}", instance(key))
}

fn summary(plan: &Plan) -> String {
    let count = |action: Action| plan.changes.iter().filter(|change| change.action == action).count();
    let counted = |number: usize, word: &str| (number > 0).then(|| format!("{number} {word}"));
    let words: Vec<String> = [
        counted(count(Action::Create), "to create"),
        counted(count(Action::Update), "to update"),
        counted(count(Action::Adopt), "to adopt"),
        counted(count(Action::Move), "to move"),
        counted(count(Action::Delete), "to delete"),
        counted(plan.orphaned.len(), "kept"),
        counted(plan.blocked.len(), "blocked"),
    ]
    .into_iter()
    .flatten()
    .collect();
    match (plan.is_empty(), words.is_empty()) {
        (true, true) => "Nothing to do.".to_owned(),
        (true, false) => format!("Nothing to do: {}.", words.join(", ")),
        (false, _) => format!("{}.", words.join(", ")),
    }
}
