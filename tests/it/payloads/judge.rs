//! What `check` says of a definition with a payload in it: refused where it stands, or taken as it is.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;
use trunkline::definition::{Cache, contested, resolve};
use trunkline::document::render;
use trunkline::model::{Bundle, Diagnostic, Entry, MemoryTree, Severity, Tree, TreeError};

use super::list::{Form, Payload, filled};
use super::places::{Place, around};

/// Judges one definition after the other.
pub(super) struct Judge {
    cache: Cache,
    /// What hosts need, and what the platform needs.
    around: [Around; 2],
    judged: u64,
}

/// What is said of one.
pub(super) enum Verdict {
    Refused,
    /// The state that is desired then, and what is to be built.
    Accepted(Box<(Bundle, String)>),
}

impl Judge {
    pub(super) fn new() -> Self {
        Self { cache: Cache::new(), around: [false, true].map(Around::of), judged: 0 }
    }

    /// The verdict; what is wrong with it as one.
    pub(super) fn verdict(&mut self, place: &Place, form: Form, payload: &Payload) -> Result<(String, Verdict), String> {
        let (text, value) = filled(&place.text, form, &payload.text);
        self.of(place.file, &text.replace("KEY", "key")).map(|verdict| (value.replace("KEY", "key"), verdict))
    }

    /// Of a definition without a hole.
    pub(super) fn of(&mut self, file: &str, text: &str) -> Result<Verdict, String> {
        let (faults, verdict) = self.said(file, text)?;
        Ok(if faults.is_empty() { verdict } else { Verdict::Refused })
    }

    /// The faults, which are sound, and the verdict.
    fn said(&mut self, file: &str, text: &str) -> Result<(Vec<Diagnostic>, Verdict), String> {
        // Less to resolve each time, where nothing of it is named.
        let needs = ["worker", "queue", "domain", "hyperdrive", "vpc_service", "dns", "tunnel_connector"];
        let whole = needs.iter().any(|table| text.starts_with(&format!("[{table}.")));
        self.judged += 1;
        let id = format!("{:040x}", self.judged);
        let tree = Judged { around: &self.around[usize::from(whole)], file, text: text.as_bytes().into(), id };
        let resolution = resolve(&tree, &"p".parse().unwrap(), &mut self.cache).unwrap();
        let read = |path: &str| -> Option<Arc<[u8]>> { tree.read(path, 10_000_000).ok().flatten() };
        let mut faults: Vec<Diagnostic> = resolution.diagnostics;
        if let Some(bundle) = &resolution.bundle {
            faults.extend(contested(&[&bundle.desired], &read));
        }
        faults.retain(|fault| fault.severity == Severity::Error);
        match resolution.bundle {
            Some(bundle) if faults.is_empty() => {
                Ok((faults, Verdict::Accepted(Box::new((bundle, format!("{:?}", resolution.builds))))))
            }
            _ => shown(&faults, file, &read).map(|()| (faults, Verdict::Refused)),
        }
    }

    /// Many at once, each a table of its own: the values of those that are accepted, by their places among `payloads`, and
    /// the state of all of these. `None` where they cannot be told apart: then one is judged after the other.
    pub(super) fn together(&mut self, place: &Place, form: Form, payloads: &[&Payload]) -> Option<Many> {
        let tables = ["cloudflare", "edge", "host", "secret", "domain"];
        if !place.text.starts_with('[')
            || !place.text.contains("KEY")
            || tables.iter().any(|table| place.text.starts_with(&format!("[{table}.")))
        {
            return None;
        }
        let filled: Vec<(String, String)> = payloads
            .iter()
            .enumerate()
            .map(|(at, payload)| {
                let (text, value) = filled(&place.text, form, &payload.text);
                (text.replace("KEY", &format!("k{at}")), value.replace("KEY", &format!("k{at}")))
            })
            .collect();
        let mut ends = Vec::new();
        let mut text = String::new();
        for (table, _) in &filled {
            text.push_str(table);
            ends.push(text.len());
        }
        let (faults, verdict) = self.said(place.file, &text).ok()?;
        if faults.len() >= trunkline::definition::limit::FAULTS {
            return None;
        }
        let owner = |at: usize| ends.iter().position(|end| at < *end);
        let mut refused = BTreeSet::new();
        for fault in &faults {
            let at = fault.start.filter(|_| fault.path == place.file).and_then(owner)?;
            // Two of them may want one thing, which neither is at fault for.
            if fault.related.iter().any(|other| other.path != place.file || owner(other.start) != Some(at)) {
                return None;
            }
            refused.insert(at);
        }
        let accepted: BTreeMap<usize, String> =
            (0..filled.len()).filter(|at| !refused.contains(at)).map(|at| (at, filled[at].1.clone())).collect();
        let verdict = match verdict {
            Verdict::Refused if !accepted.is_empty() => {
                let text: String = accepted.keys().map(|at| filled[*at].0.as_str()).collect();
                self.said(place.file, &text).ok()?.1
            }
            verdict => verdict,
        };
        match verdict {
            Verdict::Accepted(state) => Some((accepted, Some(state))),
            Verdict::Refused => accepted.is_empty().then_some((accepted, None)),
        }
    }
}

