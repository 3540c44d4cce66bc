//! Definitions of every kind with whatever they can say, made up.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

/// One table: its kind, and what stands in it. `#` stands for its number, where a name is to be had once.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) kind: &'static str,
    pub(super) body: String,
}

/// What the others refer to.
pub(super) const BASE: &str = r#"
[kv.base]
[r2.base]
[d1.base]
[queue.dead]
[tunnel.base]
[worker.base]
main = "w/index.js"
compatibility_date = "2026-11-01"
"#;

/// The kinds of which a part cannot be read, so that an import leaves them to a person.
pub(super) const SECRETIVE: [&str; 2] = ["hyperdrive", "mtls_certificate"];

type Table = BoxedStrategy<Written>;

/// A value as TOML writes it.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// Lines of those fields that are there.
fn lines(fields: impl IntoIterator<Item = (&'static str, Option<String>)>) -> String {
    fields.into_iter().filter_map(|(key, value)| Some(format!("{key} = {}\n", value?))).collect()
}

/// The same inside of a table in one line.
fn inline(fields: impl IntoIterator<Item = (&'static str, Option<String>)>) -> String {
    let fields: Vec<String> = fields.into_iter().filter_map(|(key, value)| Some(format!("{key} = {}", value?))).collect();
    format!("{{ {} }}", fields.join(", "))
}

fn number(bounds: std::ops::RangeInclusive<i64>) -> impl Strategy<Value = Option<String>> {
    of(bounds.prop_map(|number| number.to_string()))
}

fn flag() -> impl Strategy<Value = Option<String>> {
    of(any::<bool>().prop_map(|flag| flag.to_string()))
}

fn word(words: &'static [&'static str]) -> impl Strategy<Value = Option<String>> {
    of(select(words).prop_map(quoted))
}

/// A line for people: no spaces at its ends.
fn text() -> impl Strategy<Value = String> {
    "[ -~äß€一]{1,40}".prop_map(|text| text.trim().to_owned()).prop_filter("some text", |text| !text.is_empty())
}

fn host() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9]{0,8}\\.example\\.(net|org)"
}

fn table(kind: &'static str, body: impl Strategy<Value = String> + 'static) -> Table {
    body.prop_map(move |body| Written { kind, body }).boxed()
}

fn stores() -> Vec<Table> {
    let title = of(text().prop_map(|title| quoted(&format!("{title} #"))));
    let kv = (title, word(&["eu"])).prop_map(|(title, place)| lines([("title", title), ("jurisdiction", place)]));
    let r2 = (word(&["Standard", "InfrequentAccess"]), word(&["weur", "enam"]), word(&["eu"]));
    let r2 = r2.prop_map(|(class, near, place)| lines([("storage_class", class), ("location", near), ("jurisdiction", place)]));
    let d1 = (word(&["weur", "apac"]), word(&["auto", "disabled"]), word(&["eu"]));
    let d1 = d1.prop_map(|(near, mode, place)| lines([("location", near), ("read_replication", mode), ("jurisdiction", place)]));
    vec![table("kv", kv), table("r2", r2), table("d1", d1), table("dispatch_namespace", Just(String::new())), queue()]
}

fn queue() -> Table {
    let common = || (number(1..=100), number(0..=100), number(0..=86_400), of(Just(quoted("dead"))));
    let pulls = (common(), number(1_000..=43_200_000)).prop_map(|((size, retries, delay, dead), kept)| {
        inline([
            ("http_pull", Some("true".to_owned())),
            ("batch_size", size),
            ("max_retries", retries),
            ("retry_delay", delay),
            ("dead_letter_queue", dead),
            ("visibility_timeout_ms", kept),
        ])
    });
    let pushes = (common(), number(0..=60), number(1..=250)).prop_map(|((size, retries, delay, dead), wait, most)| {
        inline([
            ("worker", Some(quoted("base"))),
            ("batch_size", size),
            ("max_retries", retries),
            ("retry_delay", delay),
            ("dead_letter_queue", dead),
            ("batch_timeout", wait),
            ("max_concurrency", most),
        ])
    });
    let fields = (number(0..=86_400), number(60..=1_209_600), flag(), word(&["eu"]), of(prop_oneof![pulls, pushes]));
    let fields = fields.prop_map(|(delay, kept, paused, place, consumer)| {
        lines([
            ("delivery_delay", delay),
            ("retention", kept),
            ("delivery_paused", paused),
            ("jurisdiction", place),
            ("consumer", consumer),
        ])
    });
    table("queue", fields)
}

