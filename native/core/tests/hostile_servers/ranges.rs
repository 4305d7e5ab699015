//! Answers to a request for a part of a file.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::TryStreamExt;
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
    let content = open(&beyond(7), 7).await.unwrap();
    assert_eq!((content.starts_at, content.total), (7, Some(7)));
    assert!(bytes(content).await.unwrap().is_empty());
    for server in [
        beyond(2),
        beyond(3),
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

type Answer = Box<dyn Fn() -> Reply + Send + Sync>;

/// Where a range isn't to be had, the whole is asked for, once.
#[tokio::test]
async fn without_ranges_the_whole_is_asked_for() {
    let part = |range: &str| Reply::status(206).header("Content-Range", range).body("defg");
    let answers: [Answer; 8] = [
        Box::new(|| Reply::status(416)),
        Box::new(|| Reply::status(416).header("Content-Range", "bytes */3")),
        Box::new(|| Reply::status(400)),
        Box::new(|| Reply::status(405)),
        Box::new(|| Reply::status(501)),
        Box::new(|| Reply::status(206).body("defg")),
        Box::new(move || part("bytes 2-5/7")),
        Box::new(move || part("bytes 3-6/8")),
    ];
    for answer in answers {
        let server = Script::new(move |request: &Received| match request.header("range") {
            Some(_) => answer(),
            None => Reply::status(200).body("abcdefg"),
        });
        let content = open(&server, 3).await.unwrap();
        assert_eq!((content.starts_at, content.total), (0, Some(7)));
        assert_eq!(bytes(content).await.unwrap(), b"abcdefg");
        assert_eq!(server.received().len(), 2);
    }
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Content that is encoded unasked is decoded; a range is one of the encoded bytes, unless it says
/// otherwise, and then the whole is asked for; a label alone, on what has the right length, is nothing.
#[tokio::test]
async fn encoded_content_is_decoded() {
    let whole =
        |_: &Received| Reply::status(200).header("Content-Encoding", "gzip").body(gzip(b"abcdefg"));
    let content = open(&Script::new(whole), 3).await.unwrap();
    assert_eq!((content.starts_at, content.total), (0, None));
    assert_eq!(bytes(content).await.unwrap(), b"abcdefg");

    let of_encoded = Script::new(move |request: &Received| match request.header("range") {
        Some(_) => Reply::status(206)
            .header("Content-Encoding", "gzip")
            .header("Content-Range", "bytes 3-26/27")
            .body(&gzip(b"abcdefg")[3..]),
        None => whole(request),
    });
    let content = open(&of_encoded, 3).await.unwrap();
    assert_eq!(bytes(content).await.unwrap(), b"abcdefg");
    assert_eq!(of_encoded.received().len(), 2);

    let of_content = Script::new(|_| {
        Reply::status(206)
            .header("Content-Encoding", "gzip")
            .header("Content-Range", "bytes 3-6/7")
            .body(gzip(b"defg"))
    });
    let content = open(&of_content, 3).await.unwrap();
    assert_eq!(content.starts_at, 3);
    assert_eq!(bytes(content).await.unwrap(), b"defg");

    for label in ["gzip", "br"] {
        let labelled = Script::new(move |_| {
            Reply::status(200).header("Content-Encoding", label).body("abcdefg")
        });
        let content = open(&labelled, 0).await.unwrap();
        assert_eq!((content.total, bytes(content).await.unwrap()), (Some(7), b"abcdefg".to_vec()));
    }
}

/// A small piece of an answer may stand for a thousand times as many bytes: they are decoded as they are taken, and
/// no more of them than that.
#[tokio::test]
async fn what_is_decoded_comes_in_small_pieces() {
    const SIZE: usize = 64 << 20;
    let bomb = gzip(&vec![0; SIZE]);
    let server = Script::new(move |_| {
        Reply::status(200).header("Content-Encoding", "gzip").body(bomb.clone())
    });
    let mut content = open(&server, 0).await.unwrap().stream;
    let mut taken = 0;
    while let Some(piece) = content.try_next().await.unwrap() {
        assert!(piece.len() <= 1 << 20, "{} bytes at a time", piece.len());
        taken += piece.len();
    }
    assert_eq!(taken, SIZE);
}

/// A coding that can't be decoded is named, and asked for once only: the next answer would be the same.
#[tokio::test]
async fn a_foreign_coding_is_named() {
    for coding in ["br", "zstd", "gzip, br"] {
        let server = Script::new(move |_| {
            Reply::status(200).header("Content-Encoding", coding).body("....")
        });
        let error = open(&server, 0).await.unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidResponse);
        assert!(error.message().contains(&format!("{coding:?}")), "{error}");
        let error = crate::resolve(&server).await.unwrap_err();
        assert!(error.message().contains(&format!("{coding:?}")), "{error}");
        assert_eq!(server.received().len(), 2);
    }
}
