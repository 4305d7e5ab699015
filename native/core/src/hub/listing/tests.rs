use super::*;

fn file(path: &str, size: u64) -> Listed {
    Listed { path: path.to_owned(), size, oid: "a".repeat(40), storage: Storage::Git }
}

fn vague(path: &str) -> (String, Error) {
    (path.to_owned(), Error::internal("vague"))
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The same file twice is one; two files with one name are none.
#[test]
fn twins_are_one_and_rivals_none() {
    let files = vec![file("a", 1), file("b", 1), file("a", 1), file("b", 2), file("c", 3)];
    let (files, open) = sort_out(Tree { files, ..Tree::default() }, &names(&["a", "b", "c"]));
    assert_eq!(files.entries, [file("a", 1), file("c", 3)]);
    assert_eq!(files.refused.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(open.len(), 0);
}

/// What the tree doesn't describe is left open, once, unless it's a folder or something else.
#[test]
fn what_is_missing_is_left_open() {
    let tree = Tree {
        files: vec![file("a", 1), file("x/y/z", 1)],
        vague: vec![vague("a"), vague("b"), vague("x"), vague("w"), vague("b")],
        folders: names(&["d"]),
        others: names(&["s"]),
        ..Tree::default()
    };
    let (_, open) = sort_out(tree, &names(&["a", "b", "c", "c", "d", "s", "w/v"]));
    let open: Vec<_> = open.iter().map(|(path, said)| (path.as_str(), said.is_some())).collect();
    assert_eq!(open, [("b", true), ("c", false), ("w/v", false)]);
}

/// An empty listing is one only if the names say so, too.
#[test]
fn nothing_is_all_only_where_both_say_so() {
    let lacking = || Names::Lacking(Error::new(Kind::NotFound, "gone"));
    let known = || Names::Known(vec![]);
    let empty = Tree { is_broken_off: true, ..Tree::default() };
    let one = Tree { files: vec![file("a", 1)], ..Tree::default() };
    assert_eq!(confirming(known(), &empty, false).unwrap(), Vec::<String>::new());
    assert_eq!(confirming(known(), &empty, true).unwrap_err().kind(), Kind::InvalidResponse);
    for names in [known(), lacking()] {
        let why = confirming(names, &one, false).unwrap_err();
        assert!(one.by_itself(&why).is_ok());
        assert!(empty.by_itself(&why).unwrap_err().message().contains("siblings"));
    }
    assert_eq!(confirming(lacking(), &empty, false).unwrap_err().kind(), Kind::NotFound);
}
