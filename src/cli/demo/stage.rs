//! The demo's world on loopback: a bare remote and a clone made from the example, an edge, a host folder, a daemon.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use include_dir::{Dir, DirEntry, include_dir};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use toml_edit::{DocumentMut, value};

use super::super::output::{Failure, note};
use super::super::secrets::{random, store};
use crate::daemon;
use crate::edge::{self, Edge};
use crate::model::{EnvironmentId, Kind, Secret, SecretScope};
use crate::secrets::{Identities, Recipient};
use crate::settings::Settings;

/// The example, as it stands in this repository.
static EXAMPLE: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/example-repo");
/// The rules that the example is judged by.
static POLICIES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/policies");

/// Where everything is.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// The bare repository that plays the Git server.
    pub(super) remote: PathBuf,
    /// A person's clone of it.
    pub(super) clone: PathBuf,
    /// The folder that plays the host's `/`.
    pub(super) host: PathBuf,
    /// The daemon's data folder.
    pub(super) data: PathBuf,
    /// What the edges keep.
    pub(super) edges: PathBuf,
    /// The daemon's credentials.
    credentials: PathBuf,
    /// The daemon's identity.
    pub(super) identity: PathBuf,
    /// An empty home for git: no setting of the machine takes part.
    home: PathBuf,
}

impl Places {
    fn new(folder: &Path) -> Self {
        let at = |name: &str| folder.join(name);
        Self {
            remote: at("remote.git"),
            clone: at("clone"),
            host: at("host"),
            data: at("data"),
            edges: at("edges"),
            credentials: at("credentials"),
            identity: at("identity"),
            home: at("home"),
        }
    }
}

/// The demo's world, running.
pub(super) struct Stage {
    pub(super) places: Places,
    pub(super) edges: Edges,
    pub(super) settings: Settings,
    daemon: Option<JoinHandle<Result<(), daemon::DaemonError>>>,
    stop: CancellationToken,
}

/// Makes the files: remote, clone, identity, sandbox; nothing runs yet.
pub(super) fn make(folder: &Path) -> Result<Places, Failure> {
    let places = Places::new(folder);
    for path in [&places.clone, &places.host, &places.home, &places.edges, &places.credentials] {
        std::fs::create_dir_all(path)?;
    }
    write(&EXAMPLE, &places.clone)?;
    write(&POLICIES, &places.clone.join("policies"))?;
    git(&places, folder, &["init", "--quiet", "--bare", "--initial-branch=main", "remote.git"])?;
    git(&places, &places.clone, &["init", "--quiet", "--initial-branch=main"])?;
    git(&places, &places.clone, &["remote", "add", "origin", path_text(&places.remote)?])?;
    // Who tries things there may have no name set for git, or a key to sign with that asks for its password.
    for (key, value) in [("user.name", "Ada"), ("user.email", "ada@example.com"), ("commit.gpgsign", "false")] {
        git(&places, &places.clone, &["config", key, value])?;
    }
    Ok(places)
}

impl Places {
    /// The daemon's credentials.
    pub(super) fn credentials(&self) -> &Path {
        &self.credentials
    }
}

/// The two planes that the example deploys to.
pub(super) struct Edges {
    /// Plays the account at Cloudflare: the same API, on loopback.
    pub(super) account: Edge,
    /// The self-hosted edge.
    pub(super) edge: Edge,
}

/// Starts the edges, and fits the example to them.
pub(super) async fn start_edges(places: &Places, workerd: Option<&Path>) -> Result<Edges, Failure> {
    let (account_token, edge_token) = (random(), random());
    let account = start_edge(places, "account", &account_token, workerd).await?;
    let edge = start_edge(places, "edge", &edge_token, workerd).await?;
    write_private(&places.credentials.join("cloudflare-token"), account_token.expose())?;
    let (identity, recipient) = Identities::generate();
    write_private(&places.identity, identity.expose())?;
    let endpoint = |edge: &Edge| format!("http://{}/client/v4", edge.api_addr());
    fit(places, &endpoint(&account), &endpoint(&edge))?;
    if workerd.is_none() {
        leave_out_migrations(places)?;
    }
    seal(places, &edge_token, &recipient)?;
    Ok(Edges { account, edge })
}

