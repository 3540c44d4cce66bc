//! How a pass ends: with nothing to do, or with an apply that is carried out and recorded.
//!
//! Goes in: what the pass prepared. Comes out: its [`Outcome`]; the store, the targets and Git have been brought along.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::apply::{self, Progress, Run};
use crate::boundary;
use crate::model::{Bundle, Digest, Revision};
use crate::plan::Plan;
use crate::policy::ApprovedPlan;
use crate::record::{Condition, ConditionReason, EnvironmentRecord, GenerationState, Quarantine, RunKind};
use crate::store::Begin;

use super::offline::LeftOut;
use super::{Context, Event, Outcome, Prepared, Stop, interrupted, next_look, rollout, verdict};

/// What the last steps of a pass have in common.
pub(super) struct Step<'a> {
    pub(super) context: &'a Context,
    pub(super) record: EnvironmentRecord,
    pub(super) inputs: Option<crate::model::Inputs>,
    pub(super) revision: &'a Revision,
    pub(super) kind: RunKind,
    /// For a rollback: what may not come back, from its first change on.
    pub(super) quarantine: Option<Quarantine>,
    /// What drifted and is left as it is, because the definitions say so.
    pub(super) drifted: Vec<String>,
    /// The hold under which what runs is healed: it stays, however that ends.
    pub(super) held: Option<Condition>,
    /// What followed changes of an earlier pass and could not be done, for people.
    pub(super) followed: Vec<String>,
    pub(super) now: DateTime<Utc>,
}

