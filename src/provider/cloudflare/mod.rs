//! Workers, and what else the platform keeps, through Cloudflare's REST API (v4): Cloudflare itself, or a self-hosted edge that speaks
//! the same.
//!
//! Goes in: a query, or approved orders. Comes out: observations, and one outcome for each order.
//!
//! What is read for an unchanged account does not grow with the number of Workers: the two lists of Workers, one list of each
//! other kind, and of each zone that a definition names its records and its rules; its routes only where the list of Workers
//! does not show the recorded ones. A changed Worker costs two writes, the upload of a version and its deployment; crons,
//! routes, tags and the workers.dev name are written only where they differ.
//!
//! **Invariant:** a write is sent once. Where its answer does not say what happened the order's outcome is unknown, and
//! so is that of an order of which a part was carried out before another was refused: the journal looks before anything
//! is repeated. What is not ours on a Worker (bindings, secrets, crons, routes, tags) is kept.

mod budget;
mod carry_out;
mod client;
mod codes;
mod collection;
mod deployed;
mod envelope;
mod fault;
mod lists;
mod multipart;
mod observe;
mod pace;
mod pages;
mod path;
mod payload;
mod purge;
mod read;
mod repeated;
mod survey;
mod upload;
mod wire;
mod worker;
mod write;
mod zones;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::model::{Kind, ObservedState, ResourceName, Retry, Secret, SecretMark, SecretResolver, Spec, WorkerSpec};
use crate::provider::{Order, Outcome, Provider, ProviderError, Query, Token};

use client::Client;
use lists::Account;

pub use pace::Paces;
pub use survey::{Asked, ModuleFile, Survey, Surveyed, SurveyedWorker, survey};

/// How long calls may take, and how often a read is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a connection to be made.
    pub connect: Duration,
    /// For a whole read.
    pub read: Duration,
    /// For a whole write; after that its outcome is unknown.
    pub write: Duration,
    /// For the API to take calls again after it said "later"; what would take longer is an error that says until when.
    pub wait: Duration,
    /// How often a read is tried in all.
    pub attempts: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            read: Duration::from_secs(30),
            write: Duration::from_secs(120),
            wait: Duration::from_secs(60),
            attempts: 4,
        }
    }
}

/// What a provider is made of.
pub struct Options {
    /// Such as `https://api.cloudflare.com/client/v4`, no final slash. Plain `http` is taken for a loopback address only,
    /// since every call carries the token.
    pub endpoint: String,
    /// 32 hex digits.
    pub account_id: String,
    /// The token to call it with.
    pub token: Secret,
    /// For how long an unknown outcome is left to settle: nothing for an edge on this machine, minutes for one elsewhere
    /// and for Cloudflare.
    pub settle: Duration,
    /// Opens the secrets that the environment's Workers are bound to.
    pub secrets: Arc<dyn SecretResolver>,
    /// The client to call with; see [`http_client`]. `None` makes one.
    pub client: Option<reqwest::Client>,
    /// How fast each token may be used: shared by all that may use the same one.
    pub paces: Paces,
    /// How long calls may take.
    pub patience: Patience,
}

/// How many rounds of calls the orders of one batch take: the lists are read once before them and once after, so that a
/// large batch costs fewer calls; a daemon that is told to stop ends the batch in hand.
const ROUNDS: usize = 4;

/// A Cloudflare account, or an edge, for one environment.
pub struct CloudflareProvider {
    client: Client,
    /// For probes, which carry no token.
    http: reqwest::Client,
    account: Account,
    secrets: Arc<dyn SecretResolver>,
    settle: Duration,
    /// How many things are read at once.
    concurrency: usize,
}

/// Makes a provider; calls nothing yet.
///
/// # Errors
/// Where the endpoint, the account id or the token is of no usable form, or no TLS is to be had.
pub fn connect(options: Options) -> Result<CloudflareProvider, ProviderError> {
    let Options { endpoint, account_id, token, settle, secrets, client, paces, patience } = options;
    let endpoint = checked_endpoint(&endpoint)?;
    if account_id.len() != 32 || !account_id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        let error = ProviderError::new("the target's `account_id` is not 32 lower-case hex digits", Retry::Stalled);
        return Err(error.hint("it is shown in Cloudflare's dashboard, and by `wrangler whoami`"));
    }
    let http = match client {
        Some(client) => client,
        None => http_client(&patience)?,
    };
    let zones = paces.zones(&endpoint, &account_id, &token);
    Ok(CloudflareProvider {
        client: Client::new(http.clone(), endpoint, &token, &paces, patience)?,
        http,
        account: Account::new(account_id, zones),
        secrets,
        settle,
        concurrency: paces.width(),
    })
}

