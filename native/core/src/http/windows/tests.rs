use reqwest::header::HeaderValue;

use super::*;

const SORT: Sort = "questions";
const QUOTA: u64 = 100;

fn url() -> Url {
    Url::parse("https://hub.example/x").unwrap()
}

/// The headers of an answer.
fn said(left: u64, reset: u64) -> HeaderMap {
    let limit = format!("\"resolvers\";r={left};t={reset}");
    let policy = format!("\"fixed window\";\"resolvers\";q={QUOTA};w=300");
    let header = |text: String| HeaderValue::from_str(&text).unwrap();
    [("ratelimit", limit), ("ratelimit-policy", policy)]
        .into_iter()
        .map(|(name, text)| (name.parse().unwrap(), header(text)))
        .collect()
}

/// Windows of which so many answers say this, one after the other.
async fn after(answers: impl IntoIterator<Item = (u64, u64)>) -> Windows {
    let windows = Windows::default();
    for (left, reset) in answers {
        let Ok(_on_its_way) = windows.admit(&url(), SORT).await else { panic!("{left} left") };
        windows.answered((&url(), SORT), Instant::now(), &said(left, reset));
    }
    windows
}

async fn is_held_back(windows: &Windows) -> Option<Hold> {
    let error = windows.admit(&url(), SORT).await.err()?;
    assert_eq!(error.kind(), Kind::RateLimited);
    error.context().hold
}

/// Whoever asks after the last request of a window waits for the next, and nobody else does.
#[tokio::test]
async fn the_end_of_a_window_holds_back() {
    let windows = after((0..5).rev().map(|left| (left, 60))).await;
    let hold = is_held_back(&windows).await.unwrap();
    let wait = hold.until.duration_since(Instant::now());
    assert!((59..=61).contains(&wait.as_secs()), "{wait:?}");
    assert!(hold.is_named && !hold.was_sent && hold.futile.is_none());
    assert!(windows.admit(&url(), "others").await.is_ok());
    assert_eq!(windows.room(&url(), SORT), Some((0, QUOTA)));
}

/// What fits into the window isn't held back, to the last request.
#[tokio::test]
async fn what_fits_goes() {
    let windows = after((1..QUOTA).rev().map(|left| (left, 60))).await;
    let last = windows.admit(&url(), SORT).await.unwrap();
    windows.answered((&url(), SORT), Instant::now(), &said(0, 60));
    drop(last);
    assert!(is_held_back(&windows).await.is_some());
}

/// As many as are left may be on their way; the next waits for one of their answers.
#[tokio::test]
async fn the_last_ones_wait_for_answers() {
    let begun = Instant::now();
    let windows = after((2..7).rev().map(|left| (left, 60))).await;
    let first = windows.admit(&url(), SORT).await.unwrap();
    let _second = windows.admit(&url(), SORT).await.unwrap();
    let url = url();
    let mut third = std::pin::pin!(windows.admit(&url, SORT));
    assert!(futures_util::poll!(third.as_mut()).is_pending());
    // That one was counted already.
    windows.answered((&url, SORT), begun, &said(2, 60));
    drop(first);
    assert!(third.await.is_ok());
}

/// A window that has ended is followed by another one, of which nothing is known but the quota.
#[tokio::test]
async fn the_next_window_is_new() {
    let windows = after((0..5).rev().map(|left| (left, 60))).await;
    let key = (authority(&url()), SORT);
    windows.lock().get_mut(&key).unwrap().end = Instant::now();
    assert!(is_held_back(&windows).await.is_none());
    assert_eq!(windows.room(&url(), SORT), Some((QUOTA, QUOTA)));
    windows.answered((&url(), SORT), Instant::now(), &said(QUOTA - 1, 300));
    assert_eq!(windows.room(&url(), SORT), Some((QUOTA - 1, QUOTA)));
}