async fn start_edge(places: &Places, name: &str, token: &Secret, workerd: Option<&Path>) -> Result<Edge, Failure> {
    let loopback = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let mut options = edge::Options::new(loopback, loopback, places.edges.join(name), token.clone());
    options.workerd = workerd.map(Path::to_owned);
    options.private_network = true;
    options.guard = Some(super::super::edge::THIS_PROGRAM.into());
    options.linger = std::time::Duration::from_secs(1);
    edge::start(options).await.map_err(|error| Failure::of(&error).hint(error.hint().map(ToOwned::to_owned)))
}

/// Starts the daemon on the remote.
pub(super) fn start_daemon(places: Places, edges: Edges) -> Result<Stage, Failure> {
    let settings = Settings {
        data: places.data.clone(),
        remote: Some(path_text(&places.remote)?.to_owned()),
        branch: "main".to_owned(),
        poll: Duration::from_secs(10),
        watch: true,
        schedules: Vec::new(),
        push_records: true,
        askpass: None,
        ssh_command: None,
        identity: Some(places.identity.clone()),
        pinned_policies: None,
        max_deletes: 5,
        max_delete_percent: 30,
        build_tools: Vec::new(),
        build_timeout: crate::settings::BUILD_TIMEOUT,
        agents: None,
        hosts: crate::settings::Hosts::default(),
        docker: None,
        containers: std::collections::BTreeSet::new(),
    };
    let stop = CancellationToken::new();
    let mut context = daemon::context(settings.clone(), stop.clone(), Box::new(super::super::output::progress))
        .map_err(|error| Failure::of(&error).hint(error.hint()))?;
    context.credentials = Some(places.credentials.clone());
    let daemon = tokio::spawn(Box::pin(daemon::run(context)));
    Ok(Stage { places, edges, settings, daemon: Some(daemon), stop })
}

impl Stage {
    /// Stops the daemon and the edge.
    pub(super) async fn stop(mut self) -> Result<(), Failure> {
        self.stop.cancel();
        if let Some(daemon) = self.daemon.take() {
            match daemon.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(Failure::of(&error)),
                Err(error) => return Err(Failure::of(&error)),
            }
        }
        self.edges.account.stop().await;
        self.edges.edge.stop().await;
        Ok(())
    }
}

/// Runs git in `folder` with none of the machine's settings; its standard output.
pub(super) fn git(places: &Places, folder: &Path, arguments: &[&str]) -> Result<String, Failure> {
    let identity = [("NAME", "Ada"), ("EMAIL", "ada@example.com")];
    let output = Command::new("git")
        .args(["-c", "advice.detachedHead=false"])
        .args(arguments)
        .current_dir(folder)
        .env("HOME", &places.home)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .envs(identity.iter().flat_map(|(k, v)| [(format!("GIT_AUTHOR_{k}"), v), (format!("GIT_COMMITTER_{k}"), v)]))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Failure::new(format!("git cannot be run: {error}")).hint(Some("install git".to_owned())))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::new(format!("git {} failed: {}", arguments.join(" "), error.trim())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn path_text(path: &Path) -> Result<&str, Failure> {
    path.to_str().ok_or_else(|| Failure::new(format!("the path {} is not UTF-8", path.display())))
}

fn write(folder: &Dir<'_>, to: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(to)?;
    for entry in folder.entries() {
        match entry {
            DirEntry::Dir(inner) => write(inner, &to.join(inner.path().file_name().unwrap_or_default()))?,
            DirEntry::File(file) => std::fs::write(to.join(file.path().file_name().unwrap_or_default()), file.contents())?,
        }
    }
    Ok(())
}

fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(bytes)?;
    Ok(())
}

