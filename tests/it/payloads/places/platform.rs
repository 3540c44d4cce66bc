//! What lives at the platform besides Workers, the accounts and the secrets.

use super::Table;

pub(super) const TABLES: &[Table] = &[
    Table {
        name: "secret",
        needs: &[SEALED],
        fields: &[("age", "age = \"-----BEGIN AGE ENCRYPTED FILE-----\\nYWdl◆\\n-----END AGE ENCRYPTED FILE-----\"")],
        is_resource: false,
        ignores: None,
    },
    Table {
        name: "cloudflare",
        needs: &[
            "account_id = \"1123456789abcdef0123456789abcdef\"",
            "api_token = { secret = \"s\" }",
            "endpoint = \"https://x\"",
        ],
        fields: &[
            ("account_id", "account_id = \"2123456789abcdef0123456789abcdef◆\""),
            ("api_token.credential", "api_token = { credential = \"cf◆\" }"),
            ("api_token.secret", "api_token = { secret = \"s◆\" }"),
            ("endpoint", "endpoint = \"https://api.example.com/client/v4◆\""),
            ("labels.<key>", "labels = { \"role◆\" = \"x\" }"),
            ("labels.*", "labels = { role = \"x◆\" }"),
            ("region", "region = \"us◆\""),
        ],
        is_resource: false,
        ignores: None,
    },
    Table {
        name: "edge",
        needs: &["endpoint = \"https://edge.example.com/client/v4\"", "api_token = { secret = \"s\" }"],
        fields: &[
            ("account_id", "account_id = \"0123456789abcdef0123456789abcdef◆\""),
            ("api_token.credential", "api_token = { credential = \"edge◆\" }"),
            ("api_token.secret", "api_token = { secret = \"s◆\" }"),
            ("endpoint", "endpoint = \"https://edge.example.com/client/v4◆\""),
            ("labels.<key>", "labels = { \"role◆\" = \"x\" }"),
            ("labels.*", "labels = { role = \"x◆\" }"),
            ("region", "region = \"us◆\""),
        ],
        is_resource: false,
        ignores: None,
    },
    Table {
        name: "kv",
        needs: &[],
        fields: &[("jurisdiction", "jurisdiction = \"eu◆\""), ("title", "title = \"KEY◆\"")],
        is_resource: true,
        ignores: None,
    },
    Table {
        name: "r2",
        needs: &[],
        fields: &[
            ("jurisdiction", "jurisdiction = \"eu◆\""),
            ("location", "location = \"weur◆\""),
            ("name", "name = \"media-two◆\""),
            ("storage_class", "storage_class = \"InfrequentAccess◆\""),
        ],
        is_resource: true,
        ignores: Some("storage_class"),
    },
    Table {
        name: "d1",
        needs: &[],
        fields: &[
            ("jurisdiction", "jurisdiction = \"eu◆\""),
            ("location", "location = \"weur◆\""),
            ("migrations", "migrations = \"m◆\""),
            ("migrations_table", "[d1.KEY]\nmigrations = \"m\"\nmigrations_table = \"t◆\""),
            ("name", "name = \"KEY◆\""),
            ("read_replication", "read_replication = \"auto◆\""),
        ],
        is_resource: true,
        ignores: Some("read_replication"),
    },
    Table {
        name: "queue",
        needs: &[],
        fields: &[
            ("consumer.dead_letter_queue", "consumer = { worker = \"other\", dead_letter_queue = \"dead◆\" }"),
            ("consumer.worker", "consumer = { worker = \"other◆\" }"),
            ("jurisdiction", "jurisdiction = \"eu◆\""),
            ("name", "name = \"queue-two◆\""),
        ],
        is_resource: true,
        ignores: Some("settings"),
    },
    Table {
        name: "hyperdrive",
        needs: &[
            "origin = { scheme = \"postgres\", host = \"a.example.com\", database = \"d\", user = \"u\", password = { secret = \"s\" } }",
        ],
        fields: &[
            ("mtls.ca", "mtls = { ca = \"client◆\", sslmode = \"verify-full\" }"),
            ("mtls.certificate", "mtls = { certificate = \"client◆\" }"),
            ("mtls.sslmode", "mtls = { certificate = \"client\", sslmode = \"require◆\" }"),
            ("name", "name = \"KEY◆\""),
            (
                "origin.database",
                "origin.scheme = \"postgres\"\norigin.host = \"a.example.com\"\norigin.database = \
                 \"d◆\"\norigin.user = \"u\"\norigin.password = { secret = \"s\" }",
            ),
            (
                "origin.host",
                "origin.scheme = \"postgres\"\norigin.host = \"a◆.example.com\"\norigin.database = \
                 \"d\"\norigin.user = \"u\"\norigin.password = { secret = \"s\" }",
            ),
            (
                "origin.password.secret",
                "origin.scheme = \"postgres\"\norigin.host = \"a.example.com\"\norigin.database = \"d\"\norigin.user \
                 = \"u\"\norigin.password = { secret = \"s◆\" }",
            ),
            (
                "origin.scheme",
                "origin.scheme = \"postgres◆\"\norigin.host = \"a.example.com\"\norigin.database = \
                 \"d\"\norigin.user = \"u\"\norigin.password = { secret = \"s\" }",
            ),
            (
                "origin.user",
                "origin.scheme = \"postgres\"\norigin.host = \"a.example.com\"\norigin.database = \"d\"\norigin.user \
                 = \"u◆\"\norigin.password = { secret = \"s\" }",
            ),
        ],
        is_resource: true,
        ignores: Some("caching"),
    },
    Table {
        name: "tunnel",
        needs: &[],
        fields: &[
            ("ingress.[].hostname", "ingress = [{ hostname = \"x◆.example.com\", service = \"http://localhost:80\" }]"),
            (
                "ingress.[].path",
                "ingress = [{ hostname = \"x.example.com\", path = \"^/x◆y\", service = \"http://localhost:80\" }]",
            ),
            ("ingress.[].service", "ingress = [{ hostname = \"x.example.com\", service = \"http://localhost/x◆y\" }]"),
            ("name", "name = \"KEY◆\""),
        ],
        is_resource: true,
        ignores: Some("ingress"),
    },
    Table {
        name: "vpc_service",
        needs: &["host = \"10.0.0.6\"", "type = \"http\"", "http_port = 80", "tunnel = \"edge\""],
        fields: &[
            (
                "app_protocol",
                "[vpc_service.KEY]\ntype = \"tcp\"\ntcp_port = 5432\nhost = \"db\"\ntunnel = \"edge\"\napp_protocol \
                 = \"postgresql◆\"",
            ),
            ("cert_verification", "cert_verification = \"verify_ca◆\""),
            ("host", "host = \"db◆.internal\""),
            ("name", "name = \"KEY◆\""),
            (
                "resolvers.[]",
                "[vpc_service.KEY]\nhost = \"db.internal\"\nhttp_port = 80\ntunnel = \"edge\"\nresolvers = \
                 [\"10.0.0.2◆\"]",
            ),
            ("tunnel", "tunnel = \"edge◆\""),
            ("type", "type = \"http◆\""),
        ],
        is_resource: true,
        ignores: Some("host"),
    },
    Table {
        name: "mtls_certificate",
        needs: &["certificate = \"c/client.pem\"", "private_key = { secret = \"t\" }"],
        fields: &[
            ("certificate", "certificate = \"c/client.pem◆\""),
            ("name", "name = \"KEY◆\""),
            ("private_key.secret", "private_key = { secret = \"t◆\" }"),
        ],
        is_resource: true,
        ignores: None,
    },
    Table {
        name: "dispatch_namespace", needs: &[], fields: &[("name", "name = \"spaces◆\"")], is_resource: true, ignores: None
    },
    Table {
        name: "dns",
        needs: &["zone = \"example.com\"", "type = \"TXT\"", "name = \"KEY.example.com\"", "content = \"x\""],
        fields: &[
            ("comment", "comment = \"x◆y\""),
            ("content", "content = \"x◆y\""),
            (
                "content.tunnel",
                "[dns.KEY]\nzone = \"example.com\"\ntype = \"CNAME\"\nname = \"k.example.com\"\nproxied = \
                 true\ncontent = { tunnel = \"edge◆\" }",
            ),
            ("name", "name = \"x◆.example.com\""),
            ("type", "type = \"TXT◆\""),
            ("zone", "zone = \"example.com◆\""),
        ],
        is_resource: true,
        ignores: Some("comment"),
    },
    Table {
        name: "domain",
        needs: &["hostname = \"app.example.com\"", "zone_name = \"example.com\"", "worker = \"other\""],
        fields: &[
            ("hostname", "hostname = \"x◆.example.com\""),
            ("worker", "worker = \"other◆\""),
            ("zone_name", "zone_name = \"example.com◆\""),
        ],
        is_resource: true,
        ignores: Some("service"),
    },
    Table {
        name: "cache_rule",
        needs: &["zone = \"example.com\"", "expression = \"true\""],
        fields: &[
            ("browser_ttl", "browser_ttl = \"respect_origin◆\""),
            ("description", "description = \"x◆y\""),
            ("edge_ttl", "edge_ttl = \"1d◆\""),
            ("expression", "expression = \"true◆\""),
            ("ref", "ref = \"rule◆\""),
            ("zone", "zone = \"example.com◆\""),
        ],
        is_resource: true,
        ignores: Some("description"),
    },
];

const SEALED: &str = "age = \"-----BEGIN AGE ENCRYPTED FILE-----\\nYWdl\\n-----END AGE ENCRYPTED FILE-----\"";
