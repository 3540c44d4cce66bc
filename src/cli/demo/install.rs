//! workerd for the demo: what there is, else the pinned npm package in the demo's own cache.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::super::output::note;
use crate::edge;

/// Finds workerd, or installs it into the cache unless that is forbidden; `None`, having said why, where there is none.
pub(super) fn workerd(no_install: bool) -> Option<PathBuf> {
    if let Ok(found) = edge::find_workerd(None) {
        return Some(found);
    }
    let Some(cache) = cache() else {
        note("workerd: not found, and there is no HOME for a cache");
        return None;
    };
    if let Some(found) = cached(&cache) {
        return Some(found);
    }
    if no_install {
        note("workerd: not found, and --no-install forbids to install it");
        return None;
    }
    note(&format!("workerd: not found; npm installs workerd@{} into {} (once, about 160 MB)", edge::WORKERD, cache.display()));
    match install(&cache) {
        Ok(()) => cached(&cache),
        Err(reason) => {
            note(&format!("workerd: {reason}"));
            note(
                "workerd: install Node.js with npm, or name a workerd binary in TRUNKLINE_WORKERD; the story goes on without it",
            );
            None
        }
    }
}

fn cache() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    Some(base?.join("trunkline"))
}

fn cached(cache: &Path) -> Option<PathBuf> {
    let launcher = cache.join("node_modules/.bin/workerd");
    launcher.exists().then(|| edge::find_workerd(Some(&launcher)).ok()).flatten()
}

fn install(cache: &Path) -> Result<(), String> {
    std::fs::create_dir_all(cache).map_err(|error| format!("{} cannot be made: {error}", cache.display()))?;
    // Its own manifest: npm would otherwise look for one in the folders above.
    let manifest = cache.join("package.json");
    if !manifest.exists() {
        std::fs::write(&manifest, "{\"private\":true}\n").map_err(|error| error.to_string())?;
    }
    let output = Command::new("npm")
        .args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--save-exact", &format!("workerd@{}", edge::WORKERD)])
        .current_dir(cache)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("npm cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let last: Vec<&str> = text.lines().rev().take(3).collect();
    Err(format!("npm failed: {}", last.into_iter().rev().collect::<Vec<_>>().join(" / ")))
}
