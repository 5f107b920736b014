//! Whether a Redis keeps what it is told.

use redis::{RedisResult, aio::MultiplexedConnection};

use super::target::Target;

/// Why this Redis must not hold the order of commits, if there is a reason. A Redis that does not tell is believed.
pub(super) async fn unfit(connection: &mut MultiplexedConnection, target: &Target) -> RedisResult<Option<String>> {
    let [policy, append_only, save] = match settings(connection).await {
        Ok(settings) => settings,
        Err(error) if error.is_io_error() || error.is_timeout() => return Err(error),
        Err(error) => {
            tracing::warn!(
                redis = %target, %error,
                "Redis does not show its settings (CONFIG): see to it yourself that maxmemory-policy is noeviction and that it is persistent"
            );
            return Ok(None);
        }
    };
    Ok(reason(&policy, &append_only, &save))
}

fn reason(policy: &str, append_only: &str, save: &str) -> Option<String> {
    let keeps_all = policy.is_empty() || policy == "noeviction";
    let is_persistent = append_only == "yes" || !save.trim().is_empty();
    let fault = match (keeps_all, is_persistent) {
        (true, true) => return None,
        (false, _) => format!(
            "Redis drops keys when it is full (maxmemory-policy is {policy}), and what nodes have yet to read with them: \
             set it to noeviction"
        ),
        (true, false) => {
            "Redis keeps nothing over a restart (no appendonly, no save points), so the order of what was \
                          written would be lost: set appendonly to yes"
                .to_owned()
        }
    };
    Some(fault)
}

async fn settings(connection: &mut MultiplexedConnection) -> RedisResult<[String; 3]> {
    let mut values = [String::new(), String::new(), String::new()];
    // One by one: only Redis 7 takes several names.
    for (value, name) in values.iter_mut().zip(["maxmemory-policy", "appendonly", "save"]) {
        let mut command = redis::cmd("CONFIG");
        let shown: Vec<(String, String)> = command.arg("GET").arg(name).query_async(connection).await?;
        *value = shown.into_iter().next().map(|(_, value)| value).unwrap_or_default();
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redis_that_forgets_is_unfit() {
        assert_eq!(reason("noeviction", "yes", ""), None);
        assert_eq!(reason("noeviction", "no", "3600 1 300 100"), None);
        assert!(reason("noeviction", "no", "").is_some_and(|reason| reason.contains("appendonly")));
        assert!(reason("allkeys-lru", "yes", "").is_some_and(|reason| reason.contains("allkeys-lru")));
    }
}
