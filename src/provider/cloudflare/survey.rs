//! Everything that an account has of the kinds that are managed here: what an import begins with.
//!
//! Goes in: which kinds, and which names. Comes out: a [`Survey`], in the shape in which things are observed and desired.
//!
//! **Invariant:** nothing is written. What could not be read is said, and never left out in silence; where nothing at all could
//! be read, that is an error.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt};

use crate::model::{Address, Kind, Properties, ResourceName, Retry, Secret, SecretError, SecretResolver, Value};
use crate::provider::ProviderError;

use super::collection::{self, Sort, Thing};
use super::deployed::Ours;
use super::fault::Fault;
use super::lists::{self, Lists};
use super::path::{Grammar, with_query};
use super::read;
use super::wire::Zone;
use super::{CloudflareProvider, Options, Patience};

/// What is asked for.
pub struct Asked<'a> {
    /// Such as `https://api.cloudflare.com/client/v4`.
    pub endpoint: String,
    /// 32 hex digits.
    pub account_id: String,
    /// The token to call it with.
    pub token: Secret,
    /// The kinds to read.
    pub kinds: BTreeSet<Kind>,
    /// Whether the thing of this name is wanted; what is not is read in no more than its list.
    pub takes: &'a (dyn Fn(Kind, &str) -> bool + Sync),
}

/// What is there.
#[derive(Debug, Default)]
pub struct Survey {
    /// Of the kinds that the platform keeps in lists, in the order of kinds and names.
    pub things: Vec<Surveyed>,
    /// Workers, by name.
    pub workers: Vec<SurveyedWorker>,
    /// What could not be read, and why.
    pub unread: Vec<(String, String)>,
}

/// One thing of a list.
#[derive(Debug, Clone)]
pub struct Surveyed {
    /// Its kind.
    pub kind: Kind,
    /// What the API knows it by.
    pub id: String,
    /// What it is called.
    pub claim: String,
    /// What it is like, in the words of the API.
    pub properties: Properties,
    /// Whose it is, by a mark of Trunkline on it.
    pub owner: Option<Address>,
}

/// A Worker.
#[derive(Debug, Clone)]
pub struct SurveyedWorker {
    /// Its name.
    pub script: String,
    /// What it is like, routes included.
    pub properties: Properties,
    /// Its code.
    pub modules: Vec<ModuleFile>,
    /// Whose it is, by a mark of Trunkline on it.
    pub owner: Option<Address>,
}

/// One module of a Worker.
#[derive(Debug, Clone)]
pub struct ModuleFile {
    /// Its name in the Worker.
    pub name: String,
    /// How it is loaded.
    pub content_type: String,
    /// Its bytes.
    pub content: Bytes,
}

/// Where R2 can keep a bucket; each is a list of its own.
const JURISDICTIONS: [&str; 3] = ["default", "eu", "fedramp"];

/// What lists do not show of a thing and definitions can say; each is read for every thing that has it.
const DEEP: [&str; 2] = ["ingress", "read_replication"];

/// No secret is needed to read.
struct NoSecrets;

impl SecretResolver for NoSecrets {
    fn resolve(&self, name: &ResourceName) -> Result<Secret, SecretError> {
        Err(SecretError::NoIdentity(name.clone()))
    }

    fn mark(&self, name: &ResourceName) -> Result<String, SecretError> {
        Err(SecretError::NoIdentity(name.clone()))
    }
}

/// Reads an account, or an edge.
///
/// # Errors
/// Where endpoint, account or token are no good, or nothing that was asked for could be read.
pub async fn survey(asked: Asked<'_>) -> Result<Survey, ProviderError> {
    let Asked { endpoint, account_id, token, kinds, takes } = asked;
    let provider = super::connect(Options {
        endpoint,
        account_id,
        token,
        settle: std::time::Duration::ZERO,
        secrets: std::sync::Arc::new(NoSecrets),
        client: None,
        paces: super::Paces::default(),
        patience: Patience::default(),
    })?;
    let mut reading = Reading { provider: &provider, kinds: &kinds, takes, survey: Survey::default(), read: 0, first: None };
    let zones = reading.zones().await;
    // What takes the messages of queues stands in their list.
    for kind in kinds.iter().filter(|kind| **kind != Kind::QueueConsumer) {
        if let Some(sort) = collection::sort(*kind) {
            Box::pin(reading.things(sort, &zones)).await;
        }
    }
    if kinds.contains(&Kind::Worker) {
        Box::pin(reading.workers(&zones)).await;
    }
    match reading {
        Reading { read: 0, first: Some(error), .. } => Err(error),
        Reading { survey, .. } => Ok(survey),
    }
}

struct Reading<'a> {
    provider: &'a CloudflareProvider,
    kinds: &'a BTreeSet<Kind>,
    takes: &'a (dyn Fn(Kind, &str) -> bool + Sync),
    survey: Survey,
    /// How many lists were read.
    read: usize,
    /// Why the first that was not could not be.
    first: Option<ProviderError>,
}

