//! From a revision to a bundle, without work where nothing that the environment reads has changed.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use chrono::Utc;

use tokio_util::sync::CancellationToken;

use super::{Context, Stop, is_due, with_source};
use crate::build::{self, BuildError};
use crate::definition::{self, Resolution};
use crate::document;
use crate::model::{
    BuildRequest, Bundle, Digest, EnvironmentId, Inputs, ResourceName, Revision, Severity, Tree, TreeError, canonical_digest,
};
use crate::policy::RuleFiles;
use crate::record::{ConditionReason, EnvironmentRecord};
use crate::settings::Settings;

/// What a revision means for an environment.
pub enum Resolved {
    /// Everything that it reads is as it was, and no look at the live world is due.
    Unchanged,
    /// This is desired.
    Changed {
        /// With all its bytes.
        bundle: Box<Bundle>,
        /// What was read.
        inputs: Option<Inputs>,
    },
}

/// The rules that the settings pin, read anew at each pass: the folder is the operator's.
///
/// # Errors
/// A message, where the folder cannot be read.
pub fn load_rules(context: &Context) -> Result<Option<RuleFiles>, String> {
    let Some(folder) = &context.settings.pinned_policies else { return Ok(None) };
    let error = |error: std::io::Error| format!("the pinned policies in {} cannot be read: {error}", folder.display());
    let mut files = RuleFiles::new();
    for entry in std::fs::read_dir(folder).map_err(error)? {
        let path = entry.map_err(error)?.path();
        if path.extension().is_some_and(|e| e == "rego") {
            files.insert(path.display().to_string(), std::fs::read(&path).map_err(error)?.into());
        }
    }
    if files.is_empty() {
        return Err(format!("the folder of pinned policies {} holds no rules (*.rego)", folder.display()));
    }
    Ok(Some(files))
}

/// The digest over files of rules.
pub(super) fn rules_digest(files: &RuleFiles) -> Digest {
    let contents: Vec<(&String, Digest)> = files.iter().map(|(path, bytes)| (path, Digest::of(bytes))).collect();
    canonical_digest(&contents)
}

/// Resolves `revision` for the environment of `record`.
pub(super) async fn resolve(
    context: &Context,
    record: &EnvironmentRecord,
    revision: &Revision,
    rules: &Option<RuleFiles>,
    force: bool,
) -> Result<Resolved, Stop> {
    let same_rules = record.rules == rules.as_ref().map(rules_digest);
    if let (Some(inputs), true) = (record.inputs.clone(), record.condition.is_settled() && same_rules)
        && unchanged(context, record, revision, inputs).await?
    {
        // A commit that changes no file may acknowledge the deletion of what is kept.
        let acknowledges = !record.orphaned.is_empty() && record.seen.as_ref() != Some(revision);
        let due = force || acknowledges || is_due(record, Utc::now());
        if !due {
            return Ok(Resolved::Unchanged);
        }
        // The live world is to be looked at: the bundle that runs says what for, and nothing is parsed.
        let bundle =
            record.bundle.map(|digest| context.store.bundle(&digest)).transpose().map_err(|e| Stop::internal(&e))?.flatten();
        if let Some(bundle) = bundle {
            return Ok(Resolved::Changed { bundle: Box::new(bundle), inputs: record.inputs.clone() });
        }
    }
    let resolution = parse(context, record, revision).await?;
    let bundle =
        resolution.bundle.ok_or_else(|| Stop::stalled(ConditionReason::InvalidDefinition, "the definitions have faults"))?;
    let bundle = built(context, resolution.builds, bundle).await?;
    Ok(Resolved::Changed { bundle: Box::new(bundle), inputs: Some(resolution.inputs) })
}

/// With what builds are run: what was built is kept in the data folder.
///
/// # Errors
/// The path of this program is not known.
pub fn build_options(settings: &Settings, stop: CancellationToken) -> std::io::Result<build::Options> {
    Ok(build::Options {
        program: std::env::current_exe()?,
        tools: settings.build_tools.clone(),
        cache: settings.data.join("builds"),
        timeout: settings.build_timeout,
        stop: Arc::new(move || stop.is_cancelled()),
    })
}

