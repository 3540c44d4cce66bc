//! Who was admitted: tokens that wait for their one use, and the certificate of each agent. One file, beside the authority.
//!
//! **Invariant:** the file is read and replaced under a lock, so that a token is used once, whoever else is at work. Of a
//! token's secret only its digest is kept.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use super::authority::{Authority, Issued};
use super::home::{read, write_private};
use super::{LinkError, Token};
use crate::model::{Digest, Secret, TargetName};

/// For how long a token is good.
pub(super) const TOKEN_LIFE: TimeDelta = TimeDelta::minutes(10);
/// How often its secret may be guessed.
const TRIES: u32 = 5;

const FILE: &str = "register.json";

/// The register of one installation.
#[derive(Debug, Clone)]
pub struct Register {
    folder: PathBuf,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    tokens: BTreeMap<String, Waiting>,
    #[serde(default)]
    agents: BTreeMap<TargetName, Admitted>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Waiting {
    name: TargetName,
    digest: Digest,
    until: DateTime<Utc>,
    wrong: u32,
}

/// One agent.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admitted {
    /// When it enrolled last.
    pub enrolled: DateTime<Utc>,
    /// When its certificate runs out.
    pub until: DateTime<Utc>,
    /// It is refused, whatever it shows.
    pub revoked: bool,
    /// When a connection of its began or ended last.
    pub seen: Option<DateTime<Utc>>,
    /// Whether it is connected, as far as the daemon said.
    pub connected: bool,
    /// The digest of its certificate.
    certificate: Digest,
    /// That of the one before, until the new one is used.
    former: Option<Digest>,
}

impl Register {
    /// The register in the daemon's data folder; nothing is made yet.
    pub fn at(data: &Path) -> Self {
        Self { folder: data.join("agents") }
    }

    /// The folder, where the authority is as well.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A token for one host; makes the authority where there is none.
    ///
    /// # Errors
    /// [`LinkError`]
    pub fn admit(&self, name: TargetName, address: String, now: DateTime<Utc>) -> Result<Token, LinkError> {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        made.map_err(|source| LinkError::File { path: self.folder.clone(), source })?;
        let authority = self.change(|_| Authority::make(&self.folder, now))?;
        let secret = Secret::new([uuid::Uuid::new_v4().into_bytes(), uuid::Uuid::new_v4().into_bytes()].concat());
        let id = URL_SAFE_NO_PAD.encode(uuid::Uuid::now_v7().as_bytes());
        let waiting = Waiting { name: name.clone(), digest: Digest::of(secret.expose()), until: now + TOKEN_LIFE, wrong: 0 };
        self.change(|written| {
            written.tokens.retain(|_, other| other.until > now && other.name != name);
            written.tokens.insert(id.clone(), waiting);
            Ok(())
        })?;
        Ok(Token { id, secret, name, address, authority: authority.pem().to_owned() })
    }

    /// Uses a token up: the agent's certificate, for the key of `request`.
    pub(super) fn redeem(
        &self,
        (id, secret): (&str, &[u8]),
        request: &str,
        authority: &Authority,
        now: DateTime<Utc>,
    ) -> Result<(TargetName, Issued), LinkError> {
        // One answer for all: who guesses learns nothing.
        let refused =
            || LinkError::Refused("the token is not good: it was used, is older than ten minutes, or was mistyped".into());
        let redeemed = self.change(|written| {
            let Some(waiting) = written.tokens.get_mut(id) else { return Ok(None) };
            let digest = Digest::of(secret);
            let right: bool = digest.as_bytes().ct_eq(waiting.digest.as_bytes()).into();
            if !right || waiting.until <= now {
                waiting.wrong += 1;
                if waiting.wrong >= TRIES || waiting.until <= now {
                    written.tokens.remove(id);
                }
                return Ok(None);
            }
            let issued = authority.certify(&waiting.name, request, now)?;
            let name = waiting.name.clone();
            written.tokens.remove(id);
            let certificate = Digest::of(&issued.der);
            let until = issued.until;
            let agent =
                Admitted { enrolled: now, until, revoked: false, seen: None, connected: false, certificate, former: None };
            written.agents.insert(name.clone(), agent);
            Ok(Some((name, issued)))
        })?;
        redeemed.ok_or_else(refused)
    }

