//! Orders for Workers.
//!
//! Goes in: the lists as they are now, an order. Comes out: what is to be confirmed, or the outcome.
//!
//! A new Worker is one upload that is deployed at once; a changed one is a version and its deployment. Then, each only
//! where it differs: ownership tag, crons, routes, workers.dev name. Routes that go are removed before those that come, since a
//! pattern belongs to one Worker.
//!
//! **Invariant:** everything that can be refused here (bytes that are missing, secrets that do not open, routes that
//! are taken) is, before the first write.

mod assets;
mod lifecycle;
mod release;
mod triggers;

use std::collections::BTreeSet;

use http::Method;
use serde_json::Value as Json;

use crate::boundary;
use crate::model::{Kind, Marker, Properties, SecretMark, Value, traffic};
use crate::plan::{Action, Change, Precondition};
use crate::provider::{Order, Outcome, ProviderError, Receipt};

use super::CloudflareProvider;
use super::carry_out::{Expected, Uploaded, copy, is_ours};
use super::client::Payload;
use super::deployed::{self, Active, Ours};
use super::lists::{Lists, zones_of};
use super::observe;
use super::path::{Grammar, with_query};
use super::read;
use super::upload;
use super::wire::{Version, Versions};
use super::write::Writer;

use release::Unreleased;

/// How many of the newest versions are looked through for one that an earlier operation uploaded.
const LOOKED_THROUGH: usize = 10;

/// One order under way.
struct Work<'a> {
    provider: &'a CloudflareProvider,
    lists: &'a Lists,
    order: &'a Order,
    script: &'a str,
    before: Properties,
    after: Properties,
    writer: Writer<'a>,
}

/// Whether a field differs that makes another version.
fn is_versioned(before: &Properties, after: &Properties) -> bool {
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    keys.into_iter().any(|key| Kind::Worker.is_versioned(key) && before.get(key) != after.get(key))
}

/// Whether a change deploys another version, or gives it another share of the requests.
pub(super) fn deploys(change: &Change) -> bool {
    let nothing = Properties::new();
    let before = change.before.as_ref().unwrap_or(&nothing);
    change.after.as_ref().is_some_and(|after| is_versioned(before, after) || traffic(before) != traffic(after))
}

/// Carries out one order. `active` is the version that was active before the lists were read.
pub(super) async fn carry_out(
    provider: &CloudflareProvider,
    lists: &Lists,
    order: &Order,
    active: Option<Active>,
) -> Result<Expected, Outcome> {
    let change = &order.change;
    let script = Grammar::Script.check(&change.claim).map_err(Outcome::Refused)?;
    let work = Work {
        provider,
        lists,
        order,
        script,
        before: change.before.clone().unwrap_or_default(),
        after: change.after.clone().unwrap_or_default(),
        writer: Writer::new(provider),
    };
    let resumed = work.check()?;
    match change.action {
        Action::Delete => Err(Box::pin(work.delete()).await),
        Action::Create => Box::pin(work.create(resumed)).await,
        Action::Update | Action::Adopt | Action::Move => Box::pin(work.update(active)).await,
    }
}

/// Gives a new Worker its workers.dev name, or takes it away, where the list shows it otherwise: what a new one begins with
/// is the account's affair. Whether anything was written.
pub(super) async fn name_new(provider: &CloudflareProvider, lists: &Lists, order: &Order) -> Result<bool, Outcome> {
    let mut work = Work {
        provider,
        lists,
        order,
        script: &order.change.claim,
        before: Properties::new(),
        after: order.change.after.clone().unwrap_or_default(),
        writer: Writer::after_effect(provider),
    };
    work.write_subdomain(lists.subdomain(&order.change.claim)).await
}

/// What the answer to a first upload says of it.
fn uploaded(made: &Json) -> Option<Uploaded> {
    let text = |key: &str| made.get(key).and_then(Json::as_str);
    // The id of the version without its hyphens, whatever the field is called.
    let version = text("deployment_id").and_then(|id| uuid::Uuid::try_parse(id).ok())?;
    Some(Uploaded {
        version: version.hyphenated().to_string(),
        etag: text("etag")?.to_owned(),
        modified_on: text("modified_on")?.to_owned(),
    })
}

