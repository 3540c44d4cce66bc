//! `import cloudflare`: a live account, or an edge, as definitions.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use globset::{GlobBuilder, GlobMatcher};

use super::arguments::Output;
use super::import::{refuse_to_overwrite, report, root, wanted, write};
use super::output::{Failure, note};
use super::{ERROR, OK};
use crate::import::{self, Account};
use crate::model::{EnvironmentName, Kind, ResourceName, Secret, TargetKind};
use crate::provider::ProviderError;
use crate::provider::cloudflare::{self, Survey};

/// Cloudflare's own API.
const CLOUDFLARE: &str = "https://api.cloudflare.com/client/v4";

/// The account of an edge whose definition names none.
const OF_AN_EDGE: &str = "00000000000000000000000000000000";

/// No token is longer.
const TOKEN_LIMIT: u64 = 4096;

/// What is asked of an account.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  trunkline import cloudflare --account 0123456789abcdef0123456789abcdef --token-file token --environment production
  trunkline import cloudflare --endpoint http://127.0.0.1:8787/client/v4 --token-file token --environment staging
  trunkline import cloudflare --account … --token-file token --environment production --only worker,kv --filter 'ads-*'

Nothing of the account is changed. Every thing keeps its name and gets `adopt = true`: the first apply takes it over as it
is, and the plan before shows nothing but that. Secrets cannot be read: those of Workers stay as they are.

Exit status: 0 something was carried, whatever is listed as not carried; 1 nothing was.")]
pub(super) struct Asked {
    /// The account's id, 32 hex digits; an edge needs none
    #[arg(long, value_name = "ID", required_unless_present = "endpoint")]
    account: Option<String>,
    /// The API's address, where it is not Cloudflare's own; without --account it is an edge's
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// The file with the API token; one that may read is enough
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The credential that holds the token: read from $CREDENTIALS_DIRECTORY where no --token-file is given, and named in the
    /// definitions
    #[arg(long, default_value = "cloudflare-token", value_name = "NAME")]
    credential: ResourceName,
    /// The environment that it becomes
    #[arg(long, value_name = "NAME")]
    environment: EnvironmentName,
    /// The root of the repository of definitions
    #[arg(long, default_value = ".", value_name = "DIR")]
    out: PathBuf,
    /// Only these kinds, such as `worker,kv`
    #[arg(long, value_delimiter = ',', value_name = "KIND")]
    only: Vec<String>,
    /// Only things whose name at the account matches this pattern, such as `ads-*`
    #[arg(long, value_name = "GLOB")]
    filter: Option<String>,
    /// Write into an environment that is there, and overwrite its files
    #[arg(long)]
    force: bool,
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    output: Output,
}

/// Reads the account and writes definitions.
pub(super) async fn import(asked: &Asked) -> Result<u8, Failure> {
    let mut kinds = kinds(&asked.only)?;
    if asked.account.is_none() {
        kinds.retain(|kind| TargetKind::edge_takes(*kind));
    }
    let filter = asked.filter.as_deref().map(glob).transpose()?;
    let root = root(&asked.out)?;
    let folder = format!("environments/{}", asked.environment);
    if !asked.force {
        refuse_environment(&root, &folder)?;
    }
    let token = token(asked)?;
    let takes = |_: Kind, name: &str| filter.as_ref().is_none_or(|filter| filter.is_match(name));
    let survey = cloudflare::survey(cloudflare::Asked {
        endpoint: asked.endpoint.clone().unwrap_or_else(|| CLOUDFLARE.to_owned()),
        account_id: asked.account.clone().unwrap_or_else(|| OF_AN_EDGE.to_owned()),
        token,
        kinds,
        takes: &takes,
    });
    let survey: Survey = Box::pin(survey).await.map_err(|error: ProviderError| {
        let hint = error.hint.clone();
        Failure::of(&error).hint(hint)
    })?;
    let shown = match (&asked.account, &asked.endpoint) {
        (Some(account), _) => format!("account {account}"),
        (None, endpoint) => format!("the edge at {}", endpoint.as_deref().unwrap_or_default()),
    };
    let account = Account {
        shown: &shown,
        account_id: asked.account.as_deref(),
        endpoint: asked.endpoint.as_deref(),
        credential: asked.credential.as_str(),
        environment: asked.environment.clone(),
        is_repository: root.join("trunkline.toml").exists(),
    };
    let imported = import::cloudflare(&account, &survey);
    if imported.is_empty() {
        report(&imported, &[], asked.output)?;
        note("Nothing was found that could be carried, and nothing was written.");
        return Ok(ERROR);
    }
    let files = wanted(&root, &imported)?;
    let paths = files.iter().map(|file| file.path.as_str());
    if !asked.force {
        refuse_to_overwrite(&root, paths.chain(imported.sources.iter().map(|source| source.path.as_str())))?;
    }
    for source in &imported.sources {
        write(&root, &source.path, &source.content)?;
    }
    for file in &files {
        write(&root, &file.path, file.text.as_bytes())?;
    }
    report(&imported, &files, asked.output)?;
    if asked.output == Output::Text {
        note("Everything is written with `adopt = true`: the first apply takes it over as it is. Next: `trunkline check`, then");
        note("`trunkline plan --worktree`, which shows nothing but what is adopted.");
    }
    Ok(OK)
}

