//! What a fleet of Workers costs, beside what others take for it: `cargo bench --bench platform [-- WORKERS [OF WRANGLER]]`
//! (50 without an argument).
//!
//! The same Workers, first deployed, then with nothing new, then with a var of one changed, against the REST API of an edge
//! that is a process of its own, through a proxy that counts the calls and adds 50 ms to every answer. The edge is started
//! without workerd: it stores what is deployed and does not run it, since the time in which a runtime starts is the
//! edge's, and no client's. Every client has the machine for itself.
//!
//! - trunkline: what the daemon does when it is woken: fetch from a repository on disk, one pass, the store on disk. `next
//!   look` is the pass that is due although nothing was committed, with its turn of what no list shows.
//! - wrangler 4.86 (of `tests/.cache`, which `tests/run` installs): a folder for each Worker, `wrangler deploy` one after the
//!   other, as people and pipelines do it; after the change, the changed folder alone. What it takes grows with the number of
//!   Workers, so that a smaller one can be named for it, and is said.
//! - alchemy (npm, installed into `tests/.cache` when it is missing): one program with all Workers, run anew.
//!
//! At last the calls for 10, 100 and 1,000 Workers with nothing new, which must be the same but for the pages of a list: the
//! command fails where they are not.

#[path = "../tests/it/proxy.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod proxy;
mod stage;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use http::Method;
use proxy::{Fault, Proxy};
use stage::Outcome;
use stage::figures::show;
use stage::programs::{EdgeProcess, TOKEN, start_edge};
use stage::repository::Repository;
use stage::sized;
use trunkline::reconcile::Context;

/// What is added to every answer.
const LATENCY: Duration = Duration::from_millis(50);
/// The marks of 50 Workers, in seconds: a first deploy and a look without news.
const MARKS: (f64, f64) = (0.6, 0.2);
/// What a pass that changes nothing may read without a zone, further pages aside.
const MOST: usize = 12;
const ALCHEMY: &str = "alchemy@0.94.0";
const ACCOUNT: &str = "0123456789abcdef0123456789abcdef";
const SIZES: [usize; 3] = [10, 100, 1_000];

/// What one step cost.
#[derive(Debug, Clone, Copy)]
struct Cost {
    calls: usize,
    took: f64,
}

/// First deploy, nothing new, one change.
type Costs = [Cost; 3];

fn main() -> Outcome<()> {
    let mut numbers = std::env::args().filter_map(|word| word.parse().ok());
    let workers = numbers.next().unwrap_or(50);
    let of_wrangler = numbers.next().unwrap_or(workers);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        show(&format!("{workers} Workers, {} ms added to every answer; an edge without workerd", LATENCY.as_millis()));
        show("                                 first deploy          nothing new         one change");
        let ours = ours(workers).await?;
        line("trunkline", &ours, None);
        for (name, costs) in [
            (format!("wrangler, {of_wrangler} Workers"), wrangler(of_wrangler).await),
            ("alchemy".to_owned(), alchemy(workers).await),
        ] {
            match costs {
                Ok(costs) => line(&name, &costs, Some(&ours)),
                Err(reason) => show(&format!("{name:<24} not measured: {reason}")),
            }
        }
        let reached = |mark: f64, took: f64| if took <= mark { "reached" } else { "missed" };
        show(&format!(
            "the marks of 50 Workers: first deploy under {} s {}, nothing new under {} s {}",
            MARKS.0,
            reached(MARKS.0, ours[0].took),
            MARKS.1,
            reached(MARKS.1, ours[1].took)
        ));
        counts().await
    })
}

fn line(name: &str, costs: &Costs, ours: Option<&Costs>) {
    let cell = |at: usize| {
        let Cost { calls, took } = costs[at];
        let ratio = ours.map(|ours| format!("x{:.0}", took / ours[at].took)).unwrap_or_default();
        format!("{calls:>5} calls {took:>7.3} s {ratio:<5}")
    };
    show(&format!("{name:<24} {} {} {}", cell(0), cell(1), cell(2)));
}

/// An account of its own, behind a proxy.
struct Platform {
    folder: tempfile::TempDir,
    _edge: EdgeProcess,
    proxy: Proxy,
}

