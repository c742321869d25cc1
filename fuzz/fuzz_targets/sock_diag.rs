//! Any bytes as the kernel's list of listeners, and as its answer about one.

#![no_main]

libfuzzer_sys::fuzz_target!(|datagram: &[u8]| {
    unix_stream_server::fuzz_sock_diag(datagram);
    unix_stream_server::fuzz_sock_diag_of_one(datagram);
});