/// The HTTP client that [`connect`] makes for itself: the system's certificate authorities and Mozilla's together, no
/// redirects, no proxy but the environment's. To be shared between targets.
///
/// # Errors
/// Where the process has installed no TLS provider, or the certificates cannot be used.
pub fn http_client(patience: &Patience) -> Result<reqwest::Client, ProviderError> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        return Err(ProviderError::new("the process has installed no TLS provider", Retry::Stalled));
    }
    let no_tls = |error| ProviderError::new("the HTTP client cannot be made", Retry::Stalled).source(error);
    let authorities = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(|der| reqwest::Certificate::from_der(der.as_ref()));
    let authorities = authorities.collect::<Result<Vec<_>, _>>().map_err(no_tls)?;
    reqwest::Client::builder()
        .tls_certs_merge(authorities)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .retry(reqwest::retry::never())
        .connect_timeout(patience.connect)
        .user_agent(concat!("trunkline/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(no_tls)
}

fn checked_endpoint(endpoint: &str) -> Result<String, ProviderError> {
    let bad =
        |what: &str, hint: &str| Err(ProviderError::new(format!("the target's endpoint {what}"), Retry::Stalled).hint(hint));
    let example = "write it as `https://api.cloudflare.com/client/v4`";
    let Ok(url) = reqwest::Url::parse(endpoint) else { return bad("is no URL", example) };
    if url.host_str().is_none() {
        return bad("names no host", example);
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return bad("has a user, a query or a fragment", example);
    }
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(endpoint) => {}
        "http" => return bad("would send the token in the clear", "use https, or an address on this machine"),
        _ => return bad("is neither http nor https", example),
    }
    Ok(endpoint.trim_end_matches('/').to_owned())
}

/// Whether an endpoint is on this machine, by its name alone.
pub(super) fn is_loopback(endpoint: &str) -> bool {
    let url = reqwest::Url::parse(endpoint).ok();
    url.as_ref().and_then(reqwest::Url::host_str).is_some_and(|host| {
        host == "localhost" || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    })
}

impl CloudflareProvider {
    /// The token by which a host runs the tunnel of this id: read when it is needed, and recorded nowhere.
    ///
    /// # Errors
    /// Where the API does not give it.
    pub async fn tunnel_token(&self, id: &str) -> Result<Secret, ProviderError> {
        collection::tunnel_token(self, id).await
    }
}

impl Provider for CloudflareProvider {
    fn observe<'a>(&'a self, query: &'a Query) -> BoxFuture<'a, Result<ObservedState, ProviderError>> {
        observe::observe(self, query).boxed()
    }

    fn hides(&self, kind: Kind) -> bool {
        kind == Kind::Worker || collection::sort(kind).is_some_and(|sort| !sort.deep().is_empty())
    }

    fn carry_out<'a>(&'a self, orders: &'a [Order]) -> BoxFuture<'a, Vec<Outcome>> {
        carry_out::carry_out(self, orders).boxed()
    }

    fn follow_up<'a>(&'a self, spec: &'a Spec) -> BoxFuture<'a, Vec<String>> {
        async move {
            match spec {
                Spec::Worker(WorkerSpec { purge: Some(purge), .. }) => purge::purge(self, purge).await,
                _ => Vec::new(),
            }
        }
        .boxed()
    }

    fn token<'a>(&'a self, tunnel: &'a ResourceName, id: &'a str) -> BoxFuture<'a, Result<Token, ProviderError>> {
        async move {
            let value = self.tunnel_token(id).await?;
            let mark = self.secrets.mark_token(tunnel, &value).map_or(SecretMark::Unknown, SecretMark::Hmac);
            Ok(Token { value, mark })
        }
        .boxed()
    }

    fn batch(&self) -> usize {
        self.concurrency * ROUNDS
    }

    fn settle(&self) -> Duration {
        self.settle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_never_gets_the_token_in_the_clear() {
        for good in [
            "https://api.cloudflare.com/client/v4",
            "http://127.0.0.1:8787/client/v4/",
            "http://localhost:1/x",
            "http://[::1]:1/x",
        ] {
            assert!(!checked_endpoint(good).unwrap().ends_with('/'), "{good}");
        }
        for bad in [
            "http://edge.example.com/client/v4",
            "http://127.0.0.1.example.com/",
            "ftp://127.0.0.1/",
            "https://user:secret@example.com/",
            "https://example.com/?x",
            "nonsense",
            "",
        ] {
            assert!(checked_endpoint(bad).is_err(), "{bad}");
        }
    }
}
