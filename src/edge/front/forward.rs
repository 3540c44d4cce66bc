//! One request, from outside to a Worker and back.
//!
//! Goes in: a request. Comes out: the Worker's response; or a plain text that says why there is none.
//!
//! A client on loopback is a proxy of this machine and is believed what it says in `X-Forwarded-For`, `X-Forwarded-Proto`
//! and `CF-Connecting-IP`; of anyone else these are replaced.
//!
//! **Invariant:** a request reaches a Worker at most once, whatever happens to the process.

use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;

use super::super::runtime::pool::{Body, Lease, SendError};
use super::super::runtime::track::Track;
use super::super::runtime::{Entry, Runtime, Supervisor};
use super::table::Hit;

/// For how long a request waits for a process that is being started again.
const HOLD: Duration = Duration::from_secs(10);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(25);

/// Headers that belong to one connection (RFC 9110, 7.6.1), and `expect`, which the front answers itself.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "expect",
];

/// Answers a request.
pub(super) async fn answer(mut request: Request<Incoming>, peer: SocketAddr, supervisor: &Supervisor) -> Response<Body> {
    let Some(host) = host_of(&request) else { return text(StatusCode::BAD_REQUEST, "the request names no host\n") };
    let trusted = peer.ip().to_canonical().is_loopback();
    let upgrade = request.headers().contains_key(UPGRADE).then(|| hyper::upgrade::on(&mut request));
    let (mut parts, body) = request.into_parts();
    let scheme = describe_client(&mut parts.headers, peer, trusted);
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    clean(&mut parts.headers, upgrade.is_some());
    if let Ok(value) = HeaderValue::from_str(&host) {
        parts.headers.insert(HOST, value);
    }
    let asked = parts.headers.get("cloudflare-workers-version-overrides").and_then(|v| v.to_str().ok()).map(str::to_owned);
    let sticky = parts.headers.get("cloudflare-workers-version-key").cloned();
    parts.uri = path.parse().unwrap_or_default();
    parts.version = http::Version::HTTP_11;
    let mut outgoing = Request::from_parts(parts, body.map_err(Into::into).boxed_unsync());

    let since = Instant::now();
    loop {
        let (table, entry) = supervisor.enter(|table| match table.find(scheme, &host, &path) {
            Hit::Worker(script) => table.track(script),
            Hit::Nothing => Track::Overlapping,
        });
        let script = match table.find(scheme, &host, &path) {
            Hit::Worker(script) => script,
            Hit::Nothing => return text(StatusCode::NOT_FOUND, &format!("no Worker answers for {host} here\n")),
        };
        if let Runtime::Missing { hint } = supervisor.runtime() {
            let message = format!("the Worker `{script}` is stored but does not run: workerd is not installed\n{hint}\n");
            return text(StatusCode::SERVICE_UNAVAILABLE, &message);
        }
        let point = point_of(script, sticky.as_ref());
        let asked = asked.as_deref().and_then(|overrides| override_of(overrides, script));
        let Some(version) = table.version(script, asked.as_deref(), point) else {
            return text(StatusCode::NOT_FOUND, &format!("the Worker `{script}` has no deployment\n"));
        };
        let sent = match entry {
            Some(entry) => match entry.generation.clone().pool(script, version) {
                Some(pool) => pool.send(outgoing).await.map(|(response, lease)| (response, lease, entry)),
                None => return text(StatusCode::SERVICE_UNAVAILABLE, &format!("the Worker `{script}` does not run\n")),
            },
            None => {
                let missing = std::io::Error::from(std::io::ErrorKind::NotConnected);
                Err(SendError::Unreachable(Box::new(outgoing), missing))
            }
        };
        match sent {
            Ok((response, lease, entry)) => return pass_back(response, lease, entry, upgrade),
            // Not sent: the process has just ended. It is being started again.
            Err(SendError::Unreachable(unsent, _)) if since.elapsed() < HOLD => outgoing = *unsent,
            Err(SendError::Unreachable(_, error)) => {
                tracing::warn!(script, %error, "A Worker could not be reached.");
                return text(StatusCode::SERVICE_UNAVAILABLE, &format!("the Worker `{script}` does not run at the moment\n"));
            }
            Err(SendError::Broken(error)) => {
                tracing::warn!(script, %error, "A Worker's process ended before it answered.");
                return text(StatusCode::BAD_GATEWAY, &format!("the Worker `{script}` ended before it answered\n"));
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn pass_back(
    response: Response<Incoming>,
    lease: Lease,
    entry: Entry,
    upgrade: Option<hyper::upgrade::OnUpgrade>,
) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    if parts.status == StatusCode::SWITCHING_PROTOCOLS
        && let Some(outside) = upgrade
    {
        let mut switched = Response::from_parts(parts, body);
        let inside = hyper::upgrade::on(&mut switched);
        tokio::spawn(async move {
            // The entry keeps the generation alive while the connection lasts, up to its drain's limit.
            let _held = (entry, lease);
            if let (Ok(outside), Ok(inside)) = tokio::join!(outside, inside) {
                let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(outside), &mut TokioIo::new(inside)).await;
            }
        });
        return switched.map(|_| Full::default().map_err(|never| match never {}).boxed_unsync());
    }
    clean(&mut parts.headers, false);
    // The lease and the entry go with the body: both end when it has been read, or when the client is gone.
    let held = (entry, lease);
    let body = body.map_frame(move |frame| {
        let _ = &held;
        frame
    });
    Response::from_parts(parts, body.map_err(Into::into).boxed_unsync())
}

/// The host asked for: of an absolute request target, or else of the header.
fn host_of(request: &Request<Incoming>) -> Option<String> {
    let named = request.uri().authority().map(|authority| authority.as_str().to_owned());
    named.or_else(|| request.headers().get(HOST)?.to_str().ok().map(str::to_owned)).filter(|host| !host.is_empty())
}

/// Says in the headers who the client is; returns the scheme that it used.
fn describe_client(headers: &mut HeaderMap, peer: SocketAddr, trusted: bool) -> &'static str {
    const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
    const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
    const CONNECTING_IP: HeaderName = HeaderName::from_static("cf-connecting-ip");
    let ip = peer.ip().to_canonical().to_string();
    if !trusted {
        for name in [&FORWARDED_FOR, &FORWARDED_PROTO, &CONNECTING_IP] {
            headers.remove(name);
        }
    }
    let said = headers.get(&FORWARDED_FOR).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let chain = said.as_deref().map_or_else(|| ip.clone(), |said| format!("{said}, {ip}"));
    let client = said.as_deref().and_then(|said| said.split(',').next()).map_or(ip.as_str(), str::trim);
    if let Ok(value) = HeaderValue::from_str(client) {
        headers.entry(CONNECTING_IP).or_insert(value);
    }
    if let Ok(value) = HeaderValue::from_str(&chain) {
        headers.insert(FORWARDED_FOR, value);
    }
    let scheme = match headers.get(&FORWARDED_PROTO).map(HeaderValue::as_bytes) {
        Some(b"https") => "https",
        _ => "http",
    };
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(scheme));
    scheme
}

