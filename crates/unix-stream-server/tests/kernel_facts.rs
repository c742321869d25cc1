//! The facts of the kernel that the protocol relies on, each as a test named by the fact.
//!
//! The library is not used here: a failure says that the ground differs, not that the building does. `PLATFORM.md` has
//! the same facts as a table. The tests run as root and as an ordinary user; the few that need root say so and pass.
#![cfg(target_os = "linux")]

#[path = "kernel_facts/peercred.rs"]
mod peercred;
#[path = "kernel_facts/sock_diag.rs"]
mod sock_diag;
#[path = "kernel_facts/support.rs"]
mod support;
#[path = "support/unshared.rs"]
pub mod unshared;

use peercred::peercred;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::fs::{self, AtFlags, CWD, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{self, Shutdown, SocketType};
use rustix::process::{getgid, getpid, getuid, umask};
use std::fs as stdfs;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{chown, chroot, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::*;
use unshared::with_own_descriptors;

const S_IFMT: u32 = 0o170_000;
const S_IFSOCK: u32 = 0o140_000;
const S_IFLNK: u32 = 0o120_000;

// ---- connect(), by what stands at the path ----

#[test]
fn connect_to_nothing_or_a_dangling_symlink_says_enoent() {
    let scratch = Scratch::shared();
    let link = scratch.path("link");
    symlink("nothing", &link).unwrap();
    assert_eq!(probe(scratch.path("nothing")), Err(Errno::NOENT));
    assert_eq!(probe(link), Err(Errno::NOENT));
}

#[test]
fn connect_to_a_live_listener_succeeds_also_through_a_symlink() {
    let scratch = Scratch::shared();
    let path = scratch.path("s");
    symlink("s", scratch.path("link")).unwrap();
    let _server = listening(&path);
    assert_eq!(probe(path), Ok(()));
    assert_eq!(probe(scratch.path("link")), Ok(()));
}

#[test]
fn connect_to_a_full_backlog_says_eagain_when_non_blocking() {
    let scratch = Scratch::shared();
    let path = scratch.path("s");
    let (_server, _clients) = busy(&path);
    assert_eq!(probe(path), Err(Errno::AGAIN));
}

#[test]
fn connect_to_a_full_backlog_blocks_until_there_is_room() {
    let scratch = Scratch::shared();
    let path = scratch.path("s");
    let (server, _clients) = busy(&path);
    let waiter = waiting_client(&path);
    net::accept(&server).unwrap();
    assert_eq!(waiter.result().map(drop), Ok(()));
}

#[test]
fn so_sndtimeo_bounds_a_blocking_connect_to_a_full_backlog_with_eagain() {
    let scratch = Scratch::shared();
    let path = scratch.path("s");
    let (_server, _clients) = busy(&path);
    let socket = socket(SocketType::STREAM);
    set_socket_timeout(&socket, Timeout::Send, Some(Duration::from_millis(20))).unwrap();
    assert_eq!(in_time(move || net::connect(&socket, &address(path))), Err(Errno::AGAIN));
}

#[test]
fn poll_cannot_wait_for_room_in_a_full_backlog() {
    // It reports the unconnected socket as ready and hung up at once, so waiting needs a blocking connect or a timer.
    let scratch = Scratch::shared();
    let path = scratch.path("s");
    let (_server, _clients) = busy(&path);
    let (socket, result) = connect_nonblocking(&path);
    assert_eq!(result, Err(Errno::AGAIN));
    assert!(polled(&socket).contains(PollFlags::OUT | PollFlags::HUP));
}

#[test]
fn connect_to_a_socket_of_another_type_says_eprototype() {
    let scratch = Scratch::shared();
    let datagram = socket(SocketType::DGRAM);
    net::bind(&datagram, &address(scratch.path("datagram"))).unwrap();
    let packets = socket(SocketType::SEQPACKET);
    net::bind(&packets, &address(scratch.path("packets"))).unwrap();
    net::listen(&packets, 1).unwrap();
    assert_eq!(probe(scratch.path("datagram")), Err(Errno::PROTOTYPE));
    assert_eq!(probe(scratch.path("packets")), Err(Errno::PROTOTYPE));
}

#[test]
fn connect_to_a_dead_socket_of_any_type_says_econnrefused() {
    let scratch = Scratch::shared();
    leave_dead(scratch.path("stream"));
    assert_eq!(probe(scratch.path("stream")), Err(Errno::CONNREFUSED));
    net::bind(socket(SocketType::DGRAM), &address(scratch.path("datagram"))).unwrap();
    assert_eq!(probe(scratch.path("datagram")), Err(Errno::CONNREFUSED));
}

#[test]
fn connect_to_a_socket_bound_but_not_listening_says_econnrefused() {
    let scratch = Scratch::shared();
    let _socket = bound(scratch.path("s"));
    assert_eq!(probe(scratch.path("s")), Err(Errno::CONNREFUSED));
}

#[test]
fn connect_after_shut_rd_says_econnrefused() {
    let scratch = Scratch::shared();
    let server = listening(scratch.path("s"));
    net::shutdown(&server, Shutdown::Read).unwrap();
    assert_eq!(probe(scratch.path("s")), Err(Errno::CONNREFUSED));
}

#[test]
fn connect_to_a_bound_client_says_econnrefused_though_it_is_alive() {
    let scratch = Scratch::shared();
    let _server = listening(scratch.path("s"));
    let client = bound(scratch.path("client"));
    net::connect(&client, &address(scratch.path("s"))).unwrap();
    assert_eq!(probe(scratch.path("client")), Err(Errno::CONNREFUSED));
}

#[test]
fn connect_to_what_is_no_socket_says_econnrefused_as_if_it_were_dead() {
    let scratch = Scratch::shared();
    stdfs::write(scratch.path("file"), "precious").unwrap();
    stdfs::create_dir(scratch.path("dir")).unwrap();
    make_fifo(&scratch.path("fifo"), 0o600);
    for name in ["file", "dir", "fifo"] {
        assert_eq!(probe(scratch.path(name)), Err(Errno::CONNREFUSED), "{name}");
    }
}

#[test]
fn connect_through_a_symlink_loop_says_eloop() {
    let scratch = Scratch::shared();
    symlink("loop", scratch.path("loop")).unwrap();
    assert_eq!(probe(scratch.path("loop")), Err(Errno::LOOP));
}

#[test]
fn connect_without_write_permission_says_eacces_whether_live_or_dead() {
    as_ordinary_user("connect_without_write_permission_says_eacces_whether_live_or_dead", || {
        let scratch = Scratch::shared();
        let path = scratch.path("s");
        let server = listening(&path);
        fs::chmod(&path, Mode::from_raw_mode(0o555)).unwrap();
        assert_eq!(probe(&path), Err(Errno::ACCESS));
        drop(server);
        assert_eq!(probe(&path), Err(Errno::ACCESS));
    });
}

// ---- who listens ----

#[test]
fn peercred_names_whoever_called_listen_last_and_the_queue_is_kept() {
    const TEST: &str = "peercred_names_whoever_called_listen_last_and_the_queue_is_kept";
    if is_child(TEST) {
        return net::listen(std::io::stdin(), 64).unwrap();
    }
    let scratch = Scratch::alone();
    let server = listening(scratch.path("s"));
    let me = (getpid().as_raw_pid(), getuid().as_raw(), getgid().as_raw());
    let first = client(scratch.path("s"));
    assert_eq!(peercred(&first), me);

    let mut command = again(TEST, "");
    command.stdin(server.try_clone().unwrap());
    let (mut uid, mut gid) = (me.1, me.2);
    if is_root() {
        (uid, gid) = (NOBODY, NOBODY);
        command.uid(uid).gid(gid);
    }
    let child = command.spawn().unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    expect_passed(child);

    let second = client(scratch.path("s"));
    assert_eq!(peercred(&second), (pid, uid, gid));
    assert_eq!(peercred(&first), me);
    assert_eq!(accept_all(&server).len(), 2);
}

#[test]
fn peercred_of_a_busy_listener_not_reached_is_nobody() {
    let scratch = Scratch::shared();
    let (_server, _clients) = busy(scratch.path("s"));
    let (socket, result) = connect_nonblocking(scratch.path("s"));
    assert_eq!(result, Err(Errno::AGAIN));
    assert_eq!(peercred(&socket), (0, u32::MAX, u32::MAX));
}

#[test]
fn peercred_has_process_id_0_across_pid_namespaces() {
    const TEST: &str = "peercred_has_process_id_0_across_pid_namespaces";
    if is_child(TEST) {
        assert_eq!(peercred(client(argument())), (0, getuid().as_raw(), getgid().as_raw()));
        return;
    }
    let scratch = Scratch::alone();
    let _server = listening(scratch.path("s"));
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork"]);
        command
    };
    if !unshare().arg("true").stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        return eprintln!("skipped: no right to a process id namespace, or no unshare(1)");
    }
    let mut command = unshare();
    command.arg(std::env::current_exe().unwrap());
    ask(&mut command, TEST, scratch.path("s"));
    expect_passed(command.spawn().unwrap());
}

