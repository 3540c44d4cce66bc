//! A Worker's table to its specification: modules, bindings, routes, crons.

use std::collections::{BTreeMap, BTreeSet};

use globset::{GlobBuilder, GlobMatcher};

use super::cron::cron;
use super::limit;
use super::origin::Tracing;
use super::reading::Reading;
use super::scalar;
use super::scope::{Draft, Scope, required};
use super::written::{BindingToml, WorkerToml};
use crate::document::{Entries, Fault, Place, Placed, shown};
use crate::model::{Address, Binding, Contents, EntryMode, Kind, Module, ModuleType, ResourceName, Route, TreeError, WorkerSpec};

/// Another resource that a Worker refers to, and where.
pub(super) type Reference = (Kind, ResourceName, Place);

/// The specification of a Worker and what it refers to; `None` where something about it is at fault.
pub(super) fn worker(
    reading: &mut Reading<'_>,
    scope: &Scope,
    draft: &Draft<WorkerToml>,
    (tracing, contents): (&mut Tracing, &mut Contents),
) -> Result<(Option<WorkerSpec>, Vec<Reference>), TreeError> {
    let written = &draft.written;
    let hint = "write the path of the module to start with, such as `main = \"workers/ads-api/index.js\"`";
    let main = required(reading, (draft.key, &draft.dropped), "main", written.main.clone(), hint);
    let modules = match &main {
        Some(main) => modules(reading, main, written.modules.as_deref().unwrap_or_default(), (tracing, contents))?,
        None => None,
    };
    let mut references = Vec::new();
    let bindings = bindings(reading, scope, written, (tracing, &mut references));
    let date = match &written.compatibility_date {
        Some(date) => reading.check(date.place, scalar::date(&date.value)).map(Some),
        None => Some(None),
    };
    let mut flags = BTreeSet::new();
    for flag in written.compatibility_flags.iter().flatten() {
        if let Some(checked) = reading.check(flag.place, scalar::flag(&flag.value))
            && !flags.insert(checked)
        {
            reading.fault(Fault::new(flag.place, format!("the flag `{}` stands here twice", shown(&flag.value))));
        }
    }
    let crons = crons(reading, written);
    let routes = routes(reading, written);
    for (field, place) in [
        ("script", written.name.as_ref().map(|v| v.place)),
        ("main_module", main.as_ref().map(|v| v.place)),
        ("compatibility_date", written.compatibility_date.as_ref().map(|v| v.place)),
        ("compatibility_flags", written.compatibility_flags.as_ref().and_then(|v| v.first()).map(|v| v.place)),
        ("crons", written.triggers.as_ref().and_then(|v| v.crons.as_ref()?.first()).map(|v| v.place)),
        ("routes", written.routes.as_ref().and_then(|v| v.first()).map(|v| v.place)),
        ("workers_dev", written.workers_dev.as_ref().map(|v| v.place)),
    ] {
        tracing.field(reading, field, place);
    }
    let spec = match (draft.claim.clone(), modules, date) {
        (Some(script), Some((main, modules)), Some(compatibility_date)) => Some(WorkerSpec {
            script,
            main,
            modules,
            compatibility_date,
            compatibility_flags: flags,
            bindings,
            crons,
            routes,
            workers_dev: written.workers_dev.as_ref().is_some_and(|v| v.value),
        }),
        _ => None,
    };
    Ok((spec, references))
}

fn crons(reading: &mut Reading<'_>, written: &WorkerToml) -> BTreeSet<String> {
    let mut crons = BTreeSet::new();
    for expression in written.triggers.iter().flat_map(|triggers| triggers.crons.iter().flatten()) {
        if let Some(checked) = reading.check(expression.place, cron(&expression.value))
            && !crons.insert(checked)
        {
            let message = format!("the cron expression `{}` stands here twice", shown(&expression.value));
            reading.fault(Fault::new(expression.place, message));
        }
    }
    crons
}

