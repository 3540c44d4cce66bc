//! A Worker's `build` to a request: what is run, on which files of the commit.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::limit;
use super::modules::matching;
use super::origin::Tracing;
use super::reading::Reading;
use super::scope::Draft;
use super::written::WorkerToml;
use crate::document::{Entries, Fault, Place, Placed, shown};
use crate::model::{BuildInput, BuildRequest, ModuleType, Recipe, TreeError};

/// What makes the modules of a Worker: exactly one of `command`, `esbuild`, `wrangler`. It is run without network and
/// sees its inputs only.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Build")]
pub(super) struct BuildToml {
    /// A program and its arguments; no shell takes them apart.
    command: Option<Vec<Placed<String>>>,
    /// The file that esbuild begins with, by its path.
    esbuild: Option<Placed<String>>,
    /// The `wrangler.toml`, `wrangler.json` or `wrangler.jsonc` that `wrangler deploy --dry-run` is run on, by its path.
    wrangler: Option<Placed<String>>,
    /// With `wrangler`: which of its environments, where it is not the top-level one.
    environment: Option<Placed<String>>,
    /// Paths or globs of the files that the build sees; with `esbuild` and `wrangler` everything in the folder of their
    /// file unless said otherwise.
    inputs: Option<Vec<Placed<String>>>,
    /// With `command`: the folder that it is run in; the root of the repository unless said otherwise.
    folder: Option<Placed<String>>,
    /// With `command`: where the modules are afterwards, from `folder`.
    output: Option<Placed<String>>,
    /// Environment variables of the build. They are no place for a secret.
    env: Option<Entries<Placed<String>>>,
}

/// Variables that every build has, and none may change.
const OWN_VARIABLES: [&str; 4] = ["HOME", "NODE_PATH", "PATH", "TMPDIR"];

/// What is run, where, and whose folder is the input where no inputs are named.
struct Run {
    recipe: Recipe,
    folder: String,
    /// The file that it begins with.
    file: Option<Placed<String>>,
}

/// Leaves the request with `reading`; false where something about it is at fault.
pub(super) fn request(
    reading: &mut Reading<'_>,
    draft: &Draft<WorkerToml>,
    build: &Placed<BuildToml>,
    tracing: &mut Tracing,
) -> Result<bool, TreeError> {
    if let Some(first) = draft.written.modules.as_ref().and_then(|modules| modules.first()) {
        let message = "`modules` cannot stand beside `build`";
        reading.fault(Fault::new(first.place, message).hint("the modules are what the build leaves: remove this key"));
        return Ok(false);
    }
    let main = match &draft.written.main {
        Some(written) => match reading.path(written) {
            Some(_) if ModuleType::of_path(&written.value) == Some(ModuleType::Esm) => Some(written.value.clone()),
            Some(_) => {
                let message = format!("`{}` is not an ES module", shown(&written.value));
                let hint = "with `build`, `main` is the name of the module in what the build leaves, such as `index.js`";
                reading.fault(Fault::new(written.place, message).hint(hint));
                return Ok(false);
            }
            None => return Ok(false),
        },
        None => None,
    };
    let (Some(run), Some(env)) = (run(reading, build), env(reading, &build.value)) else { return Ok(false) };
    let Some(globs) = globs(reading, build, run.file.as_ref()) else { return Ok(false) };
    let Some(inputs) = inputs(reading, &globs, (build.place, tracing))? else { return Ok(false) };
    reading.build(draft.name.clone(), BuildRequest { recipe: run.recipe, folder: run.folder, inputs, env, main });
    Ok(true)
}

fn run(reading: &mut Reading<'_>, build: &Placed<BuildToml>) -> Option<Run> {
    let BuildToml { command, esbuild, wrangler, environment, folder, output, inputs: _, env: _ } = &build.value;
    let said = [command.is_some(), esbuild.is_some(), wrangler.is_some()];
    if said.iter().filter(|said| **said).count() != 1 {
        let hint = "such as `{ esbuild = \"workers/api/src/index.ts\" }`; tables merge with those of a base, key by key";
        reading.fault(Fault::new(build.place, "exactly one of `command`, `esbuild`, `wrangler` is expected").hint(hint));
        return None;
    }
    let misplaced = [
        ("environment", "wrangler", environment.as_ref().filter(|_| wrangler.is_none())),
        ("folder", "command", folder.as_ref().filter(|_| command.is_none())),
        ("output", "command", output.as_ref().filter(|_| command.is_none())),
    ];
    let mut sound = true;
    for (key, owner, value) in misplaced {
        if let Some(value) = value {
            reading.fault(Fault::new(value.place, format!("`{key}` belongs to `{owner}`")).hint("remove it"));
            sound = false;
        }
    }
    if !sound {
        return None;
    }
    if let Some(command) = command {
        let words: Vec<String> = command.iter().map(|word| word.value.clone()).collect();
        if words.first().is_none_or(String::is_empty) || words.iter().any(|word| word.contains('\0')) {
            let hint = "write a program and its arguments, such as `[\"npm\", \"run\", \"build\"]`";
            reading.fault(Fault::new(build.place, "this is not a command").hint(hint));
            return None;
        }
        let Some(output) = output else {
            let message = "the key `output` is missing";
            reading.fault(Fault::new(build.place, message).hint("write the folder that the modules are left in, such as `dist`"));
            return None;
        };
        let folder = match folder {
            Some(folder) => inner(reading, folder)?,
            None => String::new(),
        };
        let recipe = Recipe::Command { command: words, output: inner(reading, output)? };
        return Some(Run { recipe, folder, file: None });
    }
    if let Some(entry) = esbuild {
        let recipe = Recipe::Esbuild { entry: inner(reading, entry)? };
        return Some(Run { recipe, folder: String::new(), file: Some(entry.clone()) });
    }
    let config = wrangler.as_ref()?;
    let path = inner(reading, config)?;
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
    if let Some(environment) = environment
        && !is_environment(&environment.value)
    {
        let message = format!("`{}` is not the name of an environment of wrangler", shown(&environment.value));
        let hint = "names are made of letters, digits, `-`, `_` and `.`, and do not begin with a hyphen";
        reading.fault(Fault::new(environment.place, message).hint(hint));
        return None;
    }
    let environment = environment.as_ref().map(|environment| environment.value.clone());
    let recipe = Recipe::Wrangler { config: name.to_owned(), environment };
    Some(Run { recipe, folder: folder.to_owned(), file: Some(config.clone()) })
}