#[test]
fn sock_diag_names_the_bound_inode_queue_and_backlog_of_a_listener_if_it_answers() {
    let scratch = Scratch::shared();
    let server = listening(scratch.path("s"));
    net::listen(&server, 7).unwrap();
    let _client = client(scratch.path("s"));
    let stat = fs::lstat(scratch.path("s")).unwrap();
    let expected = sock_diag::Listener {
        ino: stat.st_ino as u32, // the kernel cuts it to 32 bits
        dev: (fs::major(stat.st_dev), fs::minor(stat.st_dev)),
        queued: 1,
        backlog: 7,
    };
    match sock_diag::listeners() {
        Ok(listeners) => assert!(listeners.contains(&expected), "{expected:?} not in {listeners:?}"),
        Err(errno @ (Errno::NOENT | Errno::PROTONOSUPPORT | Errno::OPNOTSUPP)) => {
            eprintln!("this kernel has no unix_diag ({errno}), so its silence proves nothing");
        }
        Err(errno) => panic!("failed to ask the kernel for its listeners: {errno}"),
    }
}

#[test]
fn sock_diag_lists_who_is_queued_in_order_and_0_for_one_who_has_closed_if_it_answers() {
    let scratch = Scratch::shared();
    let server = listening(scratch.path("s"));
    net::listen(&server, 7).unwrap();
    let number = |socket: &OwnedFd| fs::fstat(socket).unwrap().st_ino;
    let clients: Vec<_> = (0..3).map(|_| client(scratch.path("s"))).collect();
    let numbers: Vec<_> = clients.iter().map(|client| number(client) as u32).collect();
    match sock_diag::queued(number(&server)) {
        Ok(queued) => assert_eq!(queued, numbers),
        Err(errno) => return eprintln!("this kernel lists no queues ({errno})"),
    }
    let mut clients = clients.into_iter();
    // What one has sent before does not show once it has closed.
    let gone = clients.next().unwrap();
    rustix::io::write(&gone, b"x").unwrap();
    drop(gone);
    let (silent, sender) = (clients.next().unwrap(), clients.next().unwrap());
    rustix::io::write(&sender, b"x").unwrap();
    assert_eq!(sock_diag::queued(number(&server)), Ok(vec![0, numbers[1], numbers[2]]));
    assert_eq!(sock_diag::sent(number(&silent)), Ok(0));
    assert!(sock_diag::sent(number(&sender)).unwrap() > 0);
    let first = net::accept(&server).unwrap();
    assert_eq!(rustix::io::read(&first, &mut [0; 2]), Ok(1));
    assert_eq!(sock_diag::queued(number(&server)), Ok(numbers[1..].to_vec()));
}

// ---- pins ----

