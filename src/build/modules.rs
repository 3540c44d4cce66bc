//! The files that a build left, as the modules of a Worker, in their place in the bundle.

use std::collections::BTreeMap;

use super::frame::Files;
use super::{BuildError, Options, build};
use crate::document::shown;
use crate::model::{BuildRequest, Bundle, Content, Contents, Module, ModuleType, ResourceName, Spec};

/// The modules of one Worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The module to start with; a key of `modules`.
    pub main: String,
    /// Modules by name.
    pub modules: BTreeMap<String, Module>,
    /// Their bytes.
    pub contents: Contents,
}

/// `files` as modules: each must be one, and one of them the start.
pub(super) fn of(worker: &ResourceName, request: &BuildRequest, files: Files) -> Result<Built, BuildError> {
    let refuse = |what: String| BuildError::Output { worker: worker.clone(), what };
    let (mut modules, mut contents) = (BTreeMap::new(), Contents::new());
    for (name, bytes) in files {
        let Some(module_type) = ModuleType::of_path(&name) else {
            return Err(refuse(format!("`{}` is no module: its extension is not known", shown(&name))));
        };
        let content = Content::of(&bytes);
        contents.insert(content.sha256, bytes);
        modules.insert(name, Module { module_type, content });
    }
    let main = match &request.main {
        Some(main) if modules.contains_key(main) => main.clone(),
        Some(main) => {
            let there: Vec<String> = modules.keys().take(8).map(|name| format!("`{}`", shown(name))).collect();
            return Err(refuse(format!("there is no `{}`, which `main` names; there is {}", shown(main), there.join(", "))));
        }
        None => {
            let at_the_top = |(name, module): &(&String, &Module)| module.module_type == ModuleType::Esm && !name.contains('/');
            let mut starts = modules.iter().filter(at_the_top).map(|(name, _)| name);
            match (starts.next(), starts.next()) {
                (Some(only), None) => only.clone(),
                (None, _) => return Err(refuse("no ES module (`.js` or `.mjs`) stands at the top of it".to_owned())),
                (Some(one), Some(other)) => {
                    let (one, other) = (shown(one), shown(other));
                    return Err(refuse(format!("it can start with `{one}` or `{other}`: name it by the Worker's `main`")));
                }
            }
        }
    };
    Ok(Built { main, modules, contents })
}

/// The bundle with what is built in the place of what was to be built.
///
/// Blocks; call it on a thread that may.
///
/// # Errors
/// Every [`BuildError`], by the names of the Workers.
pub fn built(
    options: &Options,
    requests: &BTreeMap<ResourceName, BuildRequest>,
    mut bundle: Bundle,
) -> Result<Bundle, Vec<BuildError>> {
    let mut errors = Vec::new();
    for (worker, request) in requests {
        match build(options, worker, request) {
            Ok(Built { main, modules, contents }) => {
                for (key, desired) in &mut bundle.desired.resources {
                    if let Spec::Worker(spec) = &mut desired.spec
                        && key.address.name == *worker
                    {
                        spec.main.clone_from(&main);
                        spec.modules.clone_from(&modules);
                    }
                }
                bundle.contents.extend(contents);
            }
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(bundle) } else { Err(errors) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Recipe;

    fn modules(files: &[&str], main: Option<&str>) -> Result<Built, String> {
        let recipe = Recipe::Esbuild { entry: "a.ts".to_owned() };
        let (folder, main) = (String::new(), main.map(str::to_owned));
        let request = BuildRequest { recipe, folder, inputs: BTreeMap::new(), env: BTreeMap::new(), main };
        let files = files.iter().map(|name| ((*name).to_owned(), name.as_bytes().into())).collect();
        of(&"api".parse().unwrap(), &request, files).map_err(|error| error.to_string())
    }

    #[test]
    fn the_start_is_named_or_the_only_one() {
        assert_eq!(modules(&["index.js", "lib/a.js", "x.wasm"], None).unwrap().main, "index.js");
        assert_eq!(modules(&["a.js", "b.mjs"], Some("b.mjs")).unwrap().main, "b.mjs");
        assert!(modules(&["a.js", "b.js"], None).unwrap_err().contains("`a.js` or `b.js`"));
        assert!(modules(&["lib/a.js"], None).unwrap_err().contains("no ES module"));
        assert!(modules(&["a.js"], Some("b.js")).unwrap_err().contains("there is `a.js`"));
        assert!(modules(&["a.js", "a.css"], None).unwrap_err().contains("`a.css` is no module"));
    }
}
