//! The program of an edge, which is this very one: the executor puts itself on the host.
//!
//! Goes in: where the definition wants it. Comes out: whether it is there, byte for byte; and it is there.
//!
//! **Invariant:** only [`EDGE_PROGRAM`] is ever written here, in the folder of this release; it gets its name by a rename,
//! once it is whole and compared. A program of another release goes when no unit on the host names it any more.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, fchmod, fchown, fstat, fsync, openat, renameat, unlinkat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::super::{Eyes, MODIFIED, Sought, Work};
use crate::agent::apply::Site;
use crate::agent::beneath::Root;
use crate::agent::path::HostPath;
use crate::agent::state::{everybody, names};
use crate::agent::{Fault, Policy};
use crate::model::{EDGE_PROGRAM, Value};

/// The field that says where it is to be.
pub(super) const FIELD: &str = "program";

/// This very program, whatever has replaced its file since it was started.
const OWN: &str = "/proc/self/exe";
const INCOMING: &str = ".trunkline.incoming";
const PERMISSIONS: u32 = 0o755;

/// What there is of the program that is asked for.
pub(super) fn look(eyes: &Eyes<'_>, sought: &Sought<'_>) -> Result<Option<Value>, Fault> {
    let Some(lens) = sought.asks(FIELD) else { return Ok(None) };
    if let Some(desired) = lens.desired.and_then(Value::as_text) {
        of_this_release(desired)?;
    }
    let Some(path) = lens.word() else { return Ok(None) };
    let checked = HostPath::parse(path, eyes.policy)?;
    // What another release has left behind is looked at by its name alone.
    let own = if path == EDGE_PROGRAM { Some(OWN) } else { None };
    let found = found(eyes.root, &checked, own)?;
    Ok(found.map(|as_is| Value::text(if as_is { path } else { MODIFIED })))
}

/// Whether this executor is of the release that the daemon asks for.
fn of_this_release(path: &str) -> Result<(), Fault> {
    if path == EDGE_PROGRAM {
        return Ok(());
    }
    let own = env!("CARGO_PKG_VERSION");
    Err(Fault::new(format!(
        "the daemon wants its own program at `{path}`, and the executor on this host is of release {own}: bring both to one release"
    )))
}

/// Puts the program there for those of `works` that want it; for each of them whether it was anew.
pub(super) fn place(site: &Site<'_>, works: &[Work]) -> Vec<(usize, Result<bool, Fault>)> {
    let mut placed = None;
    let wanted = works.iter().enumerate().filter_map(|(at, work)| Some((at, work.field(FIELD)?.as_text()?)));
    let mut one = |path: &str| {
        of_this_release(path)?;
        placed.get_or_insert_with(|| put(site.policy, &site.root, OWN)).clone()
    };
    wanted.map(|(at, path)| (at, one(path))).collect()
}

/// Whether the program is there as it is to be; `None` where nothing is. `own` is what it is compared with.
fn found(root: &Root, path: &HostPath, own: Option<&str>) -> Result<Option<bool>, Fault> {
    let system = |cause: io::Error| Fault::system(format!("`{path}` cannot be read"), cause);
    let Some(folder) = root.folder(path.folders())? else { return Ok(None) };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mut file = match openat(&folder, path.name(), flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        // A link is none of ours, and is replaced as what it is.
        Err(Errno::LOOP) => return Ok(Some(false)),
        Err(errno) => return Err(system(errno.into())),
    };
    let stat = fstat(&file).map_err(|errno| system(errno.into()))?;
    let is_ours = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        && stat.st_mode & 0o7777 == PERMISSIONS
        && stat.st_uid == rustix::process::geteuid().as_raw()
        && stat.st_nlink == 1;
    let Some(own) = own.filter(|_| is_ours) else { return Ok(Some(is_ours)) };
    let mut own = File::open(own).map_err(unreadable)?;
    let same_size = own.metadata().map_err(unreadable)?.len() == u64::try_from(stat.st_size).unwrap_or(0);
    Ok(Some(same_size && same(&mut own, &mut file).map_err(system)?))
}

