//! Settings that are right one by one and cannot hold together.

use super::{Config, error::ConfigError};

/// Refuses contradictions.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    let Config { server, socketio, auth, messages, missed_messages, typing, .. } = config;
    if socketio.transports.is_empty() {
        return Err(contradiction(config, "socketio.transports", "is empty, so that nobody could connect".to_owned()));
    }
    if typing.expire_ms <= typing.heartbeat_ms {
        let conflict = format!(
            "is {}, not more than `typing.heartbeat_ms` ({}): typing would end before it could be repeated",
            typing.expire_ms, typing.heartbeat_ms
        );
        return Err(contradiction(config, "typing.expire_ms", conflict));
    }
    let buffer = ("socketio.max_http_buffer_bytes", socketio.max_http_buffer_bytes);
    let outbox = ("socketio.outbox_bytes", socketio.outbox_bytes);
    let headers = ("server.max_header_bytes", server.max_header_bytes);
    let page = ("missed_messages.max_page_bytes", missed_messages.max_page_bytes);
    let content = ("messages.max_content_chars", messages.max_content_chars);
    let token = ("auth.max_token_bytes", auth.max_token_bytes);
    for ((key, value), (limit_key, limit), why) in [
        (buffer, outbox, "a message that may be sent could not be delivered"),
        (page, outbox, "a full page could not be delivered"),
        (content, buffer, "a text of that length could not be sent"),
        (token, headers, "a token of that length could not be sent"),
    ] {
        if value > limit {
            let conflict = format!("is {value}, more than `{limit_key}` ({limit}): {why}");
            return Err(contradiction(config, key, conflict));
        }
    }
    Ok(())
}

fn contradiction(config: &Config, key: &'static str, conflict: String) -> ConfigError {
    ConfigError::Contradiction { place: config.sources.place(key).cloned().map(Box::new), key, conflict }
}
