//! What the stand-in keeps: sets of JSON objects by name, in the order in which they were made.
//!
//! Goes in: an edit. Comes out: the edited records, durable; or a refusal, and nothing has changed. Lists can be told to
//! lag: then they show the records as they were some time ago, as the lists of a large service do.
//!
//! **Invariant:** what is answered is on disk.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::EdgeError;
use super::super::api::answer::Refusal;
use super::super::disk::write_atomic;

/// How many former states lists can show.
const REMEMBERED: usize = 256;
/// Records of one set.
const LIMIT: usize = 10_000;

/// Everything that is kept.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Records(BTreeMap<String, Vec<Value>>);

impl Records {
    /// The records of a set.
    pub(super) fn all(&self, set: &str) -> &[Value] {
        self.0.get(set).map_or(&[], Vec::as_slice)
    }

    /// The record whose `field` is `id`.
    pub(super) fn find(&self, set: &str, (field, id): (&str, &str)) -> Option<&Value> {
        self.all(set).iter().find(|record| record[field] == id)
    }

    /// Adds a record.
    pub(super) fn add(&mut self, set: &str, record: Value) -> Result<(), Refusal> {
        let records = self.0.entry(set.to_owned()).or_default();
        if records.len() >= LIMIT {
            return Err(Refusal::bad(1105, format!("the stand-in keeps at most {LIMIT} of these")));
        }
        records.push(record);
        Ok(())
    }

    /// Puts a record in the place of the one with the same `field`.
    pub(super) fn replace(&mut self, set: &str, field: &str, record: Value) {
        if let Some(place) = self.0.get_mut(set).and_then(|records| records.iter_mut().find(|old| old[field] == record[field])) {
            *place = record;
        }
    }

    /// Takes a record out.
    pub(super) fn remove(&mut self, set: &str, (field, id): (&str, &str)) -> Option<Value> {
        let records = self.0.get_mut(set)?;
        let at = records.iter().position(|record| record[field] == id)?;
        Some(records.remove(at))
    }

    /// Drops whole sets.
    pub(super) fn drop_sets(&mut self, gone: impl Fn(&str) -> bool) {
        self.0.retain(|set, _| !gone(set));
    }
}

/// The records, and where they are kept.
pub(in crate::edge) struct StandIn {
    path: PathBuf,
    states: Mutex<States>,
    writer: tokio::sync::Mutex<()>,
}

struct States {
    now: Arc<Records>,
    /// Former states, oldest first, each with the time at which it ended.
    former: VecDeque<(Instant, Arc<Records>)>,
    lag: Duration,
}

impl StandIn {
    /// Reads what is kept in the edge's data folder.
    pub(in crate::edge) fn open(folder: &Path) -> Result<Self, EdgeError> {
        let path = folder.join("stand_in.json");
        let failed = |source| EdgeError::File { path: path.clone(), source };
        let records: Records = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Records::default(),
            Err(error) => return Err(failed(error)),
        };
        let states = States { now: Arc::new(records), former: VecDeque::new(), lag: Duration::ZERO };
        Ok(Self { path, states: Mutex::new(states), writer: tokio::sync::Mutex::default() })
    }

    fn states(&self) -> MutexGuard<'_, States> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The records as they are.
    pub(super) fn now(&self) -> Arc<Records> {
        Arc::clone(&self.states().now)
    }

    /// The records as lists show them.
    pub(super) fn listed(&self) -> Arc<Records> {
        let states = self.states();
        let Some(then) = Instant::now().checked_sub(states.lag).filter(|_| !states.lag.is_zero()) else {
            return Arc::clone(&states.now);
        };
        let shown = states.former.iter().find(|(ended, _)| *ended > then);
        Arc::clone(shown.map_or(&states.now, |(_, records)| records))
    }

    /// How far lists lag behind from now on.
    pub(super) fn lag(&self, lag: Duration) {
        self.states().lag = lag;
    }

    /// Edits the records.
    pub(super) async fn change<T>(&self, edit: impl FnOnce(&mut Records) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let _one_at_a_time = self.writer.lock().await;
        let mut records = Records::clone(&self.now());
        let value = edit(&mut records)?;
        let failed = |source| EdgeError::File { path: self.path.clone(), source };
        let bytes = serde_json::to_vec_pretty(&records).map_err(|error| failed(error.into()))?;
        let path = self.path.clone();
        let written = tokio::task::spawn_blocking(move || write_atomic(&path, &bytes, 0o600)).await;
        written.map_err(|error| failed(io::Error::other(error)))?.map_err(failed)?;
        let mut states = self.states();
        let before = std::mem::replace(&mut states.now, Arc::new(records));
        states.former.push_back((Instant::now(), before));
        if states.former.len() > REMEMBERED {
            states.former.pop_front();
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[tokio::test]
    async fn records_survive_a_restart_and_lists_can_lag() {
        let folder = tempfile::tempdir().unwrap();
        let kept = StandIn::open(folder.path()).unwrap();
        kept.change(|records| records.add("things", json!({ "id": "a" }))).await.unwrap();
        kept.lag(Duration::from_secs(3600));
        assert_eq!((kept.listed().all("things").len(), kept.now().all("things").len()), (0, 1));
        kept.lag(Duration::ZERO);
        assert_eq!(kept.listed().all("things").len(), 1);
        let refused = kept.change(|records| {
            records.add("things", json!({ "id": "b" }))?;
            Err::<(), _>(Refusal::bad(1, "no"))
        });
        assert!(refused.await.is_err());
        drop(kept);
        let again = StandIn::open(folder.path()).unwrap();
        assert_eq!(again.now().all("things"), [json!({ "id": "a" })]);
    }
}
