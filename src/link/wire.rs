//! What travels on a connection: messages, in pieces, so that a long one keeps nobody's memory or heartbeat waiting.
//!
//! A message is JSON. It is cut into pieces of at most 256 KiB, each a binary message of the WebSocket that begins with one
//! byte: 1 where another piece follows, 0 in the last. Bytes of files are in it as the executor's protocol has them.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use zeroize::Zeroizing;

use super::LinkError;
use crate::agent::{Answer, Payload, Request};

/// The path that agents ask for.
pub(super) const PATH: &str = "/trunkline/agent";
/// The most bytes of one message.
const LIMIT: usize = 256 * 1024 * 1024;
/// The most bytes that somebody may send who has not shown who he is.
pub(super) const STRANGER_LIMIT: usize = 16 * 1024;
const PIECE: usize = 256 * 1024;
/// How often each side shows that it is there.
const HEARTBEAT: Duration = Duration::from_secs(20);
/// Without any sign for so long, the connection is over.
const SILENCE: Duration = Duration::from_secs(60);

/// What the daemon says.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ToAgent {
    /// A request for the executor.
    Ask {
        /// What its answer names.
        id: u64,
        /// The request.
        request: Request,
    },
    /// The certificate that was asked for, PEM.
    Certificate(String),
    /// Why what was asked for is not given.
    Refused(String),
}

/// What the agent says.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FromAgent {
    /// A first certificate, please.
    Enrol {
        /// The token's id.
        id: String,
        /// The token's secret.
        secret: Payload,
        /// The request, PEM.
        request: String,
    },
    /// A new certificate, please.
    Renew {
        /// The request, PEM.
        request: String,
    },
    /// The executor's answer.
    Answer {
        /// The request's id.
        id: u64,
        /// The answer.
        answer: Answer,
    },
}

/// How much a side takes.
pub(super) fn config(limit: usize) -> WebSocketConfig {
    let most = limit.min(PIECE + 1);
    WebSocketConfig::default().read_buffer_size(8 * 1024).max_message_size(Some(most)).max_frame_size(Some(most))
}

/// The half that is written to.
pub(super) struct Writing<S>(SplitSink<WebSocketStream<S>, Message>);

/// The half that is read from.
pub(super) struct Reading<S> {
    stream: SplitStream<WebSocketStream<S>>,
    heard: Instant,
    gathered: Zeroizing<Vec<u8>>,
    limit: usize,
}

/// Both halves of a connection, of whose messages none is longer than `limit`.
pub(super) fn halves<S: AsyncRead + AsyncWrite + Unpin>(stream: WebSocketStream<S>, limit: usize) -> (Writing<S>, Reading<S>) {
    let (sink, stream) = stream.split();
    (Writing(sink), Reading { stream, heard: Instant::now(), gathered: Zeroizing::new(Vec::new()), limit })
}

/// The limit for who has shown who he is.
pub(super) const KNOWN_LIMIT: usize = LIMIT;

/// The most bytes of a request or an answer, without what is said around it.
pub const MAX_REQUEST_BYTES: usize = LIMIT - 1024;

impl<S: AsyncRead + AsyncWrite + Unpin> Writing<S> {
    /// Sends a message as a whole.
    pub(super) async fn send(&mut self, message: &impl Serialize) -> Result<(), LinkError> {
        let bytes = serde_json::to_vec(message).map_err(|error| LinkError::Broken(error.to_string()))?;
        let bytes = Zeroizing::new(bytes);
        if bytes.len() > LIMIT {
            return Err(LinkError::Broken(format!(
                "a message of {} bytes is more than the {LIMIT} that a connection takes",
                bytes.len()
            )));
        }
        let mut pieces = bytes.chunks(PIECE).peekable();
        while let Some(piece) = pieces.next() {
            let mut framed = BytesMut::with_capacity(piece.len() + 1);
            framed.put_u8(u8::from(pieces.peek().is_some()));
            framed.put_slice(piece);
            self.0.send(Message::Binary(framed.freeze())).await.map_err(broken)?;
        }
        Ok(())
    }

    /// Shows that this side is there.
    async fn beat(&mut self) -> Result<(), LinkError> {
        self.0.send(Message::Ping(Bytes::new())).await.map_err(broken)
    }

    /// Says good-bye.
    pub(super) async fn close(&mut self) {
        let _ = self.0.close().await;
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Reading<S> {
    /// The next message; `None` at the end. It can be dropped half-way and called again.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, LinkError> {
        loop {
            let next = tokio::time::timeout_at(self.heard + SILENCE, self.stream.next()).await;
            let next = next.map_err(|_| LinkError::Broken(format!("nothing was heard for {} s", SILENCE.as_secs())))?;
            self.heard = Instant::now();
            let piece = match next {
                None | Some(Ok(Message::Close(_))) => return Ok(None),
                Some(Err(error)) => return Err(broken(error)),
                Some(Ok(Message::Binary(piece))) => piece,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(_)) => return Err(LinkError::Broken("what came is no message of the protocol".into())),
            };
            let Some((&more, rest)) = piece.split_first() else { return Err(LinkError::Broken("an empty piece came".into())) };
            if self.gathered.len() + rest.len() > self.limit {
                return Err(LinkError::Broken(format!("a message of more than {} bytes came", self.limit)));
            }
            self.gathered.extend_from_slice(rest);
            if more == 0 {
                let whole = std::mem::take(&mut self.gathered);
                let message = serde_json::from_slice(&whole);
                // No word of it is repeated: it may hold secrets.
                let broken = |error: serde_json::Error| format!("a message makes no sense (column {})", error.column());
                return message.map(Some).map_err(|error| LinkError::Broken(broken(error)));
            }
        }
    }
}

/// Sends what comes until nothing more does, or it cannot be sent; and a heartbeat in every pause. A task of its own: two
/// sides that both write, and read only then, would wait for each other.
pub(super) async fn write<S, T>(mut writing: Writing<S>, mut messages: mpsc::Receiver<T>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Serialize,
{
    loop {
        let sent = match tokio::time::timeout(HEARTBEAT, messages.recv()).await {
            Ok(Some(message)) => writing.send(&message).await,
            Ok(None) => return writing.close().await,
            Err(_) => writing.beat().await,
        };
        if sent.is_err() {
            return;
        }
    }
}

pub(super) fn broken(error: tokio_tungstenite::tungstenite::Error) -> LinkError {
    use tokio_tungstenite::tungstenite::Error;
    match error {
        Error::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            LinkError::Broken("the other side is gone".into())
        }
        other => LinkError::Broken(other.to_string()),
    }
}
