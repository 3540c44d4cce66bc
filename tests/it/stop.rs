//! A daemon that is told to stop while it applies: the change in hand is finished and recorded, and nothing more is begun.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::Value;
use trunkline::record::{GenerationState, OperationState};
use trunkline::store::Store;

use crate::proxy::Fault;
use crate::world::World;

const NAMESPACES: &str = "/accounts/00000000000000000000000000000000/storage/kv/namespaces";

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_told_to_stop_finishes_and_records_the_change_in_hand_and_begins_no_other() {
    let world = World::with_production().await;
    world.proxy.inject(Method::POST, "/storage/kv/namespaces", 1, Fault::Delay(Duration::from_secs(2)));
    let mut daemon = world.daemon();
    let begun = Instant::now();
    while world.proxy.writes().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", world.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The call waits in the proxy: the Worker, which needs the namespace, is not begun.
    assert_eq!(daemon.terminate(), 0, "{}", world.log());

    let posted = [format!("POST /client/v4{NAMESPACES}")];
    assert_eq!(world.proxy.writes(), posted);
    let production = "production".parse().unwrap();
    let store = Store::read_only(&world.path("data")).unwrap();
    assert_eq!(store.unresolved(&production).unwrap(), []);
    let [generation] = &store.generations(&production, 10).unwrap()[..] else { panic!("{}", world.log()) };
    assert_eq!(generation.state, GenerationState::Failed);
    assert!(generation.finished_at.is_some() && generation.message.as_ref().unwrap().contains("not begun"), "{generation:?}");
    let operations = store.operations(&production, generation.number).unwrap();
    let namespace = operations.iter().find(|operation| operation.key.to_string() == "production/kv.counts@local").unwrap();
    assert_eq!(namespace.state, OperationState::Done);
    assert!(operations.iter().all(|operation| operation.state == OperationState::Done), "{operations:?}");
    assert!(store.inventory(&production).unwrap().contains_key(&namespace.key));
    drop(store);
    // Git knows too: what was left is told before the end.
    let notes = world.git_in(&world.path("remote.git"), &["notes", "--ref=trunkline", "show", &world.head()]);
    let note: Value = serde_json::from_str(notes.trim()).unwrap();
    assert_eq!((&note["generation"], &note["state"]), (&1.into(), &"failed".into()), "{note}");

    // The next one goes on where it stopped.
    let mut daemon = world.daemon();
    world.wait_ready("production", &world.head()).await;
    let made: Vec<String> = world.proxy.writes().into_iter().filter(|line| line.ends_with("/namespaces")).collect();
    assert_eq!(made, posted, "the namespace is made once");
    assert_eq!(world.foreign("GET", NAMESPACES, None).await.as_array().unwrap().len(), 1);
    assert_eq!(daemon.terminate(), 0, "{}", world.log());
    world.assert_converged();
    world.end().await;
}
