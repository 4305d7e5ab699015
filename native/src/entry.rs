//! How a function of `xet.h` is made: by [`entry!`], which puts the guard around it, and nowhere else.
//! A test sees to that.

/// Makes a function of the interface, exported by its name. Its body runs behind
/// [`guard`](crate::guard), which nothing unwinds out of.
///
/// - `fn xet_...(...) -> Result { ... }` can fail: C gets a `XetError *`, NULL for `Ok(())`.
/// - `fn xet_...(...) -> T = (what it returns after a panic) { ... }` can't.
macro_rules! entry {
    (fn $name:ident($($argument:ident: $type:ty),* $(,)?) -> Result $body:block) => {
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C" fn $name(
            $($argument: $type),*
        ) -> *mut crate::errors::XetError {
            crate::guard::fallible(stringify!($name), || $body)
        }
    };
    (fn $name:ident($($argument:ident: $type:ty),* $(,)?) -> $out:ty = $fallback:tt $body:block) => {
        #[unsafe(no_mangle)]
        #[allow(unused_parens, reason = "they hold a call together where the macro wants one token")]
        pub(crate) unsafe extern "C" fn $name($($argument: $type),*) -> $out {
            crate::guard::infallible(stringify!($name), $fallback, || $body)
        }
    };
}

/// Makes the function that releases what the library has [given](crate::ptr::Given).
macro_rules! release {
    (fn $name:ident($argument:ident: $type:ty)) => {
        entry! {
            fn $name($argument: *mut $type) -> () = () {
                // SAFETY: `xet.h` asks for NULL or what the library returned, released once.
                unsafe { crate::ptr::take($argument) }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    fn sources(folder: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(sources(&path));
            } else {
                found.push(path);
            }
        }
        found
    }

    /// Only this file exports functions, so there is none without its guard.
    #[test]
    fn no_function_is_exported_elsewhere() {
        let files = sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")));
        assert!(files.len() > 10, "{files:?}");
        for path in files.iter().filter(|path| !path.ends_with("src/entry.rs")) {
            let text = std::fs::read_to_string(path).unwrap();
            for (index, line) in text.lines().enumerate() {
                let exports = ["no_mangle", "export_name", "pub unsafe extern", "pub extern"];
                let is_export = exports.iter().any(|word| line.contains(word));
                assert!(!is_export, "{}:{}: {line}", path.display(), index + 1);
            }
        }
    }
}
