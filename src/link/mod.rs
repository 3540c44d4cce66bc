//! Agents that dial out: who may, how each proves who it is, and the connections that requests travel on.
//!
//! Goes in: at the daemon, a request for a host by name; at the host, the same request. Comes out: the executor's answer.
//! One mutually authenticated WebSocket for each agent, which the agent opens, so that a host needs no open port. TLS 1.3;
//! either side trusts the installation's own certificate authority and nothing else.
//!
//! An operator makes a token for a name ([`Register::admit`]): one use, ten minutes, five tries; it holds the authority's
//! certificate, so that the first connection is already verified. The host makes its key, which never leaves it, and gets
//! a certificate of 24 hours, renewed at half its life over the connection that it has.
//!
//! **Invariant:** who an agent is comes from its certificate alone, and counts only while the register has that
//! certificate: it is asked at the handshake and again before every request. A request for a host goes to the agent of
//! that name and to no other. What an executor does is within the host's own policy, whoever asks.

mod authority;
mod dial;
mod home;
mod hub;
mod keep;
mod register;
mod serve;
mod session;
mod token;
mod wire;

pub use authority::Authority;
pub use dial::enrol;
pub use home::{Home, read_policy};
pub use hub::{Away, Hub, Listen};
pub use register::{Admitted, Register};
pub use serve::{Heard, serve};
pub use token::Token;
pub use wire::MAX_REQUEST_BYTES;

use std::path::PathBuf;

/// Why something about agents cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// A file or a folder cannot be used.
    #[error("{path} cannot be used")]
    File {
        /// Which.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The host's policy is none.
    #[error("the policy {path} cannot be taken: {what}")]
    Policy {
        /// Where it should be.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// This host never enrolled.
    #[error("this host has not enrolled: there is no {0}")]
    NotEnrolled(PathBuf),
    /// There is no authority: nobody was ever admitted.
    #[error("there is no certificate authority in {0}: no agent was ever admitted")]
    NoAuthority(PathBuf),
    /// A key or a certificate cannot be made.
    #[error("a certificate cannot be made: {0}")]
    Certificate(String),
    /// An address cannot be listened on.
    #[error("agents cannot be listened for on {address}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The daemon cannot be reached, or its certificate is not the authority's.
    #[error("no connection to the daemon at {address}")]
    Unreachable {
        /// Where it should be.
        address: String,
        /// What went wrong.
        #[source]
        source: std::io::Error,
    },
    /// The other side says no.
    #[error("the daemon refuses: {0}")]
    Refused(String),
    /// What was said is not what the protocol says.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The token is none.
    #[error("this is no token: {0}")]
    Token(&'static str),
    /// The host's policy allows nothing.
    #[error("the policy {0} allows nothing")]
    AllowsNothing(PathBuf),
    /// The certificate ran out while there was no connection.
    #[error("the certificate of this host ran out at {0}")]
    RanOut(chrono::DateTime<chrono::Utc>),
}

impl LinkError {
    /// What the reader can do now.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoAuthority(_) => Some("run `trunkline agent token NAME` first; it makes the authority".into()),
            Self::File { .. } => Some("see whether it is there, and who owns it".into()),
            Self::Damaged { .. } => Some("bring it back from a backup; or remove it and enrol the agents again".into()),
            Self::Listen { .. } => Some("change `listen` under [agents] in the settings".into()),
            Self::Unreachable { .. } => Some("see that the daemon runs with `listen` under [agents], that the address in the token is its own, and that no proxy ends TLS on the way".into()),
            Self::Refused(_) | Self::RanOut(_) => Some("make a new token with `trunkline agent token NAME` beside the daemon, and enrol this host again".into()),
            Self::Token(_) => Some("give the whole line that `trunkline agent token` printed".into()),
            Self::NotEnrolled(_) => {
                Some("make a token with `trunkline agent token NAME` beside the daemon, and give it to `trunkline agent enrol` here".into())
            }
            Self::AllowsNothing(_) | Self::Policy { .. } => Some("write the folders that may be written to: `roots = [\"/etc/ads-engine\"]`".into()),
            Self::Certificate(_) | Self::Broken(_) => None,
        }
    }
}
