//! A small environment to judge: built as the definitions would, planned by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeZone, Utc};
use trunkline::model::{
    Address, Binding, Content, Desired, DesiredState, EnvironmentId, FileSpec, InstanceKey, Kind, Origin, PlatformSpec,
    Properties, Spec, Sync, WorkerSpec,
};
use trunkline::plan::{Action, Change, Plan, Precondition, Reversal, Reversibility};
use trunkline::policy::{Acknowledgement, Budget, Request, RuleFiles, Rules, RunKind, Verdict, evaluate, ratchet};

pub(crate) fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 23, 12, 0, 0).unwrap()
}

pub(crate) fn rules(files: &[(&str, &str)]) -> RuleFiles {
    files.iter().map(|(path, text)| ((*path).to_owned(), Arc::from(text.as_bytes()))).collect()
}

/// The rules of the top-level `policies`, read as they ship.
pub(crate) fn shipped() -> RuleFiles {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/policies");
    let mut files = RuleFiles::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("policies/{}", path.file_name().unwrap().to_str().unwrap());
        files.insert(name, std::fs::read(path).unwrap().into());
    }
    files
}

pub(crate) fn key(text: &str) -> InstanceKey {
    text.parse().unwrap()
}

pub(crate) fn worker(bindings: &[(&str, Binding)], date: Option<&str>) -> Spec {
    Spec::Worker(WorkerSpec {
        script: "api-production".into(),
        main: "index.js".into(),
        modules: BTreeMap::new(),
        compatibility_date: date.map(str::to_owned),
        compatibility_flags: BTreeSet::new(),
        bindings: bindings.iter().map(|(name, binding)| ((*name).to_owned(), binding.clone())).collect(),
        crons: BTreeSet::new(),
        routes: BTreeSet::new(),
        workers_dev: false,
        ..WorkerSpec::default()
    })
}

pub(crate) fn var(text: &str) -> Binding {
    Binding::PlainText { text: text.to_owned() }
}

pub(crate) fn file(mode: u32) -> Spec {
    Spec::File(FileSpec {
        path: "/etc/ads/config.toml".into(),
        content: Content::of(b"x"),
        secrets: BTreeSet::new(),
        tokens: BTreeMap::new(),
        mode,
        owner: None,
        group: None,
        validate: None,
    })
}

pub(crate) fn kv() -> Spec {
    Spec::Platform(PlatformSpec::new(Kind::Kv, "sessions-production"))
}

fn change(key: InstanceKey, action: Action, before: Option<Properties>, after: Option<Properties>) -> Change {
    let is_lost = action == Action::Delete && key.address.kind.holds_data();
    let verdict = if is_lost { Reversibility::OneWay } else { Reversibility::Reversible };
    Change {
        key,
        action,
        claim: "claim".into(),
        from: None,
        before,
        after,
        foreign: BTreeMap::new(),
        precondition: Precondition::Absent,
        after_changes: BTreeSet::new(),
        depends_on: BTreeSet::new(),
        desired: trunkline::model::Digest::of(b"x"),
        reversal: Reversal { verdict, reasons: Vec::new() },
        why: Vec::new(),
    }
}

/// What is judged, and under what circumstances.
pub(crate) struct World {
    pub(crate) desired: DesiredState,
    pub(crate) plan: Plan,
    pub(crate) kind: RunKind,
    pub(crate) budget: Budget,
    pub(crate) owned: usize,
    pub(crate) acknowledged: BTreeSet<Acknowledgement>,
}

impl World {
    /// The environment `production`, where each of `specs` is created.
    pub(crate) fn creating<const N: usize>(specs: [(&str, Spec); N]) -> Self {
        let environment = EnvironmentId::of_default("production".parse().unwrap());
        let resources: BTreeMap<InstanceKey, Desired> = specs
            .into_iter()
            .map(|(at, spec)| {
                let origin = Origin { path: "environments/production.toml".into(), line: 1, fields: BTreeMap::new() };
                (
                    key(at),
                    Desired {
                        spec,
                        depends_on: BTreeSet::new(),
                        moved_from: None,
                        adopt: false,
                        claim_is_default: false,
                        ignore: BTreeSet::new(),
                        origin,
                    },
                )
            })
            .collect();
        let changes = resources
            .iter()
            .map(|(key, desired)| change(key.clone(), Action::Create, None, Some(desired.spec.properties(&BTreeMap::new()))))
            .collect();
        let desired = DesiredState {
            environment: environment.clone(),
            description: None,
            retire: false,
            sync: Sync::default(),
            digest_key: None,
            targets: BTreeMap::new(),
            resources,
            secrets: BTreeMap::new(),
            policies: BTreeMap::new(),
        };
        let plan = Plan {
            environment,
            changes,
            orphaned: Vec::new(),
            blocked: Vec::new(),
            rolling: Vec::new(),
            batches: Vec::new(),
            warnings: Vec::new(),
        };
        let (kind, budget, acknowledged) = (RunKind::Apply, Budget::default(), BTreeSet::new());
        Self { desired, plan, kind, budget, owned: 0, acknowledged }
    }

    /// The same, where nothing is defined and each of `keys` is deleted, of `owned` instances.
    pub(crate) fn deleting(keys: &[&str], owned: usize) -> Self {
        let mut world = Self::creating([]);
        world.plan.changes = keys.iter().map(|at| change(key(at), Action::Delete, Some(Properties::new()), None)).collect();
        world.owned = owned;
        world
    }

    pub(crate) fn acknowledging(mut self, text: &str) -> Self {
        self.acknowledged.insert(text.parse().unwrap());
        self
    }

    pub(crate) fn rolling_back(mut self) -> Self {
        self.kind = RunKind::Rollback;
        self
    }

    pub(crate) fn judged_by(&self, rules: &Rules) -> Verdict {
        let Self { desired, plan, kind, budget, owned, acknowledged } = self;
        evaluate(Request { plan, desired, rules, kind: *kind, now: now(), budget: *budget, owned: *owned, acknowledged })
    }

    /// Judged by the rules of one commit, the first of all.
    pub(crate) fn judged(&self, own: RuleFiles) -> Verdict {
        self.judged_by(&ratchet(self.kind, None, None, own).compile().unwrap())
    }
}

/// The texts of the messages, with the address of each.
pub(crate) fn said<'a>(messages: impl IntoIterator<Item = &'a trunkline::policy::Message>) -> Vec<String> {
    messages
        .into_iter()
        .map(|m| format!("{} {} {}", m.rule, m.address.as_ref().map(Address::to_string).unwrap_or_default(), m.message))
        .collect()
}

pub(crate) fn refused(verdict: &Verdict) -> Vec<String> {
    said(verdict.approved.as_ref().expect_err("the plan was approved").messages())
}
