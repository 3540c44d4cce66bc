//! The shipped program at work: the daemon and edges as processes of their own, on a copy of the example.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use toml_edit::{DocumentMut, value};
use trunkline::model::Kind;

use super::Outcome;
use super::repository::Repository;

/// The program, built with the profile of the measurement.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_trunkline");
/// The token of every edge.
pub(crate) const TOKEN: &str = "measured-token";

/// A process that is ended with its handle.
pub(crate) struct Running(Child);

impl Running {
    /// Takes over one that was started.
    pub(crate) fn of(child: Child) -> Self {
        Self(child)
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An edge ends its own processes when it is told to; killed, it could not.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let give_up = Instant::now() + Duration::from_secs(10);
        while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < give_up {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An edge as a process.
pub(crate) struct EdgeProcess {
    _running: Running,
    /// Its REST API.
    pub(crate) endpoint: String,
    /// Where Workers answer.
    pub(crate) http: SocketAddr,
}

/// Starts an edge that keeps its data in `folder`; without `workerd` it stores Workers and does not run them.
pub(crate) fn start_edge(folder: &Path, workerd: Option<&Path>) -> Outcome<EdgeProcess> {
    std::fs::create_dir_all(folder)?;
    let token_file = folder.join("token");
    std::fs::write(&token_file, TOKEN)?;
    let mut command = Command::new(PROGRAM);
    command.args(["edge", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--private-network", "--stand-in"]);
    command.arg("--data").arg(folder.join("data")).arg("--token-file").arg(&token_file);
    match workerd {
        Some(workerd) => command.arg("--workerd").arg(workerd),
        None => command.env_remove("TRUNKLINE_WORKERD").env("PATH", "/nonexistent"),
    };
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(child.stderr.take().ok_or("no standard error")?);
    let running = Running(child);
    let (mut endpoint, mut http) = (None, None);
    let mut line = String::new();
    while endpoint.is_none() || http.is_none() {
        line.clear();
        if lines.read_line(&mut line)? == 0 {
            return Err("the edge did not start".into());
        }
        let last = line.split_whitespace().last().unwrap_or_default();
        if line.starts_with("REST API") {
            endpoint = Some(last.to_owned());
        } else if line.starts_with("Workers") {
            http = Some(last.trim_start_matches("http://").parse()?);
        }
    }
    // Whatever else it says is read, so that it never waits for us.
    std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
    Ok(EdgeProcess { _running: running, endpoint: endpoint.unwrap_or_default(), http: http.ok_or("no address")? })
}

/// A daemon's folders.
pub(crate) struct Daemon {
    folder: PathBuf,
    remote: PathBuf,
}

impl Daemon {
    /// One that follows `repository`; makes its identity.
    pub(crate) fn new(folder: &Path, repository: &Repository) -> Outcome<Self> {
        let daemon = Self { folder: folder.to_owned(), remote: repository.remote.clone() };
        std::fs::create_dir_all(folder.join("credentials"))?;
        std::fs::write(folder.join("credentials/cloudflare-token"), TOKEN)?;
        let made = Command::new(PROGRAM).args(["secrets", "keygen"]).arg(daemon.identity()).output()?;
        if !made.status.success() {
            return Err(String::from_utf8_lossy(&made.stderr).into());
        }
        Ok(daemon)
    }

    /// What opens its secrets.
    pub(crate) fn identity(&self) -> PathBuf {
        self.folder.join("identity")
    }

    fn command(&self, verb: &str) -> Command {
        self.words(&[verb])
    }

    /// The program with the daemon's folders.
    pub(crate) fn words(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).arg("--data").arg(self.folder.join("data")).arg("--remote").arg(&self.remote);
        command.arg("--identity").arg(self.identity()).env("CREDENTIALS_DIRECTORY", self.folder.join("credentials"));
        command.stdin(Stdio::null());
        command
    }

    /// Starts it; its log goes to the file `log` of its folder.
    pub(crate) fn start(&self) -> Outcome<Running> {
        let log = std::fs::File::create(self.folder.join("log"))?;
        Ok(Running(self.command("run").envs(heap()).stdout(Stdio::null()).stderr(log).spawn()?))
    }

    /// Waits until every environment is ready at the head of the clone, and Git has the record of it.
    pub(crate) fn settled(&self, repository: &Repository, environments: usize) -> Outcome<()> {
        let head = format!("main@sha1:{}", repository.git(&["rev-parse", "HEAD"])?.trim());
        let give_up = Instant::now() + Duration::from_secs(60);
        let mut last = String::new();
        while Instant::now() < give_up {
            let output = self.command("status").args(["--output", "json"]).output()?;
            last = String::from_utf8_lossy(&output.stdout).into_owned();
            let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            let all = status["environments"].as_array().cloned().unwrap_or_default();
            let ready =
                |e: &serde_json::Value| e["condition"] == "Ready" && e["applied"] == head.as_str() && e["published"] == true;
            if all.len() == environments && all.iter().all(ready) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        Err(format!("not ready within a minute:\n{last}\n{log}").into())
    }
}

/// Writes the example into the clone of `repository`, fitted to this machine: `account` plays Cloudflare, `edge` the
/// self-hosted edge, `host` the host's `/`; its secrets are sealed for `daemon`.
pub(crate) fn write_example(
    repository: &Repository,
    daemon: &Daemon,
    (account, edge): (&EdgeProcess, &EdgeProcess),
    host: &Path,
) -> Outcome<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    copy(&root.join("example-repo"), &repository.clone)?;
    copy(&root.join("policies"), &repository.clone.join("policies"))?;
    let host = host.to_str().ok_or("the folder's path is not UTF-8")?;
    let fits =
        [("cloudflare", "endpoint", account.endpoint.as_str()), ("edge", "endpoint", &edge.endpoint), ("host", "root", host)];
    for file in toml_files(&repository.clone)? {
        let text = std::fs::read_to_string(&file)?;
        let mut document: DocumentMut = text.parse()?;
        for (kind, key, new) in fits {
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
        let environment = file.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
        let secrets = document.get("secret").and_then(|s| s.as_table());
        for (name, _) in secrets.into_iter().flatten() {
            seal(repository, daemon, environment, (name, TOKEN))?;
        }
    }
    Ok(())
}

/// Writes a secret of an environment into the clone.
pub(crate) fn seal(repository: &Repository, daemon: &Daemon, environment: &str, (name, value): (&str, &str)) -> Outcome<()> {
    let mut command = daemon.command("secrets");
    command.args(["set", environment, name, "--folder"]).arg(&repository.clone);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().ok_or("no standard input")?.write_all(value.as_bytes())?;
    let output = child.wait_with_output()?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into()) }
}

fn copy(from: &Path, to: &Path) -> Outcome<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let (path, to) = (entry.as_ref().map(std::fs::DirEntry::path), entry.as_ref().map(|e| to.join(e.file_name())));
        let (Ok(path), Ok(to)) = (path, to) else { return Err("the example cannot be read".into()) };
        if path.is_dir() { copy(&path, &to)? } else { std::fs::copy(&path, &to).map(drop)? }
    }
    Ok(())
}

fn toml_files(clone: &Path) -> Outcome<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = ["bases", "environments", "fleet"].map(|name| clone.join(name)).into();
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

/// The real runtime, or how to get it.
pub(crate) fn workerd() -> Outcome<PathBuf> {
    let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.cache/npm/node_modules/workerd/bin/workerd");
    let found = trunkline::edge::find_workerd(None).or_else(|_| trunkline::edge::find_workerd(Some(&cache)));
    found.map_err(|_| "this measurement needs workerd: run tests/run, which installs it, or set TRUNKLINE_WORKERD".into())
}

/// What `host` answers at `address`, as text: status line, headers and body.
pub(crate) fn answer(address: SocketAddr, host: &str) -> Outcome<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// What the shipped unit tells the heap of the daemon.
pub(crate) fn heap() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = include_str!("../../systemd/trunkline.service").lines();
    let said = lines.filter_map(|line| line.strip_prefix("Environment=")).flat_map(|line| line.split(' '));
    said.filter_map(|word| word.split_once('=')).filter(|(name, _)| name.starts_with("MALLOC_"))
}
