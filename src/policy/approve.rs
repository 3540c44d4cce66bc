//! The verdict on a plan, and the only way to an approved one.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::acknowledgement::Acknowledgement;
use super::budget::{Budget, held};
use super::input::input;
use super::judge::{Opinion, judge};
use super::ratchet::{Rules, RulesFrom};
use crate::model::{Address, DesiredState, Digest};
use crate::plan::Plan;

/// What sort of run the plan is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunKind {
    /// A revision of the followed branch.
    Apply,
    /// An earlier revision, because a person said so.
    Rollback,
}

impl RunKind {
    /// The word that rules see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Rollback => "rollback",
        }
    }
}

/// All that a verdict depends on.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What would be done.
    pub plan: &'a Plan,
    /// What it would lead to.
    pub desired: &'a DesiredState,
    /// Who judges.
    pub rules: &'a Rules,
    /// What sort of run it is.
    pub kind: RunKind,
    /// The time that rules see.
    pub now: DateTime<Utc>,
    /// How much may be deleted.
    pub budget: Budget,
    /// How many instances the environment owns.
    pub owned: usize,
    /// What people agreed to since the last applied revision, and did not use yet.
    pub acknowledged: &'a BTreeSet<Acknowledgement>,
}

/// One thing that a rule says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Message {
    /// The resource that it is about, where it is about one.
    pub address: Option<Address>,
    /// The rule: package and name (`trunkline.files.deny`), or what is built in (`trunkline/delete-budget`).
    pub rule: String,
    /// What it says; as the rule's author wrote it.
    pub message: String,
    /// What the reader can do now.
    pub hint: Option<String>,
}

/// Why a plan does not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "refusal", content = "messages")]
pub enum Refusal {
    /// A rule forbids it. What would be held besides is listed too.
    Denied(Vec<Message>),
    /// It waits for a person's acknowledgement.
    Held(Vec<Message>),
}

impl Refusal {
    /// Every reason.
    pub fn messages(&self) -> &[Message] {
        match self {
            Self::Denied(messages) | Self::Held(messages) => messages,
        }
    }
}

/// What the rules decided.
#[derive(Debug)]
pub struct Verdict {
    /// The plan, approved, or why not.
    pub approved: Result<ApprovedPlan, Refusal>,
    /// What people should know in either case.
    pub warnings: Vec<Message>,
    /// The revision was judged by nothing but its own rules, being the first: to be shown.
    pub bootstrap: bool,
}

/// A plan that may run: the precondition of every apply, as a type.
///
/// There is no other way to one than [`evaluate`]:
///
/// ```compile_fail
/// # fn run(plan: trunkline::plan::Plan) {
/// let approved = trunkline::policy::ApprovedPlan { plan };
/// # }
/// ```
/// ```compile_fail
/// let approved: trunkline::policy::ApprovedPlan = serde_json::from_str("{}").unwrap();
/// ```
#[derive(Debug)]
pub struct ApprovedPlan {
    plan: Plan,
    digest: Digest,
    judged_by: (RulesFrom, Digest),
}

impl ApprovedPlan {
    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The plan's digest, as it was when it was approved.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The digest of the rules that no commit relaxes, and where they came from: for the record.
    pub fn judged_by(&self) -> (RulesFrom, Digest) {
        self.judged_by
    }
}

/// Judges a plan: by the standing rules and the commit's own, by what its deletions need, all reasons at once.
pub fn evaluate(request: Request<'_>) -> Verdict {
    let Request { plan, desired: _, rules, kind, now: _, budget, owned, acknowledged } = request;
    let Opinion { denials, warnings } = opinion(&request);
    let held = held(plan, budget, owned, acknowledged, kind);
    let approved = if !denials.is_empty() {
        Err(Refusal::Denied(denials.into_iter().chain(held).collect()))
    } else if !held.is_empty() {
        Err(Refusal::Held(held))
    } else {
        Ok(ApprovedPlan { plan: plan.clone(), digest: plan.digest(), judged_by: (rules.from, rules.standing.digest()) })
    };
    Verdict { approved, warnings: warnings.into_iter().collect(), bootstrap: rules.from == RulesFrom::Bootstrap }
}

/// What both benches say, each thing once.
fn opinion(request: &Request<'_>) -> Opinion {
    let Rules { standing, from, own } = request.rules;
    let input = input(request);
    let mut opinion = judge(standing, &input);
    if let Some(own) = own {
        let Opinion { denials, warnings } = judge(own, &input);
        // What only the standing rules deny is what this commit tried to relax: its author must hear why that is no help.
        opinion.denials = opinion
            .denials
            .into_iter()
            .map(|message| if denials.contains(&message) { message } else { unrelaxed(message, *from) })
            .collect::<BTreeSet<_>>();
        let known: BTreeSet<_> = opinion.denials.iter().map(|m| (m.address.clone(), m.rule.clone(), m.message.clone())).collect();
        let fresh = |m: &Message| !known.contains(&(m.address.clone(), m.rule.clone(), m.message.clone()));
        opinion.denials.extend(denials.into_iter().filter(fresh));
        opinion.warnings.extend(warnings);
    }
    opinion
}

fn unrelaxed(mut message: Message, from: RulesFrom) -> Message {
    let why = match from {
        RulesFrom::Pinned => "this rule is pinned in the daemon's settings, and a commit cannot relax it",
        RulesFrom::Recorded | RulesFrom::Bootstrap | RulesFrom::Current => {
            "this is the rule of the last recorded generation, and a commit cannot relax the rules that judge it: change the \
             rule in a commit of its own, before"
        }
    };
    message.hint = Some(match message.hint {
        Some(hint) => format!("{hint}; {why}"),
        None => why.to_owned(),
    });
    message
}
