//! The whole resolution of one environment: read, draft, refer, assemble.

use std::collections::{BTreeMap, BTreeSet};

use super::cache::Cache;
use super::file::file;
use super::hosted::{self, Files};
use super::hosts::Hosts;
use super::ignore;
use super::layer::Layers;
use super::origin::Tracing;
use super::paths::{Stands, folders, paths};
use super::platform::Writing;
use super::reading::Reading;
use super::references::{Needs, check_cycles, check_moved, check_placement};
use super::repository::{environment_path, hosts, policies, tenant_root};
use super::scalar;
use super::scope::{Scope, told};
use super::worker::{Reference, worker};
use super::written::{DriftToml, LATER_KEYS, SecretRefToml, SectionToml};
use crate::document::{Fault, Node, Place, Placed, Table, decode, shown};
use crate::model::{
    Address, BuildRequest, Bundle, Contents, Desired, DesiredState, Diagnostic, DriftMode, EnvironmentId, Inputs, InstanceKey,
    Kind, Origin, Recorder, ResourceName, Severity, Spec, Sync, TargetName, Tree, TreeError,
};

/// What an environment's definitions say, or what is wrong with them.
#[derive(Debug)]
pub struct Resolution {
    /// Desired state with its bytes; `None` if and only if a diagnostic is an error. A Worker that `builds` names has no
    /// modules in it yet: [`crate::build::built`] puts them there.
    pub bundle: Option<Bundle>,
    /// What is to be built, by the names of the Workers.
    pub builds: BTreeMap<ResourceName, BuildRequest>,
    /// Every fault and warning, sorted by path and place.
    pub diagnostics: Vec<Diagnostic>,
    /// Everything that was read.
    pub inputs: Inputs,
}

/// Resolves `environment` from `tree`. Deterministic: the same tree gives the same bytes, whatever is in `cache`.
///
/// # Errors
/// [`TreeError::Database`] where the database cannot be read; whatever is wrong with files is in the diagnostics.
pub fn resolve(tree: &dyn Tree, environment: &EnvironmentId, cache: &mut Cache) -> Result<Resolution, TreeError> {
    let recorder = Recorder::new(tree);
    let (bundle, (diagnostics, builds)) = {
        let mut reading = Reading::new(&recorder, cache, tenant_root(&environment.tenant));
        let bundle = read(&mut reading, environment)?;
        (bundle, reading.finish())
    };
    let faulty = diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
    let bundle = bundle.filter(|_| !faulty);
    let builds = if bundle.is_some() { builds } else { BTreeMap::new() };
    Ok(Resolution { bundle, builds, diagnostics, inputs: recorder.into_inputs() })
}

fn read(reading: &mut Reading<'_>, environment: &EnvironmentId) -> Result<Option<Bundle>, TreeError> {
    let mut contents = Contents::new();
    let policies = policies(reading, &mut contents)?;
    let path = environment_path(environment);
    let Some(whole) = Layers::default().environment(reading, &path)? else {
        if !reading.is_partial() {
            let hint = format!("an environment is a folder with `.toml` files, or one file `{path}.toml`");
            reading.push(Diagnostic::error(path, None, format!("there is no environment `{environment}`")).hint(hint));
        }
        return Ok(None);
    };
    let hosts = hosts(reading)?;
    let scope = Scope::read(reading, environment, &whole, &hosts);
    let section = section(reading, &scope, &whole);
    let resources = resources(reading, &scope, &mut contents)?;
    let desired = DesiredState {
        environment: environment.clone(),
        description: section.description,
        retire: section.retire,
        sync: section.sync,
        digest_key: section.digest_key,
        targets: scope.targets,
        resources,
        secrets: scope.secrets,
        policies,
    };
    Ok(Some(Bundle { desired, contents }))
}

#[derive(Default)]
struct Section {
    description: Option<String>,
    retire: bool,
    digest_key: Option<ResourceName>,
    sync: Sync,
}

