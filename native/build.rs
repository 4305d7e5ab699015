//! Gives the shared library the name that programs linked with it look for at run time. Without it,
//! the linker would write down the path that the library had when they were built.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    // No version in the name: xet.h only ever grows, and xet_abi_version() tells how far.
    match target.as_str() {
        "linux" | "freebsd" => println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libxet.so"),
        "macos" => {
            println!("cargo::rustc-cdylib-link-arg=-Wl,-install_name,@rpath/libxet.dylib");
        }
        _ => {}
    }
}
