//! A kernel that lacks something, as older and smaller ones do: a call, with just this argument if one is given, fails.
//!
//! # Safety
//!
//! The filter concerns this thread and those that it starts, and cannot be taken off again. The program is read by the
//! kernel while prctl(2) runs, and outlives the call. It looks at the number of the call alone and not at the architecture,
//! which a program that makes only its own calls does not change.
#![expect(unsafe_code, reason = "prctl(2) with a filter has no safe wrapper")]

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, EINVAL, SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, c_long,
    sock_filter, sock_fprog,
};

const LOAD: u32 = BPF_LD | BPF_W | BPF_ABS;
const IF_EQUAL: u32 = BPF_JMP | BPF_JEQ | BPF_K;
const RETURN: u32 = BPF_RET | BPF_K;

/// Where `struct seccomp_data` has the number of the call, and the low half of its arguments, on little-endian machines.
const NUMBER: u32 = 0;
const ARGUMENTS: u32 = 16;

/// From here on, no two names are exchanged by this thread: renameat2(2) with `RENAME_EXCHANGE` says EINVAL, as of some
/// file systems.
pub fn without_exchange() {
    without(libc::SYS_renameat2, Some((4, libc::RENAME_EXCHANGE)), EINVAL);
}

/// From here on, this call of this thread fails: always, or if the argument of this number (the first is 0) has this value.
pub fn without(call: c_long, argument: Option<(u32, u32)>, errno: i32) {
    const fn step(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
        sock_filter { code: code as u16, jt, jf, k }
    }
    let call = u32::try_from(call).expect("the number of a call");
    let mut steps = vec![step(LOAD, NUMBER, 0, 0)];
    match argument {
        Some((number, value)) => steps.extend([
            step(IF_EQUAL, call, 0, 3),
            step(LOAD, ARGUMENTS + 8 * number, 0, 0),
            step(IF_EQUAL, value, 0, 1),
        ]),
        None => steps.push(step(IF_EQUAL, call, 0, 1)),
    }
    steps.push(step(RETURN, SECCOMP_RET_ERRNO | errno as u32, 0, 0));
    steps.push(step(RETURN, SECCOMP_RET_ALLOW, 0, 0));
    let program = sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: see the head of this file.
    let done = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    };
    assert!(done, "prctl: {}", std::io::Error::last_os_error());
}
