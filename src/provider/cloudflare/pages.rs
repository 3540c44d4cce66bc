//! Lists that come in pages, in the shapes that the API has for them.
//!
//! **Invariant:** a list is whole or it is an error: what is missing from one is known to be absent.

use std::collections::VecDeque;

use futures_util::future::join_all;
use http::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::model::Retry;
use crate::provider::ProviderError;

use super::client::{Client, Headers, call_name};
use super::envelope::ResultInfo;
use super::fault::Fault;
use super::path::with_query;

/// A list ends here, whatever the server says.
const MOST_PAGES: usize = 500;

impl Client {
    /// Reads every page of a list that is paged by `page` and `per_page`. Where the server says how many items there are,
    /// that many are read; else the pages end with a short one, or with one that brings nothing new: a server that
    /// does not know `page` would be asked for ever.
    ///
    /// # Errors
    /// Also where the pages end before the items that the server counted: what is missing from such a list is not
    /// known to be absent.
    pub(super) async fn get_pages<T: DeserializeOwned>(
        &self,
        path: &str,
        per_page: u64,
        id: impl Fn(&T) -> &str,
    ) -> Result<Vec<T>, Fault> {
        let call = call_name(&Method::GET, path);
        let mut items: Vec<T> = Vec::new();
        let mut known = std::collections::BTreeSet::new();
        // The further pages, read at once as soon as the first one says how many there are.
        let mut ahead = VecDeque::new();
        for page in 1..=MOST_PAGES {
            let (value, info) = match ahead.pop_front() {
                Some(read) => read?,
                None => self.read_page(path, page, per_page).await?,
            };
            let found: Vec<T> = self.decode::<Option<Vec<T>>>(&call, value)?.unwrap_or_default();
            let (count, before) = (found.len() as u64, items.len());
            items.extend(found.into_iter().filter(|item| known.insert(id(item).to_owned())));
            let stuck = items.len() == before;
            let info = info.unwrap_or_default();
            // A server may give shorter pages than it was asked for, and says so.
            let full = info.per_page.filter(|size| *size > 0).unwrap_or(per_page).min(per_page);
            match info.total_count {
                Some(total) if items.len() as u64 >= total => return Ok(items),
                Some(total) if stuck => {
                    let found = items.len();
                    let message = format!("{call}: the list ended after {found} of {total} items");
                    return Err(Fault::own(ProviderError::new(message, Retry::Transient)));
                }
                Some(total) if page == 1 => {
                    let pages = usize::try_from(total.div_ceil(full)).unwrap_or(MOST_PAGES).min(MOST_PAGES);
                    ahead.extend(join_all((2..=pages).map(|page| self.read_page(path, page, per_page))).await);
                }
                Some(_) => {}
                None if stuck || count < full || info.total_pages.is_some_and(|pages| page as u64 >= pages) => return Ok(items),
                None => {}
            }
        }
        let error = ProviderError::new(format!("{call}: the list has more than {MOST_PAGES} pages"), Retry::Stalled);
        Err(Fault::own(error))
    }

    async fn read_page(&self, path: &str, page: usize, per_page: u64) -> Result<(Value, Option<ResultInfo>), Fault> {
        let (page, per_page) = (page.to_string(), per_page.to_string());
        self.read_enveloped(&with_query(path, &[("page", &page), ("per_page", &per_page)]), &[]).await
    }

    /// Reads every page of a list that is paged by a cursor, its items under `key` of the result or the result itself.
    pub(super) async fn get_cursor_pages(&self, path: &str, key: &str, headers: Headers<'_>) -> Result<Vec<Value>, Fault> {
        let call = call_name(&Method::GET, path);
        let mut items = Vec::new();
        let mut cursor = String::new();
        for _ in 0..MOST_PAGES {
            let query = [("per_page", "1000"), ("cursor", cursor.as_str())];
            let query = if cursor.is_empty() { &query[..1] } else { &query };
            let (value, info) = self.read_enveloped(&with_query(path, query), headers).await?;
            let page = if value.is_array() { Some(value) } else { value.get(key).cloned() };
            items.extend(self.decode::<Option<Vec<Value>>>(&call, page.unwrap_or_default())?.unwrap_or_default());
            match info.and_then(|info| info.cursor).filter(|next| !next.is_empty() && *next != cursor) {
                Some(next) => cursor = next,
                None => return Ok(items),
            }
        }
        let error = ProviderError::new(format!("{call}: the list has more than {MOST_PAGES} pages"), Retry::Stalled);
        Err(Fault::own(error))
    }
}
