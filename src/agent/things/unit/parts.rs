//! The files that a unit is made of: its text, and what it reads that nobody else does.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;

use super::super::{Eyes, MODIFIED, Sought, Work};
use super::{FOLDER, TEXT};
use crate::agent::apply::{Done, Site};
use crate::agent::fault::Stop;
use crate::agent::manifest::Entry;
use crate::agent::part::Part;
use crate::agent::path::HostPath;
use crate::agent::prepare::FileChange;
use crate::agent::{Fault, FileTask, FileWrite, Payload, file};
use crate::model::{Content, Marker, Properties, SecretMark, Value};

/// The field of the files besides the text: by name, each with its path, its mode, and its content or the mark of a secret.
const FILES: &str = "files";

/// A file that was written or removed, and what it was.
pub(super) struct Replaced {
    part: Part,
    path: String,
    former: Option<Former>,
}

/// What a file was.
struct Former {
    /// The bytes that were there, which are kept.
    actual: Content,
    mode: u32,
    content: Content,
    secrets: BTreeMap<String, SecretMark>,
    marker: Marker,
}

/// What there is of the files that are asked for.
pub(super) fn look(eyes: &Eyes<'_>, sought: &Sought<'_>) -> Result<Option<Value>, Fault> {
    let Some(lens) = sought.asks(FILES) else { return Ok(None) };
    let applied = lens.applied.and_then(Value::as_table);
    let mut found = Properties::new();
    let asked = [lens.desired.and_then(Value::as_table), applied].into_iter().flatten().flatten();
    for (name, said) in asked {
        let Some(path) = said.as_table().and_then(|said| said.get("path")).and_then(Value::as_text) else { continue };
        let checked = HostPath::parse(path, eyes.policy)?;
        let Some(folder) = eyes.root.folder(checked.folders())? else { continue };
        let Some(read) = file::read(folder.as_fd(), checked.name(), path, &mut io::sink())? else { continue };
        let entry = eyes.manifest.files.get(&Part::of(sought.key, name)).filter(|entry| entry.path == path);
        let as_left = entry.filter(|entry| entry.actual == read.facts).map(said_of);
        found.insert(name.clone(), as_left.unwrap_or_else(|| Value::text(MODIFIED)));
    }
    Ok(Some(Value::Table(found)))
}

/// What a definition says of a file that is as it was applied.
fn said_of(entry: &Entry) -> Value {
    let what = match entry.secrets.values().next() {
        Some(mark) => ("secret", Value::Secret { mark: mark.clone() }),
        None => ("content", entry.content.into()),
    };
    Value::table([("path", entry.path.as_str().into()), ("mode", Value::text(format!("{:04o}", entry.actual.mode))), what])
}

/// What is to be done with a file.
struct Planned {
    part: Part,
    path: String,
    /// `None` where it goes.
    write: Option<FileWrite>,
}

/// The bytes of the text that a unit is to have.
pub(super) fn text(work: &Work) -> Option<(Content, Payload)> {
    let wanted = work.wanted.as_ref()?;
    let Some(Value::Content { content }) = wanted.fields.get("content") else { return None };
    Some((*content, wanted.contents.get(&content.sha256).cloned()?))
}

fn planned(site: &Site<'_>, work: &Work) -> Result<Vec<Planned>, Fault> {
    let mut planned = Vec::new();
    let files = work.field(FILES).and_then(Value::as_table).cloned().unwrap_or_default();
    for (name, said) in &files {
        let missing = || Fault::new(format!("the file `{name}` of `{}` did not come with the order", work.claim));
        let said = said.as_table().ok_or_else(missing)?;
        let word = |field: &str| said.get(field).and_then(Value::as_text);
        let path = word("path").ok_or_else(missing)?.to_owned();
        let mode = word("mode").and_then(|mode| u32::from_str_radix(mode, 8).ok());
        let wanted = work.wanted.as_ref().ok_or_else(missing)?;
        let (content, bytes, secrets) = match (said.get("content"), said.get("secret")) {
            (Some(Value::Content { content }), _) => (*content, wanted.contents.get(&content.sha256), BTreeMap::new()),
            (_, Some(Value::Secret { mark })) => {
                let bytes = wanted.values.get(&format!("{FILES}/{name}/secret"));
                (Content::of(path.as_bytes()), bytes, BTreeMap::from([("value".to_owned(), mark.clone())]))
            }
            _ => return Err(missing()),
        };
        let bytes = bytes.ok_or_else(missing)?.clone();
        let write = FileWrite { secrets, mode: mode.unwrap_or(0o600), ..plain(content, bytes) };
        planned.push(Planned { part: Part::of(&work.key, name), path, write: Some(write) });
    }
    let text_path = format!("{FOLDER}/{}", work.claim);
    if let Some((content, bytes)) = text(work) {
        let part = Part::of(&work.key, TEXT);
        planned.push(Planned { part, path: text_path, write: Some(plain(content, bytes)) });
    }
    // What it was made of, and is no longer.
    let former = work.from.as_ref().unwrap_or(&work.key);
    for (part, entry) in site.manifest.files.iter().filter(|(part, _)| part.key == *former && !part.is_whole()) {
        if !planned.iter().any(|planned| planned.path == entry.path) {
            planned.push(Planned { part: part.clone(), path: entry.path.clone(), write: None });
        }
    }
    Ok(planned)
}

