//! What an agent keeps on its host, and what the host allows it: its key and certificate in one file, replaced as a whole, and
//! a policy that only the host's own administrator writes.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::LinkError;
use crate::agent::{Payload, Policy};
use crate::model::{Kind, TargetName, parse_interval};

const FILE: &str = "agent.json";

/// Who this host is.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Home {
    /// The host's name.
    pub name: TargetName,
    /// Where the daemon is: `host:port`.
    pub address: String,
    /// When the certificate runs out.
    pub until: DateTime<Utc>,
    /// The authority's certificate, PEM.
    pub(super) authority: String,
    pub(super) certificate: String,
    pub(super) key: Payload,
}

impl Home {
    /// Reads it back.
    ///
    /// # Errors
    /// [`LinkError::NotEnrolled`], or that it cannot be read.
    pub fn open(data: &Path) -> Result<Self, LinkError> {
        let path = data.join(FILE);
        let text = Zeroizing::new(read(&path)?.ok_or_else(|| LinkError::NotEnrolled(path.clone()))?);
        serde_json::from_str(&text).map_err(|error| LinkError::Damaged { path, what: error.to_string() })
    }

    /// Replaces what was there.
    pub(super) fn save(&self, data: &Path) -> Result<(), LinkError> {
        let path = data.join(FILE);
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(data);
        made.map_err(|source| LinkError::File { path: data.to_owned(), source })?;
        let bytes = serde_json::to_vec_pretty(self);
        let bytes = bytes.map_err(|error| LinkError::Damaged { path: path.clone(), what: error.to_string() })?;
        write_private(&path, &Zeroizing::new(bytes))
    }
}

impl std::fmt::Debug for Home {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Home").field("name", &self.name).field("address", &self.address).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyToml {
    roots: Vec<String>,
    #[serde(default = "files_and_folders")]
    kinds: BTreeSet<Kind>,
    #[serde(default)]
    containers: BTreeSet<String>,
    docker: Option<String>,
    root: Option<PathBuf>,
    heal_after: Option<String>,
}

/// What an agent takes whose host says nothing of kinds: whatever else can be changed has the host.
fn files_and_folders() -> BTreeSet<Kind> {
    [Kind::File, Kind::Directory].into()
}

/// After how long without the daemon an agent puts right by itself what is changed on its host.
const HEAL_AFTER: Duration = Duration::from_secs(60);

/// What the host allows its agent, and after how long without the daemon it heals by itself. TOML: `roots`, the folders in and
/// beneath which files may be written; `kinds`, of which things are taken, files and directories unless it says more;
/// `containers`, what these may ask for that gives them the host; `docker`, its engine; `heal_after`. The daemon never sees it
/// and cannot change it.
///
/// # Errors
/// [`LinkError::AllowsNothing`] where the list is empty, others where it cannot be read.
pub fn read_policy(path: &Path, state: PathBuf) -> Result<(Policy, Duration), LinkError> {
    let wrong = |what: String| LinkError::Policy { path: path.to_owned(), what };
    let text = read(path)?.ok_or_else(|| wrong("it is not there".to_owned()))?;
    let written = toml::from_str(&text).map_err(|error| wrong(error.message().to_owned()))?;
    let PolicyToml { roots, kinds, containers, docker, root, heal_after } = written;
    let heal_after = heal_after.map_or(Ok(HEAL_AFTER), |text| parse_interval(&text).map_err(|error| wrong(error.to_string())))?;
    if roots.is_empty() {
        return Err(LinkError::AllowsNothing(path.to_owned()));
    }
    if let Some(root) = roots.iter().find(|root| !root.starts_with('/')) {
        return Err(wrong(format!("`{}` is not an absolute path", root.escape_debug())));
    }
    let policy = Policy { allowed: roots, kinds: Some(kinds), containers, docker, ..Policy::local(root, state) };
    Ok((policy, heal_after))
}

/// The text of a file, where there is one.
pub(super) fn read(path: &Path) -> Result<Option<String>, LinkError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(LinkError::File { path: path.to_owned(), source }),
    }
}

/// Replaces a file as a whole, for its owner's eyes only; durable when this returns.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), LinkError> {
    let failed = |source| LinkError::File { path: path.to_owned(), source };
    replace(path, bytes)?;
    File::open(path).and_then(|file| file.sync_all()).map_err(failed)?;
    File::open(path.parent().unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all()).map_err(failed)
}

/// Replaces a file as a whole, for its owner's eyes only.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), LinkError> {
    let failed = |source| LinkError::File { path: path.to_owned(), source };
    let folder = path.parent().unwrap_or(Path::new("."));
    let incoming = folder.join(format!(".{}.incoming", path.file_name().unwrap_or_default().to_string_lossy()));
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&incoming).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    // What has the name is whole, also after a power cut.
    file.sync_data().and_then(|()| fs::rename(&incoming, path)).map_err(failed)
}
