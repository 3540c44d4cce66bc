//! The loop: which environments need a pass, and when.
//!
//! **Invariant:** nothing is waited for in the loop but events. What needs the network runs beside the passes, one such task
//! at a time: a remote that hangs delays neither a pass, nor a rollback, nor the end of the process.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::take;
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, interval};

use super::control::{Answer, Call, Request};
use super::look::{Looked, look, look_at_known};
use crate::model::{EnvironmentId, Revision};
use crate::reconcile::{Context, push, reconcile};
use crate::record::Condition;
use crate::trigger::Triggers;

/// How long a first fetch may take before the passes begin at the head that was accepted last.
const FIRST_FETCH: Duration = Duration::from_secs(10);

/// How long the record may take to be pushed when the daemon ends; what is left is pushed after the next start.
const LAST_PUSH: Duration = Duration::from_secs(5);

/// When an environment is looked at again whose pass ended by a panic.
const AFTER_PANIC: Duration = Duration::from_secs(60);

enum Ended {
    /// A pass, with whether the environment is ready now, the time until the next pass, and whether Git lacks a record of it.
    Pass {
        environment: EnvironmentId,
        ready: bool,
        requeue: Duration,
        unpublished: bool,
    },
    /// A rollback, or a word about gradual versions.
    Verb(EnvironmentId),
    /// A look at the remote.
    Looked(Looked),
    /// A look at what was accepted before.
    Known(Looked),
    Pushed,
    Resumed(EnvironmentId),
}

struct Loop<'a> {
    context: &'a Arc<Context>,
    head: Option<Revision>,
    /// When each environment is to be looked at although nothing woke us.
    due: BTreeMap<EnvironmentId, Instant>,
    /// Those whose last pass did not leave them ready: a wake-up that brings no new revision leaves them until they are due.
    unready: BTreeSet<EnvironmentId>,
    /// Until then the first fetch is waited for.
    patience: Option<Instant>,
    running: BTreeSet<EnvironmentId>,
    /// Woken while a pass was running: another one follows, and whether it is to look at the live world in any case.
    again: BTreeMap<EnvironmentId, bool>,
    /// Verbs that wait for a pass to end.
    waiting: Vec<Call>,
    tasks: JoinSet<Ended>,
    /// What needs the network; left alone when the daemon ends.
    network: JoinSet<Ended>,
    /// Those who asked for the look that is under way, if one is.
    looking: Option<Vec<Call>>,
    look_again: bool,
    /// Those who asked for the next look.
    asked: Vec<Call>,
    /// Those who asked for a look that ended, and the environments whose passes they wait for.
    syncing: Vec<(Call, BTreeSet<EnvironmentId>)>,
    pushing: bool,
    push_again: bool,
}

/// Runs until the triggers say stop; then waits for the passes in hand.
pub(super) async fn run(context: &Arc<Context>, triggers: &mut Triggers, mut requests: mpsc::Receiver<Call>) {
    let mut state = Loop {
        context,
        head: None,
        due: BTreeMap::new(),
        unready: BTreeSet::new(),
        patience: Some(Instant::now() + FIRST_FETCH),
        running: BTreeSet::new(),
        again: BTreeMap::new(),
        waiting: Vec::new(),
        tasks: JoinSet::new(),
        network: JoinSet::new(),
        looking: None,
        look_again: false,
        asked: Vec::new(),
        syncing: Vec::new(),
        pushing: false,
        push_again: false,
    };
    let mut watchdog = sd_notify::watchdog_enabled().map(|limit| interval(limit / 3));
    state.look();
    loop {
        let next = state.due.values().copied().chain(state.patience).min();
        let next = next.unwrap_or_else(|| Instant::now() + Duration::from_secs(3_600));
        tokio::select! {
            // Cancel-safe: a wake-up that is not taken stays in the queue of the triggers.
            wake = triggers.next() => {
                if super::is_stop(&wake) { break; }
                state.look();
            }
            // Cancel-safe, as is the one below: a finished task stays in the set until it is taken.
            Some(ended) = state.tasks.join_next() => state.ended(ended),
            Some(ended) = state.network.join_next() => state.ended(ended),
            // Cancel-safe: a request that is not received stays in the channel.
            Some(call) = requests.recv() => state.request(call),
            // Cancel-safe: nothing is lost with a timer.
            () = tokio::time::sleep_until(next) => state.start_due(),
            // Cancel-safe: a tick that is not taken is due again at once.
            () = alive(&mut watchdog) => {}
        }
    }
    // Nothing new begins; whoever waits for an answer is told that the daemon stops, by the end of their calls.
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    loop {
        tokio::select! {
            ended = state.tasks.join_next() => if ended.is_none() { break },
            () = alive(&mut watchdog) => {}
        }
    }
    let _ = tokio::time::timeout(LAST_PUSH, push(context)).await;
}

