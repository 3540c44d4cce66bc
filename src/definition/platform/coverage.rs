//! Which fields of the API a definition can give, and which are refused by name.
//!
//! Goes in: nothing. Comes out: a line for each field that the API takes at creation or at a change of one of these kinds.
//!
//! **Invariant:** a field of the API is in the table, or nobody has decided about it: a test holds the table to the API's own
//! lists of fields.

use crate::model::Kind;

/// How a field of the API is had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// By this key of the table, dotted where it is inside of another.
    Key(&'static str),
    /// It is always this.
    Given(&'static str),
    /// It cannot be given, for this reason; its name as a key is refused as one of a later version.
    Refused(&'static str),
}

/// One field of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// The kind.
    pub kind: Kind,
    /// The field, dotted where it is inside of another.
    pub field: &'static str,
    /// How it is had.
    pub how: How,
}

const fn key(kind: Kind, field: &'static str, key: &'static str) -> Line {
    Line { kind, field, how: How::Key(key) }
}

const fn given(kind: Kind, field: &'static str, what: &'static str) -> Line {
    Line { kind, field, how: How::Given(what) }
}

const fn refused(kind: Kind, field: &'static str, reason: &'static str) -> Line {
    Line { kind, field, how: How::Refused(reason) }
}

/// Every field.
pub const TABLE: &[Line] = &[
    key(Kind::Kv, "title", "title"),
    key(Kind::Kv, "jurisdiction", "jurisdiction"),
    key(Kind::R2, "name", "name"),
    key(Kind::R2, "locationHint", "location"),
    key(Kind::R2, "storageClass", "storage_class"),
    key(Kind::R2, "storage_class", "storage_class"),
    key(Kind::R2, "cf-r2-jurisdiction", "jurisdiction"),
    refused(Kind::R2, "cors", "rules of access from browsers are set by their own tools"),
    refused(Kind::R2, "lifecycle", "what deletes data by age is set by a person"),
    refused(Kind::R2, "lock", "what keeps data from being deleted is set by a person"),
    refused(Kind::R2, "domains", "a Worker serves what is in a bucket"),
    refused(Kind::R2, "event_notifications", "not yet"),
    key(Kind::D1, "name", "name"),
    key(Kind::D1, "primary_location_hint", "location"),
    key(Kind::D1, "jurisdiction", "jurisdiction"),
    key(Kind::D1, "read_replication", "read_replication"),
    key(Kind::Queue, "queue_name", "name"),
    key(Kind::Queue, "jurisdiction", "jurisdiction"),
    key(Kind::Queue, "settings.delivery_delay", "delivery_delay"),
    key(Kind::Queue, "settings.delivery_paused", "delivery_paused"),
    key(Kind::Queue, "settings.message_retention_period", "retention"),
    given(Kind::QueueConsumer, "type", "`worker` or `http_pull`, by which of the two keys is written"),
    key(Kind::QueueConsumer, "script_name", "consumer.worker"),
    key(Kind::QueueConsumer, "dead_letter_queue", "consumer.dead_letter_queue"),
    key(Kind::QueueConsumer, "settings.batch_size", "consumer.batch_size"),
    key(Kind::QueueConsumer, "settings.max_concurrency", "consumer.max_concurrency"),
    key(Kind::QueueConsumer, "settings.max_retries", "consumer.max_retries"),
    key(Kind::QueueConsumer, "settings.max_wait_time_ms", "consumer.batch_timeout"),
    key(Kind::QueueConsumer, "settings.retry_delay", "consumer.retry_delay"),
    key(Kind::QueueConsumer, "settings.visibility_timeout_ms", "consumer.visibility_timeout_ms"),
    key(Kind::Hyperdrive, "name", "name"),
    key(Kind::Hyperdrive, "origin.scheme", "origin.scheme"),
    key(Kind::Hyperdrive, "origin.host", "origin.host"),
    key(Kind::Hyperdrive, "origin.port", "origin.port"),
    key(Kind::Hyperdrive, "origin.database", "origin.database"),
    key(Kind::Hyperdrive, "origin.user", "origin.user"),
    key(Kind::Hyperdrive, "origin.password", "origin.password"),
    refused(Kind::Hyperdrive, "access_client_id", "a database behind Access is not supported yet"),
    refused(Kind::Hyperdrive, "access_client_secret", "a database behind Access is not supported yet"),
    refused(Kind::Hyperdrive, "service_id", "a database behind a private service is not supported yet"),
    refused(Kind::Hyperdrive, "integration", "databases of other vendors' integrations are made by them"),
    key(Kind::Hyperdrive, "caching.disabled", "caching.disabled"),
    key(Kind::Hyperdrive, "caching.max_age", "caching.max_age"),
    key(Kind::Hyperdrive, "caching.stale_while_revalidate", "caching.stale_while_revalidate"),
    key(Kind::Hyperdrive, "origin_connection_limit", "connection_limit"),
    key(Kind::Hyperdrive, "mtls.ca_certificate_id", "mtls.ca"),
    key(Kind::Hyperdrive, "mtls.mtls_certificate_id", "mtls.certificate"),
    key(Kind::Hyperdrive, "mtls.sslmode", "mtls.sslmode"),
    key(Kind::Tunnel, "name", "name"),
    given(Kind::Tunnel, "config_src", "`cloudflare`"),
    refused(Kind::Tunnel, "tunnel_secret", "the platform makes it, and hosts get a token"),
    key(Kind::Tunnel, "config.ingress.hostname", "ingress.hostname"),
    key(Kind::Tunnel, "config.ingress.path", "ingress.path"),
    key(Kind::Tunnel, "config.ingress.service", "ingress.service"),
    refused(Kind::Tunnel, "originRequest", "not yet; what the configuration has of it is kept"),
    refused(Kind::Tunnel, "warp-routing", "not yet; what the configuration has of it is kept"),
    key(Kind::VpcService, "name", "name"),
    key(Kind::VpcService, "type", "type"),
    key(Kind::VpcService, "http_port", "http_port"),
    key(Kind::VpcService, "https_port", "https_port"),
    key(Kind::VpcService, "tcp_port", "tcp_port"),
    key(Kind::VpcService, "app_protocol", "app_protocol"),
    key(Kind::VpcService, "host.ipv4", "host"),
    key(Kind::VpcService, "host.ipv6", "host"),
    key(Kind::VpcService, "host.hostname", "host"),
    key(Kind::VpcService, "host.network.tunnel_id", "tunnel"),
    key(Kind::VpcService, "host.resolver_network.tunnel_id", "tunnel"),
    key(Kind::VpcService, "host.resolver_network.resolver_ips", "resolvers"),
    key(Kind::VpcService, "tls_settings.cert_verification_mode", "cert_verification"),
    key(Kind::MtlsCertificate, "name", "name"),
    key(Kind::MtlsCertificate, "certificates", "certificate"),
    key(Kind::MtlsCertificate, "private_key", "private_key"),
    key(Kind::MtlsCertificate, "ca", "ca"),
    key(Kind::DispatchNamespace, "name", "name"),
    refused(Kind::DispatchNamespace, "trusted_workers", "not yet"),
];
