//! The code of a Worker as files of the repository.

use serde_json::json;

use super::super::SourceFile;
use super::super::sketch::TableSketch;
use super::Making;
use crate::document::{is_deceptive, shown};
use crate::model::{ModuleType, Value};
use crate::provider::cloudflare::{ModuleFile, SurveyedWorker};

/// Carries the modules of a Worker. `None` where they cannot be those of a definition: then there is no Worker either, since
/// an apply would upload other code than what runs.
pub(super) fn carry(
    making: &mut Making<'_>,
    worker: &SurveyedWorker,
    (key, what): (&str, &str),
    table: &mut TableSketch,
) -> Option<Vec<SourceFile>> {
    let main = worker.properties.get("main_module").and_then(Value::as_text);
    let folder = format!("workers/{key}");
    let mut sources = Vec::new();
    let mut further = Vec::new();
    for module in &worker.modules {
        if module.content_type == "application/source-map" {
            making.ask(
                what,
                format!("its source map `{}` is not carried: the first apply uploads it without", shown(&module.name)),
            );
            continue;
        }
        if let Err(reason) = check(module, Some(module.name.as_str()) == main) {
            making.leave(what, format!("its module `{}` {reason}", shown(&module.name)));
            return None;
        }
        let path = format!("{folder}/{}", module.name);
        if Some(module.name.as_str()) != main {
            further.push(path.clone());
        }
        sources.push(SourceFile { path, content: module.content.clone() });
    }
    let Some(main) = main.filter(|main| worker.modules.iter().any(|module| module.name == *main)) else {
        making.leave(what, "it names no main module among its modules");
        return None;
    };
    table.keys.insert("main".to_owned(), json!(format!("{folder}/{main}")));
    if !further.is_empty() {
        table.keys.insert("modules".to_owned(), json!(further));
    }
    Some(sources)
}

fn check(module: &ModuleFile, is_main: bool) -> Result<(), &'static str> {
    let ModuleFile { name, content_type, .. } = module;
    let segment = |part: &str| !matches!(part, "" | "." | "..") && part.len() <= 255;
    let sound = name.split('/').all(segment)
        && !name.chars().any(|c| is_deceptive(c) || matches!(c, '\\' | '*' | '?' | '[' | ']' | '{' | '}'));
    let named = ModuleType::of_path(name);
    if !sound {
        Err("has a name that no file of a repository can have here")
    } else if is_main && named != Some(ModuleType::Esm) {
        Err("is the main one and its name does not end with `.js` or `.mjs`")
    } else if is_main && content_type != ModuleType::Esm.content_type() {
        Err("is the main one and no ES module: rewrite it from the older syntax of a service worker")
    } else if is_main && name.contains('/') {
        Err("is the main one and lies in a folder: names of modules begin at its folder")
    } else if named.is_none_or(|named| named.content_type() != content_type) {
        Err("is loaded in another way than its name says")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_comes_back_the_same_is_written() {
        let module = |name: &str, content_type: &str| ModuleFile {
            name: name.to_owned(),
            content_type: content_type.to_owned(),
            content: bytes::Bytes::new(),
        };
        let esm = ModuleType::Esm.content_type();
        assert!(check(&module("index.js", esm), true).is_ok());
        assert!(check(&module("lib/a b.js", esm), false).is_ok());
        for (name, sort, main) in [
            ("dist/index.js", esm, true),
            ("index.js", "application/javascript", true),
            ("index.py", "text/x-python", true),
            ("../x.js", esm, false),
            ("/etc/passwd.js", esm, false),
            ("a//b.js", esm, false),
            ("a*.js", esm, false),
            ("a\u{202e}.js", esm, false),
            ("note.md", "text/plain", false),
            ("a.js", "text/plain", false),
        ] {
            assert!(check(&module(name, sort), main).is_err(), "{name}");
        }
    }
}
