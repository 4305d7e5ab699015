use url::Url;

use super::*;
use crate::hub::HUB;

fn page(body: &[u8]) -> Result<Tree> {
    let url = Url::parse("https://hub.example/api/models/a/tree/x").unwrap();
    let (status, content_type) = (200, "application/json".to_owned());
    let from = JsonFrom { server: HUB, url, status, content_type, by_way_of: None };
    let mut tree = Tree::default();
    seen(&from, body)?.into_iter().for_each(|seen| tree.add(seen));
    Ok(tree)
}

/// A path that is no UTF-8, raw or as half of a surrogate, is listed with a replacement.
#[test]
fn a_path_that_is_no_text_is_listed() {
    let oid = "a".repeat(40);
    let entry = |path: &[u8]| {
        let (head, tail) =
            (r#"[{"type":"file","size":1,"path":""#, format!(r#"","oid":"{oid}"}}]"#));
        [head.as_bytes(), path, tail.as_bytes()].concat()
    };
    for path in [&b"caf\xe9.txt"[..], br"caf\ud800.txt"] {
        let listed = page(&entry(path)).unwrap();
        let name = listed.files[0].path.strip_prefix("caf").unwrap();
        assert_eq!(name.trim_start_matches('\u{fffd}'), ".txt");
        assert_ne!(name, ".txt");
    }
}

/// What isn't an entry takes no other with it; what isn't a list is told from one that was cut.
#[test]
fn a_page_is_read_as_far_as_it_can_be() {
    let tree =
        page(br#"[5, {"path": "a", "size": 1}, null, [], {"type": "directory", "path": "d"}]"#);
    let tree = tree.unwrap();
    assert_eq!((tree.nameless, tree.vague.len(), tree.folders.len()), (3, 1, 1));
    assert!(page(b"\xef\xbb\xbf[]").is_ok());
    for (body, is_another) in [
        (&b"{}"[..], true),
        (b"null", true),
        (b"\"no\"", true),
        (b"5", true),
        (br#"[{"path": 5}]"#, true),
        (br#"[{"path": "a"#, false),
        (b"<html>", false),
        (b"", false),
    ] {
        let error = page(body).unwrap_err();
        assert_eq!(crate::http::body::is_of_another_form(&error), is_another, "{body:?}");
    }
}

/// Folders with nothing in them are closed, however deep the others are.
#[test]
fn closed_folders_are_found() {
    let folder = |path: &str| Seen::Folder(path.to_owned());
    let other = |path: &str| Seen::Other(path.to_owned());
    let mut tree = Tree::default();
    for path in ["a", "a/b", "d", "d/e", "ab"] {
        tree.add(folder(path));
    }
    tree.add(other("a/b/c"));
    assert_eq!(tree.closed(&[]), ["d/e", "ab"]);
    assert!(tree.doubt().unwrap().contains("\"d/e\""));
    let mut found = Tree::default();
    for path in ["ab/x", "abc", "d/e", "x"] {
        found.add(other(path));
    }
    tree.add_below("ab", found);
    assert_eq!(tree.closed(&[]), ["d/e"]);
    assert_eq!(tree.others, ["a/b/c", "ab/x"]);
}
