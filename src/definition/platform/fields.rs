//! Which property of a thing is written by which key: what an import writes, and what `ignore` can name.
//!
//! Goes in: nothing. Comes out: a line for each property that the API shows and a table can give.

/// How a property stands in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As it is.
    Plain,
    /// By the key of the resource of this kind that has it as its id.
    Id(&'static str),
    /// By the key of the resource of this kind that has it as its name at the target.
    Name(&'static str),
    /// In seconds, where the API has milliseconds.
    Seconds,
    /// A mode and a time of a cache, as one word or an interval.
    Lifetime,
    /// Rules of a tunnel.
    Ingress,
    /// What a DNS record says: text, or a tunnel.
    Content,
}

/// One property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// The kind's word.
    pub kind: &'static str,
    /// The property, dotted where it is inside of another.
    pub property: &'static str,
    /// The key, dotted where it is inside of another.
    pub key: &'static str,
    /// How it stands there.
    pub form: Form,
}

const fn plain(kind: &'static str, property: &'static str, key: &'static str) -> Field {
    Field { kind, property, key, form: Form::Plain }
}

const fn formed(kind: &'static str, property: &'static str, key: &'static str, form: Form) -> Field {
    Field { kind, property, key, form }
}

/// Every property of the kinds that the platform keeps in lists.
pub const FIELDS: &[Field] = &[
    plain("kv", "title", "title"),
    plain("kv", "jurisdiction", "jurisdiction"),
    plain("r2", "name", "name"),
    plain("r2", "storage_class", "storage_class"),
    plain("r2", "jurisdiction", "jurisdiction"),
    plain("d1", "name", "name"),
    plain("d1", "jurisdiction", "jurisdiction"),
    plain("d1", "read_replication.mode", "read_replication"),
    plain("queue", "queue_name", "name"),
    plain("queue", "jurisdiction", "jurisdiction"),
    plain("queue", "settings.delivery_delay", "delivery_delay"),
    plain("queue", "settings.delivery_paused", "delivery_paused"),
    plain("queue", "settings.message_retention_period", "retention"),
    formed("queue_consumer", "script_name", "worker", Form::Name("worker")),
    formed("queue_consumer", "dead_letter_queue", "dead_letter_queue", Form::Name("queue")),
    plain("queue_consumer", "settings.batch_size", "batch_size"),
    plain("queue_consumer", "settings.max_concurrency", "max_concurrency"),
    plain("queue_consumer", "settings.max_retries", "max_retries"),
    formed("queue_consumer", "settings.max_wait_time_ms", "batch_timeout", Form::Seconds),
    plain("queue_consumer", "settings.retry_delay", "retry_delay"),
    plain("queue_consumer", "settings.visibility_timeout_ms", "visibility_timeout_ms"),
    plain("hyperdrive", "name", "name"),
    plain("hyperdrive", "origin.scheme", "origin.scheme"),
    plain("hyperdrive", "origin.host", "origin.host"),
    plain("hyperdrive", "origin.port", "origin.port"),
    plain("hyperdrive", "origin.database", "origin.database"),
    plain("hyperdrive", "origin.user", "origin.user"),
    plain("hyperdrive", "caching.disabled", "caching.disabled"),
    plain("hyperdrive", "caching.max_age", "caching.max_age"),
    plain("hyperdrive", "caching.stale_while_revalidate", "caching.stale_while_revalidate"),
    plain("hyperdrive", "origin_connection_limit", "connection_limit"),
    formed("hyperdrive", "mtls.ca_certificate_id", "mtls.ca", Form::Id("mtls_certificate")),
    formed("hyperdrive", "mtls.mtls_certificate_id", "mtls.certificate", Form::Id("mtls_certificate")),
    plain("hyperdrive", "mtls.sslmode", "mtls.sslmode"),
    plain("tunnel", "name", "name"),
    formed("tunnel", "ingress", "ingress", Form::Ingress),
    plain("vpc_service", "name", "name"),
    plain("vpc_service", "type", "type"),
    plain("vpc_service", "http_port", "http_port"),
    plain("vpc_service", "https_port", "https_port"),
    plain("vpc_service", "tcp_port", "tcp_port"),
    plain("vpc_service", "app_protocol", "app_protocol"),
    plain("vpc_service", "host.ipv4", "host"),
    plain("vpc_service", "host.ipv6", "host"),
    plain("vpc_service", "host.hostname", "host"),
    formed("vpc_service", "host.network.tunnel_id", "tunnel", Form::Id("tunnel")),
    formed("vpc_service", "host.resolver_network.tunnel_id", "tunnel", Form::Id("tunnel")),
    plain("vpc_service", "host.resolver_network.resolver_ips", "resolvers"),
    plain("vpc_service", "tls_settings.cert_verification_mode", "cert_verification"),
    plain("mtls_certificate", "name", "name"),
    plain("mtls_certificate", "ca", "ca"),
    plain("dispatch_namespace", "namespace_name", "name"),
    plain("dns", "zone_name", "zone"),
    plain("dns", "type", "type"),
    plain("dns", "name", "name"),
    formed("dns", "content", "content", Form::Content),
    plain("dns", "ttl", "ttl"),
    plain("dns", "proxied", "proxied"),
    plain("dns", "priority", "priority"),
    plain("dns", "comment", "comment"),
    plain("domain", "hostname", "hostname"),
    plain("domain", "zone_name", "zone_name"),
    formed("domain", "service", "worker", Form::Name("worker")),
    plain("cache_rule", "zone_name", "zone"),
    plain("cache_rule", "ref", "ref"),
    plain("cache_rule", "expression", "expression"),
    plain("cache_rule", "description", "description"),
    plain("cache_rule", "action_parameters.cache", "cache"),
    formed("cache_rule", "action_parameters.edge_ttl", "edge_ttl", Form::Lifetime),
    formed("cache_rule", "action_parameters.browser_ttl", "browser_ttl", Form::Lifetime),
    plain("cache_rule", "enabled", "enabled"),
];