fn networks() -> Vec<Table> {
    let rule = (of(host().prop_map(|host| quoted(&host))), "[a-z]{1,8}", 1..=65_535u16).prop_map(|(hostname, path, port)| {
        let path = hostname.is_none().then(|| quoted(&format!("^/{path}")));
        inline([("hostname", hostname), ("path", path), ("service", Some(quoted(&format!("http://localhost:{port}"))))])
    });
    let rules = of(proptest::collection::vec(rule, 0..3).prop_map(|rules| format!("[{}]", rules.join(", "))));
    let tunnel = rules.prop_map(|rules| lines([("ingress", rules)]));
    let place = prop_oneof![
        any::<u32>().prop_map(|bits| Ipv4Addr::from(bits).to_string()),
        any::<u128>().prop_map(|bits| Ipv6Addr::from(bits).to_string()),
        Just("db.internal".to_owned()),
    ];
    let ports = prop_oneof![
        (number(1..=65_535), number(1..=65_535)).prop_map(|(http, https)| lines([("http_port", http), ("https_port", https)])),
        (1..=65_535u16, word(&["postgresql", "mysql"])).prop_map(|(port, spoken)| lines([
            ("type", Some(quoted("tcp"))),
            ("tcp_port", Some(port.to_string())),
            ("app_protocol", spoken),
        ])),
    ];
    let check = word(&["verify_full", "verify_ca", "disabled"]);
    let service = (place, ports, check).prop_map(|(host, ports, check)| {
        ports + &lines([("host", Some(quoted(&host))), ("tunnel", Some(quoted("base"))), ("cert_verification", check)])
    });
    let caching = of(prop_oneof![
        Just("{ disabled = true }".to_owned()),
        (number(1..=3_600), number(1..=600))
            .prop_map(|(age, stale)| inline([("max_age", age), ("stale_while_revalidate", stale)])),
    ]);
    let database = (1..=65_535u16, caching, number(5..=100)).prop_map(|(port, caching, limit)| {
        let origin = inline([
            ("scheme", Some(quoted("postgres"))),
            ("host", Some(quoted("db.example.com"))),
            ("port", Some(port.to_string())),
            ("database", Some(quoted("ads"))),
            ("user", Some(quoted("ads"))),
            ("password", Some("{ secret = \"value-one\" }".to_owned())),
        ]);
        lines([("origin", Some(origin)), ("caching", caching), ("connection_limit", limit)])
    });
    let certificate = prop_oneof![
        Just("certificate = \"certs/client.pem\"\nprivate_key = { secret = \"client-key\" }\n".to_owned()),
        Just("certificate = \"certs/other.pem\"\nca = true\n".to_owned()),
    ];
    vec![
        table("tunnel", tunnel),
        table("vpc_service", service),
        table("hyperdrive", database),
        table("mtls_certificate", certificate),
    ]
}

fn record() -> Table {
    let zone = || select(&["example.com", "example.org"][..]);
    let content = prop_oneof![
        (any::<u32>(), flag()).prop_map(|(bits, proxied)| ("A", quoted(&Ipv4Addr::from(bits).to_string()), proxied)),
        (any::<u128>(), flag()).prop_map(|(bits, proxied)| ("AAAA", quoted(&Ipv6Addr::from(bits).to_string()), proxied)),
        (host(), flag()).prop_map(|(host, proxied)| ("CNAME", quoted(&host), proxied)),
        flag().prop_map(|proxied| ("CNAME", "{ tunnel = \"base\" }".to_owned(), proxied)),
        host().prop_map(|host| ("MX", quoted(&host), None)),
        host().prop_map(|host| ("NS", quoted(&host), None)),
        "[ -~ä€]{1,300}".prop_map(|text| ("TXT", quoted(&text), None)),
        (any::<u16>(), any::<u16>(), host()).prop_map(|(w, p, host)| ("SRV", quoted(&format!("{w} {p} {host}")), None)),
        host().prop_map(|host| ("CAA", quoted(&format!("0 issue {host}")), None)),
    ];
    let rest = (zone(), number(60..=86_400), of(text()), any::<u16>());
    let record = (content, rest).prop_map(|((sort, content, proxied), (zone, ttl, comment, priority))| {
        let is_proxied = proxied.as_deref() == Some("true");
        let comment = comment.filter(|comment| !comment.contains("trunkline:"));
        lines([
            ("zone", Some(quoted(zone))),
            ("type", Some(quoted(sort))),
            ("name", Some(quoted(&format!("r#.{zone}")))),
            ("content", Some(content)),
            ("proxied", proxied),
            ("ttl", ttl.filter(|_| !is_proxied)),
            ("comment", comment.map(|comment| quoted(&comment))),
            ("priority", matches!(sort, "MX" | "SRV").then(|| priority.to_string())),
        ])
    });
    table("dns", record)
}

