//! Where a thing stands: environment, kind and name, and with the target the instance.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::kind::Kind;
use super::name::{EnvironmentName, ResourceName, TargetName, TenantName};

/// A text that is no address; says what form is expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not of the form {expected}")]
pub struct ParseAddressError {
    text: String,
    expected: &'static str,
}

/// An environment of a tenant, written `production`, or `acme/production` for a tenant other than `default`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EnvironmentId {
    /// The owner.
    pub tenant: TenantName,
    /// The environment's name.
    pub environment: EnvironmentName,
}

impl EnvironmentId {
    /// The environment `name` of the tenant `default`.
    pub fn of_default(environment: EnvironmentName) -> Self {
        Self { tenant: TenantName::default(), environment }
    }
}

impl fmt::Display for EnvironmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text =
            if self.tenant.is_default() { self.environment.to_string() } else { format!("{}/{}", self.tenant, self.environment) };
        f.pad(&text)
    }
}

impl FromStr for EnvironmentId {
    type Err = ParseAddressError;
    fn from_str(text: &str) -> Result<Self, ParseAddressError> {
        let error =
            || ParseAddressError { text: text.escape_debug().to_string(), expected: "`environment` or `tenant/environment`" };
        let (tenant, environment) = match text.split_once('/') {
            Some((tenant, environment)) => (tenant.parse().map_err(|_| error())?, environment),
            None => (TenantName::default(), text),
        };
        Ok(Self { tenant, environment: environment.parse().map_err(|_| error())? })
    }
}

/// One managed thing, written `production/worker.ads-api`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    /// Where it belongs.
    pub environment: EnvironmentId,
    /// What sort of thing it is.
    pub kind: Kind,
    /// Its key in the definitions.
    pub name: ResourceName,
}

impl Address {
    /// The short form within an environment, `worker.ads-api`.
    pub fn local(&self) -> String {
        format!("{}.{}", self.kind, self.name)
    }

    /// This resource's instance on `target`.
    pub fn on(&self, target: TargetName) -> InstanceKey {
        InstanceKey { address: self.clone(), target }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}.{}", self.environment, self.kind, self.name))
    }
}

impl FromStr for Address {
    type Err = ParseAddressError;
    fn from_str(text: &str) -> Result<Self, ParseAddressError> {
        let error = || ParseAddressError {
            text: text.escape_debug().to_string(),
            expected: "`environment/kind.name`, such as `production/worker.ads-api`",
        };
        let (environment, local) = text.rsplit_once('/').ok_or_else(error)?;
        let (kind, name) = local.split_once('.').ok_or_else(error)?;
        Ok(Self {
            environment: environment.parse().map_err(|_| error())?,
            kind: Kind::ALL.into_iter().find(|k| k.as_str() == kind).ok_or_else(error)?,
            name: name.parse().map_err(|_| error())?,
        })
    }
}

/// One resource on one target, written `production/worker.ads-api@main`: the identity in inventory, journal,
/// markers and refs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstanceKey {
    /// The resource.
    pub address: Address,
    /// The target that it lives on.
    pub target: TargetName,
}

impl fmt::Display for InstanceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}@{}", self.address, self.target))
    }
}

impl FromStr for InstanceKey {
    type Err = ParseAddressError;
    fn from_str(text: &str) -> Result<Self, ParseAddressError> {
        let error = || ParseAddressError {
            text: text.escape_debug().to_string(),
            expected: "`environment/kind.name@target`, such as `production/worker.ads-api@main`",
        };
        let (address, target) = text.rsplit_once('@').ok_or_else(error)?;
        Ok(Self { address: address.parse()?, target: target.parse().map_err(|_| error())? })
    }
}

macro_rules! as_text {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = ParseAddressError;
            fn try_from(text: String) -> Result<Self, ParseAddressError> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.to_string()
            }
        }
    };
}
as_text!(EnvironmentId);
as_text!(Address);
as_text!(InstanceKey);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for text in ["production/worker.ads-api@main", "acme/production/kv.sessions@frankfurt"] {
            assert_eq!(text.parse::<InstanceKey>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_says_what_one_looks_like() {
        for text in ["worker.x", "production/unknown.x", "production/worker", "Production/worker.x"] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains("production/worker.ads-api"), "{error}");
        }
    }
}
