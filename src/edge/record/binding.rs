//! What a Worker finds in `env`: one shape on disk and, secrets apart, on the wire.
//!
//! **Invariant:** no variant holds a secret in clear.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One binding, under the wire's own names. Empty optional fields are left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in crate::edge) enum Binding {
    PlainText {
        text: String,
    },
    Json {
        json: Value,
    },
    SecretText {
        /// The age ciphertext, base64.
        sealed: String,
        /// Keyed digest of the value: equal values have equal marks.
        mark: String,
    },
    KvNamespace {
        namespace_id: String,
    },
    D1 {
        database_id: String,
    },
    Queue {
        queue_name: String,
        /// Seconds for messages that name none; the queue's own where this names none either.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        delivery_delay: Option<u64>,
    },
    R2Bucket {
        bucket_name: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        jurisdiction: Option<String>,
    },
    Service {
        service: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        environment: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        entrypoint: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        props: Option<Value>,
    },
    DurableObjectNamespace {
        class_name: String,
        /// Whose class it is; this Worker's where none is named.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        script_name: Option<String>,
        /// What the objects are kept under, whatever the class is called by now.
        namespace_id: String,
    },
    Assets,
    VersionMetadata,
    AnalyticsEngine {
        dataset: String,
    },
    Ratelimit {
        namespace_id: String,
        simple: Limit,
    },
    Hyperdrive {
        id: String,
    },
    VpcService {
        service_id: String,
    },
    MtlsCertificate {
        certificate_id: String,
    },
}

/// How many calls in how many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::edge) struct Limit {
    pub(in crate::edge) limit: u64,
    /// 10 or 60, as at Cloudflare.
    pub(in crate::edge) period: u64,
}

impl Binding {
    /// The wire's word for it.
    pub(in crate::edge) fn kind(&self) -> &'static str {
        match self {
            Self::PlainText { .. } => "plain_text",
            Self::Json { .. } => "json",
            Self::SecretText { .. } => "secret_text",
            Self::KvNamespace { .. } => "kv_namespace",
            Self::D1 { .. } => "d1",
            Self::Queue { .. } => "queue",
            Self::R2Bucket { .. } => "r2_bucket",
            Self::Service { .. } => "service",
            Self::DurableObjectNamespace { .. } => "durable_object_namespace",
            Self::Assets => "assets",
            Self::VersionMetadata => "version_metadata",
            Self::AnalyticsEngine { .. } => "analytics_engine",
            Self::Ratelimit { .. } => "ratelimit",
            Self::Hyperdrive { .. } => "hyperdrive",
            Self::VpcService { .. } => "vpc_service",
            Self::MtlsCertificate { .. } => "mtls_certificate",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_for_a_binding_is_the_one_it_is_stored_under() {
        let limit = Limit { limit: 1, period: 10 };
        for binding in [
            Binding::D1 { database_id: String::new() },
            Binding::R2Bucket { bucket_name: String::new(), jurisdiction: None },
            Binding::Ratelimit { namespace_id: String::new(), simple: limit },
            Binding::VersionMetadata,
        ] {
            assert_eq!(serde_json::to_value(&binding).unwrap()["type"], binding.kind());
        }
    }
}
