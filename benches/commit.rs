//! From a commit to the answering Worker, on loopback: `cargo bench --bench commit [-- RUNS]` (30 runs without an argument).
//!
//! Everything is as a team would run it, on one machine: a bare repository that is pushed to, the daemon and two edges as
//! processes of their own, built for release, and the real workerd. The clock starts before `git push` and stops when the
//! Worker answers the new value over HTTP; what the push itself takes is printed beside it.
//!
//! The mark is a median of 250 ms, for one environment with one Worker. The example is measured as well: there one line of a
//! base changes two environments, each with its rules, secrets and several targets.

mod stage;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use stage::Outcome;
use stage::figures::{median, show, spread};
use stage::programs::{Daemon, EdgeProcess, Running, answer, start_edge, workerd, write_example};
use stage::repository::Repository;

/// The mark, in milliseconds.
const MARK: f64 = 250.0;

fn main() -> Outcome<()> {
    let runs = std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(30);
    let workerd = workerd()?;
    let folder = tempfile::tempdir()?;
    let edges =
        [start_edge(&folder.path().join("account"), Some(&workerd))?, start_edge(&folder.path().join("edge"), Some(&workerd))?];
    let one = Scene::one_worker(&folder.path().join("one"), &edges[1])?.measure(runs, "one environment, one Worker")?;
    Scene::example(&folder.path().join("example"), &edges)?.measure(runs, "the example: both environments change")?;
    let verdict = if one <= MARK { "reached" } else { "missed" };
    show(&format!("the mark of {MARK} ms is {verdict}: {one:.1} ms from the push to the answer, {runs} runs"));
    Ok(())
}

/// A repository that is followed, and a Worker that shows what was committed.
struct Scene {
    repository: Repository,
    daemon: Daemon,
    _running: Running,
    environments: usize,
    /// Where the text stands, what it is now, and which host answers with it.
    file: &'static str,
    text: String,
    host: &'static str,
    http: SocketAddr,
}

impl Scene {
    fn one_worker(folder: &std::path::Path, edge: &EdgeProcess) -> Outcome<Self> {
        std::fs::create_dir_all(folder)?;
        let repository = Repository::make(folder)?;
        let daemon = Daemon::new(&folder.join("daemon"), &repository)?;
        let target = format!(
            "[cloudflare.loopback]\nendpoint = \"{}\"\naccount_id = \"{}\"\napi_token = {{ credential = \"cloudflare-token\" }}\n",
            edge.endpoint,
            "0123456789abcdef".repeat(2)
        );
        let worker = "[worker.greeter]\nmain = \"workers/greeter.js\"\ncompatibility_date = \"2026-11-01\"\n\
                      routes = [{ pattern = \"greeter.example.com/*\", zone_name = \"example.com\" }]\n";
        repository.write("trunkline.toml", "format = 1\n")?;
        repository.write("environments/production.toml", &format!("{target}{worker}"))?;
        let text = "value-0".to_owned();
        let source = format!("export default {{ fetch: () => new Response(\"{text}\") }};\n");
        repository.write("workers/greeter.js", &source)?;
        let (file, host) = ("workers/greeter.js", "greeter.example.com");
        Self::begin(repository, daemon, 1, (file, text, host, edge.http))
    }

    fn example(folder: &std::path::Path, edges: &[EdgeProcess; 2]) -> Outcome<Self> {
        let host = folder.join("host");
        std::fs::create_dir_all(&host)?;
        let repository = Repository::make(folder)?;
        let daemon = Daemon::new(&folder.join("daemon"), &repository)?;
        write_example(&repository, &daemon, (&edges[0], &edges[1]), &host)?;
        let (file, text, host) = ("bases/ads/workers.toml", "Summer sale: 20% off".to_owned(), "ads-api.example.com");
        Self::begin(repository, daemon, 2, (file, text, host, edges[0].http))
    }

    fn begin(
        repository: Repository,
        daemon: Daemon,
        environments: usize,
        (file, text, host, http): (&'static str, String, &'static str, SocketAddr),
    ) -> Outcome<Self> {
        repository.commit("begin")?;
        repository.push()?;
        let running = daemon.start()?;
        daemon.settled(&repository, environments)?;
        Ok(Self { repository, daemon, _running: running, environments, file, text, host, http })
    }

    /// Prints the figures; the median in milliseconds.
    fn measure(mut self, runs: usize, what: &str) -> Outcome<f64> {
        let (mut whole, mut pushes) = (Vec::new(), Vec::new());
        for run in 1..=runs {
            let next = format!("value-{run}");
            let before = std::fs::read_to_string(self.repository.clone.join(self.file))?;
            self.repository.write(self.file, &before.replace(&self.text, &next))?;
            self.repository.commit(&next)?;
            // The record of the commit before is pushed by now; what that woke has gone by after this.
            std::thread::sleep(Duration::from_millis(400));
            let begun = Instant::now();
            self.repository.push()?;
            pushes.push(begun.elapsed());
            while !answer(self.http, self.host)?.contains(&next) {
                if begun.elapsed() > Duration::from_secs(30) {
                    return Err(format!("{} does not answer {next:?} within half a minute", self.host).into());
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            whole.push(begun.elapsed());
            self.text = next;
            self.daemon.settled(&self.repository, self.environments)?;
        }
        show(what);
        show(&format!("  from the push to the answer   {}", spread(&whole)));
        show(&format!("  of which git push             {}", spread(&pushes)));
        Ok(median(&whole))
    }
}
