//! `secrets keygen | set | list`.

use std::io::{IsTerminal, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use toml_edit::DocumentMut;

use super::arguments::{Global, Output, SecretsVerb};
use super::output::{Failure, note, show, show_json};
use super::{ERROR, OK, workspace};
use crate::model::{EnvironmentId, ResourceName, Secret, SecretScope};
use crate::secrets::{self, Identities, MAX_VALUE_BYTES, Opener, Recipient, SecretsError};

pub(super) fn secrets(global: &Global, verb: &SecretsVerb) -> Result<u8, Failure> {
    match verb {
        SecretsVerb::Keygen { file } => keygen(file),
        SecretsVerb::Set { environment, name, folder, recipient, keep_newline } => {
            let recipients = recipients(global, recipient)?;
            let scope = SecretScope { environment: environment.clone(), name: name.clone() };
            // Before anybody types a value for it.
            place(folder, &scope)?;
            let value = read_value(*keep_newline)?;
            let path = store(folder, &scope, &recipients, &value)?;
            note(&format!("secret.{name} of {environment} is set in {}; commit it", path.display()));
            ensure_digest_key(folder, environment, &recipients)?;
            Ok(OK)
        }
        SecretsVerb::List { environments, folder, output } => list(global, folder, environments, *output),
    }
}

fn failure(error: &SecretsError) -> Failure {
    Failure::of(error).hint(error.hint())
}

fn keygen(file: &Path) -> Result<u8, Failure> {
    let (identity, recipient) = Identities::generate();
    let mut out = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::AlreadyExists => "an identity is never overwritten: name a new file",
            std::io::ErrorKind::NotFound => "make its folder first",
            _ => "name a file in a folder that you can write to",
        };
        Failure::new(format!("{} cannot be made: {error}", file.display())).hint(Some(hint.to_owned()))
    })?;
    out.write_all(identity.expose())?;
    out.sync_all()?;
    note(&format!("the identity is in {}; keep a copy offline: without it the secrets are lost", file.display()));
    show(&recipient.to_string())?;
    Ok(OK)
}

fn recipients(global: &Global, named: &[String]) -> Result<Vec<Recipient>, Failure> {
    if !named.is_empty() {
        return named.iter().map(|text| text.parse::<Recipient>().map_err(|error| failure(&error))).collect();
    }
    let settings = workspace::settings(global)?;
    match Identities::load(settings.identity.as_deref()).map_err(|error| failure(&error))? {
        Some(identities) => Ok(identities.recipients()),
        None => Err(Failure::new("nobody is named who may decrypt the value").hint(Some(
            "name the daemon's recipient with `--recipient age1…`, or its identity with `--identity FILE`; `trunkline secrets keygen FILE` makes one".to_owned(),
        ))),
    }
}

/// The value, from standard input: never an argument, which other processes can read.
fn read_value(keep_newline: bool) -> Result<Secret, Failure> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        note("type or paste the value, then press Ctrl-D (it is shown as you type; pipe it in to avoid that)");
    }
    let mut value = Vec::new();
    stdin.lock().take(MAX_VALUE_BYTES as u64 + 1).read_to_end(&mut value)?;
    if !keep_newline {
        if value.last() == Some(&b'\n') {
            value.pop();
        }
        if value.last() == Some(&b'\r') {
            value.pop();
        }
    }
    Ok(Secret::new(value))
}

/// Seals the value and writes it where the secret stands, or where new ones go.
pub(super) fn store(folder: &Path, scope: &SecretScope, recipients: &[Recipient], value: &Secret) -> Result<PathBuf, Failure> {
    let armored = secrets::seal(recipients, scope, value).map_err(|error| failure(&error))?;
    let path = place(folder, scope)?;
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Failure::new(format!("{} cannot be read: {error}", path.display()))),
    };
    let text = secrets::set(&text, scope, &armored).map_err(|error| failure(&error))?;
    std::fs::write(&path, text).map_err(|error| Failure::new(format!("{} cannot be written: {error}", path.display())))?;
    Ok(path)
}

/// The files of an environment: those of its folder, or its one file.
fn files(folder: &Path, environment: &EnvironmentId) -> Result<(PathBuf, Vec<PathBuf>), Failure> {
    let base = if environment.tenant.is_default() {
        folder.to_owned()
    } else {
        folder.join("tenants").join(environment.tenant.as_str())
    };
    let own = base.join("environments").join(environment.environment.as_str());
    if own.is_dir() {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&own)? {
            files.push(entry?.path());
        }
        files.retain(|path| path.extension().is_some_and(|e| e == "toml"));
        files.sort();
        return Ok((own.join("secrets.toml"), files));
    }
    let file = base.join("environments").join(format!("{}.toml", environment.environment));
    if !file.is_file() {
        return Err(Failure::new(format!("{} does not define the environment {environment}", folder.display()))
            .hint(Some(format!("make {} first, or name the folder of definitions with `--folder`", file.display()))));
    }
    Ok((file.clone(), vec![file]))
}