fn unreadable(cause: io::Error) -> Fault {
    Fault::system("the executor cannot read its own program", cause)
}

/// Whether both hold the same bytes.
fn same(one: &mut File, other: &mut File) -> io::Result<bool> {
    let (mut left, mut right) = (vec![0; 256 << 10], vec![0; 256 << 10]);
    loop {
        let count = one.read(&mut left)?;
        if count == 0 {
            return Ok(other.read(&mut right)? == 0);
        }
        match other.read_exact(&mut right[..count]) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            read => read?,
        }
        if left[..count] != right[..count] {
            return Ok(false);
        }
    }
}

/// Puts the program in its place unless it is there; whether it was anew. The lock of the host is held.
fn put(policy: &Policy, root: &Root, own: &str) -> Result<bool, Fault> {
    let path = HostPath::parse(EDGE_PROGRAM, policy)?;
    if found(root, &path, Some(own))? == Some(true) {
        return Ok(false);
    }
    let folder = root.make_folder(path.folders())?;
    let system = |cause: io::Error| Fault::system(format!("`{path}` cannot be written"), cause);
    let made = copy(&folder, own).and_then(|()| {
        renameat(&folder, INCOMING, &folder, path.name())?;
        Ok(fsync(&folder)?)
    });
    if made.is_err() {
        let _ = unlinkat(&folder, INCOMING, AtFlags::empty());
    }
    made.map_err(system)?;
    Ok(true)
}

/// Copies it beside its place, and reads it back.
fn copy(folder: impl AsFd, own: &str) -> io::Result<()> {
    // One that was killed has left it.
    match unlinkat(&folder, INCOMING, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno.into()),
    }
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(&folder, INCOMING, flags, Mode::RUSR | Mode::WUSR)?);
    let digest = transfer(&mut File::open(own)?, Some(&mut file))?;
    // Where the folder gives its group to what is made in it, the program's is that of the executor all the same.
    fchown(&file, None, Some(rustix::process::getegid()))?;
    fchmod(&file, Mode::from_raw_mode(PERMISSIONS))?;
    fsync(&file)?;
    let back = openat(&folder, INCOMING, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    if transfer(&mut File::from(back), None)? != digest {
        return Err(io::Error::other("what was written is not what was to be written"));
    }
    Ok(())
}

/// Reads to the end, and writes it where there is somewhere to; the SHA-256 of it.
fn transfer(from: &mut File, mut to: Option<&mut File>) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; 256 << 10];
    let mut hasher = Sha256::new();
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(hasher.finalize().to_vec());
        }
        hasher.update(&buffer[..count]);
        if let Some(to) = &mut to {
            to.write_all(&buffer[..count])?;
        }
    }
}

