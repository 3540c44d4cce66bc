//! Seal a value for a place, and open it at that place only.
//!
//! The plaintext of the age file is one line of JSON (version, tenant, environment, name, length of the value), a line
//! feed, the value, and zeros up to a multiple of 256 bytes, so that the ciphertext does not tell the value's length.
//!
//! **Invariant:** the place in the envelope is compared, never used.

use std::io::{Read, Write};

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Identities, Recipient, SecretsError};
use crate::model::{EnvironmentName, ResourceName, Secret, SecretError, SecretScope, TenantName};

/// The largest value that can be sealed, in bytes.
pub const MAX_VALUE_BYTES: usize = 64 * 1024;

/// No sealed value is larger: base64 takes four thirds, and the header has some lines a recipient.
const MAX_ARMORED_BYTES: usize = 256 * 1024;

const VERSION: u32 = 1;
const BLOCK: usize = 256;

#[derive(Serialize, Deserialize)]
struct Envelope {
    v: u32,
    tenant: TenantName,
    environment: EnvironmentName,
    name: ResourceName,
    size: usize,
}

/// Encrypts `value` for `recipients`, bound to `scope`; the result is an ASCII-armored age file.
///
/// # Errors
/// [`SecretsError`] without a recipient, and for a value that is empty or larger than [`MAX_VALUE_BYTES`].
pub fn seal(recipients: &[Recipient], scope: &SecretScope, value: &Secret) -> Result<String, SecretsError> {
    let name = || scope.name.clone();
    let value = value.expose();
    if recipients.is_empty() {
        return Err(SecretsError::NoRecipients(name()));
    }
    if value.is_empty() {
        return Err(SecretsError::EmptyValue(name()));
    }
    if value.len() > MAX_VALUE_BYTES {
        return Err(SecretsError::ValueTooLarge { name: name(), limit: MAX_VALUE_BYTES });
    }
    let plaintext = plaintext(scope, value).map_err(|source| SecretsError::Seal { name: name(), source: source.into() })?;
    encrypt(recipients, &plaintext).map_err(|source| SecretsError::Seal { name: name(), source })
}

fn plaintext(scope: &SecretScope, value: &[u8]) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
    let envelope = serde_json::to_vec(&Envelope {
        v: VERSION,
        tenant: scope.environment.tenant.clone(),
        environment: scope.environment.environment.clone(),
        name: scope.name.clone(),
        size: value.len(),
    })?;
    let length = envelope.len() + 1 + value.len();
    // The whole capacity at once: a vector that grows leaves copies behind that nobody wipes.
    let mut plaintext = Zeroizing::new(Vec::with_capacity(length.next_multiple_of(BLOCK)));
    plaintext.extend_from_slice(&envelope);
    plaintext.push(b'\n');
    plaintext.extend_from_slice(value);
    plaintext.resize(length.next_multiple_of(BLOCK), 0);
    Ok(plaintext)
}

fn encrypt(recipients: &[Recipient], plaintext: &[u8]) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let encryptor = age::Encryptor::with_recipients(recipients.iter().map(Recipient::as_age))?;
    let mut writer = encryptor.wrap_output(ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor)?)?;
    writer.write_all(plaintext)?;
    Ok(String::from_utf8(writer.finish()?.finish()?)?)
}

