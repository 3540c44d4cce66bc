//! How many Workers there are makes no difference: what a pass without changes reads, and what one change writes, with some
//! of every other kind beside them.

use super::everything::{EVERY, FILE, FURTHER, MOST, PAGED, SECRETS, files};
use super::passes::{Cost, Passes};
use crate::stored::stored;
use crate::world::{TOKEN, World};

/// An environment of `size` Workers and of `others`, on an edge that stores them and runs none: what is counted here are
/// calls.
pub(super) async fn world(size: usize, what: (&str, &str)) -> World {
    let world = stored().await;
    for (path, text) in files(&world.endpoint(), size, what) {
        world.write(path, &text);
    }
    for (name, value) in [("edge-token", TOKEN)].into_iter().chain(SECRETS) {
        world.set_secret("production", name, value);
    }
    world.commit("Many Workers");
    world
}

/// The reads without those of further pages.
fn lists(cost: &Cost) -> Vec<String> {
    let mut pages = 0;
    let first = |line: &&String| {
        let paged = line.strip_prefix("GET ") == Some(PAGED);
        pages += usize::from(paged);
        !paged || pages == 1
    };
    cost.reads.iter().filter(first).cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_pass_reads_does_not_grow_with_the_number_of_workers_and_a_change_costs_two_writes() {
    let mut of_sizes = Vec::new();
    for size in [10, 100] {
        let world = world(size, ("1d", EVERY)).await;
        let passes = Passes::of(&world);
        let first = passes.pass("production", false).await;
        let uploads =
            first.writes.iter().filter(|line| line.starts_with("PUT /workers/scripts/w") && !line.ends_with("/schedules"));
        assert_eq!(uploads.count(), size);
        let lookups = first.reads.iter().filter(|line| *line == "GET /zones").count();
        assert_eq!(lookups, 2, "one for each zone, whoever needs it: {:?}", first.reads);

        world.edit(FILE, "[kv.a]", "# Nothing new.\n[kv.a]");
        world.commit("A comment");
        let nothing = passes.pass("production", false).await;
        assert_eq!(nothing.writes, [""; 0]);
        let pages = (size + FURTHER).div_ceil(100) - 1;
        assert!(nothing.reads.len() <= MOST + pages, "{size}: {:?}", nothing.reads);
        assert_eq!(nothing.reads.len() - lists(&nothing).len(), pages, "{:?}", nothing.reads);

        // One Worker: a version and its deployment; and one write for each trigger that differs.
        let two = ["versions", "deployments"].map(|rest| format!("POST /workers/scripts/w0007-production/{rest}"));
        world.edit(FILE, "\"at 7\"", "\"still at 7\"");
        world.commit("A var");
        let one = passes.pass("production", false).await;
        assert_eq!(one.writes, two);
        world.edit(FILE, "\"still at 7\"", "\"at last\"");
        world.edit(FILE, "\"7 0 * * *\"", "\"7 9 * * *\"");
        world.edit(FILE, "w7.example.org/*\"", "w7.example.org/api/*\"");
        world.commit("A var, a cron and a route");
        let more = passes.pass("production", false).await;
        assert_eq!(more.writes.len(), 2 + 1 + 2, "a route less and a route more: {:?}", more.writes);
        assert_eq!(more.writes[..2], two);
        of_sizes.push((lists(&nothing), one.reads.len() - 2 * pages, more.reads.len() - 2 * pages));
        drop(passes);
        world.end().await;
    }
    // A pass that writes reads the lists of Workers three times: to plan, before the writes and after them.
    let [(few, one, more), (many, one_of_many, more_of_many)] = &of_sizes[..] else { panic!("two sizes") };
    assert_eq!(few, many);
    assert_eq!((one + 1, more + 1), (*one_of_many, *more_of_many), "one further page for the third reading");
}
