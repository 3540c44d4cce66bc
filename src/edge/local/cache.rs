//! The Cache API: responses kept for as long as they say, in memory.
//!
//! Goes in: `PUT` with a whole HTTP response as body, `GET` with `only-if-cached`, `PURGE`. Comes out: the response that is
//! kept, with `CF-Cache-Status: HIT`, or 504. A response without `max-age`, `s-maxage` or `Expires` is kept for two hours,
//! as at Cloudflare; one with `Set-Cookie`, `private` or `no-store` is not kept.
//!
//! **Invariant:** what is kept is bounded in bytes; the oldest goes first.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::header::{AGE, CACHE_CONTROL, HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};

use super::{Body, Call, full, now_ms, read, status};

/// Bytes of one response.
const ITEM_LIMIT: usize = 16 * 1024 * 1024;
/// Bytes of all.
const TOTAL_LIMIT: usize = 128 * 1024 * 1024;
/// For how long a response is kept that does not say.
const DEFAULT_SECONDS: i64 = 2 * 60 * 60;

/// What is kept.
#[derive(Default)]
pub(super) struct Cache(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    items: HashMap<String, Item>,
    /// Keys as they came, with the number of the item that they came for.
    order: VecDeque<(String, u64)>,
    bytes: usize,
    next: u64,
}

#[derive(Clone)]
struct Item {
    number: u64,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    since: i64,
    until: i64,
}

impl Cache {
    /// One call of the Cache API.
    pub(super) async fn answer(&self, call: Call) -> Response<Body> {
        let (parts, body) = call.request.into_parts();
        let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let key = format!("{}\n{}\n{}", text("cf-cache-namespace"), text(HOST.as_str()), parts.uri);
        match parts.method {
            Method::PUT => match read(body, ITEM_LIMIT).await {
                Ok(bytes) => {
                    let now = now_ms();
                    if let Some(item) = parse(&bytes, now) {
                        self.put(key, item);
                    }
                    status(StatusCode::NO_CONTENT)
                }
                Err(refused) => status(refused),
            },
            Method::GET => self.get(&key, &parts.headers, now_ms()),
            ref method if method.as_str() == "PURGE" => match self.remove(&key) {
                true => status(StatusCode::OK),
                false => status(StatusCode::NOT_FOUND),
            },
            _ => status(StatusCode::METHOD_NOT_ALLOWED),
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, key: String, mut item: Item) {
        let mut kept = self.kept();
        kept.remove(&key);
        kept.next += 1;
        item.number = kept.next;
        kept.bytes += item.body.len();
        kept.order.push_back((key.clone(), item.number));
        kept.items.insert(key, item);
        while kept.bytes > TOTAL_LIMIT
            && let Some((oldest, number)) = kept.order.pop_front()
        {
            if kept.items.get(&oldest).is_some_and(|item| item.number == number) {
                kept.remove(&oldest);
            }
        }
        // Keys of what was replaced pile up otherwise.
        if kept.order.len() > 2 * kept.items.len() + 64 {
            let Kept { order, items, .. } = &mut *kept;
            order.retain(|(key, number)| items.get(key).is_some_and(|item| item.number == *number));
        }
    }

    fn remove(&self, key: &str) -> bool {
        self.kept().remove(key)
    }

    fn get(&self, key: &str, asked: &HeaderMap, now: i64) -> Response<Body> {
        let mut kept = self.kept();
        let Some(item) = kept.items.get(key).cloned() else { return miss() };
        if item.until <= now {
            kept.remove(key);
            return miss();
        }
        drop(kept);
        let etag = item.headers.get("etag");
        let unchanged = etag.is_some() && asked.get("if-none-match") == etag;
        let mut response = Response::new(full(if unchanged { Bytes::new() } else { item.body }));
        *response.status_mut() = if unchanged { StatusCode::NOT_MODIFIED } else { item.status };
        *response.headers_mut() = item.headers;
        response.headers_mut().insert("cf-cache-status", HeaderValue::from_static("HIT"));
        response.headers_mut().insert(AGE, HeaderValue::from((now - item.since).max(0) / 1000));
        response
    }
}

impl Kept {
    fn remove(&mut self, key: &str) -> bool {
        match self.items.remove(key) {
            Some(item) => {
                self.bytes -= item.body.len();
                true
            }
            None => false,
        }
    }
}

fn miss() -> Response<Body> {
    let mut response = status(StatusCode::GATEWAY_TIMEOUT);
    response.headers_mut().insert("cf-cache-status", HeaderValue::from_static("MISS"));
    response
}

/// A serialized response that may be kept; `None` where it may not.
fn parse(bytes: &Bytes, now: i64) -> Option<Item> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let code = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let status = StatusCode::from_u16(code).ok()?;
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        let name: HeaderName = name.trim().parse().ok()?;
        headers.append(name, HeaderValue::from_str(value.trim()).ok()?);
    }
    let chunked = headers.get("transfer-encoding").is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"chunked"));
    let body = bytes.slice(end + 4..);
    let body = if chunked { unchunk(&body)? } else { body };
    for name in ["transfer-encoding", "connection", "content-length"] {
        headers.remove(name);
    }
    let seconds = seconds(&headers, now)?;
    Some(Item { number: 0, status, headers, body, since: now, until: now + seconds * 1000 })
}