fn routes(reading: &mut Reading<'_>, written: &WorkerToml) -> BTreeSet<Route> {
    let mut routes = BTreeMap::new();
    let none = BTreeSet::new();
    for route in written.routes.iter().flatten() {
        let at = (route.place, &none);
        let pattern = required(reading, at, "pattern", route.value.pattern.clone(), "such as `api.example.com/*`");
        let zone = required(reading, at, "zone_name", route.value.zone_name.clone(), "such as `example.com`");
        let (Some(pattern), Some(zone)) = (pattern, zone) else { continue };
        let Some(checked) = reading.check(pattern.place, scalar::route(&pattern.value, &zone.value)) else { continue };
        if let Some(first) = routes.insert(checked.pattern.clone(), (checked, pattern.place)) {
            reading.fault(
                Fault::new(pattern.place, format!("the route `{}` stands here twice", shown(&pattern.value)))
                    .related(first.1, "first here"),
            );
        }
    }
    routes.into_values().map(|(route, _)| route).collect()
}

fn bindings(
    reading: &mut Reading<'_>,
    scope: &Scope,
    written: &WorkerToml,
    (tracing, references): (&mut Tracing, &mut Vec<Reference>),
) -> BTreeMap<String, Binding> {
    let mut bindings = BTreeMap::new();
    let mut places = BTreeMap::new();
    for (name, value) in written.vars.iter().flat_map(|Entries(vars)| vars) {
        let sound = reading.check(name.place, scalar::binding_name(&name.value));
        if let (Some(()), Some(binding)) = (sound, var(reading, value)) {
            places.insert(name.value.clone(), name.place);
            tracing.field(reading, &format!("bindings.{}", name.value), Some(name.place));
            bindings.insert(name.value.clone(), binding);
        }
    }
    for (name, value) in written.bindings.iter().flat_map(|Entries(bindings)| bindings) {
        let sound = reading.check(name.place, scalar::binding_name(&name.value));
        let binding = binding(reading, scope, value, references);
        if let Some(first) = places.get(&name.value) {
            reading.fault(
                Fault::new(name.place, format!("`{}` is both a var and a binding", shown(&name.value)))
                    .label("again here")
                    .related(*first, "first here")
                    .hint("the code sees both under one name: rename one of them"),
            );
        } else if let (Some(()), Some(binding)) = (sound, binding) {
            tracing.field(reading, &format!("bindings.{}", name.value), Some(name.place));
            bindings.insert(name.value.clone(), binding);
        }
    }
    bindings
}

/// Text is plain text; anything else is JSON.
fn var(reading: &mut Reading<'_>, written: &Placed<serde_json::Value>) -> Option<Binding> {
    if let serde_json::Value::String(text) = &written.value {
        return Some(Binding::PlainText { text: text.clone() });
    }
    if has_large_integer(&written.value) {
        let message = "the number cannot be told apart from its neighbours in JavaScript";
        reading.fault(Fault::new(written.place, message).hint("put it in quotes"));
        return None;
    }
    // A JSON value always has a canonical form; `None` would only drop the var, after the fault below.
    match serde_json_canonicalizer::to_string(&written.value) {
        Ok(json) => Some(Binding::Json { json }),
        Err(error) => {
            reading.fault(Fault::new(written.place, format!("the value has no JSON form: {}", shown(&error.to_string()))));
            None
        }
    }
}

fn has_large_integer(value: &serde_json::Value) -> bool {
    const SAFE: i64 = 1 << 53;
    match value {
        serde_json::Value::Number(number) => number.as_i64().is_some_and(|n| !(-SAFE..=SAFE).contains(&n)),
        serde_json::Value::Array(items) => items.iter().any(has_large_integer),
        serde_json::Value::Object(entries) => entries.values().any(has_large_integer),
        _ => false,
    }
}

