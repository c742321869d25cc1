//! C programs that use what goes beyond git's functions, and all of it under the eyes of checkers.

pub mod support;

use std::process::Command;

use support::{Bench, Linkage};

#[test]
#[cfg_attr(not(have_cc), ignore = "needs a C compiler")]
fn what_goes_beyond_gits_functions_works() {
    let bench = Bench::new();
    for linkage in [Linkage::Shared, Linkage::Static] {
        let program = bench.build(&["additions"], linkage, &[]);
        bench.must_pass(&mut Command::new(program));
    }
}

#[test]
#[cfg_attr(not(have_cc), ignore = "needs a C compiler")]
fn lack_of_memory_for_what_c_may_free_is_an_error() {
    let bench = Bench::new();
    let program = bench.build(&["nomem"], Linkage::Shared, &[]);
    bench.must_pass(&mut Command::new(program));
}

/// Addresses, leaks and undefined behaviour on the C side, and of what it has from malloc by way of the library.
#[test]
#[cfg_attr(not(have_cc), ignore = "needs a C compiler with sanitizers")]
fn the_sanitizers_have_nothing_to_say() {
    let bench = Bench::new();
    for name in ["contract", "additions"] {
        let flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
        let program = bench.build(&[name], Linkage::Shared, &flags);
        bench.must_pass(Command::new(program).env("ASAN_OPTIONS", "detect_leaks=1"));
    }
}

#[test]
#[ignore = "needs valgrind"]
fn valgrind_finds_no_leak_and_no_invalid_access() {
    // valgrind keeps the limit of descriptors itself, and not as the kernel does: an open() beyond it says EMFILE when the
    // file has been created. 256 processes at once, each simulated, are too slow for a timeout of 100 ms. And it runs one
    // thread at a time, so that busy ones starve the rest.
    let not_under_it = [
        "!drain_without_descriptors_keeps_the_client",
        "!a_child_forked_beside_other_threads_hangs_in_nothing",
        "!without_descriptors_nothing_is_stolen_or_leaked",
        "!of_256_processes_at_once_one_wins_and_the_others_are_told_in_use",
    ];
    let bench = Bench::new();
    for name in ["contract", "additions"] {
        let program = bench.build(&[name], Linkage::Shared, &[]);
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--quiet", "--error-exitcode=99", "--leak-check=full"]);
        valgrind.args(["--errors-for-leak-kinds=definite,indirect,possible"]);
        bench.must_pass(valgrind.arg(program).args(not_under_it));
    }
}