#[test]
fn connect_through_a_pin_reaches_that_inode_wherever_its_name_went() {
    let scratch = Scratch::shared();
    let old = listening(scratch.path("s"));
    let pin = pin(scratch.path("s"));
    fs::rename(scratch.path("s"), scratch.path("moved")).unwrap();
    let new = listening(scratch.path("s"));
    let _moved = client(through(&pin));
    fs::unlink(scratch.path("moved")).unwrap();
    let _unlinked = client(through(&pin));
    assert_eq!((accept_all(&old).len(), accept_all(&new).len()), (2, 0));
}

#[test]
fn connect_through_a_pin_and_bind_through_a_directory_work_at_any_path_length() {
    let scratch = Scratch::shared();
    let deep = scratch.dir().join("d".repeat(200)).join("d".repeat(200));
    stdfs::create_dir_all(&deep).unwrap();
    let dir = open(&deep, OFlags::PATH | OFlags::DIRECTORY, 0).unwrap();
    let name = through(&dir).join("s");
    let server = listening(&name);
    assert_eq!(mode(deep.join("s")) & S_IFMT, S_IFSOCK);

    let pin = pin(deep.join("s"));
    let client = client(through(&pin));
    assert_eq!(accept_all(&server).len(), 1);
    // The kernel's name for it is the string it was bound by, which means nothing to anybody else.
    assert_eq!(bound_name(&server), name);
    assert_eq!(net::getpeername(&client).unwrap(), Some(address(&name).into()));
}

#[test]
fn a_pin_of_a_symlink_is_the_symlink_and_never_its_target() {
    let scratch = Scratch::shared();
    let _server = listening(scratch.path("s"));
    symlink("s", scratch.path("link")).unwrap();
    let pin = pin(scratch.path("link"));
    assert_eq!(fs::fstat(&pin).unwrap().st_mode & S_IFMT, S_IFLNK);
    assert_eq!(probe(through(&pin)), Err(Errno::CONNREFUSED));
}

#[test]
fn proc_self_fd_is_the_leaders_table_and_thread_self_the_threads_own() {
    let scratch = Scratch::shared();
    let (here, elsewhere) = (scratch.path("here"), scratch.path("elsewhere"));
    let ours = stdfs::File::create(&here).unwrap();
    let number = ours.as_raw_fd();
    with_own_descriptors(|| {
        // In this thread's own table the number leads elsewhere; everybody else's stays as it was.
        let mut copy = rustix::io::dup(&ours).unwrap();
        rustix::io::dup2(stdfs::File::create(&elsewhere).unwrap(), &mut copy).unwrap();
        let at = |task: &str| stdfs::read_link(format!("/proc/{task}/fd/{}", copy.as_raw_fd())).ok();
        assert_eq!(at("thread-self"), Some(elsewhere.clone()));
        assert_ne!(at("self"), Some(elsewhere.clone()));
    });
    assert_eq!(stdfs::read_link(format!("/proc/self/fd/{number}")).unwrap(), here);
}

#[test]
fn a_pin_takes_statfs_but_not_fchmod_and_chmod_only_through_proc() {
    let scratch = Scratch::shared();
    let _server = listening(scratch.path("s"));
    let pin = pin(scratch.path("s"));
    assert_eq!(fs::fchmod(&pin, Mode::from_raw_mode(0o600)), Err(Errno::BADF));
    for wanted in [0o600, 0o1666] {
        fs::chmod(through(&pin), Mode::from_raw_mode(wanted)).unwrap();
        assert_eq!(mode(scratch.path("s")) & 0o7777, wanted);
    }
    assert_eq!(fs::fstatfs(&pin).unwrap().f_type, fs::statfs(scratch.dir()).unwrap().f_type);
}

#[test]
fn enoent_through_a_pin_is_not_absence_where_proc_is_missing() {
    const TEST: &str = "enoent_through_a_pin_is_not_absence_where_proc_is_missing";
    if is_child(TEST) {
        let pin = pin(argument().join("s"));
        chroot(argument()).unwrap();
        assert_eq!(probe("/s"), Ok(()));
        assert_eq!(probe(through(&pin)), Err(Errno::NOENT));
        return;
    }
    if !is_root() {
        return eprintln!("skipped: only root may leave /proc behind");
    }
    let scratch = Scratch::alone();
    let _server = listening(scratch.path("s"));
    expect_passed(again(TEST, scratch.dir()).spawn().unwrap());
}

// ---- identity ----

#[test]
fn an_inode_number_is_not_given_again_while_its_listener_is_open() {
    let scratch = Scratch::shared();
    let _server = listening(scratch.path("s"));
    let number = ino(scratch.path("s"));
    fs::unlink(scratch.path("s")).unwrap();
    assert!(!is_given_again(number, &scratch.path("s")));
}

#[test]
fn an_inode_number_is_not_given_again_while_it_is_pinned_though_the_socket_is_dead() {
    let scratch = Scratch::shared();
    let server = listening(scratch.path("s"));
    let pin = pin(scratch.path("s"));
    drop(server);
    assert_eq!(probe(through(&pin)), Err(Errno::CONNREFUSED));
    fs::unlink(scratch.path("s")).unwrap();
    assert!(!is_given_again(fs::fstat(&pin).unwrap().st_ino, &scratch.path("s")));
}

#[test]
fn a_pin_tells_that_its_file_was_unlinked() {
    let scratch = Scratch::shared();
    let _server = listening(scratch.path("s"));
    let pin = pin(scratch.path("s"));
    assert_eq!(fs::fstat(&pin).unwrap().st_nlink, 1);
    fs::unlink(scratch.path("s")).unwrap();
    assert_eq!(fs::fstat(&pin).unwrap().st_nlink, 0);
}

#[test]
fn fstat_of_a_listener_is_not_the_inode_at_its_path() {
    let scratch = Scratch::shared();
    let server = listening(scratch.path("s"));
    let file = fs::lstat(scratch.path("s")).unwrap();
    assert_ne!(fs::fstat(&server).unwrap().st_dev, file.st_dev);
}

