//! The provider for a target.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Provider, ProviderError, cloudflare, host};
use crate::link::Hub;
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
    /// How fast each token may be used: one for all environments.
    pub paces: cloudflare::Paces,
    /// Where agents are connected; `None` where they are not listened for.
    pub agents: Option<Arc<Hub>>,
    /// Which holder of the store this is: hosts refuse an earlier one.
    pub epoch: u64,
    /// Drift is put right, and not only reported.
    pub heals: bool,
    /// The daemon's data folder: where what is known of a host without a root of its own is kept.
    pub data: PathBuf,
    /// The ways to hosts: one for all environments.
    pub channels: host::Channels,
    /// The engine of Docker on this machine, where it is not Docker's own default.
    pub docker: Option<String>,
    /// What containers may ask for of all that gives them the host.
    pub containers: BTreeSet<String>,
}

/// For how long a target elsewhere may still carry out, or not yet show, a call whose answer never came. The write
/// patience once more: what we would have waited for is what a proxy on the way, or a connection that sends again, may hold
/// on to. An edge shows at once what it carried out; Cloudflare's lists follow within seconds.
const SETTLES_ELSEWHERE: Duration = Duration::from_secs(120);

/// A provider for `target`. No call is made yet.
///
/// # Errors
/// [`ProviderError`] where the token or the target's own settings are no good.
pub fn connect(target: &Target, options: Options) -> Result<Box<dyn Provider>, ProviderError> {
    let (endpoint, account_id, api_token, settle) = match &target.kind {
        TargetKind::Cloudflare(t) => (&t.endpoint, &t.account_id, &t.api_token, settles(&t.endpoint)),
        TargetKind::Edge(t) => (&t.endpoint, &t.account_id, &t.api_token, settles(&t.endpoint)),
        TargetKind::Host(t) => {
            let options = host::Options {
                target: t.clone(),
                environment: options.environment,
                secrets: options.secrets,
                agents: options.agents,
                epoch: options.epoch,
                heals: options.heals,
                state: options.data,
                channels: options.channels,
                docker: options.docker,
                containers: options.containers,
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
        paces: options.paces,
        patience: cloudflare::Patience::default(),
    })?;
    Ok(Box::new(provider))
}

/// What is called on loopback carries a call out at once or never: nothing lies between.
fn settles(endpoint: &str) -> Duration {
    if cloudflare::is_loopback(endpoint) { Duration::ZERO } else { SETTLES_ELSEWHERE }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EdgeTarget, ResourceName, SecretError};

    struct Token;

    impl SecretResolver for Token {
        fn resolve(&self, _: &ResourceName) -> Result<Secret, SecretError> {
            Ok(Secret::new(b"token".to_vec()))
        }

        fn mark(&self, name: &ResourceName) -> Result<String, SecretError> {
            Err(SecretError::NoIdentity(name.clone()))
        }
    }

    fn edge(endpoint: &str) -> Duration {
        let target = EdgeTarget {
            endpoint: endpoint.to_owned(),
            account_id: "0".repeat(32),
            api_token: ApiToken::Secret("token".parse().unwrap()),
        };
        // One for the whole process; whoever is first installs it.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let options = Options {
            environment: "production".parse().unwrap(),
            secrets: Arc::new(Token),
            credentials: None,
            client: reqwest::Client::new(),
            paces: cloudflare::Paces::default(),
            agents: None,
            epoch: 0,
            heals: true,
            data: PathBuf::new(),
            channels: host::Channels::default(),
            docker: None,
            containers: BTreeSet::new(),
        };
        let target = Target { region: None, labels: std::collections::BTreeMap::new(), kind: TargetKind::Edge(target) };
        connect(&target, options).unwrap().settle()
    }

    #[test]
    fn an_edge_elsewhere_settles_as_long_as_a_write_may_take_and_one_on_this_machine_not_at_all() {
        for here in ["http://127.0.0.1:8787/client/v4", "http://localhost:8787/client/v4", "http://[::1]:8787/client/v4"] {
            assert_eq!(edge(here), Duration::ZERO, "{here}");
        }
        let elsewhere = [
            "https://edge.fra.example.com/client/v4",
            "https://10.0.0.7/client/v4",
            "https://127.0.0.1.example.com/client/v4",
            "https://localhost.example.com/client/v4",
        ];
        for elsewhere in elsewhere {
            assert!(edge(elsewhere) >= cloudflare::Patience::default().write, "{elsewhere}");
        }
    }
}
