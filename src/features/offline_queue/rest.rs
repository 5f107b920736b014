//! The REST handler of the offline queue.

use axum::{Json, extract::State};

use super::{OfflineQueue, QueueSize};
use crate::{
    codes::ErrorCode,
    features::auth::Caller,
    server::{Endpoint, Refusal, Rest},
};

/// The route of this feature.
pub fn routes(queue: &OfflineQueue) -> Rest {
    let endpoint = Endpoint::get("/api/queue/size", "How much waits for the caller.").answer::<QueueSize>();
    Rest::new().on(endpoint, queue, size)
}

/// `GET /api/queue/size`.
async fn size(State(queue): State<OfflineQueue>, Caller(caller): Caller) -> Result<Json<QueueSize>, Refusal> {
    let user = caller.user;
    let size = tokio::task::spawn_blocking(move || queue.size(&user)).await;
    size.map_err(|_| Refusal::new(ErrorCode::Internal, "the server failed to read the offline queue"))?.map(Json)
}