/// Fits the example to this machine: where the planes are, and the sandbox as the host's root.
fn fit(places: &Places, account: &str, edge: &str) -> Result<(), Failure> {
    let root = path_text(&places.host)?;
    for file in toml_files(&places.clone)? {
        let mut document = parse(&file)?;
        for (kind, key, new) in [("cloudflare", "endpoint", account), ("edge", "endpoint", edge), ("host", "root", root)] {
            let tables = document.get_mut(kind).and_then(|item| item.as_table_mut());
            for (_, target) in tables.into_iter().flat_map(toml_edit::Table::iter_mut) {
                target[key] = value(new);
            }
        }
        // Below a folder there is no system of its own: what needs one is not in the sandbox.
        for kind in Kind::ALL.into_iter().filter(|kind| kind.needs_a_system()) {
            document.remove(kind.as_str());
        }
        std::fs::write(&file, document.to_string())?;
    }
    Ok(())
}

/// Takes the migrations out of the example: it is workerd that runs a database's statements, and there is none.
fn leave_out_migrations(places: &Places) -> Result<(), Failure> {
    for file in toml_files(&places.clone)? {
        let mut document = parse(&file)?;
        let databases = document.get_mut("d1").and_then(|item| item.as_table_mut());
        let without = |(_, item): (_, &mut toml_edit::Item)| item.as_table_like_mut()?.remove("migrations");
        if databases.into_iter().flat_map(toml_edit::Table::iter_mut).filter_map(without).count() > 0 {
            std::fs::write(&file, document.to_string())?;
        }
    }
    note("no workerd: the example's databases are made without their migrations, which it would run");
    Ok(())
}

/// Gives every secret of the example a value of its own, under the demo's key.
fn seal(places: &Places, edge_token: &Secret, recipient: &Recipient) -> Result<(), Failure> {
    let tokens = token_names(&places.clone)?;
    for file in toml_files(&places.clone)? {
        let document = parse(&file)?;
        let (Some(environment), Some(secrets)) =
            (environment_of(&places.clone, &file), document.get("secret").and_then(|s| s.as_table()))
        else {
            continue;
        };
        for (name, _) in secrets {
            let value = if tokens.iter().any(|token| token == name) { edge_token.clone() } else { random() };
            let name = name.parse().map_err(|error: crate::model::NameError| Failure::of(&error))?;
            let scope = SecretScope { environment: environment.clone(), name };
            store(&places.clone, &scope, std::slice::from_ref(recipient), &value)?;
        }
    }
    Ok(())
}

fn parse(file: &Path) -> Result<DocumentMut, Failure> {
    let text = std::fs::read_to_string(file)?;
    text.parse().map_err(|error| Failure::new(format!("{}: {error}", file.display())))
}

/// The names of the secrets by which edges are called.
fn token_names(clone: &Path) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for file in toml_files(clone)? {
        let document = parse(&file)?;
        let edges = document.get("edge").and_then(|e| e.as_table());
        for (_, edge) in edges.into_iter().flatten() {
            names.extend(edge.get("api_token").and_then(|t| t.get("secret")).and_then(|s| s.as_str()).map(ToOwned::to_owned));
        }
    }
    Ok(names)
}

/// The environment that a file belongs to: `environments/NAME.toml` or a file in `environments/NAME`.
fn environment_of(clone: &Path, file: &Path) -> Option<EnvironmentId> {
    let mut parts = file.strip_prefix(clone.join("environments")).ok()?.iter().filter_map(OsStr::to_str);
    let first = parts.next()?;
    first.strip_suffix(".toml").unwrap_or(first).parse().ok()
}

fn toml_files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    // The folders that hold definitions; a template below `files/` may be called .toml too.
    let mut folders: Vec<PathBuf> = ["bases", "environments", "fleet"].map(|name| folder.join(name)).into();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "toml") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}
