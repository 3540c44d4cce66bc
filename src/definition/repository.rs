//! What stands above environments: the list of them, `trunkline.toml`, the rules, the fleet.

use std::collections::BTreeMap;

use super::limit;
use super::reading::Reading;
use super::written::{LATER_KEYS, RepositoryToml};
use crate::document::{Entry, Fault, Node, Place, Placed, Table, Value, decode, did_you_mean, shown};
use crate::model::{Content, Contents, Diagnostic, EntryMode, EnvironmentId, TenantName, Tree, TreeError};

/// The environments of a tree, sorted: folders and files of `environments/`, and of `tenants/<t>/environments/`. A
/// name that breaks the grammar is a diagnostic.
///
/// # Errors
/// [`TreeError`] where the database cannot be read.
pub fn environments(tree: &dyn Tree) -> Result<(Vec<EnvironmentId>, Vec<Diagnostic>), TreeError> {
    let mut found = Vec::new();
    let mut diagnostics = Vec::new();
    in_folder(tree, &TenantName::default(), "environments", (&mut found, &mut diagnostics))?;
    for (name, mode) in names(tree, "tenants", &mut diagnostics)? {
        if mode != EntryMode::Folder {
            continue;
        }
        let path = format!("tenants/{}", shown(&name));
        match name.parse::<TenantName>() {
            Ok(tenant) if tenant.is_default() => diagnostics.push(
                Diagnostic::error(path, None, "the tenant `default` has its folders at the root of the repository")
                    .hint("move them there, or rename the tenant"),
            ),
            Ok(tenant) => {
                in_folder(tree, &tenant, &format!("tenants/{name}/environments"), (&mut found, &mut diagnostics))?;
            }
            Err(error) => diagnostics.push(Diagnostic::error(path, None, error.to_string()).hint("rename the folder")),
        }
    }
    found.sort();
    found.dedup();
    diagnostics.sort();
    Ok((found, diagnostics))
}

/// Whether a tree defines `environment`, as [`environments`] would list it; costs the same however many there are.
///
/// # Errors
/// [`TreeError`] where the database cannot be read.
pub fn defines(tree: &dyn Tree, environment: &EnvironmentId) -> Result<bool, TreeError> {
    let folder = environment_path(environment);
    let stands = |path: &str, wanted: &[EntryMode]| match tree.entry(path) {
        Ok(entry) => Ok(entry.is_some_and(|entry| wanted.contains(&entry.mode))),
        Err(error @ TreeError::Database { .. }) => Err(error),
        // A path that leads over a link, say: nothing is listed there either.
        Err(_) => Ok(false),
    };
    Ok(stands(&folder, &[EntryMode::Folder])? || stands(&format!("{folder}.toml"), &[EntryMode::File, EntryMode::Executable])?)
}

fn in_folder(
    tree: &dyn Tree,
    tenant: &TenantName,
    folder: &str,
    (found, diagnostics): (&mut Vec<EnvironmentId>, &mut Vec<Diagnostic>),
) -> Result<(), TreeError> {
    for (name, mode) in names(tree, folder, diagnostics)? {
        let stem = match mode {
            EntryMode::Folder => name.as_str(),
            _ => match name.strip_suffix(".toml") {
                Some(stem) => stem,
                None => continue,
            },
        };
        let path = format!("{folder}/{}", shown(&name));
        match (stem.parse(), mode) {
            (Ok(_), EntryMode::Symlink | EntryMode::Submodule) => {
                diagnostics.push(Diagnostic::error(path, None, "an environment is a folder or a file; links are never followed"));
            }
            (Ok(environment), _) => found.push(EnvironmentId { tenant: tenant.clone(), environment }),
            (Err(error), _) => {
                let error: crate::model::NameError = error;
                diagnostics.push(Diagnostic::error(path, None, error.to_string()).hint("rename it"));
            }
        }
    }
    Ok(())
}

fn names(tree: &dyn Tree, folder: &str, diagnostics: &mut Vec<Diagnostic>) -> Result<Vec<(String, EntryMode)>, TreeError> {
    match tree.list(folder) {
        Ok(entries) => Ok(entries.unwrap_or_default().into_iter().map(|(name, entry)| (name, entry.mode)).collect()),
        Err(error @ TreeError::Database { .. }) => Err(error),
        Err(error) => {
            diagnostics.push(Diagnostic::error(folder, None, error.to_string()));
            Ok(Vec::new())
        }
    }
}

