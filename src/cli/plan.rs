//! `plan`: what would change.

use std::path::Path;
use std::sync::{Arc, Mutex};

use chrono::Utc;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::arguments::{Global, Output, Plan};
use super::output::{Failure, note, show, show_json};
use super::{DIFFERENT, ERROR, OK, workspace};
use crate::daemon;
use crate::definition::{self, Cache, Resolution};
use crate::document;
use crate::model::{EnvironmentId, Revision, Tree};
use crate::plan::{RenderOptions, render_text, to_json};
use crate::policy::RunKind;
use crate::provider::cloudflare;
use crate::reconcile::{Context, Look, built, held_by_quarantine, judge, load_rules, prepare, undefined};
use crate::record::{self, EnvironmentRecord};
use crate::secrets::Identities;
use crate::settings::Settings;
use crate::source::{Source, SourceError};
use crate::store::{Store, StoreError};

pub(super) async fn plan(global: &Global, verb: &Plan) -> Result<u8, Failure> {
    let settings = workspace::settings(global)?;
    let (context, revision, resolutions) = match &verb.worktree {
        Some(folder) => from_folder(&settings, folder, verb, global)?,
        None => from_remote(&settings, verb, global)?,
    };
    let mut status = if verb.environments.is_empty() { note_undefined(&context, &revision, &resolutions)? } else { OK };
    let mut documents = Vec::new();
    for (environment, resolution) in resolutions {
        let Some(bundle) = resolution.bundle else {
            // Its faults have been shown; the other environments go on.
            status = ERROR;
            documents.push(no_plan(&environment, "the definitions have faults"));
            continue;
        };
        let record = context.store.environment(&environment).map_err(|error| workspace::store_failure(&error))?;
        let record = record.unwrap_or_else(|| EnvironmentRecord::new(environment.clone(), Utc::now()));
        let prepared = match built(&context, resolution.builds, bundle).await {
            Ok(bundle) => Box::pin(prepare(&context, &record, bundle, &revision, (Look::Deep, record::RunKind::Apply))).await,
            Err(stop) => Err(stop),
        };
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(stop) => {
                note(&format!("{environment}: there is no plan: {}", stop.condition.message()));
                status = ERROR;
                documents.push(no_plan(&environment, stop.condition.message()));
                continue;
            }
        };
        let rules = load_rules(&context).map_err(Failure::new)?;
        let judged = match held_by_quarantine(&context, &prepared) {
            Ok(()) => judge(&context, &record, &prepared, &revision, rules, RunKind::Apply, Utc::now()).await,
            Err(held) => Err(held),
        };
        let (refused, warnings) = match judged {
            Ok((_, warnings)) => (None, warnings),
            Err(stop) if prepared.plan.is_empty() => (None, vec![stop.condition.message().to_owned()]),
            Err(stop) => (Some(stop.condition), Vec::new()),
        };
        if refused.is_some() || !prepared.plan.blocked.is_empty() {
            status = ERROR;
        } else if !prepared.plan.is_empty() && status == OK {
            status = DIFFERENT;
        }
        match verb.output {
            Output::Json => documents.push(json!({
                "plan": to_json(&prepared.plan), "refused": refused.as_ref().map(|c| c.message()), "warnings": warnings,
            })),
            Output::Text => {
                let contents = context_contents(&context, &record, &prepared.bundle.contents)?;
                show(&render_text(
                    &prepared.plan,
                    &|digest| contents.get(digest).cloned(),
                    &RenderOptions { colour: global.colour(), ..RenderOptions::default() },
                ))?;
                warnings.iter().for_each(|warning| note(&format!("warning: {warning}")));
                if let Some(refused) = refused {
                    note(&format!("this plan would not be applied: {}", refused.message()));
                }
            }
        }
    }
    if verb.output == Output::Json {
        show_json(&json!({ "version": 1, "revision": revision_name(&revision), "plans": documents }))?;
    }
    Ok(status)
}

/// What stands in the document for an environment that has no plan now.
fn no_plan(environment: &EnvironmentId, reason: &str) -> serde_json::Value {
    json!({ "environment": environment, "plan": null, "refused": reason, "warnings": [] })
}

/// Says which environments own something and are not defined any more: there is no plan for them, and no delete.
fn note_undefined(context: &Context, revision: &Revision, found: &[(EnvironmentId, Resolution)]) -> Result<u8, Failure> {
    let mut status = OK;
    for record in context.store.environments().map_err(|error| workspace::store_failure(&error))? {
        let id = &record.environment;
        let owns = !context.store.inventory(id).map_err(|error| workspace::store_failure(&error))?.is_empty();
        if owns && !found.iter().any(|(defined, _)| defined == id) {
            note(&undefined(id, &revision.to_string()));
            status = ERROR;
        }
    }
    Ok(status)
}