/// What was right once is believed from the start of the next window, unless that begins with nothing left.
#[tokio::test]
async fn a_server_that_was_right_is_believed() {
    for (left, is_held) in [(50, true), (0, false)] {
        let windows = after((0..5).rev().map(|left| (left, 60))).await;
        let key = (authority(&url()), SORT);
        windows.lock().get_mut(&key).unwrap().end = Instant::now();
        windows.answered((&url(), SORT), Instant::now(), &said(left, 300));
        let mut on_their_way = Vec::new();
        for _ in 0..50 {
            on_their_way.push(windows.admit(&url(), SORT).await.unwrap());
        }
        let url = url();
        let next = futures_util::poll!(std::pin::pin!(windows.admit(&url, SORT)));
        assert_eq!(next.is_pending(), is_held, "{left}");
    }
}

/// What doesn't add up holds back nobody, however little it says is left.
#[tokio::test]
async fn what_does_not_add_up_holds_back_nobody() {
    let lies: [&[(u64, u64)]; 7] = [
        // As a cache says it, of the time when it asked.
        &[(0, 60); 9],
        &[(1, 60); 9],
        &[(5, 60), (0, 60), (5, 60), (0, 60)],
        // More than everybody else could ask for.
        &[(5000, 60), (4999, 60), (4998, 60), (0, 60), (0, 60)],
        &[(4, 9_999), (3, 9_998), (2, 9_998), (1, 9_998), (0, 9_998)],
        &[(3, u64::MAX), (2, u64::MAX), (1, u64::MAX), (0, u64::MAX)],
        &[(4, 60), (3, 60), (2, 60), (1, 60), (u64::MAX, 60), (0, 60)],
    ];
    for lie in lies {
        let windows = after(lie.iter().copied()).await;
        assert_eq!(is_held_back(&windows).await, None, "{lie:?}");
    }
}

/// Ends the window that is known.
fn end_it(windows: &Windows) {
    let key = (authority(&url()), SORT);
    windows.lock().get_mut(&key).unwrap().end = Instant::now();
}

/// What didn't add up in one window may in the next: then that holds back, when as much has been heard of it as
/// of a first one.
#[tokio::test]
async fn a_window_that_was_wrong_is_followed_by_one_that_may_be_right() {
    let windows = after([(5, 60), (0, 60), (5, 60)]).await;
    assert_eq!(windows.room(&url(), SORT), None);
    end_it(&windows);
    for (left, is_held) in [(3, false), (2, false), (1, false), (0, true)] {
        let begun = windows.admit(&url(), SORT).await.unwrap();
        windows.answered((&url(), SORT), Instant::now(), &said(left, 60));
        drop(begun);
        assert_eq!(is_held_back(&windows).await.is_some(), is_held, "{left}");
    }
}

/// Another bucket is no matter as long as the window of the one that is known lasts; then it's the one.
#[tokio::test]
async fn a_server_may_tell_of_another_bucket() {
    let windows = after((50..55).rev().map(|left| (left, 60))).await;
    let mut other = said(7, 60);
    for value in other.values_mut() {
        *value = value.to_str().unwrap().replace("resolvers", "pages").parse().unwrap();
    }
    let on_its_way = windows.admit(&url(), SORT).await.unwrap();
    windows.answered((&url(), SORT), Instant::now(), &other);
    assert_eq!(windows.room(&url(), SORT), Some((50, QUOTA)));
    end_it(&windows);
    windows.answered((&url(), SORT), Instant::now(), &other);
    assert_eq!(windows.room(&url(), SORT), Some((7, QUOTA)));
    drop(on_its_way);
}

/// Answers that overtake each other are no contradiction.
#[tokio::test]
async fn answers_may_come_in_any_order() {
    let windows = Windows::default();
    let begun = Instant::now();
    for left in [9, 4, 7, 8, 0, 6, 5, 1, 2, 3] {
        windows.answered((&url(), SORT), begun, &said(left, 60));
    }
    assert!(is_held_back(&windows).await.is_some());
}

/// An answer that comes late, and tells of the window before, says nothing of this one.
#[tokio::test]
async fn a_late_answer_is_of_its_own_window() {
    let early = Instant::now();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let windows = after((50..56).rev().map(|left| (left, 60))).await;
    windows.answered((&url(), SORT), early, &said(0, 1));
    assert_eq!(windows.room(&url(), SORT), Some((50, QUOTA)));
    assert!(windows.admit(&url(), SORT).await.is_ok());
}
