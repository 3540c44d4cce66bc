//! Folders beneath the root, reached without following any link.
//!
//! **Invariant:** a path is only ever resolved from a descriptor of the root: by `openat2` with `RESOLVE_BENEATH`,
//! `RESOLVE_NO_SYMLINKS` and `RESOLVE_NO_MAGICLINKS`, or one component at a time with `O_NOFOLLOW`. What is then done,
//! is done by a name within the descriptor of the folder: a parent that is swapped meanwhile leads nowhere else.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, fchmod, mkdirat, openat, openat2, statat};
use rustix::io::Errno;

use super::Fault;
use super::path::HostPath;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The folder beneath which every path is taken.
pub(super) struct Root {
    folder: OwnedFd,
    path: PathBuf,
}

impl Root {
    /// Opens `path`, which must be an absolute folder that is there; `/` where there is none.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, Fault> {
        let path = path.unwrap_or(Path::new("/"));
        if !path.is_absolute() {
            return Err(Fault::new(format!("the host's root `{}` is not absolute", path.display())));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| {
            Fault::system(format!("the host's root `{}` cannot be opened", path.display()), errno)
                .hint(format!("make it with `mkdir -p {}`, or change `root` of the host", path.display()))
        })?;
        Ok(Self { folder, path: path.to_owned() })
    }

    /// Where `path` is for the programs of this machine.
    pub(super) fn real(&self, folders: &[String], name: &str) -> PathBuf {
        folders.iter().fold(self.path.clone(), |path, folder| path.join(folder)).join(name)
    }

    /// The folder `folders`; `None` where it, or one that leads to it, is not there.
    pub(super) fn folder(&self, folders: &[String]) -> Result<Option<OwnedFd>, Fault> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let whole = if folders.is_empty() { ".".to_owned() } else { folders.join("/") };
        match openat2(&self.folder, whole.as_str(), FOLDER, Mode::empty(), resolve) {
            Ok(folder) => Ok(Some(folder)),
            // No `openat2` here, a folder was renamed meanwhile, or something stands in the way: the walk says what.
            Err(_) => self.walk(folders, None),
        }
    }

    /// The folder `folders`, made where it is not there, with mode 0755 whatever the umask says.
    pub(super) fn make_folder(&self, folders: &[String]) -> Result<OwnedFd, Fault> {
        self.make_folder_with(folders, 0o755)
    }

    /// The same with another mode for the folders that are made.
    pub(super) fn make_folder_with(&self, folders: &[String], mode: u32) -> Result<OwnedFd, Fault> {
        self.walk(folders, Some(mode))?.ok_or_else(|| vanished(folders))
    }

    /// The folders on the way to `path` that are not there, from the root down.
    pub(super) fn missing(&self, path: &HostPath) -> Result<Vec<String>, Fault> {
        for end in (0..=path.folders().len()).rev() {
            if self.folder(&path.folders()[..end])?.is_some() {
                let missing = end + 1..=path.folders().len();
                return Ok(missing.map(|end| shown(&path.folders()[..end])).collect());
            }
        }
        Err(vanished(&[]))
    }

    fn walk(&self, folders: &[String], make: Option<u32>) -> Result<Option<OwnedFd>, Fault> {
        let system = |end: usize, errno: Errno| Fault::system(format!("`{}` cannot be opened", shown(&folders[..end])), errno);
        let mut folder = openat(&self.folder, ".", FOLDER, Mode::empty()).map_err(|errno| system(0, errno))?;
        for (index, name) in folders.iter().enumerate() {
            let next = match openat(&folder, name.as_str(), FOLDER, Mode::empty()) {
                Err(Errno::NOENT) if make.is_some() => {
                    let mode = Mode::from_raw_mode(make.unwrap_or_default());
                    let made = match mkdirat(&folder, name.as_str(), Mode::RWXU) {
                        Ok(()) => true,
                        Err(Errno::EXIST) => false,
                        Err(errno) => {
                            return Err(Fault::system(format!("`{}` cannot be made", shown(&folders[..=index])), errno));
                        }
                    };
                    let next = openat(&folder, name.as_str(), FOLDER, Mode::empty());
                    if let (true, Ok(next)) = (made, &next) {
                        fchmod(next, mode).map_err(|errno| system(index + 1, errno))?;
                    }
                    next
                }
                opened => opened,
            };
            folder = match next {
                Ok(next) => next,
                Err(Errno::NOENT) => return Ok(None),
                Err(Errno::LOOP | Errno::NOTDIR) => {
                    let kind = statat(&folder, name.as_str(), AtFlags::SYMLINK_NOFOLLOW)
                        .map_or("no folder", |stat| what(FileType::from_raw_mode(stat.st_mode)));
                    let shown = shown(&folders[..=index]);
                    return Err(Fault::new(format!("`{shown}` is {kind}; only folders are entered, and no link is followed"))
                        .hint("give the path without the link"));
                }
                Err(errno) => return Err(system(index + 1, errno)),
            };
        }
        Ok(Some(folder))
    }
}

/// `/` and the components joined.
pub(super) fn shown(components: &[String]) -> String {
    format!("/{}", components.join("/"))
}

fn vanished(folders: &[String]) -> Fault {
    Fault::system(format!("`{}` cannot be opened", shown(folders)), "it vanished meanwhile")
}

/// What stands in the way, for people.
pub(super) fn what(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a file",
        FileType::Directory => "a folder",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Unknown => "no file",
    }
}
