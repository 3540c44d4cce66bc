//! Workers.

use super::Table;

pub(super) const TABLES: &[Table] = &[Table {
    name: "worker",
    needs: &["main = \"w/index.js\""],
    fields: &[
        ("assets.directory", "assets = { directory = \"public◆\" }"),
        ("assets.html_handling", "assets = { directory = \"public\", html_handling = \"none◆\" }"),
        ("assets.not_found_handling", "assets = { directory = \"public\", not_found_handling = \"404-page◆\" }"),
        ("bindings.<key>", "bindings = { \"B◆\" = { kv = \"sessions\" } }"),
        ("bindings.*.analytics_engine", "bindings = { B = { analytics_engine = \"clicks◆\" } }"),
        ("bindings.*.d1", "bindings = { B = { d1 = \"ledger◆\" } }"),
        ("bindings.*.dispatch_namespace", "bindings = { B = { dispatch_namespace = \"customers◆\" } }"),
        ("bindings.*.durable_object", "bindings = { B = { durable_object = \"Room◆\", script = \"theirs\" } }"),
        ("bindings.*.entrypoint", "bindings = { B = { service = \"other\", entrypoint = \"Clicks◆\" } }"),
        ("bindings.*.hyperdrive", "bindings = { B = { hyperdrive = \"base◆\" } }"),
        ("bindings.*.kv", "bindings = { B = { kv = \"sessions◆\" } }"),
        ("bindings.*.mtls_certificate", "bindings = { B = { mtls_certificate = \"client◆\" } }"),
        ("bindings.*.queue", "bindings = { B = { queue = \"clicks◆\" } }"),
        ("bindings.*.r2", "bindings = { B = { r2 = \"media◆\" } }"),
        (
            "bindings.*.ratelimit.namespace_id",
            "bindings = { B = { ratelimit = { namespace_id = \"1001◆\", limit = 1, period = 60 } } }",
        ),
        ("bindings.*.script", "bindings = { B = { script = \"theirs◆\" } }"),
        ("bindings.*.secret", "bindings = { B = { secret = \"s◆\" } }"),
        ("bindings.*.service", "bindings = { B = { service = \"other◆\" } }"),
        ("bindings.*.vpc_service", "bindings = { B = { vpc_service = \"engine◆\" } }"),
        ("bindings.*.worker", "bindings = { B = { durable_object = \"Room\", worker = \"other◆\" } }"),
        ("build.command.[]", "[worker.KEY]\nbuild = { command = [\"npm\", \"x◆y\"], inputs = [\"w/**\"], output = \"dist\" }"),
        ("build.env.<key>", "[worker.KEY]\nbuild = { esbuild = \"w/index.js\", env = { \"V◆\" = \"x\" } }"),
        ("build.env.*", "[worker.KEY]\nbuild = { esbuild = \"w/index.js\", env = { V = \"x◆y\" } }"),
        ("build.environment", "[worker.KEY]\nbuild = { wrangler = \"w/wrangler.toml\", environment = \"live◆\" }"),
        ("build.esbuild", "[worker.KEY]\nbuild = { esbuild = \"w/index.js◆\" }"),
        (
            "build.folder",
            "[worker.KEY]\nbuild = { command = [\"npm\"], inputs = [\"w/**\"], output = \"dist\", folder = \
             \"w◆\" }",
        ),
        ("build.inputs.[]", "[worker.KEY]\nbuild = { esbuild = \"w/index.js\", inputs = [\"w/**◆\"] }"),
        ("build.output", "[worker.KEY]\nbuild = { command = [\"npm\"], inputs = [\"w/**\"], output = \"dist◆\" }"),
        ("build.wrangler", "[worker.KEY]\nbuild = { wrangler = \"w/wrangler.toml◆\" }"),
        ("compatibility_date", "compatibility_date = \"2026-11-01◆\""),
        ("compatibility_flags.[]", "compatibility_flags = [\"nodejs_compat◆\"]"),
        ("exports.<key>", "exports = { \"Room◆\" = { type = \"durable-object\", storage = \"sqlite\" } }"),
        ("exports.*.renamed_to", "exports = { A = { type = \"durable-object\", state = \"renamed\", renamed_to = \"B◆\" } }"),
        ("exports.*.state", "exports = { A = { type = \"durable-object\", storage = \"sqlite\", state = \"created◆\" } }"),
        ("exports.*.storage", "exports = { A = { type = \"durable-object\", storage = \"sqlite◆\" } }"),
        (
            "exports.*.transfer_from",
            "exports = { A = { type = \"durable-object\", storage = \"sqlite\", state = \"expecting-transfer\", \
             transfer_from = \"b◆\" } }",
        ),
        (
            "exports.*.transferred_to",
            "exports = { A = { type = \"durable-object\", state = \"transferred\", transferred_to = \"b◆\" } }",
        ),
        ("exports.*.type", "exports = { A = { type = \"worker◆\" } }"),
        ("main", "main = \"w/index.js◆\""),
        ("migrations.[].deleted_classes.[]", "migrations = [{ tag = \"v1\", deleted_classes = [\"A◆\"] }]"),
        ("migrations.[].new_classes.[]", "migrations = [{ tag = \"v1\", new_classes = [\"A◆\"] }]"),
        ("migrations.[].new_sqlite_classes.[]", "migrations = [{ tag = \"v1\", new_sqlite_classes = [\"A◆\"] }]"),
        (
            "migrations.[].renamed_classes.[].from",
            "migrations = [{ tag = \"v1\", renamed_classes = [{ from = \"A◆\", to = \"B\" }] }]",
        ),
        (
            "migrations.[].renamed_classes.[].to",
            "migrations = [{ tag = \"v1\", renamed_classes = [{ from = \"A\", to = \"B◆\" }] }]",
        ),
        ("migrations.[].tag", "migrations = [{ tag = \"v1◆\" }]"),
        (
            "migrations.[].transferred_classes.[].from",
            "migrations = [{ tag = \"v1\", transferred_classes = [{ from = \"A◆\", from_script = \"b\", to = \
             \"C\" }] }]",
        ),
        (
            "migrations.[].transferred_classes.[].from_script",
            "migrations = [{ tag = \"v1\", transferred_classes = [{ from = \"A\", from_script = \"b◆\", to = \
             \"C\" }] }]",
        ),
        (
            "migrations.[].transferred_classes.[].to",
            "migrations = [{ tag = \"v1\", transferred_classes = [{ from = \"A\", from_script = \"b\", to = \
             \"C◆\" }] }]",
        ),
        ("modules.[]", "modules = [\"w/lib/*.js◆\"]"),
        ("name", "name = \"script◆\""),
        ("placement.host", "placement = { host = \"x◆:80\" }"),
        ("placement.hostname", "placement = { hostname = \"x◆.example.com\" }"),
        ("placement.mode", "placement = { mode = \"smart◆\" }"),
        ("placement.region", "placement = { region = \"aws:eu-central-1◆\" }"),
        ("purge.hosts.[]", "purge = { zone = \"example.com\", hosts = [\"x◆.example.com\"] }"),
        ("purge.mode", "purge = { zone = \"example.com\", everything = true, mode = \"purge◆\" }"),
        ("purge.prefixes.[]", "purge = { zone = \"example.com\", prefixes = [\"example.com/x◆\"] }"),
        ("purge.tags.[]", "purge = { zone = \"example.com\", tags = [\"x◆\"] }"),
        ("purge.zone", "purge = { zone = \"example.com◆\", everything = true }"),
        ("rollout.interval", "rollout = { steps = [10, 100], interval = \"2m◆\", probe = { url = \"https://x.example.com/\" } }"),
        (
            "rollout.probe.host",
            "rollout = { steps = [10, 100], interval = \"2m\", probe = { url = \"http://127.0.0.1/\", host = \
             \"x◆.example.com\" } }",
        ),
        (
            "rollout.probe.url",
            "rollout = { steps = [10, 100], interval = \"2m\", probe = { url = \"https://x.example.com/a◆\" } }",
        ),
        ("routes.[].pattern", "routes = [{ pattern = \"x.example.com/a◆*\", zone_name = \"example.com\" }]"),
        ("routes.[].zone_name", "routes = [{ pattern = \"x.example.com/*\", zone_name = \"example.com◆\" }]"),
        ("tail_consumers.[].script", "tail_consumers = [{ script = \"theirs◆\" }]"),
        ("tail_consumers.[].worker", "tail_consumers = [{ worker = \"other◆\" }]"),
        ("triggers.crons.[]", "triggers = { crons = [\"0 3 * * *◆\"] }"),
        ("vars.<key>", "vars = { \"V◆\" = \"x\" }"),
        ("vars.*", "vars = { V = \"x◆y\" }"),
    ],
    is_resource: true,
    ignores: Some("logpush"),
}];
