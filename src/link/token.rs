//! The line by which a host enrols: who it is to be, where the daemon is, whom to trust, and a secret for one use.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::LinkError;
use crate::agent::Payload;
use crate::model::{Secret, TargetName};

const PREFIX: &str = "trunkline-agent-1.";

/// A token, in memory.
pub struct Token {
    /// Which token it is, in the register.
    pub id: String,
    /// What proves that the bearer has it.
    pub secret: Secret,
    /// The host's name.
    pub name: TargetName,
    /// Where the daemon is: `host:port`.
    pub address: String,
    /// The authority's certificate, PEM.
    pub authority: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: String,
    secret: Payload,
    name: TargetName,
    address: String,
    authority: String,
}

impl Token {
    /// The line, for a person to carry.
    pub fn line(&self) -> Zeroizing<String> {
        let written = Written {
            id: self.id.clone(),
            secret: Payload::new(self.secret.clone()),
            name: self.name.clone(),
            address: self.address.clone(),
            authority: self.authority.clone(),
        };
        // What is written here is made of text alone.
        let json = Zeroizing::new(serde_json::to_vec(&written).unwrap_or_default());
        Zeroizing::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&*json)))
    }

    /// Reads such a line.
    ///
    /// # Errors
    /// [`LinkError::Token`]; nothing of the line is in it.
    pub fn parse(line: &str) -> Result<Self, LinkError> {
        let rest = line.trim().strip_prefix(PREFIX).ok_or(LinkError::Token("it does not begin as one does"))?;
        let json = URL_SAFE_NO_PAD.decode(rest).map_err(|_| LinkError::Token("a part of it is missing or changed"))?;
        let json = Zeroizing::new(json);
        let written: Written =
            serde_json::from_slice(&json).map_err(|_| LinkError::Token("a part of it is missing or changed"))?;
        let Written { id, secret, name, address, authority } = written;
        Ok(Self { id, secret: Secret::new(secret.expose().to_vec()), name, address, authority })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_back_and_a_part_of_it_is_none() {
        let token = Token {
            id: "1".into(),
            secret: Secret::new(vec![7; 32]),
            name: "fra1".parse().unwrap(),
            address: "trunkline.example.com:7443".into(),
            authority: "-----BEGIN CERTIFICATE-----\n".into(),
        };
        let line = token.line();
        let read = Token::parse(&format!(" {}\n", *line)).unwrap();
        assert_eq!((read.secret.expose(), read.name, read.address), (token.secret.expose(), token.name, token.address));
        for bad in ["", "x", PREFIX, &line[..line.len() - 4], &line[5..]] {
            assert!(matches!(Token::parse(bad), Err(LinkError::Token(_))), "{bad}");
        }
    }
}