/// The bundle with its modules: what is to be built is built, or was before.
///
/// # Errors
/// [`Stop`] where a build fails: it stalls this environment, and no other.
pub async fn built(context: &Context, builds: BTreeMap<ResourceName, BuildRequest>, bundle: Bundle) -> Result<Bundle, Stop> {
    if builds.is_empty() {
        return Ok(bundle);
    }
    let options = build_options(&context.settings, context.stop.clone()).map_err(|error| Stop::internal(&error))?;
    let task = tokio::task::spawn_blocking(move || build::built(&options, &builds, bundle));
    let result = task.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    result.map_err(|errors| {
        let message = explained(&errors);
        if errors.iter().all(BuildError::is_transient) {
            Stop::waiting(ConditionReason::BuildFailed, message, None)
        } else {
            Stop::stalled(ConditionReason::BuildFailed, message)
        }
    })
}

/// Errors of builds with their causes, and what to do, each hint once.
pub fn explained(errors: &[BuildError]) -> String {
    let mut lines: Vec<String> = errors.iter().map(|error| crate::provider::chain(error)).collect();
    for hint in errors.iter().filter_map(BuildError::hint) {
        let hint = format!("hint: {hint}");
        if !lines.contains(&hint) {
            lines.push(hint);
        }
    }
    lines.join("\n")
}

async fn unchanged(context: &Context, record: &EnvironmentRecord, revision: &Revision, inputs: Inputs) -> Result<bool, Stop> {
    if record.seen.as_ref() == Some(revision) {
        return Ok(true);
    }
    let commit = revision.commit.clone();
    with_source(&context.source, move |source| {
        let tree = source.tree(&commit).map_err(|error| Stop::internal(&error))?;
        inputs.unchanged(&tree).map_err(|error| Stop::internal(&error))
    })
    .await
}

/// What `revision` said, resolved from our own repository once more: for a bundle that is no longer kept.
///
/// # Errors
/// [`Stop`] where the repository lacks the commit, or this version finds faults in it.
pub(super) async fn read_again(context: &Context, record: &EnvironmentRecord, revision: &Revision) -> Result<Bundle, Stop> {
    let faulty = || Stop::stalled(ConditionReason::InvalidDefinition, "the definitions have faults");
    parse(context, record, revision).await?.bundle.ok_or_else(faulty)
}

async fn parse(context: &Context, record: &EnvironmentRecord, revision: &Revision) -> Result<Resolution, Stop> {
    let (commit, environment) = (revision.commit.clone(), record.environment.clone());
    let cache = context.cache.clone();
    with_source(&context.source, move |source| {
        let tree = source.tree(&commit).map_err(|error| Stop::internal(&error))?;
        let stop = |error: TreeError| Stop::internal(&error);
        if !definition::defines(&tree, &environment).map_err(stop)? {
            return Err(Stop::stalled(ConditionReason::DefinitionMissing, undefined(&environment, &format!("{commit:.7}"))));
        }
        let resolution =
            definition::resolve(&tree, &environment, &mut cache.lock().unwrap_or_else(PoisonError::into_inner)).map_err(stop)?;
        if resolution.bundle.is_none() {
            return Err(Stop::stalled(ConditionReason::InvalidDefinition, faults(&tree, &resolution)));
        }
        Ok(resolution)
    })
    .await
}

/// Of an environment that owns something and is not defined any more.
pub fn undefined(environment: &EnvironmentId, place: &str) -> String {
    format!(
        "{environment} is not defined at {place}; nothing is deleted. To end it, bring it back with `retire = true` in its [environment] table"
    )
}

/// The faults as they are shown to people, without colour.
fn faults(tree: &dyn Tree, resolution: &Resolution) -> String {
    let read = |path: &str| tree.read(path, 1 << 20).ok().flatten();
    let errors: Vec<_> = resolution.diagnostics.iter().filter(|d| d.severity == Severity::Error).cloned().collect();
    document::render(&errors, &read, false)
}
