//! A live account, or an edge, to definitions of one environment.
//!
//! Every thing keeps the name that it has and is taken over with `adopt = true`; a Worker's modules are written beside the
//! definitions. What is written passes `check`: a field that the definitions refuse is left out and named, and whatever is
//! left out of a Worker stays on it, since it is nobody's of ours.
//!
//! **Invariant:** no secret is in the files. What would need one, such as a database's password, stands there as a comment.

mod bindings;
mod modules;
mod names;
mod sound;
mod things;
mod worker;

use std::collections::{BTreeMap, BTreeSet};

use super::sketch::{TableSketch, Tables};
use super::vocabulary::Vocabulary;
use super::{DefinitionFile, Imported, Remark, SourceFile, write};
use crate::definition::fields_of;
use crate::model::{Address, EnvironmentId, EnvironmentName, Kind};
use crate::provider::cloudflare::Survey;

use names::Names;

/// What is imported, and as what.
pub struct Account<'a> {
    /// How it is called in messages.
    pub shown: &'a str,
    /// 32 hex digits; `None` where it is an edge's own.
    pub account_id: Option<&'a str>,
    /// The API's address, where it is not Cloudflare's own.
    pub endpoint: Option<&'a str>,
    /// The credential of the daemon that holds the token.
    pub credential: &'a str,
    /// The environment that it becomes.
    pub environment: EnvironmentName,
    /// The folder is a repository of definitions already.
    pub is_repository: bool,
}

/// The kinds that can be imported, by the words of their sections.
pub fn kinds() -> BTreeMap<&'static str, BTreeSet<Kind>> {
    let words = Vocabulary::current();
    let mut kinds: BTreeMap<&'static str, BTreeSet<Kind>> = BTreeMap::new();
    for kind in Kind::ALL {
        let section = section(kind);
        let is_known = kind == Kind::Worker || fields_of(kind).any(|field| field.shown.is_some());
        if is_known && words.has_kind(section) {
            kinds.entry(section).or_default().insert(kind);
        }
    }
    kinds
}

/// The section in which a kind is defined.
fn section(kind: Kind) -> &'static str {
    if kind == Kind::QueueConsumer { Kind::Queue.as_str() } else { kind.as_str() }
}

/// What the import makes on the way.
struct Making<'a> {
    account: &'a Account<'a>,
    words: Vocabulary,
    names: Names,
    tables: Tables,
    /// Tables that lack what only a person has, and what to do.
    suspended: BTreeMap<(&'static str, String), (TableSketch, String)>,
    sources: BTreeMap<String, Vec<SourceFile>>,
    left: Vec<Remark>,
    fill_in: Vec<Remark>,
}

impl Making<'_> {
    fn remark(&self, key: &str, reason: impl Into<String>) -> Remark {
        Remark { path: self.account.shown.to_owned(), line: 0, key: key.to_owned(), reason: reason.into() }
    }

    /// Not carried, and why.
    fn leave(&mut self, key: &str, reason: impl Into<String>) {
        let remark = self.remark(key, reason);
        self.left.push(remark);
    }

    /// Carried, but a person has to look at it.
    fn ask(&mut self, key: &str, reason: impl Into<String>) {
        let remark = self.remark(key, reason);
        self.fill_in.push(remark);
    }

    /// Whether a thing can be ours: one that carries the mark of another environment is that one's.
    fn is_free(&mut self, what: &str, owner: Option<&Address>) -> bool {
        let ours = EnvironmentId::of_default(self.account.environment.clone());
        match owner.filter(|owner| owner.environment != ours) {
            Some(owner) => {
                let reason = format!("it carries the mark of `{owner}`, which defines it");
                self.leave(what, reason);
                false
            }
            None => true,
        }
    }
}

