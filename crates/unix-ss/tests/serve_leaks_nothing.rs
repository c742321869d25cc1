//! `unix-ss serve` has no more descriptors, memory or children after many PROGs than after a few.
//!
//! In short: `unix-ss-torture soak` runs 20,000.

use std::path::Path;

#[test]
fn serve_through_many_progs_leaks_no_descriptor_no_memory_and_no_zombie() {
    let dir = tempfile::tempdir().expect("a directory");
    let life = unix_ss_race::soak::serve(Path::new(env!("CARGO_BIN_EXE_unix-ss")), dir.path(), 400);
    let life = life.expect("it serves");
    println!("{life:?}");
    assert!(life.is_good(), "{life:?}");
    assert_eq!(std::fs::read_dir(dir.path()).expect("the directory").count(), 0, "something is left");
}
