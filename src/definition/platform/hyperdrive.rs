//! `[hyperdrive.<name>]`: pooled connections to a database, and its cached answers.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{PlatformToml, Writing, names, some_of};
use crate::definition::reading::Reading;
use crate::definition::selector::OnToml;
use crate::definition::written::SecretRefToml;
use crate::document::Placed;
use crate::model::{Kind, PlatformSpec, ResourceName, TreeError, Value};

/// A Hyperdrive configuration.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Hyperdrive")]
pub(in crate::definition) struct HyperdriveToml {
    /// Where it lives; every target that takes Hyperdrive unless said otherwise.
    on: Option<Placed<OnToml>>,
    /// Its name at the target; its key, `-` and the environment's name unless said otherwise.
    name: Option<Placed<String>>,
    /// The database.
    #[schemars(required)]
    origin: Option<Placed<OriginToml>>,
    /// Which answers are kept.
    caching: Option<Placed<CachingToml>>,
    /// How many connections to the database there are at most, a soft limit; 5 to 100.
    connection_limit: Option<Placed<i64>>,
    /// How the two ends know each other.
    mtls: Option<Placed<MtlsToml>>,
    /// Take over a configuration of this name that is there and not ours.
    adopt: Option<bool>,
    /// Its former key, when it was renamed.
    moved: Option<Placed<ResourceName>>,
}

/// A database.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "HyperdriveOrigin")]
struct OriginToml {
    /// `postgres`, `postgresql` or `mysql`.
    #[schemars(required)]
    scheme: Option<Placed<String>>,
    /// Its host, by name or address.
    #[schemars(required)]
    host: Option<Placed<String>>,
    /// Its port; 5432, for MySQL 3306, unless said otherwise.
    port: Option<Placed<i64>>,
    /// The database's name there.
    #[schemars(required)]
    database: Option<Placed<String>>,
    /// Who connects.
    #[schemars(required)]
    user: Option<Placed<String>>,
    /// The password.
    #[schemars(required)]
    password: Option<Placed<SecretRefToml>>,
}

/// Which answers are kept.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "HyperdriveCaching")]
struct CachingToml {
    /// None.
    disabled: Option<Placed<bool>>,
    /// For how many seconds; 0 to 3600.
    max_age: Option<Placed<i64>>,
    /// For how many seconds more while a new one is fetched; 0 to 3600.
    stale_while_revalidate: Option<Placed<i64>>,
}

/// How the two ends know each other.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "HyperdriveMtls")]
struct MtlsToml {
    /// The key of the `mtls_certificate` of this environment, with `ca = true`, that the database's own is signed by.
    ca: Option<Placed<ResourceName>>,
    /// The key of the `mtls_certificate` of this environment that is presented to the database.
    certificate: Option<Placed<ResourceName>>,
    /// `require`, `verify-ca` or `verify-full`.
    sslmode: Option<Placed<String>>,
}

impl PlatformToml for HyperdriveToml {
    heads!(name);

    fn claim(&self, reading: &mut Reading<'_>, default: Placed<String>) -> Option<String> {
        let written = self.name.clone().unwrap_or(default);
        reading.check(written.place, names::title(&written.value, "Hyperdrive configuration", 128))
    }
    fn spec(&self, writing: &mut Writing<'_, '_, '_>) -> Result<Option<PlatformSpec>, TreeError> {
        let hint = "write the database, such as `origin = { scheme = \"postgres\", host = \"db.example.com\", … }`";
        let written = writing.required("origin", self.origin.as_ref(), hint);
        let origin = written.and_then(|written| origin(writing, written));
        let caching = self.caching.as_ref().and_then(|written| caching(writing, &written.value));
        let limit = writing.number("origin_connection_limit", self.connection_limit.as_ref(), (5, 100));
        let mtls = self.mtls.as_ref().and_then(|written| mtls(writing, &written.value));
        let fields = [("origin", origin), ("caching", caching), ("origin_connection_limit", limit), ("mtls", mtls)];
        let mut spec = writing.finish(Kind::Hyperdrive, fields);
        if let (Some(spec), Some(SecretRefToml::Secret(name))) =
            (&mut spec, written.and_then(|origin| Some(&origin.value.password.as_ref()?.value)))
        {
            spec.secrets.insert("origin.password".to_owned(), name.value.clone());
        }
        Ok(spec)
    }
}

fn origin(writing: &mut Writing<'_, '_, '_>, written: &Placed<OriginToml>) -> Option<Value> {
    let Placed { place, value: OriginToml { scheme, host, port, database, user, password } } = written;
    let at = (*place, "origin");
    let scheme = writing.required_at(at, "scheme", scheme, "write `postgres` or `mysql`");
    let scheme = writing.word("origin.scheme", scheme, &["mysql", "postgres", "postgresql"]);
    let host = writing.required_at(at, "host", host, "such as `db.example.com`");
    let host = writing.text("origin.host", host, names::host);
    let database = writing.required_at(at, "database", database, "the database's name at the host");
    let database = writing.text("origin.database", database, names::word);
    let user = writing.required_at(at, "user", user, "who connects");
    let user = writing.text("origin.user", user, names::word);
    let hint = "write `password = { secret = \"db-password\" }`, and the secret with `trunkline secrets set`";
    if let Some(Placed { place, value: SecretRefToml::Secret(name) }) = writing.required_at(at, "password", password, hint) {
        writing.scope.secret(writing.reading, name);
        writing.trace("origin.password", Some(*place));
    }
    let usual = if scheme.as_ref().and_then(Value::as_text) == Some("mysql") { 3_306 } else { 5_432 };
    let port = writing.number("origin.port", port.as_ref(), (1, 65_535)).unwrap_or(Value::Integer(usual));
    some_of([("scheme", scheme), ("host", host), ("port", Some(port)), ("database", database), ("user", user)])
}

fn caching(writing: &mut Writing<'_, '_, '_>, written: &CachingToml) -> Option<Value> {
    let CachingToml { disabled, max_age, stale_while_revalidate } = written;
    if disabled.as_ref().is_some_and(|disabled| disabled.value) {
        let place = max_age.as_ref().or(stale_while_revalidate.as_ref()).map(|age| age.place);
        writing.unfit(place, "nothing is kept where caching is disabled", "remove this, or `disabled`");
    }
    some_of([
        ("disabled", writing.flag("caching.disabled", disabled.as_ref())),
        ("max_age", writing.number("caching.max_age", max_age.as_ref(), (0, 3_600))),
        ("stale_while_revalidate", writing.number("caching.stale_while_revalidate", stale_while_revalidate.as_ref(), (0, 3_600))),
    ])
}

fn mtls(writing: &mut Writing<'_, '_, '_>, written: &MtlsToml) -> Option<Value> {
    let MtlsToml { ca, certificate, sslmode } = written;
    let mut id = |name: &Option<Placed<ResourceName>>| writing.pending(Kind::MtlsCertificate, name.as_ref()?, "id");
    let (ca, certificate) = (id(ca), id(certificate));
    let sslmode = writing.word("mtls.sslmode", sslmode.as_ref(), &["require", "verify-ca", "verify-full"]);
    some_of([("ca_certificate_id", ca), ("mtls_certificate_id", certificate), ("sslmode", sslmode)])
}
