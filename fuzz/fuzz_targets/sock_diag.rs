//! Any bytes as the kernel's list of listeners.

#![no_main]

libfuzzer_sys::fuzz_target!(|datagram: &[u8]| unix_stream_server::fuzz_sock_diag(datagram));