fn zones() -> Vec<Table> {
    let domain = Just("hostname = \"d#.example.com\"\nzone_name = \"example.com\"\nworker = \"base\"\n".to_owned());
    let time = || {
        of(prop_oneof![
            select(&["respect_origin", "bypass_by_default"][..]).prop_map(quoted),
            (1..100_000u32).prop_map(|seconds| quoted(&format!("{seconds}s"))),
        ])
    };
    let expression = (0..100u32).prop_map(|n| quoted(&format!("starts_with(http.request.uri.path, \"/{n}/\")")));
    let zone = select(&["example.com", "example.org"][..]).prop_map(quoted);
    let rule = (zone, expression, of(text()), any::<bool>(), (time(), time()), flag(), number(0..=1_000));
    let rule = rule.prop_map(|(zone, expression, description, cache, (edge, browser), enabled, order)| {
        lines([
            ("zone", Some(zone)),
            ("expression", Some(expression)),
            ("description", description.map(|text| quoted(&text))),
            ("cache", (!cache).then(|| "false".to_owned())),
            ("edge_ttl", edge.filter(|_| cache)),
            ("browser_ttl", browser),
            ("enabled", enabled),
            ("order", order),
        ])
    });
    vec![record(), table("domain", domain), table("cache_rule", rule)]
}

fn worker() -> Table {
    let some = |all: &'static [&'static str]| subsequence(all, 0..=all.len());
    let list = |items: Vec<String>| format!("[{}]", items.join(", "));
    let bindings =
        some(&["KV = { kv = \"base\" }", "R2 = { r2 = \"base\" }", "D1 = { d1 = \"base\" }", "CALLS = { service = \"base\" }"]);
    let vars = (of(text()), of(any::<i32>()), of(any::<bool>()));
    let starts = (some(&["0 3 * * *", "*/5 * * * MON-FRI", "1 1 1 * *"]), some(&["example.com", "example.org"]), flag());
    let settings = (some(&["nodejs_compat"]), of(Just("{ mode = \"smart\" }".to_owned())), number(10..=1_000), flag());
    let body = (bindings, vars, starts, settings).prop_map(
        move |(bindings, (name, number, on), (crons, zones, dev), (flags, placement, limit, observed))| {
            let vars = [
                ("NAME", name.map(|text| quoted(&text))),
                ("LIMITS", number.map(|number| format!("{{ rate = {number}, burst = [1, 2.5] }}"))),
                ("ON", on.map(|on| on.to_string())),
            ];
            let routes = zones.iter().map(|zone| format!("{{ pattern = \"w#.{zone}/*\", zone_name = \"{zone}\" }}"));
            let quoted_all = |items: Vec<&str>| list(items.into_iter().map(quoted).collect());
            let mut body = lines([
                ("main", Some(quoted("w/index.js"))),
                ("compatibility_date", Some(quoted("2026-11-01"))),
                ("compatibility_flags", Some(quoted_all(flags))),
                ("triggers", Some(format!("{{ crons = {} }}", quoted_all(crons)))),
                ("routes", Some(list(routes.collect()))),
                ("workers_dev", dev),
                ("vars", Some(inline(vars))),
                ("placement", placement),
                ("limits", limit.map(|limit| format!("{{ cpu_ms = {limit} }}"))),
                ("observability", observed.map(|on| format!("{{ enabled = {on} }}"))),
            ]);
            body += &format!("bindings = {{ {} }}\n", bindings.join(", "));
            body
        },
    );
    table("worker", body)
}

/// One table of each kind.
pub(super) fn of_each() -> Vec<Table> {
    [stores(), networks(), zones(), vec![worker()]].concat()
}

/// The text of tables; each has a key of its own.
pub(super) fn text_of<'a>(tables: impl IntoIterator<Item = (usize, &'a Written)>) -> String {
    let table =
        |(at, written): (usize, &Written)| format!("[{}.k{at}]\n{}", written.kind, written.body.replace('#', &at.to_string()));
    tables.into_iter().map(table).collect()
}
