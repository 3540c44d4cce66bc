//! Every kind with everything that it can say: applied once, there is nothing left to do.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use super::scene::{PRODUCTION, changes};
use crate::world::World;

const MAIN: &str = r#"import { greet } from "./lib/greet.js";
import text from "./data/text.txt";
import bytes from "./data/bytes.bin";
import json from "./data/settings.json";
import wasm from "./data/add.wasm";
export default {
  async fetch(request, env) {
    const { add } = new WebAssembly.Instance(wasm).exports;
    const called = await (await env.HELPER.fetch("http://x/")).text();
    return new Response([
      greet(env.NAME), text.trim(), bytes.byteLength, json.level, add(2, 3), env.LIMITS.rate, env.ON, env.KEY.length,
      await env.COUNTS.get("missing"), called,
    ].join(" "));
  },
  async scheduled() {},
};
"#;

/// `(func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)`
const WASM: [u8; 41] = [
    0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 7, 1, 0x60, 2, 0x7f, 0x7f, 1, 0x7f, 3, 2, 1, 0, 7, 7, 1, 3, b'a', b'd', b'd', 0, 0, 0x0a,
    9, 1, 7, 0, 0x20, 0, 0x20, 1, 0x6a, 0x0b,
];

fn definitions(world: &World) -> String {
    format!(
        r#"[environment]
digest_key = {{ secret = "digest-key" }}

[edge.local]
endpoint = "{}"
api_token = {{ secret = "edge-token" }}

[kv.counts]

[kv.named]
title = "a title of its own"

[worker.helper]
main = "workers/helper/index.js"

[worker.api]
name = "the-api"
main = "workers/api/index.js"
modules = ["workers/api/lib/*.js", "workers/api/data/*"]
compatibility_date = "2026-11-01"
compatibility_flags = ["nodejs_compat"]
routes = [
  {{ pattern = "api.example.com/*", zone_name = "example.com" }},
  {{ pattern = "api.example.org/*", zone_name = "example.org" }},
]
triggers = {{ crons = ["0 3 * * *", "*/5 * * * MON-FRI"] }}
workers_dev = true
vars = {{ NAME = "reader", LIMITS = {{ rate = 5, burst = [1, 2.5] }}, ON = true }}

[worker.api.bindings]
COUNTS = {{ kv = "counts" }}
NAMED = {{ kv = "named" }}
KEY = {{ secret = "key" }}
HELPER = {{ service = "helper" }}

[file.source]
path = "/etc/app/logo.bin"
source = "files/logo.bin"
mode = "0600"

[file.template]
path = "/etc/app/app.conf"
template = "files/app.conf"
vars = {{ level = "info", ports = [1, 2] }}
mode = "0640"
owner = "root"
group = "root"
validate = ["/usr/bin/grep", "-q", "^level = info", "{{}}"]

[file.content]
path = "/srv/deep/down/note"
content = "a note"
owner = "0"
"#,
        world.endpoint()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_is_applied_once_and_then_there_is_nothing_to_do() {
    let world = World::with_production().await;
    world.write("workers/helper/index.js", "export default { fetch() { return new Response('helped'); } };");
    world.write("workers/api/index.js", MAIN);
    world.write("workers/api/lib/greet.js", "export const greet = (name) => `hello ${name}`;\n");
    world.write("workers/api/data/text.txt", "text\n");
    world.write("workers/api/data/settings.json", "{\"level\": 7}\n");
    std::fs::write(world.path("clone/workers/api/data/bytes.bin"), [0, 159, 146, 150]).unwrap();
    std::fs::write(world.path("clone/workers/api/data/add.wasm"), WASM).unwrap();
    std::fs::write(world.path("clone/files/logo.bin"), [0, 255, 10, 13]).unwrap_or_else(|error| panic!("{error}"));
    world.write(
        "files/app.conf",
        "level = {{ vars.level }}\n{% for port in vars.ports %}port {{ port }}\n{% endfor %}password = {{ secret(\"password\") }}\n",
    );
    world.write(PRODUCTION, &definitions(&world));
    world.commit("Everything");
    world.apply();
    world.assert_converged();

    let answer = (200, "hello reader text 4 7 5 5 true 17  helped".to_owned());
    for host in ["api.example.com", "api.example.org", "the-api.localhost"] {
        assert_eq!(world.get(host, "/").await, answer, "{host}");
    }
    assert_eq!(std::fs::read(world.host("/etc/app/logo.bin")).unwrap(), [0, 255, 10, 13]);
    assert_eq!(
        std::fs::read_to_string(world.host("/etc/app/app.conf")).unwrap(),
        "level = info\nport 1\nport 2\npassword = password-of-the-file\n"
    );
    let mode = |path: &str| std::fs::metadata(world.host(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!([mode("/etc/app/logo.bin"), mode("/etc/app/app.conf"), mode("/srv/deep/down/note")], [0o600, 0o640, 0o644]);

    // The same again, by another pass that reads everything: no call that writes, no file that is replaced.
    let inode = std::fs::metadata(world.host("/srv/deep/down/note")).unwrap().ino();
    world.proxy.reset();
    world.apply();
    assert_eq!(world.proxy.writes(), [""; 0]);
    assert!(!world.proxy.calls().is_empty(), "it looked");
    assert_eq!(std::fs::metadata(world.host("/srv/deep/down/note")).unwrap().ino(), inode);
    assert_eq!(world.status("production")["generation"]["number"], 1);

    // A change of each sort of field, all at once.
    for (from, to) in [
        ("compatibility_flags = [\"nodejs_compat\"]", "compatibility_flags = []"),
        ("2026-11-01", "2026-10-01"),
        ("{ rate = 5, burst = [1, 2.5] }", "{ burst = [], rate = 6 }"),
        ("ON = true", "ON = \"off\""),
        ("\"*/5 * * * MON-FRI\"", "\"1 1 1 * *\""),
        ("{ pattern = \"api.example.org/*\", zone_name = \"example.org\" },\n", ""),
        ("workers_dev = true", "workers_dev = false"),
        ("NAMED = { kv = \"named\" }\n", ""),
        ("a title of its own", "another title"),
        ("mode = \"0600\"", "mode = \"0444\""),
        ("owner = \"0\"\n", ""),
        ("content = \"a note\"", "content = \"\""),
        ("/etc/app/app.conf", "/etc/app/sub/app.conf"),
    ] {
        world.edit(PRODUCTION, from, to);
    }
    world.set_secret("production", "key", "another");
    world.commit("Change everything");
    let expected = ["create file.template@origin", "update file.content@origin", "update file.source@origin"];
    let planned = changes(&world);
    for change in expected.iter().chain(&["delete file.template@origin", "update kv.named@local", "update worker.api@local"]) {
        assert!(planned.contains(&(*change).to_owned()), "{change} is not in {planned:?}");
    }
    assert_eq!(planned.len(), 6, "{planned:?}");
    world.apply();
    world.assert_converged();
    assert_eq!(world.get("api.example.com", "/").await.1, "hello reader text 4 7 5 6 off 7  helped");
    for host in ["api.example.org", "the-api.localhost"] {
        assert_eq!(world.get(host, "/").await.0, 404, "{host}");
    }
    assert!(!world.host("/etc/app/app.conf").exists());
    assert!(world.host("/etc/app/sub/app.conf").exists());
    world.end().await;
}
