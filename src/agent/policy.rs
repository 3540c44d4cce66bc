//! What the executor allows, whoever asks: the host's own say.

use std::path::PathBuf;

/// The limits of an executor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Every path is taken beneath this folder; `None` is `/`.
    pub root: Option<PathBuf>,
    /// Where manifests and replaced files are kept: used where `root` is `None`. Beneath a root they are in its own
    /// `var/lib/trunkline`.
    pub state: PathBuf,
    /// Files are allowed in and beneath these folders only, as seen from the root. An empty list allows nothing.
    pub allowed: Vec<String>,
}

impl Policy {
    /// For the daemon's own machine: everything but the system's pseudo file systems and the state folder.
    pub fn local(root: Option<PathBuf>, state: PathBuf) -> Self {
        Self { root, state, allowed: vec!["/".to_owned()] }
    }

    /// The state folder as seen from the root: no file of a definition lies there.
    pub(super) fn state_path(&self) -> String {
        match self.root {
            Some(_) => STATE_BENEATH_ROOT.to_owned(),
            None => self.state.to_string_lossy().into_owned(),
        }
    }
}

/// Where a root keeps its own state.
pub(super) const STATE_BENEATH_ROOT: &str = "/var/lib/trunkline";
