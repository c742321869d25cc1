//! Of 256 processes that start at once on one path just one gets it, and every other is told that it is in use.

pub mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use support::PATIENCE;
use support::child::{self, Program};
use support::dir::{Dir, put_file};
use support::sockets::put_dead;
use unix_stream_server::{ErrorKind, ServerSocket, Status, connect_timeout};

const STARTERS: usize = 256;
const ROUNDS: usize = 20;

/// A process that starts at each word of its parent, and says what came of it. The gates are fifos: a byte each lets
/// one process pass, and there are two, so that none can pass twice in a turn.
fn starter(dir: &Path) {
    let open = |gate| fs::File::open(dir.join(gate)).expect("a fifo");
    let mut gates = [open("gate.0"), open("gate.1")].into_iter().collect::<Vec<_>>();
    let mut report = fs::OpenOptions::new().write(true).open(dir.join("report")).expect("a fifo");
    let mut say = |words: String| report.write_all(format!("{words}\n").as_bytes()).expect("the parent listens");
    let builder = ServerSocket::builder().lock_timeout(PATIENCE);
    say("ready".to_owned());
    let mut byte = [0];
    while gates[0].read_exact(&mut byte).is_ok() {
        let result = builder.create(dir.join("s"));
        say(match &result {
            Ok(server) if server.status() == Status::Ours => format!("won {}", std::process::id()),
            Ok(server) => format!("won, but it is {}", server.status()),
            Err(error) if error.kind() == ErrorKind::InUse => "in use".to_owned(),
            Err(error) => format!("{error}"),
        });
        // The winner stays until all have answered.
        if gates[1].read_exact(&mut byte).is_err() {
            return;
        }
        say(match result.map(ServerSocket::close) {
            Ok(Err(error)) => format!("{error}"),
            Ok(Ok(Status::Ours)) | Err(_) => "done".to_owned(),
            Ok(Ok(status)) => format!("closed, but it was {status}"),
        });
    }
}

fn one_winner_each_round(test: &str, prepare: impl Fn(&Path)) {
    if child::role().is_some() {
        return starter(&child::dir());
    }
    let dir = Dir::new();
    for fifo in ["gate.0", "gate.1", "report"] {
        mknodat(CWD, dir.join(fifo), FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("mkfifo");
    }
    let open = |fifo| fs::OpenOptions::new().read(true).write(true).open(dir.join(fifo)).expect("a fifo");
    let mut gates = [open("gate.0"), open("gate.1")];
    let (sender, answers) = std::sync::mpsc::channel();
    let report = open("report");
    std::thread::spawn(move || {
        for line in BufReader::new(report).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let hear_all = || {
        let mut heard = BTreeMap::<String, usize>::new();
        for _ in 0..STARTERS {
            let line = answers.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("some never answered: {heard:?}"));
            *heard.entry(line).or_default() += 1;
        }
        heard
    };
    let starters: Vec<_> = (0..STARTERS).map(|_| Program::new(test, "starter").dir(&dir).start()).collect();
    assert_eq!(hear_all(), BTreeMap::from([("ready".to_owned(), STARTERS)]));
    for round in 0..ROUNDS {
        prepare(&dir.join("s"));
        gates[0].write_all(&[0; STARTERS]).expect("write");
        let mut heard = hear_all();
        assert_eq!(heard.remove("in use"), Some(STARTERS - 1), "round {round}: {heard:#?}");
        let winner = heard.pop_first().map_or_else(String::new, |(words, _)| words);
        let client = connect_timeout(dir.join("s"), PATIENCE).expect("the winner listens");
        let peer = unix_stream_server::peer_credentials(&client).expect("a socket").expect("known");
        assert_eq!(winner, format!("won {}", peer.pid.expect("a pid")), "round {round}");
        assert_eq!(dir.names(), ["gate.0", "gate.1", "report", "s"], "round {round}");
        gates[1].write_all(&[0; STARTERS]).expect("write");
        assert_eq!(hear_all(), BTreeMap::from([("done".to_owned(), STARTERS)]), "round {round}");
        assert_eq!(dir.names(), ["gate.0", "gate.1", "report"], "round {round}");
    }
    drop(gates);
    drop(starters);
}

#[test]
fn of_256_starters_on_a_free_path_one_wins() {
    one_winner_each_round(&this_test!(), |_| {});
}

#[test]
fn of_256_starters_over_a_dead_socket_one_wins() {
    one_winner_each_round(&this_test!(), put_dead);
}

#[test]
fn of_256_starters_over_a_dead_socket_and_a_killed_holders_lock_one_wins() {
    one_winner_each_round(&this_test!(), |path| {
        put_dead(path);
        put_file(&support::dir::beside(path, ".lock"), b"", 0o1400);
    });
}
