//! A whole installation in a folder, for the tests of behaviours: a bare remote and a clone, the real edge behind the
//! counting proxy, a host's root, an identity, and the program itself, run as people run it.
#![allow(dead_code, reason = "each behaviour takes what it needs")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use trunkline::edge::{self, Edge};
use trunkline::model::Secret;

use crate::edge::bench::workerd;
use crate::proxy::Proxy;

/// The token by which the edge is called; a secret of the environments.
pub(crate) const TOKEN: &str = "edge-token-of-the-tests";

/// How long a step may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A Worker that answers with its var `GREETING`, counts in KV at `/count`, and echoes whether its secret is there.
pub(crate) const WORKER: &str = r#"export default {
  async fetch(request, env) {
    const url = new URL(request.url);
    if (url.pathname === "/count") {
      const count = Number((await env.COUNTS.get("count")) ?? 0) + 1;
      await env.COUNTS.put("count", String(count));
      return new Response(String(count));
    }
    return new Response(`${env.GREETING} ${env.KEY ? "with" : "without"} key`);
  },
};
"#;

/// The installation.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) edge: Option<Edge>,
    /// Its program, where it is one of its own.
    _stored: Option<Daemon>,
    /// Where its API is, or was before it was stopped.
    api: SocketAddr,
    pub(crate) proxy: Proxy,
    client: reqwest::Client,
}