/// Tells the watchdog of systemd, when it is time, that the loop turns; waits for ever where there is none.
async fn alive(watchdog: &mut Option<Interval>) {
    match watchdog {
        Some(interval) => {
            interval.tick().await;
            let _ = sd_notify::notify(&[NotifyState::Watchdog]);
        }
        None => std::future::pending().await,
    }
}

impl Loop<'_> {
    /// Begins to fetch. Where a fetch is under way, another one follows: what woke us may have come after it began.
    fn look(&mut self) {
        if self.looking.is_some() {
            self.look_again = true;
            return;
        }
        self.looking = Some(take(&mut self.asked));
        let context = self.context.clone();
        self.network.spawn(async move { Ended::Looked(look(&context).await) });
    }

    /// A pass for every environment: one whose inputs did not change ends at once.
    fn looked(&mut self, looked: Looked) {
        let calls = self.looking.take().unwrap_or_default();
        let environments = self.begin_all(looked.found, !calls.is_empty());
        for call in calls {
            match &looked.fault {
                Some(fault) => call.answer(Answer::failed(format!("nothing is applied: {}", fault.message), fault.hint.clone())),
                None => self.syncing.push((call, environments.clone())),
            }
        }
        self.answer_synced();
        self.push();
        if take(&mut self.look_again) {
            self.look();
        }
    }

    fn begin_all(&mut self, found: Option<(Revision, BTreeSet<EnvironmentId>)>, force: bool) -> BTreeSet<EnvironmentId> {
        let Some((head, environments)) = found else { return BTreeSet::new() };
        self.patience = None;
        let news = force || self.head.as_ref() != Some(&head);
        self.head = Some(head);
        self.due.retain(|environment, _| environments.contains(environment));
        let now = Instant::now();
        for environment in &environments {
            // One that runs looks at this very revision: another one after it would follow no delay.
            let waits = self.running.contains(environment)
                || self.unready.contains(environment) && self.due.get(environment).is_some_and(|at| *at > now);
            if news || !waits {
                self.begin(environment, force);
            }
        }
        environments
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        if self.patience.is_some_and(|until| until <= now) {
            self.patience = None;
            let context = self.context.clone();
            self.network.spawn(async move { Ended::Known(look_at_known(&context).await) });
        }
        let due: Vec<EnvironmentId> = self.due.iter().filter(|(_, at)| **at <= now).map(|(id, _)| id.clone()).collect();
        for environment in due {
            self.begin(&environment, false);
        }
    }

    fn begin(&mut self, environment: &EnvironmentId, force: bool) {
        self.due.remove(environment);
        let Some(head) = self.head.clone() else { return };
        if !self.running.insert(environment.clone()) {
            *self.again.entry(environment.clone()).or_default() |= force;
            return;
        }
        let (context, environment) = (self.context.clone(), environment.clone());
        self.tasks.spawn(async move {
            // A task of its own: a pass that panics ends like any other, and takes nothing with it.
            let (id, shared) = (environment.clone(), context.clone());
            let pass = tokio::spawn(async move { Box::pin(reconcile(&shared, &id, &head, force)).await });
            match pass.await {
                Ok(outcome) => {
                    let record = context.store.environment(&environment);
                    let unpublished = record.is_ok_and(|record| record.is_some_and(|record| record.unpublished));
                    let ready = matches!(outcome.condition, Condition::Ready { .. });
                    Ended::Pass { environment, ready, requeue: outcome.requeue, unpublished }
                }
                Err(error) => {
                    tracing::error!(%environment, %error, "A pass ended by a panic.");
                    Ended::Pass { environment, ready: false, requeue: AFTER_PANIC, unpublished: false }
                }
            }
        });
    }

    fn ended(&mut self, ended: Result<Ended, tokio::task::JoinError>) {
        match ended {
            Ok(Ended::Pass { environment, ready, requeue, unpublished }) => {
                if ready {
                    self.unready.remove(&environment);
                } else {
                    self.unready.insert(environment.clone());
                }
                self.due.insert(environment.clone(), Instant::now() + requeue);
                if unpublished {
                    self.push();
                }
                self.idle(&environment);
            }
            Ok(Ended::Verb(environment)) => {
                // A name that nobody defined gets no record by being asked for.
                if self.context.store.environment(&environment).is_ok_and(|record| record.is_some()) {
                    self.again.entry(environment.clone()).or_default();
                }
                self.push();
                self.idle(&environment);
            }
            Ok(Ended::Looked(looked)) => self.looked(looked),
            // A fetch that came to its end meanwhile knows more.
            Ok(Ended::Known(looked)) if self.head.is_none() => drop(self.begin_all(looked.found, false)),
            Ok(Ended::Known(_)) => {}
            Ok(Ended::Pushed) => {
                self.pushing = false;
                if take(&mut self.push_again) {
                    self.push();
                }
            }
            Ok(Ended::Resumed(environment)) => {
                self.unready.remove(&environment);
                if self.running.contains(&environment) {
                    // That pass may have seen the hold that is lifted now.
                    self.again.entry(environment).or_default();
                }
                self.look();
            }
            Err(error) => {
                // Only what needs the network can end so: passes and rollbacks catch their panics.
                tracing::error!(%error, "A call to the repository ended by a panic.");
                self.pushing = false;
                if self.looking.take().is_some() {
                    self.look_again = false;
                }
            }
        }
    }

    /// No pass runs for `environment` any more: what waited for that begins.
    fn idle(&mut self, environment: &EnvironmentId) {
        self.running.remove(environment);
        if let Some(position) = self.waiting.iter().position(|call| call.request.environment() == Some(environment)) {
            let call = self.waiting.remove(position);
            self.begin_verb(call);
        } else if let Some(force) = self.again.remove(environment) {
            self.begin(environment, force);
        }
        if !self.running.contains(environment) {
            for (_, environments) in &mut self.syncing {
                environments.remove(environment);
            }
            self.answer_synced();
        }
    }

    fn answer_synced(&mut self) {
        for (call, _) in self.syncing.extract_if(.., |(_, environments)| environments.is_empty()) {
            call.answer(Answer::ok("looked at every environment"));
        }
    }

    /// Begins to push the record, where there is something to push.
    fn push(&mut self) {
        if self.pushing {
            self.push_again = true;
            return;
        }
        self.pushing = true;
        let context = self.context.clone();
        self.network.spawn(async move {
            push(&context).await;
            Ended::Pushed
        });
    }

    fn request(&mut self, call: Call) {
        match &call.request {
            Request::Sync => {
                self.asked.push(call);
                self.look();
            }
            Request::Resume { environment } => {
                let (context, environment) = (self.context.clone(), environment.clone());
                self.network.spawn(async move {
                    call.answer(super::carry_out(&context, &call.request).await);
                    Ended::Resumed(environment)
                });
            }
            Request::Rollback { environment, .. }
            | Request::Promote { environment, .. }
            | Request::Pause { environment, .. }
            | Request::Abort { environment, .. } => match self.running.contains(environment) {
                true => self.waiting.push(call),
                false => self.begin_verb(call),
            },
        }
    }

    fn begin_verb(&mut self, call: Call) {
        let Some(environment) = call.request.environment().cloned() else { return };
        self.due.remove(&environment);
        self.running.insert(environment.clone());
        let context = self.context.clone();
        self.tasks.spawn(async move {
            let run = tokio::spawn(async move {
                let answer = Box::pin(super::carry_out(&context, &call.request)).await;
                call.answer(answer);
            });
            if let Err(error) = run.await {
                tracing::error!(%environment, %error, "A verb ended by a panic.");
            }
            Ended::Verb(environment)
        });
    }
}
