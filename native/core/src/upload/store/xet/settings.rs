//! xet-core's settings for uploads. Its environment variables (`HF_XET_*`) overrule them.

use std::time::Duration;

use tokio::runtime::Handle;
use xet_runtime::config::XetConfig;
use xet_runtime::core::XetContext;
use xet_runtime::utils::is_high_performance;

use crate::config::{Config, Deadlines};
use crate::sys::fork;

/// Xorbs on their way at a time; each is up to 64 MiB of memory.
const UPLOADS: usize = 2;
/// The longest that one request may take until it is answered, the sending of a xorb included: as good
/// as none, since that takes as long as a line is slow. Whether anything moves is watched elsewhere.
const REQUEST: Duration = Duration::from_hours(24);
/// How much is sent until xet-core says so, in bytes: on a slow line, too, it is to be seen that something
/// moves.
const REPORTED: usize = 128 << 10;
/// Most chunks that are known for deduplication: 112 GiB of content, and 36 MiB of memory. What fits into 2^21
/// places of a hash table (hashbrown fills seven eighths); one more would double it.
const KNOWN_CHUNKS: usize = 7 << 18;

/// Whether storage is asked which chunks it has from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GlobalDedup {
    /// As xet-core has it.
    Asked,
    /// Not: its silence would hold up the upload, which can do without.
    Skipped,
}

/// Which way shards go to storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shards {
    /// As storage has it: version 2 of its interface, or else 1.
    Either,
    /// Only by version 2, which is spoken on the connections that xet-core is lent.
    Lent,
}

/// For a client of ours.
fn of(
    config: &Config,
    deadlines: &Deadlines,
    global_dedup: GlobalDedup,
    shards: Shards,
) -> XetConfig {
    let mut xet = XetConfig::default();
    xet.telemetry.enabled = false;
    xet.log.dest = None;
    xet.client.connect_timeout = deadlines.connect;
    xet.client.read_timeout = REQUEST;
    xet.client.upload_reporting_block_size = REPORTED;
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
    let mut xet = xet.with_env_overrides();
    if global_dedup == GlobalDedup::Skipped {
        xet.deduplication.global_dedup_query_enabled = false;
    }
    if shards == Shards::Lent {
        xet.client.shard_api_version = Some(2);
    }
    xet
}

/// One for each session, on this call's runtime: a session that breaks may leave it in any state.
pub(super) fn context(
    config: &Config,
    deadlines: &Deadlines,
    global_dedup: GlobalDedup,
    shards: Shards,
) -> XetContext {
    let settings = of(config, deadlines, global_dedup, shards);
    // xet-core has a list of the process's runtimes, and reads its environment once.
    fork::hold_off(|| XetContext::from_external(Handle::current(), settings))
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
        let xet = of(&config, &Deadlines::DEFAULT, GlobalDedup::Asked, Shards::Either);
        assert!(!xet.telemetry.enabled);
    }
}
