use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

const QUICK: RetryPolicy =
    RetryPolicy { attempts: 4, base: Duration::from_micros(10), cap: Duration::from_micros(20) };

fn failing(kind: Kind, http_status: u16, retry_after: Option<u64>) -> Error {
    Error::new(kind, "failed").with(|c| {
        c.http_status = Some(http_status);
        c.retry_after = retry_after;
    })
}

/// Runs an operation that fails with `error` `failures` times, and says how it ended and how often
/// it ran.
fn run(failures: u32, error: &Error, counters: &Counters) -> (Result<u32>, u32) {
    let calls = AtomicU32::new(0);
    let operation = |attempt| {
        let call = calls.fetch_add(1, Ordering::Relaxed) + 1;
        assert_eq!(attempt, call);
        async move { if call > failures { Ok(call) } else { Err(error.clone()) } }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let result = runtime.block_on(QUICK.run(counters, "test", operation));
    (result, calls.into_inner())
}

/// A passing fault is tried again until it passes, and each retry is counted.
#[test]
fn a_passing_fault_is_tried_again() {
    let counters = Counters::default();
    let (result, calls) = run(3, &failing(Kind::ServerError, 503, None), &counters);
    assert_eq!((result.unwrap(), calls, counters.retries()), (4, 4, 3));
}

/// A fault that stays ends after the last attempt, and the error says how many there were.
#[test]
fn a_lasting_fault_ends_after_the_last_attempt() {
    let counters = Counters::default();
    let (result, calls) = run(100, &failing(Kind::Connection, 0, None), &counters);
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.context().attempts), (Kind::Connection, Some(4)));
    assert_eq!((calls, counters.retries()), (4, 3));
}

/// Silence is tried less often than what fails at once: each attempt takes as long as one may wait.
#[test]
fn silence_is_tried_three_times() {
    let counters = Counters::default();
    let (result, calls) = run(100, &failing(Kind::Timeout, 0, None), &counters);
    assert_eq!((result.unwrap_err().context().attempts, calls), (Some(3), 3));
}

/// What can't pass isn't tried again: refusals, nonsense, an unknown method, a wait beyond what we
/// grant.
#[test]
fn what_cannot_pass_is_not_tried_again() {
    for error in [
        failing(Kind::EntryNotFound, 404, None),
        failing(Kind::Forbidden, 403, Some(1)),
        failing(Kind::InvalidResponse, 200, None),
        failing(Kind::ServerError, 501, None),
        failing(Kind::RateLimited, 429, Some(61)),
        failing(Kind::ServerError, 503, Some(3600)),
    ] {
        let counters = Counters::default();
        let (result, calls) = run(1, &error, &counters);
        assert_eq!(result.unwrap_err().context().attempts, Some(1), "{error:?}");
        assert_eq!((calls, counters.retries()), (1, 0), "{error:?}");
    }
}

/// Waits double up to the cap, with at most half of each taken off by chance.
#[test]
fn waits_double_up_to_the_cap() {
    let policy =
        RetryPolicy { attempts: 99, base: Duration::from_millis(500), cap: Duration::from_secs(8) };
    let fault = failing(Kind::Timeout, 0, None);
    for (attempt, millis) in [(1, 500), (2, 1000), (3, 2000), (5, 8000), (6, 8000), (98, 8000)] {
        let full = Duration::from_millis(millis);
        let distinct = Cell::new(Duration::ZERO);
        for _ in 0..100 {
            let wait = policy.wait_after(attempt, &fault).unwrap();
            assert!(full / 2 <= wait && wait <= full, "{attempt}: {wait:?}");
            distinct.set(distinct.get().max(full.abs_diff(wait)));
        }
        assert!(distinct.get() > full / 10, "no jitter");
    }
}

/// A wait that the server asks for is kept, with a little added; asking for none means ours.
#[test]
fn a_wait_that_the_server_asks_for_is_kept() {
    for seconds in [1, 7, 60] {
        let asked = Duration::from_secs(seconds);
        let wait = QUICK.wait_after(1, &failing(Kind::RateLimited, 429, Some(seconds))).unwrap();
        assert!(asked < wait && wait <= asked + Duration::from_secs(1), "{wait:?}");
    }
    let wait = QUICK.wait_after(1, &failing(Kind::RateLimited, 429, Some(0))).unwrap();
    assert!(wait <= QUICK.cap, "{wait:?}");
}
