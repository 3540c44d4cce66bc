//! The example's Workers in the real runtime: what the README says of them is so.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use trunkline::model::{Binding, Bundle, Module, ModuleType, Spec, WorkerSpec};

use super::{folder, repository, resolved};

fn workerd() -> PathBuf {
    let installed = repository().join("tests/.cache/npm/node_modules/.bin/workerd");
    let on_path = std::env::var_os("PATH")
        .and_then(|path| std::env::split_paths(&path).map(|folder| folder.join("workerd")).find(|file| file.is_file()));
    std::env::var_os("TRUNKLINE_WORKERD")
        .map(PathBuf::from)
        .or(on_path)
        .or_else(|| installed.exists().then_some(installed))
        .expect("workerd is missing: run tests/run, or set TRUNKLINE_WORKERD")
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A configuration of workerd for all Workers of a bundle, each on a port of its own.
fn configuration(bundle: &Bundle, folder: &Path, ports: &[(&str, u16)]) -> String {
    let workers = bundle.desired.resources.values().filter_map(|desired| match &desired.spec {
        Spec::Worker(worker) => Some(worker),
        _ => None,
    });
    let mut services = String::new();
    for worker in workers {
        let modules = modules(bundle, worker, folder);
        let bindings: String = worker.bindings.iter().map(|(name, binding)| bound(name, binding)).collect();
        let date = worker.compatibility_date.as_deref().unwrap_or("2026-01-01");
        writeln!(
            services,
            "(name = \"{}\", worker = (modules = [{modules}], compatibilityDate = \"{date}\", bindings = [{bindings}], globalOutbound = \"network\")),",
            worker.script
        )
        .unwrap();
    }
    let sockets: String = ports
        .iter()
        .map(|(name, port)| format!("(name = \"{name}\", address = \"127.0.0.1:{port}\", http = (), service = \"{name}\"),"))
        .collect();
    format!(
        "using Workerd = import \"/workerd/workerd.capnp\";\nconst config :Workerd.Config = (\n services = [\n{services}\
         (name = \"network\", network = (allow = [\"local\"])), (name = \"disk\", disk = (path = \"{}\", writable = true)),\n\
         (name = \"kv\", worker = (modules = [(name = \"kv.js\", bundled = \"/workerd/kv.js\")], compatibilityDate = \"2026-06-01\",\n\
         bindings = [(name = \"SHARD\", durableObjectNamespace = \"KVNamespace\"), (name = \"BLOBS\", service = \"disk\")],\n\
         durableObjectNamespaces = [(className = \"KVNamespace\", uniqueKey = \"kv-store\", enableSql = true)],\n\
         durableObjectStorage = (localDisk = \"disk\"))),\n ],\n sockets = [{sockets}],\n);\n",
        folder.join("disk").display()
    )
}

fn modules(bundle: &Bundle, worker: &WorkerSpec, folder: &Path) -> String {
    let mut names: Vec<(&String, &Module)> = worker.modules.iter().collect();
    names.sort_by_key(|(name, _)| **name != worker.main);
    let mut text = String::new();
    for (name, module) in names {
        assert_eq!(module.module_type, ModuleType::Esm);
        let file = format!("{}.js", module.content.sha256);
        std::fs::write(folder.join(&file), &bundle.contents[&module.content.sha256]).unwrap();
        write!(text, "(name = \"{name}\", esModule = embed \"{file}\"),").unwrap();
    }
    text
}

fn bound(name: &str, binding: &Binding) -> String {
    let value = match binding {
        Binding::PlainText { text } => format!("text = {}", serde_json::to_string(text).unwrap()),
        Binding::Json { json } => format!("json = {}", serde_json::to_string(json).unwrap()),
        Binding::Secret { .. } => "text = \"a secret\"".to_owned(),
        Binding::Service { script, .. } => format!("service = \"{script}\""),
        Binding::DurableObject { .. } | Binding::Provided { .. } => unreachable!("the example has none"),
        // Those of other kinds are there, and no call of this test uses them.
        Binding::Resource { .. } => {
            "kvNamespace = (name = \"kv\", props = (json = \"{\\\"namespace\\\":\\\"clicks\\\"}\"))".to_owned()
        }
    };
    format!("(name = \"{name}\", {value}),")
}

fn get(port: u16, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), body.to_owned())
}

/// An origin that answers each request with how many came before.
fn origin() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for (count, stream) in listener.incoming().enumerate() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 2048];
            let _ = stream.read(&mut request);
            let body = format!("answer {count}");
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all((head + &body).as_bytes());
        }
    });
    port
}

#[test]
fn the_example_workers_run_and_show_their_vars() {
    let mut tree = folder(&repository().join("example-repo"), &[]);
    let origin = format!("http://127.0.0.1:{}", origin());
    let path = "environments/staging/workers.toml";
    let text = std::fs::read_to_string(repository().join("example-repo").join(path)).unwrap();
    assert!(text.contains("http://127.0.0.1:8080"));
    tree.insert(path, text.replace("http://127.0.0.1:8080", &origin));
    let bundle = resolved(&tree, "staging").bundle.unwrap();

    let scratch = tempfile::tempdir().unwrap();
    std::fs::create_dir(scratch.path().join("disk")).unwrap();
    let (api, tracker, cache) = (free_port(), free_port(), free_port());
    let ports = [("ads-api-staging", api), ("click-tracker-staging", tracker), ("edge-cache-staging", cache)];
    let file = scratch.path().join("config.capnp");
    std::fs::write(&file, configuration(&bundle, scratch.path(), &ports)).unwrap();
    let log = std::fs::File::create(scratch.path().join("log")).unwrap();
    let child = Command::new(workerd()).args(["serve", "--experimental"]).arg(&file).stdout(Stdio::null()).stderr(log).spawn();
    let _running = Running(child.unwrap());
    let deadline = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(("127.0.0.1", cache)).is_err() {
        let log = std::fs::read_to_string(scratch.path().join("log")).unwrap();
        assert!(Instant::now() < deadline, "workerd does not listen: {log}");
        std::thread::sleep(Duration::from_millis(50));
    }

    let (head, body) = get(api, "/");
    let log = || std::fs::read_to_string(scratch.path().join("log")).unwrap();
    assert!(head.starts_with("http/1.1 200"), "{head}\n{}", log());
    assert!(body.contains("\"banner\":\"Summer sale: 20% off\"") && body.contains("\"log_level\":\"debug\""), "{body}");
    assert!(body.contains("\"partner\":true") && !body.contains("a secret"), "{body}");
    assert!(get(api, "/campaigns").1.contains("[\"summer\",\"autumn\"]"));
    assert!(get(api, "/nothing").0.starts_with("http/1.1 404"));
    for count in 1..=3 {
        assert!(get(api, "/click?campaign=summer").1.contains(&format!("\"count\":{count}")), "{}", log());
    }
    assert!(get(tracker, "/?campaign=summer").1.contains("\"count\":3"));
    let (head, body) = get(cache, "/page");
    assert!(head.contains("x-edge-cache: miss") && body.contains("answer 0"), "{head} {body} {}", log());
}
