//! Where a secret could end up: everything that is written, printed, or shown of a process, as bytes to be searched.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

/// A sort of sink; the control leaks one secret into each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// What a verb printed on standard output.
    Stdout,
    /// What a verb printed on standard error, its log at trace level with it.
    Stderr,
    /// The log of the daemon or the edge, at trace level.
    Log,
    /// The daemon's SQLite file.
    Store,
    /// Its write-ahead log and index.
    Wal,
    /// An object of a Git repository, inflated.
    GitObject,
    /// Any other file of a repository: refs, packs, configuration.
    GitFile,
    /// A file of the data folder that is none of the above.
    Data,
    /// A file of the clone in which the definitions are written.
    Clone,
    /// A file of the edge's data folder.
    Edge,
    /// A file that is managed on the host, or one that it replaced: they hold secrets, that is what they are for.
    HostFile,
    /// What the executor knows of the host.
    HostState,
    /// The arguments of a process, sampled.
    Arguments,
    /// The environment of a process, sampled.
    Environment,
    /// The arguments and environment of each git process.
    Git,
    /// A file among the temporary files, sampled.
    Temporary,
    /// A notification or an answer by socket, or anything else in the installation's folder.
    Other,
}

/// Bytes, and where they come from.
pub(super) struct Sink {
    pub(super) kind: Kind,
    pub(super) place: String,
    pub(super) bytes: Vec<u8>,
}

/// The sink of one file, read.
fn file(kind: Kind, path: &Path) -> Option<Sink> {
    let bytes = std::fs::read(path).ok()?;
    // The name of a file is seen by more people than its content.
    let place = path.display().to_string();
    let bytes = [place.as_bytes(), b"\n", &bytes].concat();
    Some(Sink { kind, place, bytes })
}

/// Every file beneath `folder`, by what `kind` says of its path; `None` leaves it out.
pub(super) fn folder(folder: &Path, kind: &dyn Fn(&Path) -> Option<Kind>) -> Vec<Sink> {
    let mut sinks = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(found) if found.is_dir() => folders.push(path),
                Ok(found) if found.is_file() => sinks.extend(kind(&path).and_then(|kind| file(kind, &path))),
                _ => {}
            }
        }
    }
    sinks
}

/// Every object of the repository, packed or loose, reachable or not, inflated.
pub(super) fn objects(repository: &Path) -> Sink {
    let arguments = ["cat-file", "--batch-all-objects", "--unordered", "--batch"];
    let output = Command::new("git").arg("--git-dir").arg(repository).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}: {}", repository.display(), String::from_utf8_lossy(&output.stderr));
    assert!(!output.stdout.is_empty(), "{} has no objects", repository.display());
    Sink { kind: Kind::GitObject, place: repository.display().to_string(), bytes: output.stdout }
}

/// Looks at every process and at the temporary files, again and again, until it is stopped.
pub(super) struct Sampler {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<BTreeMap<(Kind, Vec<u8>), String>>>,
    thread: JoinHandle<()>,
}

impl Sampler {
    /// `temporary` is where our processes are told to put temporary files; `/tmp` itself and `/dev/shm` are looked at too.
    pub(super) fn start(temporary: PathBuf) -> Self {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let begun = SystemTime::now();
        let thread = std::thread::spawn({
            let (stop, seen) = (Arc::clone(&stop), Arc::clone(&seen));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    processes(&seen);
                    for sink in folder(&temporary, &|_| Some(Kind::Temporary)) {
                        seen.lock().unwrap().insert((Kind::Temporary, sink.bytes), sink.place);
                    }
                    for shared in ["/tmp", "/dev/shm", "/var/tmp"] {
                        shared_files(Path::new(shared), begun, &seen);
                    }
                    std::thread::sleep(Duration::from_millis(15));
                }
            }
        });
        Self { stop, seen, thread }
    }

    /// What was seen.
    pub(super) fn stop(self) -> Vec<Sink> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        seen.into_iter().map(|((kind, bytes), place)| Sink { kind, place, bytes }).collect()
    }
}

type Seen = Mutex<BTreeMap<(Kind, Vec<u8>), String>>;

fn processes(seen: &Seen) {
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let path = entry.path();
        if !entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        for (name, kind) in [("cmdline", Kind::Arguments), ("environ", Kind::Environment)] {
            if let Ok(bytes) = std::fs::read(path.join(name)) {
                seen.lock().unwrap().entry((kind, bytes)).or_insert_with(|| path.display().to_string());
            }
        }
    }
}

/// Files that came after `begun`, of the folder itself and of no folder in it: those have owners of their own.
fn shared_files(folder: &Path, begun: SystemTime, seen: &Seen) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(data) = entry.metadata() else { continue };
        if data.is_file()
            && data.len() < 1 << 20
            && data.modified().is_ok_and(|at| at >= begun)
            && let Some(sink) = file(Kind::Temporary, &entry.path())
        {
            seen.lock().unwrap().entry((Kind::Temporary, sink.bytes)).or_insert(sink.place);
        }
    }
}

#[test]
fn short_lived_processes_and_files_are_seen() {
    let folder = tempfile::tempdir().unwrap();
    let (argument, variable, content) = (super::search::random(20), super::search::random(20), super::search::random(20));
    let sampler = Sampler::start(folder.path().to_owned());
    let path = folder.path().join("scratch");
    std::fs::write(&path, &content).unwrap();
    let mut child = Command::new("sh").args(["-c", "sleep 1", &argument]).env("CONTROL", &variable).spawn().unwrap();
    child.wait().unwrap();
    std::fs::remove_file(&path).unwrap();
    let sinks = sampler.stop();
    for (kind, control) in [(Kind::Arguments, argument), (Kind::Environment, variable), (Kind::Temporary, content)] {
        let mut needles = super::search::Needles::default();
        needles.plant("control", control.as_bytes());
        assert!(sinks.iter().any(|sink| sink.kind == kind && !needles.search(&sink.bytes).is_empty()), "{kind:?}");
    }
}

/// Which sink a file of the data folder is.
pub(super) fn data(path: &Path) -> Option<Kind> {
    let text = path.to_str().unwrap();
    Some(match () {
        () if text.ends_with("-wal") || text.ends_with("-shm") => Kind::Wal,
        () if text.contains(".git/") => Kind::GitFile,
        () if text.ends_with("store.sqlite3") => Kind::Store,
        () => Kind::Data,
    })
}
