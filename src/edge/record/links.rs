//! Links to what is beside the edge: databases, services, and certificates to present to them.
//!
//! **Invariant:** a password or a private key is kept as its ciphertext only.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A database that Workers reach through Hyperdrive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::edge) struct Hyperdrive {
    pub(in crate::edge) name: String,
    pub(in crate::edge) created_on: String,
    pub(in crate::edge) modified_on: String,
    /// `postgres`, `postgresql` or `mysql`.
    pub(in crate::edge) scheme: String,
    pub(in crate::edge) host: String,
    pub(in crate::edge) port: u16,
    pub(in crate::edge) database: String,
    pub(in crate::edge) user: String,
    /// The age ciphertext of the password, base64.
    pub(in crate::edge) password: String,
    /// Kept and shown: there is no cache here.
    pub(in crate::edge) caching: Value,
    pub(in crate::edge) mtls: Value,
    pub(in crate::edge) connection_limit: Option<u32>,
}

/// A service of the edge's own network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::edge) struct Service {
    pub(in crate::edge) name: String,
    /// `http` or `tcp`.
    pub(in crate::edge) kind: String,
    pub(in crate::edge) http_port: Option<u16>,
    pub(in crate::edge) https_port: Option<u16>,
    pub(in crate::edge) tcp_port: Option<u16>,
    /// What is spoken over TCP.
    pub(in crate::edge) app_protocol: Option<String>,
    /// As it came. A tunnel in it is kept and not used: the edge is in the network.
    pub(in crate::edge) host: Value,
    #[serde(default)]
    pub(in crate::edge) tls_settings: Value,
    pub(in crate::edge) created_at: String,
    pub(in crate::edge) updated_at: String,
}

/// A certificate: to present to others, with its key, or of an authority to trust.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::edge) struct Certificate {
    pub(in crate::edge) name: String,
    pub(in crate::edge) ca: bool,
    /// PEM, the leaf first.
    pub(in crate::edge) chain: String,
    /// The age ciphertext of the key, base64.
    pub(in crate::edge) private_key: Option<String>,
    pub(in crate::edge) uploaded_on: String,
}

impl Service {
    /// The address, and whether it is spoken to over TLS.
    pub(in crate::edge) fn address(&self) -> Option<(String, bool)> {
        let (port, tls) = match (self.kind.as_str(), self.http_port, self.https_port) {
            ("tcp", ..) => (self.tcp_port?, false),
            (_, Some(port), _) => (port, false),
            (_, None, port) => (port.unwrap_or(443), true),
        };
        let text = |field: &str| self.host[field].as_str();
        let host = text("ipv4").or(text("hostname")).map(str::to_owned);
        let host = host.or_else(|| Some(format!("[{}]", text("ipv6")?)))?;
        Some((format!("{host}:{port}"), tls))
    }
}