/// The file that holds the secret, or the one for new secrets.
fn place(folder: &Path, scope: &SecretScope) -> Result<PathBuf, Failure> {
    let (new, files) = files(folder, &scope.environment)?;
    let holds = |path: &PathBuf| {
        let document = std::fs::read_to_string(path).ok().and_then(|text| text.parse::<DocumentMut>().ok());
        document.is_some_and(|d| d.get("secret").and_then(|s| s.get(scope.name.as_str())).is_some())
    };
    Ok(files.into_iter().find(holds).unwrap_or(new))
}

/// Makes the environment's digest key where its definitions name one that is not there yet.
fn ensure_digest_key(folder: &Path, environment: &EnvironmentId, recipients: &[Recipient]) -> Result<(), Failure> {
    let Some(name) = digest_key(folder, environment)? else {
        note(&format!(
            "the environment {environment} names no digest key: changes of secrets cannot be told. Add to its [environment] table: digest_key = {{ secret = \"digest-key\" }}"
        ));
        return Ok(());
    };
    let scope = SecretScope { environment: environment.clone(), name: name.clone() };
    let (_, files) = files(folder, environment)?;
    let path = place(folder, &scope)?;
    let there = files.contains(&path)
        && std::fs::read_to_string(&path)?
            .parse::<DocumentMut>()
            .ok()
            .is_some_and(|d| d.get("secret").and_then(|s| s.get(name.as_str())).is_some());
    if !there {
        let path = store(folder, &scope, recipients, &random())?;
        note(&format!("secret.{name}, the digest key of {environment}, is made in {}", path.display()));
    }
    Ok(())
}

/// The name in `[environment] digest_key = { secret = "…" }`, in the environment's files or in a base.
fn digest_key(folder: &Path, environment: &EnvironmentId) -> Result<Option<ResourceName>, Failure> {
    let (_, mut candidates) = files(folder, environment)?;
    let mut folders = vec![folder.join("bases")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { folders.push(path) } else { candidates.push(path) }
        }
    }
    for path in candidates {
        let document = std::fs::read_to_string(&path).ok().and_then(|text| text.parse::<DocumentMut>().ok());
        let name = document.as_ref().and_then(|d| d.get("environment")?.get("digest_key")?.get("secret")?.as_str());
        if let Some(name) = name.and_then(|name| name.parse().ok()) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// 32 random bytes as hex: a generated identity is made of the system's randomness.
pub(super) fn random() -> Secret {
    let (identity, _) = Identities::generate();
    Secret::new(crate::model::Digest::of(identity.expose()).to_string().into_bytes())
}

/// What a secret is for, so that nobody takes one away that is needed.
fn uses(listed: &secrets::Listed) -> String {
    let mut uses: Vec<String> = listed.used_by.iter().map(|key| format!("{}@{}", key.address.local(), key.target)).collect();
    uses.extend(listed.token_of.iter().map(|target| format!("token of {target}")));
    if listed.digest_key {
        uses.push("digest key".to_owned());
    }
    if uses.is_empty() { "not used".to_owned() } else { uses.join(", ") }
}

fn list(global: &Global, folder: &Path, only: &[EnvironmentId], output: Output) -> Result<u8, Failure> {
    let workspace = workspace::resolve(folder, only)?;
    if workspace.has_errors() {
        note(&workspace.render(global.colour()));
        return Err(Failure::new("the definitions have faults"));
    }
    let settings = workspace::settings(global)?;
    let identities = Identities::load(settings.identity.as_deref()).map_err(|error| failure(&error))?.map(Arc::new);
    let mut status = OK;
    let mut rows = Vec::new();
    for (environment, resolution) in &workspace.environments {
        let Some(bundle) = &resolution.bundle else { continue };
        let opener = Opener::new(identities.clone(), &bundle.desired);
        for listed in secrets::list(&bundle.desired) {
            let fault = identities.as_ref().and_then(|_| opener.open_all(&[listed.name.clone()].into()).into_iter().next());
            if fault.is_some() {
                status = ERROR;
            }
            let opens = match (&identities, &fault) {
                (None, _) => "not tried (no identity)".to_owned(),
                (Some(_), None) => "opens".to_owned(),
                (Some(_), Some(fault)) => fault.to_string(),
            };
            rows.push((environment.clone(), listed, opens));
        }
    }
    match output {
        Output::Json => {
            let rows: Vec<_> =
                rows.iter().map(|(id, listed, opens)| json!({ "environment": id, "secret": listed, "state": opens })).collect();
            show_json(&json!({ "version": 1, "secrets": rows }))?;
        }
        Output::Text => {
            for (environment, listed, opens) in rows {
                show(&format!("{environment}/secret.{}: {opens}; {}", listed.name, uses(&listed)))?;
            }
        }
    }
    Ok(status)
}