fn unchunk(mut rest: &[u8]) -> Option<Bytes> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..line]).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        rest = &rest[line + 2..];
        if size == 0 {
            return Some(body.into());
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}

/// For how long a response may be kept; `None` where it may not.
fn seconds(headers: &HeaderMap, now: i64) -> Option<i64> {
    if headers.contains_key("set-cookie") {
        return None;
    }
    let control = headers.get(CACHE_CONTROL).and_then(|value| value.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
    let directives: Vec<&str> = control.split(',').map(str::trim).collect();
    if directives.iter().any(|directive| ["private", "no-store", "no-cache"].contains(directive)) {
        return None;
    }
    let number = |name: &str| {
        directives.iter().find_map(|directive| directive.strip_prefix(name)?.strip_prefix('=')?.trim_matches('"').parse().ok())
    };
    let expires = || {
        let text = headers.get("expires")?.to_str().ok()?;
        Some((chrono::DateTime::parse_from_rfc2822(text).ok()?.timestamp_millis() - now) / 1000)
    };
    let seconds = number("s-maxage").or_else(|| number("max-age")).or_else(expires).unwrap_or(DEFAULT_SECONDS);
    (seconds > 0).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept_for(headers: &str) -> Option<i64> {
        let bytes = Bytes::from(format!("HTTP/1.1 200 OK\r\n{headers}\r\nbody"));
        parse(&bytes, 0).map(|item| {
            assert_eq!(item.body, "body");
            item.until / 1000
        })
    }

    #[test]
    fn a_response_says_how_long_it_is_kept() {
        assert_eq!(kept_for("Cache-Control: public, max-age=10, s-maxage=20\r\n"), Some(20));
        assert_eq!(kept_for("Cache-Control: max-age=10\r\n"), Some(10));
        assert_eq!(kept_for("Expires: Thu, 01 Jan 1970 00:01:00 GMT\r\n"), Some(60));
        assert_eq!(kept_for("Content-Type: text/plain\r\n"), Some(DEFAULT_SECONDS));
        for never in ["Cache-Control: private\r\n", "Cache-Control: max-age=0\r\n", "Set-Cookie: a=b\r\n"] {
            assert_eq!(kept_for(never), None, "{never}");
        }
    }

    #[test]
    fn a_body_in_chunks_is_put_together() {
        assert_eq!(unchunk(b"2\r\nab\r\n1;x\r\nc\r\n0\r\n\r\n").unwrap(), "abc");
        assert_eq!(unchunk(b"5\r\nab\r\n"), None);
    }

    #[test]
    fn the_oldest_goes_first_and_what_has_expired_is_a_miss() {
        let cache = Cache::default();
        let item = |size: usize| Item {
            number: 0,
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: Bytes::from(vec![0; size]),
            since: 0,
            until: 1000,
        };
        for key in 0..9 {
            cache.put(key.to_string(), item(ITEM_LIMIT));
        }
        let found = |key: &str, now| cache.get(key, &HeaderMap::new(), now).status();
        assert_eq!((found("0", 0), found("8", 999)), (StatusCode::GATEWAY_TIMEOUT, StatusCode::OK));
        assert_eq!(found("8", 1000), StatusCode::GATEWAY_TIMEOUT);
        assert!(cache.remove("7") && !cache.remove("7"));
    }
}
