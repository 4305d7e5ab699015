//! Link headers: nothing, or a target that stands in them.

use proptest::prelude::*;

use super::*;
use crate::fuzz::mutated_text;

const LINK: &str =
    r#"<https://h/api/x?cursor=a,b;c>; rel="next", <https://c/v1>; title="a, b"; rel=xet-auth"#;

proptest! {
    /// However links are nested and cut, the search ends, with something between angle brackets.
    #[test]
    fn targets_stand_in_the_header(text in mutated_text(LINK, &["<", ">", "; rel=next", "rel="])) {
        for rel in ["next", "xet-auth"] {
            if let Some(target) = find_in(&text, rel) {
                let linked = format!("<{target}>");
                prop_assert!(text.contains(&linked));
                prop_assert!(!target.contains('>'));
            }
        }
    }
}
