//! Write a sealed value into a definition, and list what definitions hold, without an identity.

use std::collections::BTreeSet;

use serde::Serialize;
use toml_edit::{DocumentMut, Item, Table, TableLike};

use super::SecretsError;
use super::envelope::recipient_count;
use crate::model::{DesiredState, InstanceKey, ResourceName, SecretScope, TargetName};

/// The text of a definition with `[secret.<name>]` holding `armored`. Everything else stays as it stands, comments and
/// order included; a table that is not there yet comes last.
///
/// # Errors
/// [`SecretsError::Toml`] for a text that is no TOML, [`SecretsError::NotATable`] where something else has the name.
pub fn set(file_text: &str, scope: &SecretScope, armored: &str) -> Result<String, SecretsError> {
    let name = scope.name.as_str();
    if recipient_count(armored).is_none() {
        return Err(SecretsError::NotArmored(scope.name.clone()));
    }
    let toml = |error| SecretsError::Toml(Box::new(error));
    let mut document: DocumentMut = file_text.parse().map_err(toml)?;
    // Armor is base64 and hyphens: nothing in it needs an escape in a multi-line string.
    let value: DocumentMut = format!("age = \"\"\"\n{}\n\"\"\"\n", armored.trim()).parse().map_err(toml)?;
    let value = value["age"].clone();

    let secrets = entry(document.as_table_mut(), "secret", || {
        let mut table = Table::new();
        table.set_implicit(true);
        table
    })
    .ok_or_else(|| SecretsError::NotATable("secret".to_owned()))?;
    let secret = entry(secrets, name, || {
        let mut table = Table::new();
        table.decor_mut().set_prefix("\n");
        table
    })
    .ok_or_else(|| SecretsError::NotATable(format!("secret.{name}")))?;
    match secret.get_mut("age") {
        Some(present) => {
            // What stands around the value, such as a comment behind it, stays.
            let decor = present.as_value().map(|value| value.decor().clone());
            *present = value;
            if let (Some(value), Some(decor)) = (present.as_value_mut(), decor) {
                *value.decor_mut() = decor;
            }
        }
        None => {
            secret.insert("age", value);
        }
    }
    Ok(document.to_string())
}

fn entry<'a>(table: &'a mut dyn TableLike, key: &str, new: impl FnOnce() -> Table) -> Option<&'a mut dyn TableLike> {
    if !table.contains_key(key) {
        table.insert(key, Item::Table(new()));
    }
    table.get_mut(key)?.as_table_like_mut()
}

/// What can be said of a secret without opening it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Its key in the definitions.
    pub name: ResourceName,
    /// For how many recipients it is sealed; `None` where the value is no armored age file. age's X25519 stanzas do not
    /// tell whose they are.
    pub recipients: Option<usize>,
    /// The instances that use it.
    pub used_by: BTreeSet<InstanceKey>,
    /// The targets whose API token it is.
    pub token_of: BTreeSet<TargetName>,
    /// It is the key under which marks are made.
    pub digest_key: bool,
}

/// The secrets of an environment, sorted by name, with what uses them.
pub fn list(desired: &DesiredState) -> Vec<Listed> {
    let listed = |name: &ResourceName, armored: &str| Listed {
        name: name.clone(),
        recipients: recipient_count(armored),
        used_by: desired.resources.iter().filter(|(_, d)| d.spec.secrets().contains(name)).map(|(key, _)| key.clone()).collect(),
        token_of: desired
            .targets
            .iter()
            .filter(|(_, target)| target.kind.api_token().and_then(|token| token.secret()) == Some(name))
            .map(|(key, _)| key.clone())
            .collect(),
        digest_key: desired.digest_key.as_ref() == Some(name),
    };
    desired.secrets.iter().map(|(name, sealed)| listed(name, &sealed.age)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Secret;
    use crate::secrets::{Identities, seal};

    fn sealed(name: &str) -> (SecretScope, String) {
        let scope = SecretScope { environment: "production".parse().unwrap(), name: name.parse().unwrap() };
        let (_, recipient) = Identities::generate();
        let armored = seal(&[recipient], &scope, &Secret::new(b"hunter2".to_vec())).unwrap();
        (scope, armored)
    }

    fn age_of<'a>(value: &'a toml::Table, name: &str) -> &'a str {
        value["secret"][name]["age"].as_str().unwrap()
    }

    #[test]
    fn a_new_secret_comes_last_and_the_rest_stays() {
        let (scope, armored) = sealed("stripe-key");
        for before in ["", "# head\n[environment]\ndescription = \"x\" # why\n", "# head\n[secret.other]\nage = \"x\"\n"] {
            let text = set(before, &scope, &armored).unwrap();
            assert!(text.starts_with(before), "{text}");
            assert!(text[before.len()..].trim_start().starts_with("[secret.stripe-key]\nage = \"\"\"\n-----BEGIN"), "{text}");
            assert_eq!(age_of(&text.parse().unwrap(), "stripe-key").trim(), armored.trim());
        }
    }

    #[test]
    fn a_value_is_replaced_with_all_comments_kept() {
        let (scope, old) = sealed("stripe-key");
        let (_, new) = sealed("stripe-key");
        let before = format!(
            "# of the payments team\n[secret.stripe-key] # live\n# rotated yearly\nage = \"\"\"\n{}\"\"\" # end\n\n[kv.sessions]\non = {{}}\n",
            old
        );
        let text = set(&before, &scope, &new).unwrap();
        assert_eq!(text, before.replace(old.trim_end(), new.trim_end()));
        assert_eq!(set(&text, &scope, &new).unwrap(), text, "the same value again changes nothing");
    }

    #[test]
    fn other_ways_to_write_the_table_are_understood() {
        let (scope, armored) = sealed("stripe-key");
        for before in [
            "secret.stripe-key.age = \"x\"\n",
            "secret = { stripe-key = { age = \"x\" } }\n",
            "[secret]\nstripe-key = { age = \"x\" }\n",
        ] {
            let text = set(before, &scope, &armored).unwrap();
            assert_eq!(age_of(&text.parse().unwrap_or_else(|e| panic!("{e}\n{text}")), "stripe-key").trim(), armored.trim());
        }
    }

    #[test]
    fn what_is_no_definition_is_left_alone() {
        let (scope, armored) = sealed("stripe-key");
        assert!(matches!(set("[secret", &scope, &armored), Err(SecretsError::Toml(_))));
        assert!(matches!(set("secret = 3", &scope, &armored), Err(SecretsError::NotATable(_))));
        assert!(matches!(set("[secret]\nstripe-key = 3", &scope, &armored), Err(SecretsError::NotATable(_))));
        assert!(matches!(set("", &scope, "hunter2"), Err(SecretsError::NotArmored(_))));
        assert!(matches!(set("", &scope, "\"\"\"\nx = 1"), Err(SecretsError::NotArmored(_))));
    }
}
