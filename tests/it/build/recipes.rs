//! The real esbuild and the real wrangler, and what is kept of their work.

use trunkline::build::{BuildError, Options};
use trunkline::model::{ModuleType, Recipe};

use super::{line, options, request, run, text};

const ENTRY: &str = "import { greeting } from './lib/greeting';\nimport page from './page.html';\nimport wasm from './add.wasm';\n\
    import { WorkerEntrypoint } from 'cloudflare:workers';\nimport { Buffer } from 'node:buffer';\n\
    const count: number = 1;\nexport default { fetch: () => new Response(greeting + page + count + Buffer + wasm) };\n\
    export class E extends WorkerEntrypoint {}\n";
const FILES: [(&str, &str); 4] = [
    ("w/src/index.ts", ENTRY),
    ("w/src/lib/greeting.ts", "export const greeting: string = 'hello from a library';\n"),
    ("w/src/page.html", "<h1>a page</h1>"),
    ("w/src/add.wasm", "\0asm\u{1}\0\0\0"),
];

#[test]
fn esbuild_bundles_typescript_for_the_runtime() {
    let folder = tempfile::tempdir().unwrap();
    let esbuild = request(Recipe::Esbuild { entry: "w/src/index.ts".to_owned() }, "", &FILES);
    let built = run(&options(folder.path()), &esbuild).unwrap();
    assert_eq!(built.main, "index.js");
    let main = text(&built, "index.js");
    assert!(main.contains("hello from a library") && main.contains("<h1>a page</h1>") && !main.contains(": number"), "{main}");
    assert!(main.contains("from \"cloudflare:workers\"") && main.contains("from \"node:buffer\""), "{main}");
    let wasm: Vec<_> = built.modules.iter().filter(|(_, module)| module.module_type == ModuleType::Wasm).collect();
    assert!(wasm.len() == 1 && main.contains(&format!("./{}", wasm[0].0)), "{main}");
}

#[test]
fn a_mistake_is_told_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let files = [("a.ts", "export default {}\nconst = 1;\n")];
    match run(&options(folder.path()), &request(Recipe::Esbuild { entry: "a.ts".to_owned() }, "", &files)) {
        Err(error @ BuildError::Failed { .. }) => assert!(error.to_string().contains("a.ts:2:6"), "{error}"),
        other => panic!("{other:?}"),
    }
    assert!(!folder.path().join("builds").exists());
}

#[test]
fn wrangler_makes_what_it_would_upload() {
    let folder = tempfile::tempdir().unwrap();
    let config = r#"{ // a comment
        "name": "w", "main": "src/index.ts", "compatibility_date": "2026-11-01", "compatibility_flags": ["nodejs_compat"],
        "define": { "STAGE": "\"top\"" },
        "env": { "staging": { "define": { "STAGE": "\"of-staging\"" } } },
    }"#;
    let entry = "import { greeting } from './lib/greeting';\ndeclare const STAGE: string;\n\
        export default { fetch: () => new Response(greeting + STAGE) };\n";
    let files = [("w/wrangler.jsonc", config), ("w/src/index.ts", entry), FILES[1]];
    let recipe = |environment: Option<&str>| Recipe::Wrangler {
        config: "wrangler.jsonc".to_owned(),
        environment: environment.map(str::to_owned),
    };
    let top = run(&options(folder.path()), &request(recipe(None), "w", &files)).unwrap();
    assert_eq!(top.main, "index.js");
    assert!(text(&top, "index.js").contains("hello from a library") && text(&top, "index.js").contains("\"top\""));
    let staging = run(&options(folder.path()), &request(recipe(Some("staging")), "w", &files)).unwrap();
    assert!(text(&staging, "index.js").contains("of-staging"));
    let error = run(&options(folder.path()), &request(recipe(None), "w", &[("w/wrangler.jsonc", "{}")])).unwrap_err();
    assert!(error.to_string().contains("Missing entry-point"), "{error}");
}

#[test]
fn the_same_request_is_built_once() {
    let folder = tempfile::tempdir().unwrap();
    // What tells one run from the next.
    let once = line("mkdir dist; date +%s%N > dist/a.txt; cat /proc/sys/kernel/random/uuid >> dist/a.txt; cp in/a.js dist/");
    let here = options(folder.path());
    let first = run(&here, &once).unwrap();
    assert_eq!(run(&here, &once).unwrap(), first);
    // It is not even tried: nothing could be run.
    let nothing = Options { program: "/nonexistent".into(), ..here.clone() };
    assert_eq!(run(&nothing, &once).unwrap(), first);
    // Other inputs, another variable, another command: another build.
    let mut input = once.clone();
    input.inputs.get_mut("in/a.js").unwrap().content = trunkline::model::Content::of(b"other");
    let mut variable = once.clone();
    variable.env.insert("A".to_owned(), "1".to_owned());
    let main = trunkline::model::BuildRequest { main: Some("a.js".to_owned()), ..once.clone() };
    for other in [input, variable, main] {
        assert!(matches!(run(&nothing, &other), Err(BuildError::NoIsolation { .. })));
    }
    // What was damaged is built again.
    let kept: Vec<_> = std::fs::read_dir(&here.cache).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(kept.len(), 1);
    std::fs::write(&kept[0], "damaged").unwrap();
    assert!(run(&nothing, &once).is_err());
    assert_ne!(run(&here, &once).unwrap(), first);
}

#[test]
fn another_version_of_a_tool_builds_anew() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let tools = folder.path().join("tools");
    std::fs::create_dir_all(tools.join("bin")).unwrap();
    let write = |version: &str| {
        let script = format!("#!/bin/sh\nmkdir dist\necho 'export default {version}' > dist/index.js\n");
        std::fs::write(tools.join("bin/bundle"), script).unwrap();
        std::fs::set_permissions(tools.join("bin/bundle"), std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let options = Options { tools: vec![tools.clone()], ..options(folder.path()) };
    let recipe = Recipe::Command { command: vec!["bundle".to_owned()], output: "dist".to_owned() };
    let request = request(recipe, "", &[("a.js", "1")]);
    write("1");
    assert_eq!(text(&run(&options, &request).unwrap(), "index.js"), "export default 1\n");
    write("2");
    assert_eq!(text(&run(&options, &request).unwrap(), "index.js"), "export default 2\n");
}
