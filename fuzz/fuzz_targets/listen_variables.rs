//! Any values of the variables that hand sockets in: nothing, an error that names one, or what fits together.

#![no_main]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

libfuzzer_sys::fuzz_target!(|values: [Option<Vec<u8>>; 5]| {
    unix_stream_server::fuzz_listen_variables(values.map(|value| value.map(OsString::from_vec)))
});
