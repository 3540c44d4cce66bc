//! A version that was uploaded and whose deployment failed on the way: it is deployed, and not uploaded again.

use http::Method;
use trunkline::model::{ModuleType, Spec};
use trunkline::plan::Action;
use trunkline::provider::Outcome;

use super::world::{ACCOUNT, World, done, key, shown, var, worker};
use crate::proxy::{Answer, Fault};
use crate::world;

async fn versions(world: &World) -> usize {
    let path = format!("/accounts/{ACCOUNT}/workers/scripts/a/versions?page=1&per_page=100");
    let list = world.foreign(Method::GET, &path, None).await;
    list["result"]["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_deployment_without_an_answer_is_observed_and_made_once() {
    let busy = || Answer::error(503, 10013);
    // What happens to the deployment, and the writes that are left to do then.
    let faults =
        [(Fault::AnswerBefore(busy()), 1), (Fault::DropBefore, 1), (Fault::AnswerAfter(busy()), 0), (Fault::DropAfter, 0)];
    for (fault, left) in faults {
        let mut world = World::start().await;
        let key = key("production/worker.a@main");
        let mut spec = worker("a");
        world.module(&mut spec, "index.js", ModuleType::Esm, "export default { fetch: () => new Response('1') }");
        world.apply(Action::Create, &key, &Spec::Worker(spec.clone())).await;
        let before = versions(&world).await;

        spec.bindings.insert("LEVEL".into(), var("debug"));
        let spec = Spec::Worker(spec);
        let order = world.order(Action::Update, &key, Some(&spec)).await;
        world.proxy.reset();
        world.proxy.inject(Method::POST, "/deployments", 1, fault.clone());
        let outcome = world.carry_out(&order).await;
        assert!(matches!(outcome, Outcome::Unknown(_)), "{fault:?}: {}", shown(&outcome));
        assert_eq!(world.proxy.writes().len(), 2, "a write is sent once: {:?}", world.proxy.writes());
        assert_eq!(versions(&world).await, before + 1);

        let mut again = world.order(Action::Update, &key, Some(&spec)).await;
        again.earlier = vec![order.marker.operation.clone()];
        world.proxy.reset();
        done(world.carry_out(&again).await);
        assert_eq!(world.proxy.writes().len(), left, "{fault:?}: {:?}", world.proxy.writes());
        assert!(world.proxy.writes().iter().all(|line| line.ends_with("/deployments")));
        assert_eq!(versions(&world).await, before + 1, "{fault:?}");
        let present = world.present(&key, Some(&spec), true).await;
        // A deployment names the operation that made it: the first one, where it took effect without an answer.
        let deployed_by = if left == 0 { order.marker } else { again.marker };
        assert_eq!((present.properties, present.marker), (world.desired(&key, &spec), Some(deployed_by)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_deploys_what_it_uploaded_before_a_503() {
    let world = world::World::with_production().await;
    world.apply();
    world.edit("environments/production/production.toml", "GREETING = \"hello\"", "GREETING = \"good evening\"");
    world.commit("Greet");
    world.proxy.reset();
    world.proxy.inject(Method::POST, "/deployments", 1, Fault::AnswerBefore(Answer::error(503, 10013)));
    let ran = world.trunkline(&["apply"]);
    assert_ne!(ran.status, 0, "{}", ran.out);
    assert!(ran.out.contains("outcome unknown") && ran.out.contains("503"), "it is said: {}\n{}", ran.out, ran.err);
    assert_eq!(world.get("api.example.com", "/").await.1, "hello with key");

    world.proxy.reset();
    world.apply();
    let writes = world.proxy.writes();
    assert!(writes.len() == 1 && writes[0].ends_with("/workers/scripts/api-production/deployments"), "{writes:?}");
    assert_eq!(world.get("api.example.com", "/").await.1, "good evening with key");
    world.assert_converged();
    world.end().await;
}
