//! Answers to a request for a part of a file.

use xet_ffi_core::model::error::Kind;

use crate::support::script::{Received, Reply, Script};
use crate::{bytes, open};

/// Every answer to a range is understood: honoured, ignored, past the end, or wrong.
#[tokio::test]
async fn ranges_are_understood() {
    let part = |range: &'static str| {
        move |_: &Received| Reply::status(206).header("Content-Range", range).body("defg")
    };
    let server = Script::new(part("bytes 3-6/7"));
    let content = open(&server, 3).await.unwrap();
    assert_eq!((content.starts_at, content.total), (3, Some(7)));
    assert_eq!(bytes(content).await.unwrap(), b"defg");
    assert_eq!(server.received()[0].header("range"), Some("bytes=3-"));

    let content = open(&Script::new(|_| Reply::status(200).body("abcdefg")), 3).await.unwrap();
    assert_eq!((content.starts_at, content.total), (0, Some(7)));

    let beyond = |total: u64| {
        Script::new(move |_| {
            Reply::status(416).header("Content-Range", &format!("bytes */{total}"))
        })
    };
    let content = open(&beyond(3), 3).await.unwrap();
    assert_eq!((content.starts_at, content.total), (3, Some(3)));
    assert!(bytes(content).await.unwrap().is_empty());
    for server in [
        beyond(2),
        Script::new(|_| Reply::status(416)),
        Script::new(part("bytes 2-5/7")),
        Script::new(part("bytes 3-6/5")),
        Script::new(|_| Reply::status(206).body("defg")),
        Script::new(|_| Reply::status(204)),
    ] {
        assert_eq!(open(&server, 3).await.unwrap_err().kind(), Kind::InvalidResponse);
    }
    let unasked = Script::new(part("bytes 0-3/7"));
    assert_eq!(open(&unasked, 0).await.unwrap_err().kind(), Kind::InvalidResponse);
}
