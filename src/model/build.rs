//! A build: what has to be run before a Worker has its modules, as plain data.
//!
//! Goes in: what the definitions say, and the files of the commit that they name. Comes out: a [`BuildRequest`], from
//! which the room `build` makes modules; equal requests have equal digests, whatever machine they are made on.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::digest::{Content, Digest, canonical_digest};
use super::spec::ModuleType;

/// What makes the modules of one Worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BuildRequest {
    /// What is run.
    pub recipe: Recipe,
    /// The folder that it is run in, from the root of the inputs; empty for the root itself.
    pub folder: String,
    /// The files that it sees, by path from the root of the inputs.
    pub inputs: BTreeMap<String, BuildInput>,
    /// Environment variables, beside the few that every build has.
    pub env: BTreeMap<String, String>,
    /// The module to start with, by its name in the output; `None` is the one ES module that stands at the top of it.
    pub main: Option<String>,
}

/// What is run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Recipe {
    /// A command of the project's own.
    Command {
        /// The program and its arguments: no shell takes them apart.
        command: Vec<String>,
        /// The folder, from `folder`, in which the modules are afterwards.
        output: String,
    },
    /// esbuild on one file.
    Esbuild {
        /// The file, from `folder`.
        entry: String,
    },
    /// `wrangler deploy --dry-run` on a project.
    Wrangler {
        /// The project's file, from `folder`.
        config: String,
        /// Its environment, where it is not the top-level one.
        environment: Option<String>,
    },
}

/// One file that a build sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BuildInput {
    /// What stands for its bytes.
    pub content: Content,
    /// Whether it may be run.
    pub executable: bool,
    /// Its bytes.
    #[serde(skip)]
    pub bytes: Arc<[u8]>,
}

impl BuildRequest {
    /// The digest over everything that the repository says: what is run on which files.
    pub fn digest(&self) -> Digest {
        canonical_digest(self)
    }
}

impl ModuleType {
    /// How the runtime loads a module, by its extension, as wrangler has it; `None` for what is no module.
    pub fn of_path(path: &str) -> Option<Self> {
        match path.rsplit_once('/').map_or(path, |(_, name)| name).rsplit_once('.')?.1 {
            "js" | "mjs" => Some(Self::Esm),
            "cjs" => Some(Self::CommonJs),
            "txt" | "html" | "sql" => Some(Self::Text),
            "bin" => Some(Self::Data),
            "json" => Some(Self::Json),
            "wasm" => Some(Self::Wasm),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_what_is_said() {
        let input = |bytes: &[u8]| BuildInput { content: Content::of(bytes), executable: false, bytes: bytes.into() };
        let request = BuildRequest {
            recipe: Recipe::Esbuild { entry: "index.ts".to_owned() },
            folder: "src".to_owned(),
            inputs: [("src/index.ts".to_owned(), input(b"1"))].into(),
            env: BTreeMap::new(),
            main: None,
        };
        assert_eq!(request.digest(), request.clone().digest());
        let mut other = request.clone();
        other.inputs.insert("src/index.ts".to_owned(), input(b"2"));
        assert_ne!(request.digest(), other.digest());
        let mut other = request.clone();
        other.env.insert("A".to_owned(), "1".to_owned());
        assert_ne!(request.digest(), other.digest());
    }
}
