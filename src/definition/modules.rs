//! The modules of a Worker: the main one, and those that globs match.

use std::collections::BTreeMap;

use globset::{GlobBuilder, GlobMatcher};

use super::limit;
use super::origin::Tracing;
use super::reading::Reading;
use crate::document::{Fault, Placed, shown};
use crate::model::{Contents, EntryMode, Module, ModuleType, TreeError};

type Modules = (String, BTreeMap<String, Module>);

pub(super) fn modules(
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
    if ModuleType::of_path(&main_path) != Some(ModuleType::Esm) {
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
        let Some(module_type) = ModuleType::of_path(&path) else {
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
pub(super) fn matching(reading: &mut Reading<'_>, glob: &Placed<String>) -> Result<Vec<String>, TreeError> {
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
pub(super) fn search(
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