// ---- bind ----

#[test]
fn bind_to_an_existing_name_of_any_kind_says_eaddrinuse() {
    let scratch = Scratch::shared();
    let _server = listening(scratch.path("live"));
    leave_dead(scratch.path("dead"));
    stdfs::write(scratch.path("file"), "").unwrap();
    stdfs::create_dir(scratch.path("dir")).unwrap();
    make_fifo(&scratch.path("fifo"), 0o600);
    symlink("live", scratch.path("link")).unwrap();
    symlink("nothing", scratch.path("dangling")).unwrap();
    for name in ["live", "dead", "file", "dir", "fifo", "link", "dangling"] {
        let socket = socket(SocketType::STREAM);
        assert_eq!(net::bind(&socket, &address(scratch.path(name))), Err(Errno::ADDRINUSE), "{name}");
    }
    assert!(!scratch.path("nothing").exists());
}

#[test]
fn fchmod_before_bind_sets_the_mode_of_the_node_still_masked_by_the_umask() {
    in_own_process("fchmod_before_bind_sets_the_mode_of_the_node_still_masked_by_the_umask", || {
        let scratch = Scratch::shared();
        umask(Mode::from_raw_mode(0o027));
        // The sticky bit is no permission, so no umask takes it away.
        for (asked, got) in [(0o600, 0o600), (0o777, 0o750), (0o1666, 0o1640)] {
            let socket = socket(SocketType::STREAM);
            fs::fchmod(&socket, Mode::from_raw_mode(asked)).unwrap();
            net::bind(&socket, &address(scratch.path("s"))).unwrap();
            assert_eq!(mode(scratch.path("s")) & 0o7777, got);
            fs::unlink(scratch.path("s")).unwrap();
        }
    });
}

#[test]
fn a_chmod_between_bind_and_listen_has_no_window() {
    let scratch = Scratch::shared();
    let server = bound(scratch.path("s"));
    fs::chmod(scratch.path("s"), Mode::from_raw_mode(0o777)).unwrap();
    assert_eq!(probe(scratch.path("s")), Err(Errno::CONNREFUSED));
    fs::chmod(through(&pin(scratch.path("s"))), Mode::from_raw_mode(0o600)).unwrap();
    net::listen(&server, 1).unwrap();
    assert_eq!(mode(scratch.path("s")) & 0o777, 0o600);
    assert_eq!(probe(scratch.path("s")), Ok(()));
}

#[test]
fn a_socket_cannot_be_bound_twice() {
    let scratch = Scratch::shared();
    let socket = bound(scratch.path("first"));
    assert_eq!(net::bind(&socket, &address(scratch.path("second"))), Err(Errno::INVAL));
    assert!(!scratch.path("second").exists());
}

#[test]
fn an_unlinked_socket_cannot_be_linked_back() {
    let scratch = Scratch::shared();
    let _server = listening(scratch.path("s"));
    let pin = pin(scratch.path("s"));
    fs::unlink(scratch.path("s")).unwrap();
    let linked = fs::linkat(CWD, through(&pin), CWD, scratch.path("s"), AtFlags::SYMLINK_FOLLOW);
    assert_eq!(linked, Err(Errno::NOENT));
}

#[test]
fn the_kernel_takes_a_path_of_108_bytes_and_std_107() {
    let scratch = Scratch::shared();
    let dir = open(scratch.dir(), OFlags::PATH | OFlags::DIRECTORY, 0).unwrap();
    // Every byte of sun_path, without the zero at the end: about 92 bytes of them are the name.
    let of_length = |length: usize| -> PathBuf {
        let dir = through(&dir);
        dir.join("n".repeat(length - dir.as_os_str().len() - 1))
    };
    let _server = listening(of_length(108));
    assert_eq!(of_length(108).as_os_str().len(), 108);
    assert_eq!(mode(of_length(108)) & S_IFMT, S_IFSOCK);
    assert_eq!(probe(of_length(108)), Ok(()));

    assert!(UnixListener::bind(of_length(107)).is_ok());
    fs::unlink(of_length(108)).unwrap();
    let refused = UnixListener::bind(of_length(108)).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput);
}

// ---- rename and link ----

#[test]
fn rename_over_and_link_work_on_live_sockets() {
    let scratch = Scratch::shared();
    let _old = listening(scratch.path("s"));
    let new = listening(scratch.path("temporary"));
    fs::rename(scratch.path("temporary"), scratch.path("s")).unwrap();
    fs::link(scratch.path("s"), scratch.path("linked")).unwrap();
    let _clients = [client(scratch.path("s")), client(scratch.path("linked"))];
    assert_eq!(accept_all(&new).len(), 2);
}

#[test]
fn renameat2_works_on_live_sockets() {
    let scratch = Scratch::shared();
    let (here, beside) = (scratch.path("s"), scratch.path("temporary"));
    let rename = |flags| fs::renameat_with(CWD, &beside, CWD, &here, flags);
    let first = listening(&beside);
    rename(RenameFlags::NOREPLACE).unwrap();
    let second = listening(&beside);
    assert_eq!(rename(RenameFlags::NOREPLACE), Err(Errno::EXIST));
    rename(RenameFlags::EXCHANGE).unwrap();
    let _clients = [client(&here), client(&here), client(&beside)];
    assert_eq!((accept_all(&first).len(), accept_all(&second).len()), (1, 2));
}

