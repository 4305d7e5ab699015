//! Where the token and signed URLs may go, and that no error shows them.

use std::sync::{Arc, OnceLock};

use xet_ffi_core::call::progress::Counters;
use xet_ffi_core::model::error::Kind;

use crate::support::script::{Received, Reply, Script, refusing_url};
use crate::support::{COMMIT, TOKEN, hub, model, path, revision};
use crate::{bytes, open, resolve};

/// What only the Hub may see stays with it: it travels along redirects within the Hub, not to
/// another origin, and not back from there.
#[tokio::test]
async fn credentials_stay_with_the_hub() {
    let home = Arc::new(OnceLock::<String>::new());
    let target = Arc::clone(&home);
    let storage = Script::new(move |_| Reply::redirect(target.get().unwrap()));
    let away = storage.url("/signed?X-Amz-Signature=s3cr3t");
    let server = Script::new(move |request: &Received| match request.target.as_str() {
        "/moved" => Reply::redirect(&away),
        "/home" => Reply::status(200).body("abc"),
        _ => Reply::redirect("/moved"),
    });
    home.set(server.url("/home")).unwrap();
    assert_eq!(bytes(open(&server, 0).await.unwrap()).await.unwrap(), b"abc");

    let at_hub = server.received();
    let seen: Vec<_> =
        at_hub.iter().map(|r| (r.target.as_str(), r.header("authorization"))).collect();
    let bearer = format!("Bearer {TOKEN}");
    assert_eq!(
        seen,
        [
            (&*format!("/org/name/resolve/{COMMIT}/f"), Some(&*bearer)),
            ("/moved", Some(&*bearer)),
            ("/home", None)
        ]
    );
    assert_eq!(at_hub[0].header("x-hf-download-counter"), Some("1"));
    assert_eq!(at_hub[0].header("accept-encoding"), Some("identity"));
    assert!(at_hub[0].header("user-agent").unwrap().contains("xet-ffi/"));
    let names: Vec<String> = storage.received()[0].names();
    assert_eq!(names, ["accept", "accept-encoding", "host", "user-agent"]);
}

/// A HEAD isn't followed out of the Hub: the redirect itself describes the file.
#[tokio::test]
async fn a_head_is_not_followed_to_storage() {
    let storage = Script::new(|_| Reply::status(200));
    let away = storage.url("/signed");
    let server = Script::new(move |request: &Received| match request.target.as_str() {
        "/api/resolve-cache/f?x=%2F" => Reply::redirect(&away)
            .header("X-Repo-Commit", COMMIT)
            .header("X-Linked-Etag", &format!("\"{}\"", "b".repeat(64)))
            .header("X-Linked-Size", "5"),
        _ => Reply::redirect("/api/resolve-cache/f?x=%2F"),
    });
    let counters = Counters::default();
    let hub = hub(&server.url(""));
    let (repo, main) = (model("org/name"), revision("main"));
    let (at, entry) = hub.file_entry(&repo, &main, &path("f"), &counters).await.unwrap();
    assert_eq!((at.as_str(), entry.size, entry.etag()), (COMMIT, 5, &*"b".repeat(64)));
    assert!(
        server.received().iter().all(|r| r.method == "HEAD" && r.header("authorization").is_some())
    );
    assert_eq!((server.received().len(), storage.received().len()), (2, 0));
    let other = revision(&"2".repeat(40));
    let error = hub.file_entry(&repo, &other, &path("f"), &counters).await.unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidResponse, "another commit than the one asked for");
}

/// Redirects that never end, or lead nowhere, are an error and not a hang.
#[tokio::test]
async fn redirects_that_lead_nowhere_are_errors() {
    let endless = Script::new(|request| Reply::redirect(&format!("/{}", request.number)));
    let circle = Script::new(|_| Reply::redirect("/circle"));
    let nowhere = Script::new(|_| Reply::status(302));
    let local = Script::new(|_| Reply::redirect("file:///etc/passwd"));
    for (server, requests) in [(endless, 21), (circle, 2), (nowhere, 1), (local, 1)] {
        let error = open(&server, 0).await.unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidResponse, "{error}");
        assert_eq!(server.received().len(), requests, "{error}");
    }
}

/// The refusal of a signed URL shows neither the signature nor the token.
#[tokio::test]
async fn a_refused_signature_is_not_shown() {
    let storage = Script::new(|_| Reply::status(403).body("<Error>X-Amz-Signature=s3cr3t</Error>"));
    let away = storage.url("/signed?X-Amz-Signature=s3cr3t");
    let server = Script::new(move |_| Reply::redirect(&away));
    let error = open(&server, 0).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Forbidden);
    assert_eq!(error.context().url.as_deref(), Some(storage.url("/signed").as_str()));
    let shown = format!("{error} {error:?} {}", error.details());
    assert!(!shown.contains("s3cr3t") && !shown.contains(TOKEN), "{shown}");

    let gone = format!("{}/signed?X-Amz-Signature=s3cr3t", refusing_url());
    let server = Script::new(move |_| Reply::redirect(&gone));
    let error = open(&server, 0).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Connection);
    let shown = format!("{error} {error:?} {}", error.details());
    assert!(!shown.contains("s3cr3t"), "{shown}");
}

/// A token that the server echoes in its explanation isn't passed on.
#[tokio::test]
async fn an_echoed_token_is_not_shown() {
    let server = Script::new(|_| Reply::status(401).body(format!(r#"{{"error":"bad {TOKEN}"}}"#)));
    let error = resolve(&server).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthorized);
    assert!(error.message().contains("bad [token]"), "{error}");
}