/// What the program printed, and its exit status.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl World {
    /// An edge on the real workerd, an empty remote, an identity; no definitions yet.
    pub(crate) async fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let edge = edge::start(edge_options(&folder.path().join("edge"), "127.0.0.1:0".parse().unwrap())).await.unwrap();
        let api = edge.api_addr();
        Self::on(folder, (Some(edge), None), api).await
    }

    /// The same with an API that was started elsewhere.
    pub(crate) async fn on(folder: TempDir, (edge, stored): (Option<Edge>, Option<Daemon>), api: SocketAddr) -> Self {
        let proxy = Proxy::start(api).await;
        // One provider for the whole test binary; whoever is first installs it.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let world = Self { folder, edge, _stored: stored, api, proxy, client };
        for path in ["clone", "host", "home"] {
            std::fs::create_dir(world.path(path)).unwrap();
        }
        world.git_in(&world.path(""), &["init", "--quiet", "--bare", "--initial-branch=main", "remote.git"]);
        world.git(&["init", "--quiet", "--initial-branch=main"]);
        world.git(&["remote", "add", "origin", world.path("remote.git").to_str().unwrap()]);
        let ran = world.trunkline(&["secrets", "keygen", world.path("identity").to_str().unwrap()]);
        assert_eq!(ran.status, 0, "{ran:?}");
        world
    }

    /// With one environment, `production`: a Worker with KV, var, secret, cron and route on the edge; two files on the
    /// host, one of them a template with a secret. Committed and pushed, not applied.
    pub(crate) async fn with_production() -> Self {
        let world = Self::empty().await;
        world.write("trunkline.toml", "format = 1\n");
        world.write(
            "fleet/hosts.toml",
            &format!("[host.origin]\nconnect = \"local\"\nroot = {:?}\nlabels = {{ role = \"origin\" }}\n", world.path("host")),
        );
        world.write("environments/production/production.toml", &world.production());
        world.write("environments/production/secrets.toml", "");
        world.write("workers/api/index.js", WORKER);
        world.write("files/engine.conf", "greeting = {{ vars.greeting }}\npassword = {{ secret(\"password\") }}\n");
        world.set_secret("production", "edge-token", TOKEN);
        world.set_secret("production", "key", "key-of-the-worker");
        world.set_secret("production", "password", "password-of-the-file");
        world.commit("The first revision");
        world
    }

    /// The text of `environments/production/production.toml`.
    pub(crate) fn production(&self) -> String {
        format!(
            r#"[environment]
digest_key = {{ secret = "digest-key" }}

[edge.local]
endpoint = "{}"
api_token = {{ secret = "edge-token" }}

[kv.counts]

[worker.api]
main = "workers/api/index.js"
compatibility_date = "2026-11-01"
routes = [{{ pattern = "api.example.com/*", zone_name = "example.com" }}]
triggers = {{ crons = ["0 3 * * *"] }}
vars = {{ GREETING = "hello" }}

[worker.api.bindings]
COUNTS = {{ kv = "counts" }}
KEY = {{ secret = "key" }}

[file.engine]
path = "/etc/engine/engine.conf"
template = "files/engine.conf"
mode = "0640"
vars = {{ greeting = "hello" }}

[file.motd]
path = "/etc/motd"
content = "kept by trunkline\n"
"#,
            self.endpoint()
        )
    }

    /// The REST API, through the proxy.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}/client/v4", self.proxy.address)
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// A file on the host.
    pub(crate) fn host(&self, path: &str) -> PathBuf {
        self.path("host").join(path.trim_start_matches('/'))
    }

    /// Writes a file of the clone.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path("clone").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Replaces text in a file of the clone; it must be there.
    pub(crate) fn edit(&self, path: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.path("clone").join(path)).unwrap();
        assert!(text.contains(from), "{path} does not hold {from:?}");
        self.write(path, &text.replace(from, to));
    }

    pub(crate) fn set_secret(&self, environment: &str, name: &str, value: &str) {
        let clone = self.path("clone");
        let mut child = self
            .command(&["secrets", "set", environment, name, "--folder", clone.to_str().unwrap()])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), value.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Commits and pushes everything; the commit's id.
    pub(crate) fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        self.git(&["push", "--quiet", "--set-upstream", "origin", "main"]);
        self.head()
    }

    pub(crate) fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    /// Git in the clone; its standard output. It must succeed.
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        self.git_in(&self.path("clone"), arguments)
    }

    pub(crate) fn git_in(&self, folder: &Path, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.com"])
            .args(arguments)
            .current_dir(folder)
            .env("HOME", self.path("home"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The program with this installation's data, remote and identity, in an environment that has nothing else.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path("home"))
            .env("TRUNKLINE_DATA", self.path("data"))
            .env("TRUNKLINE_REMOTE", self.path("remote.git"))
            .env("TRUNKLINE_IDENTITY", self.path("identity"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn trunkline(&self, arguments: &[&str]) -> Ran {
        Ran::of(&self.command(arguments).output().unwrap())
    }

    /// `apply`, which must succeed.
    pub(crate) fn apply(&self) -> Ran {
        let ran = self.trunkline(&["apply"]);
        assert_eq!(ran.status, 0, "{}\n{}", ran.out, ran.err);
        ran
    }

    /// `plan`, which must find nothing to do.
    pub(crate) fn assert_converged(&self) {
        let ran = self.trunkline(&["plan"]);
        assert_eq!(ran.status, 0, "the plan is not empty:\n{}\n{}", ran.out, ran.err);
    }

    /// The status of an environment, as JSON.
    pub(crate) fn status(&self, environment: &str) -> Value {
        let ran = self.trunkline(&["status", environment, "--output", "json"]);
        let document: Value = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        document["environments"][0].clone()
    }

    /// The daemon; killed when it is dropped.
    pub(crate) fn daemon(&self) -> Daemon {
        self.daemon_with(|_| {})
    }

    /// The daemon, with more in its environment or arguments.
    pub(crate) fn daemon_with(&self, change: impl FnOnce(&mut Command)) -> Daemon {
        let log = std::fs::File::options().create(true).append(true).open(self.path("daemon.log")).unwrap();
        let mut command = self.command(&["run", "--poll", "1s"]);
        command.stdout(Stdio::null()).stderr(log);
        change(&mut command);
        Daemon(command.spawn().unwrap())
    }

    /// What the daemons wrote on standard error.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("daemon.log")).unwrap_or_default()
    }

    /// Waits until the status of `environment` is as `wanted` says.
    pub(crate) async fn wait(&self, environment: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let ran = self.trunkline(&["status", "--output", "json"]);
            let document: Value = serde_json::from_str(&ran.out).unwrap_or_default();
            let found = document["environments"].as_array().into_iter().flatten().find(|e| e["environment"] == environment);
            if let Some(found) = found.filter(|found| wanted(found)) {
                return found.clone();
            }
            assert!(begun.elapsed() < PATIENCE, "not so after {PATIENCE:?}: {document:#}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until `environment` is ready at `commit`.
    pub(crate) async fn wait_ready(&self, environment: &str, commit: &str) -> Value {
        let revision = format!("main@sha1:{commit}");
        self.wait(environment, |status| status["condition"] == "Ready" && status["applied"] == revision.as_str()).await
    }

    /// What the Worker behind `host` answers to a GET of `path`.
    pub(crate) async fn get(&self, host: &str, path: &str) -> (u16, String) {
        let http = self.edge.as_ref().unwrap().http_addr();
        let response = self.client.get(format!("http://{http}{path}")).header("host", host).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// Calls the REST API past the proxy, as somebody else would.
    pub(crate) async fn foreign(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let api = self.api;
        let mut request =
            self.client.request(method.parse().unwrap(), format!("http://{api}/client/v4{path}")).bearer_auth(TOKEN);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["success"], true, "{method} {path}: {answer}");
        answer["result"].clone()
    }

    /// Uploads a script as somebody else would, into an account.
    pub(crate) async fn upload_foreign(&self, account: &str, name: &str, source: &str) {
        let api = self.api;
        let metadata = r#"{"main_module":"index.js","compatibility_date":"2026-11-01"}"#;
        let part = |head: &str, body: &str| format!("--B\r\nContent-Disposition: form-data; {head}\r\n\r\n{body}\r\n");
        let body = part("name=\"metadata\"\r\nContent-Type: application/json", metadata)
            + &part("name=\"index.js\"; filename=\"index.js\"\r\nContent-Type: application/javascript+module", source)
            + "--B--\r\n";
        let url = format!("http://{api}/client/v4/accounts/{account}/workers/scripts/{name}");
        let request = self.client.put(url).bearer_auth(TOKEN).header("content-type", "multipart/form-data; boundary=B");
        let answer: Value = request.body(body).send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["success"], true, "{answer}");
    }

    /// The body of a GET from the REST API, past the proxy.
    pub(crate) async fn foreign_text(&self, path: &str) -> String {
        let api = self.api;
        let request = self.client.get(format!("http://{api}/client/v4{path}")).bearer_auth(TOKEN);
        request.send().await.unwrap().text().await.unwrap()
    }

    /// Ends the edge, as its machine would on a restart. What it holds stays.
    pub(crate) async fn stop_edge(&mut self) {
        let edge = self.edge.take().unwrap();
        edge.stop().await;
    }

    /// Starts it again where it was.
    pub(crate) async fn start_edge(&mut self) {
        self.edge = Some(edge::start(edge_options(&self.path("edge"), self.api)).await.unwrap());
    }

    /// Ends the edge; the world's folder goes with it.
    pub(crate) async fn end(mut self) {
        if let Some(edge) = self.edge.take() {
            edge.stop().await;
        }
    }
}

fn edge_options(data: &Path, api: SocketAddr) -> edge::Options {
    let token = Secret::new(TOKEN.as_bytes().to_vec());
    let mut options = edge::Options::new(api, "127.0.0.1:0".parse().unwrap(), data.to_owned(), token);
    options.linger = Duration::ZERO;
    options.faults = true;
    // Definitions of what an edge cannot run find their records here.
    options.stand_in = true;
    options.workerd = Some(workerd());
    options
}

impl Ran {
    pub(crate) fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { status: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

/// A running daemon.
pub(crate) struct Daemon(pub(crate) Child);

impl Daemon {
    /// Kills it as a power cut would.
    pub(crate) fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Asks it to stop, as systemd does; its exit status, or the number of the signal that ended it, negative.
    pub(crate) fn terminate(&mut self) -> i32 {
        let id = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        let status = self.0.wait().unwrap();
        status.code().unwrap_or_else(|| -std::os::unix::process::ExitStatusExt::signal(&status).unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}
