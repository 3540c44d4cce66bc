//! What was applied last, kept on the host: while the daemon is away, the agent puts right by itself what is changed there.
//!
//! Goes in: each request with its answer. Comes out: the same orders once more, for what is no longer as they left it. There
//! is a file for each instance, root's alone, since the values of secrets may be in it as they are in what it describes.
//!
//! **Invariant:** nothing is done here that the daemon did not order, and that was not carried out; nothing for an
//! environment whose drift is only to be reported. A file that cannot be read is left out: the daemon heals what it describes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::LinkError;
use super::home::{read, replace};
use crate::agent::{
    Answer, FileQuery, FileTask, Found, Order, OrderResult, Ordered, Policy, Query, Request, Task, ThingQuery, VERSION, execute,
};
use crate::model::{Digest, EnvironmentId, InstanceKey};
use crate::plan::Precondition;

/// What is kept, in a folder of the agent's state.
#[derive(Debug, Clone)]
pub(super) struct Keep(PathBuf);

/// One instance as it was ordered.
#[derive(Serialize, Deserialize)]
struct Kept {
    epoch: u64,
    environment: EnvironmentId,
    order: Ordered,
}

impl Keep {
    /// What is kept in the agent's state folder.
    pub(super) fn at(state: &Path) -> Self {
        Self(state.join("kept"))
    }

    /// Answers `request`, and keeps what it changed.
    pub(super) fn execute(&self, request: Request, policy: &Policy) -> Answer {
        if !request.heals {
            self.forget(&request.environment);
            return execute(request, policy);
        }
        let Task::Apply { epoch, orders } = &request.task else { return execute(request, policy) };
        let kept: Vec<(Vec<InstanceKey>, Option<Zeroizing<Vec<u8>>>)> =
            orders.iter().map(|order| (keys(&order.what), written(*epoch, &request.environment, &order.what))).collect();
        let environment = request.environment.clone();
        let answer = execute(request, policy);
        if let Answer::Applied(results) = &answer {
            let done = kept.into_iter().zip(results).filter(|(_, result)| matches!(result, OrderResult::Done { .. }));
            for ((keys, kept), _) in done {
                self.note(&environment, &keys, kept.as_deref().map(Vec::as_slice));
            }
        }
        answer
    }

    /// Puts right what is not as it was left; how much that was.
    pub(super) fn heal(&self, policy: &Policy) -> usize {
        let mut healed = 0;
        for (environment, kept) in self.all() {
            let queries = kept.values().map(|kept| query(&kept.order)).collect();
            let task = Task::Observe { queries };
            let seen = execute(Request { version: VERSION, environment: environment.clone(), heals: true, task }, policy);
            let Answer::Observed(seen) = seen else { continue };
            let found: BTreeMap<InstanceKey, Precondition> =
                seen.into_iter().filter_map(|sight| Some((sight.key, changed(&sight.found)?))).collect();
            let epoch = kept.values().map(|kept| kept.epoch).max().unwrap_or(0);
            let differs = kept.into_iter().filter_map(|(key, kept)| Some((kept, found.get(&key)?.clone())));
            let orders: Vec<Order> = differs.map(|(kept, now)| again(kept.order, now)).collect();
            if orders.is_empty() {
                continue;
            }
            let task = Task::Apply { epoch, orders };
            if let Answer::Applied(results) = execute(Request { version: VERSION, environment, heals: true, task }, policy) {
                healed += results.iter().filter(|result| matches!(result, OrderResult::Done { .. })).count();
            }
        }
        healed
    }

    fn folder(&self, environment: &EnvironmentId) -> PathBuf {
        self.0.join(environment.tenant.as_str()).join(environment.environment.as_str())
    }

    fn forget(&self, environment: &EnvironmentId) {
        // It may never have been there.
        let _ = fs::remove_dir_all(self.folder(environment));
    }

