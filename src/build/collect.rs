//! What a build left: its modules, within bounds, and no link.
//!
//! Goes in: a folder inside of the namespaces. Comes out: files by path, or what is wrong with them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use super::limit;
use crate::document::shown;

/// The files below `folder`. What tools write beside modules, and no Worker is uploaded with, is left out: source maps and
/// Markdown.
pub(super) fn collect(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut found = BTreeMap::new();
    match fs::symlink_metadata(folder) {
        Ok(there) if there.is_dir() => below(folder, "", 0, &mut found)?,
        Ok(_) => return Err(format!("`{}` is not a folder", name(folder))),
        Err(_) => return Err(format!("there is no folder `{}`", name(folder))),
    }
    if found.is_empty() {
        return Err(format!("the folder `{}` holds no modules", name(folder)));
    }
    Ok(found)
}

fn name(folder: &Path) -> String {
    shown(&folder.strip_prefix(super::inside::WORK).unwrap_or(folder).display().to_string())
}

fn below(folder: &Path, prefix: &str, depth: usize, found: &mut BTreeMap<String, Vec<u8>>) -> Result<(), String> {
    let unreadable = |error: std::io::Error| format!("`{}` cannot be read: {error}", shown(prefix));
    if depth > 16 {
        return Err(format!("`{}` lies too deep", shown(prefix)));
    }
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
            return Err(format!("a name below `{}` is not UTF-8", shown(prefix)));
        };
        let path = format!("{prefix}{name}");
        let sort = entry.file_type().map_err(unreadable)?;
        if sort.is_symlink() {
            return Err(format!("`{}` is a symbolic link, which is never followed", shown(&path)));
        } else if sort.is_dir() {
            below(&entry.path(), &format!("{path}/"), depth + 1, found)?;
        } else if !sort.is_file() {
            return Err(format!("`{}` is not a regular file", shown(&path)));
        } else if !path.ends_with(".map") && !path.ends_with(".md") {
            let left = limit::MODULE_BYTES.saturating_sub(found.values().map(|bytes| bytes.len() as u64).sum());
            let mut bytes = Vec::new();
            fs::File::open(entry.path()).and_then(|file| file.take(left + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
            if bytes.len() as u64 > left {
                return Err(format!("the modules have more than {} bytes in all", limit::MODULE_BYTES));
            }
            found.insert(path, bytes);
            if found.len() > limit::MODULES {
                return Err(format!("there are more than {} modules", limit::MODULES));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_what_is_no_file_are_refused_and_bounds_hold() {
        let folder = tempfile::tempdir().unwrap();
        assert!(collect(&folder.path().join("none")).unwrap_err().contains("no folder"));
        assert!(collect(folder.path()).unwrap_err().contains("no modules"));
        fs::create_dir(folder.path().join("lib")).unwrap();
        fs::write(folder.path().join("lib/a.js"), "1").unwrap();
        fs::write(folder.path().join("index.js.map"), "{}").unwrap();
        assert_eq!(collect(folder.path()).unwrap().keys().collect::<Vec<_>>(), ["lib/a.js"]);
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("b.js")).unwrap();
        assert!(collect(folder.path()).unwrap_err().contains("`b.js` is a symbolic link"));
        fs::remove_file(folder.path().join("b.js")).unwrap();
        fs::File::create(folder.path().join("c.bin")).unwrap().set_len(limit::MODULE_BYTES).unwrap();
        assert!(collect(folder.path()).unwrap_err().contains("bytes in all"));
    }
}
