//! `connect`: standard input and output as a client.

mod common;

use std::fs::File;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Place, Running, eventually, put_dead, run, status_of, text, unix_ss};

fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

/// `unix-ss connect` between two pipes, and the server's end of its connection.
fn connected(place: &Place) -> (Running, UnixStream) {
    let listener = UnixListener::bind(place.path("s")).expect("a listener");
    let mut command = unix_ss(&["connect", &place.name("s")]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let client = Running::of(command);
    let (server, _) = listener.accept().expect("a client");
    (client, server)
}

#[test]
fn a_hundred_megabytes_come_back_byte_for_byte() {
    let place = Place::new();
    let sent = noise(100 << 20);
    std::fs::write(place.path("in"), &sent).expect("a file");
    let _server = place.serve(&[], "s", &["cat"]);
    // Files, and pipes.
    let mut command = unix_ss(&["connect", &place.name("s")]);
    command.stdin(File::open(place.path("in")).expect("a file"));
    command.stdout(File::create(place.path("out")).expect("a file"));
    assert_eq!(Running::of(command).wait(), 0);
    assert!(std::fs::read(place.path("out")).expect("a file") == sent);
    let script = "cat in | \"$1\" connect s | cat >out2";
    let mut piped = Command::new("sh");
    piped.args(["-c", script, "sh", env!("CARGO_BIN_EXE_unix-ss")]).current_dir(place.path(""));
    assert_eq!(Running::of(piped).wait(), 0);
    assert!(std::fs::read(place.path("out2")).expect("a file") == sent);
}

/// In bounded time, or the test fails: the kernel lets nobody else end who hangs on a pipe's lock.
fn soon<T: Send + 'static>(what: &str, act: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(act()));
    result.recv_timeout(common::BOUND).unwrap_or_else(|_| panic!("hangs: {what}"))
}

#[test]
fn whoever_reads_us_does_not_hang_while_the_server_is_silent() {
    let place = Place::new();
    let (mut client, mut server) = connected(&place);
    let mut output = client.child.stdout.take().expect("a pipe");
    let burst = noise(1 << 20);
    let expected = burst.clone();
    let sender = std::thread::spawn(move || server.write_all(&burst).map(|()| server));
    let length = expected.len();
    let (output, heard) = soon("reading what came", move || {
        let mut heard = vec![0; length];
        output.read_exact(&mut heard).map(|()| (output, heard))
    })
    .expect("all of it");
    assert!(heard == expected);
    let server = sender.join().expect("no panic").expect("sent");
    // It has moved everything by splice, and waits for more.
    let tasks = format!("/proc/{}/task", client.child.id());
    eventually("all its threads sleep", || threads(&tasks).iter().all(|state| *state == 'S'));
    let read = soon("reading standard output", move || {
        rustix::io::ioctl_fionbio(&output, true).expect("a flag");
        rustix::io::read(&output, &mut [0; 1])
    });
    assert_eq!(read, Err(rustix::io::Errno::AGAIN));
    drop(server);
    assert_eq!(client.wait(), 0);
}

#[test]
fn whoever_writes_to_us_does_not_hang_while_the_server_does_not_read() {
    let place = Place::new();
    let (mut client, mut server) = connected(&place);
    let input = client.child.stdin.take().expect("a pipe");
    rustix::io::ioctl_fionbio(&input, true).expect("a flag");
    let sent = noise(8 << 20);
    let bytes = sent.clone();
    let tasks = format!("/proc/{}/task", client.child.id());
    let (input, accepted) = soon("writing to standard input", move || {
        let mut accepted = 0;
        // Until more than the pipe and a first read have gone, and then until it is full and all threads sleep.
        while rustix::io::write(&input, &bytes[accepted..]).map(|written| accepted += written).is_ok()
            || accepted < 160 * 1024
            || threads(&tasks).iter().any(|state| *state != 'S')
        {}
        (input, accepted)
    });
    assert!(accepted < sent.len());
    soon("closing standard input", move || drop(input));
    let mut heard = Vec::new();
    server.read_to_end(&mut heard).expect("all that was sent");
    assert!(heard == sent[..accepted]);
    drop(server);
    assert_eq!(client.wait(), 0);
}

/// What the kernel says of each thread: S sleeps, R runs, D waits for a lock.
fn threads(tasks: &str) -> Vec<char> {
    let stats = std::fs::read_dir(tasks).expect("threads").filter_map(|task| {
        let stat = std::fs::read_to_string(task.ok()?.path().join("stat")).ok()?;
        stat.rsplit_once(") ")?.1.chars().next()
    });
    stats.collect()
}

#[test]
fn an_answer_that_comes_after_our_end_of_file_is_heard() {
    let place = Place::new();
    let _server = place.serve(&[], "s", &["sh", "-c", "n=$(wc -c); sleep 0.1; echo got $n"]);
    let mut child = unix_ss(&["connect", &place.name("s")]);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a client");
    child.stdin.take().expect("a pipe").write_all(b"12345").expect("sent");
    let output = child.wait_with_output().expect("an end");
    assert_eq!((status_of(&output), text(&output.stdout)), (0, "got 5\n".to_owned()));
}

