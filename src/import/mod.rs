//! What exists elsewhere, as definitions: the files of wrangler, and live accounts.
//!
//! Goes in: the text of a file and where it stands, or what a provider found in an account. Comes out: an [`Imported`]: files
//! of definitions, what could not be carried and why, what a person has to fill in.
//!
//! Two rules hold for everything here. What this version's definitions cannot say is listed, never guessed and never
//! dropped in silence: every key of the file is either carried or named. And what is there stays what it is: names and ids
//! of things that exist are taken over with `adopt = true`.
//!
//! **Invariant:** nothing is read or written here but through what the caller hands in; the words that the definitions
//! have are asked of their own schema, so that a kind which is new there is carried from then on.

mod cloudflare;
mod key;
mod read;
mod sketch;
mod vocabulary;
mod wrangler;
mod write;

use std::sync::Arc;

use serde::Serialize;

use crate::model::EnvironmentName;

pub use cloudflare::{Account, cloudflare, kinds};
pub use wrangler::wrangler;

/// A file of wrangler, and where it stands.
pub struct Input<'a> {
    /// How it is called in messages.
    pub shown: &'a str,
    /// Its content.
    pub bytes: &'a [u8],
    /// Its path from the root of the repository of definitions; `None` where it lies outside.
    pub path: Option<&'a str>,
    /// What its top level becomes; `production` unless said otherwise.
    pub environment: Option<EnvironmentName>,
    /// Reads a file of the repository.
    pub read: &'a dyn Fn(&str) -> Option<Arc<[u8]>>,
    /// Whether a folder of the repository is there.
    pub folder: &'a dyn Fn(&str) -> bool,
}

/// What an import made.
#[derive(Debug, Serialize)]
pub struct Imported {
    /// Files of definitions, by path from the root.
    pub files: Vec<DefinitionFile>,
    /// Sources that the definitions point at.
    pub sources: Vec<SourceFile>,
    /// What could not be carried.
    pub left: Vec<Remark>,
    /// What a person has to fill in or look at before an apply.
    pub fill_in: Vec<Remark>,
}

impl Imported {
    /// Whether no environment has anything of the file.
    pub fn is_empty(&self) -> bool {
        self.files.iter().all(|file| file.targets || !file.path.starts_with("environments/"))
    }
}

/// One file of definitions.
#[derive(Debug, Serialize)]
pub struct DefinitionFile {
    /// Where it belongs, from the root of the repository.
    pub path: String,
    /// What is to stand there.
    #[serde(skip)]
    pub text: String,
    /// It declares targets only, and is needed once for each environment.
    #[serde(skip)]
    pub targets: bool,
}

/// A file that definitions point at.
#[derive(Debug, Serialize)]
pub struct SourceFile {
    /// Where it belongs, from the root of the repository.
    pub path: String,
    /// What is to stand there.
    #[serde(skip)]
    pub content: bytes::Bytes,
}

/// A word about one key of what is imported.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Remark {
    /// The file, or the account.
    pub path: String,
    /// The line of the file, from 1; 0 for an account, which has none.
    pub line: usize,
    /// The key, dotted, such as `env.staging.hyperdrive[0]` or `worker.api.bindings.STRIPE`.
    pub key: String,
    /// Why, and what to do.
    pub reason: String,
}

/// Why nothing could be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read as what its name says.
    #[error("{path}:{line}: {message}")]
    Syntax {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// It is none of wrangler's.
    #[error("`{path}` is no file of wrangler: its name ends with neither `.toml`, `.json` nor `.jsonc`")]
    NotWrangler {
        /// The file.
        path: String,
    },
    /// It holds nothing.
    #[error("`{path}` says nothing that could be imported")]
    Empty {
        /// The file.
        path: String,
    },
}
