//! For every field of the schema a definition in which it is legitimate, with a hole for a payload.
//!
//! A kind has lines that every table of it needs, and each of its fields a line with the hole, which takes the place of the
//! line of the same key. `KEY` is what the thing is called, so that many can be put into one environment.

mod applications;
mod hosts;
mod platform;
mod workers;

use std::collections::BTreeMap;

use trunkline::model::MemoryTree;

use super::list::HOLE;

/// The environment of the places.
pub(super) const ENVIRONMENT: &str = "environments/p/place.toml";

/// The fields of one sort of table.
#[derive(Clone, Copy)]
pub(super) struct Table {
    /// The table, such as `container`.
    pub(super) name: &'static str,
    /// The lines that it needs.
    pub(super) needs: &'static [&'static str],
    /// Its fields, from the table on, each with its line; one that begins with `[` is a whole definition.
    pub(super) fields: &'static [(&'static str, &'static str)],
    /// Whether it has `on` and `moved`; and a field that `ignore` may name.
    pub(super) is_resource: bool,
    pub(super) ignores: Option<&'static str>,
}

/// A definition with a hole.
#[derive(Clone)]
pub(super) struct Place {
    /// The file that it is written to.
    pub(super) file: &'static str,
    pub(super) text: String,
}

/// The places by the paths of the fields.
pub(super) fn places() -> BTreeMap<String, Place> {
    let tables = [hosts::TABLES, applications::TABLES, platform::TABLES, workers::TABLES].concat();
    let mut places: BTreeMap<String, Place> = tables.iter().flat_map(|table| table.places()).collect();
    let single = [
        ("environment.description", ENVIRONMENT, "[environment]\ndescription = \"Traffic ◆\"\n"),
        ("environment.digest_key.secret", ENVIRONMENT, "[environment]\ndigest_key = { secret = \"s◆\" }\n"),
        ("environment.extends.[]", ENVIRONMENT, "[environment]\nextends = [\"bases/b◆\"]\n"),
        ("environment.remove.[]", ENVIRONMENT, "[environment]\nextends = [\"bases/b\"]\nremove = [\"kv.scratch◆\"]\n"),
        ("environment.sync.batch", ENVIRONMENT, "[environment]\nsync = { batch = \"25%◆\" }\n"),
        ("environment.sync.drift", ENVIRONMENT, "[environment]\nsync = { drift = \"heal◆\" }\n"),
        ("environment.sync.interval", ENVIRONMENT, "[environment]\nsync = { interval = \"1m◆\" }\n"),
        ("policies", "trunkline.toml", "format = 1\npolicies = \"policies◆\"\n"),
    ];
    places.extend(single.map(|(field, file, text)| (field.to_owned(), Place { file, text: text.to_owned() })));
    assert!(places.values().all(|place| place.text.matches(HOLE).count() == 1), "a place has one hole");
    places
}

impl Table {
    fn places(&self) -> Vec<(String, Place)> {
        let Self { name, needs, fields, is_resource, ignores } = self;
        let is_of_hosts = hosts::TABLES.iter().chain(applications::TABLES).any(|table| table.name == *name);
        let (file, target) = if is_of_hosts { (ENVIRONMENT, "here") } else { (ENVIRONMENT, "main") };
        let file = if *name == "host" { "fleet/place.toml" } else { file };
        let mut lines: Vec<(String, String)> =
            fields.iter().map(|(field, line)| (format!("*.{field}"), (*line).to_owned())).collect();
        let mut add = |field: &str, line: String| lines.push((field.to_owned(), line));
        if *is_resource {
            add("*.moved", "moved = \"former◆\"".to_owned());
            add("*.on.region", "on = { region = \"eu◆\" }".to_owned());
            add("*.on.role", "on = { role = \"origin◆\" }".to_owned());
            add("*.on.targets.[]", format!("on = {{ targets = [\"{target}◆\"] }}"));
            add("*.on.<key>", "on = { \"tier◆\" = \"x\" }".to_owned());
            add("*.on.*", "on = { tier = \"x◆\" }".to_owned());
        }
        if let Some(ignored) = ignores {
            add("*.ignore.[]", format!("ignore = [\"{ignored}◆\"]"));
        }
        let mut places: Vec<(String, Place)> = lines
            .into_iter()
            .map(|(field, line)| {
                if line.starts_with('[') {
                    return (format!("{name}.{field}"), Place { file, text: format!("{line}\n") });
                }
                let key = |line: &str| line.split([' ', '=', '.']).next().unwrap().to_owned();
                let own: Vec<String> = line.lines().map(key).collect();
                let others = needs.iter().filter(|need| !own.contains(&key(need))).map(|need| format!("{need}\n"));
                let text = format!("[{name}.KEY]\n{}{line}\n", others.collect::<String>());
                (format!("{name}.{field}"), Place { file, text })
            })
            .collect();
        let needs: String = needs.iter().map(|need| format!("{need}\n")).collect();
        places.push((format!("{name}.<key>"), Place { file, text: format!("[{name}.\"KEY◆\"]\n{needs}") }));
        places
    }
}