    /// Replaces what is kept under `keys`, of which the last is the present one.
    fn note(&self, environment: &EnvironmentId, keys: &[InstanceKey], kept: Option<&[u8]>) {
        let folder = self.folder(environment);
        let path = |key: &InstanceKey| folder.join(format!("{}.json", Digest::of(key.to_string().as_bytes())));
        let Some((key, former)) = keys.split_last() else { return };
        for former in former {
            let _ = fs::remove_file(path(former));
        }
        let noted = match kept {
            Some(bytes) => fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder)
                .map_err(|source| LinkError::File { path: folder.clone(), source })
                .and_then(|()| replace(&path(key), bytes)),
            None => {
                let _ = fs::remove_file(path(key));
                Ok(())
            }
        };
        if let Err(error) = noted {
            // What is stale would be brought back: better nothing.
            let _ = fs::remove_file(path(key));
            tracing::warn!(%error, %key, "What was applied cannot be kept: it is not healed while the daemon is away.");
        }
    }

    fn all(&self) -> BTreeMap<EnvironmentId, BTreeMap<InstanceKey, Kept>> {
        let mut all: BTreeMap<EnvironmentId, BTreeMap<InstanceKey, Kept>> = BTreeMap::new();
        for path in entries(&self.0).iter().flat_map(|tenant| entries(tenant)).flat_map(|environment| entries(&environment)) {
            let text = read(&path).ok().flatten().map(Zeroizing::new);
            let Some(kept) = text.and_then(|text| serde_json::from_str::<Kept>(&text).ok()) else { continue };
            all.entry(kept.environment.clone()).or_default().insert(kept.order.key().clone(), kept);
        }
        all
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect()
}

/// The former key, where there is one, and the present one.
fn keys(order: &Ordered) -> Vec<InstanceKey> {
    let from = match order {
        Ordered::File(order) => &order.from,
        Ordered::Thing(order) => &order.from,
    };
    from.iter().chain([order.key()]).cloned().collect()
}

/// `None` for what is deleted.
fn written(epoch: u64, environment: &EnvironmentId, order: &Ordered) -> Option<Zeroizing<Vec<u8>>> {
    #[derive(Serialize)]
    struct Borrowed<'a> {
        epoch: u64,
        environment: &'a EnvironmentId,
        order: &'a Ordered,
    }
    let is_there = match order {
        Ordered::File(order) => matches!(order.task, FileTask::Write(_)),
        Ordered::Thing(order) => order.wanted.is_some(),
    };
    let bytes = is_there.then(|| serde_json::to_vec(&Borrowed { epoch, environment, order }).ok());
    bytes.flatten().map(Zeroizing::new)
}

fn query(order: &Ordered) -> Query {
    match order {
        Ordered::File(order) => {
            let (secret, owner, group) = match &order.task {
                FileTask::Write(write) => (!write.secrets.is_empty(), write.owner.clone(), write.group.clone()),
                FileTask::Delete => (true, None, None),
            };
            Query::File(FileQuery { key: order.key.clone(), path: order.path.clone(), secret, owner, group })
        }
        Ordered::Thing(order) => {
            let fields = order.wanted.as_ref().map(|wanted| wanted.fields.clone()).unwrap_or_default();
            Query::Thing(ThingQuery { key: order.key.clone(), claim: order.claim.clone(), fields })
        }
    }
}

/// What an order has to find, where what is there is not as an order left it. What is not known stays as it is.
fn changed(found: &Found) -> Option<Precondition> {
    match found {
        Found::Absent => Some(Precondition::Absent),
        Found::File(file) if file.marker.is_none() => Some(Precondition::Fingerprint(file.fingerprint.clone())),
        Found::Thing(thing) if thing.marker.is_none() => Some(Precondition::Fingerprint(thing.fingerprint.clone())),
        Found::File(_) | Found::Thing(_) | Found::Unknown(_) => None,
    }
}

/// The order once more, as an operation of its own.
fn again(mut order: Ordered, now: Precondition) -> Order {
    let operation = uuid::Uuid::now_v7().to_string();
    match &mut order {
        Ordered::File(order) => {
            (order.precondition, order.from) = (now, None);
            order.marker.operation = operation;
        }
        Ordered::Thing(order) => {
            (order.precondition, order.from) = (now, None);
            order.marker.operation = operation;
        }
    }
    Order { after: std::collections::BTreeSet::new(), what: order }
}