/// The new bytes, and those that run: a diff shows both.
fn context_contents(
    context: &Context,
    record: &EnvironmentRecord,
    new: &crate::model::Contents,
) -> Result<crate::model::Contents, Failure> {
    let mut contents = new.clone();
    if let Some(digest) = record.bundle
        && let Some(bundle) = context.store.bundle(&digest).map_err(|error| workspace::store_failure(&error))?
    {
        contents.extend(bundle.contents);
    }
    Ok(contents)
}

fn revision_name(revision: &Revision) -> Option<String> {
    (!revision.is_worktree()).then(|| revision.full())
}

type Planned = (Context, Revision, Vec<(EnvironmentId, Resolution)>);

fn from_folder(settings: &Settings, folder: &Path, verb: &Plan, global: &Global) -> Result<Planned, Failure> {
    let workspace = workspace::resolve(folder, &verb.environments)?;
    if workspace.has_errors() {
        note(&workspace.render(global.colour()));
        return Err(Failure::new("the definitions have faults; there is no plan"));
    }
    let remote = settings.remote.clone().unwrap_or(folder.canonicalize()?.display().to_string());
    let context = preview(Settings { remote: Some(remote), ..settings.clone() })?;
    Ok((context, Revision::worktree(), workspace.environments))
}

fn from_remote(settings: &Settings, verb: &Plan, global: &Global) -> Result<Planned, Failure> {
    let context = preview(settings.clone())?;
    let (revision, resolutions) =
        at_head(&context.source.lock().unwrap_or_else(std::sync::PoisonError::into_inner), verb, global)?;
    Ok((context, revision, resolutions))
}

fn at_head(source: &Source, verb: &Plan, global: &Global) -> Result<(Revision, Vec<(EnvironmentId, Resolution)>), Failure> {
    let revision = match source.fetch() {
        Ok(fetched) => fetched.revision,
        // This copy of the repository is for previews only: what is applied is decided by the daemon's own.
        Err(SourceError::Rewritten { branch, to, .. }) => {
            note(&format!("warning: the history of `{branch}` was rewritten; a daemon holds until `trunkline resume`"));
            source.accept(&to).map_err(|error| Failure::of(&error).hint(error.hint()))?
        }
        Err(error) => return Err(Failure::of(&error).hint(error.hint())),
    };
    let tree = source.tree(&revision.commit).map_err(|error| Failure::of(&error))?;
    let (found, _) = definition::environments(&tree).map_err(|error| Failure::of(&error))?;
    if let Some(unknown) = verb.environments.iter().find(|id| !found.contains(id)) {
        return Err(workspace::undefined(&revision, unknown, &found));
    }
    let mut cache = Cache::default();
    let mut resolutions = Vec::new();
    for environment in found.into_iter().filter(|id| verb.environments.is_empty() || verb.environments.contains(id)) {
        let resolution = definition::resolve(&tree, &environment, &mut cache).map_err(|error| Failure::of(&error))?;
        if resolution.bundle.is_none() {
            let read = |path: &str| tree.read(path, 1 << 20).ok().flatten();
            note(&document::render(&resolution.diagnostics, &read, global.colour()));
            note(&format!("{environment}: there is no plan: the definitions have faults"));
        }
        resolutions.push((environment, resolution));
    }
    Ok((revision, resolutions))
}

/// A context that writes nothing but its own copy of the repository: the store is opened for reading, or is an empty one
/// in memory where nothing was ever applied.
fn preview(settings: Settings) -> Result<Context, Failure> {
    let store = match Store::read_only(&settings.data) {
        Err(StoreError::Missing(_)) => Store::in_memory(),
        other => other,
    };
    let store = store.map_err(|error| workspace::store_failure(&error))?;
    let identities = Identities::load(settings.identity.as_deref()).map_err(|error| Failure::of(&error).hint(error.hint()))?;
    let source = daemon::open_source(&settings, "plan.git", None).map_err(|error| Failure::of(&error).hint(error.hint()))?;
    let network = source.another().map_err(|error| Failure::of(&error).hint(error.hint()))?;
    Ok(Context {
        source: Arc::new(Mutex::new(source)),
        network: Arc::new(tokio::sync::Mutex::new(network)),
        cache: Arc::new(Mutex::new(Cache::default())),
        store: Arc::new(store),
        identities: identities.map(Arc::new),
        client: cloudflare::http_client(&cloudflare::Patience::default()).map_err(|error| Failure::of(&error))?,
        paces: cloudflare::Paces::default(),
        agents: None,
        channels: daemon::channels(&settings),
        credentials: std::env::var_os("CREDENTIALS_DIRECTORY").map(Into::into),
        stop: CancellationToken::new(),
        listener: Box::new(|_| {}),
        settings,
    })
}