impl Work<'_> {
    fn path(&self, segments: &[&str]) -> String {
        self.provider.account.script(self.script, segments)
    }

    /// Whether the Worker is what the plan saw; true where it is there only because an earlier operation of this very
    /// order, whose answer was never seen, may have made it.
    fn check(&self) -> Result<bool, Outcome> {
        let Work { lists, order, script, .. } = self;
        let change = &order.change;
        let unread = lists.zones.iter().find_map(|(zone, read)| self.names_zone(zone).then(|| read.as_ref().err()).flatten());
        if let Some(fault) = unread {
            return Err(Outcome::Refused(copy(&fault.error)));
        }
        let there = lists.scripts.contains_key(*script);
        let owner = lists.owner(script);
        if let Some(owner) = owner.as_ref().filter(|o| **o != change.key.address && Some(*o) != change.from.as_ref()) {
            return Err(Outcome::Conflict(format!("Worker `{script}` belongs to {owner}")));
        }
        match &change.precondition {
            Precondition::Absent if !there => Ok(false),
            Precondition::Absent if !order.earlier.is_empty() && owner.is_some() => Ok(true),
            Precondition::Absent => Err(Outcome::Conflict(format!("a Worker `{script}` is there now"))),
            Precondition::Fingerprint(_) if !there && change.action == Action::Delete => Err(Outcome::Done(Receipt::default())),
            Precondition::Fingerprint(_) if !there => Err(Outcome::Conflict(format!("Worker `{script}` is gone"))),
            Precondition::Fingerprint(expected) if lists.still(script, expected) => Ok(false),
            Precondition::Fingerprint(_) => {
                Err(Outcome::Conflict(format!("Worker `{script}` was changed since it was planned for")))
            }
        }
    }

    fn names_zone(&self, zone: &str) -> bool {
        let planned = match &self.order.change.precondition {
            Precondition::Fingerprint(fingerprint) => zones_of(fingerprint).contains(zone),
            Precondition::Absent => false,
        };
        planned || [&self.before, &self.after].into_iter().any(|p| observe::zones_in(p).contains(zone))
    }

    async fn create(mut self, resumed: bool) -> Result<Expected, Outcome> {
        let mut upload = upload::prepare(self.order, self.provider.secrets.as_ref()).map_err(Outcome::Refused)?;
        let routes = self.route_changes()?;
        let expected = if resumed {
            Expected::Version(Some(self.made_earlier().await?))
        } else {
            let tag = Marker::owner_tag(&self.order.change.key.address);
            upload.say("migrations", lifecycle::migrations(self.order, None).map_err(Outcome::Refused)?);
            upload.say("exports", lifecycle::exports(&self.after));
            upload.say("assets", self.upload_assets().await?);
            let (payload, secrets) = upload.create(&[tag], &self.after).map_err(Outcome::Refused)?;
            let path = with_query(&self.path(&[]), &[("excludeScript", "true"), ("bindings_inherit", "strict")]);
            let made = self.writer.write(Method::PUT, &path, payload, &secrets).await?;
            boundary::reach("after_worker");
            uploaded(&made).map_or(Expected::Operation, Expected::Uploaded)
        };
        self.write_crons(resumed).await?;
        self.write_routes(routes).await?;
        Ok(expected)
    }

    /// The active version, which must be one that an earlier operation of this order uploaded.
    async fn made_earlier(&self) -> Result<String, Outcome> {
        let (client, account) = (&self.provider.client, &self.provider.account);
        let active = deployed::active(client, account, self.script, &Ours::ordered(self.order)).await;
        let active = active.map_err(|fault| self.writer.unread(fault))?;
        let id = active.map(|active| active.version);
        if let Some(id) = id {
            let version = read::version(client, account, self.script, &id).await.map_err(|fault| self.writer.unread(fault))?;
            if self.is_this(&version) {
                return Ok(id);
            }
        }
        Err(Outcome::Conflict(format!("a Worker `{}` is there now, and no operation of this order made it", self.script)))
    }

    async fn update(mut self, active: Option<Active>) -> Result<Expected, Outcome> {
        let versioned = is_versioned(&self.before, &self.after);
        let moved = traffic(&self.before) != traffic(&self.after);
        let routes = self.route_changes()?;
        let mut expected = Expected::Version(active.as_ref().map(|active| active.version.clone()));
        if versioned {
            expected = self.write_version(active.as_ref()).await?;
        } else if moved {
            expected = self.promote(active.as_ref()).await?;
        }
        self.write_settings().await?;
        if self.before.get("crons") != self.after.get("crons") {
            self.write_crons(true).await?;
        }
        self.write_routes(routes).await?;
        if self.before.get("workers_dev") != self.after.get("workers_dev") {
            self.write_subdomain(None).await?;
        }
        Ok(expected)
    }

    /// Uploads a version and deploys it, or deploys the one that an earlier operation uploaded already.
    async fn write_version(&mut self, active: Option<&Active>) -> Result<Expected, Outcome> {
        let mut upload = upload::prepare(self.order, self.provider.secrets.as_ref()).map_err(Outcome::Refused)?;
        if let Some(expected) = self.bring_back(active).await? {
            return Ok(expected);
        }
        if let Some(found) = self.uploaded_earlier(active).await? {
            if active.is_some_and(|active| active.version == found) {
                return Ok(Expected::Version(Some(found)));
            }
            match self.release(&found, active).await {
                Ok(()) => return Ok(Expected::Version(Some(found))),
                // It can no longer be deployed (a secret changed since, it is too old): certainly nothing happened.
                Err(Unreleased::Refused(_)) => {}
                Err(Unreleased::Ended(outcome)) => return Err(outcome),
            }
        }
        let (client, account) = (&self.provider.client, &self.provider.account);
        let live = match active {
            Some(active) => active.whole(client, account, self.script).await.map_err(|fault| self.writer.unread(fault))?,
            None => Version::default(),
        };
        let item = self.lists.scripts.get(self.script);
        if assets::any(&self.after) && self.before.get("assets") != self.after.get("assets") {
            upload.say("assets", self.upload_assets().await?);
        }
        upload.say("exports", lifecycle::exports(&self.after));
        let lifecycle = lifecycle::changes(&self.before, &self.after);
        if lifecycle {
            let applied = item.and_then(|item| item.migration_tag.as_deref());
            upload.say("migrations", lifecycle::migrations(self.order, applied).map_err(Outcome::Refused)?);
        }
        let (payload, secrets) = upload.update(&live, item, &self.before, &self.after).map_err(Outcome::Refused)?;
        if lifecycle {
            // What becomes of Durable Objects cannot wait for a deployment: one call uploads and deploys.
            let path = with_query(&self.path(&[]), &[("excludeScript", "true"), ("bindings_inherit", "strict")]);
            self.writer.write(Method::PUT, &path, payload, &secrets).await?;
            boundary::reach("after_worker");
            return Ok(Expected::Operation);
        }
        let path = with_query(&self.path(&["versions"]), &[("bindings_inherit", "strict")]);
        let made = self.writer.write(Method::POST, &path, payload, &secrets).await?;
        let id = made.get("id").and_then(Json::as_str).filter(|id| Grammar::Id.check(id).is_ok()).ok_or_else(|| {
            let message = format!("a version of Worker `{}` was uploaded, but the answer does not say which", self.script);
            Outcome::Unknown(ProviderError::new(message, crate::model::Retry::Transient))
        })?;
        boundary::reach("after_version");
        // An uploaded version that is not deployed does nothing, and is found again by its marker.
        match self.release(id, active).await {
            Ok(()) => Ok(Expected::Version(Some(id.to_owned()))),
            Err(Unreleased::Refused(fault)) => Err(self.writer.failed(fault)),
            Err(Unreleased::Ended(outcome)) => Err(outcome),
        }
    }

    /// A version that an earlier operation of this order uploaded, of the same desired properties; one that is to be rolled
    /// out may be of any operation, since its probe may have failed before.
    async fn uploaded_earlier(&self, active: Option<&Active>) -> Result<Option<String>, Outcome> {
        let mut above = None;
        if self.begins_rollout()
            && self.is_comparable()
            && let Some(active) = active
        {
            let live = active.whole(&self.provider.client, &self.provider.account, self.script).await;
            above = live.map_err(|fault| self.writer.unread(fault))?.number;
        }
        if self.order.earlier.is_empty() && above.is_none() {
            return Ok(None);
        }
        let (client, account) = (&self.provider.client, &self.provider.account);
        let path = with_query(&self.path(&["versions"]), &[("page", "1"), ("per_page", "100")]);
        let list: Versions = client.get(&path).await.map_err(|fault| self.writer.unread(fault))?;
        for (index, item) in list.items.into_iter().enumerate() {
            if Grammar::Id.check(&item.id).is_err() {
                continue;
            }
            let version = match item.annotations {
                Some(_) => item,
                None if index < LOOKED_THROUGH => {
                    read::version(client, account, self.script, &item.id).await.map_err(|fault| self.writer.unread(fault))?
                }
                None => break,
            };
            // One below what is live lacks what others put on the Worker since.
            let is_like =
                || above.is_some_and(|above| version.number.is_some_and(|number| number > above)) && self.is_like(&version);
            if self.is_this(&version) || is_like() {
                return Ok(Some(version.id));
            }
        }
        Ok(None)
    }

    /// Whether a version is what this order would upload.
    fn is_this(&self, version: &Version) -> bool {
        let wanted = &self.order.marker;
        observe::marker(version)
            .is_some_and(|m| is_ours(self.order, &m.operation) && m.desired == wanted.desired && m.key == wanted.key)
    }

    /// Whether a version is of the same desired properties, whoever uploaded it of us.
    fn is_like(&self, version: &Version) -> bool {
        let wanted = &self.order.marker;
        observe::marker(version).is_some_and(|m| m.desired == wanted.desired && m.key == wanted.key)
    }

    /// Whether the digest of what is desired stands for every secret in it.
    fn is_comparable(&self) -> bool {
        fn unknown(value: &Value) -> bool {
            match value {
                Value::Secret { mark } => *mark == SecretMark::Unknown,
                Value::Table(table) => table.values().any(unknown),
                _ => false,
            }
        }
        !self.after.values().any(unknown)
    }

    /// The static files, where the Worker is to serve some: what its upload says of them.
    async fn upload_assets(&self) -> Result<Option<Json>, Outcome> {
        if !assets::any(&self.after) {
            return Ok(None);
        }
        let uploaded = assets::upload(self.provider, self.script, self.order).await;
        uploaded.map(Some).map_err(|fault| self.writer.unread(fault))
    }

    /// Writes the settings of the Worker as a whole where they differ; its tags among them, where they do not name its
    /// owner. Other tags stay.
    async fn write_settings(&mut self) -> Result<(), Outcome> {
        let mut settings = upload::script_settings(&self.before, &self.after);
        if matches!(self.order.change.action, Action::Adopt | Action::Move) {
            let mine = Marker::owner_tag(&self.order.change.key.address);
            let now = self.lists.tags(self.script);
            if !now.contains(&mine) {
                let foreign = now.into_iter().filter(|tag| Marker::parse_owner_tag(tag).is_none());
                settings.insert("tags".to_owned(), foreign.chain([mine]).collect());
            }
        }
        if settings.is_empty() {
            return Ok(());
        }
        let path = self.path(&["script-settings"]);
        self.writer.write(Method::PATCH, &path, Payload::Json(Json::Object(settings)), &[]).await?;
        boundary::reach("after_tags");
        Ok(())
    }

    /// Removes our routes, then the Worker. Without `force`: a Worker that others are bound to, or that owns Durable
    /// Objects, is refused by the API, and that is for a person to decide.
    async fn delete(mut self) -> Outcome {
        let routes = match self.route_changes() {
            Ok(routes) => routes,
            Err(outcome) => return outcome,
        };
        if let Err(outcome) = self.write_routes(routes).await {
            return outcome;
        }
        let path = self.path(&[]);
        let deleted = self.writer.try_write(Method::DELETE, &path, Payload::Empty, &[]).await;
        boundary::reach("after_worker_delete");
        match deleted {
            Ok(_) => Outcome::Done(Receipt::default()),
            Err(fault) if fault.is_missing() => Outcome::Done(Receipt::default()),
            Err(fault) => self.writer.failed(fault),
        }
    }
}
