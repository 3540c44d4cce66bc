//! A repository on this machine, whose refs are watched.
//!
//! **Invariant:** only refs count: what git writes among objects, and its lock files, wake nobody.

use std::path::{Path, PathBuf};

use notify::event::ModifyKind;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::TriggerError;

/// Watches the repository at `path`, bare or not, as long as what is returned lives. `tell` is called on a thread of the watcher.
pub(super) fn watch(path: &Path, tell: impl Fn() + Send + 'static) -> Result<RecommendedWatcher, TriggerError> {
    let folder = git_folder(path).ok_or_else(|| TriggerError::NoRepository(path.to_owned()))?;
    let refused = |source| TriggerError::Watch { path: path.to_owned(), source };

    let place = folder.clone();
    let mut watcher = notify::recommended_watcher(move |event: Result<Event, notify::Error>| match event {
        Ok(event) if !event.need_rescan() && !is_of_refs(&place, &event) => {}
        // An error may have swallowed an event: look.
        Ok(_) | Err(_) => tell(),
    })
    .map_err(refused)?;
    watcher.watch(&folder, RecursiveMode::NonRecursive).map_err(refused)?;
    for inner in ["refs", "reftable"] {
        let inner = folder.join(inner);
        if inner.is_dir() {
            watcher.watch(&inner, RecursiveMode::Recursive).map_err(refused)?;
        }
    }
    Ok(watcher)
}

/// Where the repository keeps its refs; from gitrepository-layout(5). Not by libgit2, which cannot open reftable repositories.
fn git_folder(path: &Path) -> Option<PathBuf> {
    let inner = path.join(".git");
    let folder = if inner.is_file() {
        // A linked worktree or a submodule: one line, which names the folder.
        path.join(first_line(&inner)?.strip_prefix("gitdir: ")?)
    } else if inner.is_dir() {
        inner
    } else {
        path.to_owned()
    };
    let common = folder.join("commondir");
    // Of a linked worktree, too, the branches are in the repository that it belongs to.
    let folder = if common.is_file() { folder.join(first_line(&common)?) } else { folder };
    let folder = folder.canonicalize().ok()?;
    (folder.join("HEAD").exists() && folder.join("objects").is_dir()).then_some(folder)
}

fn first_line(path: &Path) -> Option<String> {
    Some(std::fs::read_to_string(path).ok()?.lines().next()?.to_owned())
}

fn is_of_refs(folder: &Path, event: &Event) -> bool {
    let kind = match event.kind {
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_)) => false,
        EventKind::Any | EventKind::Other | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) => true,
    };
    kind && event.paths.iter().any(|path: &PathBuf| {
        let Ok(inner) = path.strip_prefix(folder) else { return false };
        let top = inner.iter().next().and_then(|name| name.to_str()).unwrap_or_default();
        let lock = inner.extension().is_some_and(|e| e == "lock");
        // Empty: the repository itself was moved or removed.
        !lock && matches!(top, "" | "HEAD" | "packed-refs" | "refs" | "reftable")
    })
}
