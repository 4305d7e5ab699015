use super::*;
use crate::model::repo::RepoType;

const SECRET: &str = "hf_secret";

/// What a Hub, or storage, answered.
fn refusal(status: u16, code: Option<&str>, message: Option<&str>, from_hub: bool) -> Refusal {
    Refusal {
        status,
        from_hub,
        wants_tls: false,
        has_expired: false,
        code: code.map(str::to_owned),
        message: message.map(str::to_owned),
        request_id: Some("req-1".to_owned()),
        rate_limit: None,
        retry_after: None,
        hold: None,
        by_way_of: None,
        host: "hub.example:443".to_owned(),
        url: "https://hub.example/x".to_owned(),
    }
}

/// Makes an error of a refusal, about file `f` at revision `main` of model `org/name`.
fn error(refusal: Refusal, signed_in: bool) -> Error {
    error_of(refusal, signed_in, false)
}

fn error_of(refusal: Refusal, signed_in: bool, writes: bool) -> Error {
    let endpoint = Endpoint::parse("endpoint", "https://hub.example").unwrap();
    let token = Token::new("token", SECRET).unwrap();
    let repo = Repo::new(RepoType::Model, "org/name").unwrap();
    let file = RepoPath::new("f").unwrap();
    refusal.into_error(&About {
        endpoint: &endpoint,
        token: signed_in.then_some(&token),
        repo: &repo,
        revision: Some("main"),
        file: Some(&file),
        writes,
    })
}

/// Storage knows no model, so what it refuses to take says nothing of one; the file and the storage are named. What
/// has expired is a URL to be asked for anew.
#[test]
fn storage_that_takes_nothing_is_not_the_hub() {
    for status in [400, 404, 409, 410, 412, 413, 422] {
        let error = error_of(refusal(status, None, None, false), true, true);
        assert_eq!(error.kind(), Kind::InvalidResponse, "{status}");
        for word in ["storage at hub.example:443", "f of model org/name", &format!("HTTP {status}")]
        {
            assert!(error.message().contains(word), "{error}");
        }
        assert!(!error.is_refused_url());
    }
    for writes in [false, true] {
        let expired = Refusal { has_expired: true, ..refusal(400, None, None, false) };
        let error = error_of(expired, true, writes);
        assert!(error.is_refused_url() && error.kind() == Kind::Forbidden, "{error}");
    }
    assert!(has_expired(b"<Error><Code>ExpiredToken</Code></Error>"));
    assert!(!has_expired(b"<Error><Code>BadDigest</Code></Error>"));
}

/// The kind of each answer is huggingface_hub's class for it: code first, then message, then
/// status.
#[test]
fn kinds_follow_code_then_message_then_status() {
    let hub = |status, code, message| refusal(status, code, message, true);
    let bad_token = Some("Invalid credentials in Authorization header");
    for (refusal, signed_in, kind) in [
        (hub(404, Some("RevisionNotFound"), None), true, Kind::RevisionNotFound),
        (hub(404, Some("EntryNotFound"), Some(DISABLED)), true, Kind::EntryNotFound),
        (hub(401, Some("GatedRepo"), None), false, Kind::GatedRepo),
        (hub(403, Some("GatedRepo"), None), true, Kind::GatedRepo),
        (hub(403, None, Some(DISABLED)), true, Kind::RepoDisabled),
        (hub(403, None, Some("disabled")), true, Kind::Forbidden),
        (hub(404, Some("RepoNotFound"), None), true, Kind::RepoNotFound),
        (hub(401, Some("RepoNotFound"), None), false, Kind::RepoNotFound),
        (hub(401, None, Some("Invalid username or password.")), false, Kind::RepoNotFound),
        (hub(401, None, None), false, Kind::RepoNotFound),
        (hub(401, None, bad_token), false, Kind::Unauthorized),
        (hub(401, None, bad_token), true, Kind::Unauthorized),
        (hub(401, None, None), true, Kind::Unauthorized),
        (hub(404, None, None), true, Kind::NotFound),
        (hub(400, None, None), true, Kind::BadRequest),
        (hub(413, None, None), true, Kind::BadRequest),
        (hub(408, None, None), true, Kind::Timeout),
        (hub(409, None, None), true, Kind::Conflict),
        (hub(412, None, None), true, Kind::Conflict),
        (hub(429, None, None), true, Kind::RateLimited),
        (hub(500, Some("Odd"), None), true, Kind::ServerError),
        (hub(503, None, None), true, Kind::ServerError),
    ] {
        let shown = format!("{refusal:?}");
        assert_eq!(error(refusal, signed_in).kind(), kind, "{shown}");
    }
}

/// Storage speaks no Hub: neither its codes nor its statuses say anything about the repo.
#[test]
fn storage_is_not_the_hub() {
    for (status, kind) in [(401, Kind::Forbidden), (403, Kind::Forbidden), (404, Kind::NotFound)] {
        let error = error(refusal(status, Some("RepoNotFound"), None, false), false);
        assert_eq!(error.kind(), kind, "{status}");
    }
}

