//! A counting proxy in front of an HTTP server, that can make calls fail in every way a network knows.
//!
//! Goes in: the address of the real server, and rules. Comes out: an address to call instead, and a record of every
//! call that came in: what was asked, what was answered, and whether it reached the server.
//!
//! A call that was forwarded is carried out there to its end, also where its caller has gone.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// One call that came in.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// Its method.
    pub(crate) method: Method,
    /// Its path, without the query.
    pub(crate) path: String,
    /// Its query, empty where there is none.
    pub(crate) query: String,
    /// Its `Authorization` header.
    pub(crate) authorization: Option<String>,
    /// Its body.
    pub(crate) body: Bytes,
    /// Whether it reached the server.
    pub(crate) forwarded: bool,
    /// The status that its caller got; `None` where the connection was cut.
    pub(crate) status: Option<u16>,
}

impl Call {
    /// Whether it is one that changes something.
    pub(crate) fn is_write(&self) -> bool {
        !matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS)
    }

    /// `PUT /path`.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// What happens to a call.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// It waits, then goes on.
    Delay(Duration),
    /// The connection is cut; the server sees nothing.
    DropBefore,
    /// The server carries it out; the connection is cut instead of the answer.
    DropAfter,
    /// This answer; the server sees nothing.
    AnswerBefore(Answer),
    /// The server carries it out; the caller gets this answer instead of its own.
    AnswerAfter(Answer),
}

/// An answer that is made up.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: u16,
    /// Its headers.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// Its body.
    pub(crate) body: String,
}

impl Answer {
    /// An answer of `status` in the API's envelope, with one error.
    pub(crate) fn error(status: u16, code: u32) -> Self {
        let body =
            format!(r#"{{"success":false,"errors":[{{"code":{code},"message":"injected"}}],"messages":[],"result":null}}"#);
        Self { status, headers: Vec::new(), body }
    }

    /// An answer with this body, whatever it is.
    pub(crate) fn body(status: u16, body: &str) -> Self {
        Self { status, headers: Vec::new(), body: body.to_owned() }
    }

    /// The same with a header.
    #[must_use]
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// Which calls a fault befalls.
struct Rule {
    method: Method,
    ending: String,
    left: usize,
    fault: Fault,
}

#[derive(Default)]
struct Shared {
    calls: Mutex<Vec<Call>>,
    rules: Mutex<Vec<Rule>>,
}

/// A proxy that runs until it is dropped.
pub(crate) struct Proxy {
    /// Where to call it.
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// Starts one on a free loopback port, in front of `upstream`.
    pub(crate) async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared::default());
        let client = Client::builder(TokioExecutor::new()).build_http();
        let task = tokio::spawn(serve(listener, upstream, client, Arc::clone(&shared)));
        Self { address, shared, task }
    }

    /// Lets `fault` befall the next `times` calls of `method` whose path ends in `ending`. Rules are tried in the order
    /// in which they were given.
    pub(crate) fn inject(&self, method: Method, ending: &str, times: usize, fault: Fault) {
        self.shared.rules.lock().unwrap().push(Rule { method, ending: ending.to_owned(), left: times, fault });
    }

    /// Every call since the last [`Proxy::reset`], in the order in which they came in.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().unwrap().clone()
    }

    /// The lines of the calls that change something.
    pub(crate) fn writes(&self) -> Vec<String> {
        self.calls().iter().filter(|call| call.is_write()).map(Call::line).collect()
    }

    /// Forgets calls and rules.
    pub(crate) fn reset(&self) {
        self.shared.calls.lock().unwrap().clear();
        self.shared.rules.lock().unwrap().clear();
    }
}

type Upstream = Client<HttpConnector, Full<Bytes>>;

async fn serve(listener: TcpListener, upstream: SocketAddr, client: Upstream, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (client, shared) = (client.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            let service = service_fn(move |request| handle(request, upstream, client.clone(), Arc::clone(&shared)));
            // An error is what a dropped connection is made with.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn handle(
    request: Request<Incoming>,
    upstream: SocketAddr,
    client: Upstream,
    shared: Arc<Shared>,
) -> io::Result<Response<Full<Bytes>>> {
    let (mut parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let index = {
        let mut calls = shared.calls.lock().unwrap();
        calls.push(Call {
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            authorization: parts.headers.get("authorization").and_then(|v| v.to_str().ok()).map(str::to_owned),
            body: body.clone(),
            forwarded: false,
            status: None,
        });
        calls.len() - 1
    };
    let note = |change: &dyn Fn(&mut Call)| {
        if let Some(call) = shared.calls.lock().unwrap().get_mut(index) {
            change(call);
        }
    };
    let fault = shared.fault(&parts.method, parts.uri.path());
    match &fault {
        Some(Fault::Delay(delay)) => tokio::time::sleep(*delay).await,
        Some(Fault::DropBefore) => return Err(cut()),
        Some(Fault::AnswerBefore(answer)) => {
            note(&|call| call.status = Some(answer.status));
            return Ok(made_up(answer));
        }
        Some(Fault::DropAfter | Fault::AnswerAfter(_)) | None => {}
    }
    note(&|call| call.forwarded = true);
    let path = parts.uri.path_and_query().map_or("/", |p| p.as_str());
    parts.uri = format!("http://{upstream}{path}").parse().map_err(io::Error::other)?;
    let forwarded = tokio::spawn(forward(client, Request::from_parts(parts, Full::new(body))));
    let response = forwarded.await.map_err(io::Error::other)??;
    let response = match &fault {
        Some(Fault::DropAfter) => return Err(cut()),
        Some(Fault::AnswerAfter(answer)) => made_up(answer),
        _ => response,
    };
    note(&|call| call.status = Some(response.status().as_u16()));
    Ok(response)
}

async fn forward(client: Upstream, request: Request<Full<Bytes>>) -> io::Result<Response<Full<Bytes>>> {
    let (parts, body) = client.request(request).await.map_err(io::Error::other)?.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    Ok(Response::from_parts(parts, Full::new(body)))
}

fn cut() -> io::Error {
    io::Error::other("cut by the test")
}

fn made_up(answer: &Answer) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(answer.status).header("content-type", "application/json");
    for (name, value) in &answer.headers {
        response = response.header(*name, value);
    }
    response.body(Full::new(Bytes::from(answer.body.clone()))).expect("a valid answer")
}

impl Shared {
    fn fault(&self, method: &Method, path: &str) -> Option<Fault> {
        let mut rules = self.rules.lock().unwrap();
        let rule = rules.iter_mut().find(|r| r.left > 0 && r.method == *method && path.ends_with(&r.ending))?;
        rule.left -= 1;
        Some(rule.fault.clone())
    }
}
