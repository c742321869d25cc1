//! The contract of the header's functions, held up by the library, and found broken where it is.
//!
//! The cases are in `c/contract.c`, which knows no implementation.

pub mod support;

use std::process::Command;

use support::{Bench, Linkage, as_nobody, text};

#[test]
#[cfg_attr(not(have_cc), ignore = "needs a C compiler")]
fn the_shared_library_keeps_the_contract() {
    let bench = Bench::new();
    let program = bench.build(&["contract"], Linkage::Shared, &[]);
    bench.must_pass(&mut Command::new(program));
}

#[test]
#[cfg_attr(not(have_cc), ignore = "needs a C compiler")]
fn the_static_library_keeps_the_contract() {
    let bench = Bench::new();
    let program = bench.build(&["contract"], Linkage::Static, &[]);
    bench.must_pass(&mut Command::new(program));
}

#[test]
#[cfg_attr(not(have_cc), ignore = "needs a C compiler")]
fn an_ordinary_user_finds_the_contract_kept() {
    let bench = Bench::new();
    for name in ["contract", "additions"] {
        let program = bench.build(&[name], Linkage::Shared, &[]);
        bench.must_pass(&mut as_nobody(&program).unwrap_or_else(|| Command::new(&program)));
    }
}

/// Cases that cannot fail would prove nothing: the usual way to write these functions breaks them.
#[test]
#[cfg_attr(not(have_cc), ignore = "needs a C compiler")]
fn the_usual_implementation_is_found_out() {
    let broken = [
        "descriptors_are_close_on_exec",
        "a_live_socket_of_another_type_is_in_use",
        "a_full_backlog_is_in_use_and_does_not_hang",
        "what_is_no_socket_is_never_touched",
        "without_permission_to_ask_nothing_is_changed",
        "without_descriptors_nothing_is_stolen_or_leaked",
        "a_path_too_long_for_an_address_works",
        "with_disallow_chdir_a_long_path_is_an_error_that_changes_nothing",
        "a_live_server_needs_no_lock_to_be_in_use",
        "the_lock_is_given_back_whatever_the_result",
        "a_relative_path_survives_chdir",
        "a_directory_renamed_with_its_server_is_no_theft",
        "a_forked_childs_free_leaves_the_parents_server_alone",
        "a_program_that_was_started_keeps_no_server_alive",
        "listen_replaces_the_dead_and_refuses_everything_else",
        "threads_with_long_paths_leave_the_working_directory_alone",
    ];
    let bench = Bench::new();
    // It hangs where it hangs: no need to wait a minute for it.
    let program = bench.build(&["contract", "naive"], Linkage::Without, &["-DPATIENCE_S=2"]);
    let output = bench.run(Command::new(program).args(broken));
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for case in broken {
        assert!(said.contains(&format!("FAILED  {case}")), "{case} was not found broken:\n{said}");
    }
}
