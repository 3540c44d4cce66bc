//! Links into the edge's own network: services, databases and certificates, where the edge allows them.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::bench::{Bench, TOKEN};

const CODE: &str = r#"import { connect } from "cloudflare:sockets";
export default {
  async fetch(request, env) {
    const path = new URL(request.url).pathname;
    if (path === "/http") return env.ENGINE.fetch("http://engine.internal/bid?x=1");
    const { host, port, user, password, database, connectionString } = env.DB;
    if (path === "/tcp") {
      const socket = env.DB.connect();
      const writer = socket.writable.getWriter();
      await writer.write(new TextEncoder().encode("hello"));
      const { value } = await socket.readable.getReader().read();
      return new Response(new TextDecoder().decode(value));
    }
    return Response.json({ user, password, database, scheme: connectionString.split(":")[0] });
  }
};"#;

/// A server that says what it got, once for each connection.
async fn server(answer: impl Fn(String) -> String + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = vec![0; 4096];
            let read = stream.read(&mut bytes).await.unwrap_or(0);
            let said = answer(String::from_utf8_lossy(&bytes[..read]).into_owned());
            let _ = stream.write_all(said.as_bytes()).await;
        }
    });
    port
}

async fn directory(bench: &Bench, http: u16, tcp: u16) -> Value {
    let service = json!({ "type": "http", "name": "engine", "http_port": http, "host": { "ipv4": "127.0.0.1", "network": { "tunnel_id": "t" } } });
    let service = bench.done("POST", "/connectivity/directory/services", Some(service)).await;
    let origin = json!({ "scheme": "postgres", "host": "127.0.0.1", "port": tcp, "database": "ads", "user": "me", "password": "planted-4712" });
    let config = bench.done("POST", "/hyperdrive/configs", Some(json!({ "name": "db", "origin": origin }))).await;
    assert!(!config.to_string().contains("planted-4712"));
    json!([
        { "name": "ENGINE", "type": "vpc_service", "service_id": service["service_id"] },
        { "name": "DB", "type": "hyperdrive", "id": config["id"] },
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_reaches_a_private_service_and_a_database_where_that_is_allowed() {
    let bench = Bench::start_with(|options| options.private_network = true).await;
    let http = server(|got| {
        let body = got.lines().next().unwrap_or_default().to_owned();
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    })
    .await;
    let tcp = server(|got| format!("got {got}")).await;
    let bindings = directory(&bench, http, tcp).await;
    bench.put("app", CODE, bindings).await;
    assert_eq!(bench.get("app.localhost", "/http").await, (200, "GET /bid?x=1 HTTP/1.1".to_owned()));
    assert_eq!(bench.get("app.localhost", "/tcp").await, (200, "got hello".to_owned()));
    let expected = json!({ "user": "me", "password": "planted-4712", "database": "ads", "scheme": "postgresql" });
    assert_eq!(bench.json("app.localhost", "/").await, expected);
    let id = bench.done("GET", "/hyperdrive/configs", None).await[0]["id"].as_str().unwrap().to_owned();
    let changed = bench.done("PATCH", &format!("/hyperdrive/configs/{id}"), Some(json!({ "origin": { "user": "you" } }))).await;
    assert_eq!((&changed["origin"]["user"], &changed["origin"]["database"]), (&json!("you"), &json!("ads")));
    assert_eq!(bench.json("app.localhost", "/").await["user"], "you");
    assert_eq!(bench.refused("DELETE", &format!("/hyperdrive/configs/{id}"), None).await.0, 400, "a Worker binds it");
    for entry in ["account.json", "scripts/app.json"] {
        assert!(!std::fs::read_to_string(bench.folder.path().join(entry)).unwrap().contains("planted-4712"), "{entry}");
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_link_is_refused_where_the_edge_allows_none() {
    let bench = Bench::start().await;
    for binding in directory(&bench, 1, 2).await.as_array().unwrap() {
        let metadata = json!({ "main_module": "index.js", "bindings": [binding] });
        let modules = [("index.js", "application/javascript+module", "export default {}")];
        let (status, answer) = bench.upload("PUT", "/workers/scripts/app", &metadata, &modules).await;
        assert_eq!(status, 400, "{answer}");
        assert!(answer["errors"][0]["message"].as_str().unwrap().contains("--private-network"), "{answer}");
    }
    let services = bench.done("GET", "/connectivity/directory/services?type=http", None).await;
    let path = format!("/connectivity/directory/services/{}", services[0]["service_id"].as_str().unwrap());
    let wanted = json!({ "type": "tcp", "name": "engine", "tcp_port": 9, "host": { "hostname": "engine.internal" } });
    assert_eq!(bench.done("PUT", &path, Some(wanted)).await["type"], "tcp");
    let wrong = json!({ "type": "http", "name": "x", "host": { "hostname": "unix:/run/x" } });
    assert_eq!(bench.refused("POST", "/connectivity/directory/services", Some(wrong)).await, (400, 5101));
    bench.done("DELETE", &path, None).await;
    assert_eq!(bench.refused("GET", &path, None).await.0, 404);
    bench.stop().await;
}

/// A certificate for `localhost`, good for both sides, its key, and the authority that signed it. Made by openssl for this
/// test and used nowhere else.
const CERTIFICATE: &str = include_str!("client.pem");
const KEY: &str = include_str!("client.key");
const AUTHORITY: &str = include_str!("authority.pem");

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_presents_its_certificate() {
    let bench = Bench::start_with(|options| options.private_network = true).await;
    let upload = json!({ "name": "client", "certificates": CERTIFICATE, "private_key": KEY, "ca": false });
    let certificate = bench.done("POST", "/mtls_certificates", Some(upload.clone())).await;
    assert!(!certificate.to_string().contains("PRIVATE"));
    assert_eq!(bench.refused("POST", "/mtls_certificates", Some(upload)).await.1, 1406);
    assert_eq!(bench.refused("POST", "/mtls_certificates", Some(json!({ "certificates": "x" }))).await.1, 1400);
    // The authority of the server's certificate is uploaded, to be trusted.
    bench.done("POST", "/mtls_certificates", Some(json!({ "name": "authority", "certificates": AUTHORITY, "ca": true }))).await;
    assert_eq!(bench.done("GET", "/mtls_certificates?ca=false", None).await.as_array().unwrap().len(), 1);
    let kept = std::fs::read_to_string(bench.folder.path().join("account.json")).unwrap();
    assert!(!kept.contains(KEY.lines().nth(1).unwrap()), "the private key is on disk in clear");
    let (port, presented) = tls_server().await;
    let code = format!("export default {{ fetch(r, env) {{ return env.CERT.fetch('https://localhost:{port}/'); }} }};");
    let id = certificate["id"].as_str().unwrap();
    bench.put("app", &code, json!([{ "name": "CERT", "type": "mtls_certificate", "certificate_id": id }])).await;
    let (status, said) = bench.get("app.localhost", "/").await;
    assert_eq!((status, said.as_str()), (200, "ok"));
    assert!(presented.await.unwrap(), "no certificate was presented");
    let url = bench.account_url(&format!("/mtls_certificates/{id}"));
    assert_eq!(bench.client.delete(url).bearer_auth(TOKEN).send().await.unwrap().status(), 400, "a Worker binds it");
    bench.stop().await;
}

/// A TLS server that says whether its first client presented a certificate.
async fn tls_server() -> (u16, tokio::sync::oneshot::Receiver<bool>) {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let chain: Vec<_> = CertificateDer::pem_slice_iter(CERTIFICATE.as_bytes()).collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(AUTHORITY.as_bytes()).unwrap()).unwrap();
    let verifier =
        rustls::server::WebPkiClientVerifier::builder(std::sync::Arc::new(roots)).allow_unauthenticated().build().unwrap();
    let config = rustls::ServerConfig::builder().with_client_cert_verifier(verifier).with_single_cert(chain, key).unwrap();
    let config = std::sync::Arc::new(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (send, receive) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut socket, _) = listener.accept().unwrap();
        let mut connection = rustls::ServerConnection::new(config).unwrap();
        let mut stream = rustls::Stream::new(&mut connection, &mut socket);
        let mut bytes = [0; 4096];
        let _ = stream.read(&mut bytes);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        let _ = send.send(connection.peer_certificates().is_some_and(|chain| !chain.is_empty()));
    });
    (port, receive)
}
