//! `import`: what exists elsewhere, as definitions.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::arguments::Output;
use super::output::{Failure, note, show, show_json};
use super::{ERROR, OK};
use crate::document::{Value, parse};
use crate::import::{self, DefinitionFile, Imported, Input, Remark};
use crate::model::EnvironmentName;

/// The verb's own arguments.
#[derive(Debug, Args)]
pub(super) struct Import {
    #[command(subcommand)]
    pub(super) verb: ImportVerb,
}

/// What is imported.
#[derive(Debug, Subcommand)]
pub(super) enum ImportVerb {
    /// A wrangler.toml, wrangler.json or wrangler.jsonc, with its environments; lists what could not be carried
    Wrangler(Wrangler),
    /// A live account, or an edge: everything of the kinds that definitions have, to be taken over as it is
    Cloudflare(super::import_account::Asked),
}

/// What is asked of a file of wrangler.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  trunkline import wrangler workers/api/wrangler.jsonc
  trunkline import wrangler ../shop/wrangler.toml --environment production --out config

Exit status: 0 something was carried, whatever is listed as not carried; 1 nothing was.")]
pub(super) struct Wrangler {
    /// The file of wrangler
    #[arg(value_name = "PATH")]
    file: PathBuf,
    /// What its top level becomes [default: production, or top-level where the file names a production]
    #[arg(long, value_name = "NAME")]
    environment: Option<EnvironmentName>,
    /// The root of the repository of definitions
    #[arg(long, default_value = ".", value_name = "DIR")]
    out: PathBuf,
    /// Overwrite files that are there
    #[arg(long)]
    force: bool,
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    output: Output,
}

/// More than this is no file of wrangler.
const LIMIT: u64 = 1 << 20;

pub(super) async fn import(verb: &ImportVerb) -> Result<u8, Failure> {
    match verb {
        ImportVerb::Wrangler(asked) => wrangler(asked),
        ImportVerb::Cloudflare(asked) => super::import_account::import(asked).await,
    }
}

fn wrangler(asked: &Wrangler) -> Result<u8, Failure> {
    let Wrangler { file, environment, out, force, output } = asked;
    let bytes = read(file)?.ok_or_else(|| {
        let hint = "name a wrangler.toml, wrangler.json or wrangler.jsonc".to_owned();
        Failure::new(format!("{} cannot be read: there is no such file", file.display())).hint(Some(hint))
    })?;
    let root = root(out)?;
    let path = below(&root, file)?;
    let shown = file.display().to_string();
    let input = Input {
        shown: &shown,
        bytes: &bytes,
        path: path.as_deref(),
        environment: environment.clone(),
        read: &|path| read(&root.join(path)).ok().flatten().map(Into::into),
        folder: &|path| root.join(path).is_dir(),
    };
    let imported = import::wrangler(&input).map_err(|error| Failure::of(&error))?;
    let files = if imported.is_empty() { Vec::new() } else { wanted(&root, &imported)? };
    if !*force {
        refuse_to_overwrite(&root, files.iter().map(|file| file.path.as_str()))?;
    }
    for file in &files {
        write(&root, &file.path, file.text.as_bytes())?;
    }
    report(&imported, &files, *output)?;
    if imported.is_empty() {
        note("Nothing could be carried, and nothing was written.");
        return Ok(ERROR);
    }
    if *output == Output::Text {
        note("Secrets are not in the file: `trunkline secrets set ENVIRONMENT NAME` writes each. Next: `trunkline check`.");
    }
    Ok(OK)
}

/// The folder of definitions.
pub(super) fn root(out: &Path) -> Result<PathBuf, Failure> {
    out.canonicalize().map_err(|error| Failure::new(format!("{} cannot be used: {error}", out.display())))
}

/// A file, within the limit; `None` where there is none.
fn read(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    match std::fs::metadata(path) {
        Ok(there) if there.is_file() && there.len() <= LIMIT => Ok(Some(std::fs::read(path)?)),
        Ok(there) if there.is_file() => Err(Failure::new(format!("{} has more than {LIMIT} bytes", path.display()))),
        _ => Ok(None),
    }
}

/// The path of `file` from `root`, where it lies below it.
fn below(root: &Path, file: &Path) -> Result<Option<String>, Failure> {
    let file = file.canonicalize()?;
    Ok(file.strip_prefix(root).ok().and_then(Path::to_str).map(str::to_owned))
}

/// The files to write: targets only where the environment has none yet.
pub(super) fn wanted<'a>(root: &Path, imported: &'a Imported) -> Result<Vec<&'a DefinitionFile>, Failure> {
    let mut wanted = Vec::new();
    for file in &imported.files {
        let folder = root.join(&file.path).parent().map(Path::to_owned).unwrap_or_default();
        if !(file.targets && has_targets(&folder)?) {
            wanted.push(file);
        }
    }
    Ok(wanted)
}

fn has_targets(folder: &Path) -> Result<bool, Failure> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_none_or(|end| end != "toml") {
            continue;
        }
        let table = parse(&read(&path)?.unwrap_or_default()).root;
        let declares =
            |kind: &str| table.get(kind).is_some_and(|entry| matches!(&entry.node.value, Value::Table(t) if !t.is_empty()));
        if declares("cloudflare") || declares("edge") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Refuses to write where one of `paths` is.
pub(super) fn refuse_to_overwrite<'a>(root: &Path, paths: impl Iterator<Item = &'a str>) -> Result<(), Failure> {
    let there: Vec<&str> = paths.filter(|path| root.join(path).symlink_metadata().is_ok()).collect();
    if there.is_empty() {
        return Ok(());
    }
    let hint = "nothing was written; move them away, import into another folder with `--out`, or overwrite them with `--force`";
    Err(Failure::new(format!("there already is {}", there.join(", "))).hint(Some(hint.to_owned())))
}

/// Writes a file below the root.
pub(super) fn write(root: &Path, path: &str, content: &[u8]) -> Result<(), Failure> {
    let path: PathBuf = root.join(path);
    let failure = |error: std::io::Error| Failure::new(format!("{} cannot be written: {error}", path.display()));
    let folder = path.parent().unwrap_or(root);
    std::fs::create_dir_all(folder).map_err(failure)?;
    // Whole or not at all, and never through a link that stands there.
    let mut new = tempfile::NamedTempFile::new_in(folder).map_err(failure)?;
    new.write_all(content).map_err(failure)?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    new.as_file().set_permissions(mode).map_err(failure)?;
    new.persist(&path).map_err(|error| failure(error.error))?;
    Ok(())
}

/// Shows what was written, and what was not.
pub(super) fn report(imported: &Imported, files: &[&DefinitionFile], output: Output) -> Result<(), Failure> {
    let Imported { sources, left, fill_in, .. } = imported;
    if output == Output::Json {
        let files = serde_json::to_value(files).map_err(|error| Failure::of(&error))?;
        return show_json(&json!({ "version": 1, "files": files, "sources": sources, "left": left, "fill_in": fill_in }));
    }
    for path in files.iter().map(|file| &file.path).chain(sources.iter().map(|source| &source.path)) {
        show(path)?;
    }
    let tell = |head: &str, remarks: &[Remark]| {
        if !remarks.is_empty() {
            note(head);
        }
        for Remark { path, line, key, reason } in remarks {
            match line {
                0 => note(&format!("  {key}: {reason}")),
                line => note(&format!("  {path}:{line}: {key}: {reason}")),
            }
        }
    };
    tell("Not carried:", left);
    tell("To fill in or look at:", fill_in);
    Ok(())
}
