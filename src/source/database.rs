//! The daemon's own bare repository: made, owned, and cleaned of what a killed process left.
//!
//! Two locks, both `flock`, so that a death releases them: `trunkline-owner` is held by the daemon, `trunkline-child` by
//! its git processes, which inherit it. A git process that outlived its daemon is thereby known, and ended, before its lock
//! files are taken away.
//!
//! **Invariant:** nothing in the database's configuration comes from outside: it is written anew at each opening, hooks and
//! alternates are removed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use git2::{Repository, RepositoryInitOptions, RepositoryOpenFlags};
use rustix::fs::FlockOperation;
use rustix::process::{Pid, Signal};

use super::{Options, SourceError};

const CONFIG: &str = "\
# Written by trunkline at each start; changes are lost.
[core]
\trepositoryformatversion = 0
\tbare = true
\tfilemode = true
\tlogallrefupdates = false
\tfsyncObjectFiles = true
\tfsync = all
[gc]
\tauto = 0
[maintenance]
\tauto = false
";

/// For how long a held database is waited for. A process that has just been forked shares its parent's locks until it runs
/// its program, so that a lock outlives its holder by moments.
const OWNER_PATIENCE: Duration = Duration::from_millis(500);

/// Holds the database for this process; released when it is dropped or the process dies.
pub(super) struct Owner {
    _lock: File,
}

/// Opens the database of `options`, or makes it.
pub(super) fn open(options: &Options) -> Result<(Repository, Owner), SourceError> {
    let path = options.database.as_path();
    fs::create_dir_all(path).map_err(SourceError::database(path))?;
    let lock = lock_file(&path.join("trunkline-owner")).map_err(SourceError::database(path))?;
    if !lock_within(&lock, OWNER_PATIENCE).map_err(SourceError::database(path))? {
        return Err(SourceError::Busy(path.to_owned()));
    }
    end_orphan(path)?;
    clean(path).map_err(SourceError::database(path))?;

    let repository = if path.join("HEAD").is_file() && path.join("objects").is_dir() {
        fs::create_dir_all(path.join("refs")).map_err(SourceError::database(path))?;
        write_config(path).map_err(SourceError::database(path))?;
        reopen(path)?
    } else {
        let mut init = RepositoryInitOptions::new();
        init.bare(true).external_template(false).no_reinit(false).mkpath(true);
        Repository::init_opts(path, &init).map_err(SourceError::database(path))?
    };
    write_config(path).map_err(SourceError::database(path))?;
    repository.set_head(&options.branch.full()).map_err(SourceError::database(path))?;
    Ok((repository, Owner { _lock: lock }))
}

/// Opens the database once more, beside a handle that owns it.
pub(super) fn reopen(path: &Path) -> Result<Repository, SourceError> {
    let none: [&Path; 0] = [];
    let flags = RepositoryOpenFlags::NO_SEARCH | RepositoryOpenFlags::BARE;
    Repository::open_ext(path, flags, none).map_err(SourceError::database(path))
}

/// The lock that git processes inherit, held; `None` where a process of an earlier call still has it.
pub(super) fn child_lock(database: &Path) -> io::Result<Option<File>> {
    let lock = lock_file(&database.join("trunkline-child"))?;
    Ok(try_lock(&lock)?.then_some(lock))
}

/// Writes down which process group holds the child lock.
pub(super) fn name_child(mut lock: &File, pid: u32) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    write!(lock, "{pid}")
}

fn lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

