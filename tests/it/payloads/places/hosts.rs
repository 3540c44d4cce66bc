//! Hosts, and what lives on them.

use super::Table;

const HOST_KEY: &str = "host_key = \"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAyV3NS3RY41i2z+G5EV9Iz14kL6BQQE275Yol3+sOeV◆\"";

pub(super) const TABLES: &[Table] = &[
    Table {
        name: "host",
        needs: &["connect = \"ssh://deploy@KEY.example.com\""],
        fields: &[
            ("connect", "connect = \"ssh://deploy@KEY◆\""),
            ("host_key", HOST_KEY),
            ("labels.<key>", "labels = { \"role◆\" = \"origin\" }"),
            ("labels.*", "labels = { role = \"origin◆\" }"),
            ("offline", "offline = \"wait◆\""),
            ("region", "region = \"us◆\""),
            ("root", "root = \"/srv/root◆\""),
            ("state", "state = \"/srv/state◆\""),
            ("vars.<key>", "vars = { \"v◆\" = \"x\" }"),
            ("vars.*", "vars = { v = \"x◆\" }"),
        ],
        is_resource: false,
        ignores: None,
    },
    Table {
        name: "package",
        needs: &[],
        fields: &[("name", "name = \"nginx◆\""), ("version", "version = \"1.22.1◆\"")],
        is_resource: true,
        ignores: None,
    },
    Table {
        name: "directory",
        needs: &["path = \"/srv/KEY\""],
        fields: &[
            ("group", "group = \"root◆\""),
            ("mode", "mode = \"0750◆\""),
            ("owner", "owner = \"root◆\""),
            ("path", "path = \"/srv/KEY◆\""),
        ],
        is_resource: true,
        ignores: None,
    },
    Table {
        name: "file",
        needs: &["path = \"/srv/KEY\"", "content = \"x\""],
        fields: &[
            ("content", "content = \"x◆y\""),
            ("group", "group = \"root◆\""),
            ("mode", "mode = \"0640◆\""),
            ("owner", "owner = \"root◆\""),
            ("path", "path = \"/srv/KEY◆\""),
            ("source", "[file.KEY]\npath = \"/srv/KEY\"\nsource = \"f/source◆\""),
            ("template", "[file.KEY]\npath = \"/srv/KEY\"\ntemplate = \"f/template◆\"\nvars = { v = 1 }"),
            ("validate.[]", "validate = [\"/usr/local/bin/record\", \"KEY\", \"x◆y\", \"{}\"]"),
            ("vars.<key>", "[file.KEY]\npath = \"/srv/KEY\"\ntemplate = \"f/template\"\nvars = { v = 1, \"w◆\" = 2 }"),
            ("vars.*", "[file.KEY]\npath = \"/srv/KEY\"\ntemplate = \"f/template\"\nvars = { v = \"x◆y\" }"),
        ],
        is_resource: true,
        ignores: None,
    },
    Table {
        name: "unit",
        needs: &["content = \"[Service]\\nType=oneshot\\nExecStart=/usr/local/bin/record KEY\\n\""],
        fields: &[
            ("content", "content = \"[Service]\\nType=oneshot\\nExecStart=/usr/local/bin/record KEY\\nX-Note=◆\\n\""),
            ("name", "name = \"KEY◆.service\""),
            ("restart_on.[]", "restart_on = [\"file.config◆\"]"),
            ("source", "[unit.KEY]\nsource = \"f/own◆\""),
            ("state", "state = \"stopped◆\""),
            ("template", "[unit.KEY]\ntemplate = \"f/unit◆\"\nvars = { k = \"KEY\", v = 1 }"),
            ("vars.<key>", "[unit.KEY]\ntemplate = \"f/unit\"\nvars = { k = \"KEY\", v = 1, \"w◆\" = 2 }"),
            ("vars.*", "[unit.KEY]\ntemplate = \"f/unit\"\nvars = { k = \"KEY\", v = \"x◆y\" }"),
        ],
        is_resource: true,
        ignores: None,
    },
    Table {
        name: "container",
        needs: &["image = \"registry.example.com/box:1\"", "state = \"stopped\""],
        fields: &[
            ("cap_add.[]", "cap_add = [\"NET_ADMIN◆\"]"),
            ("cap_drop.[]", "cap_drop = [\"ALL◆\"]"),
            ("command.[]", "command = [\"x◆y\"]"),
            ("cpus", "cpus = \"1.5◆\""),
            ("devices.[]", "devices = [\"/dev/net/tun◆\"]"),
            ("entrypoint", "entrypoint = \"/bin/x◆y\""),
            ("env.<key>", "env = { \"V◆\" = \"x\" }"),
            ("env.*", "env = { V = \"x◆y\" }"),
            ("env.*.secret", "env = { V = { secret = \"s◆\" } }"),
            ("image", "image = \"registry.example.com/box◆\""),
            ("labels.<key>", "labels = { \"com.example.x◆\" = \"x\" }"),
            ("labels.*", "labels = { x = \"x◆y\" }"),
            ("memory", "memory = \"512m◆\""),
            ("mounts.[].bind", "mounts = [{ bind = \"/srv/x◆y\", target = \"/x\" }]"),
            ("mounts.[].target", "mounts = [{ volume = \"v\", target = \"/x◆y\" }]"),
            ("mounts.[].volume", "mounts = [{ volume = \"v◆\", target = \"/x\" }]"),
            ("name", "name = \"KEY◆\""),
            ("network", "network = \"back◆\""),
            ("pid", "pid = \"host◆\""),
            ("ports.[]", "ports = [\"127.0.0.1:8080:80◆\"]"),
            ("restart", "restart = \"always◆\""),
            ("restart_on.[]", "restart_on = [\"file.config◆\"]"),
            ("state", "state = \"stopped◆\""),
            ("user", "user = \"www-data◆\""),
            ("workdir", "workdir = \"/srv/x◆y\""),
        ],
        is_resource: true,
        ignores: None,
    },
    Table {
        name: "tunnel_connector",
        needs: &["token = { secret = \"s\" }"],
        fields: &[
            (
                "credentials.secret",
                "[tunnel_connector.KEY]\ntunnel = \"00000000-0000-4000-8000-000000000000\"\ncredentials = { secret = \
                 \"s◆\" }\ningress = []",
            ),
            (
                "ingress.[].hostname",
                "[tunnel_connector.KEY]\ntunnel = \"00000000-0000-4000-8000-000000000000\"\ncredentials = { secret = \
                 \"s\" }\ningress = [{ hostname = \"x◆.example.com\", service = \"http://localhost:80\" }]",
            ),
            (
                "ingress.[].path",
                "[tunnel_connector.KEY]\ntunnel = \"00000000-0000-4000-8000-000000000000\"\ncredentials = { secret = \
                 \"s\" }\ningress = [{ path = \"^/x◆y\", service = \"http://localhost:80\" }]",
            ),
            (
                "ingress.[].service",
                "[tunnel_connector.KEY]\ntunnel = \"00000000-0000-4000-8000-000000000000\"\ncredentials = { secret = \
                 \"s\" }\ningress = [{ path = \"^/x\", service = \"http://localhost/x◆y\" }]",
            ),
            ("metrics", "metrics = \"127.0.0.1:20241◆\""),
            ("name", "name = \"KEY◆\""),
            ("program", "program = \"/usr/bin/cloudflared◆\""),
            ("protocol", "protocol = \"quic◆\""),
            ("token.secret", "token = { secret = \"s◆\" }"),
            ("token.tunnel", "token = { tunnel = \"edge◆\" }"),
            (
                "tunnel",
                "[tunnel_connector.KEY]\ntunnel = \"00000000-0000-4000-8000-000000000000◆\"\ncredentials = { secret \
                 = \"s\" }\ningress = []",
            ),
        ],
        is_resource: true,
        ignores: None,
    },
    Table {
        name: "edge_runtime",
        needs: &["token = { secret = \"s\" }"],
        fields: &[
            ("http", "http = \"127.0.0.1:8788◆\""),
            ("listen", "listen = \"127.0.0.1:8787◆\""),
            ("name", "name = \"KEY◆\""),
            ("program", "program = \"/usr/bin/trunkline◆\""),
            ("registry", "registry = \"https://npm.example.com/npm◆\""),
            ("token.secret", "token = { secret = \"s◆\" }"),
            ("workerd", "workerd = \"/usr/local/bin/workerd◆\""),
        ],
        is_resource: true,
        ignores: None,
    },
];