#[test]
fn renameat2_does_not_exchange_what_another_user_has_in_a_sticky_directory() {
    const TEST: &str = "renameat2_does_not_exchange_what_another_user_has_in_a_sticky_directory";
    let exchange =
        |dir: &Path| fs::renameat_with(CWD, dir.join("temporary"), CWD, dir.join("s"), RenameFlags::EXCHANGE);
    if is_child(TEST) {
        let dir = argument();
        let mine = listening(dir.join("temporary"));
        assert_eq!(exchange(&dir), Err(Errno::PERM));
        assert_eq!(fs::rename(dir.join("temporary"), dir.join("s")), Err(Errno::PERM));
        return drop(mine);
    }
    if !is_root() {
        eprintln!("{TEST}: only root can put another user's socket there");
        return;
    }
    let scratch = Scratch::alone();
    fs::chmod(scratch.dir(), Mode::from_raw_mode(0o1777)).unwrap();
    let theirs = listening(scratch.path("s"));
    let before = ino(scratch.path("s"));
    let mut command = again(TEST, scratch.dir());
    std::os::unix::process::CommandExt::uid(&mut command, NOBODY);
    expect_passed(command.spawn().unwrap());
    assert_eq!(ino(scratch.path("s")), before);
    drop(client(scratch.path("s")));
    drop(theirs);
}

#[test]
fn the_sticky_bit_of_a_socket_stays_over_bind_umask_listen_and_exchange_also_for_an_ordinary_user() {
    in_own_process(
        "the_sticky_bit_of_a_socket_stays_over_bind_umask_listen_and_exchange_also_for_an_ordinary_user",
        || {
            let scratch = Scratch::shared();
            let _old = listening(scratch.path("s"));
            for mask in [0, 0o022, 0o277, 0o777] {
                umask(Mode::from_raw_mode(mask));
                let socket = socket(SocketType::STREAM);
                fs::fchmod(&socket, Mode::from_raw_mode(0o1666)).unwrap();
                net::bind(&socket, &address(scratch.path("temporary"))).unwrap();
                net::listen(&socket, 1).unwrap();
                let flags = RenameFlags::EXCHANGE;
                fs::renameat_with(CWD, scratch.path("temporary"), CWD, scratch.path("s"), flags).unwrap();
                assert_eq!(mode(scratch.path("s")) & 0o7777, 0o1000 | 0o666 & !mask);
                fs::unlink(scratch.path("temporary")).unwrap();
            }
        },
    );
}

#[test]
fn the_set_user_id_bit_of_a_socket_stays_over_listen_and_rename_and_keeps_nobody_out() {
    as_ordinary_user("the_set_user_id_bit_of_a_socket_stays_over_listen_and_rename_and_keeps_nobody_out", || {
        let scratch = Scratch::shared();
        let socket = socket(SocketType::STREAM);
        net::bind(&socket, &address(scratch.path("temporary"))).unwrap();
        fs::chmod(scratch.path("temporary"), Mode::from_raw_mode(0o5600)).unwrap();
        net::listen(&socket, 1).unwrap();
        fs::rename(scratch.path("temporary"), scratch.path("s")).unwrap();
        assert_eq!(mode(scratch.path("s")) & 0o7777, 0o5600);
        assert_eq!(probe(scratch.path("s")), Ok(()));
    });
}

#[test]
fn a_client_woken_from_connect_after_an_exchange_lands_in_the_new_server() {
    let scratch = Scratch::shared();
    let (old, clients) = busy(scratch.path("s"));
    let waiter = waiting_client(&scratch.path("s"));
    let new = listening(scratch.path("temporary"));
    let flags = RenameFlags::EXCHANGE;
    fs::renameat_with(CWD, scratch.path("temporary"), CWD, scratch.path("s"), flags).unwrap();
    fs::unlink(scratch.path("temporary")).unwrap();
    net::shutdown(&old, Shutdown::Read).unwrap();
    net::listen(&old, 0).unwrap();
    net::listen(&old, i32::MAX).unwrap();
    let _client = waiter.result().unwrap();
    assert_eq!((accept_all(&old).len(), accept_all(&new).len()), (clients.len(), 1));
}

#[test]
fn a_renamed_socket_keeps_the_name_it_was_bound_by() {
    let scratch = Scratch::shared();
    let server = listening(scratch.path("temporary"));
    fs::rename(scratch.path("temporary"), scratch.path("s")).unwrap();
    assert_eq!(bound_name(&server), scratch.path("temporary"));
}

#[test]
fn a_path_renamed_over_is_never_absent() {
    let scratch = Scratch::shared();
    let (a, b, path) = (scratch.path("a"), scratch.path("b"), scratch.path("s"));
    let _servers = [listening(&a), listening(&b)];
    fs::link(&a, &path).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..2000 {
                // Both servers stay, so no answer but "live" and, once their queues are full, "busy" is right.
                let answer = connect_nonblocking(&path).1;
                assert!(matches!(answer, Ok(()) | Err(Errno::AGAIN)), "{answer:?}");
            }
            done.store(true, Ordering::Relaxed);
        });
        let temporary = scratch.path("temporary");
        for next in [&b, &a].into_iter().cycle() {
            fs::link(next, &temporary).unwrap();
            fs::rename(&temporary, &path).unwrap();
            if done.load(Ordering::Relaxed) {
                break;
            }
        }
    });
}

#[test]
fn a_blocking_accept_whose_path_was_renamed_over_wakes_by_a_connection_through_the_pin() {
    let scratch = Scratch::shared();
    let old = listening(scratch.path("s"));
    let pin = pin(scratch.path("s"));
    let accepting = Asleep::in_call(move || net::accept(&old).map(drop));
    let _new = listening(scratch.path("temporary"));
    fs::rename(scratch.path("temporary"), scratch.path("s")).unwrap();
    let _knock = client(through(&pin));
    assert_eq!(accepting.result(), Ok(()));
}

// ---- shutdown and drain ----

#[test]
fn close_of_a_listener_resets_the_clients_in_its_queue() {
    let scratch = Scratch::shared();
    let server = listening(scratch.path("s"));
    let client = client(scratch.path("s"));
    drop(server);
    assert_eq!(rustix::io::read(&client, &mut [0; 1]), Err(Errno::CONNRESET));
}

