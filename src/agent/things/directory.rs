//! Directories: made with what leads to them, given their mode and owner, removed where they are empty.

use rustix::fs::{AtFlags, FileType, Gid, Mode, Uid, fchmod, fchown, fstat, unlinkat};
use rustix::io::Errno;

use super::{Ended, Eyes, Lens, Look, Seen, Sought, Work};
use crate::agent::Fault;
use crate::agent::accounts::Accounts;
use crate::agent::apply::Site;
use crate::agent::beneath::what;
use crate::agent::fault::Stop;
use crate::agent::path::HostPath;
use crate::agent::settle::prune_folders;
use crate::model::{Properties, Value};

/// What there is of each.
pub(super) fn look(eyes: &Eyes<'_>, sought: &[Sought<'_>]) -> Vec<Look> {
    sought.iter().map(|sought| one(eyes, sought)).collect()
}

fn one(eyes: &Eyes<'_>, sought: &Sought<'_>) -> Look {
    let path = HostPath::parse(sought.claim, eyes.policy)?;
    let Some(folder) = eyes.root.folder(path.components())? else { return Ok(None) };
    let stat = fstat(&folder).map_err(|errno| Fault::system(format!("`{path}` cannot be looked at"), errno))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(Fault::new(format!("`{path}` is {}", what(FileType::from_raw_mode(stat.st_mode)))));
    }
    let mut fields = Properties::from([
        ("path".to_owned(), Value::text(sought.claim)),
        ("mode".to_owned(), Value::text(format!("{:04o}", stat.st_mode & 0o7777))),
    ]);
    for (field, name) in [
        ("owner", eyes.accounts.user(stat.st_uid, sought.asks("owner").and_then(Lens::word))),
        ("group", eyes.accounts.group(stat.st_gid, sought.asks("group").and_then(Lens::word))),
    ] {
        if sought.asks(field).is_some() {
            fields.insert(field.to_owned(), Value::text(name));
        }
    }
    Ok(Some(Seen { fields, run: String::new(), shared: false }))
}

/// Makes it, or makes it what it is to be; removes it.
pub(super) fn change(site: &mut Site<'_>, work: &Work) -> Result<Ended, Stop> {
    let path = HostPath::parse(&work.claim, site.policy)?;
    if work.wanted.is_none() {
        return remove(site, &path);
    }
    if let Some((owner, _)) = site.manifest.at(&work.claim) {
        return Err(Stop::Conflict(format!("`{path}` belongs to `{owner}`")));
    }
    let system = |errno: Errno| Fault::system(format!("`{path}` cannot be made what it is to be"), errno);
    let text = |field: &str| work.field(field).and_then(Value::as_text);
    let mode = text("mode").and_then(|mode| u32::from_str_radix(mode, 8).ok()).filter(|mode| mode & !0o777 == 0);
    let mode = mode.ok_or_else(|| Fault::new(format!("`{path}` is to have a mode that is not given to folders")))?;
    let accounts = Accounts::read(&site.root);
    let uid = text("owner").map(|owner| accounts.uid(owner)).transpose()?;
    let gid = text("group").map(|group| accounts.gid(group)).transpose()?;
    let missing = site.root.missing(&path)?;
    site.root.make_folder(path.folders())?;
    site.manifest.folders.extend(missing);
    // Nobody gets in before it belongs to whom it is to belong.
    let folder = site.root.make_folder_with(path.components(), 0o700)?;
    let stat = fstat(&folder).map_err(system)?;
    if uid.is_some_and(|uid| uid != stat.st_uid) || gid.is_some_and(|gid| gid != stat.st_gid) {
        fchown(&folder, uid.map(Uid::from_raw), gid.map(Gid::from_raw)).map_err(system)?;
    }
    fchmod(&folder, Mode::from_raw_mode(mode)).map_err(system)?;
    Ok(Ended { changed: true, ..Ended::default() })
}

fn remove(site: &mut Site<'_>, path: &HostPath) -> Result<Ended, Stop> {
    let Some(parent) = site.root.folder(path.folders())? else { return Ok(Ended::default()) };
    match unlinkat(&parent, path.name(), AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => {
            // What was made to lead to it goes too.
            prune_folders(&site.root, &mut site.manifest, path)?;
            Ok(Ended { changed: true, ..Ended::default() })
        }
        Err(Errno::NOTEMPTY | Errno::EXIST) => {
            let warnings = vec![format!("`{path}` is not empty: it stays, and is no longer seen to")];
            Ok(Ended { changed: true, warnings, ..Ended::default() })
        }
        Err(errno) => Err(Fault::system(format!("`{path}` cannot be removed"), errno).into()),
    }
}
