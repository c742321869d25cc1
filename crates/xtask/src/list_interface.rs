//! Prints the items of a library's public interface, a line each, from the JSON that rustdoc writes of it: what every type
//! has is left out.

use std::process::ExitCode;

use public_api::Builder;

fn main() -> ExitCode {
    let Some(json) = std::env::args_os().nth(1) else {
        eprintln!("usage: list-interface FILE.json");
        return ExitCode::from(2);
    };
    let api = match Builder::from_rustdoc_json(json).sorted(true).omit_blanket_impls(true).build() {
        Ok(api) => api,
        Err(error) => {
            // The format changes with the compiler; Cargo.toml says which one this reads.
            eprintln!("list-interface: {error}; the listing is made with Rust 1.95");
            return ExitCode::FAILURE;
        }
    };
    // Traits of the compiler's own, which no stable program can name.
    let internal = ["Freeze", "UnsafeUnpin", "StructuralPartialEq"].map(|name| format!("core::marker::{name} for "));
    for item in api.items().map(ToString::to_string) {
        if !internal.iter().any(|name| item.contains(name)) {
            println!("{item}");
        }
    }
    ExitCode::SUCCESS
}
