//! The runtime that an edge fetches by itself: the real archive, from a registry on this machine.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use trunkline::edge::{FetchError, Release, WORKERD};

use super::bench::{Bench, TOKEN, cache};

const PATIENCE: Duration = Duration::from_secs(120);

/// The archive as the registry of npm has it.
fn archive() -> Arc<[u8]> {
    let path = cache().join("workerd.tgz");
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}: run tests/run, which fetches it", path.display())).into()
}

/// How the registry answers.
#[derive(Clone)]
enum Answer {
    /// With these bytes.
    Whole(Arc<[u8]>),
    /// With the first of them, and the end of the connection where more were promised.
    Cut(Arc<[u8]>, usize),
    /// With the first of them, and then with nothing.
    Hangs(Arc<[u8]>, usize),
    /// There is no such thing.
    Missing,
}

/// A registry; it answers as it was told last.
struct Registry {
    address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Registry {
    fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (answer, asked) = (Arc::new(Mutex::new(answer)), Arc::new(Mutex::new(Vec::new())));
        let (answers, record) = (Arc::clone(&answer), Arc::clone(&asked));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                let line = lines.next().unwrap_or_default();
                lines.take_while(|line| !line.is_empty()).for_each(drop);
                record.lock().unwrap().push(line);
                let head = |status: &str, length: usize| {
                    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
                };
                let answer = answers.lock().unwrap().clone();
                // The other side may go away at any time.
                let _ = match answer {
                    Answer::Whole(bytes) => {
                        stream.write_all(head("200 OK", bytes.len()).as_bytes()).and_then(|()| stream.write_all(&bytes))
                    }
                    Answer::Missing => stream.write_all(head("404 Not Found", 0).as_bytes()),
                    Answer::Cut(bytes, at) => {
                        stream.write_all(head("200 OK", bytes.len()).as_bytes()).and_then(|()| stream.write_all(&bytes[..at]))
                    }
                    Answer::Hangs(bytes, at) => {
                        let sent = stream.write_all(head("200 OK", bytes.len()).as_bytes());
                        let sent = sent.and_then(|()| stream.write_all(&bytes[..at]));
                        std::thread::spawn(move || {
                            std::thread::sleep(Duration::from_secs(600));
                            drop(stream);
                        });
                        sent
                    }
                };
            }
        });
        Self { address, answer, asked }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// All files below a folder, without their contents.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().unwrap().is_dir() { found.extend(files(&entry.path())) } else { found.push(entry.path()) }
    }
    found
}

fn release(registry: &Registry) -> (TempDir, Release) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = TempDir::new().unwrap();
    let release = Release { silence: Duration::from_secs(2), ..Release::new(folder.path().to_owned(), &registry.url()) };
    (folder, release)
}

#[test]
fn what_is_fetched_is_what_the_tests_run_against() {
    let read = |path: &str| -> Value {
        serde_json::from_slice(&std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()).unwrap()
    };
    assert_eq!(read("tests/npm/package.json")["dependencies"]["workerd"], WORKERD);
    let lock = read("tests/npm/package-lock.json");
    for (package, integrity) in Release::packages() {
        let locked = &lock["packages"][format!("node_modules/{package}")];
        assert_eq!((&locked["version"], &locked["integrity"]), (&json!(WORKERD), &json!(integrity)), "{package}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_alone_is_taken_from_the_archive() {
    let registry = Registry::start(Answer::Whole(archive()));
    let (folder, release) = release(&registry);
    assert_eq!(release.installed(), None);
    let most = std::sync::atomic::AtomicU64::new(0);
    let came = |came, whole| {
        assert_eq!(whole, Some(archive_size()));
        most.fetch_max(came, std::sync::atomic::Ordering::Relaxed);
    };
    let program = release.fetch(&CancellationToken::new(), came).await.unwrap();
    assert_eq!(most.into_inner(), archive_size());
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&program), mode(program.parent().unwrap()), mode(&folder.path().join("workerd"))), (0o755, 0o700, 0o700));
    assert_eq!(files(folder.path()), [program.as_path()]);
    let version = Command::new(&program).arg("--version").output().unwrap();
    assert!(String::from_utf8_lossy(&version.stdout).starts_with("workerd 2026-11-17"), "{version:?}");
    assert_eq!(release.installed(), Some((program.clone(), true)));
    let name = if cfg!(target_arch = "aarch64") { "workerd-linux-arm64" } else { "workerd-linux-64" };
    assert_eq!(registry.asked(), [format!("GET /@cloudflare/{name}/-/{name}-{WORKERD}.tgz HTTP/1.1")]);

    // Of another release it serves until that of this one is there; and goes then.
    let other = folder.path().join("workerd/1.20250101.0");
    std::fs::rename(program.parent().unwrap(), &other).unwrap();
    assert_eq!(release.installed(), Some((other.join("workerd"), false)));
    release.fetch(&CancellationToken::new(), |_, _| {}).await.unwrap();
    assert_eq!(release.installed(), Some((program.clone(), true)));
    release.sweep();
    assert_eq!(files(folder.path()), [program.as_path()]);
    // What does not run is none.
    std::fs::write(&program, "#!/bin/false\n").unwrap();
    assert_eq!(release.installed(), None);
}

