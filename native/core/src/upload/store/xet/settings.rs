//! xet-core's settings for uploads. Its environment variables (`HF_XET_*`) overrule them.

use std::time::Duration;

use xet_runtime::config::XetConfig;
use xet_runtime::utils::is_high_performance;

use crate::config::{Config, Deadlines};

/// Xorbs on their way at a time; each is up to 64 MiB of memory.
const UPLOADS: usize = 2;
/// The longest that an answer to one request may take, the sending of a xorb included. Whether
/// anything moves at all is watched elsewhere.
const REQUEST: Duration = Duration::from_mins(5);
/// Most chunks that are known for deduplication: 256 GiB of content, and some 100 MiB of memory.
const KNOWN_CHUNKS: usize = 4 << 20;

/// For a client of ours.
pub(super) fn of(config: &Config, deadlines: &Deadlines) -> XetConfig {
    let mut xet = XetConfig::default();
    xet.telemetry.enabled = false;
    xet.log.dest = None;
    xet.client.connect_timeout = deadlines.connect;
    xet.client.read_timeout = REQUEST;
    xet.client.retry_max_attempts = config.max_attempts.saturating_sub(1).min(4) as usize;
    // Whole seconds: below 1 s, the waits would not grow.
    xet.client.retry_base_delay = Duration::from_secs(2);
    xet.client.retry_max_duration = Duration::from_secs(8);
    xet.client.ac_max_upload_concurrency = UPLOADS;
    xet.client.ac_initial_upload_concurrency = UPLOADS;
    // Each stored xorb is written down at once, so that no kill makes it be sent again.
    xet.data.session_xorb_metadata_flush_max_count = 1;
    xet.shard.chunk_index_table_max_size = KNOWN_CHUNKS;
    if is_high_performance() {
        // What the user asks for there is speed, whatever it costs.
        xet = xet.with_high_performance();
    }
    xet.with_env_overrides()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;
    use crate::config::options::ClientOptions;

    /// Nothing is sent to anyone about an upload unless the user has asked for it.
    #[test]
    fn telemetry_is_off() {
        let environment = Environment::of([("HOME", "/nonexistent")]);
        let config = Config::resolve_in(&ClientOptions::default(), &environment).unwrap();
        assert!(!of(&config, &Deadlines::DEFAULT).telemetry.enabled);
    }
}