    /// Whose certificate this is, if it counts. With the first use of a new one, the one before counts no longer.
    pub(super) fn bearer(&self, certificate: &[u8]) -> Result<Option<TargetName>, LinkError> {
        let digest = Digest::of(certificate);
        let written = self.read()?;
        let found = written.agents.iter().find(|(_, agent)| agent.counts(&digest));
        let Some((name, agent)) = found else { return Ok(None) };
        if agent.former.is_some() && agent.certificate == digest {
            let name = name.clone();
            self.change(|written| {
                if let Some(agent) = written.agents.get_mut(&name).filter(|agent| agent.certificate == digest) {
                    agent.former = None;
                }
                Ok(())
            })?;
        }
        Ok(Some(name.clone()))
    }

    /// Whether `certificate` counts as the one of `name`.
    pub(super) fn counts(&self, name: &TargetName, certificate: &[u8]) -> Result<bool, LinkError> {
        let digest = Digest::of(certificate);
        Ok(self.read()?.agents.get(name).is_some_and(|agent| agent.counts(&digest)))
    }

    /// A new certificate for an agent that has one.
    pub(super) fn renew(
        &self,
        (name, certificate): (&TargetName, &[u8]),
        request: &str,
        authority: &Authority,
        now: DateTime<Utc>,
    ) -> Result<Issued, LinkError> {
        let digest = Digest::of(certificate);
        self.change(|written| {
            let agent = written.agents.get_mut(name).filter(|agent| agent.counts(&digest));
            let agent = agent.ok_or_else(|| LinkError::Refused("the certificate does not count any more".into()))?;
            let issued = authority.certify(name, request, now)?;
            agent.certificate = Digest::of(&issued.der);
            agent.former = Some(digest);
            agent.until = issued.until;
            Ok(issued)
        })
    }

    /// Notes that a connection of an agent began or ended.
    pub(super) fn seen(&self, name: &TargetName, connected: bool, now: DateTime<Utc>) -> Result<(), LinkError> {
        self.change(|written| {
            if let Some(agent) = written.agents.get_mut(name) {
                agent.connected = connected;
                agent.seen = Some(now);
            }
            Ok(())
        })
    }

    /// Nobody is connected when the daemon begins.
    pub(super) fn begin(&self) -> Result<(), LinkError> {
        self.change(|written| {
            written.agents.values_mut().for_each(|agent| agent.connected = false);
            Ok(())
        })
    }

    /// Refuses an agent from now on; `false` where there is none of that name. A token makes it another.
    ///
    /// # Errors
    /// [`LinkError`]
    pub fn revoke(&self, name: &TargetName) -> Result<bool, LinkError> {
        self.change(|written| {
            written.tokens.retain(|_, waiting| waiting.name != *name);
            let agent = written.agents.get_mut(name);
            Ok(agent.map(|agent| agent.revoked = true).is_some())
        })
    }

    /// Every agent that was admitted.
    ///
    /// # Errors
    /// [`LinkError`]
    pub fn agents(&self) -> Result<BTreeMap<TargetName, Admitted>, LinkError> {
        Ok(self.read()?.agents)
    }

    fn read(&self) -> Result<Written, LinkError> {
        let path = self.folder.join(FILE);
        let Some(text) = read(&path)? else { return Ok(Written::default()) };
        serde_json::from_str(&text).map_err(|error| LinkError::Damaged { path, what: error.to_string() })
    }

    fn change<T>(&self, edit: impl FnOnce(&mut Written) -> Result<T, LinkError>) -> Result<T, LinkError> {
        let _lock = self.lock()?;
        let mut written = self.read()?;
        let done = edit(&mut written)?;
        let path = self.folder.join(FILE);
        let damaged = |error: serde_json::Error| LinkError::Damaged { path: path.clone(), what: error.to_string() };
        write_private(&path, &serde_json::to_vec_pretty(&written).map_err(damaged)?)?;
        Ok(done)
    }

