//! Gives the shared library the name that programs linked with it look for at run time. Without it,
//! the linker would write down the path that the library had when they were built.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    // The version's first number: xet.h only grows as long as it stays, and xet_abi_version() tells how
    // far. What is installed is a link of that name (packaging/tarball).
    let major = env!("CARGO_PKG_VERSION_MAJOR");
    match target.as_str() {
        "linux" | "freebsd" => {
            println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libxet.so.{major}");
        }
        "macos" => {
            println!("cargo::rustc-cdylib-link-arg=-Wl,-install_name,@rpath/libxet.{major}.dylib");
        }
        _ => {}
    }
}