fn archive_size() -> u64 {
    cache().join("workerd.tgz").metadata().unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_the_archive_is_refused_and_leaves_nothing() {
    let archive = archive();
    let registry = Registry::start(Answer::Missing);
    let (folder, release) = release(&registry);
    let mut other = archive.to_vec();
    let middle = other.len() / 2;
    other[middle] ^= 1;
    let short: Arc<[u8]> = archive[..archive.len() - 1].into();
    type Is = fn(&FetchError) -> bool;
    let cases: [(Answer, Is); 5] = [
        (Answer::Missing, |error| matches!(error, FetchError::Status { status: 404, .. })),
        (Answer::Whole(other.into()), |error| matches!(error, FetchError::Digest(_))),
        (Answer::Whole(short), |error| matches!(error, FetchError::Digest(_))),
        (Answer::Cut(Arc::clone(&archive), 1_000_000), |error| matches!(error, FetchError::Broken { .. })),
        (Answer::Hangs(Arc::clone(&archive), 1_000_000), |error| matches!(error, FetchError::Silent { .. })),
    ];
    for (at, (answer, is)) in cases.into_iter().enumerate() {
        registry.answers(answer);
        let error = release.fetch(&CancellationToken::new(), |_, _| {}).await.unwrap_err();
        assert!(is(&error), "{at}: {error:?}");
        assert_eq!((files(folder.path()), release.installed()), (Vec::new(), None), "{at}");
    }
    for bad in ["http://registry.example.com", "ftp://127.0.0.1", "registry"] {
        let release = Release::new(folder.path().to_owned(), bad);
        let error = release.fetch(&CancellationToken::new(), |_, _| {}).await.unwrap_err();
        assert!(matches!(error, FetchError::Registry(_)), "{bad}: {error:?}");
    }
}

/// An edge as a process, by its lines.
struct Process {
    child: Child,
    http: SocketAddr,
    said: Arc<Mutex<String>>,
}

impl Process {
    fn start(data: &Path, registry: &Registry) -> Self {
        let token = data.join("token");
        std::fs::write(&token, TOKEN).unwrap();
        std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
        command.args([
            "edge",
            "--listen",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
            "--install-workerd",
            "--registry",
            &registry.url(),
        ]);
        command.arg("--data").arg(data).arg("--token-file").arg(token);
        // What is on this machine is not taken.
        command.env("TRUNKLINE_WORKERD", super::bench::workerd());
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let said = Arc::new(Mutex::new(String::new()));
        let record = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                record.lock().unwrap().push_str(&format!("{line}\n"));
            }
        });
        let mut process = Self { child, http: "127.0.0.1:1".parse().unwrap(), said };
        let line = process.wait_for("Workers    http://");
        process.http = line.trim_start_matches("Workers    http://").parse().unwrap();
        process
    }

    /// The first line with these words.
    fn wait_for(&self, words: &str) -> String {
        let begun = Instant::now();
        loop {
            let said = self.said.lock().unwrap().clone();
            if let Some(line) = said.split_inclusive('\n').find(|line| line.contains(words) && line.ends_with('\n')) {
                return line.trim_end().to_owned();
            }
            assert!(begun.elapsed() < PATIENCE, "it does not say `{words}`: {said}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn terminate(&mut self) -> Option<i32> {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_without_a_runtime_keeps_what_is_deployed_and_serves_it_once_the_runtime_came() {
    let bench = Bench::start_with(|options| (options.workerd, options.awaits_workerd) = (None, true)).await;
    bench.put("hello", "export default { fetch() { return new Response('from what was fetched'); } };", json!([])).await;
    let (status, said) = bench.get("hello.localhost", "/").await;
    assert!(status == 503 && said.contains("being fetched"), "{status} {said}");
    let Bench { edge, folder, client } = bench;
    edge.unwrap().stop().await;

    let registry = Registry::start(Answer::Missing);
    let mut process = Process::start(folder.path(), &registry);
    process.wait_for("status 404");
    let get = || async {
        let request = client.get(format!("http://{}/", process.http)).header("host", "hello.localhost");
        let response = request.send().await.ok()?;
        Some((response.status().as_u16(), response.text().await.ok()?))
    };
    assert_eq!(get().await.map(|(status, _)| status), Some(503));
    registry.answers(Answer::Whole(archive()));
    let begun = Instant::now();
    let mut last = None;
    while last.as_ref().is_none_or(|(status, _)| *status != 200) {
        assert!(begun.elapsed() < PATIENCE, "{last:?}: {}", process.said.lock().unwrap());
        tokio::time::sleep(Duration::from_millis(100)).await;
        last = get().await;
    }
    assert_eq!(last.unwrap().1, "from what was fetched");
    process.wait_for("MiB of workerd");
    assert_eq!(process.terminate(), Some(0));

    // It is there: the registry is not asked again.
    let asked = registry.asked().len();
    let mut process = Process::start(folder.path(), &registry);
    process.wait_for("runtime    workerd ");
    assert_eq!((process.terminate(), registry.asked().len()), (Some(0), asked));
}

#[test]
fn an_edge_that_is_told_to_stop_does_not_wait_for_a_registry_that_hangs() {
    let folder = TempDir::new().unwrap();
    let registry = Registry::start(Answer::Hangs(archive(), 1_000_000));
    let mut process = Process::start(folder.path(), &registry);
    let begun = Instant::now();
    while registry.asked().is_empty() {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(20));
    }
    let begun = Instant::now();
    assert_eq!(process.terminate(), Some(0));
    // That nothing comes is an error after a minute, and tried again: it did not come so far.
    let said = process.said.lock().unwrap().clone();
    assert!(begun.elapsed() < Duration::from_secs(50) && !said.contains("was not fetched"), "{said}");
}
