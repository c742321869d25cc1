//! Who listens, and who is queued.

use rustix::fs;
use rustix::io::Errno;
use rustix::net;
use rustix::process::{getgid, getpid, getuid};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::peercred::peercred;
use crate::sock_diag;
use crate::support::*;

#[test]
fn peercred_names_whoever_called_listen_last_and_the_queue_is_kept() {
    const TEST: &str = "listeners::peercred_names_whoever_called_listen_last_and_the_queue_is_kept";
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
    const TEST: &str = "listeners::peercred_has_process_id_0_across_pid_namespaces";
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