const SEALED: &str = "\"\"\"\n-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n-----END AGE ENCRYPTED FILE-----\n\"\"\"";

/// Files that the places name.
pub(super) const FILES: [(&str, &str); 10] = [
    ("w/index.js", "export default {}"),
    ("w/lib/a.js", "export const a = 1"),
    ("public/index.html", "x"),
    ("f/source", "x\n"),
    ("f/template", "v = {{ vars.v }}\n"),
    ("f/unit", UNIT),
    ("f/own", "[Service]\nExecStart=/bin/true\n"),
    ("f/compose.yaml", "services:\n  web:\n    image: registry.example.com/box:1\n"),
    ("m/0001_init.sql", "select 1;\n"),
    ("w/wrangler.toml", "name = \"x\"\nmain = \"index.js\"\n"),
];

const UNIT: &str =
    "[Service]\nType=oneshot\nExecStart=/usr/local/bin/record {{ vars.k }} {{ vars.v }} end\nEnvironment=V={{ vars.v }}\n";

/// What the places refer to; what of the platform they name, where `whole` says so.
pub(super) fn around(whole: bool) -> MemoryTree {
    let mut tree = MemoryTree::default();
    tree.insert("trunkline.toml", "format = 1\n");
    tree.insert("policies/base.rego", "package trunkline\n");
    let labels = "region = \"eu\"\nlabels = { role = \"origin\", tier = \"x\" }\n";
    tree.insert("fleet/hosts.toml", format!("[host.here]\nconnect = \"local\"\n{labels}"));
    let account = "account_id = \"0123456789abcdef0123456789abcdef\"\napi_token = { credential = \"cf\" }\n";
    let secrets: String = ["s", "t"].map(|name| format!("[secret.{name}]\nage = {SEALED}\n")).concat();
    tree.insert("environments/p/targets.toml", format!("[cloudflare.main]\n{account}{labels}{secrets}"));
    let platform = "[kv.sessions]\n[d1.ledger]\n[r2.media]\n[queue.clicks]\n[queue.dead]\n[tunnel.edge]\n[dispatch_namespace.customers]\n\
         [worker.other]\nmain = \"w/index.js\"\n[mtls_certificate.client]\ncertificate = \"c/client.pem\"\n\
         private_key = { secret = \"s\" }\n[vpc_service.engine]\nhost = \"10.0.0.5\"\nhttp_port = 80\ntunnel = \"edge\"\n\
         [hyperdrive.base]\norigin = { scheme = \"postgres\", host = \"db.example.com\", database = \"ads\", user = \"ads\", \
         password = { secret = \"s\" } }\n";
    if whole {
        tree.insert("environments/p/platform.toml", platform);
    }
    tree.insert("environments/p/config.toml", "[file.config]\npath = \"/etc/config\"\ncontent = \"x\"\n");
    tree.insert(ENVIRONMENT, "");
    tree.insert("fleet/place.toml", "");
    tree.insert("bases/b/kv.toml", "[kv.scratch]\n");
    for (path, text) in FILES {
        tree.insert(path, text);
    }
    let pem = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/definition/platform-kinds/certs/client.pem");
    tree.insert("c/client.pem", std::fs::read(pem).unwrap());
    tree
}
