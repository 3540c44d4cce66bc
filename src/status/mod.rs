//! Fold records into what people see.
//!
//! Goes in: the store's records of one environment. Comes out: one [`EnvironmentStatus`], the same for the command line,
//! JSON and whatever else shows it.
//!
//! **Invariant:** no I/O and no clock, and nothing is decided here: a status only says what the records hold.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::model::{Address, EnvironmentId, InstanceKey, Revision, TargetName};
use crate::record::{
    Condition, ConditionReason, EnvironmentRecord, Generation, GenerationState, Operation, Pause, Quarantine, RolloutOrders,
    RunKind, SourceRecord, Tally,
};

/// The records of one environment.
#[derive(Debug)]
pub struct Records<'a> {
    /// Where it stands.
    pub environment: &'a EnvironmentRecord,
    /// What is known of the repository.
    pub source: Option<&'a SourceRecord>,
    /// The newest generation.
    pub newest: Option<&'a Generation>,
    /// How many instances it owns.
    pub owned: usize,
    /// Operations whose outcome was never seen.
    pub unresolved: &'a [Operation],
    /// What a rollback quarantined.
    pub quarantine: Option<&'a Quarantine>,
    /// Versions that have not all requests, with their shares.
    pub rolling: &'a [(InstanceKey, u8)],
    /// What people said of them.
    pub orders: Option<&'a RolloutOrders>,
}

/// What people see of one environment. The field names are those of `status --output json`, version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EnvironmentStatus {
    /// Which.
    pub environment: EnvironmentId,
    /// `Ready`, `Reconciling` or `Stalled`.
    pub condition: &'static str,
    /// Why, one of a closed set of words.
    pub reason: &'static str,
    /// Why, for people.
    pub message: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// The newest revision that was looked at.
    pub seen: Option<Revision>,
    /// The newest revision whose desired state is what runs.
    pub applied: Option<Revision>,
    /// The newest generation.
    pub generation: Option<GenerationStatus>,
    /// How many instances it owns.
    pub owned: usize,
    /// When the live world was last looked at in a complete pass.
    pub observed_at: Option<DateTime<Utc>>,
    /// Owned, not defined, and kept.
    pub orphaned: Vec<String>,
    /// Warnings of the last pass.
    pub warnings: Vec<String>,
    /// Instances with an operation whose outcome was never seen.
    pub unresolved: Vec<String>,
    /// Addresses that a rollback took back and that may not come back as they were.
    pub quarantined: Vec<String>,
    /// Versions of Workers that have not all requests yet.
    pub rolling: Vec<RollingStatus>,
    /// What goes no further until a person resumes it.
    pub paused: Vec<PauseStatus>,
    /// Whether Git has the record of every generation.
    pub published: bool,
}

impl EnvironmentStatus {
    /// Whether what is merged is what runs.
    pub fn is_ready(&self) -> bool {
        self.condition == "Ready"
    }
}

/// What people see of a version that has not all requests yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RollingStatus {
    /// The Worker.
    pub address: Address,
    /// Where.
    pub target: TargetName,
    /// Its share, in percent.
    pub traffic: u8,
}

/// What people see of a pause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PauseStatus {
    /// The Worker; absent where it is every one of the environment.
    pub address: Option<Address>,
    /// Who said so.
    pub owner: String,
    /// Why.
    pub reason: Option<String>,
    /// Since when.
    pub since: DateTime<Utc>,
}

impl From<&Pause> for PauseStatus {
    fn from(pause: &Pause) -> Self {
        let Pause { worker, owner, reason, at } = pause;
        Self { address: worker.clone(), owner: owner.clone(), reason: reason.clone(), since: *at }
    }
}

/// What people see of a generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GenerationStatus {
    /// Its number.
    pub number: u64,
    /// `apply` or `rollback`.
    pub kind: RunKind,
    /// How far it came.
    pub state: GenerationState,
    /// What was applied.
    pub revision: Revision,
    /// How many changes of each sort.
    pub changes: Tally,
    /// Digest of its plan.
    pub plan: crate::model::Digest,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// What went wrong.
    pub message: Option<String>,
}

impl From<&Generation> for GenerationStatus {
    fn from(generation: &Generation) -> Self {
        Self {
            number: generation.number,
            kind: generation.kind,
            state: generation.state,
            revision: generation.revision.clone(),
            changes: generation.tally,
            plan: generation.plan,
            started_at: generation.started_at,
            finished_at: generation.finished_at,
            message: generation.message.clone(),
        }
    }
}

/// What people see of the records of one environment.
pub fn fold(records: &Records<'_>) -> EnvironmentStatus {
    let record = records.environment;
    let (condition, since) = condition(records);
    let mut quarantined: Vec<String> =
        records.quarantine.iter().flat_map(|q| &q.entries).map(|entry| entry.address.to_string()).collect();
    quarantined.dedup();
    EnvironmentStatus {
        environment: record.environment.clone(),
        condition: condition.word(),
        reason: condition.reason().as_str(),
        message: condition.message().to_owned(),
        since,
        seen: record.seen.clone(),
        applied: record.applied.clone(),
        generation: records.newest.map(GenerationStatus::from),
        owned: records.owned,
        observed_at: record.observed_at,
        orphaned: record.orphaned.clone(),
        warnings: record.warnings.clone(),
        unresolved: records.unresolved.iter().map(|operation| operation.key.to_string()).collect(),
        quarantined,
        rolling: records
            .rolling
            .iter()
            .map(|(key, traffic)| RollingStatus { address: key.address.clone(), target: key.target.clone(), traffic: *traffic })
            .collect(),
        paused: records.orders.iter().flat_map(|orders| &orders.paused).map(PauseStatus::from).collect(),
        published: !record.unpublished,
    }
}

/// A fault of the source holds every environment that would be ready: what is merged may no longer be what runs.
fn condition(records: &Records<'_>) -> (Condition, DateTime<Utc>) {
    let record = records.environment;
    if let Some(SourceRecord { fault: Some(fault), fault_since, .. }) = records.source
        && matches!(record.condition, Condition::Ready { .. })
    {
        let runs = record.applied.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
        let condition = Condition::Stalled { reason: ConditionReason::Source, message: format!("held at {runs}: {fault}") };
        return (condition, fault_since.unwrap_or(record.since));
    }
    (record.condition.clone(), record.since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_of_the_source_holds_what_would_be_ready_and_hides_nothing_else() {
        let now = DateTime::UNIX_EPOCH;
        let ready = Condition::Ready { reason: ConditionReason::Applied, message: "x".into() };
        let record = EnvironmentRecord::new("production".parse().unwrap(), now).conclude(ready, now);
        let source =
            SourceRecord { remote: "r".into(), head: None, at: now, fault: Some("unreachable".into()), fault_since: Some(now) };
        let records = Records {
            environment: &record,
            source: Some(&source),
            newest: None,
            owned: 0,
            unresolved: &[],
            quarantine: None,
            rolling: &[],
            orders: None,
        };
        let status = fold(&records);
        assert_eq!((status.condition, status.reason), ("Stalled", "source"));

        let denied = Condition::Stalled { reason: ConditionReason::Denied, message: "no".into() };
        let record = record.clone().conclude(denied, now);
        assert_eq!(fold(&Records { environment: &record, ..records }).reason, "denied");
    }
}
