//! The root that a build sees: the system's programs for reading, the tools, and a folder in memory.
//!
//! Goes in: the paths of the machine that are shown. Comes out: this process, and all that it starts, sees nothing else.
//!
//! **Invariant:** what is shown of the machine is shown for reading, with every mount below it; `/etc`, `/home`, `/root`,
//! `/run`, `/srv`, `/var` and the processes of the machine are not there at all.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_remount, unmount};
use rustix::process::pivot_root;

use super::inside::{OUT, WORK};
use super::limit;

/// Where the machine's own root is while ours is made.
const OLD: &str = "/old";

/// What of the system is always shown: programs and libraries, and how the loader finds them.
const SYSTEM: [&str; 9] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc/ld.so.cache", "etc/alternatives"];

const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// Makes the root and moves into it.
pub(super) fn make(shown: &[PathBuf]) -> io::Result<()> {
    let size = format!("size={},nr_inodes={},mode=0755\0", limit::MEMORY_FOLDER, limit::INODES);
    let options = std::ffi::CStr::from_bytes_with_nul(size.as_bytes()).map_err(io::Error::other)?;
    told("mount a folder in memory", mount("tmpfs", "/tmp", "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, options))?;
    fs::create_dir("/tmp/old")?;
    told("enter a root of its own", pivot_root("/tmp", "/tmp/old"))?;
    std::env::set_current_dir("/")?;
    for path in SYSTEM {
        show_system(path)?;
    }
    for path in shown {
        show(path)?;
    }
    devices()?;
    small_files()?;
    for folder in ["/tmp", WORK, OUT] {
        fs::create_dir_all(folder)?;
    }
    // Some containers forbid a fresh one; the machine's own must never be shown, and compilers do without.
    fs::create_dir("/proc")?;
    let own = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let _ = mount("proc", "/proc", "proc", own, None);
    for place in mounts()? {
        read_only(&place)?;
    }
    told("leave the machine's root", unmount(OLD, UnmountFlags::DETACH))?;
    fs::remove_dir(OLD)
}

/// Puts an input where it belongs.
pub(super) fn put(path: &Path, bytes: &[u8], executable: bool) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, bytes)?;
    fs::set_permissions(path, fs::Permissions::from_mode(if executable { 0o755 } else { 0o644 }))
}

fn told(what: &str, result: rustix::io::Result<()>) -> io::Result<()> {
    result.map_err(|error| io::Error::other(format!("cannot {what}: {}", io::Error::from(error))))
}

fn old(path: impl AsRef<Path>) -> PathBuf {
    let path = path.as_ref();
    Path::new(OLD).join(path.strip_prefix("/").unwrap_or(path))
}

/// A part of the system: many have `/bin` and `/lib` as links into `/usr`.
fn show_system(path: &str) -> io::Result<()> {
    let there = old(path);
    match fs::symlink_metadata(&there) {
        Ok(found) if found.is_symlink() => symlink(fs::read_link(&there)?, Path::new("/").join(path)),
        Ok(_) => show(&Path::new("/").join(path)),
        Err(_) => Ok(()),
    }
}

/// Shows one path of the machine at the same path.
fn show(path: &Path) -> io::Result<()> {
    let there = old(path);
    let is_folder = fs::symlink_metadata(&there)
        .map_err(|error| io::Error::other(format!("{} cannot be shown: {error}", path.display())))?
        .is_dir();
    if is_folder {
        fs::create_dir_all(path)?;
    } else {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        File::create(path)?;
    }
    told(&format!("show {}", path.display()), mount_bind_recursive(&there, path))
}

fn devices() -> io::Result<()> {
    fs::create_dir("/dev")?;
    for name in DEVICES {
        let path = Path::new("/dev").join(name);
        File::create(&path)?;
        told(&format!("show {}", path.display()), mount_bind(old(&path), &path))?;
    }
    symlink("/proc/self/fd", "/dev/fd")
}

/// A name for the user: there are programs that do not start without one.
fn small_files() -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create("/etc")?;
    fs::write("/etc/passwd", format!("build:x:0:0:build:{WORK}:/usr/sbin/nologin\n"))?;
    fs::write("/etc/group", "build:x:0:\n")?;
    fs::write("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n")
}

/// Every mount of the machine that is shown now, by its place.
fn mounts() -> io::Result<Vec<PathBuf>> {
    let table = fs::read_to_string(old("proc/self/mountinfo"))?;
    let places = table.lines().filter_map(|line| line.split(' ').nth(4)).map(unescaped);
    let ours = |place: &PathBuf| {
        *place != Path::new("/") && !place.starts_with(OLD) && !place.starts_with("/dev") && !place.starts_with("/proc")
    };
    Ok(places.filter(ours).collect())
}

/// mountinfo writes spaces and the like in octal.
fn unescaped(text: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let octal = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = &after[3..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(bytes).into()
}

/// For reading only; the flags that the machine set stay, or the kernel would refuse.
fn read_only(place: &Path) -> io::Result<()> {
    let now = statvfs(place).map_err(io::Error::from)?.f_flag;
    let mut flags = MountFlags::BIND | MountFlags::RDONLY;
    for (is_set, flag) in [
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ] {
        if now.contains(is_set) {
            flags |= flag;
        }
    }
    told(&format!("show {} for reading only", place.display()), mount_remount(place, flags, c""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_the_kernel_writes_them() {
        assert_eq!(unescaped("/a\\040b\\134c/d"), Path::new("/a b\\c/d"));
        assert_eq!(unescaped("/plain\\"), Path::new("/plain\\"));
    }
}
