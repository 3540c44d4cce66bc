//! Static files that a Worker serves.
//!
//! Goes in: a folder of the repository and how its files are to be served. Comes out: every file by its path, and the
//! configuration in the words of the API. `_headers` and `_redirects` of the folder are configuration, `.assetsignore` says
//! what is left out, as wrangler has it.

use std::collections::BTreeMap;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use schemars::JsonSchema;
use serde::Deserialize;

use super::limit;
use super::modules::search;
use super::origin::Tracing;
use super::reading::Reading;
use super::scope::required;
use crate::document::{Fault, Placed, did_you_mean, shown};
use crate::model::{Assets, Contents, EntryMode, Properties, TreeError, Value};

/// Static files that a Worker serves.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Assets")]
pub(super) struct AssetsToml {
    /// The folder, from the repository's root.
    #[schemars(required)]
    directory: Option<Placed<String>>,
    /// How the paths of pages end: `auto-trailing-slash` (the default), `force-trailing-slash`, `drop-trailing-slash`, `none`.
    html_handling: Option<Placed<String>>,
    /// What answers where there is no file: `none` (the default), `404-page`, `single-page-application`.
    not_found_handling: Option<Placed<String>>,
    /// Whether the code is asked before the files.
    run_worker_first: Option<Placed<bool>>,
}

const HTML: [&str; 4] = ["auto-trailing-slash", "force-trailing-slash", "drop-trailing-slash", "none"];
const NOT_FOUND: [&str; 3] = ["none", "404-page", "single-page-application"];
/// Files of the folder that say how the others are served, and the fields that they become.
const CONFIGURATION: [(&str, &str); 2] = [("/_headers", "_headers"), ("/_redirects", "_redirects")];

/// The files of a Worker; `None` where something about them is at fault.
pub(super) fn assets(
    reading: &mut Reading<'_>,
    written: &Placed<AssetsToml>,
    (tracing, contents): (&mut Tracing, &mut Contents),
) -> Result<Option<Assets>, TreeError> {
    tracing.field(reading, "assets", Some(written.place));
    let AssetsToml { directory, html_handling, not_found_handling, run_worker_first } = &written.value;
    let hint = "write the folder of the files, such as `directory = \"workers/site/public\"`";
    let none = std::collections::BTreeSet::new();
    let directory = required(reading, (written.place, &none), "directory", directory.as_ref(), hint);
    let mut config = Properties::new();
    for (field, written, words) in
        [("html_handling", html_handling, &HTML[..]), ("not_found_handling", not_found_handling, &NOT_FOUND[..])]
    {
        let Some(written) = written else { continue };
        if words.contains(&written.value.as_str()) {
            config.insert(field.to_owned(), Value::text(&written.value));
            continue;
        }
        let known = || format!("write one of {}", words.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", "));
        let hint = did_you_mean(&written.value, words.iter().copied()).unwrap_or_else(known);
        reading.fault(Fault::new(written.place, format!("`{}` is not known here", shown(&written.value))).hint(hint));
    }
    if let Some(flag) = run_worker_first {
        config.insert("run_worker_first".to_owned(), Value::Bool(flag.value));
    }
    let Some(directory) = directory else { return Ok(None) };
    let Some(folder) = reading.path(directory) else { return Ok(None) };
    let mut paths = Vec::new();
    search(reading, &folder, 0, &mut |path, mode| {
        if mode != EntryMode::Folder {
            paths.push(path.to_owned());
        }
        paths.len() <= limit::ASSETS
    })?;
    if paths.is_empty() || paths.len() > limit::ASSETS {
        let message = if paths.is_empty() {
            format!("there is no file in `{}`", shown(&folder))
        } else {
            format!("`{}` holds more than {} files", shown(&folder), limit::ASSETS)
        };
        reading.fault(Fault::new(directory.place, message).hint("name the folder of the files that are to be served"));
        return Ok(None);
    }
    let ignored = ignored(reading, &folder, &paths, directory)?;
    let mut files = BTreeMap::new();
    for path in paths {
        let name = path[folder.len()..].to_owned();
        if name == "/.assetsignore" || ignored.is_match(&name[1..]) {
            continue;
        }
        let Some((bytes, content)) = reading.blob(&path, limit::ASSET, directory.place)? else { return Ok(None) };
        if let Some((_, field)) = CONFIGURATION.iter().find(|(file, _)| *file == name) {
            match std::str::from_utf8(&bytes) {
                Ok(text) => drop(config.insert((*field).to_owned(), Value::text(text))),
                Err(_) => reading.fault(Fault::new(directory.place, format!("`{}` is not UTF-8", shown(&path)))),
            }
            continue;
        }
        contents.insert(content.sha256, bytes);
        files.insert(name, content);
    }
    Ok(Some(Assets { files, config }))
}

/// What `.assetsignore` of the folder names.
fn ignored(reading: &mut Reading<'_>, folder: &str, paths: &[String], directory: &Placed<String>) -> Result<GlobSet, TreeError> {
    let mut set = GlobSetBuilder::new();
    let file = format!("{folder}/.assetsignore");
    if paths.contains(&file)
        && let Some((bytes, _)) = reading.blob(&file, limit::TEMPLATE, directory.place)?
    {
        for line in String::from_utf8_lossy(&bytes).lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            let pattern = line.trim_start_matches('/').trim_end_matches('/');
            for pattern in [pattern.to_owned(), format!("{pattern}/**"), format!("**/{pattern}")] {
                match GlobBuilder::new(&pattern).literal_separator(true).build() {
                    Ok(glob) => drop(set.add(glob)),
                    Err(error) => {
                        let message = format!("`{}` of `{file}` is no pattern: {}", shown(line), error.kind());
                        reading.fault(Fault::new(directory.place, message).hint("write one pattern on a line"));
                    }
                }
            }
        }
    }
    Ok(set.build().unwrap_or_else(|_| GlobSet::empty()))
}
