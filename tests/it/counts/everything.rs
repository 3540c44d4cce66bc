//! An environment of many Workers, with some of every other kind beside them: what calls are counted on, here and by
//! `benches/counts.rs`.

/// The account that the definitions name.
pub(crate) const ACCOUNT: &str = "00000000000000000000000000000000";

/// The zones that there are routes, records and rules in.
pub(crate) const ZONES: [&str; 2] = ["example.com", "example.org"];

/// What a pass that changes nothing may read, besides the pages of lists after the first ones.
pub(crate) const MOST: usize = 12 + 2 * ZONES.len();

/// The list that comes in pages of a hundred.
pub(crate) const PAGED: &str = "/workers/workers";

/// Workers besides those of a chosen number.
pub(crate) const FURTHER: usize = 1;

/// Where the definitions stand.
pub(crate) const FILE: &str = "environments/production/production.toml";

/// The secrets that they need, with their values.
pub(crate) const SECRETS: [(&str, &str); 2] =
    [("db-password", "of the database"), ("client-key", include_str!("../cloudflare/client.key"))];

/// Two of each of the kinds that hide nothing.
pub(crate) const PLAIN: &str = "[kv.a]\n[kv.b]\n[r2.a]\n[r2.b]\n";

/// Some of every kind, and a Worker with all that one can have; `w0000` and `w0001` are there.
pub(crate) const EVERY: &str = r#"
[kv.a]
[kv.b]
[r2.a]
[r2.b]
storage_class = "InfrequentAccess"
[d1.ads]
read_replication = "auto"
[d1.plain]
[queue.clicks]
delivery_delay = 5
consumer = { worker = "w0000", batch_size = 50, dead_letter_queue = "dead" }
[queue.dead]
consumer = { http_pull = true }
[hyperdrive.db]
origin = { scheme = "postgres", host = "db.example.com", database = "ads", user = "ads", password = { secret = "db-password" } }
[tunnel.origin]
ingress = [{ hostname = "api.example.com", service = "http://localhost:8080" }]
[vpc_service.engine]
host = "10.0.0.5"
http_port = 8080
tunnel = "origin"
[mtls_certificate.client]
certificate = "certs/client.pem"
private_key = { secret = "client-key" }
[dispatch_namespace.customers]
[dns.www]
zone = "example.com"
type = "A"
name = "www.example.com"
content = "192.0.2.1"
[dns.mail]
zone = "example.org"
type = "MX"
name = "example.org"
content = "mx.example.org"
priority = 10
[domain.app]
hostname = "app.example.com"
zone_name = "example.com"
worker = "w0001"
[cache_rule.static]
zone = "example.com"
expression = "true"
edge_ttl = "1d"
order = 1
[cache_rule.rest]
zone = "example.org"
expression = "true"
cache = false

[worker.rooms]
main = "workers/w/index.js"
migrations = [{ tag = "v1", new_sqlite_classes = ["Room"] }]
assets = { directory = "public" }
[worker.rooms.bindings]
ROOM = { durable_object = "Room" }
ASSETS = { assets = true }
A = { kv = "a" }
MEDIA = { r2 = "a" }
ADS = { d1 = "ads" }
CLICKS = { queue = "clicks" }
DB = { hyperdrive = "db" }
ENGINE = { vpc_service = "engine" }
CLIENT = { mtls_certificate = "client" }
"#;

/// The files of an environment of `size` Workers, each with a var, a cron and a route, and of `others`.
pub(crate) fn files(endpoint: &str, size: usize, (interval, others): (&str, &str)) -> Vec<(&'static str, String)> {
    let mut text = format!(
        "[environment]\ndigest_key = {{ secret = \"digest-key\" }}\n\n[environment.sync]\ninterval = \"{interval}\"\n\n\
         [cloudflare.main]\nendpoint = \"{endpoint}\"\naccount_id = \"{ACCOUNT}\"\napi_token = {{ secret = \"edge-token\" }}\n\n{others}"
    );
    for at in 0..size {
        let (zone, minute, hour) = (ZONES[at % ZONES.len()], at % 60, at / 60 % 24);
        text += &format!(
            "\n[worker.w{at:04}]\nmain = \"workers/w/index.js\"\nvars = {{ AT = \"at {at}\" }}\ntriggers = {{ crons = [\"{minute} {hour} * * *\"] }}\nroutes = [{{ pattern = \"w{at}.{zone}/*\", zone_name = \"{zone}\" }}]\n"
        );
    }
    let worker = "export class Room {}\nexport default { fetch: (_, env) => new Response(env.AT), async queue() {} };\n";
    vec![
        ("trunkline.toml", "format = 1\n".to_owned()),
        (FILE, text),
        ("environments/production/secrets.toml", String::new()),
        ("workers/w/index.js", worker.to_owned()),
        ("public/index.html", "<p>here</p>\n".to_owned()),
        ("certs/client.pem", include_str!("../cloudflare/client.pem").to_owned()),
    ]
}