fn section(reading: &mut Reading<'_>, scope: &Scope, whole: &Table) -> Section {
    let Some(entry) = whole.get("environment") else { return Section::default() };
    let node = Node { place: entry.node.place, value: entry.node.value.clone() };
    let Some(written) = told(reading, decode::<SectionToml>(&node, LATER_KEYS)).value else { return Section::default() };
    let digest_key = written.digest_key.map(|key| {
        let SecretRefToml::Secret(name) = key.value;
        scope.secret(reading, &name);
        name.value
    });
    let mut sync = Sync::default();
    if let Some(said) = written.sync {
        if let Some(interval) = said.interval
            && let Some(seconds) = reading.check(interval.place, scalar::interval(&interval.value))
        {
            sync.interval_seconds = seconds;
        }
        if let Some(drift) = said.drift {
            sync.drift = match drift.value {
                DriftToml::Heal => DriftMode::Heal,
                DriftToml::Report => DriftMode::Report,
            };
        }
        sync.prune = said.prune.unwrap_or(sync.prune);
        sync.batch = said.batch.and_then(|batch| reading.check(batch.place, scalar::batch(&batch.value)));
    }
    Section {
        description: written.description.map(|description| description.value),
        retire: written.retire.is_some_and(|retire| retire.value),
        digest_key,
        sync,
    }
}

type Resources = BTreeMap<InstanceKey, Desired>;

/// What all instances of one resource have in common.
struct Common {
    address: Address,
    key: Place,
    adopt: bool,
    moved: Option<Placed<ResourceName>>,
    /// Whether the definition itself says what the thing is called at the target.
    is_named: bool,
    ignore: BTreeSet<String>,
    origin: Origin,
}

