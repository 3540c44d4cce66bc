//! The paths that a thing takes on a host: where it stands, and every file that it is made of.
//!
//! Goes in: a specification. Comes out: its paths, each with what is there then.
//!
//! **Invariant:** two things never take one path, and nothing lies in what another makes a file: whatever was applied last
//! would undo the other.

use crate::model::{Kind, Spec, Value};

/// Where the texts of units stand. Source: systemd.unit(5), "Unit File Load Path": local configuration.
const UNITS: &str = "/etc/systemd/system";

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stands {
    File,
    Folder,
}

/// The paths of what `spec` says; none of what has none.
pub(super) fn paths(spec: &Spec) -> Vec<(String, Stands)> {
    let hosted = match spec {
        Spec::File(file) => return vec![(file.path.clone(), Stands::File)],
        Spec::Hosted(hosted) if hosted.sort == Kind::Directory => return vec![(hosted.claim.clone(), Stands::Folder)],
        Spec::Hosted(hosted) => hosted,
        Spec::Worker(_) | Spec::Platform(_) => return Vec::new(),
    };
    let is_unit = matches!(hosted.sort, Kind::Unit | Kind::TunnelConnector | Kind::EdgeRuntime);
    // One that a package brings has its text where nothing of ours is.
    let text = (is_unit && hosted.fields.contains_key("content")).then(|| format!("{UNITS}/{}", hosted.claim));
    let files = hosted.fields.get("files").and_then(Value::as_table).into_iter().flatten();
    let path = |file: &Value| Some(file.as_table()?.get("path")?.as_text()?.to_owned());
    text.into_iter().chain(files.filter_map(|(_, file)| path(file))).map(|path| (path, Stands::File)).collect()
}

/// The folders that lead to a path, the nearest first.
pub(super) fn folders(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| path.rsplit_once('/').map(|(folder, _)| folder))
        .skip(1)
        .filter(|folder| !folder.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_lead_to_a_path() {
        assert_eq!(folders("/a/b/c").collect::<Vec<_>>(), ["/a/b", "/a"]);
        assert_eq!(folders("/a").count(), 0);
    }
}
