//! An edge on loopback and a client of its API.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use trunkline::edge::{self, Edge, Options};
use trunkline::model::Secret;

/// The token of every edge in these tests.
pub(crate) const TOKEN: &str = "test-token";
/// The account that the tests name.
pub(crate) const ACCOUNT: &str = "0123456789abcdef0123456789abcdef";

/// A running edge with its folder.
pub(crate) struct Bench {
    pub(crate) edge: Option<Edge>,
    pub(crate) folder: TempDir,
    pub(crate) client: reqwest::Client,
}

/// The real runtime, or a failure that says how to get it.
pub(crate) fn workerd() -> PathBuf {
    let cache = cache().join("node_modules/workerd/bin/workerd");
    edge::find_workerd(None).or_else(|_| edge::find_workerd(Some(&cache))).expect(
        "these tests need workerd: run tests/run, which installs it, or set TRUNKLINE_WORKERD (npm install workerd@1.20261117.1)",
    )
}

/// Where the tests' tools are installed.
pub(crate) fn cache() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.cache/npm")
}

/// Options for an edge in a folder.
pub(super) fn options(folder: &Path) -> Options {
    let any = "127.0.0.1:0".parse().unwrap();
    let mut options = Options::new(any, any, folder.to_owned(), Secret::new(TOKEN.into()));
    options.workerd = Some(workerd());
    options.guard = Some(env!("CARGO_BIN_EXE_trunkline").into());
    options.faults = true;
    // Lingering is a test of its own; the others stop at once.
    options.linger = Duration::ZERO;
    options
}

impl Bench {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(choose: impl FnOnce(&mut Options)) -> Self {
        let folder = TempDir::new().unwrap();
        let mut options = options(folder.path());
        choose(&mut options);
        let edge = edge::start(options).await.unwrap();
        // One provider for the whole test binary; whoever is first installs it.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
        Self { edge: Some(edge), folder, client }
    }

    pub(crate) fn edge(&self) -> &Edge {
        self.edge.as_ref().unwrap()
    }

    /// Stops the edge and starts another on the same folder.
    pub(super) async fn restart(&mut self) {
        self.restart_with(|_| {}).await;
    }

    /// The same with other options.
    pub(crate) async fn restart_with(&mut self, choose: impl FnOnce(&mut Options)) {
        self.edge.take().unwrap().stop().await;
        let mut options = options(self.folder.path());
        choose(&mut options);
        self.edge = Some(edge::start(options).await.unwrap());
    }

    pub(crate) async fn stop(mut self) {
        self.edge.take().unwrap().stop().await;
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.edge().api_addr())
    }

    /// `path` below the account.
    pub(super) fn account_url(&self, path: &str) -> String {
        self.url(&format!("/client/v4/accounts/{ACCOUNT}{path}"))
    }

    /// One call; its status and its envelope.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let url = if path.starts_with("/client") || path.starts_with("/__") { self.url(path) } else { self.account_url(path) };
        let mut request = self.client.request(method.parse().unwrap(), url).bearer_auth(TOKEN);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap())
    }

    /// One call that has to succeed; its result.
    pub(crate) async fn done(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let (status, mut answer) = self.call(method, path, body).await;
        assert!(status == 200 && answer["success"] == true, "{method} {path}: {status} {answer}");
        answer["result"].take()
    }

    /// One call that has to be refused; status and code.
    pub(crate) async fn refused(&self, method: &str, path: &str, body: Option<Value>) -> (u16, u64) {
        let (status, answer) = self.call(method, path, body).await;
        assert!(answer["success"] == false, "{method} {path}: {status} {answer}");
        (status, answer["errors"][0]["code"].as_u64().unwrap())
    }

    /// An upload; its status and envelope.
    pub(super) async fn upload(
        &self,
        method: &str,
        path: &str,
        metadata: &Value,
        modules: &[(&str, &str, &str)],
    ) -> (u16, Value) {
        let boundary = "trunkline-test-boundary";
        let mut body = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"metadata\"\r\n\r\n{metadata}\r\n");
        for (name, kind, text) in modules {
            body += &format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\nContent-Type: {kind}\r\n\r\n{text}\r\n"
            );
        }
        body += &format!("--{boundary}--\r\n");
        let request = self.client.request(method.parse().unwrap(), self.account_url(path)).bearer_auth(TOKEN);
        let request = request.header("content-type", format!("multipart/form-data; boundary={boundary}"));
        let response = request.body(body).send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap())
    }

    /// Puts a Worker of one module there, answering on its own name.
    pub(super) async fn put(&self, name: &str, code: &str, bindings: Value) -> Value {
        let metadata = json!({ "main_module": "index.js", "compatibility_date": "2026-06-01", "bindings": bindings });
        let (status, mut answer) = self
            .upload("PUT", &format!("/workers/scripts/{name}"), &metadata, &[("index.js", "application/javascript+module", code)])
            .await;
        assert_eq!(status, 200, "{answer}");
        self.done("POST", &format!("/workers/scripts/{name}/subdomain"), Some(json!({ "enabled": true }))).await;
        answer["result"].take()
    }

    /// Uploads a version and deploys it, as our provider does; the version's id.
    pub(super) async fn release(&self, name: &str, code: &str, bindings: Value) -> String {
        let metadata = json!({ "main_module": "index.js", "compatibility_date": "2026-06-01", "bindings": bindings });
        let modules = [("index.js", "application/javascript+module", code)];
        let (status, answer) = self.upload("POST", &format!("/workers/scripts/{name}/versions"), &metadata, &modules).await;
        assert_eq!(status, 200, "{answer}");
        let id = answer["result"]["id"].as_str().unwrap().to_owned();
        self.deploy(name, &id).await;
        id
    }

    /// Deploys a version at a hundred percent.
    pub(super) async fn deploy(&self, name: &str, version: &str) {
        let body = json!({ "strategy": "percentage", "versions": [{ "version_id": version, "percentage": 100 }] });
        self.done("POST", &format!("/workers/scripts/{name}/deployments"), Some(body)).await;
    }

    /// What a host answers in JSON; it has to succeed.
    pub(super) async fn json(&self, host: &str, path: &str) -> Value {
        let (status, said) = self.get(host, path).await;
        assert_eq!(status, 200, "{path}: {said}");
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{path}: {error}: {said}"))
    }

    /// Replaces a Worker twenty times, by versions that differ.
    pub(super) async fn swap(&self, name: &str, code: &str, bindings: &Value) {
        for round in 0..20 {
            self.release(name, &format!("{code}\n// {round}"), bindings.clone()).await;
        }
    }

    /// What a host answers: status and text.
    pub(super) async fn get(&self, host: &str, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.edge().http_addr());
        let response = self.client.get(url).header("host", host).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }
}