/// The kinds of the words, all where there are none.
fn kinds(words: &[String]) -> Result<BTreeSet<Kind>, Failure> {
    let known = import::kinds();
    if words.is_empty() {
        return Ok(known.into_values().flatten().collect());
    }
    let mut kinds = BTreeSet::new();
    for word in words {
        let found = known.get(word.as_str()).ok_or_else(|| {
            let names: Vec<&str> = known.keys().copied().collect();
            let hint = crate::document::did_you_mean(word, names.iter().copied());
            let hint = hint.unwrap_or_else(|| format!("kinds are {}", names.join(", ")));
            Failure::new(format!("there is no kind `{}` that can be imported", crate::document::shown(word))).hint(Some(hint))
        })?;
        kinds.extend(found);
    }
    Ok(kinds)
}

fn glob(pattern: &str) -> Result<GlobMatcher, Failure> {
    let glob = GlobBuilder::new(pattern).build();
    let glob = glob.map_err(|error| Failure::new(format!("`{pattern}` is no pattern: {}", error.kind())))?;
    Ok(glob.compile_matcher())
}

/// An environment that is there is somebody's work.
fn refuse_environment(root: &Path, folder: &str) -> Result<(), Failure> {
    let file = format!("{folder}.toml");
    let has_entries = std::fs::read_dir(root.join(folder)).is_ok_and(|mut entries| entries.next().is_some());
    let there = if has_entries { folder } else { file.as_str() };
    if !has_entries && root.join(&file).symlink_metadata().is_err() {
        return Ok(());
    }
    let hint = "nothing was written; name another environment or another folder with `--out`, or write into it with `--force`";
    Err(Failure::new(format!("there already is {there}")).hint(Some(hint.to_owned())))
}

fn token(asked: &Asked) -> Result<Secret, Failure> {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let path = match (&asked.token_file, credentials) {
        (Some(file), _) => file.clone(),
        (None, Some(folder)) => folder.join(asked.credential.as_str()),
        (None, None) => {
            let hint = "name the file that holds it with `--token-file`; a token that may read is enough".to_owned();
            return Err(Failure::new("there is no API token").hint(Some(hint)));
        }
    };
    let cannot = |error: std::io::Error| Failure::new(format!("the API token in {} cannot be read: {error}", path.display()));
    if std::fs::metadata(&path).map_err(cannot)?.len() > TOKEN_LIMIT {
        return Err(Failure::new(format!("{} is no API token: it has more than {TOKEN_LIMIT} bytes", path.display())));
    }
    let bytes = zeroize::Zeroizing::new(std::fs::read(&path).map_err(cannot)?);
    Ok(Secret::new(bytes.trim_ascii().to_vec()))
}
