//! The ids of zones by their names: looked up once, and remembered from pass to pass.
//!
//! Goes in: the name of a zone. Comes out: its id, which every call about something in it needs.
//!
//! **Invariant:** whoever asks while a lookup is under way is given what that one finds, good or bad; and what a pass did not
//! find it does not look for again, whichever of its lists asks next. An id is forgotten after an hour, and as soon as the API
//! takes no call for it: a zone that was taken out of the account and added again has another one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::model::Retry;
use crate::provider::ProviderError;

use super::client::Client;
use super::fault::Fault;
use super::lists::Account;
use super::path::{Grammar, with_query};
use super::wire::Zone;

/// For so long an id is believed unasked.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// The zones of one account, as one token sees them.
#[derive(Debug, Default)]
pub(super) struct Zones(Mutex<BTreeMap<String, Arc<Place>>>);

/// What the last lookup of one zone found; held while one is under way.
type Place = tokio::sync::Mutex<Option<Found>>;

#[derive(Debug)]
struct Found {
    at: Instant,
    id: Result<String, Fault>,
}

impl Zones {
    fn place(&self, zone: &str) -> Arc<Place> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(zone.to_owned()).or_default())
    }

    /// Takes note of a zone that a list showed.
    pub(super) async fn learn(&self, zone: &Zone) {
        if Grammar::Id.check(&zone.id).is_ok() {
            let found = Found { at: Instant::now(), id: Ok(zone.id.clone()) };
            *self.place(&zone.name).lock().await = Some(found);
        }
    }

    /// Forgets what was found at `at`; what somebody found since stays.
    async fn forget(&self, zone: &str, at: Instant) {
        let place = self.place(zone);
        let mut found = place.lock().await;
        if found.as_ref().is_some_and(|found| found.at == at) {
            *found = None;
        }
    }
}

/// The id of a zone.
pub(super) async fn zone_id(client: &Client, account: &Account, zone: &str) -> Result<String, Fault> {
    found(client, account, zone).await.map(|(id, _)| id)
}

/// What `call` gives of a zone, whose id it is told. Where the API takes no call for an id that was remembered, the zone is
/// looked up anew and the call made once more.
pub(super) async fn within<T, F: Future<Output = Result<T, Fault>>>(
    client: &Client,
    account: &Account,
    zone: &str,
    call: impl Fn(String) -> F,
) -> Result<T, Fault> {
    let asked = Instant::now();
    let (id, at) = found(client, account, zone).await?;
    match call(id).await {
        Err(fault) if matches!(fault.status, Some(403 | 404)) && at < asked => {
            account.zones.forget(zone, at).await;
            call(zone_id(client, account, zone).await?).await
        }
        answer => answer,
    }
}

/// The id of a zone, and when it was found.
async fn found(client: &Client, account: &Account, zone: &str) -> Result<(String, Instant), Fault> {
    Grammar::Zone.check(zone).map_err(Fault::own)?;
    let place = account.zones.place(zone);
    let mut known = place.lock().await;
    match &*known {
        Some(Found { at, id: Ok(id) }) if at.elapsed() < REMEMBERED => return Ok((id.clone(), *at)),
        // Once in a pass is enough; another may find it.
        Some(Found { at, id: Err(fault) }) if *at >= account.since => return Err(fault.again()),
        _ => {}
    }
    let looked_up = look_up(client, account, zone).await;
    let at = Instant::now();
    *known = Some(Found { at, id: looked_up.as_ref().map(Clone::clone).map_err(Fault::again) });
    looked_up.map(|id| (id, at))
}

async fn look_up(client: &Client, account: &Account, zone: &str) -> Result<String, Fault> {
    let query = with_query("/zones", &[("name", zone), ("account.id", &account.id)]);
    let found: Option<Vec<Zone>> = client.get(&query).await?;
    let found = found.unwrap_or_default().into_iter().find(|item| item.name == zone);
    let id = found.map(|item| item.id).ok_or_else(|| {
        let error = ProviderError::new(format!("the account shows no zone `{zone}`"), Retry::Stalled);
        Fault::own(error.hint("check the name of the zone, and that the token may read the zone (Zone Read)"))
    })?;
    Grammar::Id.check(&id).map_err(Fault::own)?;
    Ok(id)
}
