//! Identities, which open values, and recipients, for whom values are sealed.
//!
//! **Invariant:** an [`Identities`] cannot be printed, and no error repeats a line of an identity file.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use age::secrecy::ExposeSecret;
use zeroize::Zeroizing;

use super::SecretsError;
use crate::model::Secret;

/// The name of the systemd credential that holds the identity.
pub const CREDENTIAL: &str = "trunkline-identity";

/// No identity file is larger: it holds some lines of 74 characters.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// One or more X25519 identities: two while one is being replaced by the other.
///
/// ```compile_fail
/// let (text, _) = trunkline::secrets::Identities::generate();
/// println!("{:?}", trunkline::secrets::Identities::parse(&text).unwrap());
/// ```
pub struct Identities(Vec<age::x25519::Identity>);

impl Identities {
    /// A new identity: the text of its file, with its recipient in a comment, and the recipient.
    pub fn generate() -> (Secret, Recipient) {
        let identity = age::x25519::Identity::generate();
        let recipient = Recipient(identity.to_public());
        let text = format!("# trunkline identity\n# recipient: {recipient}\n{}\n", identity.to_string().expose_secret());
        (Secret::new(text.into_bytes()), recipient)
    }

    /// Reads an identity file: a regular file that only its owner can reach.
    ///
    /// # Errors
    /// [`SecretsError`]
    pub fn read(path: &Path) -> Result<Self, SecretsError> {
        read(path, 0o077)
    }

    /// Reads the text of an identity file: one identity a line, `#` begins a comment.
    ///
    /// # Errors
    /// [`SecretsError::Identity`] for a line that is no X25519 identity, [`SecretsError::NoKey`] where there is none.
    pub fn parse(text: &Secret) -> Result<Self, SecretsError> {
        let text = text.expose_text().ok_or(SecretsError::Identity { line: 1, what: "not text" })?;
        let mut identities = Vec::new();
        for (index, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let fault = |what| SecretsError::Identity { line: index + 1, what };
            let upper = Zeroizing::new(line.to_ascii_uppercase());
            if upper.starts_with("AGE-PLUGIN-") {
                return Err(fault("a plugin identity; plugins are never run"));
            }
            identities.push(line.parse().map_err(|_| fault("not an X25519 identity"))?);
        }
        if identities.is_empty() { Err(SecretsError::NoKey) } else { Ok(Self(identities)) }
    }

    /// The identities of this installation: those of `file`, or else of the systemd credential [`CREDENTIAL`]; `None`
    /// where neither is given.
    ///
    /// # Errors
    /// [`SecretsError`]: a file that is named but cannot be used is an error, never "none".
    pub fn load(file: Option<&Path>) -> Result<Option<Self>, SecretsError> {
        load(file, std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from).as_deref())
    }

    /// For whom values are to be sealed, so that these identities open them.
    pub fn recipients(&self) -> Vec<Recipient> {
        self.0.iter().map(|identity| Recipient(identity.to_public())).collect()
    }

    pub(super) fn as_age(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.0.iter().map(|identity| identity as &dyn age::Identity)
    }
}

fn load(file: Option<&Path>, credentials: Option<&Path>) -> Result<Option<Identities>, SecretsError> {
    if let Some(file) = file {
        // systemd lets the service's user in by an access list, whose mask shows in the group bits.
        let of_systemd = credentials.is_some_and(|folder| file.parent() == Some(folder));
        return read(file, if of_systemd { 0o037 } else { 0o077 }).map(Some);
    }
    let Some(path) = credentials.map(|folder| folder.join(CREDENTIAL)) else { return Ok(None) };
    match read(&path, 0o037) {
        Err(SecretsError::Unreadable { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

/// Reads an identity file none of whose permission bits is in `forbidden`.
fn read(path: &Path, forbidden: u32) -> Result<Identities, SecretsError> {
    let unreadable = |source| SecretsError::Unreadable { path: path.to_owned(), source };
    let not_one = |what| SecretsError::NotAnIdentityFile { path: path.to_owned(), what };
    // Non-blocking, because opening a pipe would wait for a writer for ever.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let mut file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(not_one("not a regular file"));
    }
    if metadata.mode() & forbidden != 0 {
        return Err(SecretsError::TooOpen { path: path.to_owned(), mode: metadata.mode() & 0o7777 });
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(not_one("larger than 64 KiB"));
    }
    let mut text = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0) + 1);
    (&mut file).take(MAX_FILE_BYTES).read_to_end(&mut text).map_err(unreadable)?;
    Identities::parse(&Secret::new(text))
}

/// For whom a value is sealed: an X25519 key, written `age1…`.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient(age::x25519::Recipient);

impl Recipient {
    pub(super) fn as_age(&self) -> &dyn age::Recipient {
        &self.0
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_string())
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipient({})", self.0)
    }
}

