//! How a request ends for its client: with an ack, a refusal, or nothing; and what is said when a session ends.

use std::sync::{Arc, atomic::Ordering};

use super::{Args, Outcome, Refusal, Shared, Socket, encode};
use crate::{codes::ErrorCode, protocol::engineio::CloseReason, telemetry::SOCKET_EVENTS, transport::Session};

impl Shared {
    /// Answers an event.
    pub(super) fn reply(&self, socket: &Arc<Socket>, event: &str, id: Option<u64>, outcome: Outcome) {
        if let Outcome::Refused(refusal) = &outcome {
            self.metrics.refusal(refusal.code);
            let (namespace, socket_id, user) = (&**socket.namespace().name(), socket.log_id(), socket.user());
            tracing::warn!(
                target: SOCKET_EVENTS, eventName = event, namespace, socketId = socket_id, userId = user,
                code = refusal.code.name(), "Socket event refused"
            );
        }
        let args = match (outcome, id) {
            (Outcome::Silent, _) | (Outcome::Ack(_), None) => return,
            (Outcome::Refused(refusal), None) => return socket.emit_refusal(event, &refusal),
            (Outcome::Refused(refusal), Some(_)) => Args::one(refusal.to_ack()),
            (Outcome::Ack(args), Some(_)) => args,
        };
        if let Some(id) = id {
            let json: Vec<&str> = args.json.iter().map(String::as_str).collect();
            socket.send(&encode::ack(socket.namespace().name(), id, &json, &args.attachments));
        }
    }

    /// Counts the end of a session, and tells of one that its client has brought about by what it did.
    pub(super) fn closed(&self, session: &Session, reason: CloseReason) {
        self.metrics.closed(reason);
        let code = match reason {
            CloseReason::SlowConsumer => ErrorCode::SlowConsumer,
            CloseReason::TooLarge => ErrorCode::TooLarge,
            CloseReason::Flood => ErrorCode::RateLimited,
            CloseReason::ParseError | CloseReason::Overlap => ErrorCode::InvalidPayload,
            CloseReason::ConnectTimeout => ErrorCode::Unauthorized,
            CloseReason::ClientClose
            | CloseReason::TransportError
            | CloseReason::PingTimeout
            | CloseReason::ServerClose
            | CloseReason::Shutdown => return,
        };
        self.metrics.refusal(code);
        tracing::warn!(target: SOCKET_EVENTS, sid = ?session.sid(), code = code.name(), %reason, "Session closed, its client refused");
    }

    pub(super) fn panicked(&self, event: &str) -> Outcome {
        self.panics.fetch_add(1, Ordering::Relaxed);
        tracing::error!(event, "a handler panicked; its request was refused");
        Outcome::Refused(Refusal::new(ErrorCode::Internal, "the server failed to handle this event"))
    }
}
