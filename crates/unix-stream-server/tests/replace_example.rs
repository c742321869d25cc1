//! The example of a server that its next version replaces, as the processes that it tells of.

#[path = "../examples/replace.rs"]
#[expect(dead_code, reason = "its main is for itself; what it does is tried here")]
mod replace;
pub mod support;

use support::child::{self, Program};
use support::dir::Dir;
use support::succession::{ask, hear, successor};
use unix_stream_server::{ServerSocket, connect};

#[test]
fn each_version_replaces_the_one_before_it_and_the_older_one_ends_well() {
    if child::role().is_some() {
        let server = ServerSocket::builder().replaceable(true).take_over(true);
        let server = server.create(child::dir().join("s")).expect("take over");
        child::say("serves");
        replace::serve(server, &child::value("VERSION")).expect("it ends well");
        child::say("ended");
        return;
    }
    let (dir, test) = (Dir::new(), this_test!());
    let path = dir.join("s");
    let start = |version: u32| {
        let program = Program::new(&test, "version").dir(&dir).value("VERSION", &version.to_string());
        let mut version = program.start();
        version.hear("serves");
        version
    };
    let mut current = start(0);
    assert_eq!(ask(&path), "version 0\n");
    for version in 1..=5 {
        let next = start(version);
        assert_eq!(ask(&path), format!("version {version}\n"));
        let queued = connect(&path).expect("connect");
        current.hear("ended");
        assert_eq!(hear(queued), format!("version {version}\n"));
        std::mem::replace(&mut current, next).finish();
    }
    let last = successor().create(&path).expect("take over");
    current.hear("ended");
    current.finish();
    last.close().expect("close");
    assert_eq!(dir.names(), [""; 0]);
}
