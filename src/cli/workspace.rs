//! What several verbs begin with: settings, a folder of definitions, a store to read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::arguments::Global;
use super::output::Failure;
use crate::definition::{self, Cache, Resolution};
use crate::document;
use crate::model::{Diagnostic, EnvironmentId, Severity, Tree};
use crate::settings::{self, Overrides, Settings, SettingsError};
use crate::source::{Folder, Limits};
use crate::store::{Store, StoreError};

/// The settings that file, variables and flags make.
pub(super) fn settings(global: &Global) -> Result<Settings, Failure> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let default = settings::default_data(home.as_deref(), rustix::process::geteuid().is_root());
    let overrides = Overrides {
        data: global.data.clone(),
        remote: global.remote.clone(),
        branch: global.branch.clone(),
        identity: global.identity.clone(),
        poll: None,
    };
    settings::load(global.config.as_deref(), default, overrides).map_err(|error| match error {
        SettingsError::Faults(faults) => {
            let read = |path: &str| std::fs::read(path).ok().map(Into::into);
            Failure::new(format!("the settings have faults\n{}", document::render(&faults, &read, global.colour())))
        }
        SettingsError::File { .. } => Failure::of(&error),
    })
}

/// The store, to be read beside a daemon.
pub(super) fn reader(settings: &Settings) -> Result<Store, Failure> {
    Store::read_only(&settings.data).map_err(|error| store_failure(&error))
}

pub(super) fn store_failure(error: &StoreError) -> Failure {
    Failure::of(error).hint(error.hint())
}

/// A folder of definitions, with everything that was found in it.
pub(super) struct Workspace {
    pub(super) folder: Folder,
    pub(super) environments: Vec<(EnvironmentId, Resolution)>,
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl Workspace {
    /// Whether any file has a fault.
    pub(super) fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|d| d.severity == Severity::Error)
    }

    /// The faults and warnings, for people.
    pub(super) fn render(&self, colour: bool) -> String {
        let read = |path: &str| self.folder.read(path, 1 << 20).ok().flatten();
        document::render(&self.diagnostics, &read, colour)
    }
}

/// An environment that is asked for and not defined, with those that are.
pub(super) fn undefined<'a>(
    place: &dyn std::fmt::Display,
    missing: &EnvironmentId,
    found: impl IntoIterator<Item = &'a EnvironmentId>,
) -> Failure {
    let names: Vec<String> = found.into_iter().map(ToString::to_string).collect();
    let hint = if names.is_empty() { "it defines none".to_owned() } else { format!("it defines {}", names.join(", ")) };
    Failure::new(format!("{place} does not define the environment {missing}")).hint(Some(hint))
}

/// Resolves every environment of `folder`, or only those of `only`.
pub(super) fn resolve(folder: &Path, only: &[EnvironmentId]) -> Result<Workspace, Failure> {
    let tree = Folder::open(folder, Limits::default()).map_err(|error| {
        let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        Failure::new(format!("the folder {} cannot be read: {cause}", folder.display()))
            .hint(Some("name the folder of definitions: the one that holds `environments/`".to_owned()))
    })?;
    let (found, mut diagnostics) = definition::environments(&tree).map_err(|error| Failure::of(&error))?;
    if found.is_empty() && diagnostics.is_empty() {
        return Err(Failure::new(format!("{} holds no environments", folder.display())).hint(Some(
            "an environment is a file environments/NAME.toml or a folder environments/NAME; see `trunkline schema`".to_owned(),
        )));
    }
    if let Some(missing) = only.iter().find(|id| !found.contains(id)) {
        return Err(undefined(&folder.display(), missing, &found));
    }
    let wanted: BTreeSet<&EnvironmentId> = if only.is_empty() { found.iter().collect() } else { only.iter().collect() };
    let mut cache = Cache::default();
    let mut environments = Vec::new();
    for environment in wanted {
        let resolution = definition::resolve(&tree, environment, &mut cache).map_err(|error| Failure::of(&error))?;
        diagnostics.extend(resolution.diagnostics.iter().cloned());
        environments.push((environment.clone(), resolution));
    }
    let states: Vec<_> = environments.iter().filter_map(|(_, r)| r.bundle.as_ref()).map(|bundle| &bundle.desired).collect();
    diagnostics.extend(definition::contested(&states, &|path| tree.read(path, 1 << 20).ok().flatten()));
    // A fault of a shared file is found once for each environment that reads it.
    diagnostics.sort();
    diagnostics.dedup();
    Ok(Workspace { folder: tree, environments, diagnostics })
}