impl Reading<'_> {
    fn failed(&mut self, what: impl Into<String>, error: ProviderError) {
        let reason = match &error.hint {
            Some(hint) => format!("{}; {hint}", crate::provider::chain(&error)),
            None => crate::provider::chain(&error),
        };
        self.survey.unread.push((what.into(), reason));
        self.first.get_or_insert(error);
    }

    /// The names of the account's zones, where something that was asked for lies in zones.
    async fn zones(&mut self) -> BTreeSet<String> {
        if !self.kinds.iter().any(|kind| matches!(kind, Kind::Worker | Kind::Dns | Kind::CacheRule)) {
            return BTreeSet::new();
        }
        let Self { provider, .. } = self;
        let path = with_query("/zones", &[("account.id", &provider.account.id)]);
        match provider.client.get_pages(&path, 50, |zone: &Zone| &zone.id).await {
            Ok(zones) => {
                self.read += 1;
                join_all(zones.iter().map(|zone| provider.account.zones.learn(zone))).await;
                zones.into_iter().map(|zone| zone.name).filter(|name| Grammar::Zone.check(name).is_ok()).collect()
            }
            Err(fault) => {
                self.failed("zones", fault.error);
                BTreeSet::new()
            }
        }
    }

    /// The things of one kind.
    async fn things(&mut self, sort: &dyn Sort, zones: &BTreeSet<String>) {
        let provider = self.provider;
        let kind = sort.kind();
        let places: Vec<BTreeSet<String>> = match kind {
            Kind::R2 => JURISDICTIONS.iter().map(|place| [(*place).to_owned()].into()).collect(),
            Kind::Dns | Kind::CacheRule => zones.iter().map(|zone| [zone.clone()].into()).collect(),
            _ => vec![BTreeSet::new()],
        };
        let lists = join_all(places.iter().map(|places| sort.list(provider, places))).await;
        let mut found: BTreeMap<(Kind, String), Thing> = BTreeMap::new();
        for (places, list) in places.iter().zip(lists) {
            let place = places.first().map(String::as_str);
            match list {
                Ok(things) => {
                    self.read += 1;
                    let things = things
                        .into_iter()
                        .filter(|thing| self.kinds.contains(&thing.kind) && (self.takes)(thing.kind, &thing.claim));
                    found.extend(things.map(|thing| ((thing.kind, thing.id.clone()), thing)));
                }
                // Not every account has buckets elsewhere.
                Err(_) if kind == Kind::R2 && place != Some("default") => {}
                Err(fault) => {
                    let what = place.filter(|_| kind != Kind::R2).map_or(kind.to_string(), |place| format!("{kind} of {place}"));
                    self.failed(what, fault.error);
                }
            }
        }
        let wanted: Properties = DEEP.iter().map(|field| ((*field).to_owned(), Value::Bool(true))).collect();
        let reads = found.into_values().map(|thing| {
            let (claim, wanted) = (thing.claim.clone(), &wanted);
            async move {
                // What stands inside of another is shown whole.
                let read = if thing.kind == kind { sort.read(provider, thing, wanted).await } else { Ok(thing) };
                (claim, read)
            }
            .boxed()
        });
        let reads: Vec<_> = reads.collect();
        let read: Vec<(String, Result<Thing, Fault>)> =
            futures_util::stream::iter(reads).buffered(provider.concurrency).collect().await;
        let before = self.survey.things.len();
        for (claim, read) in read {
            match read {
                Ok(Thing { kind, id, claim, properties, owner, .. }) => {
                    self.survey.things.push(Surveyed { kind, id, claim, properties, owner });
                }
                Err(fault) if fault.is_missing() => {}
                Err(fault) => self.failed(format!("{kind} `{claim}`"), fault.error),
            }
        }
        self.survey.things[before..].sort_by(|a, b| (a.kind, &a.claim, &a.id).cmp(&(b.kind, &b.claim, &b.id)));
    }

    /// The Workers, with their code.
    async fn workers(&mut self, zones: &BTreeSet<String>) {
        let provider = self.provider;
        let lists = match lists::read(&provider.client, &provider.account, zones).await {
            Ok(lists) => lists,
            Err(fault) => return self.failed("worker", fault.error),
        };
        self.read += 1;
        let reads: Vec<_> = lists
            .scripts
            .keys()
            .filter(|script| (self.takes)(Kind::Worker, script))
            .map(|script| async { (script.clone(), worker(provider, &lists, script).await) }.boxed())
            .collect();
        let read: Vec<_> = futures_util::stream::iter(reads).buffered(provider.concurrency).collect().await;
        for (script, read) in read {
            match read {
                Ok(worker) => self.survey.workers.push(worker),
                Err(fault) if fault.is_missing() => {}
                Err(fault) => self.failed(format!("worker `{script}`"), fault.error),
            }
        }
        for (zone, routes) in lists.zones {
            if let Err(fault) = routes {
                self.failed(format!("routes of {zone}"), fault.error);
            }
        }
    }
}

async fn worker(provider: &CloudflareProvider, lists: &Lists, script: &str) -> Result<SurveyedWorker, Fault> {
    Grammar::Script.check(script).map_err(Fault::own)?;
    let item = lists.scripts.get(script);
    let live = read::live(&provider.client, &provider.account, script, (None, item), (&Ours::none(), false)).await?;
    if live.version.is_none() {
        let error = ProviderError::new(format!("nothing of Worker `{script}` is deployed"), Retry::Stalled);
        return Err(Fault::own(error));
    }
    let mut properties = live.properties;
    let routes = lists
        .routes(script)
        .into_iter()
        .map(|(pattern, zone)| (pattern, Value::Table([("zone_name".to_owned(), Value::text(zone))].into())));
    properties.insert("routes".to_owned(), Value::Table(routes.collect()));
    let module =
        |module: read::Module| ModuleFile { name: module.name, content_type: module.content_type, content: module.content };
    let modules = live.modules.into_iter().map(module).collect();
    Ok(SurveyedWorker { script: script.to_owned(), properties, modules, owner: lists.owner(script) })
}
