//! Listings by page, and those that mislead.

use serde_json::json;
use xet_ffi_core::call::progress::Counters;
use xet_ffi_core::hub::Names;
use xet_ffi_core::model::error::{Error, Kind};

use crate::support::script::{Received, Reply, Script};
use crate::support::{commit, hub, model};

fn file(name: &str) -> serde_json::Value {
    json!({"type": "file", "path": name, "oid": "a".repeat(40), "size": 1})
}

/// Lists `org/name`, of which the revision has no more names than the tree.
async fn list(server: &Script) -> Result<Vec<String>, Error> {
    let counters = Counters::default();
    let (hub, repo, names) = (hub(&server.url("")), model("org/name"), Names::Known(vec![]));
    let files = hub.list(&repo, &commit(), names, |_| true, &counters).await?;
    match files.refused.into_iter().next() {
        Some((_, error)) => Err(error),
        None => Ok(files.entries.into_iter().map(|entry| entry.path).collect()),
    }
}

/// A listing is put together from its pages, whose links may be relative.
#[tokio::test]
async fn a_listing_is_put_together_from_its_pages() {
    let server = Script::new(|request: &Received| {
        let folder = json!({"type": "directory", "path": "d", "oid": "c".repeat(40), "size": 0});
        if request.target.contains("cursor=2") {
            return Reply::json(&json!([file("d/b")]));
        }
        assert!(request.target.ends_with("?recursive=true&expand=false"), "{}", request.target);
        Reply::json(&json!([file("a"), folder])).header("Link", "<?cursor=2>; rel=\"next\"")
    });
    assert_eq!(list(&server).await.unwrap(), ["a", "d/b"]);
    assert!(server.received().iter().all(|r| r.header("authorization").is_some()));
}

/// A listing whose pages never end or repeat themselves is refused. One that leads to another host goes on at
/// the endpoint, without sending the token there.
#[tokio::test]
async fn a_listing_that_misleads_is_refused() {
    let stranger = Script::new(|_| Reply::json(&json!([])));
    let away = format!("<{}>; rel=\"next\"", stranger.url("/more"));
    let circle = Script::new(|request| {
        Reply::json(&json!([file(&format!("f{}", request.number))]))
            .header("Link", "<?cursor=1>; rel=\"next\"")
    });
    let empty = Script::new(|request| {
        Reply::json(&json!([]))
            .header("Link", &format!("<?cursor={}>; rel=\"next\"", request.number))
    });
    let twice = Script::new(|_| {
        let mut other = file("f");
        other["size"] = json!(2);
        Reply::json(&json!([file("f"), other]))
    });
    let elsewhere = Script::new(move |_| Reply::json(&json!([file("f")])).header("Link", &away));
    for (server, requests) in [(circle, 3), (empty, 1), (twice, 1), (elsewhere, 2)] {
        let error = list(&server).await.unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidResponse, "{error}");
        assert_eq!(server.received().len(), requests, "{error}");
    }
    assert!(stranger.received().is_empty());
}

/// A path that would leave its folder is listed as the others are: whoever writes it refuses it.
#[tokio::test]
async fn a_hostile_path_is_listed() {
    let hostile = "../../.ssh/authorized_keys";
    let server = Script::new(move |_| Reply::json(&json!([file("good"), file(hostile)])));
    assert_eq!(list(&server).await.unwrap(), ["good", hostile]);
}