    fn lock(&self) -> Result<File, LinkError> {
        let path = self.folder.join("lock");
        let failed = |source| LinkError::File { path: path.clone(), source };
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(failed)?;
        flock(&file, FlockOperation::LockExclusive).map_err(|errno| failed(errno.into()))?;
        Ok(file)
    }
}

impl Admitted {
    fn counts(&self, digest: &Digest) -> bool {
        !self.revoked && (self.certificate == *digest || self.former.as_ref() == Some(digest))
    }
}

#[cfg(test)]
mod tests {
    use super::super::authority;
    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-11-25T12:00:00Z".parse().unwrap()
    }

    fn name() -> TargetName {
        "fra1".parse().unwrap()
    }

    struct Scene {
        _folder: tempfile::TempDir,
        register: Register,
        authority: Authority,
        token: Token,
        request: String,
    }

    fn scene() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let register = Register::at(folder.path());
        assert!(matches!(Authority::open(register.folder()), Err(LinkError::NoAuthority(_))));
        let token = register.admit(name(), "localhost:1".into(), now()).unwrap();
        let authority = Authority::open(register.folder()).unwrap();
        let (_, request) = authority::request().unwrap();
        Scene { _folder: folder, register, authority, token, request }
    }

    impl Scene {
        fn redeem(&self, secret: &[u8], now: DateTime<Utc>) -> Result<Issued, LinkError> {
            self.register.redeem((&self.token.id, secret), &self.request, &self.authority, now).map(|(_, issued)| issued)
        }
    }

    #[test]
    fn a_token_is_used_once() {
        let scene = scene();
        let issued = scene.redeem(scene.token.secret.expose(), now()).unwrap();
        assert_eq!(scene.register.bearer(&issued.der).unwrap(), Some(name()));
        assert!(matches!(scene.redeem(scene.token.secret.expose(), now()), Err(LinkError::Refused(_))));
    }

    #[test]
    fn a_token_ends_after_ten_minutes_and_after_five_wrong_secrets() {
        let late = scene();
        assert!(late.redeem(late.token.secret.expose(), now() + TOKEN_LIFE).is_err());
        let guessed = scene();
        for _ in 0..5 {
            assert!(guessed.redeem(b"wrong", now()).is_err());
        }
        assert!(guessed.redeem(guessed.token.secret.expose(), now()).is_err());
        let nearly = scene();
        for _ in 0..4 {
            assert!(nearly.redeem(b"wrong", now()).is_err());
        }
        assert!(nearly.redeem(nearly.token.secret.expose(), now()).is_ok());
    }

    #[test]
    fn a_renewed_certificate_replaces_the_one_before_with_its_first_use_and_a_revoked_one_counts_not_at_all() {
        let scene = scene();
        let first = scene.redeem(scene.token.secret.expose(), now()).unwrap();
        let second = scene.register.renew((&name(), &first.der), &scene.request, &scene.authority, now()).unwrap();
        assert!(scene.register.counts(&name(), &first.der).unwrap(), "it may be lost on its way");
        assert_eq!(scene.register.bearer(&second.der).unwrap(), Some(name()));
        assert_eq!(scene.register.bearer(&first.der).unwrap(), None);
        assert!(scene.register.renew((&name(), &first.der), &scene.request, &scene.authority, now()).is_err());
        assert!(scene.register.revoke(&name()).unwrap());
        assert_eq!(scene.register.bearer(&second.der).unwrap(), None);
        assert!(!scene.register.revoke(&"other".parse().unwrap()).unwrap());
    }

    #[test]
    fn no_secret_of_a_token_is_in_the_register_and_nobody_else_reads_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let scene = scene();
        let path = scene.register.folder().join(FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        let secret = scene.token.secret.expose();
        for encoded in [URL_SAFE_NO_PAD.encode(secret), base64::engine::general_purpose::STANDARD.encode(secret)] {
            assert!(!text.contains(&encoded));
        }
        for file in [FILE, "ca.key", "ca.pem"] {
            let mode = std::fs::metadata(scene.register.folder().join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
    }
}
