//! The program of a build: where it is, what it may see of the machine, and what tells one version of it from the next.
//!
//! Goes in: a request and the folders of tools. Comes out: a [`Job`].
//!
//! **Invariant:** a program is taken from the folders that the settings name, from `/usr`, or from the build's own inputs:
//! never from the daemon's `PATH`, its home or its working folder.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::inside::{OUT, WORK};
use super::{BuildError, Options};
use crate::model::{BuildRequest, Digest, Recipe, ResourceName, canonical_digest};

/// Counted up when the same request and tools are to give something else than before.
const FORMAT: u32 = 1;

const SYSTEM: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

/// What the runtime offers by itself, so that esbuild leaves it alone; as wrangler has it.
const ESBUILD: [&str; 15] = [
    "--bundle",
    "--format=esm",
    "--target=es2022",
    "--conditions=workerd,worker,browser",
    "--external:cloudflare:*",
    "--external:node:*",
    "--loader:.wasm=copy",
    "--loader:.bin=copy",
    "--loader:.txt=text",
    "--loader:.html=text",
    "--loader:.sql=text",
    "--entry-names=index",
    "--asset-names=[name]-[hash]",
    "--log-level=warning",
    "--outdir=/out",
];

/// A command with everything around it.
pub(super) struct Job {
    pub(super) shown: Vec<PathBuf>,
    pub(super) command: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) folder: PathBuf,
    pub(super) output: PathBuf,
    /// What tells the versions of the tools apart.
    tools: Vec<String>,
}

impl Job {
    /// By what a build is known again.
    pub(super) fn key(&self, request: &BuildRequest) -> Digest {
        canonical_digest(&(FORMAT, request.digest(), &self.command, &self.env, &self.tools))
    }
}

/// The job that `request` is on this machine.
pub(super) fn job(options: &Options, worker: &ResourceName, request: &BuildRequest) -> Result<Job, BuildError> {
    let mut shown: Vec<PathBuf> = Vec::new();
    for folder in &options.tools {
        let folder = folder.canonicalize().map_err(|source| {
            let source = std::io::Error::other(format!("the folder of tools {}: {source}", folder.display()));
            BuildError::System { worker: worker.clone(), source }
        })?;
        if !folder.starts_with("/usr") && !shown.contains(&folder) {
            shown.push(folder);
        }
    }
    let folder = if request.folder.is_empty() { PathBuf::from(WORK) } else { Path::new(WORK).join(&request.folder) };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let (mut command, output) = match &request.recipe {
        Recipe::Command { command, output } => (command.clone(), folder.join(output)),
        Recipe::Esbuild { entry } => ([words(&["esbuild", entry]), words(&ESBUILD)].concat(), PathBuf::from(OUT)),
        Recipe::Wrangler { config, environment } => {
            let mut command = words(&["wrangler", "deploy", "--dry-run", "--outdir", OUT, "--config", config]);
            command.extend(environment.iter().flat_map(|name| ["--env".to_owned(), name.clone()]));
            (command, PathBuf::from(OUT))
        }
    };
    let search = search(&shown);
    let mut tools: Vec<String> =
        shown.iter().filter_map(|folder| version(&folder.join("node_modules/.package-lock.json"))).collect();
    if let Some(program) = command.first_mut() {
        let missing = || BuildError::NoTool { worker: worker.clone(), program: program.clone() };
        if program.contains('/') && !program.starts_with('/') {
            *program = folder.join(&program).display().to_string();
        } else {
            let found = find(&search, &shown, program).ok_or_else(missing)?;
            identify(&found, &search, &shown, &mut tools);
            *program = found.display().to_string();
        }
    }
    Ok(Job { env: env(&shown, &search, request), shown, command, folder, output, tools })
}

/// The folders in which programs are looked for.
fn search(shown: &[PathBuf]) -> Vec<PathBuf> {
    // The package of esbuild has its program in another one for each platform; the script before it needs node.
    let platform = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let esbuild = format!("node_modules/@esbuild/linux-{platform}/bin");
    let of_tools =
        shown.iter().flat_map(|folder| [esbuild.as_str(), "node_modules/.bin", "bin", ""].map(|below| folder.join(below)));
    of_tools.filter(|folder| folder.is_dir()).chain(SYSTEM.map(PathBuf::from)).collect()
}

/// A program that a build can see.
fn find(search: &[PathBuf], shown: &[PathBuf], program: &str) -> Option<PathBuf> {
    let seen = |path: &PathBuf| {
        let Ok(real) = path.canonicalize() else { return false };
        real.is_file() && (real.starts_with("/usr") || shown.iter().any(|folder| real.starts_with(folder)))
    };
    if program.starts_with('/') {
        return Some(PathBuf::from(program)).filter(seen);
    }
    search.iter().map(|folder| folder.join(program)).find(seen)
}

fn env(shown: &[PathBuf], search: &[PathBuf], request: &BuildRequest) -> BTreeMap<String, String> {
    let joined = |folders: &[PathBuf]| folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(":");
    let packages: Vec<PathBuf> =
        shown.iter().map(|folder| folder.join("node_modules")).filter(|folder| folder.is_dir()).collect();
    let mut env: BTreeMap<String, String> = [
        ("PATH", joined(search).as_str()),
        ("NODE_PATH", &joined(&packages)),
        ("HOME", "/tmp"),
        ("TMPDIR", "/tmp"),
        ("LANG", "C.UTF-8"),
        ("TZ", "UTC"),
        ("CI", "1"),
        ("NO_COLOR", "1"),
        // The same inputs give the same bytes, on whatever day.
        ("SOURCE_DATE_EPOCH", "315532800"),
        ("WRANGLER_SEND_METRICS", "false"),
        ("npm_config_update_notifier", "false"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    env.extend(request.env.clone());
    env
}

/// The program, the package that it belongs to, and what runs it where it is a script.
fn identify(program: &Path, search: &[PathBuf], shown: &[PathBuf], tools: &mut Vec<String>) {
    let Ok(real) = program.canonicalize() else { return };
    tools.extend(version(&real));
    if real.components().any(|part| part.as_os_str() == "node_modules") {
        let package = real.ancestors().skip(1).take(4).map(|folder| folder.join("package.json")).find(|path| path.is_file());
        tools.extend(package.and_then(|path| fs::read(path).ok()).map(|bytes| Digest::of(&bytes).to_string()));
    }
    let mut first = Vec::new();
    let read = fs::File::open(&real).and_then(|file| file.take(256).read_to_end(&mut first));
    let Some(line) = read.ok().and_then(|_| first.strip_prefix(b"#!")?.split(|b| *b == b'\n').next()) else { return };
    let line = String::from_utf8_lossy(line);
    // `#!/usr/bin/env node`, or the interpreter itself.
    let mut words = line.split_ascii_whitespace();
    let interpreter = words.next().filter(|first| !first.ends_with("/env")).or_else(|| words.find(|word| !word.starts_with('-')));
    tools.extend(interpreter.and_then(|name| find(search, shown, name)).and_then(|path| version(&path)));
}

/// What changes when a file is replaced, without reading it.
fn version(path: &Path) -> Option<String> {
    let path = path.canonicalize().ok()?;
    let there = fs::metadata(&path).ok()?;
    Some(format!("{} {} {} {}.{}", path.display(), there.ino(), there.size(), there.ctime(), there.ctime_nsec()))
}