/// An error names the repo, the file and the way out, and its context is for programs.
#[test]
fn errors_name_the_thing_and_the_way_out() {
    for (status, code, signed_in, words) in [
        (404, Some("EntryNotFound"), true, &["model org/name", "\"f\"", "\"main\""][..]),
        (404, Some("RevisionNotFound"), true, &["model org/name", "\"main\""][..]),
        (401, Some("GatedRepo"), false, &["https://hub.example/org/name", "log in"][..]),
        (403, Some("GatedRepo"), true, &["https://hub.example/org/name", "not on its list"][..]),
        (401, None, false, &["does not exist or is private", "log in"][..]),
        (401, None, true, &["refused the token", "HF_TOKEN"][..]),
    ] {
        let error = error(refusal(status, code, None, true), signed_in);
        for word in words {
            assert!(error.message().contains(word), "{word} in {error}");
        }
        let context = error.context();
        assert_eq!(context.http_status, Some(status));
        assert_eq!(context.request_id.as_deref(), Some("req-1"));
        assert_eq!(context.repo.as_deref(), Some("org/name"));
        assert_eq!(context.revision.as_deref(), Some("main"));
        assert_eq!(context.file.as_deref(), Some("f"));
        assert_eq!(context.url.as_deref(), Some("https://hub.example/x"));
    }
}

/// A rate limit names its bucket and the wait.
#[test]
fn a_rate_limit_names_its_bucket_and_wait() {
    let mut refusal = refusal(429, None, None, true);
    refusal.rate_limit =
        Some(RateLimit { bucket: "resolvers".to_owned(), remaining: 0, reset: 172 });
    refusal.retry_after = Some(172);
    let error = error(refusal, false);
    assert!(error.message().contains("\"resolvers\""), "{error}");
    assert!(error.message().contains("172 s"), "{error}");
    assert_eq!(error.context().retry_after, Some(172));
}

/// The server's words are quoted on one line, cut to length, and without the token that it echoes.
#[test]
fn the_servers_words_are_tamed() {
    let message = format!("no\r\n\u{1b}[31mgood: Bearer {SECRET} {}", "é".repeat(2000));
    let error = error(refusal(403, None, Some(&message), true), true);
    assert!(error.message().contains("(the Hub says: no   [31mgood: Bearer [token] é"), "{error}");
    assert!(!format!("{error:?}{}", error.details()).contains(SECRET));
    assert!(error.message().chars().count() < 700);
    assert!(!error.message().chars().any(char::is_control));
}

/// The explanation is found in each form of an error body.
#[test]
fn error_bodies_are_read() {
    for (body, expected) in [
        (r#"{"error":"bad"}"#, Some("bad")),
        (r#"{"error":["a"," b ",3,""]}"#, Some("a; b")),
        (r#"{"error":"grant","error_description":"expired"}"#, Some("grant; expired")),
        (r#"{"errors":[{"message":"x"},{"other":1},{"message":"y"}]}"#, Some("x; y")),
        (r#"{"error":{"nested":1}}"#, None),
        (r#"{"error":""}"#, None),
        ("[1]", None),
        ("<html>", None),
        ("", None),
    ] {
        assert_eq!(message_in(body.as_bytes()).as_deref(), expected, "{body}");
    }
}

/// Times in words are read where they are times to wait.
#[test]
fn times_in_words_are_read() {
    for (words, expected) in [
        ("You can retry this action in about 1 hour. If you're new", Some(3600)),
        ("(128 per hour) Retry in 5 minutes.", Some(300)),
        ("try again after an hour", Some(3600)),
        ("wait for 30 seconds", Some(30)),
        ("in 99999999999999999 days", Some(86_400)),
        ("128 commits per hour", None),
        ("in about one hour", None),
        ("in 1", None),
        ("", None),
    ] {
        assert_eq!(time_in(words), expected, "{words}");
    }
}

/// Words are a quota's where no header names a time; one beyond a window is no use to wait for.
#[test]
fn a_quota_in_words_is_not_waited_for() {
    let hold = Hold { until: Instant::now(), is_named: false, was_sent: true, futile: None };
    let said = |words: &str, retry_after, hold| {
        let refusal = refusal(429, None, Some(words), true);
        error(Refusal { retry_after, hold: Some(hold), ..refusal }, true).context().clone()
    };
    let hour = said("retry in about 1 hour", None, hold);
    assert_eq!((hour.retry_after, hour.hold.unwrap().futile), (Some(3600), Some(Futile::Quota)));
    let minute = said("retry in about 1 minute", None, hold);
    assert_eq!((minute.retry_after, minute.hold.unwrap().futile), (Some(60), None));
    assert!(minute.hold.unwrap().is_named);
    let named = said("retry in about 1 hour", Some(5), hold);
    assert_eq!((named.retry_after, named.hold), (Some(5), Some(hold)));
}
