//! The header, as C and C++ compilers see it, against the library: layout, values, version, symbols.

pub mod support;

use std::collections::BTreeMap;
use std::fs;
use std::mem::{offset_of, size_of};
use std::process::Command;

use support::{Bench, Linkage, compiler, crate_dir, include_dir, library, text};
use unix_ss::{ListenOpts, Peer, Socket, State};

#[cfg(target_pointer_width = "64")]
type Stat = libc::stat;
#[cfg(not(target_pointer_width = "64"))]
type Stat = libc::stat64;

#[test]
#[cfg_attr(not(have_cc), ignore = "needs a C compiler")]
fn the_layout_is_the_c_compilers() {
    let bench = Bench::new();
    let program = bench.build(&["layout"], Linkage::Without, &["-D_FILE_OFFSET_BITS=64"]);
    let said = text(&Command::new(program).output().expect("it runs"));
    let said: BTreeMap<&str, &str> = said.lines().map(|line| line.rsplit_once(' ').expect("name value")).collect();
    let number = |value: usize| value.to_string();
    let ours = [
        ("init 0", "0".to_owned()),
        ("disallow_chdir", ListenOpts::DISALLOW_CHDIR.to_string()),
        ("sizeof unix_stream_listen_opts", number(size_of::<ListenOpts>())),
        ("sizeof unix_ss_socket", number(size_of::<Socket>())),
        ("unix_ss_socket.path_socket", number(offset_of!(Socket, path_socket))),
        ("unix_ss_socket.st_socket", number(offset_of!(Socket, st_socket))),
        ("unix_ss_socket.fd_socket", number(offset_of!(Socket, fd_socket))),
        ("sizeof stat", number(size_of::<Stat>())),
        ("stat.st_dev", number(offset_of!(Stat, st_dev))),
        ("stat.st_ino", number(offset_of!(Stat, st_ino))),
        ("stat.st_mode", number(offset_of!(Stat, st_mode))),
        ("stat.st_nlink", number(offset_of!(Stat, st_nlink))),
        ("stat.st_size", number(offset_of!(Stat, st_size))),
        ("sizeof unix_ss_peer", number(size_of::<Peer>())),
        ("unix_ss_peer.pid", number(offset_of!(Peer, pid))),
        ("unix_ss_peer.uid", number(offset_of!(Peer, uid))),
        ("unix_ss_peer.gid", number(offset_of!(Peer, gid))),
        ("UNIX_SS_ABSENT", (State::Absent as i32).to_string()),
        ("UNIX_SS_DEAD", (State::Dead as i32).to_string()),
        ("UNIX_SS_LIVE", (State::Live as i32).to_string()),
        ("UNIX_SS_BUSY", (State::Busy as i32).to_string()),
        ("UNIX_SS_OTHER_TYPE", (State::OtherType as i32).to_string()),
        ("UNIX_SS_NOT_A_SOCKET", (State::NotASocket as i32).to_string()),
        (concat!("version ", env!("CARGO_PKG_VERSION")), env!("CARGO_PKG_VERSION").to_owned()),
    ];
    let ours: BTreeMap<&str, &str> = ours.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(said, ours);
}

/// The header alone, first and twice in a file, in every dialect.
fn assert_clean(compiler: &str, language: &str, dialects: &[&str]) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("alone");
    let options = "struct unix_stream_listen_opts opts = UNIX_STREAM_LISTEN_OPTS_INIT;";
    let include = "#include \"unix-stream-server.h\"\n";
    fs::write(&file, format!("{include}{include}int main(void) {{ {options} return opts.disallow_chdir; }}\n"))
        .expect("write");
    for dialect in dialects {
        let mut command = Command::new(compiler);
        command.args(["-x", language, &format!("-std={dialect}"), "-Wall", "-Wextra", "-pedantic", "-Werror"]);
        command.arg("-fsyntax-only").arg("-I").arg(include_dir()).arg(&file);
        let output = command.output().expect("the compiler runs");
        assert!(output.status.success(), "{command:?}\n{}", text(&output));
    }
}

#[test]
#[cfg_attr(not(have_cc), ignore = "needs a C compiler")]
fn c_compilers_have_nothing_to_say_of_the_header() {
    assert_clean(&compiler(), "c", &["c90", "c99", "c11", "c17", "gnu99", "gnu17"]);
}

#[test]
#[cfg_attr(not(have_cxx), ignore = "needs a C++ compiler")]
fn cpp_compilers_have_nothing_to_say_of_the_header() {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    assert_clean(&compiler, "c++", &["c++98", "c++11", "c++17", "c++20"]);
}

#[test]
#[cfg_attr(not(have_cc), ignore = "needs nm, which comes with a C compiler")]
fn the_shared_library_exports_just_what_the_list_says() {
    let output = Command::new("nm").args(["-D", "--defined-only"]).arg(library("libunix_ss.so")).output();
    let said = text(&output.expect("nm runs"));
    let mut symbols: Vec<&str> = said.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    symbols.sort_unstable();
    let listed = fs::read_to_string(crate_dir().join("symbols.txt")).expect("the list");
    assert_eq!(symbols, listed.lines().collect::<Vec<_>>());
}

#[test]
#[cfg_attr(not(have_cc), ignore = "needs readelf, which comes with a C compiler")]
fn the_shared_library_knows_its_name_and_needs_only_the_system() {
    let output = Command::new("readelf").arg("-d").arg(library("libunix_ss.so")).output().expect("readelf runs");
    let said = text(&output);
    let entries = |tag: &str| -> Vec<String> {
        let lines = said.lines().filter(|line| line.contains(tag));
        lines.filter_map(|line| Some(line.split_once('[')?.1.trim_end_matches(']').to_owned())).collect()
    };
    assert_eq!(entries("(SONAME)"), ["libunix_ss.so.0"]);
    for needed in entries("(NEEDED)") {
        let system = ["libc.", "libgcc_s.", "ld-linux", "ld-musl", "libm.", "libpthread.", "libdl."];
        assert!(system.iter().any(|name| needed.starts_with(name)), "{needed}");
    }
}