impl Platform {
    async fn start(latency: Duration) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let edge = start_edge(&folder.path().join("edge"), None)?;
        let address = edge.endpoint.trim_start_matches("http://").split('/').next().unwrap_or_default().parse()?;
        let proxy = Proxy::start(address).await;
        let platform = Self { folder, _edge: edge, proxy };
        platform.slow(latency);
        Ok(platform)
    }

    fn slow(&self, latency: Duration) {
        self.proxy.reset();
        if !latency.is_zero() {
            for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                self.proxy.inject(method, "", usize::MAX, Fault::Delay(latency));
            }
        }
    }

    fn endpoint(&self) -> String {
        format!("http://{}/client/v4", self.proxy.address)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// The calls and the time that `work` takes.
    async fn cost(&self, work: impl AsyncFnOnce() -> Outcome<()>) -> Outcome<Cost> {
        let (before, begun) = (self.proxy.calls().len(), Instant::now());
        work().await?;
        let took = begun.elapsed().as_secs_f64();
        Ok(Cost { calls: self.proxy.calls().len() - before, took })
    }
}

fn source(at: usize) -> String {
    format!("export default {{ fetch: (_, env) => new Response(\"{at} \" + env.LEVEL) }};\n")
}

/// Our own repository with so many Workers, and what follows it.
fn followed(platform: &Platform, workers: usize) -> Outcome<(Repository, Context)> {
    let repository = Repository::make(platform.folder.path())?;
    let target = format!(
        "[environment.sync]\ninterval = \"1h\"\n\n[cloudflare.loopback]\nendpoint = \"{}\"\naccount_id = \"{ACCOUNT}\"\napi_token = {{ credential = \"cloudflare-token\" }}\n",
        platform.endpoint()
    );
    repository.write("trunkline.toml", "format = 1\n")?;
    repository.write("environments/production/targets.toml", &target)?;
    for at in 0..workers {
        repository.write(&format!("workers/w{at}.js"), &source(at))?;
        let worker = format!(
            "[worker.w{at}]\nmain = \"workers/w{at}.js\"\ncompatibility_date = \"2026-11-01\"\nvars = {{ LEVEL = \"info\" }}\n"
        );
        repository.write(&format!("environments/production/w{at}.toml"), &worker)?;
    }
    push(&repository, "begin")?;
    let context = sized::context(platform.folder.path(), &repository)?;
    Ok((repository, context))
}

fn push(repository: &Repository, message: &str) -> Outcome<()> {
    repository.commit(message)?;
    repository.push()
}

fn edit(repository: &Repository, worker: usize, from: &str, to: &str) -> Outcome<()> {
    let path = format!("environments/production/w{worker}.toml");
    let text = std::fs::read_to_string(repository.clone.join(&path))?;
    repository.write(&path, &text.replacen(from, to, 1))?;
    push(repository, to)
}

async fn look(platform: &Platform, context: &Context) -> Outcome<Cost> {
    platform.cost(async || sized::look(context).await.map(drop)).await
}

/// What the daemon takes.
async fn ours(workers: usize) -> Outcome<Costs> {
    let platform = Platform::start(LATENCY).await?;
    let (repository, context) = followed(&platform, workers)?;
    let first = look(&platform, &context).await?;
    edit(&repository, 0, "[worker", "# Nothing new.\n[worker")?;
    let nothing = look(&platform, &context).await?;
    edit(&repository, workers / 2, "info", "debug")?;
    let change = look(&platform, &context).await?;
    due(&context)?;
    let turn = look(&platform, &context).await?;
    show(&format!("{:<24} {:>28} calls {:>7.3} s", "trunkline, next look", turn.calls, turn.took));
    Ok([first, nothing, change])
}

/// Lets a look be due.
fn due(context: &Context) -> Outcome<()> {
    for mut record in context.store.environments()? {
        record.observed_at = record.observed_at.map(|at| at - Duration::from_secs(7_200));
        context.store.put_environment(&record)?;
    }
    Ok(())
}

/// A program of npm, for this account, with nothing of the machine's own configuration.
fn node(platform: &Platform, folder: &Path, program: &Path, arguments: &[&str]) -> Outcome<()> {
    let mut command = Command::new("node");
    command.arg(program).args(arguments).current_dir(folder).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", platform.folder.path());
    command.env("CLOUDFLARE_API_BASE_URL", platform.endpoint()).env("CLOUDFLARE_BASE_URL", platform.endpoint());
    command.env("CLOUDFLARE_API_TOKEN", TOKEN).env("CLOUDFLARE_ACCOUNT_ID", ACCOUNT);
    command.env("WRANGLER_SEND_METRICS", "false").env("ALCHEMY_TELEMETRY_DISABLED", "1").env("DO_NOT_TRACK", "1");
    if program.ends_with("wrangler.js") {
        command.env("CI", "1");
    }
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| line.to_lowercase().contains("error")).take(3).collect();
    Err(lines.join("; ").into())
}

fn cache() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.cache")
}