/// Decrypts what [`seal`] made, for `scope` only.
pub(super) fn open(identities: &Identities, scope: &SecretScope, armored: &str) -> Result<Secret, SecretError> {
    let undecryptable = || SecretError::Undecryptable(scope.name.clone());
    let plaintext = decrypt(identities, armored).ok_or_else(undecryptable)?;
    let invalid = |what| SecretError::Invalid { name: scope.name.clone(), what };
    let unbound = || invalid("not bound to a place; seal it with `trunkline secrets set`");
    let line = plaintext.iter().position(|&byte| byte == b'\n').ok_or_else(unbound)?;
    let envelope: Envelope = serde_json::from_slice(&plaintext[..line]).map_err(|_| unbound())?;
    let Envelope { v, tenant, environment, name, size } = &envelope;
    if *v != VERSION {
        return Err(invalid("sealed by a newer version of trunkline"));
    }
    let there = (tenant, environment, name);
    if there != (&scope.environment.tenant, &scope.environment.environment, &scope.name) {
        let sealed_for = format!("{tenant}/{environment}/secret.{name}");
        return Err(SecretError::Relocated { name: scope.name.clone(), sealed_for });
    }
    let value = plaintext.get(line + 1..).and_then(|rest| rest.get(..*size)).ok_or_else(|| invalid("cut short"))?;
    if value.is_empty() {
        return Err(invalid("empty"));
    }
    Ok(Secret::new(value.to_vec()))
}

fn decrypt(identities: &Identities, armored: &str) -> Option<Zeroizing<Vec<u8>>> {
    if armored.len() > MAX_ARMORED_BYTES {
        return None;
    }
    let decryptor = age::Decryptor::new(ArmoredReader::new(armored.trim().as_bytes())).ok()?;
    let reader = decryptor.decrypt(identities.as_age()).ok()?;
    // Never longer than the armored text: the whole capacity at once, so that no copy is left behind by growing.
    let mut plaintext = Zeroizing::new(Vec::with_capacity(armored.len()));
    reader.take(armored.len() as u64).read_to_end(&mut plaintext).ok()?;
    Some(plaintext)
}

