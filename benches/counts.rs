//! What a commit costs in Git objects read and files parsed, by the size of the repository: `cargo bench --bench counts`.
//!
//! Two repositories of 10, 100 and 1,000: so many definition files in one environment, and so many environments of one file
//! each. For each commit the daemon does what it does when it is woken (fetch, a pass for every environment), and these are
//! counted: objects read from Git, files parsed, files of any sort read, whether the store was written to. Looked up is how often a
//! path was sought among the entries of trees that are in memory already: what an environment read before is compared with the
//! new commit, place by place; that grows with the repository and reads nothing.
//!
//! Objects and parses must not grow with the size; an unchanged commit must parse and write nothing. The command fails if they do.

mod stage;

use std::path::Path;
use std::time::Instant;

use stage::Outcome;
use stage::figures::show;
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
    if faults.is_empty() { Ok(()) } else { Err(faults.join("; ").into()) }
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
