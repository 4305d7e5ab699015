//! xet-core's settings for the parts of it that uploads use: chunks, deduplication, shards. Its environment
//! variables (`HF_XET_*`) overrule them.

use tokio::runtime::Handle;
use xet_runtime::config::XetConfig;
use xet_runtime::core::XetContext;
use xet_runtime::utils::is_high_performance;

use crate::sys::fork;

/// Xorbs of full size on their way at a time; each is up to 64 MiB of memory.
const UPLOADS: usize = 2;
/// Most chunks that are known for deduplication: 112 GiB of content, and 36 MiB of memory. What fits into 2^21
/// places of a hash table (hashbrown fills seven eighths); one more would double it.
const KNOWN_CHUNKS: usize = 7 << 18;

/// One for each upload, on this call's runtime: one that breaks may leave it in any state.
pub(super) fn context() -> XetContext {
    let mut xet = XetConfig::default();
    xet.telemetry.enabled = false;
    xet.log.dest = None;
    xet.client.ac_max_upload_concurrency = UPLOADS;
    xet.shard.chunk_index_table_max_size = KNOWN_CHUNKS;
    if is_high_performance() {
        // What the user asks for there is speed, whatever it costs.
        xet = xet.with_high_performance();
    }
    // xet-core has a list of the process's runtimes, and reads its environment once.
    fork::hold_off(|| XetContext::from_external(Handle::current(), xet.with_env_overrides()))
}
