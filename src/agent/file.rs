//! One file within an open folder: read it, and tell whether it is still the same.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use hmac::{Hmac, KeyInit, Mac};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Fault;
use super::beneath::what;
use crate::model::{Content, Digest};

/// A file larger than this is not managed: reading it at each look would take seconds.
pub(super) const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;

/// So much of a file is in memory at once.
const BUFFER: usize = 64 * 1024;

/// What counts about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Facts {
    /// Digest and length of its bytes as they are on the host: never leaves the host for a file that holds secrets.
    pub(super) content: Content,
    /// Permission bits, those above 0777 included.
    pub(super) mode: u32,
    /// The owner's number.
    pub(super) uid: u32,
    /// The group's number.
    pub(super) gid: u32,
}

impl Facts {
    /// Changes whenever content, mode or owner change. Under a key where secrets may be in the file, since a digest of a
    /// short secret can be guessed.
    pub(super) fn fingerprint(&self, key: Option<&[u8; 32]>) -> String {
        let Self { content: Content { sha256, size }, mode, uid, gid } = self;
        let text = format!("{sha256} {size} {mode:o} {uid} {gid}");
        match key {
            None => Digest::of(text.as_bytes()).to_string(),
            Some(key) => {
                let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
                mac.update(text.as_bytes());
                mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
            }
        }
    }
}

/// Which file this is and when it last changed in any way: cheap to compare, not to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    size: i64,
    changed: (i64, i64),
    modified: (i64, i64),
}

impl Identity {
    #[expect(clippy::unnecessary_cast, clippy::cast_possible_wrap, reason = "the widths differ between architectures")]
    fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            size: stat.st_size as i64,
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as i64),
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as i64),
        }
    }

    /// Whether both are the same file, changed or not.
    pub(super) fn same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// What stands at a name, without following or opening it.
pub(super) fn identity(folder: BorrowedFd<'_>, name: &str) -> Result<Option<Identity>, Errno> {
    match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(Identity::of(&stat))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Which file an open one is.
pub(super) fn identity_of(file: impl AsFd) -> Result<Identity, Errno> {
    fstat(file).map(|stat| Identity::of(&stat))
}

/// A file that was read.
pub(super) struct ReadFile {
    /// What counts about it.
    pub(super) facts: Facts,
    /// Which it was when it was read.
    pub(super) identity: Identity,
}

/// Reads the file `name` of `folder`, copying its bytes to `copy`; `None` where nothing is there.
///
/// What is not a regular file with one link is a fault: its content may be anywhere else too.
pub(super) fn read(folder: BorrowedFd<'_>, name: &str, shown: &str, copy: &mut dyn Write) -> Result<Option<ReadFile>, Fault> {
    let system = |errno: Errno| Fault::system(format!("`{shown}` cannot be read"), errno);
    // Looked at before it is opened, since opening a device can do something.
    match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(system(errno)),
        Ok(stat) => check(&stat, shown)?,
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mut file = match openat(folder, name, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(system(errno)),
    };
    let stat = fstat(&file).map_err(system)?;
    check(&stat, shown)?;
    let content =
        hash(&mut file, stat.st_size, copy).map_err(|error| Fault::system(format!("`{shown}` cannot be read"), error))?;
    let identity = Identity::of(&stat);
    if identity_of(&file).map_err(system)? != identity {
        return Err(Fault::system(format!("`{shown}` cannot be read"), "it changed while it was read"));
    }
    let facts = Facts { content, mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid };
    Ok(Some(ReadFile { facts, identity }))
}

fn check(stat: &Stat, shown: &str) -> Result<(), Fault> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        kind => {
            return Err(Fault::new(format!("`{shown}` is {}; only regular files are managed", what(kind)))
                .hint(format!("look at it, and remove it by hand if nothing needs it: ls -ld {shown}")));
        }
    }
    if stat.st_nlink > 1 {
        return Err(Fault::new(format!("`{shown}` has {} hard links; only files with one are managed", stat.st_nlink))
            .hint("find the others with `find / -xdev -samefile`, and break the link"));
    }
    if u64::try_from(stat.st_size).unwrap_or(0) > MAX_FILE_BYTES {
        return Err(Fault::new(format!("`{shown}` has more than 256 MiB; files of that size are not managed")));
    }
    Ok(())
}

/// `size` is what it had a moment ago. A buffer no larger than that: wiping it costs more than reading a small file does.
fn hash(file: &mut File, size: i64, copy: &mut dyn Write) -> std::io::Result<Content> {
    let mut hasher = Sha256::new();
    let room = usize::try_from(size).unwrap_or(BUFFER).saturating_add(1).min(BUFFER);
    let mut buffer = zeroize::Zeroizing::new(vec![0; room]);
    let mut size: u64 = 0;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        size += count as u64;
        if size > MAX_FILE_BYTES {
            return Err(std::io::Error::other("it grows while it is read"));
        }
        hasher.update(&buffer[..count]);
        copy.write_all(&buffer[..count])?;
    }
    let hex: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let sha256 = hex.parse().map_err(std::io::Error::other)?;
    Ok(Content { sha256, size })
}
