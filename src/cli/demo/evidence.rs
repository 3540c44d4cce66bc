//! What the story's steps are checked by: the answer of a live Worker, a file, the daemon's own record.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::super::output::Failure;
use super::super::{status, workspace};
use crate::settings::Settings;

/// How long a step may take before the story says that it is not so.
const PATIENCE: Duration = Duration::from_secs(60);

/// The answer of the Worker behind `host` at `http`, for a GET of `/`.
pub(super) async fn answer(client: &reqwest::Client, http: SocketAddr, host: &str) -> Result<String, Failure> {
    let request = client.get(format!("http://{http}/")).header("host", host).timeout(Duration::from_secs(10));
    let response = request.send().await.map_err(|error| Failure::of(&error))?;
    let status = response.status();
    let text = response.text().await.map_err(|error| Failure::of(&error))?;
    if status.is_success() {
        Ok(text.trim().to_owned())
    } else {
        Err(Failure::new(format!("{host} answered {status}: {}", text.trim())))
    }
}

/// Asks the Worker until its answer holds `wanted`; the answer, and how long it took.
pub(super) async fn answer_with(
    client: &reqwest::Client,
    http: SocketAddr,
    host: &str,
    wanted: &str,
) -> Result<(String, Duration), Failure> {
    let begun = Instant::now();
    loop {
        let last = match answer(client, http, host).await {
            Ok(text) if text.contains(wanted) => return Ok((text, begun.elapsed())),
            other => other,
        };
        if begun.elapsed() > PATIENCE {
            let last = last.unwrap_or_else(|_| "no answer".to_owned());
            return Err(Failure::new(format!("{host} does not answer {wanted:?} after {PATIENCE:?}; its last answer: {last}")));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until every environment is ready at `commit`, and Git has the record of it; a line for each.
pub(super) async fn ready_at(settings: &Settings, commit: &str, environments: usize) -> Result<Vec<String>, Failure> {
    let begun = Instant::now();
    loop {
        if let Ok(store) = workspace::reader(settings) {
            let statuses = status::collect(&store, &[])?;
            let at = |s: &crate::status::EnvironmentStatus| {
                s.is_ready() && s.published && s.applied.as_ref().is_some_and(|r| r.commit == commit)
            };
            if statuses.len() == environments && statuses.iter().all(at) {
                return Ok(statuses.iter().map(|s| format!("{}: {}", s.environment, s.message)).collect());
            }
            if begun.elapsed() > PATIENCE {
                let lines: Vec<String> = statuses
                    .iter()
                    .map(|s| format!("{} is {} ({}): {}", s.environment, s.condition, s.reason, s.message))
                    .collect();
                return Err(Failure::new(format!(
                    "not every environment is ready at {commit:.7} after {PATIENCE:?}: {}",
                    lines.join("; ")
                )));
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
