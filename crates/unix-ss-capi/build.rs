//! The shared library's name for the dynamic linker, and whether there are compilers to test with.

use std::process::{Command, Stdio};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // The number changes with the first incompatible change of the interface.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libunix_ss.so.0");
    for (variable, default, name) in [("CC", "cc", "have_cc"), ("CXX", "c++", "have_cxx")] {
        println!("cargo:rerun-if-env-changed={variable}");
        println!("cargo:rustc-check-cfg=cfg({name})");
        let compiler = std::env::var(variable).unwrap_or_else(|_| default.to_owned());
        let found = Command::new(compiler).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if found.is_ok_and(|status| status.success()) {
            println!("cargo:rustc-cfg={name}");
        }
    }
}
