//! What a commit costs in Git objects read, files parsed and calls of the API, by the size of the repository: `cargo bench
//! --bench counts`, or `cargo bench --bench counts -- calls` for the calls alone.
//!
//! Two repositories of 10, 100 and 1,000: so many definition files in one environment, and so many environments of one file
//! each. For each commit the daemon does what it does when it is woken (fetch, a pass for every environment), and these are
//! counted: objects read from Git, files parsed, files of any sort read, whether the store was written to. Looked up is how often a
//! path was sought among the entries of trees that are in memory already: what an environment read before is compared with the
//! new commit, place by place; that grows with the repository and reads nothing.
//!
//! Objects and parses must not grow with the size; an unchanged commit must parse and write nothing. The command fails if they do.
//!
//! Then an account of 10, 100 and 1,000 Workers with some of every other kind in two zones, on an edge that stores them and runs
//! none: what a pass that changes nothing reads, which is bounded and the same but for further pages of a list; what one that
//! is due reads more, with its turn of what no list shows; and what a changed var writes.

#[path = "../tests/it/counts/everything.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod everything;
#[path = "../tests/it/proxy.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod proxy;
mod stage;

use std::path::Path;
use std::time::Instant;

use proxy::Proxy;
use stage::Outcome;
use stage::figures::show;
use stage::programs::{Daemon, TOKEN, seal, start_edge};
use stage::repository::Repository;
use stage::sized;
use trunkline::reconcile::Context;

const SIZES: [usize; 3] = [10, 100, 1_000];

/// What one look cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Count {
    objects: u64,
    parsed: u64,
    read: u64,
    written: bool,
}

/// What is committed, and what may depend on the size of the repository then: nothing.
struct Step {
    what: &'static str,
    path: &'static str,
    find: &'static str,
    replace: &'static str,
}

fn main() -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut faults = if std::env::args().any(|word| word == "calls") { Vec::new() } else { sizes(&runtime)? };
    faults.extend(runtime.block_on(calls())?);
    if faults.is_empty() { Ok(()) } else { Err(faults.join("; ").into()) }
}

/// What grows with the size of the repository and should not.
fn sizes(runtime: &tokio::runtime::Runtime) -> Outcome<Vec<String>> {
    let one_environment = [
        Step {
            what: "one definition file",
            path: "environments/production/r0007.toml",
            find: "content of",
            replace: "contents of",
        },
        Step { what: "one source file", path: "files/r0001/data.txt", find: "data", replace: "new data" },
        Step { what: "a comment", path: "environments/production/r0007.toml", find: "[file", replace: "# a comment\n[file" },
    ];
    let many_environments = [
        Step { what: "one definition file", path: "environments/e0003.toml", find: "begin", replace: "changed" },
        Step { what: "a comment", path: "environments/e0003.toml", find: "[file", replace: "# a comment\n[file" },
    ];
    show("                                              objects  files   files   store               ");
    show("                                        size     read parsed    read written  looked up        ms");
    let mut faults = Vec::new();
    for (title, steps) in [("one environment", &one_environment[..]), ("many environments", &many_environments[..])] {
        let mut counts: Vec<Vec<(&str, Count)>> = Vec::new();
        for size in SIZES {
            let folder = tempfile::tempdir()?;
            let host = folder.path().join("host");
            std::fs::create_dir_all(&host)?;
            let repository = Repository::make(folder.path())?;
            match title {
                "one environment" => sized::one_environment(&repository, &host, size, None)?,
                _ => sized::many_environments(&repository, &host, size)?,
            }
            counts.push(runtime.block_on(measure((folder.path(), &repository), (title, size), steps))?);
        }
        for (at, (what, first)) in counts[0].iter().enumerate() {
            if counts.iter().any(|of_size| of_size[at].1 != *first) {
                faults.push(format!("{title}, {what}: the counts grow with the size"));
            }
            if *what == "unchanged" && (first.parsed > 0 || first.written) {
                faults.push(format!("{title}: an unchanged commit is parsed, or written of"));
            }
        }
    }
    Ok(faults)
}

async fn measure(
    (folder, repository): (&Path, &Repository),
    (title, size): (&str, usize),
    steps: &[Step],
) -> Outcome<Vec<(&'static str, Count)>> {
    repository.commit("begin")?;
    repository.push()?;
    let context = sized::context(folder, repository)?;
    let witness = Witness::new(folder)?;
    // The first look reads everything, which is no surprise.
    sized::look(&context).await?;
    let mut counts = Vec::new();
    let mut count = async |what: &'static str| -> Outcome<()> {
        let (before, begun) = (tally(&context), Instant::now());
        let version = witness.version()?;
        sized::look(&context).await?;
        let (took, after) = (begun.elapsed(), tally(&context));
        let count = Count {
            objects: after.0 - before.0,
            parsed: after.1 - before.1,
            read: after.2 - before.2,
            written: witness.version()? != version,
        };
        show(&format!(
            "{:<38} {size:>6} {:>8} {:>6} {:>7} {:>7} {:>10} {:>9.1}",
            format!("{title}: {what}"),
            count.objects,
            count.parsed,
            count.read,
            if count.written { "yes" } else { "no" },
            looked_up(&context)?,
            took.as_secs_f64() * 1e3
        ));
        counts.push((what, count));
        Ok(())
    };
    count("unchanged").await?;
    for step in steps {
        let text = std::fs::read_to_string(repository.clone.join(step.path))?;
        repository.write(step.path, &text.replacen(step.find, step.replace, 1))?;
        repository.commit(step.what)?;
        repository.push()?;
        count(step.what).await?;
    }
    repository.write("README.md", "Nothing that an environment reads.\n")?;
    repository.commit("elsewhere")?;
    repository.push()?;
    count("nothing that is read").await?;
    Ok(counts)
}

