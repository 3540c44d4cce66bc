//! Definitions to desired state: every fault with its place, bases, tenants, inputs, the example.

#[path = "definition/cases.rs"]
mod cases;
mod coverage;
#[path = "definition/example.rs"]
mod example;
#[path = "definition/inputs.rs"]
mod inputs;
#[path = "definition/robust.rs"]
mod robust;
#[path = "definition/runs.rs"]
mod runs;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use trunkline::definition::{Cache, Resolution, resolve};
use trunkline::model::{MemoryTree, Tree};

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A folder's files as a tree; `skip` names files of the root that are left out.
pub(crate) fn folder(root: &Path, skip: &[&str]) -> MemoryTree {
    fn walk(root: &Path, folder: &Path, skip: &[&str], tree: &mut MemoryTree) {
        let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, skip, tree);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                if !skip.contains(&name.as_str()) {
                    tree.insert(&name, std::fs::read(&path).unwrap());
                }
            }
        }
    }
    let mut tree = MemoryTree::default();
    walk(root, root, skip, &mut tree);
    tree
}

fn resolved(tree: &dyn Tree, environment: &str) -> Resolution {
    resolve(tree, &environment.parse().unwrap(), &mut Cache::new()).unwrap()
}

fn rendered(tree: &MemoryTree, resolution: &Resolution) -> String {
    let read = |path: &str| -> Option<Arc<[u8]>> { tree.read(path, 10_000_000).ok().flatten() };
    trunkline::document::render(&resolution.diagnostics, &read, false)
}

/// A small repository without faults.
fn small() -> MemoryTree {
    let mut tree = MemoryTree::default();
    tree.insert("trunkline.toml", "format = 1\n");
    tree.insert("policies/base.rego", "package trunkline\n");
    tree.insert("policies/base_test.rego", "package trunkline\n");
    tree.insert("fleet/a.toml", "[host.a]\nconnect = 'local'\nlabels = { role = 'origin' }\n");
    tree.insert("bases/b/kv.toml", "[kv.sessions]\n[kv.scratch]\n");
    tree.insert("environments/p/a.toml", "[environment]\nextends = ['bases/b']\nremove = ['kv.scratch']\n");
    tree.insert(
        "environments/p/b.toml",
        "[edge.e]\nendpoint = 'http://127.0.0.1:1'\napi_token = { credential = 'e' }\n[worker.api]\nmain = 'w/api/i.js'\n\
         modules = ['w/api/**/*.js']\nvars = { A = 'x', B = [1, true] }\nbindings = { S = { kv = 'sessions' } }\n\
         [file.f]\npath = '/etc/f'\ntemplate = 'f.tmpl'\n[file.g]\npath = '/etc/g'\nsource = 'g'\n",
    );
    tree.insert("w/api/i.js", "export default {}");
    tree.insert("w/api/lib/x.js", "export const x = 1");
    tree.insert("w/api/README.md", "not a module");
    tree.insert("f.tmpl", "{{ target.name }}\n");
    tree.insert("g", "g\n");
    tree
}
