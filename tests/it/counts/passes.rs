//! Passes run here, as the daemon runs them, so that what they parse can be counted.

use tokio_util::sync::CancellationToken;
use trunkline::daemon::{context, fetch};
use trunkline::model::EnvironmentId;
use trunkline::reconcile::{Context, Outcome, reconcile};
use trunkline::settings::{self, Overrides};

use crate::world::World;

/// A daemon's context on the data of a world. While it is there, nobody else can apply.
pub(super) struct Passes<'a> {
    world: &'a World,
    pub(super) context: Context,
}

/// What one pass cost.
#[derive(Debug)]
pub(super) struct Cost {
    pub(super) outcome: Outcome,
    /// Documents that were parsed.
    pub(super) parsed: u64,
    /// Files of the commit that were read.
    pub(super) read: u64,
    /// Calls of the API that read, in the order of their lines, without queries.
    pub(super) reads: Vec<String>,
    /// Calls of the API that change something, in their order.
    pub(super) writes: Vec<String>,
}

impl<'a> Passes<'a> {
    pub(super) fn of(world: &'a World) -> Self {
        let file = world.path("daemon.toml");
        std::fs::write(&file, "").unwrap();
        let overrides = Overrides {
            remote: Some(world.path("remote.git").display().to_string()),
            identity: Some(world.path("identity")),
            ..Overrides::default()
        };
        let settings = settings::load(Some(&file), world.path("data"), overrides).unwrap();
        let context = context(settings, CancellationToken::new(), Box::new(|_| {})).unwrap();
        Self { world, context }
    }

    /// One pass over `environment` at the branch's head. It must end ready.
    pub(super) async fn pass(&self, environment: &str, force: bool) -> Cost {
        let id: EnvironmentId = environment.parse().unwrap();
        let head = fetch(&self.context).await.head.unwrap();
        let before = self.counters();
        self.world.proxy.reset();
        let outcome = reconcile(&self.context, &id, &head, force).await;
        assert_eq!(outcome.condition.word(), "Ready", "{:?}", outcome.condition);
        let after = self.counters();
        let calls = self.world.proxy.calls();
        let line = |line: String| line.replace("/client/v4", "").replace(&format!("/accounts/{}", "0".repeat(32)), "");
        let mut reads: Vec<String> = calls.iter().filter(|call| !call.is_write()).map(|call| line(call.line())).collect();
        reads.sort();
        let writes = calls.iter().filter(|call| call.is_write()).map(|call| line(call.line())).collect();
        let record = self.context.store.environment(&id).unwrap().unwrap();
        assert_eq!(record.applied, Some(head), "{environment}");
        Cost { outcome, parsed: after.0 - before.0, read: after.1 - before.1, reads, writes }
    }

    fn counters(&self) -> (u64, u64) {
        let cache = self.context.cache.lock().unwrap();
        (cache.parsed(), cache.read())
    }

    /// How many generations there are.
    pub(super) fn generations(&self, environment: &str) -> usize {
        self.context.store.generations(&environment.parse().unwrap(), usize::MAX).unwrap().len()
    }
}