fn try_lock(file: &File) -> io::Result<bool> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn lock_within(file: &File, patience: Duration) -> io::Result<bool> {
    let give_up = Instant::now() + patience;
    loop {
        if try_lock(file)? {
            return Ok(true);
        }
        if Instant::now() > give_up {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Ends the git process that a killed daemon left running on this database.
fn end_orphan(database: &Path) -> Result<(), SourceError> {
    let mut lock = lock_file(&database.join("trunkline-child")).map_err(SourceError::database(database))?;
    let give_up = Instant::now() + Duration::from_secs(10);
    while !try_lock(&lock).map_err(SourceError::database(database))? {
        let mut text = String::new();
        lock.rewind().map_err(SourceError::database(database))?;
        (&lock).take(32).read_to_string(&mut text).map_err(SourceError::database(database))?;
        if let Some(pid) = text.trim().parse().ok().and_then(Pid::from_raw).filter(|pid| works_on(*pid, database)) {
            // It may end by itself in between; then the lock is free, which is what counts.
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
        }
        if Instant::now() > give_up {
            return Err(SourceError::Busy(database.to_owned()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    lock.rewind().and_then(|()| lock.set_len(0)).map_err(SourceError::database(database))
}

/// Whether the process is a git process on this database: a number alone may long belong to somebody else.
fn works_on(pid: Pid, database: &Path) -> bool {
    let argument = super::command::git_dir(database);
    let line = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    line.split(|byte| *byte == 0).any(|word| word == argument.as_encoded_bytes())
}

fn write_config(path: &Path) -> io::Result<()> {
    let file = path.join("config");
    if fs::read_to_string(&file).is_ok_and(|text| text == CONFIG) {
        return Ok(());
    }
    let draft = path.join("config.trunkline");
    fs::write(&draft, CONFIG)?;
    fs::rename(draft, file)
}

/// Takes away what a killed process left, and what could lead out of the database.
fn clean(path: &Path) -> io::Result<()> {
    for name in ["HEAD.lock", "config.lock", "packed-refs.lock", "packed-refs.new", "shallow.lock", "shallow", "FETCH_HEAD"] {
        remove_file(&path.join(name))?;
    }
    for name in ["alternates", "http-alternates"] {
        remove_file(&path.join("objects/info").join(name))?;
    }
    if path.join("hooks").symlink_metadata().is_ok_and(|m| m.is_dir()) {
        fs::remove_dir_all(path.join("hooks"))?;
    }
    remove_locks(&path.join("refs"), 0)?;
    clean_objects(&path.join("objects"))
}

fn remove_locks(folder: &Path, depth: usize) -> io::Result<()> {
    for entry in entries(folder)? {
        let kind = entry.file_type()?;
        if kind.is_dir() && depth < 64 {
            remove_locks(&entry.path(), depth + 1)?;
        } else if entry.path().extension().is_some_and(|e| e == "lock") {
            remove_file(&entry.path())?;
        }
    }
    Ok(())
}

fn clean_objects(objects: &Path) -> io::Result<()> {
    for entry in entries(objects)? {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("tmp_objdir") {
            fs::remove_dir_all(entry.path())?;
        } else if name == "pack" || (name.len() == 2 && entry.file_type()?.is_dir()) {
            clean_folder(&entry.path())?;
        }
    }
    Ok(())
}

fn clean_folder(folder: &Path) -> io::Result<()> {
    for entry in entries(folder)? {
        let name = entry.file_name().to_string_lossy().into_owned();
        let temporary = name.starts_with("tmp_") || name.starts_with(".tmp-") || name.contains("_git2_");
        // A fetch keeps its pack from being repacked until its refs are written; a dead one would keep it for ever. And a
        // pack without its index is one that was never finished.
        let unfinished = name.ends_with(".keep") || (name.ends_with(".pack") && !entry.path().with_extension("idx").exists());
        let empty = name.len() == 38 && entry.metadata()?.len() == 0;
        if temporary || unfinished || empty || name.ends_with(".lock") {
            remove_file(&entry.path())?;
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_cleared_away() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("db");
        let options = Options::new(database.clone(), "/nowhere".parse().unwrap(), "main".parse().unwrap());
        drop(open(&options).unwrap());

        let left = [
            "HEAD.lock",
            "packed-refs.lock",
            "refs/heads/main.lock",
            "refs/notes/trunkline.lock",
            "objects/pack/tmp_pack_x",
            "objects/pack/pack-1.keep",
            "objects/pack/pack-2.pack",
            "objects/info/alternates",
            "objects/ab/tmp_obj_x",
            "hooks/post-update",
        ];
        for path in left {
            let path = database.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        fs::write(database.join("config"), "[core]\n\tbare = true\n\tsshCommand = touch /x\n\thooksPath = /x\n").unwrap();
        let (repository, _owner) = open(&options).unwrap();
        for path in left {
            assert!(!database.join(path).exists(), "{path}");
        }
        assert_eq!(fs::read_to_string(database.join("config")).unwrap(), CONFIG);
        assert!(repository.is_bare());
    }

    #[test]
    fn a_database_has_one_owner() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options::new(folder.path().join("db"), "/nowhere".parse().unwrap(), "main".parse().unwrap());
        let first = open(&options).unwrap();
        assert!(matches!(open(&options), Err(SourceError::Busy(_))));
        drop(first);
        open(&options).unwrap();
    }
}
