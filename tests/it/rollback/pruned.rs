//! Back to a revision whose bundle is no longer kept.

use super::{assert_greets, good_and_bad, roll_back};
use crate::world::World;

/// Takes the first generation's bundle out of the store, as pruning does once fifty newer ones are kept.
fn prune_the_first(world: &World) {
    let store = rusqlite::Connection::open(world.path("data/store.sqlite3")).unwrap();
    let first = "(SELECT bundle FROM generation WHERE environment = 'production' AND number = 1)";
    assert_eq!(store.execute(&format!("DELETE FROM bundle WHERE digest = {first}"), []).unwrap(), 1);
    store.execute(&format!("DELETE FROM bundle_blob WHERE bundle = {first}"), []).unwrap();
    store.execute("DELETE FROM blob WHERE digest NOT IN (SELECT blob FROM bundle_blob)", []).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_read_from_git_again() {
    let (world, good, _) = good_and_bad().await;
    prune_the_first(&world);
    // The daemon's own repository has the commit; the remote is not asked.
    std::fs::rename(world.path("remote.git"), world.path("elsewhere.git")).unwrap();
    let ran = roll_back(&world, &good);
    assert!(ran.out.contains("was no longer kept; its definitions were read from Git again"), "{ran:?}");
    assert_greets(&world, "hello").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_git_lacks_it_as_well_that_is_said_and_nothing_changes() {
    let (world, good, _) = good_and_bad().await;
    prune_the_first(&world);
    std::fs::remove_dir_all(world.path("data/repository.git")).unwrap();
    let ran = world.trunkline(&["rollback", "production", "--to", &good, "--owner", "ada"]);
    println!("-----\n{}{}", ran.out, ran.err);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.err.contains("is no longer kept, and its definitions cannot be read from Git again"), "{ran:?}");
    assert!(ran.err.contains("the newest 50 bundles"), "{ran:?}");
    assert_greets(&world, "bad").await;
    world.end().await;
}
