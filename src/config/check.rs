//! Settings that are right one by one and cannot hold together.

use super::{Config, error::ConfigError};
use crate::features::auth::Algorithm;

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
    check_memory(config)?;
    check_keys(config)?;
    check_cluster(config)
}

/// The nodes of a cluster need something to know each other by.
fn check_cluster(config: &Config) -> Result<(), ConfigError> {
    if config.cluster.enabled && config.auth.algorithm != Algorithm::Hs256 && config.cluster.secret.is_none() {
        let conflict =
            "needs `cluster.secret`, the same on all nodes: with public keys there is no JWT secret to derive it from";
        return Err(contradiction(config, "cluster.enabled", conflict.to_owned()));
    }
    Ok(())
}

/// What may be in memory at the same time whatever clients do: if that is too much, it shows at the start and not in the night.
fn check_memory(config: &Config) -> Result<(), ConfigError> {
    let limit = config.server.memory_high_bytes;
    let worst = config.worst_case();
    if limit != 0 && worst.bytes > limit {
        let conflict = format!("is {limit}, less than what may be in memory at once: {}", worst.sum);
        return Err(contradiction(config, "server.memory_high_bytes", conflict));
    }
    Ok(())
}

/// The algorithm and its keys belong together. Nothing is tried that was not configured.
fn check_keys(config: &Config) -> Result<(), ConfigError> {
    let auth = &config.auth;
    let algorithm = auth.algorithm.name();
    let has_public_keys = !auth.public_keys.is_empty() || auth.jwks_file.is_some();
    let key = if auth.public_keys.is_empty() { "auth.jwks_file" } else { "auth.public_keys" };
    if auth.algorithm == Algorithm::Hs256 && has_public_keys {
        let conflict =
            "is for public keys, and `auth.algorithm` is HS256: set it to the algorithm that the issuer signs with";
        return Err(contradiction(config, key, conflict.to_owned()));
    }
    if auth.algorithm != Algorithm::Hs256 && !has_public_keys {
        let conflict =
            format!("is {algorithm}, which needs the issuer's keys in `auth.public_keys` or `auth.jwks_file`");
        return Err(contradiction(config, "auth.algorithm", conflict));
    }
    if auth.algorithm != Algorithm::Hs256 && !auth.previous_jwt_secrets.is_empty() {
        let conflict = format!("is for HS256, and `auth.algorithm` is {algorithm}");
        return Err(contradiction(config, "auth.previous_jwt_secrets", conflict));
    }
    Ok(())
}

fn contradiction(config: &Config, key: &'static str, conflict: String) -> ConfigError {
    ConfigError::Contradiction { place: config.sources.place(key).cloned().map(Box::new), key, conflict }
}
