//! Crons: the handlers of Workers, called at the minute.
//!
//! Goes in: the live state and the clock. Comes out: calls of `scheduled()`, through the helper in the Workers' process.
//! Expressions are Cloudflare's: five fields, UTC, weekday 1 is Sunday. A minute that passed while the edge was down, or
//! between two processes, is not made up for.
//!
//! **Invariant:** each expression fires at most once a minute.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::record::State;
use super::runtime::Supervisor;
use super::runtime::config::service_name;
use super::runtime::events::{self, EventError};

/// Reads an expression; the error says what is wrong with it.
pub(super) fn parse(expression: &str) -> Result<cron::Schedule, String> {
    if expression.split_whitespace().count() != 5 {
        return Err(format!("`{expression}` is no cron expression of five fields"));
    }
    // The crate counts weekdays as Cloudflare does and wants seconds in front.
    cron::Schedule::from_str(&format!("0 {expression}"))
        .map_err(|_| format!("`{expression}` is no cron expression that this edge understands"))
}

/// Fires what is due at each minute, until the token is cancelled.
pub(super) async fn run(supervisor: Arc<Supervisor>, stop: CancellationToken) {
    let mut minute = minute_of(Utc::now());
    loop {
        minute += TimeDelta::minutes(1);
        // After a suspended machine wakes up, the minutes that passed are left out.
        minute = minute.max(minute_of(Utc::now()));
        tokio::select! {
            () = sleep_until(minute) => {}
            () = stop.cancelled() => return,
        }
        let due = due(&supervisor.state(), minute);
        for Due { script, service, cron } in due {
            let supervisor = Arc::clone(&supervisor);
            tokio::spawn(async move {
                if let Err(error) = fire(&supervisor, &script, &service, &cron, minute).await {
                    tracing::warn!(service, cron, error, "A cron did not run.");
                }
            });
        }
    }
}

/// One handler that is to be called.
struct Due {
    script: String,
    service: String,
    cron: String,
}

/// What is due at a minute.
fn due(state: &State, minute: DateTime<Utc>) -> Vec<Due> {
    let mut due = Vec::new();
    for script in state.scripts.values() {
        let Some(version) = script.principal() else { continue };
        let service = service_name(&script.name, version);
        let crons = script.schedules.iter().map(|schedule| &schedule.cron);
        for cron in crons.filter(|cron| parse(cron).is_ok_and(|schedule| schedule.includes(minute))) {
            due.push(Due { script: script.name.clone(), service: service.clone(), cron: cron.clone() });
        }
    }
    due
}

/// Calls one handler and waits for its end.
pub(super) async fn fire(
    supervisor: &Supervisor,
    script: &str,
    service: &str,
    cron: &str,
    time: DateTime<Utc>,
) -> Result<(), String> {
    let body = json!({ "binding": service, "cron": cron, "scheduledTime": time.timestamp_millis() });
    let outcome = events::call(supervisor, script, &body).await.map_err(EventError::said)?;
    match outcome["outcome"].as_str() {
        Some("ok") => Ok(()),
        outcome => Err(format!("its handler ended with `{}`", outcome.unwrap_or_default())),
    }
}

fn minute_of(time: DateTime<Utc>) -> DateTime<Utc> {
    time.duration_trunc(TimeDelta::minutes(1)).unwrap_or(time)
}

async fn sleep_until(time: DateTime<Utc>) {
    // The clock may be set while we sleep: look at it again now and then.
    while let Ok(left) = (time - Utc::now()).to_std() {
        tokio::time::sleep(left.min(Duration::from_secs(5)).max(Duration::from_millis(1))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn includes(expression: &str, time: &str) -> bool {
        parse(expression).unwrap().includes(time.parse::<DateTime<Utc>>().unwrap())
    }

    #[test]
    fn expressions_are_those_of_cloudflare() {
        // 2026-11-22 is a Sunday.
        assert!(includes("*/5 * * * *", "2026-11-23T10:15:00Z"));
        assert!(!includes("*/5 * * * *", "2026-11-23T10:16:00Z"));
        assert!(includes("0 8 * * 1", "2026-11-22T08:00:00Z"));
        assert!(!includes("0 8 * * 1", "2026-11-23T08:00:00Z"));
        assert!(includes("0 8 * * MON-FRI", "2026-11-23T08:00:00Z"));
        assert!(includes("30 4 1,15 * *", "2026-11-15T04:30:00Z"));
        assert!(includes("59 23 * JAN *", "2027-01-02T23:59:00Z"));
        for wrong in ["* * * *", "0 * * * * *", "60 * * * *", "* * * * 0", "@daily", ""] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
