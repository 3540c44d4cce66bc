//! One connection, at the daemon: requests out, answers in.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use rustls::pki_types::CertificateDer;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::hub::{Hub, Session, Socket};
use super::wire::{FromAgent, KNOWN_LIMIT, STRANGER_LIMIT, ToAgent, halves, write};
use crate::agent::{Answer, Request};
use crate::model::TargetName;

/// Requests that may wait for one host.
const WAITING: usize = 16;

const GOOD_BYE: Duration = Duration::from_secs(1);

/// A request on its way, and who waits for the answer.
pub(super) struct Asked {
    pub(super) request: Request,
    pub(super) reply: oneshot::Sender<Answer>,
}

/// Serves whoever showed `certificate`, while that counts.
pub(super) async fn session(
    hub: Arc<Hub>,
    (number, peer): (u64, SocketAddr),
    socket: Socket,
    certificate: CertificateDer<'static>,
    stop: CancellationToken,
) {
    let name = match hub.register().bearer(&certificate) {
        Ok(Some(name)) => name,
        Ok(None) => return tracing::warn!(%peer, "A certificate that does not count was refused: revoked, replaced or not ours."),
        Err(error) => return tracing::error!(%peer, %error, "The register of agents cannot be read."),
    };
    let (requests, asked) = mpsc::channel(WAITING);
    let session = Session { number, requests, certificate: certificate.clone(), stop: stop.clone() };
    // Of two connections of one agent the later one is served.
    if let Some(former) = hub.sessions().insert(name.clone(), session) {
        former.stop.cancel();
    }
    let _ = hub.register().seen(&name, true, Utc::now());
    tracing::info!(agent = %name, %peer, "An agent connected.");
    Box::pin(serve(&hub, &name, &certificate, socket, asked, &stop)).await;
    let mut sessions = hub.sessions();
    let is_last = sessions.get(&name).is_some_and(|last| last.number == number);
    if is_last {
        sessions.remove(&name);
    }
    drop(sessions);
    if is_last {
        let _ = hub.register().seen(&name, false, Utc::now());
    }
    tracing::info!(agent = %name, %peer, "The connection of an agent ended.");
}

async fn serve(
    hub: &Hub,
    name: &TargetName,
    certificate: &CertificateDer<'static>,
    socket: Socket,
    mut asked: mpsc::Receiver<Asked>,
    stop: &CancellationToken,
) {
    let (writing, mut reading) = halves(socket, KNOWN_LIMIT);
    let (outgoing, messages) = mpsc::channel(1);
    let writer = tokio::spawn(write(writing, messages));
    let mut waiting: BTreeMap<u64, oneshot::Sender<Answer>> = BTreeMap::new();
    let mut id = 0;
    loop {
        tokio::select! {
            Some(Asked { request, reply }) = asked.recv() => {
                id += 1;
                waiting.insert(id, reply);
                // Whoever asked is told by the end of its channel.
                if outgoing.send(ToAgent::Ask { id, request }).await.is_err() {
                    break;
                }
            }
            message = reading.next::<FromAgent>() => match message {
                Ok(Some(FromAgent::Answer { id, answer })) => {
                    if let Some(reply) = waiting.remove(&id) {
                        let _ = reply.send(answer);
                    }
                }
                Ok(Some(FromAgent::Renew { request })) => {
                    let renewed = hub.register().renew((name, certificate), &request, hub.authority(), Utc::now());
                    let answer = match renewed {
                        Ok(issued) => {
                            tracing::info!(agent = %name, until = %issued.until, "An agent's certificate was renewed.");
                            ToAgent::Certificate(issued.pem)
                        }
                        Err(error) => ToAgent::Refused(error.to_string()),
                    };
                    if outgoing.send(answer).await.is_err() {
                        break;
                    }
                }
                Ok(Some(FromAgent::Enrol { .. })) => break,
                Ok(None) => break,
                Err(error) => {
                    tracing::info!(agent = %name, %error, "The connection of an agent broke.");
                    break;
                }
            },
            () = stop.cancelled() => break,
        }
    }
    drop(outgoing);
    // It says good-bye, where anybody still listens.
    let _ = tokio::time::timeout(GOOD_BYE, writer).await;
}

/// Serves whoever has no certificate: it can show a token, once.
pub(super) async fn stranger(hub: &Hub, peer: SocketAddr, socket: Socket) {
    let (mut writing, mut reading) = halves(socket, STRANGER_LIMIT);
    let Ok(Some(FromAgent::Enrol { id, secret, request })) = reading.next::<FromAgent>().await else {
        return tracing::warn!(%peer, "Somebody without a certificate asked for more than to enrol, and was refused.");
    };
    let answer = match hub.register().redeem((&id, secret.expose()), &request, hub.authority(), Utc::now()) {
        Ok((name, issued)) => {
            tracing::info!(agent = %name, %peer, until = %issued.until, "An agent enrolled.");
            // Whoever had the name before is it no longer.
            if let Some(former) = hub.sessions().get(&name) {
                former.stop.cancel();
            }
            ToAgent::Certificate(issued.pem)
        }
        Err(error) => {
            tracing::warn!(%peer, %error, "An enrolment was refused.");
            ToAgent::Refused(match error {
                super::LinkError::Refused(why) => why,
                other => other.to_string(),
            })
        }
    };
    let _ = writing.send(&answer).await;
    writing.close().await;
}