fn resources(reading: &mut Reading<'_>, scope: &Scope, contents: &mut Contents) -> Result<Resources, TreeError> {
    let (claims, taken, hosts) = (BTreeMap::new(), BTreeMap::new(), Hosts::default());
    let mut found = Found { resources: Resources::new(), claims, taken, hosts };
    let address = |kind, name: &ResourceName| Address { environment: scope.environment.clone(), kind, name: name.clone() };
    let mut needs: Needs = BTreeMap::new();

    for (kind, drafts) in &scope.platform {
        for draft in drafts.values() {
            check_moved(reading, scope, *kind, (&draft.name, draft.written.moved()));
            let ignore = ignore::checked(reading, *kind, &draft.ignore);
            let (mut tracing, mut of_further) = (Tracing::of(reading, draft.key), Tracing::of(reading, draft.key));
            let mut writing = Writing { reading, scope, draft, tracing: &mut tracing, contents, references: Vec::new() };
            let (spec, references) = (draft.written.spec(&mut writing)?, writing.references);
            let mut writing = Writing { reading, scope, draft, tracing: &mut of_further, contents, references: Vec::new() };
            let (further, of_it) = (draft.written.further(&mut writing), writing.references);
            let own = spec.map(|spec| (spec, tracing, &references));
            for (spec, tracing, references) in own.into_iter().chain(further.map(|spec| (spec, of_further, &of_it))) {
                let common = Common {
                    address: address(spec.sort, &draft.name),
                    key: draft.key,
                    adopt: draft.written.adopt(),
                    moved: draft.written.moved().cloned(),
                    is_named: !draft.written.keeps_its_claim(),
                    ignore: ignore.clone(),
                    origin: tracing.into_origin(),
                };
                needs.insert((spec.sort, draft.name.clone()), references.clone());
                let specs = draft.targets.iter().map(|target| (target.clone(), Spec::Platform(spec.clone())));
                found.add(reading, &common, specs.collect(), references);
            }
            check_placement(reading, scope, draft, &references);
            check_placement(reading, scope, draft, &of_it);
        }
    }
    for draft in scope.workers.values() {
        let mut tracing = Tracing::of(reading, draft.key);
        let (spec, references) = worker(reading, scope, draft, (&mut tracing, contents))?;
        check_placement(reading, scope, draft, &references);
        let address = address(Kind::Worker, &draft.name);
        let (adopt, moved) = (draft.written.adopt.unwrap_or_default(), draft.written.moved.clone());
        check_moved(reading, scope, Kind::Worker, (&draft.name, moved.as_ref()));
        let is_named = draft.written.name.is_some();
        let ignore = ignore::checked(reading, Kind::Worker, &draft.ignore);
        let common = Common { address, key: draft.key, adopt, moved, is_named, ignore, origin: tracing.into_origin() };
        if let Some(spec) = spec {
            let specs = draft.targets.iter().map(|target| (target.clone(), Spec::Worker(spec.clone())));
            found.add(reading, &common, specs.collect(), &references);
        }
        needs.insert((Kind::Worker, draft.name.clone()), references);
    }
    let mut files = Files::new();
    for draft in scope.files.values() {
        let mut tracing = Tracing::of(reading, draft.key);
        let specs = file(reading, scope, draft, (&mut tracing, contents))?;
        let address = address(Kind::File, &draft.name);
        let (adopt, moved) = (draft.written.adopt.unwrap_or_default(), draft.written.moved.clone());
        check_moved(reading, scope, Kind::File, (&draft.name, moved.as_ref()));
        let common = Common {
            address,
            key: draft.key,
            adopt,
            moved,
            is_named: true,
            ignore: BTreeSet::new(),
            origin: tracing.into_origin(),
        };
        files.insert(draft.name.clone(), specs.clone());
        let specs = specs.into_iter().map(|(target, spec)| (target, Spec::File(spec)));
        found.add(reading, &common, specs.collect(), &[]);
    }
    for (kind, drafts) in &scope.hosted {
        for draft in drafts.values() {
            check_moved(reading, scope, *kind, (&draft.name, draft.written.moved()));
            let mut tracing = Tracing::of(reading, draft.key);
            let mut writing =
                hosted::Writing { reading, scope, draft, files: &files, tracing: &mut tracing, contents, references: Vec::new() };
            let (specs, references) = (draft.written.specs(&mut writing)?, writing.references);
            check_placement(reading, scope, draft, &references);
            let common = Common {
                address: address(*kind, &draft.name),
                key: draft.key,
                adopt: draft.written.adopt(),
                moved: draft.written.moved().cloned(),
                // What it is called is for the table to say, its key included: nothing follows a move.
                is_named: true,
                ignore: BTreeSet::new(),
                origin: tracing.into_origin(),
            };
            let specs = specs.into_iter().map(|(target, spec)| (target, Spec::Hosted(spec)));
            found.add(reading, &common, specs.collect(), &references);
            needs.insert((*kind, draft.name.clone()), references);
        }
    }
    check_cycles(reading, &needs);
    found.check_beneath(reading);
    lie_in(&mut found.resources);
    Ok(found.resources)
}

/// What stands in a directory that is defined too needs it.
fn lie_in(resources: &mut Resources) {
    let directories: BTreeMap<(TargetName, String), InstanceKey> = resources
        .iter()
        .filter(|(key, _)| key.address.kind == Kind::Directory)
        .map(|(key, desired)| ((key.target.clone(), desired.spec.claim().to_owned()), key.clone()))
        .collect();
    let has_path = |kind| matches!(kind, Kind::Directory | Kind::File);
    for (key, desired) in resources.iter_mut().filter(|(key, _)| has_path(key.address.kind) && !directories.is_empty()) {
        let path = desired.spec.claim().to_owned();
        let mut above = path.as_str();
        while let Some((outer, _)) = above.rsplit_once('/').filter(|(outer, _)| !outer.is_empty()) {
            above = outer;
            if let Some(directory) = directories.get(&(key.target.clone(), above.to_owned())) {
                desired.depends_on.insert(directory.clone());
                break;
            }
        }
    }
}

