//! An edge that others filled, and the program that imports it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;
use trunkline::definition::{Cache, resolve};
use trunkline::model::{EnvironmentId, Kind, Properties};
use trunkline::source::{Folder, Limits};

use crate::converge::scene::ACCOUNT;
use crate::world::{Ran, TOKEN, World};

/// The environment that tests import.
pub(super) const ENVIRONMENT: &str = "live";

/// The program, with the token as a credential of its daemon.
pub(super) fn command(world: &World, arguments: &[&str]) -> Command {
    let folder = world.path("credentials");
    if !folder.exists() {
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("cloudflare-token"), format!("{TOKEN}\n")).unwrap();
    }
    let mut command = world.command(arguments);
    command.env("CREDENTIALS_DIRECTORY", folder);
    command
}

pub(super) fn run(world: &World, arguments: &[&str]) -> Ran {
    Ran::of(&command(world, arguments).output().unwrap())
}

/// Imports the edge into the clone, with further arguments.
pub(super) fn import(world: &World, further: &[&str]) -> Ran {
    import_as(world, ENVIRONMENT, further)
}

/// The same as another environment.
pub(super) fn import_as(world: &World, environment: &str, further: &[&str]) -> Ran {
    let (endpoint, out) = (world.endpoint(), world.path("clone"));
    let fixed = ["import", "cloudflare", "--endpoint", &endpoint, "--environment", environment, "--out", out.to_str().unwrap()];
    // As an account, so that what edges do not have is there too; an edge takes any.
    run(world, &[&fixed[..], &["--account", ACCOUNT], further].concat())
}

/// The plan of the environment as JSON.
pub(super) fn plan(world: &World) -> Value {
    let ran = run(world, &["plan", "--output", "json"]);
    let document: Value = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    assert_eq!(document["plans"][0]["plan"]["blocked"], serde_json::json!([]), "{document:#}");
    document["plans"][0]["plan"].clone()
}

/// Applies what is committed; it must succeed.
pub(super) fn apply(world: &World) {
    let ran = run(world, &["apply"]);
    assert_eq!(ran.status, 0, "{}\n{}", ran.out, ran.err);
}

/// What definitions in the clone come to, by kind and name at the target.
pub(super) fn desired(world: &World, environment: &str) -> BTreeMap<(Kind, String), Properties> {
    let tree = Folder::open(&world.path("clone"), Limits::default()).unwrap();
    let id = EnvironmentId::of_default(environment.parse().unwrap());
    let resolution = resolve(&tree, &id, &mut Cache::default()).unwrap();
    let bundle = resolution.bundle.unwrap_or_else(|| panic!("{:#?}", resolution.diagnostics));
    let of = |spec: &trunkline::model::Spec| ((spec.kind(), spec.claim().to_owned()), spec.properties(&BTreeMap::new()));
    bundle.desired.resources.values().map(|desired| of(&desired.spec)).collect()
}

/// Takes over what was imported: the plan shows nothing but that, writes nothing but `owners` marks, and leaves nothing to do.
pub(super) fn assert_taken_over(world: &World, workers: &[&str]) {
    world.commit("Imported");
    let plan = plan(world);
    let changes = plan["changes"].as_array().unwrap();
    for change in changes {
        assert_eq!(change["action"], "adopt", "{change:#}");
        assert_eq!(change["fields"], serde_json::json!([]), "{change:#}");
    }
    let adopted: BTreeSet<&str> = changes.iter().map(|change| change["claim"].as_str().unwrap()).collect();
    assert_eq!(adopted, workers.iter().copied().collect(), "{plan:#}");
    world.proxy.reset();
    apply(world);
    let writes = world.proxy.writes();
    assert_eq!(writes.len(), workers.len(), "{writes:?}");
    assert!(writes.iter().all(|write| write.starts_with("PATCH ") && write.ends_with("/script-settings")), "{writes:?}");
    let ran = run(world, &["plan"]);
    assert_eq!(ran.status, 0, "{}\n{}", ran.out, ran.err);
    world.proxy.reset();
    apply(world);
    assert_eq!(world.proxy.writes(), [""; 0]);
}
