//! The secrets of one environment, opened when they are needed and kept in memory only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::Identities;
use super::envelope::open;
use crate::model::{
    DesiredState, EnvironmentId, ResourceName, SealedSecret, Secret, SecretError, SecretMark, SecretResolver, SecretScope,
    token_label,
};

/// Opens the secrets of one environment: each once, then from memory.
pub struct Opener {
    identities: Option<Arc<Identities>>,
    environment: EnvironmentId,
    digest_key: Option<ResourceName>,
    sealed: BTreeMap<ResourceName, SealedSecret>,
    opened: Mutex<BTreeMap<ResourceName, Secret>>,
}

impl Opener {
    /// For the secrets that `desired` holds. The place to which each must be bound is that of `desired`.
    pub fn new(identities: Option<Arc<Identities>>, desired: &DesiredState) -> Self {
        Self {
            identities,
            environment: desired.environment.clone(),
            digest_key: desired.digest_key.clone(),
            sealed: desired.secrets.clone(),
            opened: Mutex::default(),
        }
    }

    /// Opens all of `names`; every fault at once. Where there is one, nothing is applied.
    pub fn open_all(&self, names: &BTreeSet<ResourceName>) -> Vec<SecretError> {
        names.iter().filter_map(|name| self.resolve(name).err()).collect()
    }

    /// What stands for each of `names` in plans: [`SecretMark::Unknown`] for those that cannot be opened here.
    pub fn marks(&self, names: &BTreeSet<ResourceName>) -> BTreeMap<ResourceName, SecretMark> {
        names.iter().map(|name| (name.clone(), self.mark(name).map_or(SecretMark::Unknown, SecretMark::Hmac))).collect()
    }
}

impl SecretResolver for Opener {
    fn resolve(&self, name: &ResourceName) -> Result<Secret, SecretError> {
        let sealed = self.sealed.get(name).ok_or_else(|| SecretError::Undefined(name.clone()))?;
        let identities = self.identities.as_deref().ok_or_else(|| SecretError::NoIdentity(name.clone()))?;
        // A thread that panicked while it held the lock left a map behind that is whole: entries are only added.
        if let Some(secret) = self.opened.lock().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Ok(secret.clone());
        }
        let scope = SecretScope { environment: self.environment.clone(), name: name.clone() };
        let secret = open(identities, &scope, &sealed.age)?;
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), secret.clone());
        Ok(secret)
    }

    fn mark(&self, name: &ResourceName) -> Result<String, SecretError> {
        let key = self.key(name)?;
        Ok(hmac(&key, name.as_str(), &self.resolve(name)?))
    }

    fn mark_token(&self, tunnel: &ResourceName, token: &Secret) -> Result<String, SecretError> {
        Ok(hmac(&self.key(tunnel)?, &token_label(tunnel), token))
    }
}

impl Opener {
    /// The environment's digest key, for a mark of what is called `name`.
    fn key(&self, name: &ResourceName) -> Result<Secret, SecretError> {
        let no_key = SecretError::Invalid { name: name.clone(), what: "not comparable: the environment names no digest key" };
        self.resolve(self.digest_key.as_ref().ok_or(no_key)?)
    }
}

fn hmac(key: &Secret, label: &str, value: &Secret) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose()).expect("HMAC takes a key of any length");
    mac.update(label.as_bytes());
    mac.update(&[0]);
    mac.update(value.expose());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Sync;
    use crate::secrets::seal;

    fn name(text: &str) -> ResourceName {
        text.parse().unwrap()
    }

    fn desired(environment: &str, secrets: &[(&str, &str)]) -> (Arc<Identities>, DesiredState) {
        let (text, recipient) = Identities::generate();
        let environment: EnvironmentId = environment.parse().unwrap();
        let seal = |(key, value): &(&str, &str)| {
            let scope = SecretScope { environment: environment.clone(), name: name(key) };
            let age = seal(std::slice::from_ref(&recipient), &scope, &Secret::new(value.as_bytes().to_vec())).unwrap();
            (name(key), SealedSecret { age })
        };
        let desired = DesiredState {
            environment: environment.clone(),
            description: None,
            retire: false,
            sync: Sync::default(),
            digest_key: Some(name("digest-key")),
            targets: BTreeMap::new(),
            resources: BTreeMap::new(),
            secrets: secrets.iter().map(seal).collect(),
            policies: BTreeMap::new(),
        };
        (Arc::new(Identities::parse(&text).unwrap_or_else(|e| panic!("{e}"))), desired)
    }

    #[test]
    fn a_mark_is_the_hmac_of_name_and_value() {
        let (identities, desired) = desired("production", &[("digest-key", "key"), ("a", "value"), ("b", "value")]);
        let opener = Opener::new(Some(identities), &desired);
        // printf 'a\0value' | openssl dgst -sha256 -hmac key
        assert_eq!(opener.mark(&name("a")).unwrap(), EXPECTED);
        assert_ne!(opener.mark(&name("a")).unwrap(), opener.mark(&name("b")).unwrap(), "equal values must not look equal");
        assert_eq!(opener.resolve(&name("a")).unwrap_or_else(|e| panic!("{e}")).expose(), b"value");
        // The token of a tunnel of the same name looks like neither.
        let token = opener.mark_token(&name("a"), &Secret::new(b"value".to_vec())).unwrap();
        assert_ne!(token, EXPECTED);
        assert_eq!(token.len(), 64);
    }
    const EXPECTED: &str = "7fb7eaf9d01fa6152d23d5620a0a42a55bf17ce4a78378897c76a3fceced2a52";

    #[test]
    fn every_fault_is_reported_at_once() {
        let (identities, mut desired) = desired("production", &[("digest-key", "key"), ("good", "value"), ("moved", "value")]);
        desired.secrets.insert(name("garbage"), SealedSecret { age: "garbage".into() });
        let moved = desired.secrets[&name("moved")].clone();
        desired.secrets.insert(name("copy"), moved);
        let opener = Opener::new(Some(identities), &desired);
        let names = ["garbage", "copy", "undefined", "good"].map(name).into();
        let faults = opener.open_all(&names);
        assert!(
            matches!(&faults[..], [SecretError::Relocated { .. }, SecretError::Undecryptable(_), SecretError::Undefined(_)]),
            "{faults:?}"
        );
        let marks = opener.marks(&names);
        assert_eq!(marks.values().filter(|mark| **mark == SecretMark::Unknown).count(), 3);
        assert!(matches!(marks[&name("good")], SecretMark::Hmac(_)));
    }

    #[test]
    fn without_an_identity_or_a_digest_key_nothing_is_comparable() {
        let (identities, mut desired) = desired("production", &[("digest-key", "key"), ("a", "value")]);
        let opener = Opener::new(None, &desired);
        assert_eq!(opener.mark(&name("a")), Err(SecretError::NoIdentity(name("digest-key"))));
        assert_eq!(opener.open_all(&[name("a")].into()), [SecretError::NoIdentity(name("a"))]);
        desired.digest_key = None;
        let opener = Opener::new(Some(identities), &desired);
        assert!(opener.resolve(&name("a")).is_ok());
        let error = opener.mark(&name("a")).unwrap_err().to_string();
        assert_eq!(error, "`secret.a` is not comparable: the environment names no digest key");
    }

    #[test]
    fn the_place_is_that_of_the_caller() {
        let (identities, mut desired) = desired("production", &[("a", "value")]);
        desired.environment = "staging".parse().unwrap();
        let faults = Opener::new(Some(identities), &desired).open_all(&[name("a")].into());
        assert!(matches!(&faults[..], [SecretError::Relocated { .. }]), "{faults:?}");
    }
}
