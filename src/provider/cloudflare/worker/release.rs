//! How a version comes to its requests: all at once, or a share of them beside the version before it.
//!
//! Goes in: an order, the version, what is live. Comes out: a deployment that was accepted, or why not.
//!
//! **Invariant:** which share stands in the order. A version that is to be probed has no share until it answered; one that
//! did not answer leaves the version before it alone with all requests.

use std::time::Duration;

use http::Method;
use serde_json::json;

use crate::boundary;
use crate::model::{Probe, Retry, Spec, TRAFFIC, Value, traffic};
use crate::provider::{Outcome, ProviderError};

use super::super::carry_out::Expected;
use super::super::client::Payload;
use super::super::deployed::Active;
use super::super::fault::Fault;
use super::super::observe;
use super::super::path::with_query;
use super::Work;

/// How often a probe is tried, and how long is waited in between: a version is not everywhere at once.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);
const ANSWER: Duration = Duration::from_secs(10);

/// Why a version did not come to its requests.
pub(super) enum Unreleased {
    /// The first deployment was refused, and nothing happened.
    Refused(Fault),
    /// The order ends with this.
    Ended(Outcome),
}

impl Work<'_> {
    /// Whether the order begins a rollout: its version is at nothing.
    pub(super) fn begins_rollout(&self) -> bool {
        self.before.get(TRAFFIC) == Some(&Value::Integer(0))
    }

    /// Gives the uploaded `version` what the order says.
    pub(super) async fn release(&mut self, version: &str, active: Option<&Active>) -> Result<(), Unreleased> {
        let Some(former) = active.map(Active::principal).filter(|_| self.begins_rollout()) else {
            return self.deploy(&[(version, 100)], false).await.map_err(|fault| self.unreleased(fault));
        };
        let probe = match &self.order.spec {
            Some(Spec::Worker(worker)) => worker.rollout.as_ref().and_then(|rollout| rollout.probe.as_ref()),
            _ => None,
        };
        if let Some(probe) = probe {
            let staged = self.deploy(&[(former, 100), (version, 0)], false).await;
            staged.map_err(|fault| self.unreleased(fault))?;
            if let Err(unanswered) = self.probe(probe, version).await {
                let alone = self.deploy(&[(former, 100)], true).await;
                return Err(Unreleased::Ended(match alone {
                    Ok(()) => Outcome::Refused(unanswered),
                    Err(fault) => Outcome::Unknown(fault.error.hint(unanswered.message)),
                }));
            }
        }
        let share = traffic(&self.after);
        let shares = [(version, share), (former, 100 - share)];
        let deployed = self.deploy(if share == 100 { &shares[..1] } else { &shares }, false).await;
        deployed.map_err(|fault| self.unreleased(fault))
    }

    /// Before anything was deployed a certain refusal is one; after that it ends the order.
    fn unreleased(&self, fault: Fault) -> Unreleased {
        if fault.certain && fault.status != Some(429) {
            return Unreleased::Refused(fault);
        }
        Unreleased::Ended(self.writer.failed(fault))
    }

    /// Gives a version that has a share another one, or all requests.
    pub(super) async fn promote(&mut self, active: Option<&Active>) -> Result<Expected, Outcome> {
        let share = traffic(&self.after);
        let (Some(active), Some(split)) = (active, active.and_then(|active| active.split.as_ref())) else {
            return Err(Outcome::Conflict(format!("Worker `{}` is not rolled out any more", self.script)));
        };
        let shares = [(active.version.as_str(), share), (split.former.id.as_str(), 100 - share)];
        // Both have requests already: the API's caution about secrets of older versions has nothing to protect.
        let deployed = self.deploy(if share == 100 { &shares[..1] } else { &shares }, true).await;
        deployed.map_err(|fault| self.writer.failed(fault))?;
        Ok(Expected::Version(Some(active.version.clone())))
    }

    /// Gives all requests back to the version before, where that is what is desired now: nothing is uploaded.
    pub(super) async fn bring_back(&mut self, active: Option<&Active>) -> Result<Option<Expected>, Outcome> {
        let Some(split) = active.and_then(|active| active.split.as_ref()) else { return Ok(None) };
        let marker = observe::marker(&split.former);
        let is_desired = marker.is_some_and(|m| m.desired == self.order.marker.desired && m.key == self.order.marker.key);
        if !is_desired || !self.is_comparable() {
            return Ok(None);
        }
        // It has requests already, with the secrets that its digest stands for.
        self.deploy(&[(&split.former.id, 100)], true).await.map_err(|fault| self.writer.failed(fault))?;
        Ok(Some(Expected::Version(Some(split.former.id.clone()))))
    }

    pub(super) async fn deploy(&mut self, shares: &[(&str, u8)], force: bool) -> Result<(), Fault> {
        let versions: Vec<_> =
            shares.iter().map(|(version, share)| json!({ "version_id": version, "percentage": share })).collect();
        // A deployment has no tag of its own in the API's types; its message names the operation as well.
        let body = json!({
            "strategy": "percentage",
            "versions": versions,
            "annotations": { "workers/message": self.order.marker.whole() },
        });
        let path = self.path(&["deployments"]);
        let path = if force { with_query(&path, &[("force", "true")]) } else { path };
        self.writer.try_write(Method::POST, &path, Payload::Json(body), &[]).await?;
        boundary::reach("after_deployment");
        Ok(())
    }

    /// Asks the version, which has no requests yet, for one answer.
    async fn probe(&self, probe: &Probe, version: &str) -> Result<(), ProviderError> {
        let Probe { url, status, host } = probe;
        let (mut seen, mut retry) = (String::new(), Retry::Stalled);
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            let mut request = self.provider.http.get(url).timeout(ANSWER);
            request = request.header("cloudflare-workers-version-overrides", format!("{}=\"{version}\"", self.script));
            if let Some(host) = host {
                request = request.header("host", host);
            }
            match request.send().await {
                Ok(answer) if answer.status().as_u16() == *status => return Ok(()),
                // What it says may be meant for others than those who read our status.
                Ok(answer) => (seen, retry) = (format!("answered {}, not {status}", answer.status().as_u16()), Retry::Stalled),
                Err(error) if error.is_timeout() => (seen, retry) = ("did not answer in time".to_owned(), Retry::Transient),
                Err(_) => (seen, retry) = ("could not be reached".to_owned(), Retry::Transient),
            }
        }
        let message = format!("the new version {version} of Worker `{}` gets no requests: its probe {url} {seen}", self.script);
        let hint = "mend it by a commit; the version before it has all requests";
        Err(ProviderError::new(message, retry).hint(hint))
    }
}
