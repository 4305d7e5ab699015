use reqwest::header::HeaderValue;

use xet_core_structures::merklehash::MerkleHash;

use super::*;

const COMMIT: &str = "1111111111111111111111111111111111111111";
const BLOB: &str = "2222222222222222222222222222222222222222";
const SHA256: &str = "3333333333333333333333333333333333333333333333333333333333333333";
const XET: &str = "4444444444444444444444444444444444444444444444444444444444444444";
/// The oid of the LFS pointer for 12 bytes of `SHA256`, by `git hash-object`.
const POINTER: &str = "3892469821a32db27206c0c9cedb6d808c430fb9";
const AUTH: &str = r#"<https://huggingface.co/api/x>; rel="xet-auth""#;

/// Reads the head of an answer about file `f`.
fn read(status: u16, pairs: &[(&'static str, &str)]) -> Result<(CommitId, Entry)> {
    let url = Url::parse("https://hub.example/org/name/resolve/main/f").unwrap();
    let headers: HeaderMap = pairs
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap()))
        .collect();
    let head = Head { url: &url, status, headers: &headers, passed: &[] };
    match head.read(&RepoPath::new("f").unwrap(), None) {
        Looked::Found(commit, entry) => Ok((commit, entry)),
        Looked::Lacking { why, .. } => Err(why),
    }
}

/// A git file is described by its own ETag and length, however the ETag is spelt.
#[test]
fn a_git_file_is_described_by_its_own_headers() {
    for etag in [format!("\"{BLOB}\""), format!("W/\"{BLOB}\""), BLOB.to_owned()] {
        let (commit, entry) =
            read(200, &[("x-repo-commit", COMMIT), ("etag", &etag), ("content-length", "7")])
                .unwrap();
        assert_eq!((commit.as_str(), entry.size), (COMMIT, 7), "{etag}");
        assert_eq!((entry.oid.as_str(), entry.storage), (BLOB, Storage::Git), "{etag}");
    }
}

/// A file in storage is described by the redirect to it, whose own ETag and length mean the
/// redirect.
#[test]
fn a_stored_file_is_described_by_its_redirect() {
    let lfs = [
        ("x-repo-commit", COMMIT),
        ("etag", BLOB),
        ("content-length", "1400"),
        ("x-linked-etag", SHA256),
        ("x-linked-size", "1048576"),
    ];
    let (_, entry) = read(302, &lfs).unwrap();
    assert_eq!(entry.storage, Storage::Lfs { sha256: SHA256.to_owned() });
    assert_eq!(entry.size, 1_048_576);

    let hash = MerkleHash::from_hex(XET).unwrap();
    let xet = Storage::Xet { sha256: SHA256.to_owned(), hash };
    for (route, storage) in [
        (Some(("link", AUTH)), xet.clone()),
        (Some(("x-xet-refresh-route", "/api/x")), xet),
        (Some(("link", r#"<https://x>; rel="next""#)), entry.storage.clone()),
        (None, entry.storage.clone()),
    ] {
        let pairs: Vec<_> = lfs.into_iter().chain([("x-xet-hash", XET)]).chain(route).collect();
        assert_eq!(read(302, &pairs).unwrap().1.storage, storage, "{route:?}");
    }
    let bad: Vec<_> = lfs.into_iter().chain([("x-xet-hash", "f00"), ("link", AUTH)]).collect();
    assert_eq!(read(302, &bad).unwrap().1.storage, entry.storage);
}

/// An answer that lacks what we need, or has it in a form that could do harm as a file name, is
/// refused.
#[test]
fn an_incomplete_answer_is_refused() {
    let (commit, etag, size) = (("x-repo-commit", COMMIT), ("etag", BLOB), ("content-length", "7"));
    let linked = ("x-linked-etag", SHA256);
    for (status, pairs, words) in [
        (200, &[etag, size][..], "commit"),
        (200, &[("x-repo-commit", "main"), etag, size][..], "commit"),
        (200, &[commit, size][..], "ETag"),
        (200, &[commit, ("etag", "\"../../x\""), size][..], "ETag"),
        (200, &[commit, ("etag", "W/W/\"x\""), size][..], "ETag"),
        (302, &[commit, etag, ("x-linked-size", "7")][..], "ETag"),
        (200, &[commit, etag][..], "size"),
        (200, &[commit, etag, ("content-length", "-7")][..], "size"),
        (302, &[commit, linked, ("x-linked-size", "9223372036854775808")][..], "size"),
        (302, &[commit, linked, ("x-linked-size", "18446744073709551616")][..], "size"),
        (200, &[commit, etag, size, ("content-encoding", "gzip")][..], "size"),
        (302, &[commit, ("x-linked-etag", SHA256), size][..], "size"),
    ] {
        let error = read(status, pairs).unwrap_err();
        assert_eq!(error.kind(), crate::model::error::Kind::InvalidResponse, "{pairs:?}");
        assert!(error.message().contains(words), "{error}");
        assert!(!error.is_transient(), "{error}");
    }
}

/// A length of 0 is that of an empty file, or of an answer without a body to a question about another.
#[test]
fn an_empty_file_is_told_from_an_empty_answer() {
    const NOTHING: &str = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";
    let head =
        |etag| read(200, &[("x-repo-commit", COMMIT), ("etag", etag), ("content-length", "0")]);
    assert_eq!(head(NOTHING).unwrap().1.size, 0);
    assert!(head(BLOB).unwrap_err().message().contains("length of 0"));
}

/// What a redirect has said counts, if the answer doesn't say it; an ETag that isn't the Hub's for
/// certain is a guess.
#[test]
fn what_is_lacking_comes_from_elsewhere() {
    let url = Url::parse("https://mirror.example/storage/f").unwrap();
    let headers = |pairs: &[(&'static str, &str)]| -> HeaderMap {
        let pairs =
            pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        pairs.collect()
    };
    let (commit, path) = (CommitId::parse(COMMIT).unwrap(), RepoPath::new("f").unwrap());
    let look = |own: &[(&'static str, &str)], passed: &[(&'static str, &str)], asked| {
        let (own, passed) = (headers(own), [headers(passed)]);
        Head { url: &url, status: 200, headers: &own, passed: &passed }.read(&path, asked)
    };
    let linked = [("x-linked-etag", SHA256), ("x-linked-size", "9")];
    let named = [("x-repo-commit", COMMIT), linked[0], linked[1]];
    let own = [("etag", BLOB), ("content-length", "7")];
    assert!(matches!(look(&[], &named, None), Looked::Found(_, entry) if entry.size == 9));
    assert!(matches!(look(&linked, &[], Some(commit.clone())), Looked::Found(..)));
    assert!(matches!(look(&own, &named[..1], None), Looked::Lacking { guess: Some(_), .. }));
    assert!(matches!(look(&own, &[], Some(commit)), Looked::Lacking { guess: Some(_), .. }));
    assert!(matches!(look(&own, &[], None), Looked::Lacking { guess: None, .. }));
}

/// The oid of an LFS file is that of its pointer, as git computes it.
#[test]
fn the_pointers_oid_is_gits() {
    assert_eq!(pointer_oid(SHA256, 12), POINTER);
}
