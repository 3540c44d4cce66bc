//! Where a Worker's modules come from: a file that stands alone, or wrangler's own build.

use serde_json::json;

use super::super::sketch::{From, Sketch};
use super::{View, value};

/// What wrangler reads when it makes the modules: with `build = { wrangler = … }` it still does.
pub(super) const IN_THE_BUILD: [&str; 19] = [
    "alias",
    "base_dir",
    "build",
    "data_blobs",
    "define",
    "find_additional_modules",
    "jsx_factory",
    "jsx_fragment",
    "keep_names",
    "minify",
    "no_bundle",
    "preserve_file_names",
    "python_modules",
    "rules",
    "site",
    "text_blobs",
    "tsconfig",
    "upload_source_maps",
    "wasm_modules",
];

/// The path from the repository's root of what the file calls `written`; `None` where it lies outside.
pub(super) fn path(view: &View<'_>, written: &str) -> Option<String> {
    let file = view.input.path?;
    let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in written.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    (!written.starts_with('/') && !parts.is_empty()).then(|| parts.join("/"))
}

/// Says where the modules come from.
pub(super) fn carry(sketch: &mut Sketch<'_>, view: &View<'_>, main: &str, from: &From) {
    let worker = ("worker", view.worker);
    let Some(file) = view.input.path else {
        let name = view.input.shown.rsplit('/').next().unwrap_or(view.input.shown);
        let folder = format!("workers/{}", view.worker);
        let reason = format!("the sources lie outside of the repository: copy the folder of this file to {folder}/");
        sketch.ask(from, reason);
        return build(sketch, view, &format!("{folder}/{name}"), &[], from);
    };
    let Some(path) = path(view, main) else {
        let reason =
            "it lies outside of the repository, and without it there is no Worker: move it below the root, and import again";
        return sketch.leave(from, reason);
    };
    let Some(bytes) = (view.input.read)(&path) else {
        let at_root = !file.contains('/');
        sketch.ask(from, format!("there is no file `{path}`: a build has to make it first, or the path is wrong"));
        return build(sketch, view, file, if at_root { std::slice::from_ref(&path) } else { &[] }, from);
    };
    let plain = view.entries.keys().all(|key| !IN_THE_BUILD.contains(key) || matches!(*key, "no_bundle" | "minify"));
    if plain && stands_alone(&path, &bytes) {
        sketch.set(worker, "main", path, from);
        return;
    }
    let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
    let sources = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut inputs = Vec::new();
    let within = sources == folder || sources.starts_with(&format!("{folder}/"));
    if folder.is_empty() || !within {
        inputs.extend((!folder.is_empty()).then(|| format!("{folder}/**")));
        inputs.push(if sources.is_empty() { path.clone() } else { format!("{sources}/**") });
        let beside = ["package.json", "tsconfig.json"].map(str::to_owned);
        inputs.extend(beside.into_iter().filter(|path| folder.is_empty() && (view.input.read)(path).is_some()));
        sketch.ask(from, "the build sees these files and no others: name by `inputs` whatever else it reads");
    }
    build(sketch, view, file, &inputs, from);
}

fn build(sketch: &mut Sketch<'_>, view: &View<'_>, file: &str, inputs: &[String], from: &From) {
    let mut build = serde_json::Map::new();
    build.insert("wrangler".to_owned(), json!(file));
    if let Some(environment) = view.name {
        build.insert("environment".to_owned(), json!(environment));
    }
    if !inputs.is_empty() {
        build.insert("inputs".to_owned(), json!(inputs));
    }
    sketch.set(("worker", view.worker), "build", build, from);
}

/// Whether a module needs no other and no bundler. Where that is not certain, it does.
fn stands_alone(path: &str, bytes: &[u8]) -> bool {
    let script = path.ends_with(".js") || path.ends_with(".mjs");
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    script && text.contains("export default") && !["import", "require", " from "].iter().any(|word| text.contains(word))
}

/// The folder that `key` names, from the repository's root; what is not there is told.
pub(super) fn folder(
    sketch: &mut Sketch<'_>,
    view: &View<'_>,
    table: &crate::document::Table,
    key: &str,
    from: &From,
) -> Option<String> {
    let entry = table.get(key)?;
    let written = value::text(&entry.node)?;
    let from = from.below(entry.key, key);
    match path(view, written) {
        Some(found) if (view.input.folder)(&found) => return Some(found),
        Some(found) => sketch.leave(&from, format!("there is no folder `{}` in the repository", crate::document::shown(&found))),
        None => sketch.leave(&from, "it lies outside of the repository"),
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_certainly_stands_alone_is_taken_as_it_is() {
        assert!(stands_alone("a/index.js", b"export default { fetch() {} }"));
        for (path, text) in [
            ("index.ts", "export default {}"),
            ("index.js", "import x from './x'; export default {}"),
            ("index.js", "const x = await import('./x'); export default {}"),
            ("index.js", "export { default } from './x'; export default {}"),
            ("index.js", "addEventListener('fetch', () => {})"),
        ] {
            assert!(!stands_alone(path, text.as_bytes()), "{text}");
        }
    }
}
