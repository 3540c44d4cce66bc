//! The stages of a life, and killing the process in them.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use trunkline::boundary;
use trunkline::model::EnvironmentId;
use trunkline::record::{Condition, ConditionReason, Generation, GenerationState, RunKind};
use trunkline::store::Store;

use crate::proxy::Moment;
use crate::world::{Daemon, WORKER, World};

/// How long a process may take to die, or to come to an end, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The Worker that was there before.
pub(super) const ADOPTED: &str = "legacy";

/// Its definition, before that of the file.
const LEGACY: &str = r#"[worker.legacy]
name = "legacy"
adopt = true
main = "workers/legacy/index.js"
compatibility_date = "2026-11-01"

[file.engine]"#;

/// What happens to an installation, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Everything is made, and a Worker of somebody else is adopted and changed.
    First,
    /// Code, vars, secrets, cron, route, a file and its mode change.
    Change,
    /// All of that is rolled back.
    Rollback,
    /// A Worker, a namespace and a file get another key, the namespace another title, another file another path.
    Move,
    /// All but one file is deleted.
    Delete,
}

impl Stage {
    pub(super) const ALL: [Self; 5] = [Self::First, Self::Change, Self::Rollback, Self::Move, Self::Delete];
}

/// Where a process is killed.
#[derive(Debug, Clone)]
pub(super) enum Kill {
    /// By itself, at a boundary that is reached for the `nth` time.
    At { name: &'static str, nth: usize },
    /// From outside, at a moment of the `nth` call that changes something.
    Call { nth: usize, moment: Moment },
}

/// One stage of a life.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) stage: Stage,
    kill: Option<Kill>,
    /// Where the process that recovers is killed too, if it comes there.
    again: Option<&'static str>,
    /// By the verb `apply` instead of the daemon.
    by_verb: bool,
}

/// A kill that happened.
#[derive(Debug)]
pub(super) struct Killed {
    /// The boundary, or what the proxy saw.
    pub(super) at: String,
    /// Whether the process that died was recovering from a kill.
    pub(super) again: bool,
}

impl Killed {
    /// Whether something had been done on a target that no record said yet.
    pub(super) fn is_unrecorded(&self) -> bool {
        boundary::UNRECORDED.contains(&self.at.as_str()) || self.at == outside(Moment::AfterEffect)
    }
}

fn outside(moment: Moment) -> &'static str {
    match moment {
        Moment::BeforeEffect => "a call, before the target saw it",
        Moment::AfterEffect => "a call, after its effect, before its answer",
    }
}

impl Step {
    pub(super) fn undisturbed(stage: Stage) -> Self {
        Self { stage, kill: None, again: None, by_verb: false }
    }

    /// Killed in the `number`-th life: every third by the verb, and every third once more while it recovers.
    pub(super) fn killed(stage: Stage, kill: Option<Kill>, number: usize) -> Self {
        const AGAIN: [&str; 7] =
            ["before_settled", "after_settled", "before_intent", "after_effect", "after_outcome", "before_end", "after_end"];
        let turn = number + stage as usize;
        let again = (kill.is_some() && turn.is_multiple_of(3)).then(|| AGAIN[(turn / 3) % AGAIN.len()]);
        Self { stage, kill, again, by_verb: turn % 3 == 1 }
    }
}

/// What came of a step.
pub(super) struct Walked {
    pub(super) killed: Vec<Killed>,
    /// Where the stage can be killed, if it went undisturbed.
    pub(super) places: Vec<Kill>,
}

/// An installation, and how far it came.
pub(super) struct Life {
    pub(super) world: World,
    /// The commits that were pushed.
    pub(super) commits: Vec<String>,
    processes: usize,
    /// How many daemons had come to listen when the last process was started.
    ready: Cell<usize>,
}

impl Life {
    pub(super) async fn begin() -> Self {
        let world = World::with_production().await;
        world
            .upload_foreign("00000000000000000000000000000000", ADOPTED, "export default { fetch: () => new Response('theirs') }")
            .await;
        world.write("workers/legacy/index.js", "export default { fetch: () => new Response('ours') }");
        world.edit("environments/production/production.toml", "[file.engine]", LEGACY);
        let commits = vec![world.commit("Adopt what was there")];
        Self { world, commits, processes: 0, ready: Cell::default() }
    }

    pub(super) async fn end(self) {
        self.world.end().await;
    }

    pub(super) fn store(&self) -> Store {
        Store::read_only(&self.world.path("data")).unwrap()
    }

