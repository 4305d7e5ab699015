use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::call::progress::TimeLimit;
use crate::config::Environment;
use crate::config::options::ClientOptions;

const QUICK: RetryPolicy = RetryPolicy {
    attempts: 4,
    base: Duration::from_micros(10),
    cap: Duration::from_micros(20),
    waits_out: true,
};

fn failing(kind: Kind, http_status: u16) -> Error {
    Error::new(kind, "failed").with(|c| c.http_status = Some(http_status))
}

/// A refusal for now, which ends in so long.
fn refused(wait: Duration, is_named: bool) -> Error {
    let until = Instant::now() + wait;
    let hold = Hold { until, is_named, was_sent: true, futile: None };
    failing(Kind::RateLimited, 429).with(|c| c.hold = Some(hold))
}

/// Runs an operation that fails with `error` `failures` times, and says how it ended and how often
/// it ran.
fn run(failures: u32, error: &Error, counters: &Counters) -> (Result<u32>, u32) {
    let calls = AtomicU32::new(0);
    let operation = |attempt| {
        let call = calls.fetch_add(1, Ordering::Relaxed) + 1;
        assert!(attempt <= call);
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
    let (result, calls) = run(3, &failing(Kind::ServerError, 503), &counters);
    assert_eq!((result.unwrap(), calls, counters.retries()), (4, 4, 3));
}

/// A fault that stays ends after the last attempt, and the error says how many there were.
#[test]
fn a_lasting_fault_ends_after_the_last_attempt() {
    let counters = Counters::default();
    let (result, calls) = run(100, &failing(Kind::Connection, 0), &counters);
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.context().attempts), (Kind::Connection, Some(4)));
    assert_eq!((calls, counters.retries()), (4, 3));
}

/// Silence is tried less often than what fails at once: each attempt takes as long as one may wait.
#[test]
fn silence_is_tried_three_times() {
    let counters = Counters::default();
    let (result, calls) = run(100, &failing(Kind::Timeout, 0), &counters);
    assert_eq!((result.unwrap_err().context().attempts, calls), (Some(3), 3));
}

/// What can't pass isn't tried again: refusals, nonsense, an unknown method.
#[test]
fn what_cannot_pass_is_not_tried_again() {
    for error in [
        failing(Kind::EntryNotFound, 404),
        failing(Kind::Forbidden, 403),
        failing(Kind::InvalidResponse, 200),
        failing(Kind::ServerError, 501),
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
    let (base, cap) = (Duration::from_millis(500), Duration::from_secs(8));
    let policy = RetryPolicy { attempts: 99, base, cap, waits_out: true };
    let fault = failing(Kind::Timeout, 0);
    for (attempt, millis) in [(1, 500), (2, 1000), (3, 2000), (5, 8000), (6, 8000), (98, 8000)] {
        let full = Duration::from_millis(millis);
        let distinct = Cell::new(Duration::ZERO);
        for _ in 0..100 {
            let wait = policy.wait_after(attempt, &fault, &Counters::default()).unwrap();
            assert!(full / 2 <= wait && wait <= full, "{attempt}: {wait:?}");
            distinct.set(distinct.get().max(full.abs_diff(wait)));
        }
        assert!(distinct.get() > full / 10, "no jitter");
    }
}

/// A server that is away is waited for until a restart is over, unless there is another way, or somebody else waits.
#[test]
fn who_is_away_is_waited_for_longer() {
    let config =
        Config::resolve_in(&ClientOptions::default(), &Environment::of([("HOME", "/nonexistent")]));
    let policy = RetryPolicy::new(&config.unwrap());
    let waits = |policy: RetryPolicy, fault: &Error, counters: &Counters| -> Duration {
        let wait = |attempt| policy.wait_after(attempt, fault, counters).unwrap();
        (1..policy.attempts).map(wait).sum()
    };
    let (counters, with_another_way) = (Counters::default(), Counters::default());
    with_another_way.set_another_way(true);
    let refused = failing(Kind::Connection, 0);
    let away = refused.clone().with(|c| c.is_away = true);
    let (least, most) = (Duration::from_secs(20), Duration::from_secs(30));
    for _ in 0..100 {
        let waited = waits(policy, &away, &counters);
        assert!(least <= waited && waited <= most, "{waited:?}");
        let other = RetryPolicy { waits_out: false, ..policy };
        for waited in [
            waits(policy, &refused, &counters),
            waits(policy, &away, &with_another_way),
            waits(other, &away, &counters),
        ] {
            assert!(waited < least, "{waited:?}");
        }
    }
}

/// A server that refuses for now is waited for as often as it does, and each time is a retry; what wasn't
/// even sent is none.
#[test]
fn refusals_for_now_are_no_attempts() {
    let error = refused(Duration::from_millis(1), true);
    let counters = Counters::default();
    let (result, calls) = run(30, &error, &counters);
    assert_eq!((result.unwrap(), calls, counters.retries()), (31, 31, 30));

    let held = error.with(|c| c.hold.as_mut().unwrap().was_sent = false);
    let counters = Counters::default();
    assert_eq!(run(30, &held, &counters).0.unwrap(), 31);
    assert_eq!(counters.retries(), 0);
}

/// It isn't waited for by who leaves that to somebody else, nor for long where there is another way.
#[test]
fn somebody_else_may_know_better() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let attempts = |policy: RetryPolicy, error: Error, counters: &Counters| {
        let outcome =
            policy.run(counters, "test", |_| std::future::ready(Err::<(), _>(error.clone())));
        runtime.block_on(outcome).unwrap_err().context().attempts
    };
    let soon = refused(Duration::ZERO, true);
    assert_eq!(attempts(QUICK.once(), soon.clone(), &Counters::default()), Some(1));
    let counters = Counters::default();
    counters.set_another_way(true);
    assert_eq!(attempts(QUICK, soon, &counters), Some(4));
    assert_eq!(attempts(QUICK, refused(Duration::from_secs(11), true), &counters), Some(1));
}

/// A time that is beyond the call's own is an error at once, which names both; a guess of ours isn't.
#[test]
fn a_wait_beyond_the_calls_end_is_not_begun() {
    let timeout = Duration::from_millis(50);
    let counters = Counters::default();
    counters.set_limit(TimeLimit { timeout, at: Instant::now() + timeout });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let refusal = refused(Duration::from_hours(1), true);
    let error = runtime.block_on(QUICK.pause(1, refusal, &counters)).unwrap_err();
    assert_eq!((error.kind(), error.context().http_status), (Kind::RateLimited, Some(429)));
    assert!(error.message().ends_with("beyond the call's timeout of 50ms"), "{error}");

    // A short one that has come too often to fit in.
    let timeout = Duration::from_mins(1);
    let counters = Counters::default();
    counters.set_limit(TimeLimit { timeout, at: Instant::now() + Duration::from_millis(10) });
    let refusal = refused(Duration::from_secs(2), true);
    let error = runtime.block_on(QUICK.pause(1, refusal, &counters)).unwrap_err();
    assert!(error.message().ends_with("what is left of the call's timeout of 60s"), "{error}");

    let guess = refused(Duration::from_hours(1), false);
    let _context = runtime.enter();
    let counters = Counters::default();
    counters.set_limit(TimeLimit { timeout, at: Instant::now() + timeout });
    let mut pause = std::pin::pin!(QUICK.pause(1, guess, &counters));
    assert!(runtime.block_on(async { futures_util::poll!(pause.as_mut()) }).is_pending());
    assert_eq!(counters.snapshot().rate_limited_seconds, 3600);
    assert!(counters.waits.is_any_allowed());
}
