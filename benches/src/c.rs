//! The C functions, called as C does.
//!
//! # Safety
//!
//! The strings end in NUL, the options are a struct of the header's layout, and the pointer that `unix_ss_create` gives is
//! given back to `unix_ss_free` once, by the drop of the one [`Server`] that has it.
#![expect(unsafe_code, reason = "calls of functions of the C library")]

use std::ffi::CStr;
use std::ptr;

use unix_ss::exports::{unix_ss_create, unix_ss_free};
use unix_ss::{ListenOpts, Socket};

use crate::harness::Result;

/// A server made by `unix_ss_create`; `unix_ss_free` is its drop.
pub(crate) struct Server(*mut Socket);

pub(crate) fn create(path: &CStr) -> Result<Server> {
    let opts = ListenOpts { listen_backlog_size: 0, bits: 0 };
    let mut socket = ptr::null_mut();
    // SAFETY: see the head of this file; both are on this stack.
    let result = unsafe { unix_ss_create(path.as_ptr(), &raw const opts, -1, &raw mut socket) };
    match result {
        0 => Ok(Server(socket)),
        _ => Err(std::io::Error::last_os_error().into()),
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SAFETY: what `unix_ss_create` gave, and nobody has it any more.
        unsafe { unix_ss_free(self.0) }
    }
}
