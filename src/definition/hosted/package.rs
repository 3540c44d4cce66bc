//! `[package.<name>]`: a package of the host's distribution.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{HostedToml, Specs, Writing};
use crate::definition::reading::Reading;
use crate::definition::scalar::{Refused, refuse};
use crate::definition::selector::OnToml;
use crate::document::{Placed, shown};
use crate::model::{Kind, ResourceName, TreeError, Value};

/// A package that is to be installed on a host, by apt. One that was installed before is taken over, and stays when it is
/// no longer defined.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Package")]
pub(in crate::definition) struct PackageToml {
    /// Where it lives; every host unless said otherwise.
    on: Option<Placed<OnToml>>,
    /// What the distribution calls it; its key unless said otherwise.
    name: Option<Placed<String>>,
    /// Exactly this version; any unless said otherwise, and none is upgraded.
    version: Option<Placed<String>>,
    /// Its former key, when it was renamed.
    moved: Option<Placed<ResourceName>>,
}

impl HostedToml for PackageToml {
    heads!(name);

    fn adopt(&self) -> bool {
        // Nothing of what is there is overwritten.
        true
    }

    fn claim(&self, reading: &mut Reading<'_>, default: Placed<String>) -> Option<String> {
        let written = self.name.clone().unwrap_or(default);
        reading.check(written.place, name(&written.value))
    }

    fn specs(&self, writing: &mut Writing<'_, '_, '_>) -> Result<Specs, TreeError> {
        let version = self.version.as_ref().and_then(|written| {
            writing.trace("version", Some(written.place));
            writing.reading.check(written.place, version(&written.value))
        });
        Ok(writing.finish(Kind::Package, [("version", version.map(Value::text))]))
    }
}

/// Source: Debian policy 5.6.7, and `:arch` after it for another architecture.
fn name(text: &str) -> Result<String, Refused> {
    let (name, architecture) = text.split_once(':').map_or((text, None), |(name, architecture)| (name, Some(architecture)));
    let word = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.'));
    let begins = |text: &str| text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    // apt takes a final `+` or `-` for an order to install or to remove.
    let good = |text: &str| begins(text) && word(text) && text.len() <= 100 && !text.ends_with('-');
    if good(name) && name.len() >= 2 && !name.ends_with('+') && architecture.is_none_or(good) {
        return Ok(text.to_owned());
    }
    refuse(format!("`{}` is not the name of a package", shown(text)), "write it as `apt-cache search` does, such as `nginx`")
}

/// Source: Debian policy 5.6.12.
fn version(text: &str) -> Result<String, Refused> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'+' | b'-' | b'~' | b':');
    if text.bytes().next().is_some_and(|b| b.is_ascii_digit()) && text.len() <= 100 && text.bytes().all(good) {
        return Ok(text.to_owned());
    }
    refuse(format!("`{}` is not a version", shown(text)), "write one that `apt-cache madison` lists, such as `1.22.1-9+deb12u2`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_versions_are_words_and_no_options() {
        for good in ["nginx", "libc6:amd64", "g-wrap", "7zip", "python3.11"] {
            assert!(name(good).is_ok(), "{good}");
        }
        for bad in
            ["-y", "--purge", "a", "nginx-", "g++", "nginx=1", "nginx/bookworm", "a b", "./x.deb", "", "Nginx", "x:", "nginx*"]
        {
            assert!(name(bad).is_err(), "{bad}");
        }
        for bad in ["", "-1", "1 2", "1;id", "1/2", "a1"] {
            assert!(version(bad).is_err(), "{bad}");
        }
        assert!(version("1:1.22.1-9+deb12u2~x").is_ok());
    }
}