    /// Goes through a stage, killed as the step says, then restarted until it has settled.
    pub(super) async fn walk(&mut self, step: &Step) -> Walked {
        self.prepare(step.stage);
        self.world.proxy.reset();
        let mut walked = Walked { killed: Vec::new(), places: Vec::new() };
        let first = |life: &Self| match step.stage {
            Stage::Rollback => life.world.command(&["rollback", "production", "--owner", "ada"]),
            _ if step.by_verb && step.kill.is_some() => life.world.command(&["apply"]),
            _ => life.world.command(&["run", "--poll", "1s"]),
        };
        let trace = self.trace();
        match &step.kill {
            None => {
                let mut process = self.spawn(first(self), &trace, None);
                if step.stage == Stage::Rollback {
                    assert!(process.0.wait().unwrap().success(), "{}", self.world.log());
                } else {
                    self.settle(step, &mut process).await;
                }
                walked.places = self.places(&trace);
            }
            Some(kill) => {
                let at = self.kill(first(self), &trace, kill, step).await;
                walked.killed.push(Killed { at, again: false });
            }
        }
        if let Some(again) = step.again {
            let trace = self.trace();
            let command = self.world.command(&["run", "--poll", "1s"]);
            let mut process = self.spawn(command, &trace, Some((again, 1)));
            if self.died(step, &mut process, true).await {
                walked.killed.push(Killed { at: again.to_owned(), again: true });
            }
        }
        if step.kill.is_some() || step.stage == Stage::Rollback {
            let mut process = self.daemon();
            self.settle(step, &mut process).await;
        }
        if step.stage == Stage::Rollback && !self.is_rolled_back() {
            // It had not begun: the person whose terminal broke off says it again.
            assert!(matches!(&step.kill, Some(Kill::At { name: "before_generation", .. })), "{step:?} left no trace");
            let ran = self.world.trunkline(&["rollback", "production", "--owner", "ada"]);
            assert_eq!(ran.status, 0, "{ran:?}");
            let mut process = self.daemon();
            self.settle(step, &mut process).await;
        }
        walked
    }

    fn prepare(&mut self, stage: Stage) {
        let world = &self.world;
        let definitions = "environments/production/production.toml";
        let message = match stage {
            Stage::First | Stage::Rollback => return,
            Stage::Change => {
                world.edit(definitions, "GREETING = \"hello\"", "GREETING = \"good evening\"");
                world.edit(definitions, "0 3 * * *", "30 4 * * *");
                world.edit(definitions, "api.example.com/*", "v2.example.com/*");
                world.edit(definitions, "main = \"workers/api", "workers_dev = true\nmain = \"workers/api");
                world.edit(definitions, "vars = { greeting = \"hello\" }", "vars = { greeting = \"hi\" }");
                world.edit(definitions, "mode = \"0640\"", "mode = \"0600\"");
                world.write("workers/api/index.js", &WORKER.replace("env.KEY ? \"with\" : \"without\"", "env.KEY"));
                world.set_secret("production", "key", "second-key-of-the-worker");
                world.set_secret("production", "password", "second-password-of-the-file");
                "Change everything".to_owned()
            }
            Stage::Move => {
                world.edit(definitions, "good evening", "welcome");
                world.edit(definitions, "[kv.counts]", "[kv.tally]\nmoved = \"counts\"\ntitle = \"tally of production\"");
                world.edit(definitions, "COUNTS = { kv = \"counts\" }", "COUNTS = { kv = \"tally\" }");
                world.edit(definitions, "[worker.api]", "[worker.front]\nmoved = \"api\"");
                world.edit(definitions, "[worker.api.bindings]", "[worker.front.bindings]");
                world.edit(definitions, "[file.engine]", "[file.machine]\nmoved = \"engine\"");
                world.edit(definitions, "greeting = \"hi\"", "greeting = \"welcome\"");
                world.edit(definitions, "\"/etc/motd\"", "\"/etc/messages/motd\"");
                "Call everything otherwise".to_owned()
            }
            Stage::Delete => {
                let text = std::fs::read_to_string(world.path("clone").join(definitions)).unwrap();
                let (head, rest) = text.split_once("[kv.tally]").unwrap();
                let (_, motd) = rest.split_once("[file.motd]").unwrap();
                world.write(definitions, &format!("{head}[file.motd]{motd}"));
                let trailers = ["kv.tally", "worker.front", "worker.legacy", "file.machine"];
                let trailers = trailers.map(|name| format!("Acknowledge: production/{name} delete\n"));
                format!("Take almost everything away\n\n{}", trailers.concat())
            }
        };
        self.commits.push(self.world.commit(&message));
    }

    /// A new file for the boundaries that a process reaches.
    fn trace(&mut self) -> PathBuf {
        self.processes += 1;
        self.world.path(&format!("trace-{}", self.processes))
    }

    fn daemon(&mut self) -> Daemon {
        let trace = self.trace();
        self.spawn(self.world.command(&["run", "--poll", "1s"]), &trace, None)
    }

    fn spawn(&self, mut command: Command, trace: &Path, kill: Option<(&str, usize)>) -> Daemon {
        let log = std::fs::File::options().create(true).append(true).open(self.world.path("daemon.log")).unwrap();
        command.stdout(Stdio::null()).stderr(log).env("TRUNKLINE_BOUNDARIES", trace);
        if let Some((name, nth)) = kill {
            command.env("TRUNKLINE_KILL_AT", format!("{name}#{nth}"));
        }
        self.ready.set(self.ready());
        Daemon(command.spawn().unwrap())
    }

    fn ready(&self) -> usize {
        self.world.log().matches("INFO Ready.").count()
    }