#[test]
fn so_error_after_the_end_of_a_listener_tells_who_was_queued_from_who_was_accepted() {
    let scratch = Scratch::shared();
    let server = listening(scratch.path("s"));
    let (accepted, queued) = (client(scratch.path("s")), client(scratch.path("s")));
    drop(net::accept(&server).unwrap());
    drop(server);
    assert_eq!(rustix::net::sockopt::socket_error(&accepted).unwrap(), Ok(()));
    assert_eq!(rustix::net::sockopt::socket_error(&queued).unwrap(), Err(Errno::CONNRESET));
}

#[test]
fn after_shut_rd_accept_hands_out_all_who_are_queued_and_then_fails() {
    let scratch = Scratch::shared();
    let server = listening(scratch.path("s"));
    let clients: Vec<_> = (0..3).map(|_| client(scratch.path("s"))).collect();
    for (client, byte) in clients.iter().zip(0..) {
        rustix::io::write(client, &[byte]).unwrap();
    }
    // Duplicates, such as a child's, make no difference.
    let duplicate = server.try_clone().unwrap();
    net::shutdown(&server, Shutdown::Read).unwrap();
    assert_eq!(probe(scratch.path("s")), Err(Errno::CONNREFUSED));
    for byte in 0..3 {
        let mut got = [9];
        assert_eq!(rustix::io::read(net::accept(&server).unwrap(), &mut got), Ok(1));
        assert_eq!(got, [byte]);
    }
    let server = in_time(move || {
        assert_eq!(net::accept(&server).map(drop), Err(Errno::INVAL));
        server
    });
    rustix::io::ioctl_fionbio(&server, true).unwrap();
    assert_eq!(net::accept(&duplicate).map(drop), Err(Errno::AGAIN));
}

#[test]
fn after_shut_rd_a_listen_of_0_and_one_of_more_wake_all_who_wait_in_connect() {
    let scratch = Scratch::shared();
    let (server, clients) = busy(scratch.path("s"));
    // A duplicate keeps the socket alive, so nothing but these two calls can be relied on to wake them.
    let _duplicate = server.try_clone().unwrap();
    let waiters: Vec<_> = (0..4).map(|_| waiting_client(&scratch.path("s"))).collect();
    net::shutdown(&server, Shutdown::Read).unwrap();
    net::listen(&server, 0).unwrap();
    net::listen(&server, i32::MAX).unwrap();
    for waiter in waiters {
        assert_eq!(waiter.result().map(drop), Err(Errno::CONNREFUSED));
    }
    // And those already in the queue are still there.
    assert_eq!(accept_all(&server).len(), clients.len());
}

#[test]
fn a_client_woken_from_connect_after_a_rename_over_lands_in_the_new_server() {
    let scratch = Scratch::shared();
    let (old, clients) = busy(scratch.path("s"));
    let waiter = waiting_client(&scratch.path("s"));
    let new = listening(scratch.path("temporary"));
    fs::rename(scratch.path("temporary"), scratch.path("s")).unwrap();
    net::shutdown(&old, Shutdown::Read).unwrap();
    net::listen(&old, 0).unwrap();
    net::listen(&old, i32::MAX).unwrap();
    let _client = waiter.result().unwrap();
    assert_eq!((accept_all(&old).len(), accept_all(&new).len()), (clients.len(), 1));
}

#[test]
fn a_client_that_left_polls_hung_up_and_a_half_closed_one_does_not() {
    let scratch = Scratch::shared();
    let server = listening(scratch.path("s"));
    drop(client(scratch.path("s")));
    assert!(polled(&net::accept(&server).unwrap()).contains(PollFlags::HUP));

    let half_closed = client(scratch.path("s"));
    net::shutdown(&half_closed, Shutdown::Write).unwrap();
    let events = polled(&net::accept(&server).unwrap());
    assert!(events.contains(PollFlags::IN) && !events.contains(PollFlags::HUP), "{events:?}");
}

// ---- locks ----

#[test]
fn flock_is_released_by_the_sigkill_of_its_holder() {
    let scratch = Scratch::alone();
    let lock = create_lock(&scratch.path("lock"));
    fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    let holder = Holder::of(lock, Stdio::null());
    let mine = open(scratch.path("lock"), OFlags::RDONLY, 0).unwrap();
    assert_eq!(fs::flock(&mine, FlockOperation::NonBlockingLockExclusive), Err(Errno::WOULDBLOCK));
    drop(holder);
    assert_eq!(fs::flock(&mine, FlockOperation::NonBlockingLockExclusive), Ok(()));
}

#[test]
fn a_child_that_inherits_them_keeps_a_flock_held_and_a_listener_live() {
    let scratch = Scratch::alone();
    let server = listening(scratch.path("s"));
    let lock = create_lock(&scratch.path("lock"));
    fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    let child = Holder::of(lock.try_clone().unwrap(), server.try_clone().unwrap());
    drop((server, lock));
    let mine = open(scratch.path("lock"), OFlags::RDONLY, 0).unwrap();
    assert_eq!(fs::flock(&mine, FlockOperation::NonBlockingLockExclusive), Err(Errno::WOULDBLOCK));
    assert_eq!(probe(scratch.path("s")), Ok(()));
    drop(child);
    assert_eq!(fs::flock(&mine, FlockOperation::NonBlockingLockExclusive), Ok(()));
    assert_eq!(probe(scratch.path("s")), Err(Errno::CONNREFUSED));
}

#[test]
fn flock_and_unlink_without_a_second_look_let_two_in() {
    let scratch = Scratch::shared();
    let path = scratch.path("lock");
    let a = create_lock(&path);
    fs::flock(&a, FlockOperation::NonBlockingLockExclusive).unwrap();
    let b = open(&path, OFlags::RDONLY, 0).unwrap();
    assert_eq!(fs::flock(&b, FlockOperation::NonBlockingLockExclusive), Err(Errno::WOULDBLOCK));
    fs::unlink(&path).unwrap();
    drop(a);
    // B gets the lock of a file without a name; C makes the name again: both hold "the" lock.
    assert_eq!(fs::flock(&b, FlockOperation::NonBlockingLockExclusive), Ok(()));
    let c = create_lock(&path);
    assert_eq!(fs::flock(&c, FlockOperation::NonBlockingLockExclusive), Ok(()));
    // The second look: only C's file is the one at the path.
    let links = |file: &OwnedFd| fs::fstat(file).unwrap().st_nlink;
    assert_eq!((links(&b), links(&c)), (0, 1));
    assert_ne!(fs::fstat(&b).unwrap().st_ino, ino(&path));
    assert_eq!(fs::fstat(&c).unwrap().st_ino, ino(&path));
}