fn binding(
    reading: &mut Reading<'_>,
    scope: &Scope,
    written: &Placed<BindingToml>,
    references: &mut Vec<Reference>,
) -> Option<Binding> {
    let BindingToml { kv, service, script, entrypoint, secret } = &written.value;
    let said = [kv.is_some(), service.is_some(), script.is_some(), secret.is_some()];
    if said.iter().filter(|said| **said).count() != 1 {
        reading.fault(
            Fault::new(written.place, "exactly one of `kv`, `service`, `script`, `secret` is expected")
                .hint("such as `{ kv = \"sessions\" }`; tables merge with those of a base, key by key"),
        );
        return None;
    }
    if let (Some(entrypoint), true) = (entrypoint, kv.is_some() || secret.is_some()) {
        let message = "`entrypoint` belongs to `service` or `script`";
        reading.fault(Fault::new(entrypoint.place, message).hint("remove it"));
    }
    let entrypoint = match entrypoint {
        Some(name) => {
            reading.check(name.place, scalar::binding_name(&name.value))?;
            Some(name.value.clone())
        }
        None => None,
    };
    if let Some(name) = kv {
        if !scope.kv.contains_key(&name.value) {
            reading.dangling(name.place, "kv", name.value.as_str(), scope.kv.keys().map(ResourceName::as_str));
            return None;
        }
        references.push((Kind::Kv, name.value.clone(), name.place));
        let address = Address { environment: scope.environment.clone(), kind: Kind::Kv, name: name.value.clone() };
        return Some(Binding::Kv { address });
    }
    if let Some(name) = service {
        let Some(callee) = scope.workers.get(&name.value) else {
            reading.dangling(name.place, "worker", name.value.as_str(), scope.workers.keys().map(ResourceName::as_str));
            return None;
        };
        references.push((Kind::Worker, name.value.clone(), name.place));
        return Some(Binding::Service { script: callee.claim.clone()?, entrypoint });
    }
    if let Some(name) = script {
        let script = reading.check(name.place, scalar::script_name(&name.value))?;
        return Some(Binding::Service { script, entrypoint });
    }
    let name = secret.as_ref()?;
    scope.secret(reading, name);
    Some(Binding::Secret { name: name.value.clone() })
}

/// How the runtime loads a module, by its extension, as wrangler has it.
fn module_type(path: &str) -> Option<ModuleType> {
    match path.rsplit_once('/').map_or(path, |(_, name)| name).rsplit_once('.')?.1 {
        "js" | "mjs" => Some(ModuleType::Esm),
        "cjs" => Some(ModuleType::CommonJs),
        "txt" | "html" | "sql" => Some(ModuleType::Text),
        "bin" => Some(ModuleType::Data),
        "json" => Some(ModuleType::Json),
        "wasm" => Some(ModuleType::Wasm),
        _ => None,
    }
}

type Modules = (String, BTreeMap<String, Module>);

fn modules(
    reading: &mut Reading<'_>,
    main: &Placed<String>,
    globs: &[Placed<String>],
    (tracing, contents): (&mut Tracing, &mut Contents),
) -> Result<Option<Modules>, TreeError> {
    let Some(main_path) = reading.path(main) else { return Ok(None) };
    let (folder, main_name) = match main_path.rsplit_once('/') {
        Some((folder, name)) => (format!("{folder}/"), name.to_owned()),
        None => (String::new(), main_path.clone()),
    };
    if module_type(&main_path) != Some(ModuleType::Esm) {
        reading.fault(
            Fault::new(main.place, format!("`{}` is not an ES module", shown(&main.value)))
                .hint("`main` ends with `.js` or `.mjs`"),
        );
        return Ok(None);
    }
    let mut paths = BTreeMap::from([(main_path, main.place)]);
    for glob in globs {
        for path in matching(reading, glob)? {
            paths.entry(path).or_insert(glob.place);
        }
    }
    let mut modules = BTreeMap::new();
    let mut total = 0;
    let mut sound = true;
    for (path, place) in paths {
        let Some(name) = path.strip_prefix(&folder) else {
            let message = format!("the module `{}` lies outside of the folder of `main`", shown(&path));
            reading.fault(Fault::new(place, message).hint("move it below that folder, or move `main` up"));
            sound = false;
            continue;
        };
        let Some(module_type) = module_type(&path) else {
            let message = format!("`{}` is no module: its extension is not known", shown(&path));
            let hint = "modules are .js, .mjs, .cjs, .json, .wasm, .txt, .html, .sql and .bin; write a narrower pattern";
            reading.fault(Fault::new(place, message).hint(hint));
            sound = false;
            continue;
        };
        let Some((bytes, content)) = reading.blob(&path, limit::MODULES, place)? else {
            sound = false;
            continue;
        };
        total += content.size;
        tracing.whole_file(&format!("modules.{name}"), &path);
        contents.insert(content.sha256, bytes);
        modules.insert(name.to_owned(), Module { module_type, content });
    }
    if total > limit::MODULES {
        let message = format!("the modules have {total} bytes in all; the limit is {}", limit::MODULES);
        reading.fault(Fault::new(main.place, message).hint("bundle and minify, or split the Worker"));
        sound = false;
    }
    Ok(sound.then_some((main_name, modules)))
}