/// A name that is an argument of wrangler and no option.
fn is_environment(text: &str) -> bool {
    let letters = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=100).contains(&text.len()) && !text.starts_with('-') && text.bytes().all(letters)
}

/// A path from the tenant's root, checked.
fn inner(reading: &mut Reading<'_>, written: &Placed<String>) -> Option<String> {
    let path = reading.path(written)?;
    Some(path[reading.root().len()..].to_owned())
}

fn env(reading: &mut Reading<'_>, build: &BuildToml) -> Option<BTreeMap<String, String>> {
    let mut env = BTreeMap::new();
    let mut sound = true;
    for (name, value) in build.env.iter().flat_map(|entries| &entries.0) {
        let text = name.value.as_str();
        let grammar =
            text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !text.starts_with(|c: char| c.is_ascii_digit());
        if text.is_empty() || text.len() > 255 || !grammar || value.value.contains('\0') {
            let message = format!("`{}` is not an environment variable", shown(text));
            reading.fault(Fault::new(name.place, message).hint("names are made of letters, digits and `_`"));
            sound = false;
        } else if OWN_VARIABLES.contains(&text) {
            let message = format!("`{text}` is set by trunkline");
            reading.fault(Fault::new(name.place, message).hint("tools are named in the daemon's settings, under [build]"));
            sound = false;
        } else {
            env.insert(text.to_owned(), value.value.clone());
        }
    }
    sound.then_some(env)
}

/// The globs of the inputs; where none are named, everything in the folder of the file that the build begins with.
fn globs(reading: &mut Reading<'_>, build: &Placed<BuildToml>, file: Option<&Placed<String>>) -> Option<Vec<Placed<String>>> {
    let mut globs = build.value.inputs.clone().unwrap_or_default();
    if globs.is_empty() {
        let folder = file.and_then(|file| Some((file.place, file.value.rsplit_once('/')?.0)));
        let Some((place, folder)) = folder else {
            let message = "the inputs of this build are not named";
            reading.fault(
                Fault::new(build.place, message)
                    .hint("write `inputs = [\"workers/api/**\"]`: a build sees these files and no others"),
            );
            return None;
        };
        globs.push(Placed { place, value: format!("{}/**", globset::escape(folder)) });
    }
    // A path is no pattern: a `*` in it is a `*`.
    globs.extend(file.map(|file| Placed { place: file.place, value: globset::escape(&file.value) }));
    Some(globs)
}

fn inputs(
    reading: &mut Reading<'_>,
    globs: &[Placed<String>],
    (whole, tracing): (Place, &mut Tracing),
) -> Result<Option<BTreeMap<String, BuildInput>>, TreeError> {
    let mut paths: BTreeMap<String, Place> = BTreeMap::new();
    for glob in globs {
        for path in matching(reading, glob)? {
            paths.entry(path).or_insert(glob.place);
        }
    }
    let mut inputs = BTreeMap::new();
    let (mut total, mut sound) = (0, !paths.is_empty());
    for (path, place) in paths {
        let Some((bytes, content)) = reading.blob(&path, limit::BUILD_INPUTS, place)? else {
            sound = false;
            continue;
        };
        total += content.size;
        if total > limit::BUILD_INPUTS {
            let message = format!("the inputs of this build have more than {} bytes in all", limit::BUILD_INPUTS);
            reading.fault(Fault::new(whole, message).hint("name fewer of them by `inputs`"));
            return Ok(None);
        }
        tracing.whole_file(&format!("build.{path}"), &path);
        let executable = reading.is_executable(&path)?;
        inputs.insert(path[reading.root().len()..].to_owned(), BuildInput { content, executable, bytes });
    }
    Ok(sound.then_some(inputs))
}