#[test]
fn the_servers_end_of_file_closes_standard_output_and_sending_goes_on() {
    let place = Place::new();
    let (mut client, mut server) = connected(&place);
    server.set_read_timeout(Some(common::BOUND)).expect("a time");
    server.write_all(b"bye").expect("sent");
    server.shutdown(Shutdown::Write).expect("shut");
    let mut heard = String::new();
    client.child.stdout.take().expect("a pipe").read_to_string(&mut heard).expect("an end of file");
    assert_eq!(heard, "bye");
    let mut input = client.child.stdin.take().expect("a pipe");
    input.write_all(b"more").expect("sent");
    drop(input);
    heard.clear();
    server.read_to_string(&mut heard).expect("the rest");
    assert_eq!(heard, "more");
    assert_eq!(client.wait(), 0);
}

#[test]
fn a_server_that_hangs_up_ends_it_even_if_input_stays_open() {
    let place = Place::new();
    let _server = place.serve(&[], "s", &["echo", "short"]);
    let mut command = unix_ss(&["connect", &place.name("s")]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut client = Running::of(command);
    let _open = client.child.stdin.take();
    assert_eq!(client.wait(), 0);
    let mut heard = String::new();
    client.child.stdout.take().expect("a pipe").read_to_string(&mut heard).expect("an answer");
    assert_eq!(heard, "short\n");
}

#[test]
fn a_reset_without_an_answer_is_a_failure() {
    let place = Place::new();
    let listener = UnixListener::bind(place.path("s")).expect("a listener");
    let mut command = unix_ss(&["connect", &place.name("s")]);
    command.stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut client = Running::of(command);
    client.child.stdin.take().expect("a pipe").write_all(b"unread").expect("sent");
    let (server, _) = listener.accept().expect("a client");
    rustix::event::poll(&mut [rustix::event::PollFd::new(&server, rustix::event::PollFlags::IN)], None)
        .expect("a byte");
    drop(server);
    assert_eq!(client.wait(), 1);
}

#[test]
fn standard_output_that_fails_is_a_failure_and_one_that_is_closed_is_none() {
    let place = Place::new();
    let _server = place.serve(&[], "s", &["sh", "-c", "yes | head -n 1000000"]);
    let mut command = unix_ss(&["connect", &place.name("s")]);
    command.stdout(File::options().write(true).open("/dev/full").expect("a device"));
    assert_eq!(Running::of(command).wait(), 1);
    let mut command = unix_ss(&["connect", &place.name("s")]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = Running::of(command);
    drop(client.child.stdout.take());
    assert_eq!(client.wait(), 0);
    let mut said = String::new();
    client.child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("text");
    assert_eq!(said, "");
}

#[test]
fn wait_tries_until_the_server_is_there_and_no_longer() {
    let place = Place::new();
    let begin = Instant::now();
    let absent = run(&mut unix_ss(&["connect", "--wait", "200ms", &place.name("s")]));
    assert_eq!(status_of(&absent), 3);
    assert!(begin.elapsed() >= Duration::from_millis(200));
    put_dead(&place.path("s"));
    let mut command = unix_ss(&["connect", "--wait", "50s", &place.name("s")]);
    command.stdout(Stdio::piped());
    let mut client = Running::of(command);
    let _server = place.serve(&[], "s", &["echo", "here"]);
    let mut heard = String::new();
    client.child.stdout.take().expect("a pipe").read_to_string(&mut heard).expect("an answer");
    assert_eq!((client.wait(), heard.as_str()), (0, "here\n"));
}

#[test]
fn wait_includes_a_full_backlog() {
    let place = Place::new();
    let server = place.serve(&["--activate", "--backlog", "0"], "s", &["sleep", "1000"]);
    let mut queued = Vec::new();
    while let Ok(client) = unix_stream_server::connect_timeout(place.path("s"), Duration::ZERO) {
        queued.push(client);
    }
    let busy = run(&mut unix_ss(&["connect", "--wait", "100ms", &place.name("s")]));
    assert_eq!(status_of(&busy), 1, "{}", text(&busy.stderr));
    assert!(text(&busy.stderr).contains("backlog"), "{}", text(&busy.stderr));
    let busy = run(&mut unix_ss(&["status", "--json", &place.name("s")]));
    assert_eq!(status_of(&busy), 0);
    assert!(text(&busy.stdout).contains(r#""state":"busy""#), "{}", text(&busy.stdout));
    server.signal(rustix::process::Signal::TERM);
    eventually("the path is gone", || !place.path("s").exists());
}

#[test]
fn nobody_there_is_3_and_cannot_tell_is_4() {
    let place = Place::new();
    put_dead(&place.path("dead"));
    std::fs::write(place.path("file"), "").expect("a file");
    std::os::unix::fs::symlink("loop", place.path("loop")).expect("a link");
    let long = "x".repeat(300);
    for (name, status) in [("absent", 3), ("dead", 3), ("file", 3), ("loop", 4), (&long, 1)] {
        let output = run(&mut unix_ss(&["connect", &place.name(name)]));
        let said = text(&output.stderr);
        assert_eq!(status_of(&output), status, "{name}: {said}");
        assert!(said.starts_with("unix-ss: cannot connect to ") && said.lines().count() == 1, "{said}");
    }
}