/// Removes the programs that no unit on this host names any more. What cannot be removed is no reason to stop: the next
/// change of an edge tries again.
pub(in crate::agent) fn leave(policy: &Policy, root: &Root) {
    let (Ok(path), Ok(all)) = (HostPath::grammar(EDGE_PROGRAM), everybody(policy, root)) else { return };
    let Some((_, releases)) = path.folders().split_last() else { return };
    let named = |path: &str| {
        let names = |fields: &crate::model::Properties| fields.get(FIELD).and_then(Value::as_text) == Some(path);
        let begun = |manifest: &crate::agent::manifest::Manifest| {
            manifest.begun.values().filter_map(|begun| begun.wanted.as_ref()).any(|thing| names(&thing.fields))
        };
        all.iter().any(|(_, manifest)| begun(manifest) || manifest.things.values().any(|thing| names(&thing.fields)))
    };
    let shown = super::super::super::beneath::shown(releases);
    let Ok(Some(folder)) = root.folder(releases) else { return };
    for release in names(&folder, &shown).unwrap_or_default() {
        if named(&format!("{shown}/{release}/{}", path.name())) {
            continue;
        }
        if let Ok(Some(own)) = root.folder(&[releases, std::slice::from_ref(&release)].concat()) {
            let _ = unlinkat(&own, path.name(), AtFlags::empty());
            let _ = unlinkat(&own, INCOMING, AtFlags::empty());
            let _ = unlinkat(&folder, release.as_str(), AtFlags::REMOVEDIR);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::{Path, PathBuf};

    struct Scene {
        folder: tempfile::TempDir,
        policy: Policy,
        root: Root,
    }

    impl Scene {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let policy = Policy::local(Some(folder.path().join("root")), "/nonexistent".into());
            std::fs::create_dir(folder.path().join("root")).unwrap();
            std::fs::write(folder.path().join("own"), vec![7; 600_000]).unwrap();
            let root = Root::open(policy.root.as_deref()).unwrap();
            Self { folder, policy, root }
        }

        fn own(&self) -> String {
            self.folder.path().join("own").to_str().unwrap().to_owned()
        }

        fn at(&self, path: &str) -> PathBuf {
            self.folder.path().join("root").join(path.trim_start_matches('/'))
        }

        fn put(&self) -> Result<bool, Fault> {
            put(&self.policy, &self.root, &self.own())
        }

        fn found(&self) -> Option<bool> {
            found(&self.root, &HostPath::grammar(EDGE_PROGRAM).unwrap(), Some(&self.own())).unwrap()
        }
    }

    fn mode(path: &Path) -> u32 {
        std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn it_is_there_byte_for_byte_and_anything_else_is_replaced() {
        let scene = Scene::new();
        let placed = scene.at(EDGE_PROGRAM);
        assert_eq!((scene.found(), scene.put().unwrap(), scene.found()), (None, true, Some(true)));
        assert!(!scene.put().unwrap(), "it is there already");
        assert_eq!((mode(&placed), std::fs::read(&placed).unwrap()), (0o755, std::fs::read(scene.own()).unwrap()));

        let other = scene.folder.path().join("other");
        std::fs::write(&other, "of others").unwrap();
        let spoilings: [&dyn Fn(); 5] = [
            &|| std::fs::write(&placed, vec![7; 599_999]).unwrap(),
            &|| std::fs::write(&placed, [vec![7; 599_999], vec![8]].concat()).unwrap(),
            &|| std::fs::set_permissions(&placed, std::fs::Permissions::from_mode(0o4755)).unwrap(),
            &|| std::fs::hard_link(&placed, scene.folder.path().join("link")).unwrap(),
            &|| {
                std::fs::remove_file(&placed).unwrap();
                symlink(&other, &placed).unwrap();
            },
        ];
        for (at, spoil) in spoilings.into_iter().enumerate() {
            spoil();
            assert_eq!(scene.found(), Some(false), "{at}");
            assert!(scene.put().unwrap());
            assert_eq!((scene.found(), mode(&placed)), (Some(true), 0o755), "{at}");
        }
        assert_eq!(std::fs::read(&other).unwrap(), b"of others", "no link is followed");
        // One that was killed has left its half.
        std::fs::write(placed.with_file_name(INCOMING), "half").unwrap();
        std::fs::remove_file(&placed).unwrap();
        assert!(scene.put().unwrap() && scene.found() == Some(true) && !placed.with_file_name(INCOMING).exists());
    }

    #[test]
    fn another_release_and_a_host_that_does_not_allow_it_are_refused() {
        let fault = of_this_release("/usr/local/lib/trunkline/999.0.0/trunkline").unwrap_err();
        assert!(fault.message.contains(env!("CARGO_PKG_VERSION")) && fault.message.contains("999.0.0"), "{fault}");
        let mut scene = Scene::new();
        scene.policy.allowed = vec!["/etc".to_owned()];
        assert!(scene.put().unwrap_err().message.contains("outside the folders"));
        assert_eq!(scene.found(), None);
    }

    #[test]
    fn what_no_unit_names_goes() {
        let scene = Scene::new();
        scene.put().unwrap();
        let former = scene.at("/usr/local/lib/trunkline/0.0.1/trunkline");
        let foreign = scene.at("/usr/local/lib/trunkline/0.0.2/notes");
        for path in [&former, &foreign] {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        leave(&scene.policy, &scene.root);
        assert!(!former.parent().unwrap().exists() && !scene.at(EDGE_PROGRAM).exists());
        assert!(foreign.exists(), "what is not ours stays");
    }
}