fn plain(content: Content, bytes: Payload) -> FileWrite {
    let (owner, group) = (Some("0".to_owned()), Some("0".to_owned()));
    FileWrite { bytes, content, secrets: BTreeMap::new(), mode: 0o644, owner, group, validate: None }
}

/// Writes the files of those of `works` of which nothing is at fault yet; for each whether anything was changed, and what was
/// replaced.
pub(super) fn write(site: &mut Site<'_>, works: &[(usize, &Work)]) -> Vec<(usize, Vec<Replaced>, Result<(), Stop>)> {
    let mut results: BTreeMap<usize, (Vec<Replaced>, Result<(), Stop>)> = BTreeMap::new();
    let mut owners = Vec::new();
    let mut changes = Vec::new();
    for (at, work) in works {
        let all = match planned(site, work) {
            Ok(all) => all,
            Err(fault) => {
                results.insert(*at, (Vec::new(), Err(fault.into())));
                continue;
            }
        };
        results.insert(*at, (Vec::new(), Ok(())));
        for Planned { part, path, write } in all {
            let from = work.from.as_ref().map(|from| part.under(from));
            let entry = site.manifest.files.get(from.as_ref().unwrap_or(&part)).filter(|entry| entry.path == path);
            owners.push((*at, Replaced { part: part.clone(), path: path.clone(), former: former(work, entry, &path) }));
            let task = write.map_or(FileTask::Delete, |write| FileTask::Write(Box::new(write)));
            let from = from.filter(|_| matches!(task, FileTask::Write(_)));
            changes.push(FileChange { part, from, path, precondition: None, marker: work.marker.clone(), task });
        }
    }
    for ((at, replaced), done) in owners.into_iter().zip(site.write_files(changes)) {
        let Some((all, result)) = results.get_mut(&at) else { continue };
        match done {
            Ok(Done { changed: true, .. }) => all.push(replaced),
            Ok(_) => {}
            Err(stop) => *result = Err(stop),
        }
    }
    results.into_iter().map(|(at, (replaced, result))| (at, replaced, result)).collect()
}

fn former(work: &Work, entry: Option<&Entry>, path: &str) -> Option<Former> {
    match (entry, work.there("content")) {
        (Some(Entry { actual, content, secrets, marker, path: _ }), _) => Some(Former {
            actual: actual.content,
            mode: actual.mode,
            content: *content,
            secrets: secrets.clone(),
            marker: marker.clone(),
        }),
        // Somebody else's text that is taken over.
        (None, Some(Value::Content { content })) if *path == format!("{FOLDER}/{}", work.claim) => Some(Former {
            actual: *content,
            mode: 0o644,
            content: *content,
            secrets: BTreeMap::new(),
            marker: work.marker.clone(),
        }),
        _ => None,
    }
}

/// Puts back what was replaced; why, where it cannot be.
pub(super) fn put_back(site: &mut Site<'_>, replaced: &[Replaced], marker: &Marker) -> Result<(), String> {
    let mut changes = Vec::new();
    for Replaced { part, path, former } in replaced {
        let (marker, task) = match former {
            Some(Former { actual, mode, content, secrets, marker }) => {
                let bytes = site.state.kept(actual.sha256).map_err(|fault| fault.to_string())?;
                let write = FileWrite { secrets: secrets.clone(), mode: *mode, ..plain(*content, bytes) };
                (marker.clone(), FileTask::Write(Box::new(write)))
            }
            None => (marker.clone(), FileTask::Delete),
        };
        changes.push(FileChange { part: part.clone(), from: None, path: path.clone(), precondition: None, marker, task });
    }
    let cause = |stop| match stop {
        Stop::Refused(fault) | Stop::Unknown(fault) => fault.to_string(),
        Stop::Conflict(message) => message,
    };
    site.write_files(changes).into_iter().try_for_each(|done| done.map(drop).map_err(cause))
}

/// Whether a text of ours was there before.
pub(super) fn had_text(work: &Work) -> bool {
    work.there("content").is_some()
}