#[test]
fn a_hard_link_hides_from_the_link_count_that_a_lock_file_lost_its_name() {
    let scratch = Scratch::shared();
    let lock = create_lock(&scratch.path("lock"));
    fs::link(scratch.path("lock"), scratch.path("elsewhere")).unwrap();
    assert_eq!(fs::fstat(&lock).unwrap().st_nlink, 2);
    fs::unlink(scratch.path("lock")).unwrap();
    assert_eq!(fs::fstat(&lock).unwrap().st_nlink, 1);
}

#[test]
fn a_lock_file_of_mode_01400_can_be_made_and_locked_by_its_owner() {
    as_ordinary_user("a_lock_file_of_mode_01400_can_be_made_and_locked_by_its_owner", || {
        let scratch = Scratch::shared();
        let _mine = create_lock(&scratch.path("lock"));
        assert_eq!(mode(scratch.path("lock")) & 0o7777, 0o1400);
        let lock = open(scratch.path("lock"), OFlags::RDONLY, 0).unwrap();
        assert_eq!(fs::flock(&lock, FlockOperation::NonBlockingLockExclusive), Ok(()));
        assert_eq!(open(scratch.path("lock"), OFlags::WRONLY, 0).map(drop), Err(Errno::ACCESS));
    });
}

#[test]
fn a_lock_file_of_mode_01400_cannot_be_opened_by_another_ordinary_user() {
    const TEST: &str = "a_lock_file_of_mode_01400_cannot_be_opened_by_another_ordinary_user";
    if is_child(TEST) {
        assert_eq!(mode(argument()) & 0o7777, 0o1400);
        assert_eq!(open(argument(), OFlags::RDONLY, 0).map(drop), Err(Errno::ACCESS));
        return;
    }
    if !is_root() {
        return eprintln!("skipped: only root can be two users");
    }
    let scratch = Scratch::alone();
    let path = scratch.path("lock");
    drop(create_lock(&path));
    chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    fs::chmod(scratch.dir(), Mode::from_raw_mode(0o755)).unwrap();
    let mut command = again(TEST, &path);
    expect_passed(command.uid(SOMEBODY_ELSE).gid(SOMEBODY_ELSE).spawn().unwrap());
}

#[test]
fn a_umask_of_0777_leaves_a_lock_file_its_owner_cannot_open_until_fchmod_repairs_it() {
    in_own_process("a_umask_of_0777_leaves_a_lock_file_its_owner_cannot_open_until_fchmod_repairs_it", || {
        let scratch = Scratch::shared();
        umask(Mode::from_raw_mode(0o777));
        let lock = create_lock(&scratch.path("lock"));
        assert_eq!(mode(scratch.path("lock")) & 0o7777, 0o1000);
        assert_eq!(open(scratch.path("lock"), OFlags::RDONLY, 0).map(drop), Err(Errno::ACCESS));
        fs::fchmod(&lock, Mode::from_raw_mode(0o1400)).unwrap();
        assert_eq!(open(scratch.path("lock"), OFlags::RDONLY, 0).map(drop), Ok(()));
    });
}

#[test]
fn o_excl_does_not_follow_a_symlink() {
    let scratch = Scratch::shared();
    symlink("elsewhere", scratch.path("lock")).unwrap();
    let opened = open(scratch.path("lock"), OFlags::CREATE | OFlags::EXCL | OFlags::RDONLY, 0o1400);
    assert_eq!(opened.map(drop), Err(Errno::EXIST));
    assert!(!scratch.path("elsewhere").exists());
}

#[test]
fn a_fifo_at_the_locks_name_blocks_no_open_with_o_nonblock() {
    let scratch = Scratch::shared();
    let path = scratch.path("lock");
    make_fifo(&path, 0o400);
    assert_eq!(in_time(move || open(path, OFlags::RDONLY | OFlags::NONBLOCK, 0).map(drop)), Ok(()));
}

#[test]
fn proc_locks_names_the_process_that_holds_a_flock() {
    let scratch = Scratch::shared();
    let lock = create_lock(&scratch.path("lock"));
    fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    let stat = fs::fstat(&lock).unwrap();
    let file = format!("{:02x}:{:02x}:{}", fs::major(stat.st_dev), fs::minor(stat.st_dev), stat.st_ino);
    let pid = getpid().as_raw_pid().to_string();
    let locks = stdfs::read_to_string("/proc/locks").unwrap();
    let mut lines = locks.lines().map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>());
    let wanted = ["FLOCK", "ADVISORY", "WRITE", pid.as_str(), file.as_str()];
    assert!(lines.any(|fields| fields.starts_with(&wanted)), "{wanted:?} not in\n{locks}");
}

#[test]
fn anybody_who_may_read_a_directory_can_hold_its_flock() {
    as_ordinary_user("anybody_who_may_read_a_directory_can_hold_its_flock", || {
        let scratch = Scratch::shared();
        fs::chmod(scratch.dir(), Mode::from_raw_mode(0o500)).unwrap();
        let dir = open(scratch.dir(), OFlags::RDONLY | OFlags::DIRECTORY, 0).unwrap();
        assert_eq!(fs::flock(&dir, FlockOperation::NonBlockingLockExclusive), Ok(()));
        fs::chmod(scratch.dir(), Mode::from_raw_mode(0o700)).unwrap();
    });
}

// ---- watching ----

