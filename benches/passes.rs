//! What parsing, planning and whole passes without work cost, at 10, 100 and 1,000 resources: `cargo bench --bench passes`.
//!
//! One environment with a definition file for each resource; of ten resources nine are files on a host (a folder of this
//! machine) and one is a Worker behind the REST API of an edge, a process of its own without workerd. The repository is a bare
//! one on disk, the store is on disk as well.
//!
//! - `parse/cold`: the commit's tree to desired state, with nothing in the cache of definitions; `parse/warm`: everything in it
//! - `plan/nothing`: desired against observed, all as it should be; `plan/create`: nothing there yet
//! - `pass/unchanged`: a pass at the commit that runs, no look at the live world due: what a poll costs
//! - `pass/elsewhere`: a pass at another commit that changes nothing that the environment reads
//! - `pass/observed`: a pass at the commit that runs with a look at the live world due: everything is read and compared

mod stage;

use std::collections::BTreeSet;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion};
use stage::Outcome;
use stage::programs::start_edge;
use stage::repository::Repository;
use stage::sized;
use trunkline::definition::{self, Cache};
use trunkline::model::{EnvironmentId, Observed, ObservedState};
use trunkline::plan::{self, Inventory};
use trunkline::reconcile::{Context, Prepared, prepare};

const SIZES: [usize; 3] = [10, 100, 1_000];

fn main() -> Outcome<()> {
    let mut criterion = Criterion::default().sample_size(20).configure_from_args();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    for size in SIZES {
        let folder = tempfile::tempdir()?;
        let edge = start_edge(&folder.path().join("edge"), None)?;
        let repository = Repository::make(folder.path())?;
        let host = folder.path().join("host");
        std::fs::create_dir_all(&host)?;
        sized::one_environment(&repository, &host, size, Some(&edge.endpoint))?;
        repository.commit("begin")?;
        repository.push()?;
        let context = sized::context(folder.path(), &repository)?;
        let environment: EnvironmentId = "production".parse()?;
        let first = runtime.block_on(sized::look(&context))?;
        parse(&mut criterion, &context, (&environment, &first.commit), size)?;

        let prepared = runtime.block_on(prepared(&context, &environment))?;
        planning(&mut criterion, &prepared, &first.commit, size);

        repository.write("README.md", "Nothing that an environment reads.\n")?;
        repository.commit("elsewhere")?;
        repository.push()?;
        let second = runtime.block_on(sized::look(&context))?;
        let mut group = criterion.benchmark_group("pass");
        let pass = |head, force| {
            // What a pass says of itself was checked by `look`; here it must only stay so.
            runtime.block_on(sized::pass(&context, &environment, head, force)).unwrap_or_else(|error| panic!("{error}"));
        };
        group.bench_function(BenchmarkId::new("unchanged", size), |b| b.iter(|| pass(&second, false)));
        let mut turn = [&first, &second].into_iter().cycle();
        group.bench_function(BenchmarkId::new("elsewhere", size), |b| {
            b.iter(|| turn.next().into_iter().for_each(|head| pass(head, false)));
        });
        group.bench_function(BenchmarkId::new("observed", size), |b| b.iter(|| pass(&second, true)));
        group.finish();
    }
    criterion.final_summary();
    Ok(())
}

fn parse(
    criterion: &mut Criterion,
    context: &Context,
    (environment, commit): (&EnvironmentId, &str),
    size: usize,
) -> Outcome<()> {
    let source = context.source.lock().map_err(|_| "the source is broken")?;
    let tree = source.tree(commit)?;
    let mut group = criterion.benchmark_group("parse");
    let resolve = |cache: &mut Cache| black_box(definition::resolve(&tree, environment, cache).map(|r| r.bundle.is_some()));
    if !resolve(&mut Cache::new())? {
        return Err("the definitions have faults".into());
    }
    group.bench_function(BenchmarkId::new("cold", size), |b| b.iter(|| resolve(&mut Cache::new())));
    let mut cache = Cache::new();
    group.bench_function(BenchmarkId::new("warm", size), |b| b.iter(|| resolve(&mut cache)));
    group.finish();
    Ok(())
}

/// What a pass over what runs plans from.
async fn prepared(context: &Context, environment: &EnvironmentId) -> Outcome<Prepared> {
    let record = context.store.environment(environment)?.ok_or("the environment has no record")?;
    let digest = record.bundle.ok_or("nothing runs")?;
    let bundle = context.store.bundle(&digest)?.ok_or("the bundle is gone")?;
    let revision = record.applied.clone().ok_or("nothing is applied")?;
    Box::pin(prepare(context, &record, bundle, &revision, (trunkline::reconcile::Look::Lists, trunkline::record::RunKind::Apply)))
        .await
        .map_err(|stop| stop.condition.message().to_owned().into())
}

fn planning(criterion: &mut Criterion, prepared: &Prepared, commit: &str, size: usize) {
    let (nobody, acknowledged) = (ObservedState::new(), BTreeSet::new());
    let nothing: ObservedState = prepared.observed.keys().map(|key| (key.clone(), Observed::Absent)).collect();
    let none = Inventory::new();
    let steering = plan::Steering::default();
    let mut group = criterion.benchmark_group("plan");
    for (name, observed, inventory, changes) in
        [("nothing", &prepared.observed, &prepared.inventory, 0), ("create", &nothing, &none, size)]
    {
        let input = plan::Input {
            desired: &prepared.bundle.desired,
            marks: &prepared.marks,
            observed,
            successors: &nobody,
            inventory,
            acknowledged: &acknowledged,
            commit,
            steering: &steering,
        };
        assert_eq!(plan::plan(&input).changes.len(), changes, "what is measured is what is meant");
        group.bench_function(BenchmarkId::new(name, size), |b| b.iter(|| black_box(plan::plan(&input))));
    }
    group.finish();
}
