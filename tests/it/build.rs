//! Builds: isolated, bounded, repeatable, and what becomes of an environment when one fails.

#[path = "build/isolation.rs"]
mod isolation;
#[path = "build/recipes.rs"]
mod recipes;
#[path = "build/whole.rs"]
mod whole;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use trunkline::build::{BuildError, Built, Options, build};
use trunkline::model::{BuildInput, BuildRequest, Content, Recipe};

/// The folder whose `node_modules` has esbuild and wrangler.
pub(crate) fn tools() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).find(|folder| folder.join("esbuild").exists() && folder.ends_with(".bin"));
    let found = found.expect("esbuild is on PATH, from tests/npm: run tests/run");
    found.parent().unwrap().parent().unwrap().canonicalize().unwrap()
}

fn options(folder: &Path) -> Options {
    Options {
        program: env!("CARGO_BIN_EXE_trunkline").into(),
        tools: vec![tools()],
        cache: folder.join("builds"),
        timeout: Duration::from_secs(120),
        stop: Arc::new(|| false),
    }
}

fn request(recipe: Recipe, folder: &str, files: &[(&str, &str)]) -> BuildRequest {
    let input = |text: &str| BuildInput {
        content: Content::of(text.as_bytes()),
        executable: text.starts_with("#!"),
        bytes: text.as_bytes().into(),
    };
    let inputs = files.iter().map(|(path, text)| ((*path).to_owned(), input(text))).collect();
    BuildRequest { recipe, folder: folder.to_owned(), inputs, env: BTreeMap::new(), main: None }
}

/// A command that is one line for a shell of the machine, with modules in `dist` afterwards.
fn line(line: &str) -> BuildRequest {
    let command = ["sh", "-c", line].map(str::to_owned).into();
    request(Recipe::Command { command, output: "dist".to_owned() }, "", &[("in/a.js", "export default {}")])
}

fn run(options: &Options, request: &BuildRequest) -> Result<Built, BuildError> {
    build(options, &"api".parse().unwrap(), request)
}

/// The text of a module.
fn text(built: &Built, name: &str) -> String {
    String::from_utf8(built.contents[&built.modules[name].content.sha256].to_vec()).unwrap()
}
