//! A list of the account in its plainest form: items with an id, each at its own path beneath that of the list.
//!
//! **Invariant:** what is in the list and is none of the documented form is not seen: it is neither changed nor deleted.

use http::Method;
use serde_json::Value as Json;

use crate::model::Kind;
use crate::provider::cloudflare::CloudflareProvider;
use crate::provider::cloudflare::client::Payload;
use crate::provider::cloudflare::fault::Fault;
use crate::provider::cloudflare::write::Writer;

use super::{Failed, Thing, answered, text};

/// Such a list.
pub(super) struct Shelf {
    /// What stands in it.
    pub(super) kind: Kind,
    /// Its path in the account.
    pub(super) path: &'static [&'static str],
    /// The field by which items of its pages are told apart, and how many a page has; `None` where everything comes at once.
    pub(super) pages: Option<(&'static str, u64)>,
    /// An item as a thing; `None` for one that is not of the documented form.
    pub(super) thing: fn(&Json) -> Option<Thing>,
}

impl Shelf {
    /// The path of the list.
    pub(super) fn place(&self, provider: &CloudflareProvider) -> String {
        provider.account.path(self.path)
    }

    /// The path of the item with this id.
    pub(super) fn item(&self, provider: &CloudflareProvider, id: &str) -> String {
        provider.account.path(&[self.path, &[id]].concat())
    }

    /// Everything that stands in it.
    pub(super) async fn list(&self, provider: &CloudflareProvider) -> Result<Vec<Thing>, Fault> {
        let place = self.place(provider);
        let all: Vec<Json> = match self.pages {
            Some((id, size)) => provider.client.get_pages(&place, size, |item: &Json| text(item, id).unwrap_or_default()).await?,
            None => provider.client.get::<Option<_>>(&place).await?.unwrap_or_default(),
        };
        Ok(all.iter().filter_map(self.thing).collect())
    }

    /// Makes the thing that is called `claim`.
    pub(super) async fn make(&self, writer: &mut Writer<'_>, claim: &str, body: Json) -> Result<Thing, Failed> {
        let made = writer.json(Method::POST, &self.place(writer.provider), body).await?;
        answered((self.thing)(&made).filter(|thing| thing.claim == claim), self.kind, claim)
    }

    /// Deletes the item with this id.
    pub(super) async fn remove(&self, writer: &mut Writer<'_>, id: &str) -> Result<(), Failed> {
        let path = self.item(writer.provider, id);
        writer.try_write(Method::DELETE, &path, Payload::Empty, &[]).await?;
        Ok(())
    }
}
