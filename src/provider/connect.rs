//! The provider for a target.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Provider, ProviderError, cloudflare, host};
use crate::model::{ApiToken, EnvironmentId, Retry, Secret, SecretResolver, Target, TargetKind};

/// What every provider of an environment is given.
#[derive(Clone)]
pub struct Options {
    /// For whom.
    pub environment: EnvironmentId,
    /// Opens the environment's secrets.
    pub secrets: Arc<dyn SecretResolver>,
    /// The folder of the daemon's credentials by name.
    pub credentials: Option<PathBuf>,
    /// The HTTP client that providers share.
    pub client: reqwest::Client,
    /// The daemon's data folder: where what is known of a host without a root of its own is kept.
    pub data: PathBuf,
}

/// For how long Cloudflare may still carry out, or not yet show, a call whose answer never came.
const CLOUDFLARE_SETTLES: Duration = Duration::from_secs(120);

/// How many calls to one target are under way at once.
const CONCURRENCY: usize = 16;

/// A provider for `target`. No call is made yet.
///
/// # Errors
/// [`ProviderError`] where the token or the target's own settings are no good.
pub fn connect(target: &Target, options: Options) -> Result<Box<dyn Provider>, ProviderError> {
    let (endpoint, account_id, api_token, settle) = match &target.kind {
        TargetKind::Cloudflare(t) => (&t.endpoint, &t.account_id, &t.api_token, settles(&t.endpoint)),
        TargetKind::Edge(t) => (&t.endpoint, &t.account_id, &t.api_token, Duration::ZERO),
        TargetKind::Host(t) => {
            let options = host::Options {
                target: t.clone(),
                environment: options.environment,
                secrets: options.secrets,
                state: options.data,
            };
            return Ok(Box::new(host::connect(options)?));
        }
    };
    let provider = cloudflare::connect(cloudflare::Options {
        endpoint: endpoint.clone(),
        account_id: account_id.clone(),
        token: token(api_token, &options)?,
        settle,
        secrets: options.secrets,
        client: Some(options.client),
        concurrency: CONCURRENCY,
        patience: cloudflare::Patience::default(),
    })?;
    Ok(Box::new(provider))
}

/// A stand-in on loopback carries a call out at once or never.
fn settles(endpoint: &str) -> Duration {
    let loopback = ["http://127.0.0.1:", "http://localhost:", "http://[::1]:"];
    if loopback.iter().any(|prefix| endpoint.starts_with(prefix)) { Duration::ZERO } else { CLOUDFLARE_SETTLES }
}

fn token(api_token: &ApiToken, options: &Options) -> Result<Secret, ProviderError> {
    match api_token {
        ApiToken::Secret(name) => options
            .secrets
            .resolve(name)
            .map_err(|error| ProviderError::new("the API token cannot be opened", Retry::Stalled).source(error)),
        ApiToken::Credential(name) => {
            let folder = options.credentials.as_ref().ok_or_else(|| {
                ProviderError::new(
                    format!("the API token is the credential `{name}`, and there is no credentials folder"),
                    Retry::Stalled,
                )
                .hint("set CREDENTIALS_DIRECTORY, as systemd does for LoadCredential=")
            })?;
            let path = folder.join(name.as_str());
            let bytes = std::fs::read(&path).map_err(|error| {
                ProviderError::new(format!("the credential {} cannot be read", path.display()), Retry::Stalled).source(error)
            })?;
            Ok(Secret::new(bytes.trim_ascii().to_vec()))
        }
    }
}
