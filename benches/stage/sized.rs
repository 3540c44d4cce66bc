//! Repositories of a chosen size, and a daemon's insides on them: no process, no loop, only what a pass works with.

use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;
use trunkline::model::{EnvironmentId, Revision};
use trunkline::reconcile::Context;
use trunkline::settings::Settings;

use super::Outcome;
use super::repository::Repository;

/// Where files of the host `origin` go, written for the fleet.
fn fleet(root: &Path) -> Outcome<String> {
    let root = root.to_str().ok_or("the folder's path is not UTF-8")?;
    Ok(format!("[host.origin]\nconnect = \"local\"\nroot = \"{root}\"\nlabels = {{ role = \"origin\" }}\n"))
}

/// One environment, `production`, of `resources` definition files with one resource each: of ten, one is a Worker (with
/// `edge`, the endpoint of an API), three are files of the repository, three are templates, and the rest files with their
/// content in place.
pub(crate) fn one_environment(repository: &Repository, root: &Path, resources: usize, edge: Option<&str>) -> Outcome<()> {
    repository.write("trunkline.toml", "format = 1\n")?;
    repository.write("fleet/origin.toml", &fleet(root)?)?;
    if let Some(endpoint) = edge {
        let account = "0123456789abcdef".repeat(2);
        let target = format!(
            "[cloudflare.loopback]\nendpoint = \"{endpoint}\"\naccount_id = \"{account}\"\napi_token = {{ credential = \"cloudflare-token\" }}\n"
        );
        repository.write("environments/production/targets.toml", &target)?;
    }
    repository.write("environments/production/environment.toml", "[environment]\nsync = { interval = \"1d\" }\n")?;
    for at in 0..resources {
        let name = format!("r{at:04}");
        let definition = match at % 10 {
            0 if edge.is_some() => {
                let module = format!("export default {{ fetch: () => new Response(\"{name}\") }};\n");
                repository.write(&format!("workers/{name}/index.js"), &module)?;
                format!("[worker.{name}]\nmain = \"workers/{name}/index.js\"\ncompatibility_date = \"2026-11-01\"\n")
            }
            1..=3 => {
                repository.write(&format!("files/{name}/data.txt"), &format!("the data of {name}\n"))?;
                file(&name, &format!("source = \"files/{name}/data.txt\""))
            }
            4..=6 => {
                repository.write(&format!("files/{name}/template.txt"), "{{ environment }}: {{ vars.name }}\n")?;
                file(&name, &format!("template = \"files/{name}/template.txt\"\nvars = {{ name = \"{name}\" }}"))
            }
            _ => file(&name, &format!("content = \"the content of {name}\\n\"")),
        };
        repository.write(&format!("environments/production/{name}.toml"), &definition)?;
    }
    Ok(())
}

fn file(name: &str, body: &str) -> String {
    format!("[file.{name}]\non = {{ role = \"origin\" }}\npath = \"/srv/{name}\"\n{body}\n")
}

/// `environments` environments of one file each, all on one base and one host.
pub(crate) fn many_environments(repository: &Repository, root: &Path, environments: usize) -> Outcome<()> {
    repository.write("trunkline.toml", "format = 1\n")?;
    repository.write("fleet/origin.toml", &fleet(root)?)?;
    repository.write("bases/common/sync.toml", "[environment.sync]\ninterval = \"1d\"\n")?;
    for at in 0..environments {
        let name = format!("e{at:04}");
        let definition = format!("[environment]\nextends = [\"bases/common\"]\n\n{}", file(&name, "content = \"begin\\n\""));
        repository.write(&format!("environments/{name}.toml"), &definition)?;
    }
    Ok(())
}

/// What a daemon with its data in `folder` works with. No records are pushed: they would be read back.
pub(crate) fn context(folder: &Path, repository: &Repository) -> Outcome<Context> {
    context_of(folder, repository, None)
}

/// The same with an identity that opens secrets.
pub(crate) fn context_of(folder: &Path, repository: &Repository, identity: Option<PathBuf>) -> Outcome<Context> {
    // Whoever is first installs it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let settings = Settings {
        data: folder.join("data"),
        remote: Some(repository.remote.to_str().ok_or("the folder's path is not UTF-8")?.to_owned()),
        branch: "main".to_owned(),
        poll: std::time::Duration::from_secs(60),
        watch: false,
        schedules: Vec::new(),
        push_records: false,
        askpass: None,
        ssh_command: None,
        identity,
        pinned_policies: None,
        max_deletes: 5,
        max_delete_percent: 30,
        build_tools: Vec::new(),
        build_timeout: trunkline::settings::BUILD_TIMEOUT,
        agents: None,
        docker: None,
        containers: std::collections::BTreeSet::new(),
        hosts: trunkline::settings::Hosts::default(),
    };
    let mut context = trunkline::daemon::context(settings, CancellationToken::new(), Box::new(|_| {}))?;
    let credentials = folder.join("credentials");
    std::fs::create_dir_all(&credentials)?;
    std::fs::write(credentials.join("cloudflare-token"), super::programs::TOKEN)?;
    context.credentials = Some(credentials);
    Ok(context)
}

/// What the daemon does when it is woken: fetch, a pass for every environment, the record of all of them in Git.
/// Fails where one is not ready.
pub(crate) async fn look(context: &Context) -> Outcome<Revision> {
    let fetched = trunkline::daemon::fetch(context).await;
    if let Some(fault) = fetched.fault {
        return Err(fault.to_string().into());
    }
    let head = fetched.head.ok_or("there is no head")?;
    for environment in trunkline::daemon::environments(context, &head).await? {
        pass(context, &environment, &head, false).await?;
    }
    // No remote is asked: `push_records` is off.
    trunkline::reconcile::push(context).await;
    Ok(head)
}

/// One pass, which has to end ready.
pub(crate) async fn pass(context: &Context, environment: &EnvironmentId, head: &Revision, force: bool) -> Outcome<()> {
    let outcome = Box::pin(trunkline::reconcile::reconcile(context, environment, head, force)).await;
    match outcome.condition {
        trunkline::record::Condition::Ready { .. } => Ok(()),
        other => Err(format!("{environment} is {}: {}", other.word(), other.message()).into()),
    }
}
