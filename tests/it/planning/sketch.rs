//! Desired states, written briefly.

use std::collections::{BTreeMap, BTreeSet};

use trunkline::model::{
    Address, ApiToken, Binding, CloudflareTarget, Connect, Content, Desired, DesiredState, EnvironmentId, FileSpec, HostTarget,
    InstanceKey, Kind, Module, ModuleType, Origin, PlatformSpec, Properties, Revision, Route, SecretMark, Spec, Sync, Target,
    TargetKind, WorkerSpec,
};

pub(super) const COMMIT: &str = "1a2b3c4d5e6f708192a3b4c5d6e7f80912345678";

pub(super) fn revision() -> Revision {
    Revision { branch: "main".into(), commit: COMMIT.into() }
}

pub(super) fn key(text: &str) -> InstanceKey {
    format!("production/{text}").parse().unwrap()
}

pub(super) fn address(text: &str) -> Address {
    format!("production/{text}").parse().unwrap()
}

pub(super) fn mark(text: &str) -> SecretMark {
    SecretMark::Hmac(trunkline::model::Digest::of(text.as_bytes()).to_string())
}

pub(super) fn state() -> DesiredState {
    let cloudflare = |account: &str| Target {
        region: None,
        labels: BTreeMap::new(),
        kind: TargetKind::Cloudflare(CloudflareTarget {
            account_id: account.repeat(32),
            api_token: ApiToken::Credential("token".parse().unwrap()),
            endpoint: "https://api.cloudflare.com/client/v4".into(),
        }),
    };
    let host = Target {
        region: None,
        labels: BTreeMap::new(),
        kind: TargetKind::Host(HostTarget { connect: Connect::Local, root: None, offline: Default::default() }),
    };
    DesiredState {
        environment: EnvironmentId::of_default("production".parse().unwrap()),
        description: None,
        retire: false,
        sync: Sync::default(),
        digest_key: None,
        targets: [("main", cloudflare("0")), ("second", cloudflare("1")), ("fra1", host)]
            .map(|(name, target)| (name.parse().unwrap(), target))
            .into(),
        resources: BTreeMap::new(),
        secrets: BTreeMap::new(),
        policies: BTreeMap::new(),
    }
}

pub(super) fn desired(spec: Spec) -> Desired {
    Desired {
        spec,
        depends_on: BTreeSet::new(),
        moved_from: None,
        adopt: false,
        claim_is_default: false,
        ignore: BTreeSet::new(),
        origin: Origin { path: "environments/production/api.toml".into(), line: 7, fields: BTreeMap::new() },
    }
}

pub(super) fn worker(script: &str, code: &str) -> WorkerSpec {
    let module = Module { module_type: ModuleType::Esm, content: Content::of(code.as_bytes()) };
    WorkerSpec {
        script: script.into(),
        main: "index.js".into(),
        modules: [("index.js".to_owned(), module)].into(),
        compatibility_date: Some("2026-11-01".into()),
        compatibility_flags: BTreeSet::new(),
        bindings: BTreeMap::new(),
        crons: BTreeSet::new(),
        routes: BTreeSet::new(),
        workers_dev: false,
        ..WorkerSpec::default()
    }
}

pub(super) fn text_binding(text: &str) -> Binding {
    Binding::PlainText { text: text.into() }
}

pub(super) fn kv_binding(name: &str) -> Binding {
    Binding::Resource { address: address(&format!("kv.{name}")), fields: Properties::new() }
}

pub(super) fn service(script: &str) -> Binding {
    Binding::Service { script: script.into(), entrypoint: None }
}

pub(super) fn secret(name: &str) -> Binding {
    Binding::Secret { name: name.parse().unwrap() }
}

pub(super) fn route(pattern: &str) -> Route {
    Route { pattern: pattern.into(), zone_name: "example.com".into() }
}

pub(super) fn kv(title: &str) -> Spec {
    Spec::Platform(PlatformSpec::new(Kind::Kv, title))
}

pub(super) fn file(path: &str, content: &str) -> FileSpec {
    FileSpec {
        path: path.into(),
        content: Content::of(content.as_bytes()),
        secrets: BTreeSet::new(),
        tokens: BTreeMap::new(),
        mode: 0o644,
        owner: None,
        group: None,
        validate: None,
    }
}