/// Reads `trunkline.toml` and the folder of rules that it names: the rules by path.
pub(super) fn policies(reading: &mut Reading<'_>, contents: &mut Contents) -> Result<BTreeMap<String, Content>, TreeError> {
    let mut settings = RepositoryToml::default();
    if let Some((file, table)) = reading.document("trunkline.toml")? {
        let node = Node { place: Place { file, start: 0, end: 0 }, value: Value::Table(table) };
        let decoded = decode::<RepositoryToml>(&node, LATER_KEYS);
        decoded.faults.into_iter().for_each(|fault| reading.fault(fault));
        settings = decoded.value.unwrap_or_default();
        match &settings.format {
            Some(format) if format.value != 1 => {
                let message = format!("the format {} is not supported by this version", format.value);
                reading.fault(Fault::new(format.place, message).hint("write `format = 1`, or use a newer trunkline"));
            }
            None if !decoded.dropped.contains("format") && !reading.is_partial() => {
                reading.push(Diagnostic::error("trunkline.toml", None, "the key `format` is missing").hint("write `format = 1`"));
            }
            _ => {}
        }
    }
    let written = settings.policies;
    let folder = match &written {
        None => Some("policies".to_owned()),
        // The rules are the repository's, whoever's environment is judged: the path is not the tenant's.
        Some(path) if path.value.split('/').all(|part| !matches!(part, "" | "." | "..")) => Some(path.value.clone()),
        Some(path) => {
            let message = format!("`{}` is not a folder in the repository", shown(&path.value));
            reading.fault(Fault::new(path.place, message).hint("write a path from the root, such as `policies`"));
            None
        }
    };
    let mut rules = BTreeMap::new();
    if let Some(folder) = folder {
        let place = written.as_ref().map_or_else(Place::default, |written| written.place);
        let there = rules_below(reading, &folder, 0, (place, &mut rules, contents))?;
        if let (false, Some(Placed { place, value })) = (there, written) {
            reading.fault(
                Fault::new(place, format!("there is no folder `{}`", shown(&value)))
                    .hint("add the folder with your rules, or correct the path"),
            );
        }
    }
    Ok(rules)
}

fn rules_below(
    reading: &mut Reading<'_>,
    folder: &str,
    depth: usize,
    (place, rules, contents): (Place, &mut BTreeMap<String, Content>, &mut Contents),
) -> Result<bool, TreeError> {
    let Some(entries) = reading.list(folder)? else { return Ok(false) };
    for (name, entry) in entries {
        let path = format!("{folder}/{name}");
        if entry.mode == EntryMode::Folder && depth < limit::FOLDER_DEPTH {
            rules_below(reading, &path, depth + 1, (place, rules, contents))?;
        } else if name.ends_with(".rego") && !name.ends_with("_test.rego") {
            if matches!(entry.mode, EntryMode::Symlink | EntryMode::Submodule) {
                reading.push(Diagnostic::error(path, None, "a rule is a regular file; links are never followed"));
            } else if let Some((bytes, content)) = reading.blob(&path, limit::POLICY, place)? {
                contents.insert(content.sha256, bytes);
                rules.insert(path, content);
            }
        }
    }
    Ok(true)
}

/// The `[host.<name>]` tables of `fleet/*.toml`.
pub(super) fn hosts(reading: &mut Reading<'_>) -> Result<Table, TreeError> {
    let folder = format!("{}fleet", reading.root());
    let mut hosts = Table::new();
    for (name, entry) in reading.list(&folder)?.unwrap_or_default() {
        if !name.ends_with(".toml") || entry.mode == EntryMode::Folder {
            continue;
        }
        let Some((_, table)) = reading.document(&format!("{folder}/{name}"))? else { continue };
        for (kind, entry) in table {
            match (&*kind, entry.node.value) {
                ("host", Value::Table(names)) => add_hosts(reading, &mut hosts, names),
                ("host", other) => {
                    let message = format!("expected a table, found {}", other.sort());
                    reading.fault(Fault::new(entry.node.place, message).hint("write `[host.name]`"));
                }
                (kind, _) => {
                    let fault = Fault::new(entry.key, format!("unknown kind `{}` in the fleet", shown(kind)));
                    let hint = did_you_mean(kind, ["host"]);
                    reading.fault(fault.hint(hint.unwrap_or_else(|| "the fleet holds `[host.name]` tables only".to_owned())));
                }
            }
        }
    }
    let node = Node { place: Place::default(), value: Value::Table(hosts) };
    Ok([("host".into(), Entry { key: Place::default(), node })].into())
}

fn add_hosts(reading: &mut Reading<'_>, hosts: &mut Table, names: Table) {
    for (name, entry) in names {
        if let Some(first) = hosts.get(&name) {
            reading.fault(
                Fault::new(entry.key, format!("`host.{}` is defined twice", shown(&name)))
                    .label("again here")
                    .related(first.key, "first here")
                    .hint("rename one of them, or remove it"),
            );
        } else {
            hosts.insert(name, entry);
        }
    }
}

/// The folder of a tenant with a final slash; empty for `default`.
pub(super) fn tenant_root(tenant: &TenantName) -> String {
    if tenant.is_default() { String::new() } else { format!("tenants/{tenant}/") }
}

/// Where an environment's definitions stand, without `.toml`.
pub(super) fn environment_path(environment: &EnvironmentId) -> String {
    format!("{}environments/{}", tenant_root(&environment.tenant), environment.environment)
}