/// The values of those that were accepted, and the state with all of them.
pub(super) type Many = (BTreeMap<usize, String>, Option<Box<(Bundle, String)>>);

/// What is the same for every definition, with what was asked of it: its digests take longer than everything else.
struct Around {
    tree: MemoryTree,
    entries: RefCell<BTreeMap<String, Option<Entry>>>,
    lists: RefCell<BTreeMap<String, Listed>>,
}

/// What a folder holds, where it is one.
type Listed = Option<Vec<(String, Entry)>>;

impl Around {
    fn of(whole: bool) -> Self {
        Self { tree: around(whole), entries: RefCell::default(), lists: RefCell::default() }
    }
}

/// The same with one file as it is judged.
struct Judged<'a> {
    around: &'a Around,
    file: &'a str,
    text: Arc<[u8]>,
    id: String,
}

impl Tree for Judged<'_> {
    fn entry(&self, path: &str) -> Result<Option<Entry>, TreeError> {
        let mut entries = self.around.entries.borrow_mut();
        let found = entries.entry(path.to_owned()).or_insert_with(|| self.around.tree.entry(path).unwrap()).clone();
        Ok(found.map(|entry| if path == self.file { Entry { id: self.id.clone(), ..entry } } else { entry }))
    }

    fn list(&self, path: &str) -> Result<Option<Vec<(String, Entry)>>, TreeError> {
        let mut lists = self.around.lists.borrow_mut();
        let mut found = lists.entry(path.to_owned()).or_insert_with(|| self.around.tree.list(path).unwrap()).clone();
        for (name, entry) in found.iter_mut().flatten() {
            if format!("{path}/{name}") == self.file || path.is_empty() && name == self.file {
                entry.id.clone_from(&self.id);
            }
        }
        Ok(found)
    }

    fn read(&self, path: &str, limit: u64) -> Result<Option<Arc<[u8]>>, TreeError> {
        if path == self.file { Ok(Some(self.text.clone())) } else { self.around.tree.read(path, limit) }
    }
}

/// A fault says in words fit for a terminal what is wrong, and where.
fn shown(faults: &[Diagnostic], file: &str, read: &dyn Fn(&str) -> Option<Arc<[u8]>>) -> Result<(), String> {
    let text = render(faults, read, false);
    if faults.is_empty() {
        return Err("it is refused without a word".to_owned());
    }
    if let Some(nowhere) = faults.iter().find(|fault| fault.start.is_none() || fault.end.is_none()) {
        return Err(format!("a fault points nowhere: {}", nowhere.message));
    }
    if !faults.iter().any(|fault| fault.path == file || fault.path.starts_with("f/")) {
        return Err(format!("no fault points into the file: {text}"));
    }
    if !text.contains("-->") && !text.contains(':') {
        return Err(format!("no line and no column is shown: {text}"));
    }
    let is_deceptive = |c: char| c != '\n' && c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c) || c == '\u{200b}';
    match text.chars().find(|c| is_deceptive(*c)) {
        Some(c) => Err(format!("{c:?} is shown as it is")),
        None => Ok(()),
    }
}

/// Whether a value is in a state as it is: a text of its own, a key, bytes of a file, a part of what is to be built.
pub(super) fn holds((bundle, builds): &(Bundle, String), value: &str) -> bool {
    let mut texts = BTreeSet::new();
    gather(&serde_json::to_value(&bundle.desired).unwrap(), &mut texts);
    let json = serde_json::to_string(value).unwrap();
    let within =
        |bytes: &[u8]| bundle.contents.values().any(|content| content.windows(bytes.len().max(1)).any(|window| window == bytes));
    // What is trimmed is no other text.
    texts.contains(value)
        || texts.contains(value.trim())
        || within(value.as_bytes())
        || within(&json.as_bytes()[1..json.len() - 1])
        || builds.contains(&format!("{value:?}"))
}

/// Whether a name is in a state: it stands in longer ones.
pub(super) fn names(bundle: &Bundle, value: &str) -> bool {
    let mut texts = BTreeSet::new();
    gather(&serde_json::to_value(&bundle.desired).unwrap(), &mut texts);
    texts.iter().any(|text| text.split(['.', '/', '@']).any(|part| part == value))
}

fn gather(value: &Value, texts: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => _ = texts.insert(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| gather(item, texts)),
        Value::Object(table) => {
            for (key, item) in table {
                texts.insert(key.clone());
                gather(item, texts);
            }
        }
        _ => {}
    }
}