/// The files that a glob matches; a fault where there are none.
fn matching(reading: &mut Reading<'_>, glob: &Placed<String>) -> Result<Vec<String>, TreeError> {
    let Some(pattern) = reading.path(glob) else { return Ok(Vec::new()) };
    let Some(first) = pattern.find(['*', '?', '[', '{']) else { return Ok(vec![pattern]) };
    let matcher = match GlobBuilder::new(&pattern).literal_separator(true).build() {
        Ok(glob) => glob.compile_matcher(),
        Err(error) => {
            let message = format!("`{}` is not a pattern: {}", shown(&glob.value), shown(&error.kind().to_string()));
            reading.fault(Fault::new(glob.place, message).hint("such as `workers/ads-api/**/*.js`"));
            return Ok(Vec::new());
        }
    };
    let folder = pattern[..first].rsplit_once('/').map_or("", |(folder, _)| folder);
    if folder.is_empty() || !reading.root().is_empty() && folder.len() < reading.root().len() {
        let message = format!("the pattern `{}` would search the whole repository", shown(&glob.value));
        reading.fault(Fault::new(glob.place, message).hint("begin it with a folder, such as `workers/ads-api/**/*.js`"));
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    let mut seen = 0;
    search(reading, folder, 0, &mut |path, mode| {
        seen += 1;
        if matcher_takes(&matcher, path, mode) {
            found.push(path.to_owned());
        }
        seen <= limit::FILES
    })?;
    if seen > limit::FILES {
        let message = format!("the pattern `{}` searches more than {} files", shown(&glob.value), limit::FILES);
        reading.fault(Fault::new(glob.place, message).hint("begin it with a smaller folder"));
        return Ok(Vec::new());
    }
    if found.is_empty() {
        let message = format!("the pattern `{}` matches no file", shown(&glob.value));
        reading.fault(Fault::new(glob.place, message).hint("add the files, or correct the pattern"));
    }
    Ok(found)
}

fn matcher_takes(matcher: &GlobMatcher, path: &str, mode: EntryMode) -> bool {
    mode != EntryMode::Folder && matcher.is_match(path)
}

/// Shows every file below `folder` to `visit`, until it says that this is enough.
fn search(
    reading: &mut Reading<'_>,
    folder: &str,
    depth: usize,
    visit: &mut dyn FnMut(&str, EntryMode) -> bool,
) -> Result<bool, TreeError> {
    for (name, entry) in reading.list(folder)?.unwrap_or_default() {
        let path = format!("{folder}/{name}");
        let go_on = if entry.mode == EntryMode::Folder && depth < limit::FOLDER_DEPTH {
            search(reading, &path, depth + 1, visit)?
        } else {
            visit(&path, entry.mode)
        };
        if !go_on {
            return Ok(false);
        }
    }
    Ok(true)
}
