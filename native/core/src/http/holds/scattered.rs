//! Tests of servers that refuse some requests and let others through.

use reqwest::header::{HeaderValue, RANGE};

use super::*;

fn asked(name: &str) -> Asked {
    let url = Url::parse(&format!("https://hub.example/{name}")).unwrap();
    Asked::of(&reqwest::Method::GET, &url, &HeaderMap::new(), CONTENT)
}

/// An answer to a request that begins now.
fn answer(holds: &Holds, name: &str, status: u16, headers: &HeaderMap) -> Option<Hold> {
    let status = StatusCode::from_u16(status).unwrap();
    holds.answered(&asked(name), Instant::now(), status, headers)
}

fn refuse(holds: &Holds, name: &str, status: u16) -> Option<Hold> {
    answer(holds, name, status, &HeaderMap::new())
}

fn pass(holds: &Holds, name: &str) {
    assert!(answer(holds, name, 200, &HeaderMap::new()).is_none());
}

/// `name` leads to `to`, on the same server.
fn lead(holds: &Holds, name: &str, to: &str) {
    let headers = HeaderMap::from_iter([(LOCATION, to.parse().unwrap())]);
    assert!(answer(holds, name, 307, &headers).is_none());
}

fn wait_of(hold: Option<Hold>) -> Duration {
    hold.unwrap().until.saturating_duration_since(Instant::now())
}

/// Has the waits end of all that are held.
fn let_time_pass(holds: &Holds) {
    for held in holds.lock().values_mut() {
        held.until = Instant::now();
    }
}

fn may_ask(holds: &Holds, name: &str) -> bool {
    holds.check(&asked(name)).is_ok()
}

/// While others are let through, who is refused without a time waits by itself, for a short while that grows with
/// its own refusals alone.
#[test]
fn who_is_refused_by_chance_waits_by_itself() {
    for status in [429, 503] {
        let holds = Holds::default();
        pass(&holds, "a");
        refuse(&holds, "b", status);
        pass(&holds, "a");
        for name in ["c", "d", "e"] {
            let first = wait_of(refuse(&holds, name, status));
            assert!(first < Duration::from_millis(400), "{first:?}");
            assert!(!may_ask(&holds, name) && may_ask(&holds, "z"), "{status}");
        }
        let second = wait_of(refuse(&holds, "c", status));
        assert!(second > Duration::from_millis(300), "{second:?}");
        for _ in 0..8 {
            pass(&holds, "a");
            let later = wait_of(refuse(&holds, "c", status));
            assert!(later < Duration::from_secs(2), "{later:?}");
        }
    }
}

/// The parts of a file are several, as long as some of them are let through: it isn't the file that is refused.
#[test]
fn parts_of_one_file_are_refused_by_chance() {
    let part = |name: &str, range: &'static str| {
        let url = Url::parse(&format!("https://hub.example/{name}")).unwrap();
        let headers = HeaderMap::from_iter([(RANGE, HeaderValue::from_static(range))]);
        Asked::of(&reqwest::Method::GET, &url, &headers, CONTENT)
    };
    for passes in ["a", "b"] {
        let holds = Holds::default();
        let answer = |asked: &Asked, status| {
            holds.answered(asked, Instant::now(), status, &HeaderMap::new())
        };
        let refuse = |range| answer(&part("a", range), StatusCode::TOO_MANY_REQUESTS);
        for _ in 0..6 {
            assert!(answer(&part(passes, "bytes=0-9"), StatusCode::PARTIAL_CONTENT).is_none());
            refuse("bytes=10-19");
            let wait = wait_of(refuse("bytes=20-29"));
            assert!(passes == "b" || wait < Duration::from_secs(2), "{wait:?}");
        }
        let wait = wait_of(refuse("bytes=20-29"));
        assert_eq!(wait < Duration::from_secs(2), passes == "a", "{wait:?}");
    }
}

/// A failure of one thing alone is its own, and ends with its attempts.
#[test]
fn a_failure_of_one_is_no_chance() {
    let holds = Holds::default();
    for _ in 0..5 {
        pass(&holds, "a");
        assert!(refuse(&holds, "b", 503).is_none());
    }
    // Nor is one of all.
    let holds = Holds::default();
    assert!(["a", "b", "c"].iter().all(|name| refuse(&holds, name, 503).is_none()));
}

/// A server that lets nothing through any more has one ask, and the others wait.
#[test]
fn nothing_that_passes_is_for_all() {
    let holds = Holds::default();
    pass(&holds, "a");
    for number in 0..tally::LAST {
        refuse(&holds, &number.to_string(), 429).unwrap();
    }
    assert!(!may_ask(&holds, "z"));
}

/// Redirects tell that others like them are let through, and nothing of what they lead to.
#[test]
fn a_redirect_is_no_content() {
    let holds = Holds::default();
    lead(&holds, "a", "/a-content");
    lead(&holds, "b", "/b-content");
    refuse(&holds, "c", 429).unwrap();
    assert!(may_ask(&holds, "z"));
    refuse(&holds, "a-content", 429).unwrap();
    assert!(!may_ask(&holds, "z"), "no content has come");
    // It's tried as often as that, as others get so far.
    for _ in 0..5 {
        let_time_pass(&holds);
        let wait = wait_of(refuse(&holds, "b-content", 429));
        assert!(wait < FIRST_GUESS * 3, "{wait:?}");
    }
    let_time_pass(&holds);
    pass(&holds, "a-content");
    refuse(&holds, "b-content", 429).unwrap();
    assert!(may_ask(&holds, "z"));
}

/// A time that is named is for all, whoever else is let through; but afterwards they go at once, and not one by one.
#[test]
fn a_named_time_is_for_all_and_then_over() {
    let after = HeaderMap::from_iter([(reqwest::header::RETRY_AFTER, "1".parse().unwrap())]);
    for (passed, at_once) in [(3, true), (0, false)] {
        let holds = Holds::default();
        (0..passed).for_each(|_| pass(&holds, "a"));
        answer(&holds, "b", 429, &after).unwrap();
        let turn = || holds.check(&asked("z")).unwrap_err().context().hold.unwrap().until;
        assert_eq!(turn() == turn(), at_once);
    }
}

/// Of those that were refused as often as all were, the first goes on: it may be the first that isn't any more.
#[test]
fn who_asks_for_all_may_ask_again() {
    let holds = Holds::default();
    let begun = Instant::now();
    let status = StatusCode::TOO_MANY_REQUESTS;
    for name in ["a", "b", "c"] {
        holds.answered(&asked(name), begun, status, &HeaderMap::new()).unwrap();
    }
    let_time_pass(&holds);
    assert!(may_ask(&holds, "a"));
    refuse(&holds, "a", 429).unwrap();
    let_time_pass(&holds);
    assert!(may_ask(&holds, "a"));
}