impl Step<'_> {
    /// What is merged is what runs already.
    pub(super) async fn nothing_to_do(mut self, prepared: Prepared) -> Result<Outcome, Stop> {
        let store = |error: crate::store::StoreError| Stop::internal(&error);
        let condition = self.stands(&prepared.plan, &prepared.left_out, "nothing to do");
        if !self.followed.is_empty() {
            self.record.warnings = std::mem::take(&mut self.followed);
        }
        let rolls = condition.reason() == ConditionReason::RollingOut;
        if condition.is_settled() || rolls {
            let digest = self.context.store.put_bundle(&prepared.bundle).map_err(store)?;
            if rolls {
                self.record.failures = 0;
            } else {
                self.rules_are_sound(&prepared, digest)?;
                self.complete(digest);
                self.end_quarantine()?;
            }
            if let Some(generation) = interrupted::completed(&self, &prepared.plan, digest).map_err(store)? {
                self.record.unpublished = true;
                let record = self.record.clone().conclude(condition.clone(), self.now);
                self.context.store.end_generation(&generation, &record).map_err(store)?;
                boundary::reach("after_end");
            }
        } else {
            self.record.inputs = None;
            self.record.failures = self.record.failures.saturating_add(1);
            self.record.unpublished |= interrupted::close(self.context, &self.record.environment, condition.reason(), self.now);
        }
        let record = self.record.conclude(condition, self.now);
        self.context.store.end_pass(&record).map_err(store)?;
        self.context.tell(Event::Concluded { environment: &record.environment, condition: &record.condition });
        let requeue = next(&prepared.plan, &record, self.now);
        Ok(Outcome { condition: record.condition, plan: Some(prepared.plan), report: None, requeue })
    }

    /// Applies, and ends the generation.
    pub(super) async fn carry_out(
        mut self,
        prepared: Prepared,
        approved: &ApprovedPlan,
        warnings: Vec<String>,
    ) -> Result<Outcome, Stop> {
        let store = |error: crate::store::StoreError| Stop::internal(&error);
        let context = self.context;
        let Prepared { bundle, inventory, observed, plan, recovery, left_out, providers, marks: _, read_to: _ } = prepared;
        if context.stop.is_cancelled() {
            return Err(Stop::waiting(ConditionReason::Applying, "the process ends; nothing was begun", None));
        }
        boundary::reach("before_generation");
        let digest = context.store.put_bundle(&bundle).map_err(store)?;
        let (kind, quarantine) = (self.kind, self.quarantine.as_ref());
        let begin = Begin { plan: &plan, revision: self.revision, kind, bundle: digest, quarantine, now: self.now };
        let mut generation = context.store.begin_generation(&begin).map_err(store)?;
        let environment = &generation.environment.clone();
        tracing::info!(%environment, revision = %self.revision, generation = generation.number, changes = plan.changes.len(), "Applying.");
        context.tell(Event::Applying { generation: &generation, plan: &plan });
        let Bundle { desired, contents } = bundle;
        let progress = |progress: Progress<'_>| context.tell(Event::Change { environment, progress });
        let run = Run {
            approved,
            desired: &desired,
            contents: Arc::new(contents),
            generation: &generation,
            inventory: &inventory,
            observed: &observed,
            providers: &providers,
            store: &context.store,
            earlier: &recovery.earlier,
            stop: &context.stop,
            progress: &progress,
        };
        let report = apply::apply(&run).await.map_err(store)?;
        boundary::reach("before_end");
        let now = Utc::now();
        generation.finished_at = Some(now);
        let condition = if report.is_complete() {
            generation.state = GenerationState::Applied;
            let message = format!("{} generation {}: {}", self.kind.as_str(), generation.number, generation.tally);
            let condition = self.stands(&plan, &left_out, &message);
            if condition.is_settled() {
                self.complete(digest);
                self.end_quarantine()?;
            }
            if condition.reason() == ConditionReason::RollingOut {
                self.record.failures = 0;
            }
            condition
        } else {
            generation.state = GenerationState::Failed;
            let message = apply::failures(&report).join("\n");
            generation.message = Some(message.clone());
            self.record.inputs = None;
            self.record.failures = self.record.failures.saturating_add(1);
            verdict::failed(&report, message)
        };
        self.record.unpublished = true;
        self.record.warnings = std::mem::take(&mut self.followed);
        self.record.warnings.extend(warnings.into_iter().chain(report.warnings.iter().cloned()));
        self.record.warnings.extend(plan.warnings.iter().map(|warning| format!("{}: {}", warning.key, warning.message)));
        let record = self.record.conclude(self.held.unwrap_or(condition), now);
        context.store.end_generation(&generation, &record).map_err(store)?;
        boundary::reach("after_end");
        tracing::info!(%environment, revision = %self.revision, generation = generation.number, state = generation.state.as_str(), "Ended.");
        context.tell(Event::Concluded { environment, condition: &record.condition });
        let requeue = next(&plan, &record, now);
        Ok(Outcome { condition: record.condition, plan: Some(plan), report: Some(report), requeue })
    }

    /// Rules that nothing was judged by are compiled at least, before the ratchet holds on to them.
    fn rules_are_sound(&self, prepared: &Prepared, bundle: Digest) -> Result<(), Stop> {
        let recorded = self.kind == RunKind::Rollback || self.record.rules_of == Some(bundle);
        if recorded { Ok(()) } else { verdict::rules_are_sound(prepared) }
    }

    /// The revision is what runs: the next pass has no work until something that it read changes.
    fn complete(&mut self, bundle: Digest) {
        self.record.bundle = Some(bundle);
        if self.kind == RunKind::Apply {
            self.record.rules_of = Some(bundle);
        }
        self.record.applied = Some(self.revision.clone());
        self.record.inputs = self.inputs.clone();
        self.record.observed_at = Some(Utc::now());
        self.record.failures = 0;
    }

    /// A revision without what was taken back runs: the quarantine has done its work. Not before: one that is denied would
    /// let the fault back in with the commit after it.
    fn end_quarantine(&self) -> Result<(), Stop> {
        if self.kind == RunKind::Rollback {
            return Ok(());
        }
        self.context.store.put_quarantine(&self.record.environment, None).map_err(|error| Stop::internal(&error))
    }

    fn stands(&self, plan: &Plan, left_out: &LeftOut, message: &str) -> Condition {
        if let Some(condition) = verdict::blocked(plan, left_out) {
            return condition;
        }
        // Before what drifted: an environment that is settled is not looked at again when a step is due.
        if let Some(condition) = rollout::rolling(plan) {
            return condition;
        }
        if self.drifted.is_empty() {
            let message = format!("{} is applied: {message}{}", self.revision, left_out.told());
            return Condition::Ready { reason: ConditionReason::Applied, message };
        }
        let (count, which) = (self.drifted.len(), self.drifted.join(", "));
        let message = format!("{count} drifted, left as it is (sync.drift = \"report\"): {which}");
        Condition::Stalled { reason: ConditionReason::Drifted, message }
    }
}

/// How long until the next pass: the next step, where the condition is about one.
fn next(plan: &Plan, record: &EnvironmentRecord, now: DateTime<Utc>) -> std::time::Duration {
    let rolls = record.condition.reason() == ConditionReason::RollingOut;
    let step = if rolls { rollout::requeue(plan, record.interval_seconds, now) } else { None };
    step.unwrap_or_else(|| next_look(record, now))
}