#[test]
fn inotify_on_a_socket_tells_unlink_and_rename_over_by_attrib_until_it_is_closed() {
    let scratch = Scratch::shared();
    let server = listening(scratch.path("s"));
    let file = watch(&scratch.path("s"));
    fs::unlink(scratch.path("s")).unwrap();
    assert_eq!(events(&file), [ReadFlags::ATTRIB]);
    drop(server);
    assert!(events(&file).contains(&ReadFlags::DELETE_SELF));

    let _old = listening(scratch.path("s"));
    let _new = listening(scratch.path("temporary"));
    let (file, dir) = (watch(&scratch.path("s")), watch(scratch.dir()));
    fs::rename(scratch.path("temporary"), scratch.path("s")).unwrap();
    assert_eq!(events(&file), [ReadFlags::ATTRIB]);
    assert_eq!(events(&dir), [ReadFlags::MOVED_FROM, ReadFlags::MOVED_TO]);
}

#[test]
fn inotify_on_a_socket_tells_rename_away_and_chmod() {
    let scratch = Scratch::shared();
    let _server = listening(scratch.path("s"));
    let file = watch(&scratch.path("s"));
    fs::rename(scratch.path("s"), scratch.path("away")).unwrap();
    assert_eq!(events(&file), [ReadFlags::MOVE_SELF]);
    fs::chmod(scratch.path("away"), Mode::from_raw_mode(0o600)).unwrap();
    assert_eq!(events(&file), [ReadFlags::ATTRIB]);
}

#[test]
fn inotify_watches_the_file_behind_a_pin_wherever_its_name_went() {
    let scratch = Scratch::shared();
    let _server = listening(scratch.path("s"));
    let pin = pin(scratch.path("s"));
    fs::rename(scratch.path("s"), scratch.path("away")).unwrap();
    let _other = listening(scratch.path("s"));
    let file = watch(Path::new(&format!("/proc/thread-self/fd/{}", pin.as_raw_fd())));
    fs::chmod(scratch.path("s"), Mode::from_raw_mode(0o600)).unwrap();
    assert_eq!(events(&file), []);
    fs::unlink(scratch.path("away")).unwrap();
    assert_eq!(events(&file), [ReadFlags::ATTRIB]);
}

#[test]
fn inotify_on_a_socket_tells_an_exchange_and_nothing_of_its_neighbours() {
    let scratch = Scratch::shared();
    let _servers = [listening(scratch.path("s")), listening(scratch.path("t"))];
    let (one, other) = (watch(&scratch.path("s")), watch(&scratch.path("t")));
    stdfs::write(scratch.path("neighbour"), "").unwrap();
    fs::unlink(scratch.path("neighbour")).unwrap();
    assert_eq!(events(&one), []);
    fs::renameat_with(CWD, scratch.path("s"), CWD, scratch.path("t"), RenameFlags::EXCHANGE).unwrap();
    assert_eq!(events(&one), [ReadFlags::MOVE_SELF]);
    assert_eq!(events(&other), [ReadFlags::MOVE_SELF]);
}

#[test]
fn inotify_needs_read_permission_on_the_socket() {
    as_ordinary_user("inotify_needs_read_permission_on_the_socket", || {
        let scratch = Scratch::shared();
        let _server = listening(scratch.path("s"));
        fs::chmod(scratch.path("s"), Mode::from_raw_mode(0o333)).unwrap();
        let instance = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap();
        let watched = inotify::add_watch(&instance, scratch.path("s"), WatchFlags::ATTRIB);
        assert_eq!(watched, Err(Errno::ACCESS));
    });
}

// ---- what only these tests need ----

/// A client asleep in connect() to the full backlog at `path`.
fn waiting_client(path: &Path) -> Asleep<Result<OwnedFd, Errno>> {
    let (socket, address) = (socket(SocketType::STREAM), address(path));
    Asleep::in_call(move || net::connect(&socket, &address).map(|()| socket))
}

/// Everybody in the queue of `server`.
fn accept_all(server: &OwnedFd) -> Vec<OwnedFd> {
    rustix::io::ioctl_fionbio(server, true).unwrap();
    std::iter::from_fn(|| net::accept(server).ok()).collect()
}

/// What is ready now.
fn polled(socket: &OwnedFd) -> PollFlags {
    let mut sockets = [PollFd::new(socket, PollFlags::IN | PollFlags::OUT)];
    poll(&mut sockets, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap();
    sockets[0].revents()
}

/// The name that the kernel shows for a socket.
fn bound_name(socket: impl AsFd) -> PathBuf {
    let name = net::SocketAddrUnix::try_from(net::getsockname(socket).unwrap()).unwrap();
    std::ffi::OsStr::from_bytes(name.path_bytes().unwrap()).into()
}

/// Whether one of many new sockets gets the inode number `number`. On ext4 the first one does, if it is free.
fn is_given_again(number: u64, path: &Path) -> bool {
    (0..200).any(|_| {
        let _server = bound(path);
        let given = ino(path);
        fs::unlink(path).unwrap();
        given == number
    })
}

fn make_fifo(path: &Path, mode: u32) {
    fs::mknodat(CWD, path, fs::FileType::Fifo, Mode::from_raw_mode(mode), 0).unwrap();
}

/// A lock file as the protocol makes it.
fn create_lock(path: &Path) -> OwnedFd {
    open(path, OFlags::CREATE | OFlags::EXCL | OFlags::RDONLY | OFlags::NOFOLLOW, 0o1400).unwrap()
}

fn watch(path: &Path) -> OwnedFd {
    let instance = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap();
    let all = WatchFlags::ATTRIB | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
    inotify::add_watch(&instance, path, all | WatchFlags::MOVE | WatchFlags::CREATE | WatchFlags::DELETE).unwrap();
    instance
}

/// What `instance` has seen since it was last asked.
fn events(instance: &OwnedFd) -> Vec<ReadFlags> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(instance, &mut buffer);
    std::iter::from_fn(|| reader.next().ok().map(|event| event.events())).collect()
}