/// Removes what belongs to the connection and not to the message.
fn clean(headers: &mut HeaderMap, upgrading: bool) {
    let listed: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| name != UPGRADE)
        .collect();
    for name in listed {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    if upgrading {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    } else {
        headers.remove(UPGRADE);
    }
}

/// The version that `Cloudflare-Workers-Version-Overrides: name="id"` asks for.
fn override_of(overrides: &str, script: &str) -> Option<String> {
    let mut pairs = overrides.split(',').filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == script).map(|(_, id)| id.trim_matches('"').to_owned())
}

/// A number from 0 up to 100: the same for the same sticky key, any otherwise.
fn point_of(script: &str, sticky: Option<&HeaderValue>) -> f64 {
    let number = match sticky {
        Some(key) => {
            let digest = crate::model::Digest::of(&[script.as_bytes(), b"\0", key.as_bytes()].concat());
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&digest.as_bytes()[..8]);
            u64::from_be_bytes(bytes)
        }
        // Each RandomState has keys of its own.
        None => RandomState::new().hash_one(Instant::now()),
    };
    (number % 10_000) as f64 / 100.0
}

/// A plain answer of the front itself.
fn text(status: StatusCode, message: &str) -> Response<Body> {
    let body = Full::new(Bytes::copy_from_slice(message.as_bytes())).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert("cache-control", HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_stranger_is_not_believed_and_a_proxy_of_this_machine_is() {
        let said = [("x-forwarded-for", "10.0.0.1"), ("cf-connecting-ip", "10.0.0.2"), ("x-forwarded-proto", "https")];
        let mut stranger = headers(&said);
        assert_eq!(describe_client(&mut stranger, "192.0.2.1:9".parse().unwrap(), false), "http");
        assert_eq!(stranger["cf-connecting-ip"], "192.0.2.1");
        assert_eq!(stranger["x-forwarded-for"], "192.0.2.1");
        let mut proxy = headers(&said);
        assert_eq!(describe_client(&mut proxy, "127.0.0.1:9".parse().unwrap(), true), "https");
        assert_eq!(proxy["cf-connecting-ip"], "10.0.0.2");
        assert_eq!(proxy["x-forwarded-for"], "10.0.0.1, 127.0.0.1");
    }

    #[test]
    fn headers_of_the_connection_stay_behind() {
        let mut map = headers(&[
            ("connection", "close, x-mine"),
            ("x-mine", "1"),
            ("te", "trailers"),
            ("x-other", "2"),
            ("upgrade", "h2c"),
        ]);
        clean(&mut map, false);
        assert_eq!(map, headers(&[("x-other", "2")]));
    }

    #[test]
    fn a_sticky_key_always_leads_to_the_same_share() {
        let key = HeaderValue::from_static("user-1");
        assert_eq!(point_of("api", Some(&key)).to_bits(), point_of("api", Some(&key)).to_bits());
        assert!((0.0..100.0).contains(&point_of("api", None)));
    }
}