/// The calls of passes by the number of Workers; what is wrong with them.
async fn calls() -> Outcome<Vec<String>> {
    show("");
    show(
        "Workers   first pass: calls      ms   nothing new: reads      ms   of these further pages   a look that is due   one var: writes",
    );
    let (mut faults, mut flat) = (Vec::new(), Vec::new());
    for size in SIZES {
        let folder = tempfile::tempdir()?;
        let edge = start_edge(&folder.path().join("edge"), None)?;
        let address = edge.endpoint.trim_start_matches("http://").split('/').next().unwrap_or_default().parse()?;
        let proxy = Proxy::start(address).await;
        let repository = Repository::make(folder.path())?;
        let what = ("1h", everything::EVERY);
        for (path, text) in everything::files(&format!("http://{}/client/v4", proxy.address), size, what) {
            repository.write(path, &text)?;
        }
        let daemon = Daemon::new(folder.path(), &repository)?;
        for secret in [("edge-token", TOKEN)].into_iter().chain(everything::SECRETS) {
            seal(&repository, &daemon, "production", secret)?;
        }
        let context = sized::context_of(folder.path(), &repository, Some(daemon.identity()))?;
        let look = async |from: &str, to: &str| -> Outcome<(usize, usize, f64)> {
            let text = std::fs::read_to_string(repository.clone.join(everything::FILE))?;
            repository.write(everything::FILE, &text.replacen(from, to, 1))?;
            repository.commit(to)?;
            repository.push()?;
            proxy.reset();
            let begun = Instant::now();
            sized::look(&context).await?;
            let took = begun.elapsed().as_secs_f64() * 1e3;
            let (all, writes) = (proxy.calls().len(), proxy.writes().len());
            Ok((all - writes, writes, took))
        };
        let first = look("[environment]", "[environment]\n# The first revision.").await?;
        let nothing = look("[kv.a]", "# Nothing new.\n[kv.a]").await?;
        for mut record in context.store.environments()? {
            record.observed_at = record.observed_at.map(|at| at - std::time::Duration::from_secs(7_200));
            context.store.put_environment(&record)?;
        }
        // Due, and nothing new: what has its turn are cache rules and databases, which come first, or Workers.
        let due = look("[kv.b]", "# Nothing new here either.\n[kv.b]").await?;
        let one = look("\"at 7\"", "\"at last\"").await?;
        let pages = (size + everything::FURTHER).div_ceil(100) - 1;
        show(&format!(
            "{size:>7} {:>19} {:>7.0} {:>20} {:>7.0} {pages:>24} {:>20} {:>17}",
            first.0 + first.1,
            first.2,
            nothing.0,
            nothing.2,
            due.0 + due.1,
            one.1
        ));
        if nothing.0 > everything::MOST + pages || nothing.1 > 0 {
            faults.push(format!("{size} Workers: {} reads and {} writes with nothing new", nothing.0, nothing.1));
        }
        if one.1 != 2 {
            faults.push(format!("{size} Workers: a var costs {} writes", one.1));
        }
        flat.push((nothing.0 - pages, due.0 + due.1 - pages));
    }
    if flat.iter().any(|of_size| *of_size != flat[0]) {
        faults.push("the calls grow with the number of Workers".to_owned());
    }
    Ok(faults)
}

/// Objects read, files parsed, files read, ever.
fn tally(context: &Context) -> (u64, u64, u64) {
    let source = context.source.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let cache = context.cache.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    (source.objects_read(), cache.parsed(), cache.read())
}

/// The places that the environments read: each is compared at a new commit.
fn looked_up(context: &Context) -> Outcome<usize> {
    let inputs = context.store.environments()?.into_iter().filter_map(|record| record.inputs);
    Ok(inputs.map(|inputs| inputs.entries.len() + inputs.listings.len()).sum())
}

/// A second connection to the store: SQLite tells it whether anybody else has written.
struct Witness(rusqlite::Connection);

impl Witness {
    fn new(folder: &Path) -> Outcome<Self> {
        Ok(Self(rusqlite::Connection::open(folder.join("data/store.sqlite3"))?))
    }

    fn version(&self) -> Outcome<i64> {
        Ok(self.0.query_row("PRAGMA data_version", [], |row| row.get(0))?)
    }
}