/// Turns what was found into definitions.
pub fn cloudflare(account: &Account<'_>, survey: &Survey) -> Imported {
    let words = Vocabulary::current();
    let mut making = Making {
        account,
        names: Names::of(survey, &account.environment),
        words,
        tables: Tables::new(),
        suspended: BTreeMap::new(),
        sources: BTreeMap::new(),
        left: Vec::new(),
        fill_in: Vec::new(),
    };
    for (what, reason) in &survey.unread {
        making.leave(what, format!("it could not be read: {reason}"));
    }
    for thing in survey.things.iter().filter(|thing| !things::is_of_a_domain(thing, survey)) {
        things::carry(&mut making, thing);
    }
    for worker in &survey.workers {
        worker::carry(&mut making, worker);
    }
    let targets = targets(account);
    sound::settle(&mut making, &targets);
    files(making, targets)
}

/// The file that declares the target.
fn targets(account: &Account<'_>) -> DefinitionFile {
    let credential = account.credential;
    let mut text = match account.account_id {
        Some(id) => format!("# The account that was imported.\n[cloudflare.main]\naccount_id = \"{id}\"\n"),
        None => "# The edge that was imported.\n[edge.main]\n".to_owned(),
    };
    if let Some(endpoint) = account.endpoint {
        text += &format!("endpoint = {}\n", toml_edit::value(endpoint).to_string().trim());
    }
    text += &format!(
        "# A credential of the daemon; or {{ secret = \"…\" }} with the token encrypted by `trunkline secrets set`.\n\
         api_token = {{ credential = \"{credential}\" }}\n"
    );
    DefinitionFile { path: format!("environments/{}/targets.toml", account.environment), text, targets: true }
}

/// The file in which a table stands: one for each Worker, one for each other kind.
fn path(environment: &EnvironmentName, (kind, key): (&str, &str)) -> String {
    let name = if kind == "worker" { format!("worker-{key}") } else { kind.to_owned() };
    format!("environments/{environment}/{name}.toml")
}

/// The text of every file of tables, by path.
fn texts(making: &Making<'_>) -> BTreeMap<String, String> {
    let environment = &making.account.environment;
    let mut by_file: BTreeMap<String, (Tables, Vec<String>)> = BTreeMap::new();
    for ((kind, key), table) in &making.tables {
        let (tables, _) = by_file.entry(path(environment, (kind, key))).or_default();
        tables.insert((kind, key.clone()), table.clone());
    }
    for ((kind, key), (table, todo)) in &making.suspended {
        let only = Tables::from([((*kind, key.clone()), table.clone())]);
        let text = write::definitions(&only, &[]);
        let lines = text.lines().filter(|line| !line.is_empty()).map(|line| format!("# {line}\n"));
        let (_, comments) = by_file.entry(path(environment, (kind, key))).or_default();
        comments.push(format!("\n# {todo}\n{}", lines.collect::<String>()));
    }
    let head = |kind_is_worker: bool| {
        let mut head = vec![format!("Imported from {}.", making.account.shown)];
        if kind_is_worker {
            head.push("Secrets cannot be read: those of a Worker stay on it as they are until they are defined.".to_owned());
        }
        head
    };
    by_file
        .into_iter()
        .map(|(path, (tables, comments))| {
            let of_worker = tables.keys().any(|(kind, _)| *kind == "worker");
            let text = write::definitions(&tables, &head(of_worker)) + &comments.concat();
            (path, text)
        })
        .collect()
}

fn files(making: Making<'_>, targets: DefinitionFile) -> Imported {
    let mut files = Vec::new();
    if !making.account.is_repository {
        let text = "format = 1\n".to_owned();
        files.push(DefinitionFile { path: "trunkline.toml".to_owned(), text, targets: false });
    }
    files.push(targets);
    files.extend(texts(&making).into_iter().map(|(path, text)| DefinitionFile { path, text, targets: false }));
    let Making { sources, mut left, mut fill_in, .. } = making;
    for remarks in [&mut left, &mut fill_in] {
        remarks.sort();
        remarks.dedup();
    }
    Imported { files, sources: sources.into_values().flatten().collect(), left, fill_in }
}