/// How many recipients a sealed value has, by its header; `None` where it is no armored age file. An X25519 stanza does
/// not tell whose it is.
pub(super) fn recipient_count(armored: &str) -> Option<usize> {
    let mut text = Vec::new();
    let limit = MAX_ARMORED_BYTES as u64;
    age::Decryptor::new(ArmoredReader::new(armored.trim().as_bytes())).ok()?;
    ArmoredReader::new(armored.trim().as_bytes()).take(limit).read_to_end(&mut text).ok()?;
    Some(
        text.split(|&byte| byte == b'\n')
            .take_while(|line| !line.starts_with(b"---"))
            .filter(|l| l.starts_with(b"-> X25519 "))
            .count(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(environment: &str, name: &str) -> SecretScope {
        SecretScope { environment: environment.parse().unwrap(), name: name.parse().unwrap() }
    }

    fn identity() -> (Identities, Recipient) {
        let (text, recipient) = Identities::generate();
        (Identities::parse(&text).unwrap_or_else(|e| panic!("{e}")), recipient)
    }

    fn fault(opened: Result<Secret, SecretError>) -> SecretError {
        opened.err().expect("it must not open")
    }

    #[test]
    fn any_bytes_open_at_their_place() {
        let (identities, recipient) = identity();
        let here = scope("production", "stripe-key");
        for value in [b"hunter2".to_vec(), vec![0xff, 0, b'\n', 0], vec![0; 3], vec![7; MAX_VALUE_BYTES]] {
            let armored = seal(std::slice::from_ref(&recipient), &here, &Secret::new(value.clone())).unwrap();
            assert!(armored.starts_with("-----BEGIN AGE ENCRYPTED FILE-----\n"));
            assert_eq!(open(&identities, &here, &armored).unwrap_or_else(|e| panic!("{e}")).expose(), value);
        }
    }

    #[test]
    fn a_value_copied_to_another_place_does_not_open() {
        let (identities, recipient) = identity();
        let armored = seal(&[recipient], &scope("acme/production", "stripe-key"), &Secret::new(b"hunter2".to_vec())).unwrap();
        for elsewhere in
            [scope("acme/staging", "stripe-key"), scope("production", "stripe-key"), scope("acme/production", "other")]
        {
            let error = fault(open(&identities, &elsewhere, &armored));
            assert!(
                matches!(&error, SecretError::Relocated { sealed_for, .. } if sealed_for == "acme/production/secret.stripe-key")
            );
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn what_does_not_decrypt_says_only_where() {
        let (identities, _) = identity();
        let (_, other) = identity();
        let here = scope("production", "stripe-key");
        let foreign = seal(&[other], &here, &Secret::new(b"hunter2".to_vec())).unwrap();
        let (mine, recipient) = identity();
        let good = seal(&[recipient], &here, &Secret::new(b"hunter2".to_vec())).unwrap();
        let cut = good.lines().take(4).collect::<Vec<_>>().join("\n");
        let middle = good.len() / 2;
        let flipped =
            format!("{}{}{}", &good[..middle], if &good[middle..=middle] == "A" { "B" } else { "A" }, &good[middle + 1..]);
        let armor_of_garbage = "-----BEGIN AGE ENCRYPTED FILE-----\nAAAA\n-----END AGE ENCRYPTED FILE-----\n";
        for (keys, armored) in [
            (&identities, foreign.as_str()),
            (&mine, &cut),
            (&mine, &flipped),
            (&mine, armor_of_garbage),
            (&mine, "hunter2"),
            (&mine, ""),
        ] {
            let error = fault(open(keys, &here, armored));
            assert_eq!(error, SecretError::Undecryptable(here.name.clone()), "{armored}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn a_ciphertext_without_an_envelope_is_refused() {
        let (identities, recipient) = identity();
        let here = scope("production", "stripe-key");
        let short = br#"{"v":1,"tenant":"default","environment":"production","name":"stripe-key","size":9}
short"#;
        let empty = br#"{"v":1,"tenant":"default","environment":"production","name":"stripe-key","size":0}
"#;
        let newer = br#"{"v":2,"tenant":"default","environment":"production","name":"stripe-key","size":1}
x"#;
        for (plaintext, what) in
            [(&b"hunter2"[..], "bound"), (b"hunter2\nx", "bound"), (short, "cut short"), (empty, "empty"), (newer, "newer")]
        {
            let armored = encrypt(std::slice::from_ref(&recipient), plaintext).unwrap();
            let error = fault(open(&identities, &here, &armored)).to_string();
            assert!(error.contains(what) && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn the_ciphertext_does_not_tell_the_length() {
        let here = scope("production", "stripe-key");
        // Of the plaintext, since age adds a stanza of random length to each header.
        let length = |size: usize| plaintext(&here, &vec![b'x'; size]).unwrap().len();
        assert_eq!(length(1), length(100));
        assert_eq!(length(1) % BLOCK, 0);
    }

    #[test]
    fn nothing_is_sealed_for_nobody_and_nothing_empty_for_anybody() {
        let (_, recipient) = identity();
        let here = scope("production", "stripe-key");
        let value = |size| Secret::new(vec![b'x'; size]);
        assert!(matches!(seal(&[], &here, &value(1)), Err(SecretsError::NoRecipients(_))));
        assert!(matches!(seal(std::slice::from_ref(&recipient), &here, &value(0)), Err(SecretsError::EmptyValue(_))));
        assert!(matches!(seal(&[recipient], &here, &value(MAX_VALUE_BYTES + 1)), Err(SecretsError::ValueTooLarge { .. })));
    }

    #[test]
    fn two_identities_are_live_while_one_replaces_the_other() {
        let (old, new) = (Identities::generate(), Identities::generate());
        let both = Secret::new([old.0.expose(), new.0.expose()].concat());
        let both = Identities::parse(&both).unwrap_or_else(|e| panic!("{e}"));
        let here = scope("production", "stripe-key");
        for recipient in [old.1, new.1] {
            let armored = seal(&[recipient], &here, &Secret::new(b"v".to_vec())).unwrap();
            assert!(open(&both, &here, &armored).is_ok());
        }
        let for_both = seal(&both.recipients(), &here, &Secret::new(b"v".to_vec())).unwrap();
        assert_eq!(recipient_count(&for_both), Some(2));
        assert_eq!(recipient_count("garbage"), None);
    }
}
