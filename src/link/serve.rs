//! The agent's end: connect, carry out what is asked within the host's policy, renew, and connect again for as long as it runs.

use std::path::Path;
use std::time::Duration;

use chrono::Utc;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::authority::{AGENT_LIFE, request};
use super::dial::dial;
use super::keep::Keep;
use super::wire::{FromAgent, KNOWN_LIMIT, ToAgent, halves, write};
use super::{Home, LinkError};
use crate::agent::{Payload, Policy};
use crate::model::Secret;

/// The pause after a connection that failed; doubled up to the longest.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// How often the age of the certificate is looked at.
const LOOK: Duration = Duration::from_secs(30);

/// What the agent tells of itself.
#[derive(Debug)]
pub enum Heard<'a> {
    /// It is connected.
    Connected(&'a Home),
    /// The connection ended, or was not made; another is tried after the time.
    Away(&'a LinkError, Duration),
    /// So much was put right while the daemon is away.
    Healed(usize),
    /// There is a new certificate.
    Renewed(&'a Home),
}

/// Serves until `stop`.
///
/// # Errors
/// [`LinkError`] where trying again cannot help: this host never enrolled, or its certificate ran out.
pub async fn serve(
    data: &Path,
    (policy, heal_after): (&Policy, Duration),
    stop: &CancellationToken,
    told: impl Fn(Heard<'_>) + Send + Sync,
) -> Result<(), LinkError> {
    let keep = Keep::at(data);
    let mut pause = SHORTEST;
    let mut away = Instant::now();
    while !stop.is_cancelled() {
        let mut home = Home::open(data)?;
        let ended = match Box::pin(dial(&home)).await {
            Ok(socket) => {
                told(Heard::Connected(&home));
                pause = SHORTEST;
                let ended = Box::pin(connection((data, &mut home), (policy, &keep), socket, stop, &told)).await;
                away = Instant::now();
                ended
            }
            Err(error) => Err(error),
        };
        match ended {
            // Renewed, or told to stop: at once.
            Ok(()) => {}
            Err(
                error @ (LinkError::RanOut(_) | LinkError::NotEnrolled(_) | LinkError::File { .. } | LinkError::Damaged { .. }),
            ) => return Err(error),
            Err(error) => {
                told(Heard::Away(&error, pause));
                if away.elapsed() >= heal_after {
                    let (keep, policy) = (keep.clone(), policy.clone());
                    // It blocks as every executor does; one that panics is no reason to stay away.
                    if let Ok(healed @ 1..) = tokio::task::spawn_blocking(move || keep.heal(&policy)).await {
                        told(Heard::Healed(healed));
                    }
                }
                pause = pause.min(heal_after);
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = stop.cancelled() => {}
                }
                pause = (pause * 2).min(LONGEST);
            }
        }
    }
    Ok(())
}

type Socket = tokio_tungstenite::WebSocketStream<tokio_rustls::client::TlsStream<tokio::net::TcpStream>>;

/// Serves one connection. `Ok` where another is to follow at once, with a new certificate.
async fn connection(
    (data, home): (&Path, &mut Home),
    (policy, keep): (&Policy, &Keep),
    socket: Socket,
    stop: &CancellationToken,
    told: &(impl Fn(Heard<'_>) + Send + Sync),
) -> Result<(), LinkError> {
    let (writing, mut reading) = halves(socket, KNOWN_LIMIT);
    let (outgoing, messages) = mpsc::channel(1);
    let mut writer = tokio::spawn(write(writing, messages));
    let mut running = JoinSet::new();
    let mut looking = tokio::time::interval(LOOK);
    let mut asked = None;
    let mut renewed = false;
    let ended = loop {
        if renewed && running.is_empty() {
            break Ok(());
        }
        tokio::select! {
            message = reading.next::<ToAgent>() => match message {
                Ok(Some(ToAgent::Ask { id, request })) => {
                    let (policy, keep) = (policy.clone(), keep.clone());
                    running.spawn_blocking(move || (id, keep.execute(request, &policy)));
                }
                Ok(Some(ToAgent::Certificate(certificate))) => {
                    let Some(key) = asked.take() else { continue };
                    (home.certificate, home.key, home.until) = (certificate, key, Utc::now() + AGENT_LIFE);
                    home.save(data)?;
                    told(Heard::Renewed(home));
                    renewed = true;
                }
                Ok(Some(ToAgent::Refused(why))) => break Err(LinkError::Refused(why)),
                Ok(None) => break Err(LinkError::Broken("the daemon ended it".into())),
                Err(error) => break Err(error),
            },
            Some(done) = running.join_next(), if !running.is_empty() => {
                let Ok((id, answer)) = done else {
                    // Which request it was is not known any more: the end of the connection tells the daemon.
                    break Err(LinkError::Broken("the executor stopped in the middle".into()));
                };
                if outgoing.send(FromAgent::Answer { id, answer }).await.is_err() {
                    break Err(LinkError::Broken("the answer could not be sent".into()));
                }
            }
            _ = looking.tick() => {
                if asked.is_none() && !renewed && Utc::now() > home.until - AGENT_LIFE / 2 {
                    let (key, request) = request()?;
                    asked = Some(Payload::new(Secret::new(key.serialize_pem().into_bytes())));
                    if outgoing.send(FromAgent::Renew { request }).await.is_err() {
                        break Err(LinkError::Broken("a new certificate could not be asked for".into()));
                    }
                }
            }
            _ = &mut writer => break Err(LinkError::Broken("nothing can be sent any more".into())),
            () = stop.cancelled() => break Ok(()),
        }
    };
    // What is in hand is finished: its outcome is in the manifest, where the next look finds it.
    while running.join_next().await.is_some() {}
    writer.abort();
    ended
}