    /// Every boundary that was reached, each time, and both moments of every call that changed something.
    fn places(&self, trace: &Path) -> Vec<Kill> {
        let mut reached: BTreeMap<&str, usize> = BTreeMap::new();
        let mut places = Vec::new();
        for line in std::fs::read_to_string(trace).unwrap().lines() {
            let name = boundary::ALL.into_iter().find(|name| *name == line);
            let name = name.unwrap_or_else(|| panic!("{line} is not among the boundaries"));
            let nth = reached.entry(name).or_default();
            *nth += 1;
            places.push(Kill::At { name, nth: *nth });
        }
        for nth in 1..=self.world.proxy.writes().len() {
            places.extend([Moment::BeforeEffect, Moment::AfterEffect].map(|moment| Kill::Call { nth, moment }));
        }
        places
    }

    async fn kill(&self, command: Command, trace: &Path, kill: &Kill, step: &Step) -> String {
        let (at, mut process) = match kill {
            Kill::At { name, nth } => ((*name).to_owned(), self.spawn(command, trace, Some((name, *nth)))),
            Kill::Call { nth, moment } => {
                let id = Arc::new(AtomicI32::new(0));
                let known = Arc::clone(&id);
                self.world.proxy.at_write(*nth, *moment, move || {
                    while known.load(Ordering::SeqCst) == 0 {
                        std::thread::yield_now();
                    }
                    let id = rustix::process::Pid::from_raw(known.load(Ordering::SeqCst)).unwrap();
                    rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
                });
                let process = self.spawn(command, trace, None);
                id.store(i32::try_from(process.0.id()).unwrap(), Ordering::SeqCst);
                (outside(*moment).to_owned(), process)
            }
        };
        assert!(self.died(step, &mut process, false).await, "{step:?}: the place was never reached\n{}", self.world.log());
        at
    }

    /// Whether the process was killed; false if it ended by itself or, where it `may_settle`, came to where the stage ends.
    async fn died(&self, step: &Step, process: &mut Daemon, may_settle: bool) -> bool {
        let begun = Instant::now();
        loop {
            if let Some(status) = process.0.try_wait().unwrap() {
                // What was under way takes effect now or never, as the provider of an edge takes it to.
                self.world.proxy.quiet().await;
                return status.signal() == Some(9);
            }
            if may_settle && self.ready() > self.ready.get() && self.has_settled(step) {
                // The last boundaries lie behind what is waited for.
                tokio::time::sleep(Duration::from_millis(300)).await;
                let status = process.0.try_wait().unwrap();
                process.kill();
                return status.is_some_and(|status| status.signal() == Some(9));
            }
            assert!(begun.elapsed() < PATIENCE, "{step:?} neither dies nor settles\n{}", self.world.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn settle(&self, step: &Step, process: &mut Daemon) {
        let begun = Instant::now();
        // One that is asked to stop before it listens to signals just dies.
        while self.ready() == self.ready.get() || !self.has_settled(step) {
            if let Some(status) = process.0.try_wait().unwrap() {
                panic!("{step:?}: the daemon ended by itself: {status}\n{}", self.world.log());
            }
            let status = || self.world.trunkline(&["status", "--output", "json"]).out;
            assert!(begun.elapsed() < PATIENCE, "{step:?} does not settle:\n{}\n{}", status(), self.world.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(process.terminate(), 0, "{}", self.world.log());
    }

    fn newest(&self, store: &Store) -> Option<Generation> {
        store.generations(&production(), 1).unwrap().pop()
    }

    fn is_rolled_back(&self) -> bool {
        self.newest(&self.store()).is_some_and(|newest| newest.kind == RunKind::Rollback)
    }

    /// Whether the environment stands where the stage ends, and Git has the record of it.
    fn has_settled(&self, step: &Step) -> bool {
        let Ok(store) = Store::read_only(&self.world.path("data")) else { return false };
        let Ok(Some(record)) = store.environment(&production()) else { return false };
        let head = self.commits.last().unwrap();
        let is_head = |revision: &Option<trunkline::model::Revision>| revision.as_ref().is_some_and(|r| r.commit == *head);
        let applied = matches!(record.condition, Condition::Ready { .. }) && is_head(&record.applied);
        let newest = self.newest(&store);
        let ended = newest.as_ref().is_some_and(|newest| newest.state == GenerationState::Applied);
        let rolled_back = newest.is_some_and(|newest| newest.kind == RunKind::Rollback);
        let quarantined = record.condition.reason() == ConditionReason::Quarantined && is_head(&record.seen);
        let proposed = || store.quarantine(&production()).unwrap().is_some_and(|quarantine| quarantine.revert.is_none());
        let there = if rolled_back {
            // A later stage is not where a quarantine holds it.
            step.stage == Stage::Rollback && quarantined && proposed()
        } else {
            applied && (step.stage != Stage::Rollback || step.kill.is_some())
        };
        there && ended && !record.unpublished
    }
}

pub(super) fn production() -> EnvironmentId {
    "production".parse().unwrap()
}
