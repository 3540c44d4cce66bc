//! Tokens of tunnels on their way from the API that gives them to the host that runs the tunnel.
//!
//! **Invariant:** a token is in memory between the read and the write of a file, and nowhere else: what is compared, planned and
//! recorded is its mark.

use std::collections::BTreeMap;
use std::fmt;

use crate::model::{ResourceName, Secret, SecretMark};

/// A token, and what stands for it.
#[derive(Clone)]
pub struct Token {
    /// What a host runs the tunnel with.
    pub value: Secret,
    /// What stands for it in plans and records.
    pub mark: SecretMark,
}

/// The tokens that one order needs, by the keys of their tunnels.
#[derive(Clone, Default)]
pub struct Tokens(BTreeMap<ResourceName, Token>);

impl Tokens {
    /// One more.
    pub fn insert(&mut self, tunnel: ResourceName, token: Token) {
        self.0.insert(tunnel, token);
    }

    /// That of a tunnel.
    pub fn get(&self, tunnel: &ResourceName) -> Option<&Token> {
        self.0.get(tunnel)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&ResourceName, &Token)> {
        self.0.iter()
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