async fn wrangler(workers: usize) -> Outcome<Costs> {
    let program = cache().join("npm/node_modules/wrangler/bin/wrangler.js");
    if !program.exists() {
        return Err("run tests/run once, which installs it".into());
    }
    let platform = Platform::start(LATENCY).await?;
    let write = |at: usize, level: &str| -> Outcome<PathBuf> {
        let folder = platform.path(&format!("w{at}"));
        std::fs::create_dir_all(&folder)?;
        let settings = format!(
            "name = \"w{at}\"\nmain = \"index.js\"\ncompatibility_date = \"2026-11-01\"\nworkers_dev = false\n[vars]\nLEVEL = \"{level}\"\n"
        );
        std::fs::write(folder.join("wrangler.toml"), settings)?;
        std::fs::write(folder.join("index.js"), source(at))?;
        Ok(folder)
    };
    let folders = (0..workers).map(|at| write(at, "info")).collect::<Outcome<Vec<_>>>()?;
    let all = async || folders.iter().try_for_each(|folder| node(&platform, folder, &program, &["deploy"]));
    let first = platform.cost(&all).await?;
    let nothing = platform.cost(&all).await?;
    let changed = write(workers / 2, "debug")?;
    let change = platform.cost(async || node(&platform, &changed, &program, &["deploy"])).await?;
    Ok([first, nothing, change])
}

async fn alchemy(workers: usize) -> Outcome<Costs> {
    let tools = cache().join("alchemy");
    if !tools.join("node_modules/alchemy").exists() {
        std::fs::create_dir_all(&tools)?;
        std::fs::write(tools.join("package.json"), "{\"private\":true}\n")?;
        let quiet = ["install", "--no-audit", "--no-fund", "--ignore-scripts", ALCHEMY];
        let installed = Command::new("npm").args(quiet).current_dir(&tools).stdin(Stdio::null()).output()?;
        if !installed.status.success() {
            return Err(format!("npm install {ALCHEMY} failed").into());
        }
    }
    let platform = Platform::start(LATENCY).await?;
    let folder = platform.path("alchemy");
    std::fs::create_dir_all(&folder)?;
    std::os::unix::fs::symlink(tools.join("node_modules"), folder.join("node_modules"))?;
    let write = |changed: Option<usize>| -> Outcome<PathBuf> {
        let workers: Vec<serde_json::Value> = (0..workers)
            .map(|at| {
                let level = if changed == Some(at) { "debug" } else { "info" };
                serde_json::json!({
                    "name": format!("w{at}"), "script": source(at), "format": "esm", "compatibilityDate": "2026-11-01",
                    "url": false, "adopt": true, "bindings": { "LEVEL": level },
                })
            })
            .collect();
        let program = format!(
            "import alchemy from \"alchemy\";\nimport {{ Worker }} from \"alchemy/cloudflare\";\n\
             const app = await alchemy(\"bench\", {{ stage: \"bench\", password: \"bench\", quiet: true, noTrack: true }});\n\
             await Promise.all({}.map((worker) => Worker(worker.name, worker)));\nawait app.finalize();\n",
            serde_json::to_string(&workers)?
        );
        let path = folder.join("alchemy.run.mjs");
        std::fs::write(&path, program)?;
        Ok(path)
    };
    let program = write(None)?;
    let first = platform.cost(async || node(&platform, &folder, &program, &[])).await?;
    let nothing = platform.cost(async || node(&platform, &folder, &program, &[])).await?;
    let program = write(Some(workers / 2))?;
    let change = platform.cost(async || node(&platform, &folder, &program, &[])).await?;
    Ok([first, nothing, change])
}

/// What a look without news costs, by the number of Workers.
async fn counts() -> Outcome<()> {
    show("");
    show("Workers   first deploy   nothing new   of these further pages   one change: writes");
    let mut flat = Vec::new();
    for size in SIZES {
        let platform = Platform::start(Duration::ZERO).await?;
        let (repository, context) = followed(&platform, size)?;
        let first = look(&platform, &context).await?;
        edit(&repository, 0, "[worker", "# Nothing new.\n[worker")?;
        let nothing = look(&platform, &context).await?;
        platform.slow(Duration::ZERO);
        edit(&repository, size / 2, "info", "debug")?;
        look(&platform, &context).await?;
        let pages = size.div_ceil(100) - 1;
        let writes = platform.proxy.writes().len();
        show(&format!("{size:>7} {:>14} {:>13} {pages:>24} {writes:>20}", first.calls, nothing.calls));
        flat.push((nothing.calls - pages, writes));
    }
    let (first, writes) = flat[0];
    if first > MOST || writes != 2 || flat.iter().any(|of_size| *of_size != flat[0]) {
        return Err("the calls grow with the number of Workers".into());
    }
    Ok(())
}