struct Found {
    resources: Resources,
    /// What a name at a target belongs to: kind and name, or route and pattern.
    claims: BTreeMap<(TargetName, &'static str, String), (Address, Place)>,
    /// What makes a file of a path.
    taken: BTreeMap<(TargetName, String), (Address, Place)>,
    hosts: Hosts,
}

/// The word for the paths of a host, of which each is one thing's, whatever that is.
const PATH: &str = "path";

impl Found {
    fn add(&mut self, reading: &mut Reading<'_>, common: &Common, specs: BTreeMap<TargetName, Spec>, references: &[Reference]) {
        for (target, spec) in specs {
            let paths = paths(&spec);
            let is_path = paths.first().is_some_and(|(path, _)| path == spec.claim());
            // A thing is called what it is called, and takes its paths besides; one fault of the two is enough.
            if (is_path || self.claim(reading, common, &target, (spec.kind().as_str(), spec.claim().to_owned())))
                && paths.iter().all(|(path, _)| self.claim(reading, common, &target, (PATH, path.clone())))
            {
                let files = paths.into_iter().filter(|(_, stands)| *stands == Stands::File);
                let owner = || (common.address.clone(), common.key);
                self.taken.extend(files.map(|(path, _)| ((target.clone(), path), owner())));
            }
            if let Spec::Platform(platform) = &spec {
                self.hosts.add(reading, platform, (&common.address, common.key), &target);
            }
            if let Spec::Worker(worker) = &spec {
                for route in &worker.routes {
                    self.claim(reading, common, &target, ("route", route.pattern.clone()));
                }
            }
            let environment = &common.address.environment;
            let other = |kind, name: &ResourceName| Address { environment: environment.clone(), kind, name: name.clone() };
            let mut depends_on: BTreeSet<InstanceKey> =
                references.iter().map(|(kind, name, _)| other(*kind, name).on(target.clone())).collect();
            depends_on.extend(spec.tokens().into_values());
            let desired = Desired {
                spec,
                depends_on,
                moved_from: common.moved.as_ref().map(|moved| other(common.address.kind, &moved.value)),
                adopt: common.adopt,
                claim_is_default: !common.is_named,
                ignore: common.ignore.clone(),
                origin: common.origin.clone(),
            };
            self.resources.insert(common.address.on(target), desired);
        }
    }

    /// Whether nothing else has the name.
    fn claim(
        &mut self,
        reading: &mut Reading<'_>,
        common: &Common,
        target: &TargetName,
        (what, name): (&'static str, String),
    ) -> bool {
        let claim = (target.clone(), what, name);
        let Some((owner, place)) = self.claims.get(&claim) else {
            self.claims.insert(claim, (common.address.clone(), common.key));
            return true;
        };
        let (_, what, name) = claim;
        let (owner, place) = (owner.local(), *place);
        let message = format!("`{owner}` and `{}` both claim the {what} `{}`", common.address.local(), shown(&name));
        reading.fault(
            Fault::new(common.key, message)
                .label(format!("claimed again, on `{target}`"))
                .related(place, "claimed here")
                .hint("give one of them another name or other targets, or remove it"),
        );
        false
    }

    /// Nothing lies in what another makes a file.
    fn check_beneath(&self, reading: &mut Reading<'_>) {
        for ((target, what, path), (address, key)) in self.claims.iter().filter(|((_, what, _), _)| *what == PATH) {
            let above = |folder: &str| Some((folder.to_owned(), self.taken.get(&(target.clone(), folder.to_owned()))?));
            let Some((folder, (owner, place))) = folders(path).find_map(above) else { continue };
            let message = format!(
                "the {what} `{}` of `{}` lies in `{}`, which `{}` makes a file",
                shown(path),
                address.local(),
                shown(&folder),
                owner.local()
            );
            reading.fault(
                Fault::new(*key, message)
                    .label(format!("on `{target}`"))
                    .related(*place, "a file here")
                    .hint("give one of them another path or other targets, or remove it"),
            );
        }
    }
}
