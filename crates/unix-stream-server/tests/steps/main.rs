//! At every step: the library on the real kernel, killed, left standing, or failed at the entry and exit of every system
//! call of every operation in `stepping/operations.rs`.

#[cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod stepping;
#[path = "../support/mod.rs"]
pub mod support;

#[cfg(not(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64"))))]
#[test]
#[ignore = "the stepper is built for Linux with the GNU C library on x86-64 and AArch64"]
fn at_every_step() {
    panic!("not built here");
}