impl FromStr for Recipient {
    type Err = SecretsError;
    fn from_str(text: &str) -> Result<Self, SecretsError> {
        let fault = |what| SecretsError::Recipient { what };
        let text = text.trim();
        if text.get(..15).is_some_and(|start| start.eq_ignore_ascii_case("AGE-SECRET-KEY-")) {
            return Err(fault("an identity: it opens values and must stay secret"));
        }
        if text.starts_with("ssh-") {
            return Err(fault("an SSH key, which is not supported"));
        }
        // A plugin's recipient is `age1<plugin>1…`: Bech32 takes the last `1` as the separator, so that its prefix differs.
        if text.len() > 4 && text.starts_with("age1") && text[4..].contains('1') {
            return Err(fault("a plugin recipient; plugins are never run"));
        }
        text.parse().map(Self).map_err(|_| fault("not an X25519 recipient"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn write(folder: &Path, name: &str, text: &[u8], mode: u32) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn what_is_generated_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let (text, recipient) = Identities::generate();
        let path = write(folder.path(), "identity", text.expose(), 0o600);
        assert_eq!(Identities::read(&path).unwrap_or_else(|e| panic!("{e}")).recipients(), std::slice::from_ref(&recipient));
        assert!(text.expose_text().unwrap().contains(&format!("# recipient: {recipient}")));
        assert_eq!(recipient.to_string().parse::<Recipient>().unwrap(), recipient);
    }

    #[test]
    fn a_file_that_others_can_reach_is_refused_with_a_hint() {
        let folder = tempfile::tempdir().unwrap();
        let (text, _) = Identities::generate();
        for mode in [0o640, 0o604, 0o620, 0o644] {
            let path = write(folder.path(), "identity", text.expose(), mode);
            let error = Identities::read(&path).err().expect("a file that others can reach");
            assert!(error.to_string().contains(&format!("{mode:04o}")), "{error}");
            assert!(error.hint().unwrap().starts_with("chmod 600 "), "{:?}", error.hint());
        }
    }

    #[test]
    fn a_pipe_and_a_huge_file_are_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        assert!(matches!(Identities::read(&pipe), Err(SecretsError::NotAnIdentityFile { .. })));
        let huge = write(folder.path(), "huge", &vec![b'#'; 100_000], 0o600);
        assert!(matches!(Identities::read(&huge), Err(SecretsError::NotAnIdentityFile { .. })));
    }

    #[test]
    fn a_line_that_is_no_identity_is_named_and_not_repeated() {
        let (text, _) = Identities::generate();
        let good = text.expose_text().unwrap();
        for bad in ["AGE-PLUGIN-../../EVIL-1QQQ", "age-plugin-x-1qqq", "AGE-SECRET-KEY-1CANARY", "ssh-rsa AAAA"] {
            let error = Identities::parse(&Secret::new(format!("{good}{bad}\n").into_bytes())).err().expect("a bad line");
            assert!(error.to_string().starts_with("line 4 "), "{error}");
            assert!(!error.to_string().contains(bad), "{error}");
        }
        assert!(matches!(Identities::parse(&Secret::new(b"# nothing\n".to_vec())), Err(SecretsError::NoKey)));
        assert!(Identities::parse(&Secret::new(vec![0xff, 0xfe])).is_err());
    }

    #[test]
    fn only_x25519_recipients_are_understood() {
        let (text, _) = Identities::generate();
        let identity = text.expose_text().unwrap().lines().last().unwrap().to_owned();
        let cases = [
            ("age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t", "plugin"),
            ("age1../../x1qwt50d05nh5vutpdzmlg5wn80xq5neg", "plugin"),
            ("ssh-ed25519 AAAA", "SSH"),
            (identity.as_str(), "identity"),
            ("age1", "not an X25519"),
            ("", "not an X25519"),
            ("é", "not an X25519"),
        ];
        for (text, what) in cases {
            let error = text.parse::<Recipient>().unwrap_err().to_string();
            assert!(error.contains(what), "{what}: {error}");
        }
    }

    #[test]
    fn the_credential_is_taken_where_no_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        assert!(load(None, None).unwrap().is_none());
        assert!(load(None, Some(folder.path())).unwrap().is_none());
        let (text, recipient) = Identities::generate();
        let path = write(folder.path(), CREDENTIAL, text.expose(), 0o440);
        for loaded in [load(None, Some(folder.path())), load(Some(&path), Some(folder.path()))] {
            assert_eq!(loaded.unwrap().expect("the credential").recipients(), std::slice::from_ref(&recipient));
        }
        assert!(load(Some(&path), None).is_err(), "0440 is only for systemd's own folder");
        assert!(load(Some(Path::new("/nonexistent/identity")), Some(folder.path())).is_err());
    }
}
